"""What a year of a thousand centres costs: `python -m bench.centres [--sessions N …] [--url postgresql://…] [--each]`.

The rows of behzisti's own views are written straight into their tables (publishing is the business of bench/map.py and
bench/measure.py); then every measure of its monthly schedule is evaluated for each of the twelve Jalali months, as the
schedule does at the end of a month. A client comes on three days a week, for two sessions of ninety minutes each; one
day in a hundred is missed, and one in a hundred of the conferences, videos, diets and reports was never made.

The memory is how far the peak of the reading process rose above what it used before the first statement. SQLite's
statistics are not gathered, because nobody gathers them in service; PostgreSQL's are, as an autovacuum does.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.measure import ROOT, analyse, forget_peak, peak
from gateway import measuring, store, workers
from gateway.clock import FixedClock
from gateway.formats import periods
from gateway.measure.reports import Evaluator
from gateway.settings import Settings
from gateway.store import view_tables

NAME: Final = "behzisti"
SCHEDULE: Final = "centre-month"
YEAR: Final = 1404
FIRST: Final = periods.number(date(2025, 3, 21))  # 1404-01-01
DAYS: Final = 365
NOW: Final = datetime(2026, 4, 1, 12, tzinfo=UTC)
CENTRES: Final = 1_000
A_YEAR: Final = 308
"""Sessions of a client in a year: two on each of three days a week, less what is missed."""
CAME: Final = (6, 1, 3)  # ISO weekdays: Saturday, Monday, Wednesday
KINDS: Final = ("physiotherapy", "occupational-therapy", "speech-therapy", "occupational-therapy", "psychology",
                "cognitive-occupational-therapy")  # fmt: skip
ROLES: Final = {
    "technical-supervisor": ("share", 1), "physiotherapist": ("share", 1), "occupational-therapist": ("share", 1),
    "speech-therapist": ("days", 2), "psychologist": ("days", 2), "education-trainer": ("share", 2),
    "art-trainer": ("hours", 8), "service-staff": ("share", 2),
}  # fmt: skip
Row = dict[str, Any]


def moment(name: str, day: int | None, second: int = 30_000) -> Row:
    """The three columns of a moment."""
    if day is None:
        return {name: None, f"{name}_day": None, f"{name}_at": None}
    text = (date(1970, 1, 1) + timedelta(days=day)).isoformat()
    return {name: text, f"{name}_day": day, f"{name}_at": day * 86_400 + second}


def centres() -> Iterator[tuple[str, Row]]:
    for n in range(CENTRES):
        places = {"code": f"{n:06}", "title": "مرکز آزمایشی", "capacity": 50, "subsidised": 40}
        licence = moment("licensed", FIRST - 900) | moment("expires", FIRST + 900)
        yield "centre", {"resource_id": f"o{n}", **places, **licence}
        for role, (counted, needed) in ROLES.items():
            amount = {"share": None, "days": None, "hours": None} | {counted: float(needed)}
            stay = moment("started", FIRST - 800) | moment("ended", None)
            named = {"person": f"s{n}-{role}", "centre": f"o{n}", "kind": role}
            yield "role", {"resource_id": f"r{n}-{role}", **named, **amount, **stay}


def numbered(client: str, numbers: Iterator[int]) -> Row:
    """A further resource of a client."""
    return {"resource_id": f"{client}-{next(numbers)}", "client": client}


def clients(count: int) -> Iterator[tuple[str, Row]]:
    """Who is in a centre, and what of a file the measures read."""
    dice = random.Random(7)
    for n in range(count):
        client, centre = f"c{n}", f"o{n % CENTRES}"
        own = partial(numbered, client, itertools.count())
        born, began = FIRST - dice.randrange(800, 5_000), FIRST - dice.randrange(5, 500)
        left = began + dice.randrange(300, 900) if dice.random() < 0.2 else None
        birth = {"birth": moment("birth", born)["birth"], "birth_day": born, "birth_at": None}
        yield "client", {"resource_id": client, "code": f"{n:010}", **birth}
        stay = {"status": "finished" if left else "active", "subsidised": int(n // CENTRES % 5 < 4), "shift": "morning"}
        exit = {"reason": "family" if left else None, "approved": int(bool(left)), "notified": 0, "consented": 0}
        asked = {"requested": moment("requested", began - 9)["requested"], "requested_day": began - 9}
        dates = {**asked, "requested_at": None, **moment("started", began), **moment("ended", left)}
        yield "episode", {**own(), "centre": centre, **stay, **exit, **dates}
        yield "impairment", {**own(), "admission_group": "neuro-before" if n % 3 else "ortho"}
        for kind in ("physiotherapy", "speech-therapy", "psychology", "eating"):
            trend = {"stage": "initial", "trend": None}
            yield "assessment", {**own(), "kind": kind, **trend, **moment("assessed", began + 2)}
        for kind in sorted(set(KINDS)):
            day = {"started": "", "started_day": began + 2, "started_at": None, "due": None, "due_day": None}
            yield "goal", {**own(), "kind": kind, **day, "due_at": None}
        yield "plan", {**own(), "replacing": 0, **moment("made", began + 3)}
        yield "composition", {**own(), "kind": "specialised-file", **moment("written", began + 20)}
        last = min(left or FIRST + DAYS, FIRST + DAYS)
        yield from regular(dice, own, centre, began, last)


def regular(
    dice: random.Random, own: Callable[[], Row], centre: str, began: int, last: int
) -> Iterator[tuple[str, Row]]:
    """What comes again and again."""
    for day in range(began + 2, last, 170):
        if dice.random() > 0.01:
            yield "video", {**own(), **moment("taken", day)}
            yield "diet", {**own(), **moment("ordered", day)}
    for day in range(began + 80, last, 80):
        if dice.random() > 0.01:
            trend = "regression" if dice.random() < 0.02 else "progress"
            yield "conference", {**own(), "centre": centre, "trend": trend, **moment("held", day)}
            if trend == "regression":
                yield "plan", {**own(), "replacing": 1, **moment("made", day + 3)}
    for day in range(max(began, FIRST) + 10, last, 29):
        if dice.random() > 0.01:
            yield "composition", {**own(), "kind": "art-report", **moment("written", day)}


def days(count: int) -> Iterator[tuple[str, Row]]:
    """Attendance and sessions, in the order of the days."""
    dice = random.Random(11)
    for day in range(FIRST, FIRST + DAYS):
        if (date(1970, 1, 1) + timedelta(days=day)).isoweekday() not in CAME:
            continue
        began, ended, gone = moment("started", day), moment("ended", day, 35_400), moment("departed", day, 42_000)
        for n in range(count):
            if dice.random() < 0.01:
                continue
            here = {"client": f"c{n}", "centre": f"o{n % CENTRES}"}
            came = {**moment("arrived", day), **gone, "shift": "morning"}
            yield "attendance", {"resource_id": f"t{n}-{day}", **here, **came}
            for turn in (0, 1):
                kind = KINDS[(day + n + turn * 3) % len(KINDS)]
                yield "session", {"resource_id": f"x{n}-{day}-{turn}", **here, "kind": kind, **began, **ended}


async def fill(ledger: store.Ledger, count: int) -> dict[str, int]:
    """All rows into their tables, in large commits; how many in each."""
    views = ledger._views
    assert views is not None
    tables = {each.name: view_tables.of_view(each) for each in views.tables if each.name.startswith(f"v_{NAME}_")}
    waiting: dict[str, list[Row]] = defaultdict(list)
    total: dict[str, int] = defaultdict(int)
    common = {"row_no": 0, "sender": "centre", "document": None, "published_at": 0, "received_at": 0}

    async def flush(name: str) -> None:
        rows = waiting.pop(name)
        await ledger._writer.submit(lambda group: group.hand.insert(tables[f"v_{NAME}_{name}"], rows))

    for name, row in itertools.chain(centres(), clients(count), days(count)):
        waiting[name].append(common | row)
        total[name] += 1
        if len(waiting[name]) >= 20_000:
            await flush(name)
    for name in list(waiting):
        await flush(name)
    return total


async def empty(ledger: store.Ledger) -> None:
    views = ledger._views
    assert views is not None
    for each in views.tables:
        if each.name.startswith(f"v_{NAME}_") and "_table_" not in each.name:
            statement = f"DELETE FROM {each.name}"
            await ledger._writer.submit(
                lambda group, statement=statement: group.connection.exec_driver_sql(statement)  # type: ignore[misc]
            )


async def run(
    ledger: store.Ledger, evaluator: Evaluator, names: Sequence[str], sessions: int, each: bool, gather: bool
) -> None:
    """One line of the table, and with `each` one for each measure."""
    await empty(ledger)
    began = time.perf_counter()
    total = await fill(ledger, max(1, round(sessions / A_YEAR)))
    filled = time.perf_counter() - began
    if gather:
        await analyse(ledger)
    spent: dict[str, float] = defaultdict(float)
    counted: dict[str, int] = defaultdict(int)
    months, before = [], forget_peak()
    for month in range(1, 13):
        period, took = periods.parse(f"{YEAR}-{month:02}", "jalali"), 0.0
        for name in names:
            began = time.perf_counter()
            report = await evaluator.report(evaluator.catalogue.one(NAME, name), period, NOW)
            seconds, found = time.perf_counter() - began, len(report.lines or report.findings)
            spent[name] += seconds
            counted[name] += found
            took += seconds
        months.append(took)
    rose = peak() - before
    what = f"{total['session']:,} sessions, {total['attendance']:,} days of attendance, {total['client']:,} clients"
    times = f"{sum(months):.1f} s | {sum(months) / 12:.2f} s; {max(months):.2f} s"
    print(f"| {what} | {times} | {sum(counted.values()):,} | +{rose:.0f} MiB | {filled:.0f} s |", flush=True)
    if each:
        for name in names:
            print(f"|   {name} | {spent[name]:.2f} s | {spent[name] / 12:.2f} s | {counted[name]:,} | | |", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--url", default="", help="postgresql://…; an empty database")
    parser.add_argument("--each", action="store_true", help="each measure too")
    asked = parser.parse_args()
    settings = Settings(home=str(ROOT), programmes=(NAME,))
    programmes = workers.load_programmes(settings)
    names = next(each.measures for each in programmes[NAME].schedule if each.name == SCHEDULE)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        async with store.open(asked.url, Path(folder), FixedClock(NOW)) as ledger:
            evaluator = Evaluator(await measuring.use(settings, programmes, ledger), ledger.measures)
            print("| a year of 1,000 centres | 12 months | a month; the longest | lines | memory | filling |")
            print("|---|---|---|---|---|---|")
            for sessions in asked.sessions:
                await run(ledger, evaluator, names, sessions, asked.each, bool(asked.url))


if __name__ == "__main__":
    asyncio.run(main())
