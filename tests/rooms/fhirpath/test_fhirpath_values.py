"""Dates and quantities: laws that hold for all of them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhirpath import datetimes, quantities, ucum
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.quantities import Quantity

ZONES = st.sampled_from(["", "Z", "+00:00", "+02:00", "-05:30", "+14:00", "-12:00"])
DATES = st.dates().map(dt.date.isoformat)
TIMES = st.times().map(lambda time: time.isoformat(timespec="milliseconds"))
MOMENTS = st.tuples(DATES, TIMES, ZONES).map(lambda t: f"{t[0]}T{t[1]}{t[2]}")
PARTIAL = st.tuples(DATES, st.sampled_from([4, 7, 10])).map(lambda t: t[0][: t[1]])


def moment(text: str) -> Temporal:
    found = datetimes.parse(text, "DateTime")
    assert found is not None
    return found


@given(MOMENTS | PARTIAL)
def test_a_date_is_written_as_it_was_read(text: str) -> None:
    """Precision and timezone are kept, down to Z against +00:00."""
    assert str(moment(text)) == text


@given(MOMENTS | PARTIAL, MOMENTS | PARTIAL)
def test_order_is_antisymmetric_and_agrees_with_equality(left: str, right: str) -> None:
    """a < b means b > a; undecided is undecided from both sides; equal keys and order 0 are the same thing."""
    a, b = moment(left), moment(right)
    order, back = datetimes.compare(a, b), datetimes.compare(b, a)
    assert order == (None if back is None else -back)
    assert (datetimes.key(a) == datetimes.key(b)) == (order == 0)


@given(st.datetimes(), st.datetimes(), st.integers(-720, 840), st.integers(-720, 840))
def test_order_with_timezones_is_that_of_the_instants(a: dt.datetime, b: dt.datetime, zone: int, other: int) -> None:
    """Two values with timezones compare as instants."""

    def of(value: dt.datetime, minutes: int) -> tuple[Temporal, int]:
        aware = value.replace(microsecond=0, tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))
        seconds = (value.hour * 60 + value.minute - minutes) * 60 + value.second
        return moment(aware.isoformat()), value.toordinal() * 86_400 + seconds

    (left, first), (right, second) = of(a, zone), of(b, other)
    assert datetimes.compare(left, right) == (first > second) - (first < second)


@given(
    MOMENTS, st.integers(-10_000, 10_000), st.sampled_from(["week", "day", "hour", "minute", "second", "millisecond"])
)
def test_moving_there_and_back_is_nothing(text: str, amount: int, unit: str) -> None:
    """Definite durations have inverses."""
    start = moment(text)
    there = datetimes.add(start, Decimal(amount), unit)
    if there is not None:
        back = datetimes.add(there, Decimal(-amount), unit)
        assert back is not None
        assert datetimes.compare(start, back) == 0


@given(MOMENTS | PARTIAL)
def test_boundaries_enclose_the_value(text: str) -> None:
    """What a value can mean lies between its boundaries."""
    value = moment(text)
    order = datetimes.compare(datetimes.low(value), datetimes.high(value))
    assert order is not None
    assert order <= 0


@pytest.mark.parametrize(
    "text",
    ["2020-02-30", "2020-13", "20", "2020-1-1", "2020-01-01T24:00", "2020-01-01T10:00+15:00", "0000", "x" * 1_000],
)
def test_no_date_is_read_where_there_is_none(text: str) -> None:
    """What the calendar does not have is not read."""
    assert datetimes.parse(text, "DateTime") is None


@pytest.mark.parametrize(
    ("code", "other", "factor"),
    [
        ("kg", "g", "1000"),
        ("mg/dL", "g/L", "0.01"),
        ("m[Hg]", "mm[Hg]", "1000"),
        ("10*3/uL", "10*9/L", "1"),
        ("mL/min", "L/h", "0.06"),
        ("{score}", "1", "1"),
        ("%", "1", "0.01"),
        ("[lb_av]", "kg", "0.45359237"),
        ("kg.m/s2", "N", "1"),
        ("/min", "Hz", "0.01666666666666666666666666666666666"),
        ("ug{creatinine}", "ug", "1"),
        ("J/(kg.K)", "m2.s-2.K-1", "1"),
    ],
)
def test_ucum_codes_mean_what_ucum_says(code: str, other: str, factor: str) -> None:
    """Prefixes, powers, products, annotations, customary units."""
    one, reference = ucum.unit(code), ucum.unit(other)
    assert one is not None
    assert reference is not None
    assert one.dimensions == reference.dimensions
    assert abs(one.factor / reference.factor - ucum.Fraction(factor)) < ucum.Fraction(1, 10**12)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "foo",
        "m/",
        "m//s",
        "(m",
        "m)",
        "m99",
        "kfoo",
        "k[in_i]",
        "m" * 200,
        "m s",
        "{",
        "((((((((((((m",
        "/0",
        "m/0",
    ],
)
def test_what_ucum_does_not_have_is_not_known(code: str) -> None:
    """Unknown units leave the comparison undecided."""
    assert ucum.unit(code) is None
    assert quantities.compare(Quantity(Decimal(1), code), Quantity(Decimal(1), "g")) is None


@given(
    st.decimals(-(10**6), 10**6, places=3),
    st.sampled_from([("g", "mg"), ("Cel", "[degF]"), ("m", "[ft_i]"), ("h", "min")]),
)
def test_a_converted_quantity_equals_itself(value: Decimal, units: tuple[str, str]) -> None:
    """Keys, equality and order agree across units."""
    one, other = Quantity(value, units[0]), Quantity(value, units[1])
    assert quantities.compare(one, one) == 0
    order, back = quantities.compare(one, other), quantities.compare(other, one)
    assert order is not None
    assert back == -order
    assert (quantities.key(one) == quantities.key(other)) == (order == 0)
