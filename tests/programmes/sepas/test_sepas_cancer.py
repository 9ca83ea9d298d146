"""Cancer: what registries cross-check, by tables that can be replaced (A-35)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway import programme, validate
from gateway.formats import ranges
from gateway.message import Context, ItemResult

ROOT = Path(__file__).parents[3]
ICDO = "http://terminology.hl7.org/CodeSystem/icd-o-3"
BASE = "https://sepas.gateway.invalid/fhir"
CODES = {f"SEPAS-{number}" for number in range(351, 357)}


@cache
def rules() -> validate.Rulebook:
    return validate.load(ROOT, (programme.load(ROOT, "sepas"),))


def coded(name: str, code: str, system: str = "x") -> dict[str, Any]:
    url = f"{BASE}/StructureDefinition/{name}"
    return {"url": url, "valueCoding": {"system": f"{BASE}/CodeSystem/{system}", "code": code}}


def tumour(sex: str, born: str, site: str, morphology: str, *more: dict[str, Any], onset: str = "2021-03-01") -> Any:
    patient = {"resourceType": "Patient", "id": "p", "gender": sex, "birthDate": born}
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "extension": [coded("morphology", morphology), *more],
        "bodySite": [{"coding": [{"system": ICDO, "code": site}]}],
        "subject": {"reference": "Patient/p"},
        "onsetDateTime": onset,
    }
    return ItemResult(index=0, label="item 1", subject="p", resources=(patient, condition))


def found(item: ItemResult) -> set[str]:
    context = Context(digest="", now=datetime(2026, 1, 1, tzinfo=UTC), sender="s", programme="sepas", id_key=b"k" * 32)
    return {each.code for each in rules().findings(item, context)} & CODES


FINE = [
    ("female", "1970-05-01", "C50.4", "8500/3"),
    ("male", "1950-05-01", "C61.9", "8140/3"),
    ("male", "2018-05-01", "C64.9", "8960/3"),
    ("male", "2018-05-01", "C69.2", "9510/3"),
    ("female", "1960-05-01", "C42.1", "9861/3"),
    ("female", "1990-05-01", "C53.9", "8070/2"),
    ("male", "1960-05-01", "C44.3", "8090/3"),
    ("female", "1960-05-01", "C80.9", "8000/3"),
]


@pytest.mark.parametrize("case", FINE, ids=lambda case: f"{case[2]} {case[3]}")
def test_usual_tumours_are_not_asked_about(case: tuple[str, str, str, str]) -> None:
    """A check that cries at every report is soon ignored."""
    assert found(tumour(*case, coded("basis-of-diagnosis", "7"))) == set()


@pytest.mark.parametrize(
    ("code", "item"),
    [
        ("SEPAS-351", tumour("male", "1990-03-02", "C61.9", "8140/3")),  # 30 years
        ("SEPAS-351", tumour("female", "2001-03-02", "C50.4", "8500/3")),  # a day before 20
        ("SEPAS-351", tumour("male", "2000-01-01", "C69.2", "9510/3")),
        ("SEPAS-351", tumour("male", "2000-01-01", "C64.9", "8960/3")),
        ("SEPAS-352", tumour("male", "1950-01-01", "C53.9", "8070/3")),
        ("SEPAS-352", tumour("female", "1950-01-01", "C61.9", "8140/3")),
        ("SEPAS-352", tumour("male", "1950-01-01", "C80.9", "8441/3")),
        ("SEPAS-353", tumour("male", "1950-01-01", "C34.1", "8170/3")),
        ("SEPAS-353", tumour("male", "1950-01-01", "C50.9", "9530/3")),
        ("SEPAS-354", tumour("male", "1950-01-01", "C71.9", "8010/2")),
        ("SEPAS-354", tumour("male", "1950-01-01", "C49.9", "8800/6")),
        ("SEPAS-354", tumour("male", "1950-01-01", "C34.9", "8800", coded("behaviour", "2"))),
        ("SEPAS-355", tumour("male", "1950-01-01", "C34.9", "8140/3", coded("differentiation", "6"))),
        ("SEPAS-355", tumour("male", "1950-01-01", "C77.9", "9680/3", coded("differentiation", "5"))),
        ("SEPAS-356", tumour("male", "1950-01-01", "C34.9", "8140/3", coded("basis-of-diagnosis", "2"))),
        ("SEPAS-356", tumour("male", "1950-01-01", "C34.9", "8720/3", coded("basis-of-diagnosis", "0"))),
    ],
)
def test_each_cross_check_finds_what_does_not_go_together(code: str, item: ItemResult) -> None:
    """Age and site, sex and site, site and morphology, behaviour, grade, basis and morphology."""
    assert code in found(item)


def test_the_birthday_decides() -> None:
    """Twenty years are full on the birthday, not in the year."""
    day = {"onset": "2021-03-02"}
    assert "SEPAS-351" not in found(tumour("female", "2001-03-02", "C50.4", "8500/3", **day))


def test_what_is_not_known_decides_nothing() -> None:
    """A tumour without date of birth is not young, and one without basis is not without a microscope."""
    item = tumour("unknown", "", "C61.9", "8140/3")
    del item.resources[0]["birthDate"]
    assert found(item) == set()


@pytest.mark.parametrize("path", sorted((ROOT / "mappings" / "sepas" / "ranges").glob("*.csv")), ids=lambda p: p.name)
def test_every_table_can_be_read(path: Path) -> None:
    """A table that a site replaces is checked at the start; ours are here."""
    table, _ = ranges.load(path)
    assert table.rows
