"""Dates and times: Jalali and Gregorian, HL7 v2 stamps, zones with their past offsets, FHIR texts.

Precision is kept: a year stays a year, a month a month (FHIR R4 `date`, `dateTime`). The original text is the
caller's to keep; nothing here guesses a century, an order of day and month, or a calendar.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from persiantools import jdatetime

from gateway.errors import Misconfigured
from gateway.formats.problem import Problem
from gateway.formats.text import digits

_Jalali: Any = jdatetime.JalaliDate  # untyped: fenced here

Calendar = Literal["gregorian", "jalali"]
Order = Literal["ymd", "dmy", "mdy"]

JALALI_YEARS: Final = range(1200, 1600)
GREGORIAN_YEARS: Final = range(1800, 2200)

_SPLIT: Final = re.compile(r"(\d{1,4})(?:[/\-.](\d{1,4})(?:[/\-.](\d{1,4}))?)?")
_SOLID: Final = re.compile(r"(\d{4})(?:(\d{2})(\d{2})?)?")
_HAN: Final = re.compile(r"(\d{4})年(\d{1,2})月(?:(\d{1,2})[日号])?")


class Day(msgspec.Struct, frozen=True):
    """A calendar date, a month or a year, on the Gregorian side: all days from `first` to `last`.

    `text` is FHIR's `date` where FHIR can say it: always for Gregorian input, only for whole days of Jalali input
    (a Jalali month or year is no Gregorian one; use the period from `first` to `last`).
    """

    first: date
    last: date
    text: str

    @property
    def exact(self) -> bool:
        """Whether it is one day."""
        return self.first == self.last


def _impossible(text: str, why: str) -> Problem:
    return Problem("GW-FMT-090", {"value": text[:40], "why": why})


def parse(text: str, calendar: Calendar = "gregorian", order: Order = "ymd") -> Day | Problem:
    """A date, a month or a year in Latin, Persian, Arabic or full-width digits: 1399/08/01, 13990801, 1399-8, 1399.

    `order` tells how separated dates are written; dates without separators, and those with Chinese units
    (2020年9月30日), are always year first.
    """
    clean = digits(text).strip()
    numbers = _numbers(clean, order)
    if numbers is None:
        return Problem("GW-FMT-091", {"value": text[:40]})
    year, month, day = numbers
    years = JALALI_YEARS if calendar == "jalali" else GREGORIAN_YEARS
    if year not in years:
        return Problem("GW-FMT-092", {"value": text[:40], "year": str(year), "calendar": calendar})
    return _jalali(text, year, month, day) if calendar == "jalali" else _gregorian(text, year, month, day)


def _numbers(clean: str, order: Order) -> tuple[int, int | None, int | None] | None:
    solid = _SOLID.fullmatch(clean) or _HAN.fullmatch(clean)
    if solid:
        parts = [int(n) if n else None for n in solid.groups()]
    else:
        found = _SPLIT.fullmatch(clean)
        if found is None:
            return None
        given = [n for n in found.groups() if n is not None]
        if order != "ymd":
            given.reverse()
            if order == "mdy" and len(given) == 3:
                given[1], given[2] = given[2], given[1]
        if len(given[0]) != 4 or any(len(n) > 2 for n in given[1:]):
            return None
        parts = [int(n) for n in given] + [None] * (3 - len(given))
    year, month, day = parts
    return (year, month, day) if year is not None else None


def _gregorian(text: str, year: int, month: int | None, day: int | None) -> Day | Problem:
    if month is None:
        return Day(date(year, 1, 1), date(year, 12, 31), f"{year:04}")
    if not 1 <= month <= 12:
        return _impossible(text, f"month {month}")
    length = monthrange(year, month)[1]
    if day is None:
        return Day(date(year, month, 1), date(year, month, length), f"{year:04}-{month:02}")
    if not 1 <= day <= length:
        return _impossible(text, f"day {day} of a month with {length}")
    made = date(year, month, day)
    return Day(made, made, made.isoformat())


def _jalali(text: str, year: int, month: int | None, day: int | None) -> Day | Problem:
    if month is None:
        end = _Jalali(year, 12, _Jalali.days_in_month(12, year))
        return Day(_Jalali(year, 1, 1).to_gregorian(), end.to_gregorian(), "")
    if not 1 <= month <= 12:
        return _impossible(text, f"month {month}")
    length = _Jalali.days_in_month(month, year)
    if day is None:
        first, last = _Jalali(year, month, 1), _Jalali(year, month, length)
        return Day(first.to_gregorian(), last.to_gregorian(), "")
    if not 1 <= day <= length:
        return _impossible(text, f"day {day} of a month with {length}")
    made: date = _Jalali(year, month, day).to_gregorian()
    return Day(made, made, made.isoformat())


def to_jalali(day: date) -> tuple[int, int, int]:
    """(year, month, day) of the Jalali calendar."""
    made = _Jalali.to_jalali(day.year, day.month, day.day)
    return made.year, made.month, made.day


def jalali_text(day: date, separator: str = "/") -> str:
    """1399/08/01, in ASCII digits."""
    year, month, number = to_jalali(day)
    return f"{year:04}{separator}{month:02}{separator}{number:02}"


def jalali_quarter(day: date) -> Day:
    """The Jalali quarter that the day is in, as its first and last Gregorian day."""
    year, month, _ = to_jalali(day)
    start = (month - 1) // 3 * 3 + 1
    end = _Jalali(year, start + 2, _Jalali.days_in_month(start + 2, year))
    return Day(_Jalali(year, start, 1).to_gregorian(), end.to_gregorian(), "")


# --- stamps ----------------------------------------

Precision = Literal["year", "month", "day", "hour", "minute", "second"]
_PRECISION: Final[tuple[Precision, ...]] = ("year", "month", "day", "hour", "minute", "second")

_STAMP: Final = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(\.\d{1,9})?)?)?)?)?)?(Z|[+-]\d{4})?"
)
_ISO: Final = re.compile(
    r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[T ](\d{2})(?::(\d{2})(?::(\d{2})([.,]\d{1,9})?)?)?)?)?)?"
    r"(Z|[+-]\d{2}:?\d{2})?"
)


class Stamp(msgspec.Struct, frozen=True):
    """A point in time as precisely as it was told. `fraction` keeps its digits; `offset` is in minutes or not told."""

    precision: Precision
    at: datetime  # naive, finer parts zero
    fraction: str = ""
    offset: int | None = None


def stamp(text: str) -> Stamp | Problem:
    """An HL7 v2 TS or DTM (20201022103000.5+0330), or ISO 8601 (2020-10-22T10:30), at any precision."""
    clean = digits(text).strip()
    found = _STAMP.fullmatch(clean) or _ISO.fullmatch(clean)
    if found is None:
        return Problem("GW-FMT-093", {"value": text[:40]})
    parts = [int(part) for part in found.groups()[:6] if part is not None]
    if found[8] and len(parts) < 4:
        return Problem("GW-FMT-093", {"value": text[:40]})
    filled = [*parts, *(1, 1, 1, 0, 0, 0)[len(parts) :]]
    year, month, day, hour, minute, second = filled
    if not 1 <= month <= 12:
        return _impossible(text, f"month {month}")
    if year == 0:
        return _impossible(text, "year 0")
    if not 1 <= day <= monthrange(year, month)[1]:
        return _impossible(text, f"day {day}")
    if hour > 23 or minute > 59 or second > 59:
        return _impossible(text, f"time {hour:02}:{minute:02}:{second:02}")
    offset = _minutes(found[8])
    if offset is not None and not -14 * 60 <= offset <= 14 * 60:
        return _impossible(text, f"offset {found[8]}")
    fraction = (found[7] or "").replace(",", ".")
    return Stamp(_PRECISION[len(parts) - 1], datetime(*filled), fraction, offset)  # type: ignore[arg-type]  # noqa: DTZ001


def _minutes(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    bare = text.replace(":", "")
    total = int(bare[1:3]) * 60 + int(bare[3:5])
    return -total if bare[0] == "-" else total


@cache
def zone(name: str) -> ZoneInfo:
    """The zone of that IANA name with its whole history; `Misconfigured` where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        _no_zone(name)


def _no_zone(name: str) -> NoReturn:
    raise Misconfigured(detail=f"time zone {name!r} is not known")


def offset_at(at: datetime, name: str) -> int | Problem:
    """Minutes east of UTC of a naive local time in a zone, by the law of that day.

    A time that the clocks skipped does not exist (GW-FMT-094). Of two equal times in autumn the first is meant.
    Offsets with seconds (local mean time, before about 1946) are rounded to minutes: FHIR cannot write them.
    """
    local = at.replace(tzinfo=zone(name))
    delta = local.utcoffset() or timedelta()
    back = local.astimezone(UTC).astimezone(zone(name)).replace(tzinfo=None)
    if back != at:
        return Problem("GW-FMT-094", {"value": at.isoformat(" "), "zone": name})
    return round(delta.total_seconds() / 60)


def fhir_date(of: Stamp) -> str:
    """FHIR `date`: the day part, at its precision."""
    day = of.at.date().isoformat()
    return day[:4] if of.precision == "year" else day[:7] if of.precision == "month" else day


def fhir_datetime(of: Stamp, name: str) -> str | Problem:
    """FHIR `dateTime`. Without an offset of its own the stamp is local time in the zone.

    From hours on FHIR wants minutes, seconds and an offset; what was not told there is filled with zero.
    """
    if of.precision in ("year", "month", "day"):
        return fhir_date(of)
    offset = of.offset if of.offset is not None else offset_at(of.at, name)
    if isinstance(offset, Problem):
        return offset
    return of.at.isoformat(timespec="seconds") + of.fraction + _written(offset)


def fhir_instant(of: Stamp, name: str) -> str | Problem:
    """FHIR `instant`: at least to the second, otherwise GW-FMT-095."""
    if of.precision != "second":
        return Problem("GW-FMT-095", {"precision": of.precision})
    return fhir_datetime(of, name)


def _written(offset: int) -> str:
    if offset == 0:
        return "+00:00"
    hours, minutes = divmod(abs(offset), 60)
    return f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"


_TIME: Final = re.compile(r"(\d{2}):?(\d{2})(?::?(\d{2})(\.\d{1,9})?)?(?:[+-]\d{2}:?\d{2})?")


def fhir_time(text: str) -> str | Problem:
    """FHIR `time` of an HL7 TM or a clock text (1030, 10:30, 10:30:05); an offset is left out."""
    clean = digits(text).strip()
    found = _TIME.fullmatch(clean)
    if found is None:
        return Problem("GW-FMT-093", {"value": text[:40]})
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return _impossible(text, f"time {hour:02}:{minute:02}:{second:02}")
    return f"{hour:02}:{minute:02}:{second:02}{found[4] or ''}"


def hl7_stamp(at: datetime) -> str:
    """An aware instant as an HL7 v2 stamp to the second, with its offset."""
    return at.strftime("%Y%m%d%H%M%S%z")
