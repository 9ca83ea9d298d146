"""Date, DateTime and Time with precision and timezone (FHIRPath 2.0.0, "Literals", "Date/time arithmetic").

A value is the numbers that were written, so `@2014` and `@2014-01-01` stay different. Comparison answers None where
the precision, or a timezone that only one side has, leaves it open.
"""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal

import msgspec

Kind = Literal["Date", "DateTime", "Time"]

_DATE = r"(?P<y>\d{4})(?:-(?P<mo>\d{2})(?:-(?P<d>\d{2}))?)?"
_TIME = r"(?P<h>\d{2})(?::(?P<mi>\d{2})(?::(?P<s>\d{2}(?:\.\d{1,30})?))?)?"
_ZONE = r"(?P<z>Z|[+-]\d{2}:\d{2})?"
_PATTERNS: Final = {
    "Date": re.compile(_DATE, re.ASCII),
    "DateTime": re.compile(f"{_DATE}(?:T(?:{_TIME}{_ZONE})?)?", re.ASCII),
    "Time": re.compile(f"T?{_TIME}", re.ASCII),
}
_ZERO: Final = Decimal(0)
_MINUTES_A_DAY: Final = 1440
MAX_TEXT: Final = 80
# The offsets in use on Earth, in minutes: what an unknown timezone can be (FHIRPath, "lowBoundary").
EARLIEST_ZONE: Final = 14 * 60
LATEST_ZONE: Final = -12 * 60


class Temporal(msgspec.Struct, frozen=True):
    """One date, date and time, or time.

    `parts` are year, month, day, hour, minute (or hour, minute for a Time) as far as they were written; `second`
    keeps its digits; `zone` is the offset from UTC in minutes, None where none was written; `zulu` says whether no
    offset is written as `Z`.
    """

    kind: Kind
    parts: tuple[int, ...]
    second: Decimal | None = None
    zone: int | None = None
    zulu: bool = True

    @property
    def length(self) -> int:
        """How many components are known; seconds and their fraction count as one."""
        return len(self.parts) + (self.second is not None)

    def __str__(self) -> str:
        if self.kind == "Time":
            return self._clock(self.parts)
        text = "-".join(f"{part:0{4 if place == 0 else 2}d}" for place, part in enumerate(self.parts[:3]))
        if len(self.parts) > 3:
            text += "T" + self._clock(self.parts[3:]) + zone_text(self.zone, zulu=self.zulu)
        return text

    def _clock(self, parts: tuple[int, ...]) -> str:
        text = ":".join(f"{part:02d}" for part in parts)
        if self.second is None:
            return text
        whole, _, fraction = format(self.second, "f").partition(".")
        return f"{text}:{whole.zfill(2)}" + (f".{fraction}" if fraction else "")


def zone_text(zone: int | None, *, zulu: bool = True) -> str:
    """`Z`, `+02:00` or nothing."""
    if zone is None:
        return ""
    if zone == 0 and zulu:
        return "Z"
    sign = "-" if zone < 0 else "+"
    return f"{sign}{abs(zone) // 60:02d}:{abs(zone) % 60:02d}"


def _zone(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if minutes > EARLIEST_ZONE or int(text[4:6]) > 59:
        raise ValueError(text)
    return -minutes if text[0] == "-" else minutes


def _check(year: int, month: int = 1, day: int = 1) -> None:
    dt.date(year, month, day)


def parse(text: str, kind: Kind) -> Temporal | None:
    """The value that the text writes in ISO 8601 as FHIRPath has it, or None where it writes none."""
    return _parse(text, kind) if len(text) <= MAX_TEXT else None


@lru_cache(maxsize=4_096)
def _parse(text: str, kind: Kind) -> Temporal | None:
    match = _PATTERNS[kind].fullmatch(text)
    if match is None:
        return None
    found = match.groupdict()
    names = ("h", "mi") if kind == "Time" else ("y", "mo", "d", "h", "mi")
    parts = tuple(int(found[name]) for name in names if found.get(name) is not None)
    second = Decimal(found["s"]) if found.get("s") else None
    hour, minute = (*(parts if kind == "Time" else parts[3:]), 0, 0)[:2]
    try:
        if kind != "Time":
            _check(*parts[:3])
        zone = _zone(found.get("z"))
    except ValueError:
        return None
    if hour > 23 or minute > 59 or (second is not None and second >= 60):
        return None
    return Temporal(kind, parts, second, zone, found.get("z") == "Z")


def literal(text: str) -> Temporal | None:
    """A literal without its `@`: the `T` decides between Date and DateTime."""
    if text.startswith("T"):
        return parse(text, "Time")
    return parse(text, "DateTime" if "T" in text else "Date")


def of_instant(instant: dt.datetime) -> Temporal:
    """The DateTime of an aware instant, in its own timezone, with milliseconds."""
    offset = instant.utcoffset()
    zone = int(offset.total_seconds() // 60) if offset is not None else None
    second = Decimal(instant.second) + Decimal(instant.microsecond // 1000).scaleb(-3)
    parts = (instant.year, instant.month, instant.day, instant.hour, instant.minute)
    return Temporal("DateTime", parts, second.quantize(Decimal("0.001")), zone)


def hours(zone: int) -> Decimal:
    """An offset in hours: 5.5 for +05:30."""
    return Decimal(zone) / 60


# --- comparison ----------------------------------------


def compare(left: Temporal, right: Temporal) -> int | None:
    """-1, 0 or 1; None where it cannot be known. A Time and a Date are never compared: the caller sees to that."""
    if left.zone is None and right.zone is None:
        return _by_parts(left, right)
    if left.zone is not None and right.zone is not None and len(left.parts) == len(right.parts) == 5:
        return _by_minute(left, right)
    return _by_range(left, right)


def _by_parts(left: Temporal, right: Temporal) -> int | None:
    for mine, other in zip(left.parts, right.parts, strict=False):
        if mine != other:
            return -1 if mine < other else 1
    if len(left.parts) != len(right.parts):
        return None
    return _by_second(left, right)


def _by_second(left: Temporal, right: Temporal) -> int | None:
    if left.second is None or right.second is None:
        return 0 if left.second is right.second else None
    return (left.second > right.second) - (left.second < right.second)


def minutes(value: Temporal) -> int:
    """Minutes since year 1 in the value's own clock; unknown parts count as their first."""
    return _minutes(value.parts + (1, 1, 1, 0, 0)[len(value.parts) :])


def _minutes(parts: tuple[int, ...]) -> int:
    year, month, day, hour, minute = parts
    return dt.date(year, month, day).toordinal() * _MINUTES_A_DAY + hour * 60 + minute


def _by_minute(left: Temporal, right: Temporal) -> int | None:
    mine, other = minutes(left) - (left.zone or 0), minutes(right) - (right.zone or 0)
    if mine != other:
        return -1 if mine < other else 1
    return _by_second(left, right)


def _by_range(left: Temporal, right: Temporal) -> int | None:
    (first, last), (other_first, other_last) = _range(left), _range(right)
    if last < other_first:
        return -1
    if first > other_last:
        return 1
    return 0 if first == last == other_first == other_last else None


def _range(value: Temporal) -> tuple[tuple[int, Decimal], tuple[int, Decimal]]:
    """First and last instant that the value can mean, as minutes UTC and seconds."""
    return _edge(value, EARLIEST_ZONE, first=True), _edge(value, LATEST_ZONE, first=False)


def _edge(value: Temporal, unknown: int, *, first: bool) -> tuple[int, Decimal]:
    parts, second = _filled(value, first=first)
    return _minutes(parts) - (unknown if value.zone is None else value.zone), second


def key(value: Temporal) -> tuple[object, ...]:
    """Equal for values that are equal (and for no others)."""
    if value.zone is not None and len(value.parts) == 5:
        return ("t", minutes(value) - value.zone, value.second)
    kind = "time" if value.kind == "Time" else "date"
    return (kind, value.parts, value.second, value.zone)


# --- boundaries ----------------------------------------

_STEPS: Final = {"Date": (4, 6, 8), "DateTime": (4, 6, 8, 10, 12, 14, 17), "Time": (2, 4, 6, 9)}


def digits(value: Temporal) -> int:
    """The precision in digits (FHIRPath, "precision()"): 4 for a year, 17 for milliseconds."""
    steps = _STEPS[value.kind]
    if value.second is None:
        return steps[len(value.parts) - 1]
    exponent = value.second.as_tuple().exponent
    fraction = -exponent if isinstance(exponent, int) else 0
    return steps[-2] + max(0, fraction)


def low(value: Temporal, precision: int | None = None) -> Temporal:
    """The first instant that the value can mean, at a precision in digits. ValueError where there is none such."""
    return _bound(value, precision, first=True)


def high(value: Temporal, precision: int | None = None) -> Temporal:
    """The last instant that the value can mean, at a precision in digits. ValueError where there is none such."""
    return _bound(value, precision, first=False)


def _bound(value: Temporal, precision: int | None, *, first: bool) -> Temporal:
    steps = _STEPS[value.kind]
    kind = value.kind
    if kind == "Date" and precision is not None and precision > 8:
        steps, kind = _STEPS["DateTime"], "DateTime"
    wanted = steps[-1] if precision is None else precision
    if wanted not in steps:
        raise ValueError(wanted)
    count = steps.index(wanted) + 1
    parts, second = _filled(value, first=first)
    width = 2 if kind == "Time" else 5 if kind == "DateTime" else 3
    zone = value.zone
    if kind == "DateTime" and zone is None and count > 3:
        zone = EARLIEST_ZONE if first else LATEST_ZONE
    if count <= width:
        return Temporal(kind, parts[:count], None, zone if count > 3 else None)
    kept = int(second) if count == width + 1 else second
    return Temporal(kind, parts[:width], Decimal(kept), zone)


def _filled(value: Temporal, *, first: bool) -> tuple[tuple[int, ...], Decimal]:
    """All parts, the unknown ones at their lowest or highest. An hour stands for its first minute: FHIR has no
    time of hour precision, and the official suite reads it so."""
    parts = list(value.parts)
    if value.kind == "Time":
        if len(parts) == 1:
            parts.append(0)
    else:
        if len(parts) == 4:
            parts.append(0)
        if len(parts) == 1:
            parts.append(1 if first else 12)
        if len(parts) == 2:
            parts.append(1 if first else monthrange(parts[0], parts[1])[1])
        if len(parts) == 3:
            parts += [0, 0] if first else [23, 59]
    second = value.second
    if second is None:
        return tuple(parts), Decimal("0.000") if first else Decimal("59.999")
    return tuple(parts), _milliseconds(second, first=first)


def _milliseconds(second: Decimal, *, first: bool) -> Decimal:
    exponent = second.as_tuple().exponent
    known = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    if known >= 3:
        return second.quantize(Decimal("0.001"), rounding="ROUND_DOWN")
    if first or known > 0:
        return second.quantize(Decimal("0.001"))
    return second + Decimal("0.999")


# --- arithmetic ----------------------------------------

_MONTHS: Final = {"year": 12, "month": 1}
_SECONDS: Final = {
    "week": Decimal(604_800),
    "day": Decimal(86_400),
    "hour": Decimal(3_600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}


def add(value: Temporal, amount: Decimal, unit: str) -> Temporal | None:
    """The value moved by an amount of calendar units; None beyond years 1 to 9999.

    A unit finer than the precision counts in whole units of the precision: 30 days make a month, 365 a year.
    Fractions of units above the second are ignored.
    """
    if abs(amount) > 10**15:
        return None
    if unit not in ("second", "millisecond"):
        amount = Decimal(int(amount))
    if value.kind == "Time":
        return _add_time(value, amount * _SECONDS[unit]) if unit in _SECONDS else None
    try:
        if unit in _MONTHS:
            return _add_months(value, int(amount) * _MONTHS[unit])
        return _add_seconds(value, amount * _SECONDS[unit])
    except (ValueError, OverflowError):
        return None


def _add_months(value: Temporal, count: int) -> Temporal:
    if len(value.parts) == 1:
        year = value.parts[0] + int(count / 12)
        dt.date(year, 1, 1)
        return Temporal(value.kind, (year,))
    year, month = divmod(value.parts[0] * 12 + value.parts[1] - 1 + count, 12)
    dt.date(year, month + 1, 1)
    rest = value.parts[2:]
    if rest:
        rest = (min(rest[0], monthrange(year, month + 1)[1]), *rest[1:])
    return Temporal(value.kind, (year, month + 1, *rest), value.second, value.zone, value.zulu)


def _add_seconds(value: Temporal, seconds: Decimal) -> Temporal:
    days = int(seconds / 86_400)
    if len(value.parts) == 1:
        return _add_months(value, int(days / 365) * 12)
    if len(value.parts) == 2:
        return _add_months(value, int(days / 30))
    if len(value.parts) == 3:
        moved = dt.date.fromordinal(dt.date(*value.parts).toordinal() + days)
        return Temporal(value.kind, (moved.year, moved.month, moved.day))
    grain = 60 if len(value.parts) == 5 else 3_600
    if value.second is None:
        total, second = minutes(value) + int(seconds / grain) * (grain // 60), None
    else:
        whole, second = divmod(value.second + seconds, 60)
        total, second = _floor(minutes(value), whole, second)
    ordinal, minute = divmod(total, _MINUTES_A_DAY)
    day = dt.date.fromordinal(ordinal)
    parts = (day.year, day.month, day.day, minute // 60, minute % 60)[: len(value.parts)]
    return Temporal(value.kind, parts, second, value.zone, value.zulu)


def _floor(base: int, whole: Decimal, second: Decimal) -> tuple[int, Decimal]:
    """Decimal division cuts towards zero; clocks run down to the minute before."""
    total = base + int(whole)
    return (total - 1, second + 60) if second < 0 else (total, abs(second))


def _add_time(value: Temporal, seconds: Decimal) -> Temporal:
    hour, minute = (*value.parts, 0)[:2]
    total = Decimal(hour * 3_600 + minute * 60) + (value.second or _ZERO) + seconds
    total %= 86_400
    if total < 0:
        total += 86_400
    hour, rest = int(total // 3_600), total % 3_600
    parts = (hour, int(rest // 60))[: len(value.parts)]
    return Temporal("Time", parts, rest % 60 if value.second is not None else None)
