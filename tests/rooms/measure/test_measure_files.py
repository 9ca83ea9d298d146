"""Files of measures and tables: every fault is named with its file and line; nothing is guessed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import measure_house as house
import pytest

from gateway import measuring
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import periods
from gateway.measure import measures
from gateway.settings import Settings
from gateway.store import Checking


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return house.build(tmp_path / "home")


def measure(home: Path, name: str = "long-visits") -> Path:
    return home / "profiles" / house.NAME / "measures" / f"{name}.toml"


async def check(home: Path) -> None:
    settings, programmes = Settings(home=str(home), programmes=(house.NAME,)), house.load(home)
    views = measuring.views(settings, programmes)
    await measuring.catalogue(settings, programmes).check(Checking(views))


async def test_the_house_is_sound(home: Path) -> None:
    """What the other tests rest on."""
    await check(home)


@pytest.mark.parametrize(
    ("old", "new", "at", "word"),
    [
        ('name = "long-visits"', 'name = "other"', "name =", "other"),
        ('kind = "proportion"', 'kind = "guess"', "kind =", "guess"),
        ('period = "month"', "", None, "period"),
        ("target = 0.8", "taget = 0.8", None, "taget"),
        ('zh = "中 visit"', "", "[unit]", "zh"),
        ("AS denominator", "AS denom", "sql =", "denominator"),
        ("AS excluded_untimed", "AS excluded_other", "sql =", "excluded.other"),
        ("SELECT club,", "SELECT kept,", "sql =", "club"),
        ("FROM v_day_club_visit", "FROM v_nobody", None, "v_nobody"),
        (":least", ":lest", None, "lest"),
        ('from = "2026-10-23"', 'from = "2026-13-23"', "[parameters.least]", "2026-13-23"),
        ("[parameters.least]", "[parameters.day]", "[parameters.day]", "day"),
        ("rule = [", "rule [", None, "line 3"),
    ],
)
async def test_a_fault_is_named_with_file_and_line(home: Path, old: str, new: str, at: str | None, word: str) -> None:
    """Whoever writes a measure is not left to search."""
    path = measure(home)
    text = path.read_text(encoding="utf-8")
    assert old in text
    changed = text.replace(old, new, 1)
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(Misconfigured) as caught:
        await check(home)
    assert caught.value.code == "GW-MEASURE-003"
    place, said = caught.value.args_["file"], caught.value.args_["detail"]
    assert path.name in place
    assert word in said
    if at is not None:
        assert changed.splitlines()[int(place.rpartition(":")[2]) - 1].startswith(at)


@pytest.mark.parametrize("template", ["{0}", "{a.b}", "{a[0]}", "{a", "{a:>10}"])
async def test_a_text_that_cannot_be_filled_is_refused(home: Path, template: str) -> None:
    """Found when the file is read, not in the night when a finding falls due."""
    path = measure(home, "visit-gap")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('en = "No visit', f'en = "{template} No visit', 1), encoding="utf-8")
    if template == "{a:>10}":
        await check(home)
        return
    with pytest.raises(Misconfigured, match="GW-MEASURE-003"):
        await check(home)


@pytest.mark.parametrize(
    "text",
    ["[registry.club]\nx = 'colour'", "[table.gone]\nfile = 'tables/gone.csv'\na = 'string'", "[other]\n", "x = ["],
)
def test_tables_that_cannot_be_made_are_refused(home: Path, text: str) -> None:
    """With the file."""
    (home / "profiles" / house.NAME / "views" / "tables.toml").write_text(text)
    with pytest.raises(GatewayError, match="GW-MEASURE-001"):
        house.views(home)


def test_a_view_must_leave_our_columns_alone(home: Path) -> None:
    """`sender` is on every table; two columns must not become one."""
    folder = home / "profiles" / house.NAME / "views"
    for columns in ('{"name": "sender", "path": "id"}', '{"name": "A", "path": "id"}',
                    '{"name": "b", "path": "birthDate", "type": "date"}, {"name": "b_day", "path": "id"}'):  # fmt: skip
        (folder / "x.json").write_text(f'{{"resource": "Patient", "select": [{{"column": [{columns}]}}]}}')
        with pytest.raises(Misconfigured, match="GW-MEASURE-001"):
            house.views(home)


@pytest.mark.parametrize(
    ("day", "expected"), [("2026-10-22", 60), ("2026-10-23", 90), ("2030-01-01", 90), ("1990-01-01", 60)]
)
def test_a_dated_value_counts_from_its_day(home: Path, day: str, expected: int) -> None:
    """One before, at, after."""
    found = measures.read(measure(home), house.load(home)[house.NAME]).parameters["least"]
    assert found.on(date.fromisoformat(day)) == expected


@pytest.mark.parametrize(
    ("text", "calendar", "first", "last"),
    [
        ("1399", "jalali", "2020-03-20", "2021-03-20"),
        ("1399-12", "jalali", "2021-02-19", "2021-03-20"),
        ("1400-12", "jalali", "2022-02-20", "2022-03-20"),
        ("1403-Q2", "jalali", "2024-06-21", "2024-09-21"),
        ("1403-H2", "jalali", "2024-09-22", "2025-03-20"),
        ("1403-05-12", "jalali", "2024-08-02", "2024-08-02"),
        ("2024-02", "gregorian", "2024-02-01", "2024-02-29"),
        ("2026-Q4", "gregorian", "2026-10-01", "2026-12-31"),
        ("2026-H1", "gregorian", "2026-01-01", "2026-06-30"),
        ("2026-W53", "gregorian", "2026-12-28", "2027-01-03"),
        ("1405-08-23/P7D", "jalali", "2026-11-14", "2026-11-20"),
    ],
)
def test_periods_as_they_are_written(text: str, calendar: periods.Calendar, first: str, last: str) -> None:
    """And each is found again from a day inside it."""
    found = periods.parse(text, calendar)
    assert (found.first.isoformat(), found.last.isoformat(), found.label) == (first, last, text)


@pytest.mark.parametrize(
    "text", ["", "1403-13", "1403-Q5", "1403-H3", "2025-W53", "1403-12-31", "x", "2026-11-21T00:00", "99999"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    """Never the nearest that would fit."""
    with pytest.raises(Misconfigured, match="GW-MEASURE-005"):
        periods.parse(text, "jalali" if text.startswith("14") else "gregorian")


def test_periods_follow_without_gap_or_overlap() -> None:
    """Ten years of each length in both calendars."""
    for calendar in ("gregorian", "jalali"):
        for length in ("day", "week", "month", "quarter", "half-year", "year"):
            found = periods.containing(date(2018, 3, 3), length, calendar, 6)  # type: ignore[arg-type]
            for _ in range(120):
                after = periods.next_one(found, length, calendar, 6)  # type: ignore[arg-type]
                assert after.from_day == found.to_day + 1
                assert periods.containing(after.last, length, calendar, 6) == after  # type: ignore[arg-type]
                found = after
