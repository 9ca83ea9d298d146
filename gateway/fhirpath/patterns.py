"""Regular expressions that always end: what could take long is run as an automaton, or refused.

Python's matcher goes back and tries again; on some patterns that takes time exponential in the text. A pattern goes
to it only where the worst case is small. Everything else runs on an automaton in time linear in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from gateway.fhirpath import automaton
from gateway.fhirpath.faults import Fault, LimitFault

MAX_PATTERN: Final = 2_000
MAX_TEXT: Final = 1_000_000
MAX_STEPS: Final = 21.0  # as an exponent of 2: two million
_FLAGS: Final = re.DOTALL


class Pattern(msgspec.Struct, frozen=True):
    """A compiled pattern, what backtracking may cost, and the automaton if one can run it."""

    regex: re.Pattern[str]
    cost: automaton.Cost | None
    machine: automaton.Automaton | None


@lru_cache(maxsize=256)
def _pattern(text: str) -> Pattern:
    if len(text) > MAX_PATTERN:
        raise LimitFault(f"a pattern of more than {MAX_PATTERN} characters")
    try:
        regex = re.compile(text, _FLAGS)
        cost, machine = automaton.analyse(text, _FLAGS)
    except (re.error, OverflowError, RecursionError, ValueError):
        raise Fault("the pattern is not a regular expression") from None
    return Pattern(regex, cost, machine)


def _cheap(pattern: Pattern, text: str) -> bool:
    return pattern.cost is not None and pattern.cost.steps(len(text)) <= MAX_STEPS


def _machine(pattern: Pattern, text: str) -> automaton.Automaton:
    if len(text) > MAX_TEXT:
        raise LimitFault(f"a pattern on more than {MAX_TEXT} characters")
    if pattern.machine is None:
        raise LimitFault("the pattern could take too long on this text")
    return pattern.machine


def search(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text; `.` matches line ends too."""
    compiled = _pattern(pattern)
    if _cheap(compiled, text):
        return compiled.regex.search(text) is not None
    return _machine(compiled, text).search(text)


def full(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole text."""
    compiled = _pattern(pattern)
    if _cheap(compiled, text):
        return compiled.regex.fullmatch(text) is not None
    return _machine(compiled, text).full(text)


_REFERENCE: Final = re.compile(r"\\(.)|\$(?:(\d{1,2})|\{(\w{1,40})\})", re.DOTALL)


def replace(pattern: str, substitution: str, text: str) -> str:
    """Every match replaced; `$1` and `${name}` in the substitution stand for groups."""
    compiled = _pattern(pattern)
    if not _cheap(compiled, text):
        raise LimitFault("the pattern could take too long on this text")

    def put(match: re.Match[str]) -> str:
        return _REFERENCE.sub(lambda mark: _group(match, mark), substitution)

    return compiled.regex.sub(put, text)


def _group(match: re.Match[str], mark: re.Match[str]) -> str:
    if mark[1] is not None:
        return mark[1]
    try:
        return match.group(int(mark[2]) if mark[2] is not None else mark[3]) or ""
    except IndexError:
        raise Fault("the substitution names a group that the pattern does not have") from None
