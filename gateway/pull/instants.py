"""Dates as spans of time (FHIR R4 3.1.1.5.5): what is written less precisely lasts longer."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_WRITTEN: Final = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?)?)?", re.ASCII
)

EARLIEST: Final = -(2**61)
LATEST: Final = 2**61
"""Where an open period begins and ends."""

Span = tuple[int, int]
"""Microseconds since 1970 in UTC: from, up to."""


def micros(at: datetime) -> int:
    """An aware instant in whole microseconds."""
    return (at - _EPOCH) // _MICROSECOND


def instant(micro: int) -> datetime:
    """Back again."""
    return _EPOCH + micro * _MICROSECOND


def text(at: datetime) -> str:
    """As a FHIR `instant`, with the microseconds that order it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def span(written: str) -> Span | None:
    """The span of a FHIR date, dateTime or instant; None for a text that is none. Without a zone it is UTC."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        return None
    try:
        return _span(*match.groups())
    except (ValueError, OverflowError):
        return None


def _span(
    year: str,
    month: str | None,
    day: str | None,
    hour: str | None,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    zone: str | None,
) -> Span:
    if hour is None:
        return _days(int(year), month, day)
    assert minute is not None
    start = datetime(int(year), int(month or 1), int(day or 1), int(hour), int(minute), tzinfo=UTC) - _offset(zone)
    low = micros(start)
    if second is None:
        return low, low + 60_000_000
    if int(second) > 60:
        raise ValueError(second)
    low += int(second) * 1_000_000
    if fraction is None:
        return low, low + 1_000_000
    digits = fraction[1:7]
    return low + int(digits.ljust(6, "0")), low + int(digits.ljust(6, "0")) + 10 ** (6 - len(digits))


def _days(year: int, month: str | None, day: str | None) -> Span:
    first = date(year, int(month or 1), int(day or 1))
    if day is not None:
        last = first + timedelta(days=1)
    elif month is not None:
        last = date(year + first.month // 12, first.month % 12 + 1, 1)
    else:
        last = date(year + 1, 1, 1)
    return _midnight(first), _midnight(last)


def _midnight(day: date) -> int:
    return micros(datetime(day.year, day.month, day.day, tzinfo=UTC))


def _offset(zone: str | None) -> timedelta:
    if zone in (None, "Z"):
        return timedelta()
    assert zone is not None
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > 14 or minutes > 59:
        raise ValueError(zone)
    return timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
