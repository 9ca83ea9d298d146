"""Conversion functions: toX() and convertsToX() (FHIRPath 2.0.0, "Conversion")."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from gateway.fhirpath import datetimes, quantities
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.nodes import Node
from gateway.fhirpath.operators import INTEGER_MAX, INTEGER_MIN
from gateway.fhirpath.quantities import CALENDAR, Quantity
from gateway.fhirpath.registry import Function, on_input, with_arguments
from gateway.fhirpath.running import Context, Items, single, text
from gateway.fhirpath.values import as_text, plain

_WHOLE: Final = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?", re.ASCII)
_TRUE: Final = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "0", "0.0"})

Convert = Callable[[Any], Any]


def to_boolean(value: Any) -> bool | None:
    """True, yes, 1 and their like; None for what is neither."""
    match value:
        case bool():
            return value
        case int() | Decimal():
            return True if value == 1 else False if value == 0 else None
        case str():
            word = value.lower()
            return True if word in _TRUE else False if word in _FALSE else None
        case _:
            return None


def to_integer(value: Any) -> int | None:
    """A whole number in the range of Integer, or None."""
    match value:
        case bool():
            return int(value)
        case int():
            return value
        case str() if _WHOLE.fullmatch(value):
            found = int(value)
            return found if INTEGER_MIN <= found <= INTEGER_MAX else None
        case _:
            return None


def to_long(value: Any) -> int | None:
    """A whole number of up to 19 digits, or None."""
    match value:
        case bool() | int():
            return int(value)
        case str() if _WHOLE.fullmatch(value):
            return int(value)
        case _:
            return None


def to_decimal(value: Any) -> Decimal | None:
    """A number, or None."""
    match value:
        case bool():
            return Decimal("1.0") if value else Decimal("0.0")
        case int() | Decimal():
            return Decimal(value)
        case str() if _NUMBER.fullmatch(value):
            return Decimal(value)
        case _:
            return None


def to_date(value: Any) -> Temporal | None:
    """The date part, or None."""
    match value:
        case Temporal(kind="Date"):
            return value
        case Temporal(kind="DateTime"):
            return Temporal("Date", value.parts[:3])
        case str():
            return datetimes.parse(value, "Date")
        case _:
            return None


def to_datetime(value: Any) -> Temporal | None:
    """A date and time, or None."""
    match value:
        case Temporal(kind="DateTime"):
            return value
        case Temporal(kind="Date"):
            return Temporal("DateTime", value.parts)
        case str():
            return datetimes.parse(value, "DateTime")
        case _:
            return None


def to_time(value: Any) -> Temporal | None:
    """A time, or None."""
    match value:
        case Temporal(kind="Time"):
            return value
        case str():
            return datetimes.parse(value, "Time")
        case _:
            return None


def to_quantity(value: Any) -> Quantity | None:
    """A quantity; a bare number has unit 1; or None."""
    match value:
        case Quantity():
            return value
        case bool():
            return Quantity(Decimal("1.0") if value else Decimal("0.0"))
        case int() | Decimal():
            return Quantity(Decimal(value))
        case str():
            return quantities.parse(value)
        case _:
            return None


def _in_unit(amount: Quantity, unit: str) -> Quantity | None:
    """The quantity in another unit, None where there is no way."""
    word = CALENDAR.get(unit)
    wanted = Quantity(Decimal(1), word or unit, calendar=word is not None, word=unit if word else "")
    if amount.unit == wanted.unit and amount.calendar == wanted.calendar:
        return amount
    if amount.calendar and wanted.calendar and wanted.unit not in ("year", "month"):
        amount = quantities.in_days(amount)
    mine, other = quantities.canonical(amount), quantities.canonical(wanted)
    if mine is None or other is None or mine[1] != other[1] or quantities.compare(amount, wanted) is None:
        return None
    found = mine[0] / other[0]
    value = quantities.NUMBERS.divide(Decimal(found.numerator), Decimal(found.denominator))
    return Quantity(value, wanted.unit, wanted.calendar, wanted.word)


def _to_string(items: Items, ctx: Context) -> Items:
    item = single(items)
    if item.__class__ is Node and item.kind.primitive and item.value.__class__ is str:
        return [item.value]  # as it was written
    found = None if item is None else as_text(plain(item))
    return [] if found is None else [found]


def _to(convert: Convert) -> Function:
    def call(items: Items, ctx: Context) -> Items:
        item = single(items)
        found = None if item is None else convert(plain(item))
        return [] if found is None else [found]

    return with_arguments(call, 0)


def _converts(convert: Convert) -> Function:
    def call(items: Items, ctx: Context) -> Items:
        item = single(items)
        return [] if item is None else [convert(plain(item)) is not None]

    return with_arguments(call, 0)


def _to_quantity(items: Items, ctx: Context, unit: Items | None = None) -> Items:
    item = single(items)
    found = None if item is None else to_quantity(plain(item))
    wanted = None if unit is None else text(unit, "the unit")
    if found is not None and wanted is not None:
        found = _in_unit(found, wanted)
    return [] if found is None else [found]


def _converts_to_quantity(items: Items, ctx: Context, unit: Items | None = None) -> Items:
    return [bool(_to_quantity(items, ctx, unit))] if items else []


FUNCTIONS: Final[dict[str, Function]] = {
    "toBoolean": _to(to_boolean),
    "toInteger": _to(to_integer),
    "toLong": _to(to_long),
    "toDecimal": _to(to_decimal),
    "toDate": _to(to_date),
    "toDateTime": _to(to_datetime),
    "toTime": _to(to_time),
    "toString": on_input(_to_string),
    "toQuantity": with_arguments(_to_quantity, 0, 1),
    "convertsToBoolean": _converts(to_boolean),
    "convertsToInteger": _converts(to_integer),
    "convertsToLong": _converts(to_long),
    "convertsToDecimal": _converts(to_decimal),
    "convertsToDate": _converts(to_date),
    "convertsToDateTime": _converts(to_datetime),
    "convertsToTime": _converts(to_time),
    "convertsToString": _converts(as_text),
    "convertsToQuantity": with_arguments(_converts_to_quantity, 0, 1),
}
