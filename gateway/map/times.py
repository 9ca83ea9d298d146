"""Dates and times as text: HL7 v2 and ISO 8601 in, FHIR R4 out. Nothing is made more precise than it came.

HL7 v2 DTM (2.A.22): YYYY[MM[DD[HH[MM[SS[.S…]]]]]][+/-ZZZZ]. FHIR R4 dateTime (2.24.0.1) knows year, month, day, or
an instant with seconds and offset; an instant without offset is read in the programme's time zone.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_HL7: Final = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,9})?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_ISO: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?)?)?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_LIMIT: Final = re.compile(r"(\d{1,4})([hd])", re.ASCII)


class BadTime(Exception):
    """The text is not a date or a time, or names a day that does not exist."""


class Moment(NamedTuple):
    """Parts as they came; None where the text is less precise. `offset` is "+03:30", "Z" or empty."""

    year: str
    month: str | None
    day: str | None
    hour: str | None
    minute: str | None
    second: str | None
    fraction: str
    offset: str

    @property
    def date(self) -> str:
        """The day, month or year, as precise as it came (FHIR date)."""
        return "-".join(part for part in (self.year, self.month, self.day) if part)


def moment(text: str) -> Moment:
    """The parts of an HL7 v2 or ISO 8601 date or time, or `BadTime`."""
    found = _HL7.fullmatch(text) or _ISO.fullmatch(text)
    if found is None:
        raise BadTime
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    try:
        datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001
    except ValueError:
        raise BadTime from None
    if offset and offset != "Z" and ":" not in offset:
        offset = f"{offset[:3]}:{offset[3:]}"
    if (offset and offset != "Z" and not (int(offset[1:3]) < 14 or offset[1:] == "14:00")) or (offset or "")[4:] > "59":
        raise BadTime
    return Moment(year, month, day, hour, minute, second, fraction or "", offset or "")


def _offset(at: datetime) -> str:
    text = at.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def fhir_datetime(parts: Moment, zone: ZoneInfo) -> str:
    """FHIR dateTime. An hour without minutes is not known to FHIR: then the day."""
    if parts.minute is None or parts.day is None:
        return parts.date
    clock = f"{parts.hour}:{parts.minute}:{parts.second or '00'}{parts.fraction}"
    offset = parts.offset
    if not offset:
        offset = _offset(datetime.fromisoformat(f"{parts.date}T{parts.hour}:{parts.minute}:00").replace(tzinfo=zone))
    return f"{parts.date}T{clock}{offset}"


def aware(text: str, zone: ZoneInfo) -> datetime:
    """The instant of a FHIR date or dateTime; a day is its first moment in the zone. Raises `BadTime`."""
    parts = moment(text)
    if parts.day is None:
        raise BadTime
    stamp = fhir_datetime(parts, zone)
    if len(stamp) == 10:
        return datetime.fromisoformat(stamp).replace(tzinfo=zone)
    return datetime.fromisoformat(stamp)


def deadline(text: str, limit: str, zone: ZoneInfo) -> str:
    """The last moment of a limit such as "72h" (hours, to the second) or "10d" (days, to the end of the last day).

    Days are counted on the calendar of the zone, so the change to and from summer time moves nothing. Hours run
    from the instant; from a bare day they run from its first moment. Raises `BadTime`.
    """
    found = _LIMIT.fullmatch(limit)
    if found is None:
        raise BadTime
    start = aware(text, zone).astimezone(zone)
    count = int(found[1])
    if found[2] == "h":
        # on the time line, not on the wall clock: an hour is an hour when summer time begins
        utc = start.astimezone(ZoneInfo("UTC")) + timedelta(hours=count)
        end = utc.astimezone(zone)
    else:
        end = (start + timedelta(days=count)).replace(hour=23, minute=59, second=59, microsecond=0)
    return f"{end.strftime('%Y-%m-%dT%H:%M:%S')}{_offset(end)}"


def days_after(text: str, days: int) -> str:
    """The day so many days later, or `BadTime`."""
    try:
        return (date.fromisoformat(text[:10]) + timedelta(days=days)).isoformat()
    except (ValueError, OverflowError):
        raise BadTime from None
