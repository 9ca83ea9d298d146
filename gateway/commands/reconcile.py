"""`gateway reconcile A B --programme P`: what two destinations of one programme have, by centre and month.

In both, only in one, different; and with `--list DEST=FILE.csv` what a destination says that it has, compared by key
and by every column that both name. Where a case belongs and what it amounts to is data: `out/account.yaml`.
"""

from __future__ import annotations

import asyncio
import csv
import io
from argparse import Namespace
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway import settings as configuration
from gateway import workers
from gateway.commands import ledger, show
from gateway.errors import Misconfigured
from gateway.formats import calendars, json, table_csv
from gateway.formats.problem import Problem
from gateway.message import Json
from gateway.settings import Settings

FATES: Final = ("both", "only_first", "only_second", "different", "neither")


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("reconcile", help="what two destinations of a programme have, by centre and month")
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--programme", required=True)
    parser.add_argument("--account", default="account", help="output that says centre, day, key and amounts (account)")
    parser.add_argument("--calendar", choices=("jalali", "gregorian"), help="of the months (the programme's time zone)")
    parser.add_argument("--list", action="append", default=[], metavar="DEST=FILE.csv", help="what it says it has")
    parser.add_argument("--csv", type=Path, help="write the sums here")
    parser.add_argument("--json", action="store_true", help="sums and every case that is not in both, as JSON")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


class Case(NamedTuple):
    """One case as the ledger has it for one destination."""

    id: str
    centre: str
    month: str
    key: str
    taken: str | None  # digest of the last document that it took
    account: Mapping[str, Any]


def run(arguments: Namespace) -> int:
    """0 where everything is in both; 1 where something is not."""
    settings = configuration.load(arguments.config)
    for each in (arguments.first, arguments.second):
        settings.one_destination(each)
    calendar = arguments.calendar or ("jalali" if _jalali(settings, arguments.programme) else "gregorian")
    found = asyncio.run(_cases(settings, arguments, calendar))
    lists = dict(_listed(each) for each in arguments.list)
    lines = list(compare(found[0], found[1], lists.get(arguments.first), lists.get(arguments.second)))
    sums = summed(lines)
    if arguments.csv:
        arguments.csv.write_text(_csv(sums, arguments), encoding="utf-8")
    if arguments.json:
        odd = [line for line in lines if line["fate"] != "both"]
        whole = {"first": arguments.first, "second": arguments.second, "calendar": calendar}
        print(json.write({**whole, "sums": sums, "cases": odd}).decode())
    else:
        heads = ("centre", "month", "both", f"only {arguments.first}", f"only {arguments.second}", *FATES[3:])
        rows = [[line["centre"], line["month"], *(line[fate] for fate in FATES)] for line in sums]
        show.lines(show.table(heads, rows))
    return 0 if all(line["fate"] == "both" for line in lines) else 1


def _jalali(settings: Settings, programme: str) -> bool:
    return workers.load_programmes(settings)[programme].timezone == "Asia/Tehran"


async def _cases(settings: Settings, arguments: Namespace, calendar: str) -> tuple[dict[str, Case], dict[str, Case]]:
    mapper = workers.load_mapper(settings, workers.load_programmes(settings))
    target = f"{arguments.programme}/{arguments.account}"
    made: list[dict[str, Case]] = []
    for destination in (arguments.first, arguments.second):
        asked = {"programme": arguments.programme, "destination": destination}
        cases = {}
        async for line in ledger.answers(settings, "owed", asked):
            account = json.read(mapper.render(json.read(line["document"]["body"].encode()), target, {}))
            cases[line["case"]] = _case(line, account, calendar)
        made.append(cases)
    return made[0], made[1]


def _case(line: Json, account: Mapping[str, Any], calendar: str) -> Case:
    day = str(account.get("day") or line["document"]["made_at"])
    taken = line["taken"]["digest"] if line["taken"] else None
    centre, key = str(account.get("centre") or line["sender"]), str(account.get("key") or line["case"])
    return Case(line["case"], centre, month_of(day, calendar), key, taken, account)


def month_of(day: str, calendar: str) -> str:
    """The month that a day belongs to: 1399-08 or 2020-10."""
    found = calendars.parse(day[:10])
    if isinstance(found, Problem):
        return "unknown"
    if calendar == "gregorian":
        return found.first.isoformat()[:7]
    year, month, _ = calendars.to_jalali(found.first)
    return f"{year:04}-{month:02}"


def _listed(text: str) -> tuple[str, dict[str, dict[str, str]]]:
    name, equals, file = text.partition("=")
    if not equals:
        raise Misconfigured(detail=f"--list {text}: not like DESTINATION=FILE.csv")
    table = table_csv.read(Path(file).read_bytes(), "", "")
    rows: dict[str, dict[str, str]] = {}
    for sheet in table.sheets:
        for row in sheet:
            cells = {n: str(c) for n, c in zip(sheet.heading.names, row.cells, strict=False)}
            rows[cells.get("key", "")] = cells
    if not rows or "" in rows:
        raise Misconfigured(detail=f"--list {name}: every row needs a value in the column `key`")
    return name, rows


Listed = Mapping[str, Mapping[str, str]] | None


def compare(first: Mapping[str, Case], second: Mapping[str, Case], one: Listed, other: Listed) -> Iterable[Json]:
    """One line for each case: where it belongs, its fate, and in which columns lists disagree."""
    for id in dict.fromkeys((*first, *second)):
        a, b = first.get(id), second.get(id)
        case = a or b
        assert case is not None
        there = [_there(a, one), _there(b, other)]
        odd = sorted({*_differs(a, one), *_differs(b, other)})
        if a and b and all(there) and one is None and other is None and a.taken != b.taken:
            odd = ["version"]
        fate = "neither" if not any(there) else "only_first" if not there[1] else "only_second"
        fate = fate if not all(there) else ("different" if odd else "both")
        yield {"case": id, "centre": case.centre, "month": case.month, "key": case.key, "fate": fate, "differs": odd}
    yield from _strangers(one, first, "only_first")
    yield from _strangers(other, second, "only_second")


def _there(case: Case | None, listed: Listed) -> bool:
    """By the destination's own list where it gave one; else by what it answered."""
    if case is None:
        return False
    return case.key in listed if listed is not None else case.taken is not None


def _differs(case: Case | None, listed: Listed) -> Iterable[str]:
    row = listed.get(case.key) if case is not None and listed is not None else None
    if case is None or row is None:
        return
    for name, ours in case.account.items():
        if name in row and name not in ("key", "centre") and not _equal(ours, row[name]):
            yield name


def _equal(ours: object, theirs: str) -> bool:
    try:
        return Decimal(str(ours)) == Decimal(theirs)
    except InvalidOperation:
        return str(ours) == theirs


def _strangers(listed: Listed, known: Mapping[str, Case], fate: str) -> Iterable[Json]:
    """What a destination says that it has and we never sent."""
    ours = {case.key for case in known.values()}
    for key, row in (listed or {}).items():
        if key not in ours:
            place = {"centre": row.get("centre", "unknown"), "month": row.get("month", "unknown")}
            yield {"case": "", **place, "key": key, "fate": fate, "differs": ["not ours"]}


def summed(lines: Iterable[Json]) -> list[dict[str, Any]]:
    """Counts by centre and month; every line is in exactly one of them."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[line["centre"], line["month"]][line["fate"]] += 1
    return [
        {"centre": centre, "month": month, **{fate: counter[fate] for fate in FATES}}
        for (centre, month), counter in sorted(counts.items())
    ]


def _csv(sums: Iterable[Mapping[str, Any]], arguments: Namespace) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["centre", "month", "both", f"only {arguments.first}", f"only {arguments.second}", *FATES[3:]])
    writer.writerows([line["centre"], line["month"], *(line[fate] for fate in FATES)] for line in sums)
    return out.getvalue()
