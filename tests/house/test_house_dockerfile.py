"""The image is described plainly enough that a small reader can check what matters about it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [line.split(None, 1) for line in LINES if line.strip() and not line.startswith("#")]
KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def test_every_instruction_is_one_that_the_format_knows() -> None:
    """A typing error would only show where an engine is; none is needed to catch it here."""
    assert {word for word, _ in STEPS} <= KNOWN


def test_the_last_stage_runs_as_an_unprivileged_user() -> None:
    """After USER nothing is installed, and the process cannot write outside its own folder."""
    last = max(i for i, (word, _) in enumerate(STEPS) if word == "FROM")
    stage = STEPS[last:]
    users = [i for i, (word, _) in enumerate(stage) if word == "USER"]
    assert users
    assert stage[users[-1]][1] not in {"root", "0"}
    assert not [word for word, _ in stage[users[-1] :] if word in {"RUN", "COPY"}]


def test_base_images_are_pinned_to_a_release_and_copies_exist() -> None:
    """`latest` would make two builds of the same commit differ; a missing source would fail only at build time."""
    for word, rest in STEPS:
        if word == "FROM":
            assert re.match(r"python:3\.\d+-slim-\w+( AS \w+)?$", rest), rest
        if word == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source


def test_the_package_is_installed_by_hash() -> None:
    """What runs in the image is what the lock names."""
    assert any("--require-hashes -r requirements.lock" in rest for word, rest in STEPS if word == "RUN")
