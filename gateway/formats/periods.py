"""Periods of both calendars: days, weeks, months, quarters, half-years, years, written as people there write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final, Literal

import msgspec

from gateway.errors import Misconfigured
from gateway.formats import calendars
from gateway.formats.calendars import Calendar

Length = Literal["day", "week", "month", "quarter", "half-year", "year"]

EPOCH: Final = date(1970, 1, 1)
_DAY: Final = timedelta(days=1)
_MONTHS: Final[Mapping[str, int]] = {"month": 1, "quarter": 3, "half-year": 6, "year": 12}
_TEXT: Final = re.compile(r"(\d{4})(?:-(?:(Q|H|W)(\d{1,2})|(\d{1,2})(?:-(\d{1,2}))?))?")
_LAST: Final = {"Q": 4, "H": 2, "W": 53}


class Period(msgspec.Struct, frozen=True):
    """From `first` to `last`, both inclusive; `label` is how it is written in its calendar."""

    label: str
    first: date
    last: date

    @property
    def from_day(self) -> int:
        """The first day as days since 1970-01-01."""
        return number(self.first)

    @property
    def to_day(self) -> int:
        """The last day as days since 1970-01-01."""
        return number(self.last)


def number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def of_number(day: int) -> date:
    """The day of that number."""
    return EPOCH + timedelta(days=day)


def _wrong(text: str, calendar: Calendar) -> Misconfigured:
    return Misconfigured("GW-MEASURE-005", value=text[:40], calendar=calendar)


def _first(year: int, month: int, calendar: Calendar) -> date:
    found = calendars.parse(f"{year:04}-{month:02}", calendar)
    if not isinstance(found, calendars.Day):
        raise _wrong(f"{year:04}-{month:02}", calendar)
    return found.first


def _months(year: int, month: int, count: int, label: str, calendar: Calendar) -> Period:
    """`count` months from a month on."""
    after = month + count
    end = _first(year + (after - 1) // 12, (after - 1) % 12 + 1, calendar) - _DAY
    return Period(label, _first(year, month, calendar), end)


def _week(day: date, starts: int, calendar: Calendar) -> Period:
    first = day - timedelta(days=(day.isoweekday() - starts) % 7)
    if calendar == "gregorian" and starts == 1:
        year, week, _ = first.isocalendar()
        return Period(f"{year:04}-W{week:02}", first, first + 6 * _DAY)
    return Period(f"{written(first, calendar)}/P7D", first, first + 6 * _DAY)


def written(day: date, calendar: Calendar) -> str:
    """2026-10-05 or 1405-07-13."""
    return calendars.jalali_text(day, "-") if calendar == "jalali" else day.isoformat()


def containing(day: date, length: Length, calendar: Calendar = "gregorian", week_starts: int = 1) -> Period:
    """The period of that length in which the day lies."""
    if length == "day":
        return Period(written(day, calendar), day, day)
    if length == "week":
        return _week(day, week_starts, calendar)
    year, month = calendars.to_jalali(day)[:2] if calendar == "jalali" else (day.year, day.month)
    count = _MONTHS[length]
    part = (month - 1) // count
    labels = {
        "month": f"{year:04}-{month:02}",
        "quarter": f"{year:04}-Q{part + 1}",
        "half-year": f"{year:04}-H{part + 1}",
        "year": f"{year:04}",
    }
    return _months(year, part * count + 1, count, labels[length], calendar)


def next_one(period: Period, length: Length, calendar: Calendar = "gregorian", week_starts: int = 1) -> Period:
    """The one that follows."""
    return containing(period.last + _DAY, length, calendar, week_starts)


def parse(text: str, calendar: Calendar = "gregorian") -> Period:
    """A period as its calendar writes it. Raises `Misconfigured` GW-MEASURE-005.

    1403-05-12, 1403-05, 1403-Q2, 1403-H1, 1403; 2026-W41 is the ISO week; DAY/P7D any seven days.
    """
    if text.endswith("/P7D"):
        begins = parse(text.removesuffix("/P7D"), calendar).first
        return Period(text, begins, begins + 6 * _DAY)
    found = _TEXT.fullmatch(text)
    if found is None:
        raise _wrong(text, calendar)
    year, part = int(found[1]), int(found[3] or 0)
    if found[2] and not 1 <= part <= _LAST[found[2]]:
        raise _wrong(text, calendar)
    if found[2] == "W":
        return _iso_week(text, year, part, calendar)
    if found[2]:
        count = 3 if found[2] == "Q" else 6
        return _months(year, (part - 1) * count + 1, count, text, calendar)
    day = calendars.parse(text, calendar)
    if not isinstance(day, calendars.Day):
        raise _wrong(text, calendar)
    label = "-".join(each.zfill(2) for each in text.split("-"))
    return Period(label, day.first, day.last)


def _iso_week(text: str, year: int, week: int, calendar: Calendar) -> Period:
    if calendar != "gregorian":
        raise _wrong(text, calendar)
    try:
        first = date.fromisocalendar(year, week, 1)
    except ValueError:
        raise _wrong(text, calendar) from None
    return Period(f"{year:04}-W{week:02}", first, first + 6 * _DAY)


def starts_on(text: str, calendar: Calendar, year: int) -> date:
    """The day of `MM-DD` in that year of the calendar, or the full ISO date itself."""
    full = re.fullmatch(r"\d{4}-\d{2}-\d{2}", text)
    found = calendars.parse(text, "gregorian") if full else calendars.parse(f"{year:04}-{text}", calendar)
    if not isinstance(found, calendars.Day) or not found.exact:
        raise _wrong(text, calendar)
    return found.first
