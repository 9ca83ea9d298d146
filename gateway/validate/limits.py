"""minValue[x] and maxValue[x] (FHIR R4 1.13.2): numbers, dates with their precision, quantities of one unit."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

_DATES = frozenset({"date", "dateTime", "instant"})


def beyond(how: str, limit: tuple[str, Any], value: Any) -> bool:
    """Whether a value is below a minimum or above a maximum; what cannot be compared is not."""
    kind, bound = limit
    order = compare(kind, value, bound)
    if order is None:
        return False
    return order < 0 if how == "minValue" else order > 0


def compare(kind: str, value: Any, bound: Any) -> int | None:
    """-1, 0, 1, or None where the two cannot be compared."""
    if kind in _DATES or kind == "time":
        return _dates(value, bound) if type(value) is str and type(bound) is str else None
    if kind == "Quantity":
        return _quantities(value, bound)
    return _numbers(value, bound)


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _numbers(value: Any, bound: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    return _order(Decimal(str(value)), Decimal(str(bound)))


def _dates(value: str, bound: str) -> int | None:
    if "T" in value and "T" in bound:
        try:
            return _order(datetime.fromisoformat(value), datetime.fromisoformat(bound))
        except (ValueError, TypeError):
            return None
    size = min(len(value.partition("T")[0]), len(bound.partition("T")[0]))
    return _order(value[:size], bound[:size]) if ":" not in value[:size] else _order(value, bound)


def _quantities(value: Any, bound: Any) -> int | None:
    if type(value) is not dict or type(bound) is not dict:
        return None
    units = [(each.get("system"), each.get("code") or each.get("unit")) for each in (value, bound)]
    if units[0] != units[1] and None not in (units[0][1], units[1][1]):
        return None
    return _numbers(value.get("value"), bound.get("value"))
