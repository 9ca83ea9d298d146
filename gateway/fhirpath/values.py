"""System values: conversion of FHIR primitives, equality, equivalence, order (FHIRPath 2.0.0, "Operators")."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from gateway.fhirpath import datetimes, quantities
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.nodes import Node
from gateway.fhirpath.quantities import Quantity

UCUM: Final = "http://unitsofmeasure.org"


def plain(item: Any) -> Any:
    """The System value of an item: a primitive's value, a Quantity; another complex element stays a node.

    None for a primitive without a value, or with one that its type does not allow.
    """
    if item.__class__ is not Node:
        return item
    system = item.kind.system
    return item if system is None else _CONVERSIONS[system](item)


def _text(node: Node) -> Any:
    value = node.value
    return value if value.__class__ is str else None


def _boolean(node: Node) -> Any:
    return node.value if node.value.__class__ is bool else None


def _integer(node: Node) -> Any:
    return node.value if node.value.__class__ is int else None


def _decimal(node: Node) -> Any:
    value = node.value
    if value.__class__ is Decimal:
        return value if value.is_finite() else None
    if value.__class__ is int:
        return Decimal(value)
    return Decimal(str(value)) if value.__class__ is float else None


def _date(node: Node) -> Any:
    return datetimes.parse(node.value, "Date") if node.value.__class__ is str else None


def _datetime(node: Node) -> Any:
    return datetimes.parse(node.value, "DateTime") if node.value.__class__ is str else None


def _time(node: Node) -> Any:
    return datetimes.parse(node.value, "Time") if node.value.__class__ is str else None


def _quantity(node: Node) -> Any:
    fields = node.fields
    if fields is None or fields.get("comparator") is not None:
        return node
    value = fields.get("value")
    if value.__class__ is int:
        value = Decimal(value)
    if value.__class__ is not Decimal or not value.is_finite():
        return node
    code, unit = fields.get("code"), fields.get("unit")
    if isinstance(code, str) and fields.get("system") in (UCUM, None):
        return Quantity(value, code)
    if isinstance(code, str):
        return node
    return Quantity(value, unit if isinstance(unit, str) else "1")


_CONVERSIONS: Final = {
    "String": _text,
    "Boolean": _boolean,
    "Integer": _integer,
    "Decimal": _decimal,
    "Date": _date,
    "DateTime": _datetime,
    "Time": _time,
    "Quantity": _quantity,
}


# --- keys: what makes two items the same ----------------------------------------


def key(item: Any) -> Any:
    """A hashable that is equal exactly for items that `=` calls equal. Costs the size of the item."""
    value = plain(item)
    kind = value.__class__
    if kind is str:
        return value
    if kind is bool:
        return ("b", value)
    if kind is int or kind is Decimal:
        return ("n", value)
    if kind is Temporal:
        return datetimes.key(value)
    if kind is Quantity:
        return quantities.key(value)
    if kind is Node:
        return frozen(value.value)
    if value is None and item.__class__ is Node:
        return ("e", frozen(item.value), frozen(item.fields))
    return ("o", value)


def frozen(value: Any) -> Any:
    """JSON as a hashable: numbers by value, objects without order."""
    match value:
        case dict():
            return ("d", frozenset((name, frozen(one)) for name, one in value.items()))
        case list():
            return ("l", tuple(frozen(one) for one in value))
        case bool():
            return ("b", value)
        case int() | Decimal() | float():
            return ("n", value)
        case _:
            return value


def distinct(items: list[Any]) -> list[Any]:
    """The items without repetitions, in the order in which they come first."""
    if len(items) < 2:
        return items
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


# --- equality ----------------------------------------


def equal(left: Any, right: Any) -> bool | None:
    """`=` on two items: None where precision or units leave it open."""
    a, b = plain(left), plain(right)
    kind, other = a.__class__, b.__class__
    if kind is other:
        if kind is Temporal:
            return _same_time(a, b)
        if kind is Quantity:
            return _same_amount(a, b)
        if kind is Node:
            return bool(a.value is b.value or frozen(a.value) == frozen(b.value))
        if a is None:
            return bool(key(left) == key(right))
        return bool(a == b)
    if kind in _NUMBER and other in _NUMBER:
        return bool(a == b)
    if kind is Quantity and other in _NUMBER:
        return _same_amount(a, Quantity(Decimal(b)))
    if other is Quantity and kind in _NUMBER:
        return _same_amount(Quantity(Decimal(a)), b)
    return False


_NUMBER: Final = (int, Decimal)


def _same_time(a: Temporal, b: Temporal) -> bool | None:
    if (a.kind == "Time") != (b.kind == "Time"):
        return False
    order = datetimes.compare(a, b)
    return None if order is None else order == 0


def _same_amount(a: Quantity, b: Quantity) -> bool | None:
    order = quantities.compare(a, b)
    if order is not None:
        return order == 0
    return None


def all_equal(left: list[Any], right: list[Any]) -> bool | None:
    """`=` on two collections: None if either is empty; order matters."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    result: bool | None = True
    for a, b in zip(left, right, strict=True):
        same = equal(a, b)
        if same is False:
            return False
        if same is None:
            result = None
    return result


def equivalent(left: Any, right: Any) -> bool:
    """`~` on two items."""
    a, b = plain(left), plain(right)
    kind, other = a.__class__, b.__class__
    if kind in _NUMBER and other in _NUMBER:
        return quantities.close(Decimal(a), Decimal(b))
    if kind is str and other is str:
        return _folded(a) == _folded(b)
    if kind is Quantity and other in _NUMBER:
        return quantities.equivalent(a, Quantity(Decimal(b)))
    if other is Quantity and kind in _NUMBER:
        return quantities.equivalent(Quantity(Decimal(a)), b)
    if kind is not other:
        return False
    if kind is Temporal:
        return _same_time(a, b) is True
    if kind is Quantity:
        return quantities.equivalent(a, b)
    if kind is Node:
        return bool(loose(a.value) == loose(b.value))
    return bool(a == b)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def weight(items: list[Any]) -> int:
    """About how many JSON values the elements of a collection hold: what it costs to compare them."""
    count, waiting = 0, [item.value for item in items if item.__class__ is Node and item.fields is not None]
    while waiting:
        value = waiting.pop()
        count += 1
        if value.__class__ is dict:
            waiting.extend(value.values())
        elif value.__class__ is list:
            waiting.extend(value)
    return count


def loose(value: Any) -> Any:
    """JSON as a hashable for `~`: without ids, without case, order of lists ignored."""
    match value:
        case dict():
            return ("d", frozenset((name, loose(one)) for name, one in value.items() if name != "id"))
        case list():
            return ("l", tuple(sorted(repr(loose(one)) for one in value)))
        case str():
            return _folded(value)
        case _:
            return frozen(value)


def loose_key(item: Any) -> Any:
    """Equal for most items that `~` calls equivalent; used to pair off large collections."""
    value = plain(item)
    if value.__class__ is str:
        return _folded(value)
    if value.__class__ is Node:
        return loose(value.value)
    return None


def all_equivalent(left: list[Any], right: list[Any]) -> bool:
    """`~` on two collections: the same items in any order; two empty ones are equivalent."""
    if len(left) != len(right):
        return False
    waiting: dict[Any, list[Any]] = {}
    for item in right:
        waiting.setdefault(loose_key(item), []).append(item)
    for item in left:
        row = waiting.get(loose_key(item), [])
        place = next((at for at, other in enumerate(row[:1000]) if equivalent(item, other)), None)
        if place is None:
            return False
        del row[place]
    return True


# --- order ----------------------------------------


def compare(left: Any, right: Any) -> int | None:
    """-1, 0, 1; None where it stays open. Raises `Fault` for types that have no common order."""
    a, b = plain(left), plain(right)
    kind, other = a.__class__, b.__class__
    if a is None or b is None:
        return None
    if (kind is str and other is str) or (kind in _NUMBER and other in _NUMBER):
        return int(a > b) - int(a < b)
    if kind is Temporal and other is Temporal and (a.kind == "Time") == (b.kind == "Time"):
        return datetimes.compare(a, b)
    if kind is Quantity and other is Quantity:
        return quantities.compare(a, b)
    if kind is Quantity and other in _NUMBER:
        return quantities.compare(a, Quantity(Decimal(b)))
    if other is Quantity and kind in _NUMBER:
        return quantities.compare(Quantity(Decimal(a)), b)
    if {_quantity_like(left), _quantity_like(right)} == {True}:
        return None  # a Quantity with a comparator or an unknown system has no place in the order
    raise Fault(f"{type_text(left)} and {type_text(right)} cannot be compared")


def _quantity_like(item: Any) -> bool:
    return item.__class__ is Quantity or (item.__class__ is Node and item.kind.system == "Quantity")


_NAMES: Final = {bool: "Boolean", int: "Integer", Decimal: "Decimal", str: "String", Quantity: "Quantity"}


def system_name(value: Any) -> str:
    """The name of a System value's type."""
    return value.kind if value.__class__ is Temporal else _NAMES.get(value.__class__, "Any")


def type_text(item: Any) -> str:
    """The type of an item, for messages. A name that only the input brought is not repeated."""
    if item.__class__ is Node:
        return "Element" if item.kind.free else str(item.kind.name)
    return system_name(item)


def as_text(value: Any) -> str | None:
    """The text of a System value (`toString`), None for what has none."""
    kind = value.__class__
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if kind is Decimal:
        return f"{value:f}" if abs(value.adjusted()) < 100 else str(value)
    if kind is int or kind is Temporal or kind is Quantity:
        return str(value)
    return None
