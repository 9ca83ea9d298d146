# ruff: noqa: E501 - tables of rows
"""Every number of the instruction over time: one below, at it, one above; month ends, the leap year, third birthdays."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import behzisti_lab as lab
import pytest
from behzisti_centre import g, j, plus_months

from gateway import store
from gateway.clock import FixedClock
from gateway.formats.periods import Period
from gateway.message import Json
from gateway.settings import MeasureSetting

BASE = "https://behzisti.gateway.invalid/fhir"
SPAN = Period("all", g(1396, 1, 1), g(1404, 12, 29))
DAY = timedelta(days=1)
OPENED = g(1399, 1, 1)


def ext(name: str, **value: Any) -> Json:
    return {"url": f"{BASE}/StructureDefinition/{name}", **value}


def coded(system: str, code: str) -> Json:
    return {"coding": [{"system": f"{BASE}/CodeSystem/{system}", "code": code}]}


class World:
    """Resources for the views, as short as they can be."""

    def __init__(self) -> None:
        self.made: list[Json] = []
        self.count = 0
        self.wanted: dict[tuple[str, str], set[tuple[str, str]]] = {}

    def add(self, kind: str, **body: Any) -> str:
        self.count += 1
        id = body.pop("id", None) or f"r{self.count}"
        self.made.append({"resourceType": kind, "id": id, **body})
        return id

    def centre(self, id: str, capacity: int = 50, subsidised: int = 40, licensed: date = OPENED) -> str:
        ids = [("centre", id, {}), ("licence", "L", {"period": {"start": str(licensed)}})]
        self.add(
            "Organization", id=id, name=id,
            identifier=[{"system": f"{BASE}/identifier/{n}", "value": v, **more} for n, v, more in ids],
            extension=[ext("capacity", valuePositiveInt=capacity), ext("subsidised-capacity", valueUnsignedInt=subsidised)],
        )  # fmt: skip
        return id

    def client(self, name: str, born: date = date(2000, 1, 1), group: str = "neuro-before") -> str:
        self.add(
            "Patient",
            id=name,
            birthDate=str(born),
            identifier=[{"system": f"{BASE}/identifier/disability-code", "value": name}],
        )
        self.add("Condition", subject=self.of(name), category=[coded("admission-group", group)])
        return name

    def of(self, name: str) -> Json:
        return {"reference": f"Patient/{name}"}

    def stay(self, name: str, start: date | None, end: date | None = None, centre: str = "k", subsidised: bool = False,
             reason: str = "other", asked: date | None = None, **marks: str) -> None:  # fmt: skip
        period: Json = {} if start is None else {"start": str(start)}
        status = "waitlist" if start is None else "active"
        extension = [ext("request-date", valueDate=str(asked or start)), ext("subsidised", valueBoolean=subsidised)]
        if end is not None:
            status, period["end"] = "finished", str(end)
            extension.append(ext("discharge-reason", valueCodeableConcept=coded("discharge-reason", reason)))
        extension += [ext(mark.replace("_", "-"), valueString=value) for mark, value in marks.items()]
        self.add("EpisodeOfCare", status=status, patient=self.of(name), period=period, extension=extension,
                 managingOrganization={"reference": f"Organization/{centre}"})  # fmt: skip

    def encounter(self, name: str, kind: str, day: date, trend: str = "", centre: str = "k") -> None:
        more = {"extension": [ext("trend", valueCode=trend)]} if trend else {}
        self.add("Encounter", status="finished", type=[coded("kind", kind)], subject=self.of(name), period={"start": str(day)},
                 serviceProvider={"reference": f"Organization/{centre}"}, **more)  # fmt: skip

    def session(self, name: str, kind: str, day: date, minutes: int = 60, hour: int = 8) -> None:
        begun = datetime(day.year, day.month, day.day, hour, tzinfo=lab.TEHRAN)
        ended = begun + timedelta(minutes=minutes)
        self.add("Procedure", status="completed", code=coded("service-type", kind), subject=self.of(name),
                 performedPeriod={"start": begun.isoformat(), "end": ended.isoformat()},
                 performer=[{"onBehalfOf": {"reference": "Organization/k"}}])  # fmt: skip

    def video(self, name: str, day: date) -> None:
        self.add("Media", subject=self.of(name), createdDateTime=str(day), content={"url": "file:x"})

    def expect(self, measure: str, name: str, *found: tuple[str, date]) -> None:
        self.wanted[measure, name] = {(code, j(day)) for code, day in found}


def intervals(world: World) -> None:
    """Three months between conferences, six between videos and between diet plans."""
    for name, start, late, due in [
        ("day-before", g(1399, 7, 30), -1, None), ("on-the-day", g(1399, 7, 30), 0, None),
        ("day-after", g(1399, 7, 30), 1, g(1399, 10, 30)), ("long-month", g(1399, 6, 31), 1, g(1399, 9, 30)),
        ("leap-end", g(1399, 9, 30), 1, g(1399, 12, 30)), ("leap-end-on", g(1399, 9, 30), 0, None),
        ("plain-end", g(1400, 9, 30), 1, g(1400, 12, 29)), ("nowruz", g(1399, 10, 1), 1, g(1400, 1, 1)),
    ]:  # fmt: skip
        for measure, months, code in [
            ("case-conference", 3, "B-40-late"),
            ("video", 6, "B-43-late"),
            ("nutritionist", 6, "B-69-late"),
        ]:
            client = world.client(f"{measure}-{name}")
            begun = start if months == 3 else g(1399, 3, 30) if name.startswith("leap") else start
            day = plus_months(begun, months)
            world.stay(client, begun, day + timedelta(days=10))
            held = day + late * DAY
            if measure == "case-conference":
                world.encounter(client, "case-conference", held)
            elif measure == "video":
                world.video(client, held)
            else:
                world.add("NutritionOrder", patient=world.of(client), dateTime=str(held))
            if months == 3 and due is not None:
                assert day == due
            world.expect(measure, client, *([(code, day)] if late > 0 else []))
    for offset in (-1, 0, 1):  # gone on the day itself, or before: nothing was owed any more
        client = world.client(f"left-{offset}")
        world.stay(client, g(1399, 7, 1), g(1399, 10, 1) - offset * DAY)
        world.expect("case-conference", client, *([("B-40-late", g(1399, 10, 1))] if offset == -1 else []))


def exits(world: World) -> None:
    """Nine months, and one year without subsidy."""
    for start, end, found in [
        (g(1399, 6, 31), g(1400, 3, 30), True), (g(1399, 6, 31), g(1400, 3, 31), False), (g(1399, 6, 31), g(1400, 4, 1), False),
        (g(1400, 3, 31), g(1400, 12, 28), True), (g(1400, 3, 31), g(1400, 12, 29), False),
        (g(1399, 3, 31), g(1399, 12, 29), True), (g(1399, 3, 31), g(1399, 12, 30), False),
    ]:  # fmt: skip
        client = world.client(f"exit-{start}-{end}")
        world.stay(client, start, end)
        world.expect("early-exit", client, *([("B-32-no-consent", end)] if found else []))
    for name, marks, code in [
        ("approved", {"ts_approval": "1"}, ""),
        ("consent", {"committee_consent": "1"}, "B-31-stop"),
    ]:
        client, end = world.client(f"exit-{name}"), g(1399, 9, 1)
        world.stay(client, g(1399, 7, 1), end, **marks)
        world.expect("early-exit", client, *([(code, end)] if code else []))
    dead = world.client("exit-dead")
    world.stay(dead, g(1399, 7, 1), g(1399, 9, 1), reason="deceased")
    world.expect("early-exit", dead)
    for again, found in ((g(1400, 12, 28), True), (g(1400, 12, 29), False), (g(1401, 1, 1), False)):
        client = world.client(f"again-{again}")
        world.stay(client, g(1399, 9, 1), g(1399, 12, 30))
        world.stay(client, again, subsidised=True)
        world.expect("subsidy-stop", client, *([("B-33-early", again)] if found else []))


def months_and_days(world: World) -> None:
    """Twelve days a month; three hours a day; not under three years."""
    for count in (11, 12, 13):
        client = world.client(f"days-{count}")
        world.stay(client, g(1399, 12, 1), g(1399, 12, 30), subsidised=True)
        for day in range(count):
            world.encounter(client, "attendance", g(1399, 12, 30) - day * DAY)
        world.expect("attendance-days", client, *([("B-60-below", g(1399, 12, 30))] if count < 12 else []))
    free = world.client("days-unsubsidised")
    world.stay(free, g(1399, 12, 1), g(1399, 12, 30))
    world.expect("attendance-days", free)
    for minutes in (179, 180, 181):
        client = world.client(f"minutes-{minutes}")
        world.encounter(client, "attendance", g(1401, 1, 2))  # the clocks of 1401 went forward that night
        world.session(client, "physiotherapy", g(1401, 1, 2), 90)
        world.session(client, "occupational-therapy", g(1401, 1, 2), minutes - 90, 10)
        world.expect("hours-a-day", client, *([("B-61-short", g(1401, 1, 2))] if minutes < 180 else []))
    for born, third in (
        (g(1399, 12, 30), g(1402, 12, 29)),
        (g(1397, 5, 10), g(1400, 5, 10)),
        (g(1397, 6, 31), g(1400, 6, 31)),
    ):
        for offset in (-1, 0, 1):
            client = world.client(f"born-{born}-{offset}", born)
            world.encounter(client, "attendance", third + offset * DAY)
            world.session(client, "physiotherapy", third + offset * DAY, 60)
            world.expect("hours-a-day", client, *([("B-61-short", third + offset * DAY)] if offset >= 0 else []))
    for name, day, found in (("last", g(1399, 12, 30), False), ("next", g(1400, 1, 1), True)):
        client = world.client(f"art-{name}")
        world.stay(client, g(1399, 12, 1), g(1400, 1, 1))
        world.add("Composition", type=coded("kind", "art-report"), subject=world.of(client), date=str(day))
        world.expect("art-report", client, *([("B-93-missing", g(1399, 12, 30))] if found else []))
    partly = world.client("art-partly")
    world.stay(partly, g(1399, 12, 2), g(1399, 12, 30))
    world.expect("art-report", partly)


def weeks(world: World) -> None:
    """One physiotherapy and two occupational therapy sessions a week, from Saturday to Friday."""
    saturday, friday = g(1399, 12, 30), g(1400, 1, 6)  # the week of Nowruz: Saturday and Thursday are worked
    assert (saturday.isoweekday(), friday.isoweekday()) == (6, 5)
    for physio, occupational in ((0, 2), (1, 1), (1, 2), (2, 3)):
        client = world.client(f"week-{physio}-{occupational}")
        world.stay(client, saturday, friday)
        for kind, count in (("physiotherapy", physio), ("occupational-therapy", occupational)):
            for hour in range(count):
                world.session(client, kind, friday - DAY, hour=8 + hour)
        found = [("B-81-few", friday)] * (physio < 1) + [("B-84-few", friday)] * (occupational < 2)
        world.expect("weekly-sessions", client, *found)
    for name, start, end in (("from-sunday", saturday + DAY, friday), ("to-thursday", saturday, friday - DAY)):
        client = world.client(f"week-{name}")
        world.stay(client, start, end)
        world.expect("weekly-sessions", client)


def places(world: World) -> None:
    """Subsidised capacity, the waiting list, and the days for a new plan."""
    for count in (1, 2, 3):
        centre = world.centre(f"places-{count}", subsidised=2)
        for number in range(count):
            world.stay(world.client(f"{centre}-{number}"), g(1399, 7, 1 + number), subsidised=True, centre=centre)
        world.expect("subsidised-places", centre, *([("B-59-over", g(1399, 7, 3))] if count > 2 else []))
    centre = world.centre("freed", subsidised=1)  # a place is free on the day of the discharge
    world.stay(world.client("freed-a"), g(1399, 1, 1), g(1400, 1, 1), centre=centre, subsidised=True)
    world.stay(world.client("freed-b"), g(1400, 1, 1), centre=centre, subsidised=True)
    world.expect("subsidised-places", centre)
    for name, group, asked, found in [
        ("first", "neuro-before", g(1399, 2, 1), "B-23-passed-over"), ("later-but-first", "neuro-before", g(1399, 6, 30), "B-23-passed-over"),
        ("same-kind", "ortho", g(1399, 4, 9), "B-34-not-next"), ("same-day", "ortho", g(1399, 4, 10), ""), ("after", "ortho", g(1399, 4, 11), ""),
        ("asked-afterwards", "neuro-before", g(1399, 7, 2), ""),
    ]:  # fmt: skip
        centre = world.centre(f"wait-{name}")
        world.stay(world.client(f"{centre}-w", group=group), None, asked=asked, centre=centre)
        admitted = world.client(f"{centre}-a", group="ortho")
        world.stay(admitted, g(1399, 7, 1), asked=g(1399, 4, 10), centre=centre)
        world.expect("waiting-order", admitted, *([(found, g(1399, 7, 1))] if found else []))
    for days in (13, 14, 15):
        client, seen = world.client(f"worse-{days}"), g(1399, 12, 20)
        world.stay(client, g(1399, 7, 1))
        world.encounter(client, "case-conference", seen, "regression")
        world.add(
            "CarePlan",
            subject=world.of(client),
            created=str(seen + timedelta(days=days)),
            replaces=[{"reference": "CarePlan/x"}],
        )
        world.expect(
            "plan-after-regression", client, *([("B-42-no-plan", seen + timedelta(days=14))] if days > 14 else [])
        )


STAFF = [
    ("technical-supervisor", "B-64", "full-time-share", 1), ("physiotherapist", "B-65", "full-time-share", 1),
    ("occupational-therapist", "B-66", "full-time-share", 1), ("speech-therapist", "B-67", "days-per-week", 2),
    ("psychologist", "B-68", "days-per-week", 2), ("education-trainer", "B-70", "full-time-share", 2),
    ("art-trainer", "B-71", "hours-per-week", 8), ("service-staff", "B-76", "full-time-share", 2),
]  # fmt: skip


def staff(world: World) -> None:
    """Each role a step below, at and above what 25, 50, 51 and 100 clients need."""
    for capacity in (25, 50, 51, 100):
        for step in (-0.01, 0, 0.01):
            centre = world.centre(f"staff-{capacity}{step:+}", capacity)
            found = set()
            for role, rule, name, needed in STAFF:
                have = round(needed * capacity / 50 + step, 4)
                world.add("PractitionerRole", organization={"reference": f"Organization/{centre}"}, practitioner={"reference": "Practitioner/p"},
                          code=[coded("staff-role", role)], period={"start": str(g(1399, 1, 1))}, extension=[ext(name, valueDecimal=have)])  # fmt: skip
                if step < 0:
                    found.add((f"{rule}-short", g(1399, 1, 1)))
            world.expect("staffing", centre, *found)


async def answered(
    folder: Path, world: World, url: str = "", **settings: Any
) -> dict[tuple[str, str], set[tuple[str, str]]]:
    async with store.open(url, folder, FixedClock(lab.AT)) as ledger:
        evaluator = await lab.evaluator(ledger, **settings)
        await lab.keep(ledger, world.made)
        found: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for measure in evaluator.catalogue.of("behzisti"):
            name, made = measure.name, await evaluator.report(measure, SPAN, lab.AT)
            if made.lines:
                found[name, "lines"] = {
                    (str(line.grain), f"{float(line.numerator or 0)}/{float(line.denominator or 0)}")
                    for line in made.lines
                }
            for each in made.findings:
                day = date.fromordinal(each.due_day + date(1970, 1, 1).toordinal())
                found.setdefault((name, each.subject), set()).add((each.code, j(day)))
        return found


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[World, dict[tuple[str, str], set[tuple[str, str]]]]:
    made = World()
    made.centre("k")
    for part in (intervals, exits, months_and_days, weeks, places, staff):
        part(made)
    return made, asyncio.run(answered(tmp_path_factory.mktemp("world"), made))


MEASURES = [
    "case-conference",
    "video",
    "nutritionist",
    "early-exit",
    "subsidy-stop",
    "attendance-days",
    "hours-a-day",
    "art-report",
    "weekly-sessions",
    "subsidised-places",
    "waiting-order",
    "plan-after-regression",
    "staffing",
]


@pytest.mark.parametrize("measure", MEASURES)
def test_each_number_holds_at_its_boundary(
    measure: str, world: tuple[World, dict[tuple[str, str], set[tuple[str, str]]]]
) -> None:
    """One below, at the number, one above: the finding is there or not, and due on the right day."""
    made, found = world
    wanted = {subject: days for (name, subject), days in made.wanted.items() if name == measure}
    assert len(wanted) >= 3
    assert {subject: found.get((measure, subject), set()) for subject in wanted} == wanted


@pytest.mark.parametrize(
    ("rounding", "present", "short"),
    [
        ("none", 1.01, True),
        ("none", 1.02, False),
        ("up", 1.99, True),
        ("up", 2, False),
        ("down", 1, False),
        ("nearest", 1, False),
    ],
)
def test_rounding_of_pro_rata_staff_is_a_setting(tmp_path: Path, rounding: str, present: float, short: bool) -> None:
    """51 clients need 1.02 physiotherapists; the instruction does not say how that is rounded."""
    made = World()
    centre = made.centre("c51", 51)
    made.add("PractitionerRole", organization={"reference": f"Organization/{centre}"}, practitioner={"reference": "Practitioner/p"},
             code=[coded("staff-role", "physiotherapist")], period={"start": str(g(1399, 1, 1))},
             extension=[ext("full-time-share", valueDecimal=present)])  # fmt: skip
    made.wanted["staffing", centre] = set()
    setting = MeasureSetting(programme="behzisti", name="staffing", parameters={"rounding": rounding})
    found = asyncio.run(answered(tmp_path, made, measure=(setting,)))
    assert (("B-65-short", "1399/01/01") in found["staffing", centre]) is short


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """A private PostgreSQL on loopback, as the tests of the store have it."""
    path = Path(__file__).parents[2] / "rooms" / "store" / "store_servers.py"
    spec = importlib.util.spec_from_file_location("store_servers_of_behzisti", path)
    assert spec is not None
    assert spec.loader is not None
    servers = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = servers
    spec.loader.exec_module(servers)
    programs = servers._programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
    server = servers.Server(programs, folder)
    try:
        server.make()
        server.start()
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


@pytest.mark.long
def test_postgresql_finds_the_same(
    tmp_path: Path, postgresql: str, world: tuple[World, dict[tuple[str, str], set[tuple[str, str]]]]
) -> None:
    """One SELECT, two databases, the same findings to the day."""
    made, found = world
    assert asyncio.run(answered(tmp_path, made, postgresql)) == found
