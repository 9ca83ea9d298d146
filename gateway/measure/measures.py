"""Measures as data: one TOML file each, read once, checked against what their SELECT gives.

Every fault of a file is `Misconfigured` GW-MEASURE-003 with the file and, where it can be found, the line.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from string import Formatter
from typing import Any, Final, Literal, NoReturn, Protocol

import msgspec

from gateway.errors import GatewayError, Misconfigured
from gateway.formats.calendars import Calendar
from gateway.formats.views import Statement
from gateway.measure import calendar
from gateway.message import LANGUAGES, Language, Severity
from gateway.programme import Programme, Title
from gateway.settings import MeasureSetting, Part

Kind = Literal["proportion", "ratio", "count", "duration", "findings"]
Scalar = int | float | str

EXCLUDED: Final = "excluded_"
BOUND: Final = frozenset({"day", "from_day", "to_day", "from_at", "to_at", "now_at", "programme"})
"""What every measure is given."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "proportion": ("numerator", "denominator"),
    "ratio": ("numerator", "denominator"),
    "count": ("numerator",),
    "duration": ("value", "denominator"),
    "findings": ("subject", "place", "due_day", "code"),
}
_CALENDAR: Final = re.compile(r"('(?:[^']|'')*'|--[^\n]*|/\*.*?\*/)|\bcalendar_day\b", re.DOTALL)
_PATH: Final = re.compile(r"\$\.([\w.\-\[\]]+)")


class Dated(Part, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A value of a parameter from a day to a day, both inclusive; empty: open."""

    value: Scalar
    start: str = ""
    end: str = ""


class Parameter(Part, frozen=True, kw_only=True):
    """A number or text of a rule."""

    default: Scalar
    values: tuple[Dated, ...] = ()

    def on(self, day: date) -> Scalar:
        """What is valid on that day: the last of the dated values that fits, else the default."""
        found = self.default
        for each in self.values:
            if (not each.start or date.fromisoformat(each.start) <= day) and (
                not each.end or day <= date.fromisoformat(each.end)
            ):
                found = each.value
        return found


class FindingText(Part, frozen=True, kw_only=True):
    """What a finding of one code says."""

    text: Title
    mend: Title
    severity: Severity = "warning"


class Measure(Part, frozen=True, kw_only=True):
    """The whole file, with where it came from."""

    name: str
    rule: tuple[str, ...]
    kind: Kind
    period: Literal["day", "week", "month", "quarter", "half-year", "year", "none"]
    title: Title
    unit: Title
    counted: Title
    sql: str
    grain: tuple[str, ...] = ()
    calendar: Calendar | None = None
    target: float | None = None
    better: Literal["higher", "lower"] | None = None
    lookback: int = 35
    version: str = "1"
    excluded: Mapping[str, Title] = {}
    labels: Mapping[str, Title] = {}
    parameters: Mapping[str, Parameter] = {}
    finding: Mapping[str, FindingText] = {}
    programme: str = ""
    file: str = ""
    digest: str = ""
    canonical: str = ""

    @property
    def statement(self) -> Statement:
        """What the store runs."""
        table = calendar.table_of(self.programme)
        own = _CALENDAR.sub(lambda found: found[1] or table, self.sql)
        return Statement(name=self.file or self.name, programme=self.programme, sql=own)

    @property
    def written_in(self) -> Calendar:
        """The calendar of its periods."""
        return self.calendar or "gregorian"


def said(of: Title, language: Language) -> str:
    """The text in a language."""
    return str(getattr(of, language))


class Checks(Protocol):
    """Who can say what a statement gives."""

    async def check(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]: ...


class Catalogue:
    """The measures of every programme, and the values that an installation gave to parameters."""

    def __init__(
        self, home: Path, programmes: Mapping[str, Programme], settings: Sequence[MeasureSetting] = ()
    ) -> None:
        self.programmes = programmes
        self._settings = settings
        self._measures: dict[str, dict[str, Measure]] = {}
        for name, programme in programmes.items():
            folder = home / "profiles" / name / "measures"
            found = [read(path, programme) for path in sorted(folder.glob("*.toml"))]
            self._measures[name] = {each.name: each for each in found}
        for setting in settings:
            self._known(setting)

    def of(self, programme: str) -> Sequence[Measure]:
        """Every measure of a programme, by name."""
        return tuple(self._measures.get(programme, {}).values())

    def one(self, programme: str, name: str) -> Measure:
        """The measure of that name, or `GatewayError` GW-MEASURE-004."""
        known = self._measures.get(programme, {})
        if name not in known:
            raise GatewayError("GW-MEASURE-004", name=name, programme=programme, known=", ".join(known) or "-")
        return known[name]

    def parameters(self, measure: Measure, day: date) -> dict[str, Scalar]:
        """The values of its parameters that are valid on that day; the installation's word comes first."""
        found = {name: each.on(day) for name, each in measure.parameters.items()}
        for setting in self._settings:
            if setting.programme == measure.programme and setting.name in ("*", measure.name):
                found |= {name: value for name, value in setting.parameters.items() if name in found}
        return found

    async def check(self, store: Checks) -> None:
        """Every statement reads views and nothing else, and gives the columns of its kind; else `Misconfigured`."""
        for several in self._measures.values():
            for measure in several.values():
                given = dict.fromkeys(BOUND, 0) | self.parameters(measure, date(2026, 1, 1))
                columns = await store.check(measure.statement, given)
                _columns(measure, columns)

    def _known(self, setting: MeasureSetting) -> None:
        measures = self._measures.get(setting.programme, {})
        wanted = measures.values() if setting.name == "*" else [self.one(setting.programme, setting.name)]
        for name in setting.parameters:
            if not any(name in each.parameters for each in wanted):
                detail = f"[[measure]] {setting.programme} {setting.name}: there is no parameter {name}"
                raise Misconfigured(detail=detail)


def _columns(measure: Measure, columns: Sequence[str]) -> None:
    text = Path(measure.file).read_text(encoding="utf-8")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        _fail(Path(measure.file), text, "sql", f"column {twice[0]} stands twice")
    for name in (*measure.grain, *_NEEDED[measure.kind]):
        if name not in columns:
            _fail(Path(measure.file), text, "sql", f"the result has no column {name}")
    for name in columns:
        if name.startswith(EXCLUDED) and name.removeprefix(EXCLUDED) not in measure.excluded:
            _fail(Path(measure.file), text, "sql", f"[excluded.{name.removeprefix(EXCLUDED)}] is not there")


# --- files ----------------------------------------


def read(path: Path, programme: Programme) -> Measure:
    """The measure of a file."""
    try:
        body = path.read_bytes()
        text = body.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("GW-MEASURE-003", file=str(path), detail=type(error).__name__) from None
    try:
        measure = msgspec.convert(tomllib.loads(text), Measure)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured("GW-MEASURE-003", file=str(path), detail=str(error)) from None
    except msgspec.ValidationError as error:
        found = _PATH.search(str(error))
        _fail(path, text, found[1] if found else "", str(error))
    _sound(measure, path, text)
    return msgspec.structs.replace(
        measure,
        programme=programme.name,
        file=str(path),
        digest=hashlib.sha256(body).hexdigest(),
        calendar=measure.calendar or programme.calendar.calendar,
        canonical=f"{programme.canonical}/Measure/{measure.name}",
    )


def _sound(measure: Measure, path: Path, text: str) -> None:
    if measure.name != path.stem:
        _fail(path, text, "name", f"name is {measure.name!r}, the file is {path.stem!r}")
    for name, parameter in measure.parameters.items():
        if name in BOUND:
            _fail(path, text, f"parameters.{name}", f"parameter {name} is one that every measure has")
        for each in parameter.values:
            for day in (each.start, each.end):
                _day(day, path, text, f"parameters.{name}")
    for code, found in measure.finding.items():
        for title in (found.text, found.mend):
            if not all(_fillable(said(title, language)) for language in LANGUAGES):
                _fail(path, text, f"finding.{code}", "only {name} of a column can be filled in")
    if measure.kind == "findings" and not measure.finding:
        _fail(path, text, "kind", "findings need [finding.CODE] with text and mend")


def _fillable(template: str) -> bool:
    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError:
        return False
    return all(name.isidentifier() for name in names) and "{" not in template.format_map(dict.fromkeys(names, ""))


def _day(day: str, path: Path, text: str, at: str) -> None:
    try:
        date.fromisoformat(day or "2026-01-01")
    except ValueError:
        _fail(path, text, at, f"{day!r} is not a day")


def _fail(path: Path, text: str, at: str, detail: str) -> NoReturn:
    raise Misconfigured("GW-MEASURE-003", file=f"{path}:{_line(text, at)}", detail=detail)


def _line(text: str, at: str) -> int:
    """The line of a key or of the table in which it is; 1 where neither is found."""
    parts = re.sub(r"\[\d*\]|\[\.\.\.\]", "", at).split(".")
    for count in range(len(parts), 0, -1):
        table = re.escape(".".join(parts[:count]))
        found = re.search(rf"(?m)^\s*\[{table}\]|^\s*{re.escape(parts[count - 1])}\s*=", text)
        if found:
            return text.count("\n", 0, found.end()) + 1
    return 1
