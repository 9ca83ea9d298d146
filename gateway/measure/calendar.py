"""`calendar_day`: every day from 1990 to 2060 in both calendars, with a programme's working days."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from gateway.errors import Misconfigured
from gateway.formats import calendars, json
from gateway.formats.periods import number
from gateway.formats.views import FilledTable, Row, TableColumn
from gateway.measure import sheets
from gateway.programme import CalendarPlan, Programme

FIRST: Final = date(1990, 1, 1)
LAST: Final = date(2060, 12, 31)
VERSION: Final = "2"
_TEXTS: Final = frozenset({"iso", "period", "jalali_period"})
_NAMES: Final = (
    "day", "iso", "year", "month", "dom", "weekday", "iso_week_start", "month_start", "month_end",
    "jalali_year", "jalali_month", "jalali_dom", "jalali_month_start", "jalali_month_end",
    "period", "jalali_period", "working", "working_no", "starts_at", "ends_at",
)  # fmt: skip
_DAY: Final = timedelta(days=1)


def table_of(programme: str) -> str:
    """The name of the programme's own calendar; measures call it `calendar_day`."""
    return f"calendar_day_{programme}".replace("-", "_")


def table(programme: Programme) -> FilledTable:
    """The calendar of a programme. Raises `Misconfigured` for a table of holidays that cannot be read."""
    plan, exceptions = programme.calendar, _exceptions(programme)
    told = [VERSION, list(plan.weekend), sorted((day.isoformat(), on) for day, on in exceptions.items())]
    return FilledTable(
        name=table_of(programme.name),
        columns=tuple(TableColumn(name=name, kind="text" if name in _TEXTS else "integer") for name in _NAMES),
        indexes=(("day",), ("iso",), ("jalali_period",), ("period",)),
        digest=hashlib.sha256(json.write([*told, programme.timezone])).hexdigest(),
        rows=lambda: _rows(plan, exceptions, programme.timezone),
    )


def _exceptions(programme: Programme) -> Mapping[date, bool]:
    """Days that are not as their weekday says: holidays, and weekend days that are worked."""
    plan = programme.calendar
    if not plan.holidays:
        return {}
    path = Path(programme.folder) / plan.holidays
    try:
        body = path.read_bytes()
    except OSError as error:
        raise Misconfigured("GW-MEASURE-001", file=str(path), detail=str(error.strerror)) from None
    made: dict[date, bool] = {}
    for line in sheets.lines(body, path):
        text = line.get("day", "")
        found = calendars.parse(text, "jalali" if text[:2] in ("13", "14") else "gregorian")
        if not isinstance(found, calendars.Day) or not found.exact:
            raise Misconfigured("GW-MEASURE-001", file=str(path), detail=f"{text[:20]} is not a day")
        made[found.first] = line.get("working", "") in ("1", "true")
    return made


@cache
def _days() -> tuple[Row, ...]:
    """What is the same for everybody, worked out once a process."""
    made: list[Row] = []
    day = FIRST
    while day <= LAST:
        year, month, dom = calendars.to_jalali(day)
        start = day - timedelta(days=dom - 1)
        end = start + timedelta(days=32)
        end -= timedelta(days=calendars.to_jalali(end)[2])
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        week = number(day) - day.weekday()
        gregorian = (number(day), day.isoformat(), day.year, day.month, day.day, day.isoweekday(), week)
        jalali = (year, month, dom, number(start), number(end))
        labels = (f"{day.year:04}-{day.month:02}", f"{year:04}-{month:02}")
        made.append((*gregorian, number(first), number(following) - 1, *jalali, *labels))
        day += _DAY
    return tuple(made)


def _rows(plan: CalendarPlan, exceptions: Mapping[date, bool], timezone: str) -> Iterator[Row]:
    zone = calendars.zone(timezone)
    worked, day = 0, FIRST
    starts = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    for row in _days():
        working = exceptions.get(day, row[5] not in plan.weekend)
        worked += working
        following = day + _DAY
        ends = int(datetime(following.year, following.month, following.day, tzinfo=zone).timestamp())
        yield (*row, int(working), worked, starts, ends)
        day, starts = following, ends
