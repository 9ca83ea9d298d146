"""Scheduled reports and daily findings: once each, on their day, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import measure_house as house
import pytest

from gateway import measuring, programme, store
from gateway.clock import FixedClock
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json, periods
from gateway.gather import schedules
from gateway.message import Evidence, Step
from gateway.scheduling import Scheduling
from gateway.settings import Settings


class Signing:
    """Signs nothing: the loop is what is tested here."""

    async def run(self, work: Callable[..., Any], *given: Any) -> Any:
        proof = Evidence(jws="e30..AA", algorithm="ES256", certificate_digest="0" * 64, signed_at=given[-1])
        return given[1], proof  # `workers.seal`


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.build(tmp_path_factory.mktemp("house"))


class House:
    """A ledger, a clock that can be turned, and the loop over them."""

    def __init__(self, ledger: store.Ledger, clock: FixedClock, home: Path) -> None:
        self.ledger, self.clock, self.home = ledger, clock, home
        self.steps: list[Step] = []
        self.loop = self.another()

    def another(self) -> Scheduling:
        return Scheduling(self.ledger, Signing(), self.clock, self.steps.append, lambda: b"key")  # type: ignore[arg-type]

    async def use(self, loop: Scheduling) -> None:
        settings = Settings(home=str(self.home), programmes=(house.NAME,))
        await measuring.use(settings, house.load(self.home), self.ledger, (loop,))

    async def documents(self) -> list[Any]:
        made = [step.writes[1] for step in self.steps]
        return [json.read(each.body) for each in made]  # type: ignore[union-attr]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.fixture
async def made(home: Path, tmp_path: Path) -> AsyncIterator[House]:
    clock = FixedClock(at("2026-10-20T12:00:00+03:30"))
    async with store.open("", tmp_path / "data", clock) as ledger:
        found = House(ledger, clock, home)
        await found.use(found.loop)
        yield found


async def publish(made: House, *visits: Any) -> None:
    await made.ledger.commit(house.step(*(house.kept(each) for each in visits), at=made.clock.now()))


async def turn(made: House, text: str) -> int:
    made.clock.advance(at(text) - made.clock.now())
    return await made.loop.round()


def _kinds(bundle: Any) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in bundle["entry"]]


async def test_a_month_is_reported_once_for_each_club_when_its_time_has_come(made: House) -> None:
    """Not in the month, not in the day that is waited besides, and never twice; each document is routed."""
    await publish(
        made,
        house.visit("v1", "a", "north", "2026-10-05T09:00:00+03:30", 95),
        house.visit("v2", "b", "south", "2026-10-06T09:00:00+03:30", 10),
    )
    assert await turn(made, "2026-10-22T23:59:00+03:30") == 0
    assert await turn(made, "2026-10-23T23:59:00+03:30") == 0
    assert await turn(made, "2026-10-24T00:00:01+03:30") == 2
    assert await made.loop.round() == 0
    north, south = await made.documents()
    assert _kinds(north) == ["Composition", "MeasureReport", "Measure", "MeasureReport", "Measure"]
    assert north["type"] == "document"
    report = north["entry"][1]["resource"]
    assert report["subject"] == {"display": "north"}
    assert [each["count"] for each in report["group"][0]["population"]] == [1, 1, 0]
    assert south["entry"][1]["resource"]["group"][0]["population"][0]["count"] == 0
    assert [e.destination for e in await made.ledger.exchanges()] == ["archive", "archive"]
    assert await made.ledger.resource("MeasureReport", report["id"]) is not None


async def test_what_was_missed_is_made_up_for_and_a_restart_repeats_nothing(made: House) -> None:
    """Three months without a running gateway; then another process over the same ledger."""
    for month, day in enumerate(("2026-08-25", "2026-09-25", "2026-10-25")):
        await publish(made, house.visit(f"v{month}", "a", "north", f"{day}T09:00:00+03:30", 95))
    await turn(made, "2026-12-01T08:00:00+03:30")
    months = [each["entry"][0]["resource"] for each in await made.documents() if each["type"] == "document"]
    labels = [each["title"].rpartition(" ")[2] for each in months]
    assert labels == ["1405-06", "1405-07", "1405-08"]
    later = made.another()
    await made.use(later)
    assert await later.round() == 0


async def test_two_processes_make_one_document(made: House) -> None:
    """Ids follow from what the report is about: the second commit finds the case there."""
    await publish(made, house.visit("v1", "a", "north", "2026-10-05T09:00:00+03:30", 95))
    other = made.another()
    await made.use(other)
    made.clock.advance(at("2026-10-25T12:00:00+03:30") - made.clock.now())
    first, second = await asyncio.gather(made.loop.round(), other.round())
    assert first + second == 1
    assert len(await made.ledger.exchanges()) == 1


async def test_a_crash_between_documents_of_a_period_loses_and_repeats_none(made: House) -> None:
    """The mark of the period is set last; what was made is known by its case."""
    await publish(made, *(house.visit(f"v{n}", "a", f"club{n}", "2026-10-05T09:00:00+03:30", 95) for n in range(4)))
    made.clock.advance(at("2026-10-25T12:00:00+03:30") - made.clock.now())
    commit, count = made.ledger.commit, 0

    async def failing(step: Step) -> Any:
        nonlocal count
        count += 1
        if count > 2:
            raise GatewayError
        return await commit(step)

    made.ledger.commit = failing  # type: ignore[method-assign]
    await made.loop.round()
    made.ledger.commit = commit  # type: ignore[method-assign]
    assert await made.loop.round() == 2
    assert len(await made.ledger.exchanges()) == 4


async def test_a_finding_is_found_on_its_day_and_cleared_when_what_was_missing_came(made: House) -> None:
    """Last visit on the 24th, one owed until the 31st: found on the 31st, told in a document of that day, then gone."""
    assert await turn(made, "2026-10-24T20:00:00+03:30") == 0
    await publish(made, house.visit("v1", "a", "north", "2026-10-24T09:00:00+03:30", 95))
    measures = made.ledger.measures
    await turn(made, "2026-10-30T23:00:00+03:30")
    assert await measures.findings(house.NAME) == []
    await turn(made, "2026-10-31T00:30:00+03:30")
    assert await measures.findings(house.NAME) == []
    await turn(made, "2026-10-31T01:30:00+03:30")
    found = await measures.findings(house.NAME)
    assert [
        (each.subject, each.place, periods.of_number(each.due_day), periods.of_number(each.found_day)) for each in found
    ] == [("a", "north", date(2026, 10, 31), date(2026, 10, 31))]
    assert (await measures.finding_counts())[house.NAME, "visit-gap"][0] == 1
    await turn(made, "2026-11-01T01:30:00+03:30")
    assert len(await measures.findings(house.NAME)) == 1
    await publish(made, house.visit("late", "a", "north", "2026-10-29T09:00:00+03:30", 95))
    await turn(made, "2026-11-02T01:30:00+03:30")
    assert await measures.findings(house.NAME) == []


async def test_findings_of_a_day_are_a_document_of_that_day(made: House) -> None:
    """A day without findings makes none: the schedule of findings begins on 1 November."""
    await publish(made, house.visit("v1", "a", "north", "2026-10-27T09:00:00+03:30", 95))
    await turn(made, "2026-11-10T09:00:00+03:30")
    bundles = [each for each in await made.documents() if "DetectedIssue" in _kinds(each)]
    assert len(bundles) == 1
    issue = bundles[0]["entry"][-1]["resource"]
    assert issue["identifiedDateTime"] == "2026-11-03"
    assert "آزمایشی" not in issue["detail"]
    assert issue["mitigation"][0]["action"]["text"]


async def test_a_measure_that_fails_stops_no_other(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is tried again: the mark does not move."""
    await publish(made, house.visit("v1", "a", "north", "2026-10-05T09:00:00+03:30", 95))
    answer = made.ledger.measures.answer

    async def failing(statement: Any, parameters: Any) -> Any:
        if "gap" in statement.name:
            raise GatewayError("GW-MEASURE-006", measure="visit-gap", detail="test")
        return await answer(statement, parameters)

    monkeypatch.setattr(made.ledger.measures, "answer", failing)
    assert await turn(made, "2026-10-25T12:00:00+03:30") == 1
    assert await made.ledger.measures.mark(house.NAME, "findings") is None
    assert [line["state"] for line in made.loop.failing()] == ["day-club/findings fails"]
    monkeypatch.undo()
    await made.loop.round()
    assert list(made.loop.failing()) == []
    assert await made.ledger.measures.mark(house.NAME, "findings") is not None


# --- pure ----------------------------------------


def _programme(home: Path, **plan: Any) -> tuple[programme.Programme, programme.SchedulePlan]:
    made = programme.load(home, house.NAME)
    return made, programme.SchedulePlan(**({"name": "s", "kind": "club-report", "measures": ("long-visits",)} | plan))


@pytest.mark.parametrize(
    ("plan", "mark", "now", "expected"),
    [
        ({"period": "month"}, "2024-02-19", "2024-05-01T00:00:00+03:30", ["1402-12", "1403-01"]),
        ({"period": "month", "calendar": "gregorian"}, "2026-09-30", "2026-11-01T00:00:00+03:30", ["2026-10"]),
        ({"period": "quarter"}, "2026-06-21", "2026-12-22T00:00:00+03:30", ["1405-Q2", "1405-Q3"]),
        ({"period": "half-year"}, "2026-03-20", "2026-09-23T00:00:00+03:30", ["1405-H1"]),
        ({"period": "year"}, "2020-03-19", "2021-03-21T00:00:00+03:30", ["1399"]),
        ({"period": "year"}, "2020-03-19", "2021-03-20T23:59:59+03:30", []),
        ({"period": "week"}, "2026-11-13", "2026-11-21T00:00:00+03:30", ["1405-08-23/P7D"]),
        ({"period": "month", "valid_to": "2026-10-01"}, "2026-08-22", "2026-12-01T00:00:00+03:30",
         ["1405-06", "1405-07"]),
        ({"period": "dates", "calendar": "gregorian", "on": ("12-01",)}, "2024-11-30", "2025-12-01T00:00:00+03:30",
         ["2024-12-01/2025-11-30"]),
        ({"period": "dates", "calendar": "gregorian", "on": ("2025-12-01",), "valid_from": "2025-06-01"}, "2025-05-31",
         "2025-12-01T00:00:00+03:30", []),
        ({"period": "day", "after": "PT6H"}, "2026-11-18", "2026-11-21T05:59:00+03:30", ["1405-08-28"]),
    ],
)  # fmt: skip
def test_periods_that_have_ended(home: Path, plan: dict[str, Any], mark: str, now: str, expected: list[str]) -> None:
    """Leap year 1399 ends on 20 March 2021; weeks begin on Saturday; a period is due when its day has passed there."""
    made, schedule = _programme(home, **plan)
    found = schedules.due(made, schedule, periods.number(date.fromisoformat(mark)), at(now))
    assert [each.label for each in found] == expected


def test_the_first_start_reports_nothing_of_the_past(home: Path) -> None:
    """Unless `valid_from` says so."""
    made, schedule = _programme(home)
    now = at("2026-11-10T12:00:00+03:30")
    mark = schedules.first_mark(made, schedule, now)
    assert schedules.due(made, schedule, mark, now) == []
    assert [each.label for each in schedules.due(made, schedule, mark, now + timedelta(days=14))] == ["1405-08"]


@pytest.mark.parametrize(
    "wrong", ['kind = "nothing"', 'on = ["12-01"]', 'after = "P1M"', 'measures = ["no-such"]', 'unit = "street"']
)
async def test_a_schedule_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path, wrong: str) -> None:
    """With its name and the programme's."""
    home = house.build(tmp_path / "home")
    key = wrong.partition(" ")[0]
    lines = house.PROGRAMME.splitlines()
    place = lines.index('name = "club-month"')
    lines = [each for n, each in enumerate(lines) if n <= place or n > place + 6 or not each.startswith(f"{key} =")]
    lines.insert(place + 1, wrong)
    (home / "mappings" / house.NAME / "programme.toml").write_text("\n".join(lines), encoding="utf-8")
    settings = Settings(home=str(home), programmes=(house.NAME,))
    async with store.open("", tmp_path / "data", FixedClock(at("2026-10-20T12:00:00+03:30"))) as ledger:
        with pytest.raises((Misconfigured, GatewayError), match=r"GW-MEASURE-00[47]"):
            await measuring.use(settings, house.load(home), ledger)
