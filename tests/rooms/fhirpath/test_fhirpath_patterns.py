"""The automaton and Python's matcher mean the same; which of them runs is only a question of time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhirpath import automaton, patterns
from gateway.fhirpath.faults import Fault, LimitFault

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\d", r"\s", r"\.", "^", "$", r"\b", "\n", "[a-c_]"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?", "+?"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, repeats).map(lambda t: f"(?:{t[0]}){t[1]}"),
        st.tuples(inner, inner).map(lambda t: f"({t[0]}|{t[1]})"),
    )


@given(st.recursive(ATOMS, _grown, max_leaves=6), st.text(alphabet="ab1_ .\n", max_size=8))
@settings(max_examples=1_500, deadline=None)
def test_automaton_agrees_with_python(pattern: str, text: str) -> None:
    """One meaning, whichever engine is chosen."""
    regex = re.compile(pattern, re.DOTALL)
    _, machine = automaton.analyse(pattern, re.DOTALL)
    assert machine is not None
    assert machine.search(text) == (regex.search(text) is not None)
    assert machine.full(text) == (regex.fullmatch(text) is not None)
    assert machine.search(text) == (regex.search(text) is not None), "remembered states change nothing"


@pytest.mark.parametrize(
    ("pattern", "bounded"),
    [
        ("abc", True),
        ("^[A-Z]{2}[0-9]{8}$", True),
        ("[a-z]+-[0-9]*", True),
        ("(ab|cd)x", True),
        ("(a+)+", False),
        ("(ab|ba)*", False),
        ("(ab?)*", False),
        (r"(a)\1", False),
    ],
)
def test_cost_is_bounded_only_where_one_repeat_holds_no_choice(pattern: str, bounded: bool) -> None:
    """What can match in many ways, many times, never reaches the backtracking matcher."""
    cost, _ = automaton.analyse(pattern, re.DOTALL)
    assert (cost is not None) is bounded


def test_optional_parts_in_a_row_count_as_choices() -> None:
    """a?a?a?… has no repeat in a repeat and is exponential all the same."""
    cost, _ = automaton.analyse("a?" * 30 + "a" * 30, re.DOTALL)
    assert cost is not None
    assert cost.steps(30) > patterns.MAX_STEPS


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", "*", "(?P<a", "\\"])
def test_a_pattern_that_is_none_is_a_fault(pattern: str) -> None:
    """The author of the expression is told."""
    with pytest.raises(Fault):
        patterns.search(pattern, "x")


@pytest.mark.parametrize(
    "pattern", ["(?:){99999999}", "((a{1,300}){1,300}){1,300}", "(?:(?:){9999}){9999}", "x" * 3_000]
)
def test_a_pattern_too_large_to_build_is_refused_at_once(pattern: str) -> None:
    """Counted repeats multiply; the automaton is not built beyond its limit."""
    with pytest.raises(LimitFault):
        patterns.search(pattern + "(a+)+$" if len(pattern) < 3_000 else pattern, "a" * 5_000)
