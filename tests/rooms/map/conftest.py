"""The engine over the project's own mappings, and one over a programme that is written in the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from maplab import HOME, OURS, PROGRAMME, TYPES, Apply, Little, context, submission

from gateway import map as mapping
from gateway import programme
from gateway.message import ItemResult


@pytest.fixture(scope="session")
def engine() -> mapping.Engine:
    return mapping.load(HOME, [programme.load(HOME, name) for name in OURS])


@pytest.fixture(scope="session")
def apply(engine: mapping.Engine) -> Apply:
    """Bytes of a programme's sender -> results."""

    def run(programme: str, body: bytes, suffix: str = ".hl7", **more: Any) -> tuple[ItemResult, ...]:
        sender = more.pop("sender", "test-sender")
        given = context(programme, sender, **more)
        return engine.take_apart(submission(programme, body, TYPES[suffix], sender), given)

    return run


@pytest.fixture
def little(tmp_path: Path) -> Little:
    """A programme that is written in the test: text of its mapping, format, other files by name."""

    def make(text: str, format: str = "json", zone: str = "Asia/Tehran", **files: str) -> mapping.Engine:
        folder = tmp_path / "mappings" / "little"
        for name, body in {"map.yaml": text, "programme.toml": PROGRAMME.format(format=format, zone=zone)}.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(body, encoding="utf-8")
        for name, body in files.items():
            path = folder / name.replace("__", "/").replace("_csv", ".csv").replace("_yaml", ".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
        return mapping.load(tmp_path, [programme.load(tmp_path, "little")])

    return make
