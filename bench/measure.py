"""What views and measures cost: `python -m bench.measure [--sessions N] [--requests N] [--publish N] [--url postgresql://…]`.

Three things. `publish`: commits of documents with and without views, and building a view anew, through the ledger as
it is. `sessions`: a year of sessions of 1,000 centres by centre and Jalali month. `requests`: requests with priority
classes by company, class and month, then the same after one more day. The rows of the last two are written straight
into the tables of their views (publishing a million resources is the business of `publish`); the gateway reads them.

The memory is how far the peak of the reading process rose above what it used before the first statement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway import measuring, programme, store
from gateway.clock import SystemClock
from gateway.formats import periods
from gateway.measure.reports import Evaluator
from gateway.message import Step, StoredResource
from gateway.settings import Settings
from gateway.store import view_tables

NAME = "bench"
ROOT = Path(__file__).parents[1]
FIRST = date(2025, 3, 21)  # 1404-01-01
DAYS = 365
CENTRES = 1_000
ROWS = 20_000
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)

PROGRAMME = """
name = "bench"
language = "en"
timezone = "Asia/Tehran"
case = []
intake = []
document = []
route = []
[title]
en = "Bench"
fa = "Bench"
it = "Bench"
zh = "Bench"
[calendar]
weekend = [5]
calendar = "jalali"
"""
SESSION = {
    "resourceType": "ViewDefinition", "name": "session", "status": "active", "resource": "Procedure",
    "extension": [{"url": "urn:gateway:view-index", "valueString": "performed_day, centre, client"}],
    "select": [{"column": [
        {"name": "client", "path": "subject.getReferenceKey(Patient)"},
        {"name": "centre", "path": "performer.onBehalfOf.getReferenceKey(Organization).first()"},
        {"name": "kind", "path": "code.coding.code.first()", "type": "code"},
        {"name": "performed", "path": "performed.ofType(dateTime)", "type": "dateTime"},
    ]}],
}  # fmt: skip
REQUEST = {
    "resourceType": "ViewDefinition", "name": "request", "status": "active", "resource": "ServiceRequest",
    "extension": [{"url": "urn:gateway:view-index", "valueString": "booked_day, company, class"}],
    "select": [{"column": [
        {"name": "company", "path": "requester.identifier.value"},
        {"name": "class", "path": "category.coding.code.first()"},
        {"name": "booked", "path": "authoredOn", "type": "dateTime"},
        {"name": "offered", "path": "occurrence.ofType(dateTime)", "type": "dateTime"},
        {"name": "refused", "path": "doNotPerform", "type": "boolean"},
        {"name": "most", "path": "quantity.ofType(Quantity).value", "type": "integer"},
    ]}],
}  # fmt: skip
TEXTS = "\n".join(f'[{name}]\nen = "x"\nfa = "x"\nit = "x"\nzh = "x"' for name in ("title", "unit", "counted"))
MONTH = f"""
name = "sessions-by-month"
rule = []
kind = "count"
period = "month"
grain = ["centre"]
sql = '''SELECT centre, COUNT(*) AS numerator, COUNT(DISTINCT client) AS clients FROM v_bench_session
WHERE performed_day BETWEEN :from_day AND :to_day GROUP BY centre ORDER BY centre'''
{TEXTS}
"""
YEAR = f"""
name = "sessions-by-year"
rule = []
kind = "count"
period = "year"
grain = ["centre", "month"]
sql = '''SELECT s.centre AS centre, d.jalali_period AS month, COUNT(*) AS numerator FROM v_bench_session s
JOIN calendar_day d ON d.day = s.performed_day
WHERE s.performed_day BETWEEN :from_day AND :to_day GROUP BY s.centre, d.jalali_period'''
{TEXTS}
"""
WAITING = f"""
name = "waiting"
rule = []
kind = "proportion"
period = "month"
grain = ["company", "class"]
sql = '''SELECT company, class, SUM(CASE WHEN offered_day - booked_day <= most THEN 1 ELSE 0 END) AS numerator,
COUNT(*) AS denominator, SUM(refused) AS excluded_refused FROM v_bench_request
WHERE booked_day BETWEEN :from_day AND :to_day GROUP BY company, class ORDER BY company, class'''
{TEXTS}
[excluded.refused]
en = "x"
fa = "x"
it = "x"
zh = "x"
"""
MEASURES = {"sessions-by-month": MONTH, "sessions-by-year": YEAR, "waiting": WAITING}


def build(home: Path) -> Path:
    folder = home / "profiles" / NAME
    for each in (home / "mappings" / NAME, folder / "views", folder / "measures"):
        each.mkdir(parents=True)
    (home / "profiles" / "r4").symlink_to(ROOT / "profiles" / "r4")
    (home / "mappings" / NAME / "programme.toml").write_text(PROGRAMME)
    (folder / "views" / "session.json").write_text(json.dumps(SESSION))
    (folder / "views" / "request.json").write_text(json.dumps(REQUEST))
    for name, text in MEASURES.items():
        (folder / "measures" / f"{name}.toml").write_text(text)
    return home


# --- rows ----------------------------------------


def sessions(count: int) -> Iterator[dict[str, Any]]:
    chance, start = random.Random(7), periods.number(FIRST)
    for n in range(count):
        centre, day = n % CENTRES, start + n * DAYS // count
        at = day * 86_400 + 30_000
        client = f"c{centre}-{chance.randrange(50)}"
        named = {"client": client, "centre": f"o{centre:04}", "kind": ("PT", "OT", "ST")[n % 3]}
        yield _row(n, at) | named | _moment("performed", day, at)


def requests(count: int, days: int = DAYS, first: int = 0) -> Iterator[dict[str, Any]]:
    chance, start = random.Random(11), periods.number(FIRST)
    for n in range(count):
        day = start + first + n * days // count
        offered = day + chance.choice((1, 2, 5, 8, 12, 25, 40, 70, 140))
        named = {
            "company": f"a{n % 5}",
            "class": "UBDP"[n % 4],
            "refused": int(n % 17 == 0),
            "most": (3, 10, 30, 120)[n % 4],
        }
        at, later = day * 86_400 + 30_000, offered * 86_400 + 30_000
        yield _row(n + first * 10_000_000, at) | named | _moment("booked", day, at) | _moment("offered", offered, later)


def _row(n: int, at: int) -> dict[str, Any]:
    return {
        "resource_id": f"r{n}",
        "row_no": 0,
        "sender": "bench",
        "document": None,
        "published_at": at,
        "received_at": at,
    }


def _moment(name: str, day: int, at: int) -> dict[str, Any]:
    return {name: (date(1970, 1, 1) + timedelta(days=day)).isoformat(), f"{name}_day": day, f"{name}_at": at}


async def fill(ledger: store.Ledger, name: str, rows: Iterator[dict[str, Any]]) -> float:
    """Rows into the table of a view, in large commits."""
    views = ledger._views
    assert views is not None
    table = view_tables.of_view(next(each for each in views.tables if each.name == name))
    began = time.perf_counter()
    while True:
        part = [row for row, _ in zip(rows, range(ROWS), strict=False)]
        if not part:
            return time.perf_counter() - began
        await ledger._writer.submit(lambda group, part=part: group.hand.insert(table, part))  # type: ignore[misc]


# --- measuring ----------------------------------------


def forget_peak() -> float:
    """Begin a new peak; the MiB that are used now. Linux: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """MiB at the most since the last `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def timed(evaluator: Evaluator, name: str, period: str) -> tuple[float, int]:
    measure = evaluator.catalogue.one(NAME, name)
    began = time.perf_counter()
    report = await evaluator.report(measure, periods.parse(period, "jalali"), NOW)
    return time.perf_counter() - began, len(report.lines)


async def analyse(ledger: store.Ledger) -> None:
    """As an autovacuum does in its own time."""
    await ledger._writer.submit(lambda group: group.connection.exec_driver_sql("ANALYZE"))


def line(what: str, lines: int | str = "", took: str = "", more: str = "", memory: str = "") -> None:
    """One row of the table."""
    shown = f"{lines:,}" if isinstance(lines, int) else lines
    print(f"| {what} | {shown} | {took} | {more} | {memory} |", flush=True)


async def by_month(evaluator: Evaluator, count: int) -> None:
    began, before, lines = time.perf_counter(), forget_peak(), 0
    each = []
    for month in range(1, 13):
        seconds, found = await timed(evaluator, "sessions-by-month", f"1404-{month:02}")
        each.append(seconds)
        lines += found
    total, rose = time.perf_counter() - began, peak() - before
    most = f"{max(each):.2f} s a month"
    line(f"{count:,} sessions, 12 months one by one", lines, f"{total:.1f} s", most, f"+{rose:.0f} MiB")
    before = forget_peak()
    seconds, found = await timed(evaluator, "sessions-by-year", "1404")
    rose = peak() - before
    line(f"{count:,} sessions, the year in one statement", found, f"{seconds:.1f} s", "", f"+{rose:.0f} MiB")


async def waiting(ledger: store.Ledger, evaluator: Evaluator, count: int) -> None:
    began, before, lines = time.perf_counter(), forget_peak(), 0
    for month in range(1, 13):
        lines += (await timed(evaluator, "waiting", f"1404-{month:02}"))[1]
    total, rose = time.perf_counter() - began, peak() - before
    line(f"{count:,} requests, 12 months", lines, f"{total:.1f} s", "", f"+{rose:.0f} MiB")
    a_day = max(1, count // DAYS)
    wrote = await fill(ledger, "v_bench_request", requests(a_day, 1, DAYS))
    seconds, _ = await timed(evaluator, "waiting", "1405-01")
    again, _ = await timed(evaluator, "waiting", "1404-12")
    what = f"one more day ({a_day:,} requests): its rows, and the months that it touches"
    line(what, "", f"{wrote + seconds + again:.2f} s")


def encounter(n: int) -> StoredResource:
    body = {
        "resourceType": "Procedure", "id": f"p{n}", "status": "completed",
        "subject": {"reference": f"Patient/c{n % 500}"},
        "code": {"coding": [{"system": "urn:x", "code": "PT"}]},
        "performedDateTime": f"2026-01-{n % 28 + 1:02}T09:00:00+03:30",
        "performer": [
            {"actor": {"reference": "Practitioner/x"}, "onBehalfOf": {"reference": f"Organization/o{n % 40}"}}
        ],
    }  # fmt: skip
    return StoredResource(type="Procedure", id=f"p{n}", programme=NAME, sender="bench", body=json.dumps(body).encode())


async def publish(settings: Settings, count: int, size: int = 10) -> None:
    """The same commits with and without views, then the view made anew; in processor time, all threads together."""
    programmes = {NAME: programme.load(Path(settings.home), NAME)}
    views = measuring.views(settings, programmes)
    took = {}
    for with_views in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            async with store.open("", Path(folder), SystemClock(), None, views if with_views else None) as ledger:
                began = time.process_time()
                for start in range(0, count, 64 * size):
                    steps = [
                        Step(name="publish", at=NOW, writes=tuple(encounter(n) for n in range(first, first + size)))
                        for first in range(start, min(start + 64 * size, count), size)
                    ]
                    await asyncio.gather(*(ledger.commit(step) for step in steps))
                took[with_views] = time.process_time() - began
                if not with_views:
                    began = time.process_time()
                    await ledger.use_views(views)
                    anew = time.process_time() - began
    plain, viewed = took[False], took[True]
    more = f"{(viewed - plain) / count * 1e6:.0f} µs more a resource"
    line(
        f"publish {count:,} resources of one view, {size} a commit", "", f"{viewed:.1f} s, {plain:.1f} s without", more
    )
    line("make that view anew", "", f"{anew:.1f} s", f"{count / anew:,.0f} resources a second")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, nargs="*", default=[100_000, 200_000])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--publish", type=int, default=5_000)
    parser.add_argument("--url", default="", help="postgresql://…; an empty database")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        settings = Settings(home=str(build(Path(folder) / "home")), programmes=(NAME,))
        print("| what | lines | time | | memory of the reader |\n|---|---|---|---|---|")
        if asked.publish:
            await publish(settings, asked.publish)
        programmes = {NAME: programme.load(Path(settings.home), NAME)}
        async with store.open(asked.url, Path(folder) / "data", SystemClock()) as ledger:
            evaluator = Evaluator(await measuring.use(settings, programmes, ledger), ledger.measures)
            for count in asked.sessions:
                await ledger._writer.submit(
                    lambda group: group.connection.exec_driver_sql("DELETE FROM v_bench_session")
                )
                await fill(ledger, "v_bench_session", sessions(count))
                await analyse(ledger)
                await by_month(evaluator, count)
            if asked.requests:
                await fill(ledger, "v_bench_request", requests(asked.requests))
                await analyse(ledger)
                await waiting(ledger, evaluator, asked.requests)


if __name__ == "__main__":
    asyncio.run(main())
