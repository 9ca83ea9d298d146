"""Invariant: any text either compiles or raises FhirPathError, and any evaluation ends soon, with a result or with
FhirPathError; no input and no expression gets anything else out of the engine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhirpath import Environment, FhirPathError, compile  # noqa: A004
from gateway.fhirpath.library import FUNCTIONS

ENV = Environment(now=datetime(2026, 1, 2, tzinfo=UTC), variables={"v": [1, "x", {"a": Decimal("1.5")}]})
FOCUS: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "birthDate": "1974-12-25",
    "name": [{"given": ["A", None], "_given": [None, {"id": "g"}], "period": {"start": "2001", "end": "x"}}],
    "valueQuantity": {"value": Decimal("1e400"), "code": "mg"},
    "multipleBirthInteger": 3,
}
# A single evaluation may take this long on a busy machine; the work limit stops it far earlier on a free one.
SECONDS = 10.0


def attempt(expression: str, focus: Any = FOCUS) -> list[Any] | None:
    """The result, or None if it was refused. Anything but FhirPathError fails the test."""
    start = time.process_time()
    answer = None
    try:
        answer = compile(expression)(focus, ENV)
    except FhirPathError as refused:
        error = refused
    else:
        error = None
    assert error is None or error.finding().code.startswith("GW-FHIRPATH-")
    assert time.process_time() - start < SECONDS, expression[:200]
    return answer


@given(st.text(max_size=200))
@settings(max_examples=400, deadline=None)
def test_any_text_compiles_or_is_refused(text: str) -> None:
    """Raw text, of all of Unicode."""
    attempt(text)


_WORDS = """
name given active $this $index $total %v %resource 1 2.5 'a' @2012 @T10 {} true ( ) . , [ ]
+ - * / | & = ~ < >= !~ \\ ` /*
"""
_SPACED = [
    "4 'mg'",
    "1 year",
    " and ",
    " or ",
    " implies ",
    " xor ",
    " in ",
    " contains ",
    " is ",
    " as ",
    " div ",
    " mod ",
]
WORDS = st.sampled_from([*_WORDS.split(), *_SPACED, *(f".{name}(" for name in FUNCTIONS)])


@given(st.lists(WORDS, max_size=30).map("".join))
@settings(max_examples=600, deadline=None)
def test_any_words_in_any_order_compile_or_are_refused(text: str) -> None:
    """The words of the language, shuffled: gets past the lexer and often past the parser."""
    attempt(text)


_TERMS = """
name name.given active $this %v 1 0 -3 2.5 'a' '' @2012-02 @T10:00 {} (1|2|3) true valueQuantity birthDate
multipleBirth %resource descendants()
"""
TERMS = st.sampled_from([*_TERMS.split(), "4 'mg'", "1 'Cel'", "3 months"])
_OPERATORS = "+ - * / div mod | & = != ~ !~ < <= > >= and or xor implies in contains"


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(_OPERATORS.split())
    names = st.sampled_from(sorted(FUNCTIONS))
    return st.one_of(
        st.tuples(inner, operators, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, names).map(lambda t: f"({t[0]}).{t[1]}()"),
        st.tuples(inner, names, inner).map(lambda t: f"({t[0]}).{t[1]}({t[2]})"),
        st.tuples(inner, names, inner, inner).map(lambda t: f"({t[0]}).{t[1]}({t[2]}, {t[3]})"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]})[{t[1]}]"),
        inner.map(lambda t: f"-({t})"),
    )


@given(st.recursive(TERMS, _grown, max_leaves=8))
@settings(max_examples=800, deadline=None)
def test_any_well_formed_expression_ends(text: str) -> None:
    """Every function and operator on inputs of every type, in any nesting."""
    attempt(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "_a", "value", "code", "name"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(
    JSON,
    st.sampled_from(
        [
            "a.b",
            "descendants().distinct()",
            "a = b",
            "a ~ b",
            "children().a",
            "a.extension('x')",
            "value > 1",
            "a.toString() | b",
        ]
    ),
)
@settings(max_examples=400, deadline=None)
def test_any_json_can_be_asked(document: Any, expression: str) -> None:
    """Input of the wrong shape is the validator's finding, never a crash of the engine."""
    attempt(expression, document)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 5_000 + "1" + ")" * 5_000,
        "-" * 5_000 + "1",
        "a" + ".a" * 5_000,
        "a" + "[0]" * 5_000,
        "1" + " + 1" * 5_000,
        "iif(" * 1_000,
        "'" + "x" * 70_000,
        "9" * 1_000,
        "name.where(" * 100 + "true" + ")" * 100,
    ],
)
def test_deep_and_long_expressions_are_refused_or_work(expression: str) -> None:
    """Depth of nesting is bounded by us, not by the interpreter's stack."""
    attempt(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "1.repeatAll(1)",
        "'a'.repeat($this & 'a')",
        "(1|2|3|4|5|6|7|8|9).aggregate($total & 'xxxxxxxxxxxxxxxx' & $total & $total, 'x')",
        "('a'|'b'|'c'|'d'|'e').aggregate($total.replace('x', 'xxxxxxxxxx') & $total.replace('x', 'xxxxx'), 'xxxxxx')",
        "descendants().repeatAll(%resource.descendants())",
        "descendants().select(%resource.descendants().select(%resource.descendants().select(%resource.descendants().count())))",
        "name.repeatAll($this | $this)",
        "name.repeatAll($this.combine($this))",
        "2147483647.power(2147483647)",
        "10.power(0.0000001).power(100000000)",
        "(1.0 / 3).exp().exp().exp().exp().exp()",
        "@2000 + 99999999999999999999999 years",
        "@T10:00 + 999999999999 hours",
        "1 'm30' * 1 'm30' * 1 'm30'",
        "'1'.toQuantity('" + "(" * 60 + "')",
    ],
)
def test_greedy_evaluations_are_stopped(expression: str) -> None:
    """What never ends by itself, or grows without bound, is stopped by the work limit."""
    attempt(expression)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a*)*b",
        "(.*)*x",
        "(a|aa)+$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        r"(\w+\s?)*$x",
        ".*.*.*=.*",
        "a?" * 30 + "a" * 30 + "$",
    ],
)
def test_catastrophic_patterns_run_in_linear_time(pattern: str) -> None:
    """Patterns that take a backtracking matcher for ever are run as automata, on long texts too."""
    for size in (30, 3_000):
        start = time.process_time()
        answer = attempt(
            f"%text.matches('{pattern.replace(chr(92), chr(92) * 2)}')".replace("%text", "name"),
            {"name": "a" * size + "!"},
        )
        assert answer in ([True], [False])
        assert time.process_time() - start < 2.0


def test_patterns_that_no_automaton_can_run_are_refused_on_long_texts() -> None:
    """References back have no linear matcher; on short texts they work."""
    assert attempt(r"name.matches('^(a+)\\1$')", {"name": "aa"}) is None
    assert attempt(r"name.matches('^(a)\\1$')", {"name": "aa"}) is None
    assert attempt("name.replaceMatches('(a+)+$', 'x')", {"name": "a" * 50 + "!"}) is None
    assert attempt("name.replaceMatches('a+', 'x')", {"name": "aab"}) == ["xb"]


def test_a_wide_document_costs_in_proportion() -> None:
    """A hundred thousand repetitions: sets and comparisons stay linear."""
    wide = {"a": [{"b": number, "c": str(number)} for number in range(50_000)]}
    assert attempt("a.b.distinct().count()", wide) == [50_000]
    assert attempt("a.isDistinct()", wide) == [True]
    assert attempt("a.exclude(a).empty()", wide) == [True]
    assert attempt("(a.c | a.c).count()", wide) == [50_000]
    assert attempt("a.b.subsetOf(a.b)", wide) == [True]
    assert attempt("a.c ~ a.c.tail().combine(a.c.first())", wide) == [True]
