"""`gateway export NAME --programme P`: many documents in one flat file, for a period (`exports/NAME.toml`).

Every case that the destination is owed is accounted for: in the file, in another period, without a row, or refused
with its cells. Beside the file stands `….report.json` with all of that and, where tumours are compared, with pairs
that may be duplicates or multiple primaries.
"""

from __future__ import annotations

import asyncio
import tomllib
from argparse import Namespace
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from gateway import matching, workers
from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.commands import ledger
from gateway.errors import Misconfigured
from gateway.formats import calendars, json, ranges
from gateway.formats.layout import Row, Wrong
from gateway.formats.problem import Problem
from gateway.ports import Mapper
from gateway.settings import Part, Settings

PERIODS: Final = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}


class Tumours(Part, frozen=True, kw_only=True):
    """How rows are compared with one another (`gateway/matching.py`)."""

    person: tuple[tuple[str, ...], ...]
    id: str
    site: str
    morphology: str
    sites: str
    morphologies: str


class Export(Part, frozen=True, kw_only=True):
    """One file of `exports/`."""

    destination: str
    target: str
    day: str
    calendar: calendars.Calendar = "gregorian"
    period: Literal["month", "quarter", "half-year", "year"] = "quarter"
    file: str = "{name}-{period}.csv"
    tumours: Tumours | None = None


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("export", help="many documents in one flat file, for a period")
    parser.add_argument("name", help="a file of mappings/PROGRAMME/exports, without .toml")
    parser.add_argument("--programme", required=True)
    parser.add_argument("--day", help="any day (YYYY-MM-DD) of the period; default: the period before this one")
    parser.add_argument("--out", type=Path, default=Path(), help="folder")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def plan(home: Path, programme: str, name: str) -> Export:
    """The export of that name, or `Misconfigured`."""
    path = home / "mappings" / programme / "exports" / f"{name}.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Export)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(detail=f"{path}: {error}") from None


def period_of(day: date, export: Export) -> tuple[date, date, str]:
    """First and last day of the period that the day is in, and its name: 1399-Q3, 2020-10."""
    months = PERIODS[export.period]
    year, month, _ = calendars.to_jalali(day) if export.calendar == "jalali" else (day.year, day.month, day.day)
    start = (month - 1) // months * months + 1
    first = _day(f"{year:04}-{start:02}", export.calendar).first
    last = _day(f"{year:04}-{start + months - 1:02}", export.calendar).last
    number = (start - 1) // months + 1
    names = {"month": f"{year:04}-{start:02}", "quarter": f"{year:04}-Q{number}", "half-year": f"{year:04}-H{number}"}
    return first, last, names.get(export.period, f"{year:04}")


def _day(text: str, calendar: calendars.Calendar) -> calendars.Day:
    found = calendars.parse(text, calendar)
    if isinstance(found, Problem):
        raise Misconfigured(detail=f"{text} is not a day")
    return found


def run(arguments: Namespace) -> int:
    """Write both files; 1 where a row was refused."""
    settings = configuration.load(arguments.config)
    export = plan(Path(settings.home), arguments.programme, arguments.name)
    day = _day(arguments.day, "gregorian").first if arguments.day else SystemClock().now().date()
    first, last, name = period_of(day, export)
    if not arguments.day:
        first, last, name = period_of(date.fromordinal(first.toordinal() - 1), export)
    rows, report = asyncio.run(_collect(settings, arguments.programme, export, first, last))
    target = f"{arguments.programme}/{export.target}"
    mapper = workers.load_mapper(settings, workers.load_programmes(settings))
    body, kept, refused = written(mapper, target, rows, last)
    report |= {"period": name, "from": first.isoformat(), "to": last.isoformat(), "rows": len(kept), "refused": refused}
    if export.tumours is not None:
        report["pairs"] = [
            each._asdict() for each in matching.pairs(kept, _matching(settings, arguments, export.tumours))
        ]
    file = arguments.out / export.file.replace("{period}", name).replace("{name}", arguments.name)
    file.write_bytes(body)
    file.with_suffix(".report.json").write_bytes(json.write(report))
    told = f"{len(kept)} rows, {len(refused)} refused, {report['other_period']} of other periods"
    print(f"{file}  {name}  {told}, {report['no_row']} without a row, {len(report.get('pairs', []))} pairs to look at")
    return 1 if refused else 0


async def _collect(
    settings: Settings, programme: str, export: Export, first: date, last: date
) -> tuple[list[tuple[str, Row]], dict[str, Any]]:
    """The rows of the period with their cases, and how many cases had none."""
    mapper = workers.load_mapper(settings, workers.load_programmes(settings))
    rows: list[tuple[str, Row]] = []
    report: dict[str, Any] = {"cases": 0, "no_row": 0, "other_period": 0}
    asked = {"programme": programme, "destination": export.destination}
    async for line in ledger.answers(settings, "owed", asked):
        report["cases"] += 1
        found = mapper.rows(json.read(line["document"]["body"].encode()), f"{programme}/{export.target}", {})
        if not found:
            report["no_row"] += 1
        for row in found:
            # A row whose day is not known belongs to every period until it is mended: it is refused, and told.
            day = str(row.get(export.day) or "")[:10]
            if day and not _within(day, first, last):
                report["other_period"] += 1
            else:
                rows.append((line["case"], row))
    return rows, report


def _within(day: str, first: date, last: date) -> bool:
    """A month or year that is not wholly known counts where it begins."""
    found = calendars.parse(day)
    return isinstance(found, Problem) or first <= found.first <= last


def written(
    mapper: Mapper, target: str, rows: list[tuple[str, Row]], last: date
) -> tuple[bytes, list[Row], list[dict[str, Any]]]:
    """The file of every row that fits, those rows, and the others with their cells."""
    refused: list[dict[str, Any]] = []
    kept = rows
    try:
        return mapper.table([row for _, row in rows], target, last.isoformat()), [row for _, row in rows], refused
    except Wrong as wrong:
        bad: dict[int, list[Mapping[str, str]]] = {}
        for cell in wrong.cells:
            bad.setdefault(cell.row, []).append({"field": cell.field, "problem": cell.problem})
        refused = [{"case": rows[number - 1][0], "cells": cells} for number, cells in sorted(bad.items())]
        kept = [each for number, each in enumerate(rows, 1) if number not in bad]
    return mapper.table([row for _, row in kept], target, last.isoformat()), [row for _, row in kept], refused


def _matching(settings: Settings, arguments: Namespace, tumours: Tumours) -> matching.Plan:
    folder = Path(settings.home) / "mappings" / arguments.programme / "ranges"
    sites, _ = ranges.load(folder / tumours.sites)
    morphologies, _ = ranges.load(folder / tumours.morphologies)
    return matching.Plan(tumours.person, tumours.id, tumours.site, tumours.morphology, sites, morphologies)
