"""Math functions, and the boundaries and precision of imprecise values (FHIRPath, "Math", "Utility functions")."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from typing import Any, Final

from gateway.fhirpath import datetimes, quantities
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.operators import whole
from gateway.fhirpath.quantities import NUMBERS, Quantity
from gateway.fhirpath.registry import Function, with_arguments
from gateway.fhirpath.running import Context, Items, integer, number, one
from gateway.fhirpath.values import type_text

MAX_DIGITS: Final = 31
_DEFAULT_DIGITS: Final = 8
_HALF: Final = Decimal("0.5")


def _numeric(work: Callable[..., Any], least: int = 0, most: int | None = None) -> Function:
    """A function of one number; what arithmetic cannot answer is empty."""

    def call(items: Items, ctx: Context, *arguments: Items) -> Items:
        value = number(items)
        if value is None:
            return []
        try:
            found = work(value, *arguments)
        except (DecimalException, OverflowError):
            return []
        if found.__class__ is int:
            return whole(found)
        return [] if found is None else [found]

    return with_arguments(call, least, most)


def _bare(value: Any) -> Decimal:
    if value.__class__ is Quantity:
        raise Fault("the input must be a number, not a Quantity")
    return Decimal(value)


def _abs(value: Any) -> Any:
    if value.__class__ is Quantity:
        return Quantity(abs(value.value), value.unit, value.calendar, value.word)
    return abs(value)


def _to_whole(rounding: str) -> Callable[[Any], int | None]:
    def work(value: Any) -> int | None:
        exact = _bare(value)
        return int(exact.to_integral_value(rounding)) if exact.adjusted() < MAX_DIGITS else None

    return work


def _exp(value: Any) -> Decimal:
    return NUMBERS.exp(_bare(value))


def _ln(value: Any) -> Decimal | None:
    exact = _bare(value)
    return NUMBERS.ln(exact) if exact > 0 else None


def _log(value: Any, base: Items) -> Decimal | None:
    exact, other = _bare(value), number(base, "the base")
    if other is None:
        return None
    base_value = _bare(other)
    if exact <= 0 or base_value <= 0 or base_value == 1:
        return None
    found = NUMBERS.divide(NUMBERS.ln(exact), NUMBERS.ln(base_value))
    near = found.to_integral_value()
    return near if abs(found - near) < Decimal("1e-25") else found


def _power(value: Any, exponent: Items) -> Any:
    exact, raised = _bare(value), number(exponent, "the exponent")
    if raised is None:
        return None
    power = _bare(raised)
    if exact < 0 and power != power.to_integral_value():
        return None
    found = NUMBERS.power(exact, power)
    if value.__class__ is int and raised.__class__ is int and raised >= 0:
        return int(found) if found.adjusted() < MAX_DIGITS else None
    return found


def _sqrt(value: Any) -> Decimal | None:
    exact = _bare(value)
    return NUMBERS.sqrt(exact) if exact >= 0 else None


def _round(value: Any, places: Items | None = None) -> Any:
    count = 0 if places is None else integer(places)
    if count is None:
        count = 0
    if count < 0:
        raise Fault("round() needs no negative precision")
    if count > MAX_DIGITS:
        return value
    if value.__class__ is Quantity:
        return Quantity(_rounded(value.value, count), value.unit, value.calendar, value.word)
    if value.__class__ is int:
        return value
    return _rounded(value, count)


def _rounded(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, NUMBERS)


# --- boundaries ----------------------------------------


def _boundary(*, lowest: bool) -> Function:
    def call(items: Items, ctx: Context, precision: Items | None = None) -> Items:
        value = one(items)
        if value is None:
            return []
        digits = None if precision is None else integer(precision)
        found = _bound(value, digits, lowest=lowest)
        if found is None and not isinstance(value, int | Decimal | Quantity | Temporal):
            raise Fault(f"{type_text(items[0])} has no boundary")
        return [] if found is None else [found]

    return with_arguments(call, 0, 1)


def _bound(value: Any, digits: int | None, *, lowest: bool) -> Any:
    match value:
        case bool():
            return None
        case int() | Decimal():
            return _bound_number(Decimal(value), digits, lowest=lowest)
        case Quantity():
            found = _bound_number(value.value, digits, lowest=lowest)
            return found if found is None else Quantity(found, value.unit, value.calendar, value.word)
        case Temporal():
            try:
                return (datetimes.low if lowest else datetimes.high)(value, digits)
            except ValueError:
                return None
        case _:
            return None


def _bound_number(value: Decimal, digits: int | None, *, lowest: bool) -> Decimal | None:
    """Half a unit of the last written digit below or above; the side away from zero is rounded, the other cut."""
    wanted = _DEFAULT_DIGITS if digits is None else digits
    if not 0 <= wanted <= MAX_DIGITS or abs(value.adjusted()) > MAX_DIGITS:
        return None
    exponent = value.as_tuple().exponent
    step = _HALF.scaleb(min(0, exponent if isinstance(exponent, int) else 0))
    negative = value.is_signed()
    away = lowest is negative
    size = abs(value) + step if away else abs(value) - step
    if size < 0:  # 0 lies between -0.5 and 0.5
        size, negative = -size, not negative
    try:
        rounding = ROUND_HALF_UP if away else ROUND_DOWN
        found = size.quantize(Decimal(1).scaleb(-wanted), rounding, NUMBERS)
    except DecimalException:
        return None
    return found.copy_negate() if negative else found


def _precision(items: Items, ctx: Context) -> Items:
    value = one(items)
    match value:
        case None:
            return []
        case bool():
            raise Fault("a Boolean has no precision")
        case int():
            return [0]
        case Decimal():
            exponent = value.as_tuple().exponent
            return [max(0, -exponent) if isinstance(exponent, int) else 0]
        case Temporal():
            return [datetimes.digits(value)]
        case _:
            raise Fault(f"{type_text(items[0])} has no precision")


def _comparable(items: Items, ctx: Context, other: Items) -> Items:
    mine, its = one(items), one(other, "the argument")
    if mine is None or its is None:
        return []
    if mine.__class__ is not Quantity or its.__class__ is not Quantity:
        raise Fault("comparable() needs quantities")
    return [quantities.comparable(mine, its)]


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": _numeric(_abs),
    "ceiling": _numeric(_to_whole(ROUND_CEILING)),
    "floor": _numeric(_to_whole(ROUND_FLOOR)),
    "truncate": _numeric(_to_whole(ROUND_DOWN)),
    "exp": _numeric(_exp),
    "ln": _numeric(_ln),
    "log": _numeric(_log, 1),
    "power": _numeric(_power, 1),
    "sqrt": _numeric(_sqrt),
    "round": _numeric(_round, 0, 1),
    "lowBoundary": _boundary(lowest=True),
    "highBoundary": _boundary(lowest=False),
    "precision": with_arguments(_precision, 0),
    "comparable": with_arguments(_comparable),
}
