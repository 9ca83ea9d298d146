"""A JSON document as a source. Paths are the plain part of JSONPath (RFC 9535): members, indexes, `[*]`.

$.patient.name     from the root of the document, or of the part that `each` gave
name  .name        the same, relative
items[0].code      one member of an array, from 0
items[*].code      every member; `items.code` says the same: arrays are walked through
$['odd name']      a member whose name is not a word
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.formats.source import Datum
from gateway.message import Place

Step = str | int | None
"""A member name, an index, or None for every member of an array."""

_STEP: Final = re.compile(
    r"""\.?([^\W\d][\w-]*)|\[(\d{1,9})\]|\[\*\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]"""
)
_WORD: Final = re.compile(r"[^\W\d][\w-]*")


class JsonPath(msgspec.Struct, frozen=True):
    """The steps of a path; none is the document itself."""

    text: str
    steps: tuple[Step, ...]


@lru_cache(maxsize=8192)
def compile(path: str) -> JsonPath:
    """The path, or `Misconfigured` (GW-FMT-040) that quotes it."""
    rest = path.strip()
    at = 1 if rest[:1] == "$" else 0
    if rest == ".":
        return JsonPath(path, ())
    steps: list[Step] = []
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise Misconfigured("GW-FMT-040", path=path, notation="JSON")
        word, index, single, double = found.groups()
        quoted = single if single is not None else double
        if word is not None:
            steps.append(word)
        elif index is not None:
            steps.append(int(index))
        else:
            steps.append(None if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = found.end()
    if not rest:
        raise Misconfigured("GW-FMT-040", path=path, notation="JSON")
    return JsonPath(path, tuple(steps))


Trail = tuple[Any, ...]  # (parent trail, step): linked, so that going down costs one tuple


class JsonSource:
    """A document, or a part of one."""

    __slots__ = ("_firsts", "first", "size", "trail", "value")
    notation: Final = "json"

    def __init__(
        self, value: Any, first: int = 0, size: int | None = None, firsts: dict[int, Any] | None = None,
        trail: Trail = (),
    ) -> None:  # fmt: skip
        self.value, self.first, self.trail = value, first, trail
        self._firsts: dict[int, Any] = {} if firsts is None else firsts
        self.size = self._number(value, first) - first if size is None else size

    def _number(self, value: Any, first: int) -> int:
        """Give every scalar a number; return the next free one. The reader bounds the depth."""
        if isinstance(value, dict):
            firsts: dict[Any, int] = {}
            for key, member in value.items():
                firsts[key] = first
                first = self._number(member, first)
        elif isinstance(value, list):
            firsts = {}
            for index, member in enumerate(value):
                firsts[index] = first
                first = self._number(member, first)
        else:
            return first + 1
        self._firsts[id(value)] = (firsts, first)
        return first

    @property
    def here(self) -> Place:
        return self.place_of(self.trail)

    def place_of(self, key: Trail) -> Place:
        parts: list[str] = []
        while key:
            key, step = key
            parts.append(_shown(step))
        return Place(notation="json", path="$" + "".join(reversed(parts)))

    def get(self, path: JsonPath) -> Sequence[Datum]:
        out: list[Datum] = []
        for value, first, trail in self._walk(path.steps):
            out.extend(self._data(value, first, trail))
        return out

    def each(self, path: JsonPath) -> Sequence[JsonSource]:
        out = []
        for value, first, trail in self._walk(path.steps):
            members = enumerate(value) if isinstance(value, list) else ()
            if isinstance(value, list):
                firsts = self._firsts[id(value)][0]
                out += [self._part(member, firsts[i], (trail, i)) for i, member in members]
            else:
                out.append(self._part(value, first, trail))
        return out

    def leaves(self, seen: bytearray | None = None) -> Iterator[Datum]:
        stack = [(self.value, self.first, self.trail)]
        while stack:
            value, first, trail = stack.pop()
            if isinstance(value, (dict, list)):
                firsts = self._firsts[id(value)][0]
                pairs = value.items() if isinstance(value, dict) else enumerate(value)
                stack.extend(reversed([(member, firsts[key], (trail, key)) for key, member in pairs]))
            elif value != "" and (seen is None or not seen[first - self.first]):
                yield _datum(self, value, first, trail)

    def _part(self, value: Any, first: int, trail: Trail) -> JsonSource:
        end = self._firsts[id(value)][1] if isinstance(value, (dict, list)) else first + 1
        return JsonSource(value, first, end - first, self._firsts, trail)

    def _walk(self, steps: Sequence[Step]) -> list[tuple[Any, int, Trail]]:
        found: list[tuple[Any, int, Trail]] = [(self.value, self.first, self.trail)]
        for step in steps:
            found = [below for each in found for below in self._down(each, step)]
        return found

    def _down(self, node: tuple[Any, int, Trail], step: Step) -> Iterator[tuple[Any, int, Trail]]:
        value, _, trail = node
        if isinstance(value, dict):
            if isinstance(step, str) and step in value:
                yield value[step], self._firsts[id(value)][0][step], (trail, step)
        elif isinstance(value, list):
            firsts = self._firsts[id(value)][0]
            for index, member in enumerate(value):
                if step is None or step == index:
                    yield member, firsts[index], (trail, index)
                elif isinstance(step, str):
                    yield from self._down((member, firsts[index], (trail, index)), step)

    def _data(self, value: Any, first: int, trail: Trail) -> Iterator[Datum]:
        if isinstance(value, list):
            firsts = self._firsts[id(value)][0]
            for index, member in enumerate(value):
                yield from self._data(member, firsts[index], (trail, index))
        elif isinstance(value, dict):
            end = self._firsts[id(value)][1]
            if end > first:
                yield Datum(json.write(value).decode("utf-8"), first, self, trail, end - first)
        elif value != "":
            yield _datum(self, value, first, trail)


def _datum(origin: JsonSource, value: str | int | Decimal | bool | None, first: int, trail: Trail) -> Datum:
    return Datum("", first, origin, trail, null=True) if value is None else Datum(value, first, origin, trail)


def _shown(step: Step) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    name = step or ""
    return f".{name}" if _WORD.fullmatch(name) else "['" + name.replace("\\", "\\\\").replace("'", "\\'") + "']"


def read(body: bytes) -> JsonSource:
    """The source of a JSON document. Raises what the one JSON reader raises."""
    return JsonSource(json.read(body))
