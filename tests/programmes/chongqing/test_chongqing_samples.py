"""The samples that people copy: what they become, that nothing in them is lost, and that no change goes unseen."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from chongqing_expected import SAMPLES, apply, expected, samples, shown
from district_ledger import House

from gateway.formats import yaml
from gateway.message import ItemResult

_ID = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def house() -> House:
    return House()


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_a_sample_gives_its_expected_output(house: House, path: Path) -> None:
    """A changed mapping shows in a diff of the expected files, never only in production."""
    assert shown(apply(house, path.read_bytes(), path.suffix)) == json.loads(expected(path).read_bytes())


@pytest.mark.parametrize("path", samples(), ids=lambda path: path.name)
def test_a_sample_loses_nothing(house: House, path: Path) -> None:
    """Nothing in them is unread, and none is refused."""
    for result in apply(house, path.read_bytes(), path.suffix):
        assert [loss.place.path for loss in result.loss if loss.fate == "unread"] == []
        assert not result.refused


def test_every_mapping_has_a_sample(house: House) -> None:
    """A mapping that no sample runs is a mapping that nobody has seen working."""
    used = {r.mapping for path in samples() for r in apply(house, path.read_bytes(), path.suffix)}
    files = [path for path in SAMPLES.parent.glob("*.yaml") if path.name != "checks.yaml"]
    assert {f"chongqing/{path.stem}" for path in files if "resources" in yaml.load(path)} == used


def outcome(results: tuple[ItemResult, ...]) -> Any:
    """What a reader sees, ids numbered in the order of their appearance: the hash of an input is not the input."""
    numbers: dict[str, str] = {}
    plain = [
        [
            list(each.resources),
            [(loss.place.path, loss.fate, loss.value) for loss in each.loss],
            [(f.code, f.place.path if f.place else None, dict(f.args)) for f in each.findings],
        ]
        for each in results
    ]
    text = json.dumps(plain, ensure_ascii=False, default=str)
    return _ID.sub(lambda found: numbers.setdefault(found[0], f"id{len(numbers)}"), text)


def changed(cell: str) -> str:
    return cell[:-1] + ("1" if cell[-1] != "1" else "2") if cell[-1].isdigit() else cell + "z"


JOINS = {"通知成员"}
"""Named by keyed references: which member was told shows in the reference alone, and the mapping says so."""


@pytest.mark.parametrize("path", [p for p in samples() if p.suffix == ".csv"], ids=lambda path: path.name)
def test_no_cell_can_change_unseen(house: House, path: Path) -> None:
    """Promise 7: each cell emptied and changed in turn shows in resources, loss report or findings."""
    body = path.read_bytes()
    text = body.decode("gb18030" if path.stem in ("members", "contacts") else "utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    whole = outcome(apply(house, written(rows), ".csv"))
    unseen = []
    for number, row in enumerate(rows):
        for name, cell in row.items():
            for new in ("", changed(cell)) if cell and name not in JOINS else ():
                mutant = [dict(each) for each in rows]
                mutant[number][name] = new
                if outcome(apply(house, written(mutant), ".csv")) == whole:
                    unseen.append((number, name, new))
    assert unseen == []


def written(rows: list[dict[str, str]]) -> bytes:
    made = io.StringIO()
    out = csv.DictWriter(made, list(rows[0]))
    out.writeheader()
    out.writerows(rows)
    return made.getvalue().encode()
