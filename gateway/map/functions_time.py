"""Functions for dates and times: HL7 v2 and ISO 8601 in, FHIR R4 out; Jalali in both directions; deadlines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, timedelta
from functools import lru_cache
from typing import Any, Final, TypeVar

from gateway.formats import calendars
from gateway.formats.problem import Problem as Fault
from gateway.formats.text import digits as ascii_digits
from gateway.map import times
from gateway.map.expression import Argument
from gateway.map.functions import BadUse, Step, Workshop, function, said, word
from gateway.map.run import Got, Problem, Run
from gateway.map.tables import FactTable

_Value = TypeVar("_Value")
_WITH_TIME: Final = frozenset({"hour", "minute", "second"})


def good(value: _Value | Fault) -> _Value:
    """The value, or the fault as a finding."""
    if isinstance(value, Fault):
        raise Problem(value.code, **value.args)
    return value


@function("datetime")
def _datetime(workshop: Workshop, _: Sequence[Argument]) -> Step:
    zone = str(workshop.zone)
    return lambda _, got: _zoned(said(got), zone)


@function("instant")
def _instant(workshop: Workshop, _: Sequence[Argument]) -> Step:
    zone = str(workshop.zone)
    return lambda _, got: good(calendars.fhir_instant(good(calendars.stamp(said(got))), zone))


@function("date")
def _date(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        stamp = good(calendars.stamp(said(got)))
        got.lossy = got.lossy or stamp.precision in _WITH_TIME
        return calendars.fhir_date(stamp)

    return step


@function("time")
def _time(_: Workshop, __: Sequence[Argument]) -> Step:
    return lambda _, got: good(calendars.fhir_time(said(got)))


@function("jalali")
def _jalali(_: Workshop, __: Sequence[Argument]) -> Step:
    return lambda _, got: _day(said(got), "jalali", "ymd")


def _day(text: str, calendar: calendars.Calendar, order: calendars.Order) -> str:
    day = good(calendars.parse(text, calendar, order))
    if not day.text:
        raise Problem("GW-FMT-091", value=text[:40])
    return day.text


_ORDERS: Final[dict[str, calendars.Order]] = {"ymd": "ymd", "dmy": "dmy", "mdy": "mdy"}
_ISO_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def _order(arguments: Sequence[Argument]) -> calendars.Order:
    order = _ORDERS.get(word(arguments[0]))
    if order is None:
        raise BadUse(f"the order is one of {', '.join(_ORDERS)}")
    return order


@lru_cache(maxsize=4096)
def _written(text: str, order: calendars.Order) -> str:
    """A day as people write it; ISO 8601, which workbooks give, is taken whatever the order is."""
    return _day(text, "gregorian", "ymd" if _ISO_DAY.match(text) else order)


@function("date-as", least=1, shape="dmy|mdy|ymd")
def _date_as(_: Workshop, arguments: Sequence[Argument]) -> Step:
    order = _order(arguments)

    def step(_: Run, got: Got) -> Any:
        day, _blank, clock = said(got).strip().replace("T", " ").partition(" ")
        got.lossy = got.lossy or clock.strip("0:") != ""
        return _written(day, order)

    return step


@function("datetime-as", least=1, shape="dmy|mdy|ymd")
def _datetime_as(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    order, zone = _order(arguments), str(workshop.zone)

    def step(_: Run, got: Got) -> Any:
        day, _blank, clock = said(got).strip().replace("T", " ").partition(" ")
        iso = _written(day, order)
        return _zoned(f"{iso}T{clock.strip()}", zone) if clock.strip() else iso

    return step


@lru_cache(maxsize=4096)
def _zoned(text: str, zone: str) -> str:
    """Rows of one table share their days and hours, so what was worked out is remembered."""
    return good(calendars.fhir_datetime(good(calendars.stamp(text)), zone))


@function("plus-minutes", least=1, shape="MINUTES")
def _plus_minutes(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    minutes, zone = workshop.text(arguments[0]), workshop.zone

    def step(run: Run, got: Got) -> Any:
        count = minutes(run)
        if not (count.isascii() and count.isdigit() and len(count) < 5):
            raise Problem("GW-MAP-005", value=count[:40])
        got.lossy, got.how = True, "derived"
        at = good(times.aware(said(got), zone)).astimezone(UTC) + timedelta(minutes=int(count))
        return at.astimezone(zone).isoformat(timespec="seconds")

    return step


_PARTS: Final[dict[str, Callable[[tuple[int, int, int]], Any]]] = {
    "year": lambda ymd: ymd[0],
    "month": lambda ymd: ymd[1],
    "day": lambda ymd: ymd[2],
    "year-month": lambda ymd: f"{ymd[0]:04d}-{ymd[1]:02d}",
    "iso": lambda ymd: f"{ymd[0]:04d}-{ymd[1]:02d}-{ymd[2]:02d}",
    "slash": lambda ymd: f"{ymd[0]:04d}/{ymd[1]:02d}/{ymd[2]:02d}",
}


@function("to-jalali", least=1, shape="year|month|day|year-month|iso|slash")
def _to_jalali(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    part = _PARTS.get(word(arguments[0]))
    if part is None:
        raise BadUse(f"to-jalali gives {', '.join(_PARTS)}")
    zone = workshop.zone

    def step(_: Run, got: Got) -> Any:
        at = good(times.aware(said(got), zone)).astimezone(zone)
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
        if len(text) <= len("2020-10-22"):
            return None
        at = good(times.aware(text, zone)).astimezone(zone)
        return at.strftime("%H:%M:%S") if part == "iso" else getattr(at, part)

    return step


_CLOCK: Final = re.compile(r"(\d{1,2})[:.](\d{2})(?::(\d{2}))?")


@function("clock-time")
def _clock_time(_: Workshop, __: Sequence[Argument]) -> Step:
    """A time of day as people write it, in any digits: 8:30, ۰۸:۳۰, 08:30:00."""

    def step(_: Run, got: Got) -> Any:
        text = ascii_digits(said(got)).strip()
        found = _CLOCK.fullmatch(text)
        if found is None or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3] or 0) > 59:
            raise Problem("GW-FMT-093", value=text[:40])
        return f"{int(found[1]):02d}:{found[2]}:{found[3] or '00'}"

    return step


@function("month-as", least=1, shape="jalali|gregorian")
def _month_as(_: Workshop, arguments: Sequence[Argument]) -> Step:
    """A month of a calendar as `1403-07`, however it was written: 1403/7, ۱۴۰۳-۰۷, 140307."""
    calendar = _CALENDARS.get(word(arguments[0]))
    if calendar is None:
        raise BadUse(f"the calendar is one of {', '.join(_CALENDARS)}")

    def step(_: Run, got: Got) -> Any:
        text = ascii_digits(said(got)).strip()
        month = good(calendars.parse(text, calendar))
        found = _MONTH.fullmatch(text)
        if found is None or month.exact:
            raise Problem("GW-FMT-091", value=text[:40])
        return f"{found[1]}-{int(found[2]):02d}"

    return step


_CALENDARS: Final[dict[str, calendars.Calendar]] = {"jalali": "jalali", "gregorian": "gregorian"}
_MONTH: Final = re.compile(r"(\d{4})[/\-.]?(\d{1,2})")


@function("deadline", least=1, most=3, shape="LIMIT [inclusive|exclusive [FREE-DAYS]]")
def _deadline(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    limit, zone = workshop.text(arguments[0]), workshop.zone
    ending = workshop.text(arguments[1]) if len(arguments) > 1 else None
    is_free = _free_days(workshop.fact_table(word(arguments[2]))) if len(arguments) > 2 else times.weekend

    def step(run: Run, got: Got) -> Any:
        wanted = limit(run)
        if not wanted:
            return None
        got.lossy, got.how = True, "derived"
        exclusive = ending is not None and ending(run) == "exclusive"
        return good(times.deadline(said(got), wanted, zone, exclusive, is_free))

    return step


def _free_days(table: FactTable) -> times.IsFree:
    """A table whose one key is a day: `2026-04-06`, `12-25` for every year, or `weekday-7` for every Sunday."""
    if len(table.keys) != 1:
        raise BadUse(f"table {table.name} must have one key, the day")

    @lru_cache(maxsize=4096)
    def is_free(day: date) -> bool:
        iso = day.isoformat()
        names = (iso, iso[5:], f"weekday-{day.isoweekday()}")
        return any(table.find([name], iso) is not None for name in names)

    return is_free


@function("less-hours", least=1, most=2, shape="HOURS [of-day]")
def _less_hours(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    hours, zone = workshop.text(arguments[0]), workshop.zone
    manner = workshop.text(arguments[1]) if len(arguments) > 1 else None

    def step(run: Run, got: Got) -> Any:
        count = hours(run)
        if not (count.isascii() and count.isdigit() and len(count) < 5):
            raise Problem("GW-MAP-005", value=count[:40])
        got.lossy, got.how = True, "derived"
        return good(times.earlier(said(got), int(count), zone, manner is not None and manner(run) == "of-day"))

    return step


@function("after-time", least=1, shape="TIME")
def _after_time(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    """The value where it is later than the other time, nothing where it is not, or where there is no other."""
    other, zone = workshop.text(arguments[0]), workshop.zone

    def step(run: Run, got: Got) -> Any:
        against = other(run)
        if not against:
            return None
        return got.value if good(times.aware(said(got), zone)) > good(times.aware(against, zone)) else None

    return step
