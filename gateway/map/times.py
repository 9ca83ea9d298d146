"""Deadlines: limits of hours and days counted in a time zone, across changes to and from summer time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.formats import calendars
from gateway.formats.problem import Problem as Fault

_LIMIT: Final = re.compile(r"(\d{1,4})([hdw])", re.ASCII)
IsFree = Callable[[date], bool]
WRONG: Final = "GW-FMT-093"


def aware(text: str, zone: ZoneInfo) -> datetime | Fault:
    """The instant of a FHIR date or dateTime; a day is its first moment in the zone."""
    found = calendars.stamp(text)
    if isinstance(found, Fault):
        return found
    if found.precision in ("year", "month"):
        return Fault(WRONG, {"value": text[:40]})
    written = calendars.fhir_datetime(found, str(zone))
    if isinstance(written, Fault):
        return written
    at = datetime.fromisoformat(written)
    return at if at.tzinfo else at.replace(tzinfo=zone)


def weekend(day: date) -> bool:
    """Saturdays and Sundays: what is free where no calendar is given."""
    return day.isoweekday() > 5


def deadline(text: str, limit: str, zone: ZoneInfo, exclusive: bool = False, is_free: IsFree = weekend) -> str | Fault:
    """The last moment of a limit such as "72h" (hours, to the second), "10d" (days, to the end of the last day) or
    "10w" (working days: those for which `is_free` does not hold). The day of the start is not counted. `exclusive`
    leaves out the last day: the limit ends with the day before it.

    Days are counted on the calendar of the zone, so a change of the clocks moves nothing. Hours are counted on the
    time line: an hour is an hour when summer time begins. From a bare day, hours run from its first moment.
    """
    found = _LIMIT.fullmatch(limit)
    if found is None:
        return Fault(WRONG, {"value": limit[:40]})
    start = aware(text, zone)
    if isinstance(start, Fault):
        return start
    count = int(found[1])
    if found[2] == "h":
        end = (start.astimezone(UTC) + timedelta(hours=count)).astimezone(zone)
        return end.isoformat(timespec="seconds")
    day = start.astimezone(zone)
    try:
        day = day + timedelta(days=count) if found[2] == "d" else _working(day, count, is_free)
        day -= timedelta(days=1 if exclusive else 0)
    except OverflowError:
        return Fault(WRONG, {"value": text[:40]})
    return day.replace(hour=23, minute=59, second=59, microsecond=0).isoformat(timespec="seconds")


_NEVER_ENDING: Final = 400  # free days on end: a calendar like that is a mistake


def _working(day: datetime, count: int, is_free: IsFree) -> datetime:
    """So many days later, counting only those that are not free."""
    idle = 0
    while count:
        day += timedelta(days=1)
        idle = idle + 1 if is_free(day.date()) else 0
        if idle > _NEVER_ENDING:
            raise OverflowError
        count -= not idle
    return day


def earlier(text: str, hours: int, zone: ZoneInfo, of_day: bool = False) -> str | Fault:
    """So many hours before the instant; `of_day` counts from the first moment of its day."""
    start = aware(text, zone)
    if isinstance(start, Fault):
        return start
    if of_day:
        start = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return (start.astimezone(UTC) - timedelta(hours=hours)).astimezone(zone).isoformat(timespec="seconds")
