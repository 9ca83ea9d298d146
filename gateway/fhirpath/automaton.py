"""Regular expressions as finite automata: linear time, no backtracking.

The pattern is read by Python's own parser, so that both engines mean the same. States are followed as sets; sets
that were met before are remembered, which makes it a deterministic automaton built on demand.
"""

from __future__ import annotations

import re
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as reader  # type: ignore[attr-defined]
from typing import Any, Final

MAX_STATES: Final = 6_000
MAX_REMEMBERED: Final = 2_000
_REPEATS: Final = (c.MAX_REPEAT, c.MIN_REPEAT)
# More repetitions than this count as unbounded when cost is estimated.
_FEW: Final = 3


class Unsupported(ValueError):
    """Something that no finite automaton can do (references back, looking around), or too many states."""


def analyse(pattern: str, flags: int) -> tuple[int | None, Automaton | None]:
    """How the cost of backtracking grows (None: exponential or not known), and the automaton if there is one."""
    tree = reader.parse(pattern, flags)
    degree = _degree(tree)
    try:
        machine = Automaton(tree, flags | tree.state.flags)
    except Unsupported:
        machine = None
    return degree, machine


def _degree(tree: Any) -> int | None:
    """How many repeats can follow one another; None for a repeat inside a repeat."""
    total = 0
    for operator, argument in tree:
        part: int | None = 0
        if operator in _REPEATS:
            _, most, body = argument
            inner = _degree(body)
            many = most > _FEW
            part = None if inner is None or (many and (inner > 0 or _branches(body))) else inner + many
        elif operator is c.SUBPATTERN:
            part = _degree(argument[3])
        elif operator is c.BRANCH:
            parts = [_degree(branch) for branch in argument[1]]
            part = None if None in parts else sum(one for one in parts if one is not None)
        elif operator in (c.ASSERT, c.ASSERT_NOT):
            part = _degree(argument[1])
        elif operator is c.GROUPREF or operator is c.GROUPREF_EXISTS:
            part = None
        if part is None:
            return None
        total += part
    return total


def _branches(tree: Any) -> bool:
    """Whether alternatives (or optional parts) occur: repeated, they can match in many ways."""
    for operator, argument in tree:
        if operator is c.BRANCH or (operator in _REPEATS and argument[0] != argument[1]):
            return True
        if operator is c.SUBPATTERN and _branches(argument[3]):
            return True
    return False


class Automaton:
    """States 0…n: each a test of one character and where it leads; jumps without a character beside them."""

    def __init__(self, tree: Any, flags: int) -> None:
        self._flags = flags & (re.IGNORECASE | re.DOTALL | re.MULTILINE | re.ASCII)
        self._tests: list[re.Pattern[str] | None] = [None]
        self._next: list[int] = [0]
        self._jumps: list[list[tuple[int, Any]]] = [[]]
        self._accept = self._sequence(tree, 0)
        self._seen: dict[tuple[frozenset[int], str, bool], frozenset[int]] = {}

    # --- building ----------------------------------------

    def _state(self) -> int:
        if len(self._next) >= MAX_STATES:
            raise Unsupported("too many states")
        self._tests.append(None)
        self._next.append(0)
        self._jumps.append([])
        return len(self._next) - 1

    def _jump(self, start: int, end: int, condition: Any = None) -> None:
        self._jumps[start].append((end, condition))

    def _sequence(self, tree: Any, start: int) -> int:
        for operator, argument in tree:
            start = self._part(operator, argument, start)
        return start

    def _part(self, operator: Any, argument: Any, start: int) -> int:
        if operator in (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN):
            return self._character(operator, argument, start)
        if operator in _REPEATS:
            return self._repeat(argument, start)
        if operator is c.SUBPATTERN:
            if argument[1] or argument[2]:
                raise Unsupported("flags inside a group")
            return self._sequence(argument[3], start)
        if operator is c.BRANCH:
            end = self._state()
            for branch in argument[1]:
                first = self._state()
                self._jump(start, first)
                self._jump(self._sequence(branch, first), end)
            return end
        if operator is c.AT:
            end = self._state()
            self._jump(start, end, argument)
            return end
        raise Unsupported(str(operator))

    def _character(self, operator: Any, argument: Any, start: int) -> int:
        middle, end = self._state(), self._state()
        self._jump(start, middle)
        self._tests[middle] = re.compile(_source(operator, argument), self._flags)
        self._next[middle] = end
        return end

    def _repeat(self, argument: Any, start: int) -> int:
        least, most, body = argument
        for _ in range(least):
            start = self._sequence(body, start)
            if least > MAX_STATES:
                raise Unsupported("too many states")
        if most is c.MAXREPEAT:
            loop = self._state()
            self._jump(start, loop)
            self._jump(self._sequence(body, loop), loop)
            return loop
        end = self._state()
        self._jump(start, end)
        for _ in range(most - least):
            start = self._sequence(body, start)
            self._jump(start, end)
        return end

    # --- running ----------------------------------------

    def _closure(self, states: set[int], before: str, after: str) -> frozenset[int]:
        found, waiting = set(states), list(states)
        while waiting:
            for end, condition in self._jumps[waiting.pop()]:
                if end not in found and (condition is None or _holds(condition, before, after)):
                    found.add(end)
                    waiting.append(end)
        return frozenset(found)

    def _step(self, states: frozenset[int], before: str, after: str) -> set[int]:
        tests = self._tests
        return {self._next[at] for at in states if (test := tests[at]) is not None and test.match(before)}

    def _run(self, text: str, *, anywhere: bool) -> bool:
        size = len(text)
        states = self._closure({0}, "", text[:1])
        for at in range(size):
            if anywhere and self._accept in states:
                return True
            here, after = text[at], text[at + 1 : at + 2]
            mark = (states, here + after, at == 0)
            found = self._seen.get(mark)
            if found is None:
                moved = self._step(states, here, after)
                if anywhere:
                    moved.add(0)
                found = self._closure(moved, here, after)
                if len(self._seen) >= MAX_REMEMBERED:
                    self._seen.clear()
                self._seen[mark] = found
            states = found
            if not states:
                return False
        return self._accept in states

    def search(self, text: str) -> bool:
        """Whether it matches anywhere."""
        return self._run(text, anywhere=True)

    def full(self, text: str) -> bool:
        """Whether it matches the whole."""
        return self._run(text, anywhere=False)


def _holds(condition: Any, before: str, after: str) -> bool:
    if condition in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
        return not before
    if condition is c.AT_END:
        return not after  # Python's $ also stands before a last line end; linear runs keep to the end
    if condition is c.AT_END_STRING:
        return not after
    edge = _is_word(before) != _is_word(after)
    if condition is c.AT_BOUNDARY:
        return edge
    if condition is c.AT_NON_BOUNDARY:
        return not edge
    raise Unsupported(str(condition))


def _is_word(character: str) -> bool:
    return bool(character) and (character.isalnum() or character == "_")


_CATEGORIES: Final = {
    c.CATEGORY_DIGIT: r"\d",
    c.CATEGORY_NOT_DIGIT: r"\D",
    c.CATEGORY_SPACE: r"\s",
    c.CATEGORY_NOT_SPACE: r"\S",
    c.CATEGORY_WORD: r"\w",
    c.CATEGORY_NOT_WORD: r"\W",
}


def _source(operator: Any, argument: Any) -> str:
    """The pattern for one character."""
    if operator is c.ANY:
        return "."
    if operator is c.LITERAL:
        return re.escape(chr(argument))
    if operator is c.NOT_LITERAL:
        return f"[^{_in_class(argument)}]"
    return "[" + "".join(_class_part(*part) for part in argument) + "]"


def _class_part(operator: Any, argument: Any) -> str:
    if operator is c.NEGATE:
        return "^"
    if operator is c.LITERAL:
        return _in_class(argument)
    if operator is c.RANGE:
        return f"{_in_class(argument[0])}-{_in_class(argument[1])}"
    return _CATEGORIES[argument]


def _in_class(code: int) -> str:
    return f"\\U{code:08x}"
