"""Promise: a deadline is the same moment for a citizen and for the gateway, whatever the clocks do."""

from __future__ import annotations

import csv
from zoneinfo import ZoneInfo

import pytest
from maplab import MAPPINGS

from gateway.map import times
from gateway.map.tables import CodeTable, FactTable, read

ROME = ZoneInfo("Europe/Rome")


@pytest.mark.parametrize(
    ("start", "limit", "end"),
    [
        # clocks go forward on 2026-03-29 and back on 2026-10-25
        ("2026-03-28T10:00:00+01:00", "72h", "2026-03-31T11:00:00+02:00"),
        ("2026-10-24T10:00:00+02:00", "72h", "2026-10-27T09:00:00+01:00"),
        ("2026-03-25T10:00:00+01:00", "10d", "2026-04-04T23:59:59+02:00"),
        ("2026-10-20", "10d", "2026-10-30T23:59:59+01:00"),
        ("2026-01-31T23:30:00Z", "1d", "2026-02-02T23:59:59+01:00"),
    ],
)
def test_days_are_calendar_days_and_hours_are_hours(start: str, limit: str, end: str) -> None:
    """Ten days end with the tenth day; seventy-two hours are seventy-two hours also when summer time begins."""
    assert times.deadline(start, limit, ROME) == end


@pytest.mark.parametrize(
    ("start", "limit", "exclusive", "end"),
    [
        ("2026-03-27T10:00:00+01:00", "1w", False, "2026-03-30T23:59:59+02:00"),
        ("2026-04-02T10:00:00+02:00", "2w", False, "2026-04-06T23:59:59+02:00"),
        ("2026-03-19", "10d", True, "2026-03-28T23:59:59+01:00"),
        ("2026-03-19", "10d", False, "2026-03-29T23:59:59+02:00"),
        ("2026-02-18T12:00:00+01:00", "10d", False, "2026-02-28T23:59:59+01:00"),
        ("2028-02-19", "10d", False, "2028-02-29T23:59:59+01:00"),
        ("2026-12-21T08:00:00+01:00", "10w", True, "2027-01-03T23:59:59+01:00"),
    ],
)
def test_working_days_and_the_last_legal_day(start: str, limit: str, exclusive: bool, end: str) -> None:
    """The last legal day is the one that the rule counts, on the day of a clock change and of a leap year too."""
    assert times.deadline(start, limit, ROME, exclusive) == end


def test_the_table_of_times_has_the_facts_of_the_plan() -> None:
    """B is 7 days where the row's maximum is 15, else 10; U is 72 hours; P has none; chemotherapy has no times."""
    found = read(MAPPINGS / "toscana" / "tables" / "prestazioni.csv")
    assert isinstance(found, FactTable)
    path = MAPPINGS / "toscana" / "tables" / "prestazioni.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert len({row["voce"] for row in rows}) == 49
    assert len({row["*codice"] for row in rows}) == 58
    for row in rows:
        assert row["P"] == ""
        if row["voce"].startswith("DH"):
            assert not any(row[c] for c in "UBD")
        else:
            assert row["U"] == "72h"
            assert row["B"] == ("7d" if row["D"] == "15d" else "10d")
    assert (found.find(["89.7", "08"]) or {})["voce"] == "VISITA-01"
    assert found.find(["89.7"]) is None
    assert (found.find(["88.71.4", ""]) or {})["D"] == "30d"
    assert (found.find(["88.71.4", "69"]) or {})["D"] == "30d"


def test_every_table_can_be_read() -> None:
    """A table that does not open is found here, not at a start in the night."""
    for path in MAPPINGS.glob("*/tables/*.csv"):
        assert isinstance(read(path), CodeTable | FactTable)
