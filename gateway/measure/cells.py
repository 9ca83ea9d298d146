"""Values of views as cells of tables: FHIR types become columns that both databases compare alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from gateway.formats import json
from gateway.formats.calendars import zone
from gateway.formats.periods import number
from gateway.formats.views import ColumnKind, Row, TableColumn
from gateway.measure.view import Column

VERSION: Final = "1"
_INTEGERS: Final = frozenset({"integer", "positiveInt", "unsignedInt", "integer64"})
_DATES: Final = frozenset({"date", "dateTime", "instant"})
_WHOLE_DAY: Final = 10
LARGEST: Final = 2**63 - 1


def column(of: Column, timezone: str) -> tuple[list[TableColumn], Callable[[Any], Row]]:
    """The columns that a view's column becomes, and how a value becomes their cells."""
    return by_type(of.name, "" if of.collection else of.type, timezone)


def by_type(name: str, type: str, timezone: str) -> tuple[list[TableColumn], Callable[[Any], Row]]:
    """The same for a name and a type."""
    if type in _DATES:
        days = [TableColumn(name=f"{name}_{part}", kind="integer") for part in ("day", "at")]
        return [TableColumn(name=name), *days], lambda value: moment(value, timezone)
    kind: ColumnKind = "text"
    make: Callable[[Any], Row] = _text
    if type == "boolean":
        kind, make = "integer", _boolean
    elif type in _INTEGERS:
        kind, make = "integer", _integer
    elif type == "decimal":
        kind, make = "number", _number
    return [TableColumn(name=name, kind=kind)], make


def _text(value: Any) -> Row:
    if value is None:
        return (None,)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    written = json.write(value).decode() if isinstance(value, list | dict) else str(value)
    return (written.replace("\0", ""),)


def _boolean(value: Any) -> Row:
    words = {"true": 1, "false": 0, "1": 1, "0": 0}
    return (int(value) if isinstance(value, bool) else words.get(str(value).strip().lower()),)


def _integer(value: Any) -> Row:
    try:
        made = int(value) if not isinstance(value, bool) and value is not None else None
    except ValueError:
        made = None
    return (made if made is not None and abs(made) <= LARGEST else None,)


def _number(value: Any) -> Row:
    if value is None or isinstance(value, bool):
        return (None,)
    try:
        return (float(Decimal(str(value))),)
    except ArithmeticError:
        return (None,)


@lru_cache(maxsize=65_536)
def _moment(text: str, timezone: str) -> Row:
    try:
        if len(text) == _WHOLE_DAY:
            return text, number(date.fromisoformat(text)), None
        at = datetime.fromisoformat(text)
        if len(text) < _WHOLE_DAY or at.tzinfo is None:
            return text, None, None
        return text, number(at.astimezone(zone(timezone)).date()), int(at.astimezone(UTC).timestamp() // 1)
    except (ValueError, OverflowError):
        return text, None, None


def moment(value: Any, timezone: str) -> Row:
    """A date or time as its text, its local day, and its second; a year or a month has no day."""
    return (None, None, None) if value is None else _moment(str(value), timezone)
