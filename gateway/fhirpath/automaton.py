"""Regular expressions as finite automata: linear time, no backtracking.

The pattern is read by Python's own parser, so that both engines mean the same. States are followed as sets; sets
that were met before are remembered, which makes it a deterministic automaton built on demand.
"""

from __future__ import annotations

import re
from math import log2
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as reader  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

MAX_STATES: Final = 4_000
MAX_PARTS: Final = 40_000
MAX_REMEMBERED: Final = 200_000
_REPEATS: Final = (c.MAX_REPEAT, c.MIN_REPEAT)
# More repetitions than this count as unbounded when cost is estimated.
_FEW: Final = 3
_CONDITIONS: Final = (
    c.AT_BEGINNING, c.AT_BEGINNING_STRING, c.AT_END, c.AT_END_STRING, c.AT_BOUNDARY, c.AT_NON_BOUNDARY,
)  # fmt: skip
Mark = tuple[frozenset[int], str, str, bool]
_PLAIN: Final = (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN, c.AT)


class Unsupported(ValueError):
    """Something that no finite automaton can do (references back, looking around), or too many states."""


def analyse(pattern: str, flags: int) -> tuple[Cost | None, Automaton | None]:
    """What backtracking may cost (None: not bounded), and the automaton if there is one."""
    tree = reader.parse(pattern, flags)
    cost = _cost(tree)
    try:
        machine = Automaton(tree, flags | tree.state.flags)
    except Unsupported:
        machine = None
    return cost, machine


class Cost(NamedTuple):
    """At most 2 ** `choices` * (length of the text) ** `degree` tries from one start."""

    degree: int = 0
    choices: float = 0.0

    def steps(self, length: int) -> float:
        """For a search from every place in a text, as an exponent of 2."""
        return self.choices + (self.degree + 1) * log2(length + 1)


def _cost(tree: Any) -> Cost | None:
    """What the parts may cost together; None where a repeat holds something that can itself match in many ways."""
    degree, choices = 0, 0.0
    for operator, argument in tree:
        part: Cost | None = Cost()
        if operator in _REPEATS:
            part = _cost_of_repeat(*argument)
        elif operator is c.SUBPATTERN:
            part = _cost(argument[3])
        elif operator is c.BRANCH:
            part = _cost_of_branches(argument[1])
        elif operator in (c.ASSERT, c.ASSERT_NOT):
            part = _cost(argument[1])
        elif operator not in _PLAIN:
            part = None
        if part is None:
            return None
        degree, choices = degree + part.degree, choices + part.choices
    return Cost(degree, choices)


def _cost_of_repeat(least: int, most: int, body: Any) -> Cost | None:
    inner = _cost(body)
    if inner is None:
        return None
    if least == most or most <= _FEW:
        return Cost(inner.degree * most, inner.choices * most + log2(most - least + 1))
    return Cost(1) if inner == Cost() else None


def _cost_of_branches(branches: Any) -> Cost | None:
    parts = [_cost(branch) for branch in branches]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return Cost(max(part.degree for part in known), log2(len(known)) + max(part.choices for part in known))


class Automaton:
    """States 0…n: each a test of one character and where it leads; jumps without a character beside them."""

    def __init__(self, tree: Any, flags: int) -> None:
        self._flags = flags & (re.IGNORECASE | re.DOTALL | re.MULTILINE | re.ASCII)
        self._tests: list[re.Pattern[str] | None] = [None]
        self._next: list[int] = [0]
        self._jumps: list[list[tuple[int, Any]]] = [[]]
        self._parts = 0
        self._looks = False
        self._accept = self._sequence(tree, 0)
        self._seen: dict[Mark, frozenset[int]] = {}
        self._remembered = 0

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
        self._parts += 1 + len(tree)
        if self._parts > MAX_PARTS:
            raise Unsupported("too many parts")
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
            if argument not in _CONDITIONS:
                raise Unsupported(str(argument))
            self._looks = True
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

    def _closure(self, states: set[int], before: str, ahead: str) -> frozenset[int]:
        found, waiting = set(states), list(states)
        while waiting:
            for end, condition in self._jumps[waiting.pop()]:
                if end not in found and (condition is None or _holds(condition, before, ahead)):
                    found.add(end)
                    waiting.append(end)
        return frozenset(found)

    def _step(self, states: frozenset[int], character: str) -> set[int]:
        tests = self._tests
        return {self._next[at] for at in states if (test := tests[at]) is not None and test.match(character)}

    def _run(self, text: str, *, anywhere: bool) -> bool:
        states = self._closure({0}, "", self._ahead(text, 0))
        for at, here in enumerate(text):
            if anywhere and self._accept in states:
                return True
            ahead = self._ahead(text, at + 1)
            mark = (states, here, ahead, anywhere)
            found = self._seen.get(mark)
            if found is None:
                moved = self._step(states, here)
                if anywhere:
                    moved.add(0)
                found = self._closure(moved, here, ahead)
                self._remember(mark, found)
            states = found
            if not states:
                return False
        return self._accept in states

    def _ahead(self, text: str, at: int) -> str:
        """What stands there, as far as a condition can ask: the end, a last line end, a word's letter, another."""
        if not self._looks:
            return ""
        if at >= len(text):
            return "end"
        if at == len(text) - 1 and text[at] == "\n":
            return "last line"
        return "word" if _is_word(text[at]) else "other"

    def _remember(self, mark: Mark, found: frozenset[int]) -> None:
        self._remembered += 10 + len(found)
        if self._remembered > MAX_REMEMBERED:
            self._seen.clear()
            self._remembered = 0
        self._seen[mark] = found

    def search(self, text: str) -> bool:
        """Whether it matches anywhere."""
        return self._run(text, anywhere=True)

    def full(self, text: str) -> bool:
        """Whether it matches the whole."""
        return self._run(text, anywhere=False)


def _holds(condition: Any, before: str, ahead: str) -> bool:
    if condition in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
        return not before
    if condition is c.AT_END:
        return ahead in ("end", "last line")
    if condition is c.AT_END_STRING:
        return ahead == "end"
    edge = _is_word(before) != (ahead == "word")
    return edge if condition is c.AT_BOUNDARY else not edge


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
