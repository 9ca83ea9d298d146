"""Message structures as automata: which segments may follow which, and what is missing.

A structure (chapter 3 and later) becomes a Thompson automaton over segment names, walked with memoised sets of
states, so that a correct message costs one dictionary look-up a segment and no message can make it slow. Optional
and repeated groups are empty edges; a required segment also has an edge that skips it at a cost, which is how the
missing one is named and everything after it is still checked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

States = frozenset[int]
_ANY: Final = "ANYHL7SEGMENT"
"""Where a structure leaves it open which segment comes (master files, chapter 8)."""

_ANYWHERE: Final = frozenset({"DSC", "ADD"})  # continuation, chapter 2 section 2.10.2


class Trouble(msgspec.Struct, frozen=True):
    """`kind` is "missing" (`name` should stand before segment `index`, or at the end), "misplaced" or "foreign"."""

    kind: str
    name: str
    index: int


class Structure:
    """One compiled structure. `reference` is `(kind, children)` as in `hl7apy`'s tables."""

    def __init__(self, name: str, reference: Any) -> None:
        self.name = name
        self.segments: set[str] = set()
        self._steps: list[dict[str, list[int]]] = []
        self._empty: list[list[int]] = []
        self._skips: list[list[tuple[str, int]]] = []
        start = self._node()
        self._end = self._group(reference, start)
        self._memo: dict[States, dict[str, States]] = {}
        self._start = self._closed((start,))

    # --- building

    def _node(self) -> int:
        self._steps.append({})
        self._empty.append([])
        self._skips.append([])
        return len(self._steps) - 1

    def _group(self, reference: Any, start: int) -> int:
        kind, children = reference[0], reference[1]
        if kind == "choice":
            end = self._node()
            names = []
            for child in children:
                mine = self._node()
                self._empty[start].append(mine)
                self._empty[self._child(child, mine, skip=False)].append(end)
                names.append(_first(child))
            self._skips[start].append((" | ".join(dict.fromkeys(names)), end))
            return end
        for child in children:
            start = self._child(child, start)
        return start

    def _child(self, child: Any, start: int, skip: bool = True) -> int:
        """`skip`: whether a lost segment may be skipped here; alternatives of a choice are skipped together."""
        name, reference, (least, most), kind = child
        inner = self._node()
        self._empty[start].append(inner)
        if kind == "SEG" or reference is None:
            self.segments.add(name)
            end = self._node()
            self._steps[inner].setdefault(name, []).append(end)
            if least and skip:
                self._skips[inner].append((name, end))
        else:
            end = self._group(reference, inner)
        if most != 1:
            self._empty[end].append(inner)
        after = self._node()
        self._empty[end].append(after)
        if not least:
            self._empty[start].append(after)
        return after

    # --- walking

    def _closed(self, nodes: Iterable[int]) -> States:
        seen = set(nodes)
        queue = list(seen)
        while queue:
            for node in self._empty[queue.pop()]:
                if node not in seen:
                    seen.add(node)
                    queue.append(node)
        return frozenset(seen)

    def _after(self, states: States, name: str) -> States:
        known = self._memo.setdefault(states, {})
        found = known.get(name)
        if found is None:
            targets = [node for state in states for key in (name, _ANY) for node in self._steps[state].get(key, ())]
            found = known[name] = self._closed(targets)
        return found

    def _cheapest(self, states: States, name: str) -> tuple[list[str], States] | None:
        """The fewest required segments to skip so that `name` may come ("" for the end), and where that leads."""
        best: dict[int, tuple[int, list[str]]] = {state: (0, []) for state in states}
        queue = deque(best)
        while queue:
            node = queue.popleft()
            cost, path = best[node]
            if (name and name in self._steps[node]) or (not name and node == self._end):
                targets = self._steps[node][name] if name else [node]
                return path, self._closed(targets)
            edges = [(after, 0, "") for after in self._empty[node]]
            edges += [(after, 1, what) for what, after in self._skips[node]]
            for after, price, what in edges:
                if after not in best or cost + price < best[after][0]:
                    best[after] = (cost + price, [*path, what] if price else path)
                    (queue.append if price else queue.appendleft)(after)
        return None

    def check(self, names: Sequence[str]) -> list[Trouble]:
        """Everything that is wrong with the order of segments. Z-segments may stand anywhere."""
        states, out = self._start, []
        for index, name in enumerate(names):
            after = self._after(states, name)
            if after:
                states = after
            elif name[0] == "Z" or name in _ANYWHERE:
                continue
            elif name not in self.segments:
                out.append(Trouble("foreign", name, index))
            else:
                found = self._cheapest(states, name)
                if found is None:
                    out.append(Trouble("misplaced", name, index))
                    continue
                out += [Trouble("missing", what, index) for what in found[0]]
                states = found[1]
        if self._end not in states:
            found = self._cheapest(states, "")
            out += [Trouble("missing", what, len(names)) for what in (found[0] if found else ())]
        misplaced = {t.name for t in out if t.kind == "misplaced"}
        return [t for t in out if t.kind != "missing" or t.name not in misplaced]


def _first(child: Any) -> str:
    name, reference, _, kind = child
    if kind == "SEG" or reference is None or not reference[1]:
        return str(name)
    return _first(reference[1][0])
