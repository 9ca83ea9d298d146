"""Functions for dates and times: HL7 v2 and ISO 8601 in, FHIR R4 out; Jalali in both directions; deadlines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

try:
    from gateway.formats import calendars
except ImportError:  # being written
    from gateway.map import waiting as calendars  # type: ignore[no-redef]
from gateway.formats.text import digits as ascii_digits
from gateway.map import times
from gateway.map.expression import Argument
from gateway.map.functions import BadUse, Step, Workshop, function, said, word
from gateway.map.run import Got, Problem, Run


def _moment(got: Got) -> times.Moment:
    text = ascii_digits(said(got)).strip()
    try:
        return times.moment(text)
    except times.BadTime:
        raise Problem("GW-MAP-004", value=said(got)) from None


@function("datetime")
def _datetime(workshop: Workshop, _: Sequence[Argument]) -> Step:
    zone = workshop.zone

    def step(_: Run, got: Got) -> Any:
        parts = _moment(got)
        got.lossy = got.lossy or (parts.hour is not None and parts.minute is None)
        return times.fhir_datetime(parts, zone)

    return step


@function("instant")
def _instant(workshop: Workshop, _: Sequence[Argument]) -> Step:
    zone = workshop.zone

    def step(_: Run, got: Got) -> Any:
        stamp = times.fhir_datetime(_moment(got), zone)
        if len(stamp) <= 10:
            raise Problem("GW-MAP-004", value=said(got))
        return stamp

    return step


@function("date")
def _date(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        parts = _moment(got)
        got.lossy = got.lossy or parts.hour is not None or bool(parts.offset)
        return parts.date

    return step


@function("time")
def _time(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        text = ascii_digits(said(got)).strip()
        if len(text) in (4, 6) and text.isdigit():
            text = ":".join(text[i : i + 2] for i in range(0, len(text), 2))
        whole = f"{text}:00" if text.count(":") == 1 else text
        try:
            times.moment(f"2000-01-01T{whole}")
        except times.BadTime:
            raise Problem("GW-MAP-004", value=said(got)) from None
        return whole

    return step


@function("italian-date")
def _italian(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        text = said(got).strip()
        day, slash, rest = text.partition("/")
        month, _, year = rest.partition("/")
        iso = f"{year}-{month:0>2}-{day:0>2}" if slash else text[:10]
        got.lossy = got.lossy or (not slash and len(text) > 10)
        try:
            return times.moment(iso).date
        except times.BadTime:
            raise Problem("GW-MAP-004", value=said(got)) from None

    return step


@function("jalali")
def _jalali(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        try:
            return calendars.jalali_to_iso(said(got))
        except calendars.BadDate as error:
            raise Problem("GW-MAP-007", value=said(got), why=str(error)) from None

    return step


_PARTS: Final[dict[str, Callable[[tuple[int, int, int]], Any]]] = {
    "year": lambda ymd: ymd[0],
    "month": lambda ymd: ymd[1],
    "day": lambda ymd: ymd[2],
    "iso": lambda ymd: f"{ymd[0]:04d}-{ymd[1]:02d}-{ymd[2]:02d}",
    "slash": lambda ymd: f"{ymd[0]:04d}/{ymd[1]:02d}/{ymd[2]:02d}",
}


@function("to-jalali", least=1, shape="year|month|day|iso|slash")
def _to_jalali(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    part = _PARTS.get(word(arguments[0]))
    if part is None:
        raise BadUse(f"to-jalali gives {', '.join(_PARTS)}")
    zone = workshop.zone

    def step(_: Run, got: Got) -> Any:
        try:
            at = times.aware(said(got), zone).astimezone(zone)
        except times.BadTime:
            raise Problem("GW-MAP-004", value=said(got)) from None
        return part(calendars.to_jalali(at.date()))

    return step


@function("clock", least=1, shape="hour|minute|second|iso")
def _clock(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    part = word(arguments[0])
    if part not in ("hour", "minute", "second", "iso"):
        raise BadUse("clock gives hour, minute, second, iso")
    zone = workshop.zone

    def step(_: Run, got: Got) -> Any:
        text = said(got)
        if len(text) <= 10:
            return None
        try:
            at = times.aware(text, zone).astimezone(zone)
        except times.BadTime:
            raise Problem("GW-MAP-004", value=text) from None
        return at.strftime("%H:%M:%S") if part == "iso" else getattr(at, part)

    return step


@function("deadline", least=1, shape="LIMIT")
def _deadline(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    limit, zone = workshop.text(arguments[0]), workshop.zone

    def step(run: Run, got: Got) -> Any:
        wanted = limit(run)
        if not wanted:
            return None
        got.lossy, got.how = True, "derived"
        try:
            return times.deadline(said(got), wanted, zone)
        except times.BadTime:
            raise Problem("GW-MAP-004", value=said(got)) from None

    return step
