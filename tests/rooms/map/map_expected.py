"""Write the expected output beside every sample. Run it after a mapping was changed on purpose, and read the diff.

python tests/rooms/map/map_expected.py
"""

from __future__ import annotations

import json
from pathlib import Path

from maplab import HOME, MAPPINGS, OURS, TYPES, context, shown, submission

from gateway import map as mapping
from gateway import programme


def samples() -> list[Path]:
    found = [path for name in OURS for path in (MAPPINGS / name / "samples").iterdir() if path.suffix in TYPES]
    return sorted(p for p in found if not p.name.endswith(".expected.json") and p.stem != "registry")


def expected(path: Path) -> Path:
    return path.with_name(f"{path.stem}.expected.json")


if __name__ == "__main__":
    engine = mapping.load(HOME, [programme.load(HOME, name) for name in OURS])
    for path in samples():
        name = path.parent.parent.name
        results = engine.take_apart(submission(name, path.read_bytes(), TYPES[path.suffix]), context(name))
        text = json.dumps(shown(results), ensure_ascii=False, indent=1, default=float)
        expected(path).write_text(text + "\n", encoding="utf-8")
        print(path.relative_to(HOME), len(results), "items")
