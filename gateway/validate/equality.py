"""Fixed values and patterns (FHIR R4 1.13.2, ElementDefinition.fixed[x] and pattern[x])."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def _number(value: Any) -> bool:
    return isinstance(value, int | Decimal | float) and not isinstance(value, bool)


def same(expected: Any, actual: Any) -> bool:
    """Whether a value is exactly the fixed one: the same members, the same items in the same order."""
    if type(expected) is str:
        return type(actual) is str and expected == actual
    if type(expected) is dict:
        return (
            type(actual) is dict
            and expected.keys() == actual.keys()
            and all(same(value, actual[name]) for name, value in expected.items())
        )
    if type(expected) is list:
        return type(actual) is list and len(actual) == len(expected) and all(map(same, expected, actual))
    if _number(expected):
        return _number(actual) and Decimal(str(expected)) == Decimal(str(actual))
    return type(expected) is type(actual) and bool(expected == actual)


def fits_pattern(pattern: Any, actual: Any) -> bool:
    """Whether a value has at least what the pattern has; each item of a pattern's list must be matched by some item."""
    if type(actual) is list and type(pattern) is not list:
        return any(fits_pattern(pattern, item) for item in actual)
    if type(pattern) is dict:
        return type(actual) is dict and all(
            name in actual and fits_pattern(value, actual[name]) for name, value in pattern.items()
        )
    if type(pattern) is list:
        return type(actual) is list and all(any(fits_pattern(each, item) for item in actual) for each in pattern)
    return same(pattern, actual)
