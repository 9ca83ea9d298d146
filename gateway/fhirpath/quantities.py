"""Quantities: a number and a unit, calendar or UCUM (FHIRPath 2.0.0, "Quantity", "Time-valued quantities").

What cannot be decided (unknown units, a calendar month against a UCUM one) is None, never a guess.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DecimalException
from fractions import Fraction
from typing import Final

import msgspec

from gateway.fhirpath import ucum

# Digits kept by arithmetic. FHIR needs 18; Decimal('1E+9') times ten thousand others must still end.
NUMBERS: Final = Context(prec=34, Emin=-10_000, Emax=10_000)

CALENDAR: Final = {
    word + plural: word
    for word in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
}
_UCUM_OF: Final = {
    "year": "a", "month": "mo", "week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s",
    "millisecond": "ms",
}  # fmt: skip
_CALENDAR_OF: Final = {code: word for word, code in _UCUM_OF.items()}
_INEXACT: Final = frozenset({"year", "month"})
# Calendar units against days and shorter ones (FHIRPath, "Calendar durations"); a year is still twelve months.
_DAYS: Final = {"year": Decimal(365), "month": Decimal(30)}
_TEXT: Final = re.compile(r"([+-]?\d{1,60}(?:\.\d{1,60})?)\s*(?:'([^']+)'|([a-zA-Z]+))?", re.ASCII)


class Quantity(msgspec.Struct, frozen=True):
    """`unit` is a UCUM code, or the singular calendar word when `calendar`; `word` keeps how it was written."""

    value: Decimal
    unit: str = "1"
    calendar: bool = False
    word: str = ""

    def __str__(self) -> str:
        shown = (self.word or self.unit) if self.calendar else f"'{self.unit}'"
        return f"{self.value:f} {shown}" if abs(self.value.adjusted()) < 100 else f"{self.value} {shown}"


def parse(text: str) -> Quantity | None:
    """The quantity that a text writes (`5.4 'mg'`, `4 days`, `1.0`), or None."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    value = Decimal(match[1])
    if match[3] is not None:
        word = CALENDAR.get(match[3])
        return Quantity(value, word, calendar=True, word=match[3]) if word else None
    return Quantity(value, match[2] or "1")


def calendar_unit(amount: Quantity) -> str | None:
    """The calendar unit by which a date may be moved; None for units that have none, or only an average one."""
    if amount.calendar:
        return amount.unit
    if amount.unit in CALENDAR:  # written with quotes, as in 1 'month'
        return CALENDAR[amount.unit]
    word = _CALENDAR_OF.get(amount.unit)
    return None if word in _INEXACT else word


def _unit(amount: Quantity) -> ucum.Unit | None:
    return ucum.unit(_UCUM_OF[amount.unit] if amount.calendar else amount.unit)


def canonical(amount: Quantity) -> tuple[Fraction, ucum.Dimensions] | None:
    """Value in base units, and the dimensions; None where the unit is not known."""
    unit = _unit(amount)
    if unit is None or abs(amount.value.adjusted()) > 100:
        return None
    return (Fraction(amount.value) + unit.offset) * unit.factor, unit.dimensions


def _mixed(left: Quantity, right: Quantity) -> bool:
    """Whether a calendar year or month meets a definite duration: their lengths differ."""
    return left.calendar != right.calendar and bool({left.unit, right.unit} & _INEXACT)


def comparable(left: Quantity, right: Quantity) -> bool:
    """Whether the units have the same dimensions; unknown units compare only with themselves."""
    if left.unit == right.unit:
        return True
    mine, other = _unit(left), _unit(right)
    return mine is not None and other is not None and mine.dimensions == other.dimensions


def compare(left: Quantity, right: Quantity) -> int | None:
    """-1, 0, 1, or None where the units do not allow an answer."""
    if left.unit == right.unit and left.calendar == right.calendar:
        return (left.value > right.value) - (left.value < right.value)
    if _mixed(left, right):
        return None
    if left.calendar and right.calendar and (left.unit in _INEXACT) != (right.unit in _INEXACT):
        left, right = in_days(left), in_days(right)
    mine, other = canonical(left), canonical(right)
    if mine is None or other is None or mine[1] != other[1]:
        return None
    return (mine[0] > other[0]) - (mine[0] < other[0])


def in_days(amount: Quantity) -> Quantity:
    """A calendar year or month as 365 or 30 days; anything else as it is."""
    if amount.unit not in _DAYS:
        return amount
    return Quantity(NUMBERS.multiply(amount.value, _DAYS[amount.unit]), "day", calendar=True)


def equivalent(left: Quantity, right: Quantity) -> bool:
    """Equal at the precision of the less precise; calendar and definite units count as the same."""
    if left.unit == right.unit:
        return close(left.value, right.value)
    mine, other = canonical(left), canonical(right)
    if mine is None or other is None or mine[1] != other[1]:
        return False
    step = max(_step(left), _step(right))
    return round(mine[0] / step) == round(other[0] / step)


def _step(amount: Quantity) -> Fraction:
    """The last written digit in base units."""
    unit = _unit(amount)
    return (unit.factor if unit else 1) * Fraction(1, 10 ** min(decimals(amount.value), 100))


def close(left: Decimal, right: Decimal) -> bool:
    """Decimals that agree when rounded to the fewer decimal places (trailing zeros do not count)."""
    if left == right:
        return True
    places = min(decimals(left), decimals(right))
    try:
        step = Decimal(1).scaleb(-places)
        return left.quantize(step, context=NUMBERS) == right.quantize(step, context=NUMBERS)
    except DecimalException:
        return False


def decimals(value: Decimal) -> int:
    """Decimal places without trailing zeros."""
    exponent = value.normalize(NUMBERS).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def key(amount: Quantity) -> tuple[object, ...]:
    """Equal for quantities that are equal."""
    found = None if amount.calendar and amount.unit in _INEXACT else canonical(amount)
    return ("q", found) if found is not None else ("q", amount.value, amount.unit, amount.calendar)


# --- arithmetic ----------------------------------------


def _decimal(value: Fraction) -> Decimal:
    return NUMBERS.divide(Decimal(value.numerator), Decimal(value.denominator))


def plus(left: Quantity, right: Quantity, sign: int = 1) -> Quantity | None:
    """Sum or difference, in the finer of the two units; None where they do not add."""
    if left.unit == right.unit and left.calendar == right.calendar:
        return msgspec.structs.replace(left, value=NUMBERS.add(left.value, sign * right.value))
    mine, other = _unit(left), _unit(right)
    if mine is None or other is None or mine.dimensions != other.dimensions or _mixed(left, right):
        return None
    if mine.offset or other.offset:
        return None
    fine = left if mine.factor <= other.factor else right
    first = Fraction(left.value) * mine.factor
    total = (first + sign * Fraction(right.value) * other.factor) / min(mine.factor, other.factor)
    return msgspec.structs.replace(fine, value=_decimal(total))


def times(left: Quantity, right: Quantity, power: int = 1) -> Quantity | None:
    """Product (power 1) or quotient (power -1), in base units where both have one."""
    if power < 0 and right.value == 0:
        return None
    value = NUMBERS.multiply(left.value, right.value) if power > 0 else NUMBERS.divide(left.value, right.value)
    if right.unit == "1":
        return msgspec.structs.replace(left, value=value)
    if left.unit == "1" and power > 0:
        return msgspec.structs.replace(right, value=value)
    mine, other = _unit(left), _unit(right)
    if mine is None or other is None or mine.offset or other.offset:
        return Quantity(value) if power < 0 and left.unit == right.unit else None
    sums = dict(mine.dimensions)
    for name, count in other.dimensions:
        sums[name] = sums.get(name, 0) + power * count
    dimensions = tuple(sorted((name, count) for name, count in sums.items() if count))
    factor = _decimal(mine.factor * other.factor**power)
    return Quantity(NUMBERS.multiply(value, factor), ucum.code_of(dimensions))
