"""Identifiers: 10,000 generated ones of each kind pass, and every slip that a scheme promises to catch is caught."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import identifiers

COUNT = 10_000


def _digits(source: random.Random, count: int) -> str:
    return "".join(str(source.randrange(10)) for _ in range(count))


def _national(source: random.Random) -> str:
    nine = _digits(source, 9)
    return nine + identifiers.national_code_digit(nine)


def _legal(source: random.Random) -> str:
    ten = _digits(source, 10)
    return ten + identifiers.legal_person_digit(ten)


def _fiscal(source: random.Random) -> str:
    letters = "".join(source.choice("BCDFGLMNPRSTVZ") for _ in range(6))
    day = source.randrange(1, 29) + source.choice((0, 40))
    born = f"{source.randrange(100):02}{source.choice('ABCDEHLMPRST')}{day:02}"
    fifteen = f"{letters}{born}{source.choice('ABCDEFGHILMZ')}{source.randrange(1000):03}"
    if source.random() < 0.3:  # omocodia: digits become letters, from the right
        places, table = [14, 13, 12, 10, 9, 7, 6], dict(zip("0123456789", "LMNPQRSTUV", strict=True))
        for place in places[: source.randrange(1, 8)]:
            fifteen = fifteen[:place] + table[fifteen[place]] + fifteen[place + 1 :]
    return fifteen + identifiers.codice_fiscale_digit(fifteen)


def _resident(source: random.Random) -> str:
    born = date(1940, 1, 1) + timedelta(days=source.randrange(29_000))
    seventeen = f"{source.choice(('110105', '500103', '310101'))}{born:%Y%m%d}{source.randrange(1, 1000):03}"
    return seventeen + identifiers.resident_id_digit(seventeen)


def _uscc(source: random.Random) -> str:
    letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    seventeen = source.choice("159") + source.choice("123") + "500103"
    seventeen += "".join(source.choice(letters) for _ in range(9))
    return seventeen + identifiers.uscc_digit(seventeen)


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "national-code": _national,
    "legal-person": _legal,
    "codice-fiscale": _fiscal,
    "resident-id": _resident,
    "uscc": _uscc,
}

ANY_SLIP = ("national-code", "resident-id", "uscc")
"""Schemes whose modulus and weights catch every change of one character."""


def _generated(kind: str) -> Iterator[str]:
    source = random.Random(kind)
    for _ in range(COUNT):
        number = MAKERS[kind](source)
        if len(set(number)) > 1:
            yield number


@pytest.mark.parametrize("kind", MAKERS)
def test_generated_numbers_pass(kind: str) -> None:
    """None of them has an error; a region that was not in use yet is only a warning."""
    for number in _generated(kind):
        problem = identifiers.CHECKS[kind](number)
        assert problem is None or problem.severity == "warning", number
        assert identifiers.NORMALISE[kind](number) == number


@pytest.mark.parametrize("kind", ANY_SLIP)
def test_every_single_slip_is_caught_where_the_scheme_promises_it(kind: str) -> None:
    """Each of the first 400 numbers, each place, each other digit.

    The national code gives two remainders (1 and 10) the check digit 1, so that it promises less there.
    """
    for number in list(_generated(kind))[:400]:
        for place, old in enumerate(number):
            for new in "0123456789":
                if new != old:
                    wrong = number[:place] + new + number[place + 1 :]
                    problem = identifiers.CHECKS[kind](wrong)
                    weak = kind == "national-code" and place < 9 and number[9] == "1"
                    assert problem is not None or weak, (number, wrong)
                    assert problem is None or problem.severity == "error", (number, wrong)


def test_a_wrong_check_character_is_caught_in_every_scheme() -> None:
    """The last character is a function of the others."""
    for kind in MAKERS:
        for number in list(_generated(kind))[:400]:
            for new in "0123456789ABCX":
                if new != number[-1]:
                    problem = identifiers.CHECKS[kind](number[:-1] + new)
                    assert problem is not None, (kind, number, new)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0013542419", None),
        ("13542419", None),
        ("۰۰۱۳۵۴۲۴۱۹", None),
        ("001-354241-9", None),
        ("0013542418", "GW-FMT-101"),
        ("1111111111", "GW-FMT-102"),
        ("1354241", "GW-FMT-100"),
        ("00135424190", "GW-FMT-100"),
        ("00l3542419", "GW-FMT-100"),
        ("", "GW-FMT-100"),
    ],
)
def test_national_codes(text: str, expected: str | None) -> None:
    """Zeros that a spreadsheet took come back; Persian digits are digits; fillers have a code of their own."""
    problem = identifiers.check_national_code(text)
    assert (problem.code if problem else None) == expected


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("legal-person", "10380284790", None),
        ("legal-person", "10380284792", "GW-FMT-101"),
        ("legal-person", "1038028479", "GW-FMT-100"),
        ("codice-fiscale", "RSSMRA85T10A562S", None),
        ("codice-fiscale", "rss mra 85t10 a562s", None),
        ("codice-fiscale", "RSSMRA85T10A56NH", None),
        ("codice-fiscale", "RSSMRA85T10A562T", "GW-FMT-101"),
        ("codice-fiscale", "RSSMRA85T10A56", "GW-FMT-100"),
        ("codice-fiscale", "RSSMRA85B30A562" + identifiers.codice_fiscale_digit("RSSMRA85B30A562"), "GW-FMT-103"),
        ("codice-fiscale", "00743110157", None),
        ("nre", "0900A4000012345", None),
        ("nre", "*0900a4000012345*", None),
        ("nre", "0900A400001234", "GW-FMT-100"),
        ("resident-id", "11010519491231002X", None),
        ("resident-id", "11010519491231002x", None),
        ("resident-id", "360426199101010071", None),
        ("resident-id", "11010519491231002１", "GW-FMT-101"),
        ("resident-id", "110105194902310026", "GW-FMT-103"),
        ("resident-id", "500105195001010015", "GW-FMT-104"),
        ("resident-id", "110105491231002", None),
        ("resident-id", "1101051949123100", "GW-FMT-100"),
        ("uscc", "91110000600037341L", None),
        ("uscc", "91110000600037341M", "GW-FMT-101"),
        ("uscc", "9111000060003734IL", "GW-FMT-100"),
    ],
)
def test_known_numbers(kind: str, text: str, expected: str | None) -> None:
    """Public examples, and one slip of each sort."""
    problem = identifiers.CHECKS[kind](text)
    assert (problem.code if problem else None) == expected


def test_an_old_region_in_a_number_is_only_a_warning() -> None:
    """The code belongs to where and when the number was issued."""
    problem = identifiers.check_resident_id("500105195001010015")
    assert problem is not None
    assert problem.severity == "warning"


@pytest.mark.parametrize(
    ("number", "digit", "scheme", "right"),
    [
        ("12345", "5", "M10", True), ("12345", "6", "M10", False), ("1234567893"[:9], "3", "NPI", True),
        ("123456789", "4", "NPI", False), ("12345", "5", "M11", True), ("12345", "7", "M11", False),
        ("12345", "", "M10", True), ("12345", "9", "ISO", True), ("A12", "9", "M10", True),
    ],
)  # fmt: skip
def test_check_digits_of_cx(number: str, digit: str, scheme: str, right: bool) -> None:
    """HL7 table 0061; a scheme that names no algorithm is not judged."""
    assert (identifiers.check_cx(number, digit, scheme) is None) == right


@given(st.text(max_size=30), st.sampled_from(sorted(identifiers.CHECKS)))
def test_no_text_raises(text: str, kind: str) -> None:
    """Bad input is an answer, never an exception."""
    problem = identifiers.CHECKS[kind](text)
    assert problem is None or problem.code.startswith("GW-FMT-")
    assert isinstance(identifiers.NORMALISE[kind](text), str)


def test_a_number_that_a_spreadsheet_has_rounded_is_refused_before_it_is_judged() -> None:
    """Its check digit may even be right by chance; whole short numbers are text that lost its zeros."""
    damaged = identifiers.check("resident-id", 110105194912310021)
    assert damaged is not None
    assert damaged.code == "GW-FMT-105"
    assert identifiers.check("national-code", 13542419) is None
    assert identifiers.check("national-code", "0013542419") is None
