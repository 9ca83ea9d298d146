"""What a measure says of a period, as frozen values: lines by grain, totals, findings, and what they rest on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import msgspec

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.formats.calendars import zone
from gateway.formats.periods import Period, number, of_number, written
from gateway.formats.views import Answered, KeptFinding
from gateway.measure.measures import EXCLUDED, Catalogue, Measure, Scalar, said
from gateway.message import LANGUAGES, Language
from gateway.ports import MeasureStore

Number = int | float | None
_COUNTED: Final = ("numerator", "denominator", "value")
_OWN: Final = frozenset({"subject", "place", "due_day", "code"})


class Line(msgspec.Struct, frozen=True):
    """One line of a report: for what, how many, how many of, how many left out and why."""

    grain: tuple[Any, ...]
    numerator: Number = None
    denominator: Number = None
    value: Number = None
    excluded: Mapping[str, Number] = {}
    further: Mapping[str, Any] = {}

    def score(self, kind: str) -> Number:
        """The proportion, ratio, mean or count that the line amounts to; None where there is nothing to divide by."""
        if kind == "duration":
            return self.value
        if kind == "count":
            return self.numerator
        return self.numerator / self.denominator if self.numerator is not None and self.denominator else None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of a period. `day` is the day that it was evaluated for, `feed` and `at` what it rests on."""

    measure: Measure
    period: Period
    day: date
    parameters: Mapping[str, Scalar]
    feed: int
    at: datetime
    lines: tuple[Line, ...] = ()
    total: Line | None = None
    findings: tuple[KeptFinding, ...] = ()
    unit: str = ""  # where the report is for one value of one grain column: that value

    @property
    def excluded(self) -> tuple[str, ...]:
        """The reasons for which something was left out, in the order of the file."""
        present = {reason for line in self.lines for reason in line.excluded}
        return tuple(reason for reason in self.measure.excluded if reason in present)

    @property
    def further(self) -> tuple[str, ...]:
        """The names of further columns."""
        return tuple(self.lines[0].further) if self.lines else ()


class Evaluator:
    """Runs measures. `today` and `now` come with each call: this room has no clock."""

    def __init__(self, catalogue: Catalogue, store: MeasureStore) -> None:
        self.catalogue, self._store = catalogue, store

    async def report(
        self, measure: Measure, period: Period, now: datetime, only: Mapping[str, str] | None = None
    ) -> Report:
        """The measure of that period as it stands at `now`; `only` keeps the lines with these values.

        Raises `GatewayError` GW-MEASURE-006 where the statement fails.
        """
        timezone = self.catalogue.programmes[measure.programme].timezone
        today = now.astimezone(zone(timezone)).date()
        day = min(period.last, today)
        parameters = self.catalogue.parameters(measure, period.last)
        given = parameters | bound(measure.programme, period, day, now, timezone)
        answered = await self._store.answer(measure.statement, given)
        made = Report(
            measure=measure, period=period, day=day, parameters=parameters, feed=answered.feed, at=now.astimezone(UTC)
        )
        if measure.kind == "findings":
            found = [each for each in _findings(measure, answered, period, today) if _fits(_of(each), only)]
            return msgspec.structs.replace(made, findings=tuple(found))
        lines = _lines(measure, answered)
        return narrowed(msgspec.structs.replace(made, lines=lines), only)


def narrowed(report: Report, only: Mapping[str, str] | None) -> Report:
    """The report with the lines that have these values, and their total."""
    grain = report.measure.grain
    kept = tuple(line for line in report.lines if _fits(dict(zip(grain, line.grain, strict=True)), only))
    return msgspec.structs.replace(report, lines=kept, total=total(report.measure, kept))


def of_unit(report: Report, column: str, value: str) -> Report:
    """The part of the report that is about one value of a grain column (or one place, for findings)."""
    made = report
    if report.measure.kind == "findings":
        made = msgspec.structs.replace(made, findings=tuple(f for f in made.findings if f.place == value))
    elif column in report.measure.grain:
        made = narrowed(made, {column: value})
    return msgspec.structs.replace(made, unit=value)


def units(report: Report, column: str) -> frozenset[str]:
    """The values of that column in it."""
    if report.measure.kind == "findings":
        return frozenset(each.place for each in report.findings if each.place)
    if column not in report.measure.grain:
        return frozenset()
    place = report.measure.grain.index(column)
    return frozenset(str(line.grain[place]) for line in report.lines if line.grain[place] is not None)


def bound(programme: str, period: Period, day: date, now: datetime, timezone: str) -> dict[str, Scalar]:
    """What every statement is given (docs/measure.md)."""
    return {
        "programme": programme,
        "day": number(day),
        "from_day": period.from_day,
        "to_day": period.to_day,
        "from_at": _midnight(period.first, timezone),
        "to_at": _midnight(period.last + timedelta(days=1), timezone),
        "now_at": int(now.timestamp()),
    }


def _midnight(day: date, timezone: str) -> int:
    return int(datetime.combine(day, time(), zone(timezone)).timestamp())


def _of(finding: KeptFinding) -> dict[str, Any]:
    return {**finding.data, "subject": finding.subject, "place": finding.place, "code": finding.code}


def _fits(values: Mapping[str, Any], only: Mapping[str, str] | None) -> bool:
    return all(str(values.get(name)) == value for name, value in (only or {}).items())


def _lines(measure: Measure, answered: Answered) -> tuple[Line, ...]:
    names = answered.columns
    reasons = [name for name in names if name.startswith(EXCLUDED)]
    known = {*measure.grain, *_COUNTED, *reasons}
    further = [name for name in names if name not in known]
    made = []
    for row in answered.rows:
        cells = dict(zip(names, row, strict=True))
        counted = {name: cells.get(name) for name in _COUNTED}
        if not all(
            each is None or isinstance(each, int | float) for each in (*counted.values(), *map(cells.get, reasons))
        ):
            raise GatewayError("GW-MEASURE-006", measure=measure.name, detail="a count is not a number")
        made.append(
            Line(
                tuple(cells[name] for name in measure.grain),
                **counted,
                excluded={name.removeprefix(EXCLUDED): cells[name] for name in reasons},
                further={name: cells[name] for name in further},
            )
        )
    return tuple(made)


def total(measure: Measure, lines: Sequence[Line]) -> Line | None:
    """All lines together: sums; for a duration the mean, weighted by how many it was taken from."""
    if not lines:
        return None
    reasons = dict.fromkeys(reason for line in lines for reason in line.excluded)
    excluded = {reason: _sum([line.excluded.get(reason) for line in lines]) for reason in reasons}
    grain = (None,) * len(measure.grain)
    denominator = _sum([line.denominator for line in lines])
    if measure.kind == "duration":
        weighed = sum((line.value or 0) * (line.denominator or 0) for line in lines)
        mean = round(weighed / denominator, 9) if denominator else None
        return Line(grain, None, denominator, mean, excluded)
    return Line(grain, _sum([line.numerator for line in lines]), denominator, None, excluded)


def _sum(values: Sequence[Number]) -> Number:
    known = [each for each in values if each is not None]
    made = sum(known) if known else None
    return round(made, 9) if isinstance(made, float) else made


# --- findings ----------------------------------------


def finding_id(measure: Measure, code: str, subject: str, place: str, due_day: int) -> str:
    """One finding has one id, however often it is found."""
    words = json.write([measure.programme, measure.name, code, subject, place, due_day])
    return hashlib.sha256(words).hexdigest()[:32]


def _findings(measure: Measure, answered: Answered, period: Period, today: date) -> list[KeptFinding]:
    made: dict[str, KeptFinding] = {}
    for row in answered.rows:
        cells = dict(zip(answered.columns, row, strict=True))
        due, code = cells["due_day"], str(cells["code"])
        if not isinstance(due, int) or code not in measure.finding:
            detail = f"code {code[:40]} has no [finding], or due_day is not a whole number"
            raise GatewayError("GW-MEASURE-006", measure=measure.name, detail=detail)
        if not period.from_day <= due <= min(period.to_day, number(today)):
            continue
        subject, place = str(cells["subject"]), str(cells["place"] or "")
        id = finding_id(measure, code, subject, place, due)
        made[id] = KeptFinding(
            id=id,
            programme=measure.programme,
            measure=measure.name,
            code=code,
            subject=subject,
            place=place,
            due_day=due,
            found_day=number(today),
            data={name: value for name, value in cells.items() if name not in _OWN},
        )
    return sorted(made.values(), key=lambda each: (each.due_day, each.place, each.subject, each.code))


def texts(measure: Measure, found: KeptFinding, what: str = "text") -> dict[Language, str]:
    """What a finding says, or how to mend it, in the four languages, dates in the calendar of the measure."""
    words = {name: str(value) for name, value in found.data.items() if value is not None}
    words |= {"subject": found.subject, "place": found.place}
    days = {"due_day": found.due_day, **{name: day for name, day in found.data.items() if name.endswith("_day")}}
    for name, day in days.items():
        if isinstance(day, int) and abs(day) < 1_000_000:
            words[f"{name.removesuffix('_day')}_date"] = written(of_number(day), measure.written_in)
    kept = measure.finding[found.code]
    template = kept.text if what == "text" else kept.mend
    return {language: said(template, language).format_map(_Blank(words)) for language in LANGUAGES}


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"
