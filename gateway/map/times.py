"""Deadlines: limits of hours and days counted in a time zone, across changes to and from summer time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from gateway.formats import calendars
from gateway.formats.problem import Problem as Fault

_LIMIT: Final = re.compile(r"(\d{1,4})([hd])", re.ASCII)
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


def deadline(text: str, limit: str, zone: ZoneInfo) -> str | Fault:
    """The last moment of a limit such as "72h" (hours, to the second) or "10d" (days, to the end of the last day).

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
    else:
        day = start.astimezone(zone) + timedelta(days=count)
        end = day.replace(hour=23, minute=59, second=59, microsecond=0)
    return end.isoformat(timespec="seconds")
