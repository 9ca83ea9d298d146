"""The operators on collections, but for the three-valued logic (that is in the compiler)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, DecimalException
from typing import Any, Final

from gateway.fhirpath import datetimes, quantities, values
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.quantities import NUMBERS, Quantity
from gateway.fhirpath.running import Items, bounded, one, single
from gateway.fhirpath.values import type_text

INTEGER_MIN: Final = -(2**31)
INTEGER_MAX: Final = 2**31 - 1

Operator = Callable[[Items, Items], Items]


def answer(value: bool | None) -> Items:
    """A three-valued answer as a collection."""
    return [] if value is None else [value]


def whole(value: int) -> Items:
    """An integer, or empty beyond the range of Integer."""
    return [value] if INTEGER_MIN <= value <= INTEGER_MAX else []


def equals(left: Items, right: Items) -> Items:
    """`=`."""
    return answer(values.all_equal(left, right))


def differs(left: Items, right: Items) -> Items:
    """`!=`."""
    same = values.all_equal(left, right)
    return [] if same is None else [not same]


def equivalent(left: Items, right: Items) -> Items:
    """`~`."""
    return [values.all_equivalent(left, right)]


def not_equivalent(left: Items, right: Items) -> Items:
    """`!~`."""
    return [not values.all_equivalent(left, right)]


def _ordered(accept: Callable[[int], bool]) -> Operator:
    def compare(left: Items, right: Items) -> Items:
        a, b = single(left, "the left side"), single(right, "the right side")
        if a is None or b is None:
            return []
        order = values.compare(a, b)
        return [] if order is None else [accept(order)]

    return compare


def union(left: Items, right: Items) -> Items:
    """`|`."""
    return values.distinct(left + right)


def is_in(left: Items, right: Items) -> Items:
    """`in`."""
    item = single(left, "the left side")
    if item is None:
        return []
    return [any(values.equal(item, other) is True for other in right)]


def contains(left: Items, right: Items) -> Items:
    """`contains`."""
    return is_in(right, left)


def concatenate(left: Items, right: Items) -> Items:
    """`&`: empty counts as the empty string."""
    return [bounded(_string(left, "the left side") + _string(right, "the right side"))]


def _string(items: Items, what: str) -> str:
    value = one(items, what)
    if value is None:
        return ""
    if value.__class__ is not str:
        raise Fault(f"{what} of & must be a string, not {type_text(items[0])}")
    return str(value)


# --- arithmetic ----------------------------------------


def _pair(left: Items, right: Items) -> tuple[Any, Any] | None:
    a, b = one(left, "the left side"), one(right, "the right side")
    return None if a is None or b is None else (a, b)


def _is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is Decimal


def _decimals(operation: Callable[[Decimal, Decimal], Decimal], a: Any, b: Any) -> Items:
    try:
        return [operation(Decimal(a), Decimal(b))]
    except DecimalException:
        return []


def _refuse(sign: str, left: Items, right: Items) -> Fault:
    return Fault(f"{type_text(left[0])} {sign} {type_text(right[0])} has no meaning")


def plus(left: Items, right: Items) -> Items:
    """`+`."""
    pair = _pair(left, right)
    if pair is None:
        return []
    a, b = pair
    if a.__class__ is int and b.__class__ is int:
        return whole(a + b)
    if _is_number(a) and _is_number(b):
        return _decimals(NUMBERS.add, a, b)
    if a.__class__ is str and b.__class__ is str:
        return [bounded(a + b)]
    if a.__class__ is Temporal and b.__class__ is Quantity:
        return _move(a, b, 1)
    found = _quantities("+", left, right, a, b)
    return answer_of(quantities.plus(*found))


def minus(left: Items, right: Items) -> Items:
    """`-`."""
    pair = _pair(left, right)
    if pair is None:
        return []
    a, b = pair
    if a.__class__ is int and b.__class__ is int:
        return whole(a - b)
    if _is_number(a) and _is_number(b):
        return _decimals(NUMBERS.subtract, a, b)
    if a.__class__ is Temporal and b.__class__ is Quantity:
        return _move(a, b, -1)
    a, b = _quantities("-", left, right, a, b)
    return answer_of(quantities.plus(a, b, -1))


def _quantities(sign: str, left: Items, right: Items, a: Any, b: Any) -> tuple[Quantity, Quantity]:
    first = Quantity(Decimal(a)) if _is_number(a) else a
    second = Quantity(Decimal(b)) if _is_number(b) else b
    if first.__class__ is Quantity and second.__class__ is Quantity:
        return first, second
    raise _refuse(sign, left, right)


def answer_of(value: Any) -> Items:
    """A value, or empty for None."""
    return [] if value is None else [value]


def _move(moment: Temporal, amount: Quantity, sign: int) -> Items:
    unit = quantities.calendar_unit(amount)
    if unit is None or (moment.kind == "Time" and unit in ("year", "month", "week", "day")):
        raise Fault(f"a {moment.kind} cannot be moved by this unit")
    return answer_of(datetimes.add(moment, sign * amount.value, unit))


def times(left: Items, right: Items) -> Items:
    """`*`."""
    pair = _pair(left, right)
    if pair is None:
        return []
    a, b = pair
    if a.__class__ is int and b.__class__ is int:
        return whole(a * b)
    if _is_number(a) and _is_number(b):
        return _decimals(NUMBERS.multiply, a, b)
    first, second = _quantities("*", left, right, a, b)
    return answer_of(quantities.times(first, second))


def divided(left: Items, right: Items) -> Items:
    """`/`."""
    pair = _pair(left, right)
    if pair is None:
        return []
    a, b = pair
    if _is_number(a) and _is_number(b):
        return [] if b == 0 else _decimals(NUMBERS.divide, a, b)
    first, second = _quantities("/", left, right, a, b)
    return answer_of(quantities.times(first, second, -1))


def div(left: Items, right: Items) -> Items:
    """`div`: cut towards zero."""
    pair = _numbers("div", left, right)
    if pair is None or pair[1] == 0:
        return []
    quotient = NUMBERS.divide_int(Decimal(pair[0]), Decimal(pair[1])) if _fits(*pair) else None
    return [] if quotient is None else whole(int(quotient))


def mod(left: Items, right: Items) -> Items:
    """`mod`: the rest of `div`."""
    pair = _numbers("mod", left, right)
    if pair is None or pair[1] == 0 or not _fits(*pair):
        return []
    rest = NUMBERS.remainder(Decimal(pair[0]), Decimal(pair[1]))
    return whole(int(rest)) if pair[0].__class__ is int and pair[1].__class__ is int else [rest]


def _numbers(sign: str, left: Items, right: Items) -> tuple[Any, Any] | None:
    pair = _pair(left, right)
    if pair is None:
        return None
    if not (_is_number(pair[0]) and _is_number(pair[1])):
        raise _refuse(sign, left, right)
    return pair


def _fits(a: Any, b: Any) -> bool:
    """Whether the whole quotient has no more digits than arithmetic keeps."""
    return Decimal(a).adjusted() - Decimal(b).adjusted() < NUMBERS.prec - 2


OPERATORS: Final[dict[str, Operator]] = {
    "=": equals,
    "!=": differs,
    "~": equivalent,
    "!~": not_equivalent,
    "<": _ordered(lambda order: order < 0),
    "<=": _ordered(lambda order: order <= 0),
    ">": _ordered(lambda order: order > 0),
    ">=": _ordered(lambda order: order >= 0),
    "|": union,
    "in": is_in,
    "contains": contains,
    "&": concatenate,
    "+": plus,
    "-": minus,
    "*": times,
    "/": divided,
    "div": div,
    "mod": mod,
}


def negative(items: Items) -> Items:
    """Unary minus."""
    value = one(items)
    if value is None:
        return []
    if value.__class__ is int:
        return whole(-value)
    if value.__class__ is Decimal:
        return [-value]
    if value.__class__ is Quantity:
        return [Quantity(-value.value, value.unit, value.calendar, value.word)]
    raise Fault(f"there is no negative {type_text(items[0])}")


def positive(items: Items) -> Items:
    """Unary plus."""
    value = one(items)
    if value is None or value.__class__ in (int, Decimal, Quantity):
        return items
    raise Fault(f"+ needs a number, not {type_text(items[0])}")
