"""Wiring of room measure: what it reads from the files of an installation, and reports on demand.

The same handler answers through the administration socket and where a command opened the ledger itself.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, Protocol

from gateway import scheduling
from gateway.clock import Clock
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json, periods
from gateway.formats.calendars import Calendar, zone
from gateway.formats.periods import Period
from gateway.measure import definitions, fhir, outputs, page
from gateway.measure.definitions import Definitions
from gateway.measure.measures import Catalogue, Measure
from gateway.measure.reports import Evaluator, Report
from gateway.message import LANGUAGES, Json, Language
from gateway.programme import Programme
from gateway.settings import Settings
from gateway.store import Checking, Ledger

BEAT: Final = 1.0
"""Seconds between two words about how far a report is."""

_CHUNK: Final = 384 * 1024
_MOST_PERIODS: Final = 400
FORMATS: Final = ("json", "csv", "xlsx", "html")


def views(settings: Settings, programmes: Mapping[str, Programme]) -> Definitions:
    """The tables that the ledger keeps for these programmes; `Misconfigured` names the file that is wrong."""
    return definitions.load(Path(settings.home), programmes)


def catalogue(settings: Settings, programmes: Mapping[str, Programme]) -> Catalogue:
    """Their measures, with the values of this installation."""
    return Catalogue(Path(settings.home), programmes, settings.measure)


def asked_period(measure: Measure, arguments: Mapping[str, Any], today: date, programme: Programme) -> list[Period]:
    """The periods that a caller wants: those named, split into the measure's own, or the last one that ended."""
    calendar, length = measure.written_in, measure.period
    if arguments.get("from") or arguments.get("to"):
        first = _day(arguments.get("from") or "1990-01-01")
        last = _day(arguments.get("to") or today.isoformat())
        label = f"{periods.written(first, calendar)}/{periods.written(last, calendar)}"
        return [Period(label, first, last)]
    text = str(arguments.get("period") or "")
    if text:
        return _split(periods.parse(text, _calendar_of(text)), measure, programme)
    if length == "none":
        return [Period(periods.written(today, calendar), date(1990, 1, 1), today)]
    now = periods.containing(today, length, calendar, programme.calendar.week_starts)
    before = now.first.toordinal() - 1
    return [periods.containing(date.fromordinal(before), length, calendar, programme.calendar.week_starts)]


def _calendar_of(text: str) -> Calendar:
    return "jalali" if text[:2] in ("12", "13", "14", "15") else "gregorian"


def _day(text: str) -> date:
    found = periods.parse(text, _calendar_of(text))
    if found.first != found.last:
        raise Misconfigured("GW-MEASURE-005", value=text[:40], calendar=_calendar_of(text))
    return found.first


def _split(whole: Period, measure: Measure, programme: Programme) -> list[Period]:
    length, calendar, starts = measure.period, measure.written_in, programme.calendar.week_starts
    if length == "none" or measure.kind == "findings":
        return [whole]
    made = [periods.containing(whole.first, length, calendar, starts)]
    if made[0].first < whole.first or made[0].last >= whole.last:
        return [whole]
    while made[-1].last < whole.last and len(made) < _MOST_PERIODS:
        made.append(periods.next_one(made[-1], length, calendar, starts))
    return made if made[-1].last == whole.last else [whole]


async def use(
    settings: Settings, programmes: Mapping[str, Programme], ledger: Ledger, several: Sequence[Users] = ()
) -> Catalogue:
    """Keep the tables of these programmes from now on and tell the new measures; `Misconfigured` changes nothing."""
    made = await asyncio.to_thread(views, settings, programmes)
    measures = await asyncio.to_thread(catalogue, settings, programmes)
    scheduling.check(programmes, measures)
    await measures.check(Checking(made))
    await ledger.use_views(made)
    for each in several:
        each.use(measures)
    return measures


class Users(Protocol):
    """Who is told when there are other measures."""

    def use(self, made: Catalogue) -> None: ...


class Reporting:
    """The command `report`."""

    def __init__(self, settings: Settings, ledger: Ledger, clock: Clock) -> None:
        self._settings, self._ledger, self._clock = settings, ledger, clock
        self._evaluator: Evaluator | None = None

    def use(self, made: Catalogue) -> None:
        """Report by these measures from now on."""
        self._evaluator = Evaluator(made, self._ledger.measures)

    async def __call__(self, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Yields `progress` lines while it works, then the file in `part` lines (base64). Raises `GatewayError`."""
        evaluator = self._ready()
        programme = self._programme(evaluator, arguments)
        language: Language = arguments.get("language") or programme.language
        format = arguments.get("format") or "json"
        if language not in LANGUAGES or format not in FORMATS:
            raise Misconfigured(detail="--language is one of en, fa, it, zh; --format of json, csv, xlsx, html")
        made: list[Report] = []
        wanted = self._wanted(evaluator, programme, arguments)
        only = dict(str(each).partition("=")[::2] for each in arguments.get("by") or ())
        for number, (measure, period) in enumerate(wanted):
            work = asyncio.ensure_future(evaluator.report(measure, period, self._clock.now(), only))
            async for seconds in _beats(work, self._clock):
                told = {"measure": measure.name, "period": period.label, "done": number, "of": len(wanted)}
                yield {"progress": told | {"seconds": round(seconds, 1)}}
            made.append(work.result())
        body = await asyncio.to_thread(written, made, format, language, programme)
        for start in range(0, max(1, len(body)), _CHUNK):
            yield {"part": base64.b64encode(body[start : start + _CHUNK]).decode()}

    def _ready(self) -> Evaluator:
        if self._evaluator is None:
            raise Misconfigured(detail="no measures are loaded")
        return self._evaluator

    def _programme(self, evaluator: Evaluator, arguments: Mapping[str, Any]) -> Programme:
        known = evaluator.catalogue.programmes
        name = arguments.get("programme") or ""
        if not name:
            measured = [each for each in known if evaluator.catalogue.of(each)]
            name = measured[0] if len(measured) == 1 else ""
        if name not in known:
            raise Misconfigured(detail=f"--programme is one of {', '.join(known)}")
        return known[name]

    def _wanted(
        self, evaluator: Evaluator, programme: Programme, arguments: Mapping[str, Any]
    ) -> list[tuple[Measure, Period]]:
        names = arguments.get("measure") or [each.name for each in evaluator.catalogue.of(programme.name)]
        if not names:
            raise GatewayError("GW-MEASURE-004", name="-", programme=programme.name, known="-")
        measures = [evaluator.catalogue.one(programme.name, name) for name in names]
        today = self._clock.now().astimezone(zone(programme.timezone)).date()
        return [(each, period) for each in measures for period in asked_period(each, arguments, today, programme)]


async def _beats(work: asyncio.Future[Any], clock: Clock) -> AsyncIterator[float]:
    """The seconds that have passed, each time a while went by without an end; when it ends, it ends."""
    begun = clock.monotonic()
    try:
        while not work.done():
            await asyncio.wait([work], timeout=BEAT)
            if not work.done():
                yield clock.monotonic() - begun
    finally:
        if not work.done():
            work.cancel()


def written(reports: Sequence[Report], format: str, language: Language, programme: Programme) -> bytes:
    """The reports in a format."""
    if format == "csv":
        return outputs.to_csv(reports, language)
    if format == "xlsx":
        return outputs.to_xlsx(reports, language, programme.timezone)
    if format == "html":
        title = str(getattr(programme.title, language))
        return page.to_html(reports, language, title, programme.timezone)
    return json.write(fhir.bundle(reports, language))
