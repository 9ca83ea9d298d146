"""The official SQL on FHIR test files: every one of them passes."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.measure import model
from gateway.measure.view import View

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("GATEWAY_TEST_DATA", ROOT.parent / "shared" / "data")) / "sql-on-fhir"
FILES = sorted(FOLDER.glob("*.json"))


def _cases() -> list[Any]:
    found = []
    for path in FILES:
        content = json.read(path.read_bytes())
        for number, case in enumerate(content["tests"]):
            name = f"{path.stem}-{number}-{case['title']}"
            found.append(pytest.param(content["resources"], case, id=name))
    return found or [pytest.param(None, None, marks=pytest.mark.skip(reason="the official files are not here"))]


def _plain(value: Any) -> Any:
    """Numbers by value, whole rows comparable."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _sorted(rows: list[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: json.write(dict(sorted(row.items()))))


@pytest.mark.parametrize(("resources", "case"), _cases())
def test_official_case(resources: list[Any], case: dict[str, Any]) -> None:
    """Rows in any order (the files do not fix it between resources), columns by name, and their order where given."""
    r4 = model.r4(ROOT)
    if case.get("expectError"):
        with pytest.raises(GatewayError):
            view = View(case["view"], r4)
            for each in resources:
                view(each)
        return
    view = View(case["view"], r4)
    names = [column.name for column in view.columns]
    rows = [dict(zip(names, row, strict=True)) for each in resources for row in view(each)]
    assert _sorted([_plain(row) for row in rows]) == _sorted([_plain(row) for row in case["expect"]])
    if "expectColumns" in case:
        assert names == case["expectColumns"]
