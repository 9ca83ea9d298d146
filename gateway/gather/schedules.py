"""Schedules: which periods have ended and owe their reports, and the case that each report makes.

Pure: the plan, the last day that was reported and the present time give what is due. Ids follow from programme,
schedule, period and unit, so the same report has the same case however often, and by whichever process, it is made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

from gateway.errors import Misconfigured
from gateway.flow import NEW, Room, Thing
from gateway.formats import calendars, periods
from gateway.formats.calendars import Calendar
from gateway.formats.periods import Period
from gateway.gather.cases import duration
from gateway.message import Case, Move
from gateway.programme import Programme, SchedulePlan

SENDER: Final = "gateway"
"""Whose cases scheduled reports are."""

MOST: Final = 1_000
"""Periods that are made up for in one go."""

_DAY: Final = timedelta(days=1)


def calendar_of(programme: Programme, plan: SchedulePlan) -> Calendar:
    """The calendar of its periods."""
    return plan.calendar or programme.calendar.calendar


def check(programme: Programme) -> None:
    """Refuse schedules that could never make a document. Raises `Misconfigured` GW-MEASURE-007."""
    for plan in programme.schedule:
        try:
            programme.document_plan(plan.kind)
            duration(plan.after)
            for text in (plan.valid_from, plan.valid_to):
                date.fromisoformat(text or "2026-01-01")
            if (plan.period == "dates") is not bool(plan.on):
                raise Misconfigured(detail="`on` goes with period = dates")
            for text in plan.on:
                periods.starts_on(text, calendar_of(programme, plan), 1400 if _is_jalali(programme, plan) else 2024)
        except (Misconfigured, ValueError) as error:
            detail = error.args_.get("detail", error.code) if isinstance(error, Misconfigured) else str(error)
            raise Misconfigured("GW-MEASURE-007", name=plan.name, programme=programme.name, detail=detail) from None
    names = [plan.name for plan in programme.schedule]
    if len(set(names)) != len(names):
        raise Misconfigured("GW-MEASURE-007", name="…", programme=programme.name, detail="a name stands twice")


def _is_jalali(programme: Programme, plan: SchedulePlan) -> bool:
    return calendar_of(programme, plan) == "jalali"


def first_mark(programme: Programme, plan: SchedulePlan, now: datetime) -> int:
    """What counts as reported at the very first start: everything before `valid_from`, or before the present period."""
    if plan.valid_from:
        return periods.number(date.fromisoformat(plan.valid_from)) - 1
    today = now.astimezone(calendars.zone(programme.timezone)).date()
    return _containing(programme, plan, today).from_day - 1


def due(programme: Programme, plan: SchedulePlan, mark: int, now: datetime) -> list[Period]:
    """The periods after the mark that have ended, and whose time for late data has passed; the oldest first."""
    made: list[Period] = []
    for period in _following(programme, plan, periods.of_number(mark)):
        if len(made) >= MOST or due_at(programme, plan, period) > now:
            break
        if _valid(plan, period):
            made.append(period)
    return made


def due_at(programme: Programme, plan: SchedulePlan, period: Period) -> datetime:
    """When the report of that period is made: local midnight after its last day, and what is waited besides."""
    after = period.last + _DAY
    midnight = datetime(after.year, after.month, after.day, tzinfo=calendars.zone(programme.timezone))
    return midnight + duration(plan.after)


def _valid(plan: SchedulePlan, period: Period) -> bool:
    starts = not plan.valid_from or date.fromisoformat(plan.valid_from) <= period.first
    return starts and (not plan.valid_to or period.first <= date.fromisoformat(plan.valid_to))


def _following(programme: Programme, plan: SchedulePlan, last: date) -> Iterator[Period]:
    """The periods that end after that day. One that had begun before it counts from its own beginning."""
    period = _containing(programme, plan, last + _DAY)
    while period.last < periods.of_number(60_000):
        yield period
        period = _containing(programme, plan, period.last + _DAY)


def _containing(programme: Programme, plan: SchedulePlan, day: date) -> Period:
    calendar = calendar_of(programme, plan)
    if plan.period != "dates":
        return periods.containing(day, plan.period, calendar, programme.calendar.week_starts)
    year = calendars.to_jalali(day)[0] if calendar == "jalali" else day.year
    turns = sorted({periods.starts_on(text, calendar, near) for text in plan.on for near in range(year - 1, year + 3)})
    first = max((each for each in turns if each <= day), default=date(1990, 1, 1))
    following = next((each for each in turns if each > day), None)
    last = following - _DAY if following is not None else periods.of_number(60_000)
    return Period(f"{periods.written(first, calendar)}/{periods.written(last, calendar)}", first, last)


def _digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def case_of(programme: Programme, plan: SchedulePlan, period: Period, unit: str, key: bytes, at: datetime) -> Case:
    """The case of one report, complete from the beginning. `key` keeps its subject from being guessed."""
    salt = hashlib.sha256(key).hexdigest()
    return Case(
        id=_digest("schedule", programme.name, plan.name, period.label, unit),
        programme=programme.name,
        sender=SENDER,
        subject=_digest("schedule-subject", salt, programme.name, plan.name, unit),
        kind=plan.kind,
        state="complete",
        opened_at=at,
        version=1,
        parts=("report",),
    )


def opened(case: Case) -> tuple[Move, ...]:
    """The moves of a case that is complete from the beginning."""

    def move(frm: str, to: str) -> Move:
        return Move(thing=Thing.CASE, id=case.id, frm=frm, to=to, room=Room.GATHER)

    return move(NEW, "open"), move("open", "complete")
