"""Write the expected output beside every sample. Run it after a mapping was changed on purpose, and read the diff.

python tests/programmes/chongqing/chongqing_expected.py
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from district_ledger import ROOT, House, context, submission

from gateway.formats import media
from gateway.message import ItemResult

SAMPLES = ROOT / "mappings" / "chongqing" / "samples"
NOW = datetime(2020, 12, 1, tzinfo=UTC)
TYPES = {
    ".fhir": media.FHIR_JSON,
    ".hl7": media.HL7V2,
    ".json": media.JSON,
    ".csv": media.CSV,
    ".xlsx": media.XLSX,
}


def samples() -> list[Path]:
    found = [path for path in SAMPLES.iterdir() if path.suffix in TYPES]
    return sorted(path for path in found if not path.name.endswith(".expected.json"))


def expected(path: Path) -> Path:
    return path.with_name(f"{path.stem}.expected.json")


def apply(house: House, body: bytes, suffix: str) -> tuple[ItemResult, ...]:
    return house.mapper.take_apart(submission(body, TYPES[suffix]), context(now=NOW))


def shown(results: tuple[ItemResult, ...]) -> Any:
    """Results as plain data, as they stand in the expected files."""
    made = [
        {
            "label": each.label,
            "case": each.case.kind if each.case else None,
            "parts": list(each.parts),
            "findings": [f"{f.severity} {f.code} {f.place.path if f.place else ''}".strip() for f in each.findings],
            "unread": {loss.place.path: loss.value for loss in each.loss if loss.fate == "unread"},
            "resources": list(each.resources),
        }
        for each in results
    ]
    return json.loads(json.dumps(made, ensure_ascii=False, default=float))


if __name__ == "__main__":
    rules = House()
    for path in samples():
        text = json.dumps(shown(apply(rules, path.read_bytes(), path.suffix)), ensure_ascii=False, indent=1)
        expected(path).write_text(text + "\n", encoding="utf-8")
        print(path.relative_to(ROOT))
