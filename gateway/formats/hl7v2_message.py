"""A read HL7 v2 message: segments, and the parts of it that mapping walks through.

Fields are split when the message is read, what is inside them when somebody asks. A leaf number is the count of
delimiters before the leaf, so numbers exist without splitting; they have gaps where fields are empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from gateway.formats.hl7v2_path import HL7Path
from gateway.formats.hl7v2_text import NULL, Delimiters, unescape
from gateway.formats.source import Datum
from gateway.message import Finding, Place

HEADERS: Final = frozenset({"MSH", "FHS", "BHS"})
_NOTHING: Final[tuple[Datum, ...]] = ()


# Plain values: they are made by the hundred for every message.
Component = str | list[str]
"""A component that is one sub-component, or all of its sub-components."""

Repetition = tuple[int, str, list[Component], bool]
"""(number of the first leaf, text, components, whether every component is one leaf)."""


def subs_of(component: Component) -> list[str]:
    """The sub-components; at least one."""
    return [component] if isinstance(component, str) else component


def first_of(component: Component) -> str:
    """The first sub-component: the component read as a primitive."""
    return component if isinstance(component, str) else component[0]


def _base_of(repetition: Repetition, index: int) -> int:
    """The leaf number of the first sub-component of the component at an index from 0."""
    base, _, components, flat = repetition
    return base + index if flat else base + sum(len(subs_of(component)) for component in components[:index])


def _is_one_leaf(components: list[Component]) -> bool:
    return len(components) == 1 and isinstance(components[0], str)


Seen = bytearray | None
"""Marks by leaf number: what was read already and is left out of `leaves`."""

Key = tuple["Segment", int, int, int, int]
"""(segment, field, repetition, component, sub-component); 0 means "not named"."""


class Frame:
    """What every part of a message needs of the whole; holds no part, so that a message is freed at once."""

    __slots__ = ("codec", "delimiters")

    def __init__(self, delimiters: Delimiters, codec: str) -> None:
        self.delimiters, self.codec = delimiters, codec

    def place_of(self, key: Key) -> Place:
        segment, field, repetition, component, sub = key
        if component:
            components = segment.repetitions(field)[repetition - 1][2]
            if _is_one_leaf(components):
                component = sub = 0
            elif isinstance(components[component - 1], str):
                sub = 0
        return _place(segment.name, segment.occurrence, field, repetition, component, sub)


class Segment:
    """One segment. `fields[n]` is the raw text of field n; `fields[0]` is the name. Is a `Source` itself."""

    __slots__ = ("_bases", "_nodes", "end", "fields", "first", "frame", "name", "occurrence", "raw", "size")
    notation: Final = "hl7v2"

    def __init__(self, frame: Frame, raw: str, end: str, first: int, occurrence: int, fields: list[str]) -> None:
        self.frame, self.raw, self.end, self.first, self.occurrence = frame, raw, end, first, occurrence
        self.fields = fields
        self.name = fields[0]
        d = frame.delimiters
        base, bases = first, []
        for text in fields:
            bases.append(base)
            if text:
                base += 1
                if not text.isalnum():
                    base += text.count(d.component) + text.count(d.repetition) + text.count(d.subcomponent)
        bases.append(base)
        self._bases = bases  # one more than fields: the next free number closes the list
        self.size = base - first
        self._nodes: dict[int, list[Repetition]] = {}

    def repetitions(self, field: int) -> list[Repetition]:
        """The field taken apart; an absent field has none."""
        node = self._nodes.get(field)
        if node is None:
            node = self._nodes[field] = self._split(field)
        return node

    def _split(self, field: int) -> list[Repetition]:
        text = self.fields[field] if field < len(self.fields) else ""
        if not text:
            return []
        d, base = self.frame.delimiters, self._bases[field]
        if self._bases[field + 1] - base == 1 or (field < 3 and self.name in HEADERS):
            return [(base, text, [text], True)]
        if d.repetition not in text and d.subcomponent not in text:  # most fields
            return [(base, text, [*text.split(d.component)], True)]
        out: list[Repetition] = []
        for part in text.split(d.repetition):
            pieces = part.split(d.component)
            if d.subcomponent not in part:
                out.append((base, part, [*pieces], True))
                base += len(pieces)
                continue
            components = [piece.split(d.subcomponent) if d.subcomponent in piece else piece for piece in pieces]
            out.append((base, part, components, False))
            base += sum(len(subs_of(component)) for component in components)
        return out

    @property
    def here(self) -> Place:
        return self.frame.place_of((self, 0, 0, 0, 0))

    def get(self, path: HL7Path) -> Sequence[Datum]:
        if path.segment != self.name or path.occurrence > 1:
            return _NOTHING
        out: list[Datum] = []
        self.collect(path, out)
        return out

    def each(self, path: HL7Path) -> Sequence[Segment | Part]:
        if path.segment != self.name or path.occurrence > 1:
            return ()
        return [self] if not path.field else list(self.parts(path))

    def collect(self, path: HL7Path, out: list[Datum]) -> None:
        """Append what the path names in this segment; occurrence is the caller's business."""
        field = path.field
        if not field:
            out.append(Datum(self.raw, self.first, self.frame, (self, 0, 0, 0, 0), self.size))
            return
        if field >= len(self.fields) or not self.fields[field]:
            return
        base = self._bases[field]
        if self._bases[field + 1] - base == 1:  # most fields are one leaf
            if path.component < 2 and path.subcomponent < 2 and path.repetition < 2:
                out.append(_datum(self, self.fields[field], base, (self, field, 1, 0, 0)))
            return
        for number, repetition in enumerate(self.repetitions(field), 1):
            if path.repetition in (0, number):
                datum = _pick(self, field, number, repetition, path)
                if datum is not None:
                    out.append(datum)

    def parts(self, path: HL7Path) -> Iterator[Part]:
        """The repetitions of a field, or one component of each, as sources of their own."""
        for number, repetition in enumerate(self.repetitions(path.field), 1):
            if path.repetition not in (0, number) or not repetition[1]:
                continue
            part = Part(self, path.field, number, repetition)
            inner = part.component(path.component) if path.component else part
            if inner is not None:
                yield inner

    def leaves(self, seen: Seen = None) -> list[Datum]:
        """Every non-empty leaf. MSH-1 and MSH-2 are delimiters, not content."""
        out: list[Datum] = []
        self.gather(out, seen, self.first)
        return out

    def gather(self, out: list[Datum], seen: Seen, origin: int) -> None:
        """Append the leaves that are not marked in `seen`, whose index 0 is the number `origin`."""
        bases, fields = self._bases, self.fields
        for field in range(3 if self.name in HEADERS else 1, len(fields)):
            text = fields[field]
            if not text:
                continue
            base = bases[field]
            if bases[field + 1] - base == 1:
                if seen is None or not seen[base - origin]:
                    out.append(_datum(self, text, base, (self, field, 1, 0, 0)))
                continue
            for number, repetition in enumerate(self.repetitions(field), 1):
                _gather(self, field, number, repetition, out, seen, origin)


class Part:
    """One repetition of a field, or one component of it: paths are relative (".1", ".4.2", ".")."""

    __slots__ = ("depth", "field", "number", "repetition", "segment")
    notation: Final = "hl7v2"

    def __init__(self, segment: Segment, field: int, number: int, repetition: Repetition, depth: int = 0) -> None:
        self.segment, self.field, self.number, self.repetition = segment, field, number, repetition
        self.depth = depth  # the component number, where this is a component

    @property
    def first(self) -> int:
        return self.repetition[0]

    @property
    def size(self) -> int:
        return sum(len(subs_of(component)) for component in self.repetition[2])

    @property
    def here(self) -> Place:
        return self.segment.frame.place_of((self.segment, self.field, self.number, self.depth, 0))

    def component(self, number: int) -> Part | None:
        """The component as a source whose components are its sub-components; None where it is empty."""
        components = self.repetition[2]
        if self.depth or number > len(components):
            return None
        base, subs = _base_of(self.repetition, number - 1), subs_of(components[number - 1])
        if not any(subs):
            return None
        text = self.segment.frame.delimiters.subcomponent.join(subs)
        return Part(self.segment, self.field, self.number, (base, text, [*subs], True), number)

    def get(self, path: HL7Path) -> Sequence[Datum]:
        if path.segment and (path.segment != self.segment.name or path.field != self.field):
            return _NOTHING
        if path.segment and (path.repetition not in (0, self.number) or self.depth):
            return _NOTHING
        datum = _pick(self.segment, self.field, self.number, self.repetition, path, self.depth)
        return _NOTHING if datum is None else (datum,)

    def each(self, path: HL7Path) -> Sequence[Part]:
        if path.segment:
            return ()
        if not path.component:
            return (self,)
        inner = self.component(path.component)
        return () if inner is None else (inner,)

    def leaves(self, seen: Seen = None) -> list[Datum]:
        out: list[Datum] = []
        _gather(self.segment, self.field, self.number, self.repetition, out, seen, self.first, self.depth)
        return out


def _gather(
    segment: Segment, field: int, number: int, repetition: Repetition, out: list[Datum], seen: Seen, origin: int,
    depth: int = 0,
) -> None:  # fmt: skip
    frame = segment.frame
    escape = frame.delimiters.escape
    leaf = repetition[0]
    for position, component in enumerate(repetition[2], 1):
        for offset, text in enumerate((component,) if isinstance(component, str) else component, 1):
            if text and (seen is None or not seen[leaf - origin]):
                key = (segment, field, number, depth or position, position if depth else offset)
                plain = escape not in text and text != NULL
                out.append(Datum(text, leaf, frame, key) if plain else _datum(segment, text, leaf, key))
            leaf += 1


def _datum(segment: Segment, text: str, leaf: int, key: Key, span: int = 1) -> Datum:
    frame = segment.frame
    if text == NULL:
        return Datum("", leaf, frame, key, span, null=True)
    escape = frame.delimiters.escape
    if escape in text and not (key[1] < 3 and segment.name in HEADERS):
        text = unescape(text, frame.delimiters, frame.codec)
    return Datum(text, leaf, frame, key, span)


def _pick(
    segment: Segment, field: int, number: int, repetition: Repetition, path: HL7Path, depth: int = 0
) -> Datum | None:
    """What the path names inside one repetition (or, with `depth`, inside one component)."""
    first, text, components, flat = repetition
    wanted = path.component
    if not wanted:
        if not text:
            return None
        if _is_one_leaf(components):
            return _datum(segment, text, first, (segment, field, number, depth or 1, 1))
        span = sum(len(subs_of(component)) for component in components)
        key: Key = (segment, field, number, depth, 0)
        return Datum(text, first, segment.frame, key, span)
    if wanted > len(components):
        return None
    if flat and not depth:  # most components are one leaf
        text = first_of(components[wanted - 1])
        if not text or path.subcomponent > 1:
            return None
        return _datum(segment, text, first + wanted - 1, (segment, field, number, wanted, 1))
    base, subs = _base_of(repetition, wanted - 1), subs_of(components[wanted - 1])
    sub = path.subcomponent or 1
    if sub > len(subs) or not subs[sub - 1]:
        return None
    key = (segment, field, number, depth, wanted) if depth else (segment, field, number, wanted, sub)
    return _datum(segment, subs[sub - 1], base + sub - 1, key)


class Group:
    """A run of segments: a whole message, or a group that `each` found in one. Is a `Source`."""

    __slots__ = ("_index", "segments")
    notation: Final = "hl7v2"

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self._index: dict[str, list[Segment]] | None = None

    @property
    def index(self) -> dict[str, list[Segment]]:
        """Name -> the segments of that name, in order."""
        if self._index is None:
            self._index = {}
            for segment in self.segments:
                self._index.setdefault(segment.name, []).append(segment)
        return self._index

    @property
    def first(self) -> int:
        return self.segments[0].first if self.segments else 0

    @property
    def size(self) -> int:
        if not self.segments:
            return 0
        last = self.segments[-1]
        return last.first + last.size - self.first

    @property
    def here(self) -> Place:
        return self.segments[0].here

    def named(self, path: HL7Path) -> Sequence[Segment]:
        """The segments that the path names in this scope."""
        found: Sequence[Segment] = self.index.get(path.segment, ())
        return found[path.occurrence - 1 : path.occurrence] if path.occurrence else found

    def get(self, path: HL7Path) -> Sequence[Datum]:
        found = self.index.get(path.segment)
        if found is None:
            return _NOTHING
        out: list[Datum] = []
        for segment in found[path.occurrence - 1 : path.occurrence] if path.occurrence else found:
            segment.collect(path, out)
        return out

    def each(self, path: HL7Path) -> Sequence[Segment | Part | Group]:
        if path.group:
            return list(self.groups(path))
        named = self.named(path)
        return [part for segment in named for part in segment.parts(path)] if path.field else named

    def groups(self, path: HL7Path) -> Iterator[Group]:
        """See `hl7v2_path` for what a group is."""
        segments = self.segments
        starts = [i for i, segment in enumerate(segments) if segment.name == path.segment]
        led = [_led(segments, start, path.lead) for start in starts]
        for n, start in enumerate(starts):
            end = led[n + 1] if n + 1 < len(starts) else len(segments)
            if path.members is not None:
                end = _run(segments, start, end, path.members)
            yield Group(segments[led[n] : end])

    def leaves(self, seen: Seen = None) -> list[Datum]:
        out: list[Datum] = []
        origin = self.first
        for segment in self.segments:
            segment.gather(out, seen, origin)
        return out


def _led(segments: Sequence[Segment], start: int, lead: tuple[str, ...]) -> int:
    for name in reversed(lead):
        if start and segments[start - 1].name == name:
            start -= 1
    return start


def _run(segments: Sequence[Segment], start: int, end: int, members: frozenset[str]) -> int:
    at = start + 1
    while at < end and (segments[at].name in members or segments[at].name[0] == "Z"):
        at += 1
    return at


class Message(Group):
    """One message, with the bytes that it came in. `charset` is MSH-18 as declared, `codec` what Python calls it."""

    __slots__ = ("body", "bom", "charset", "findings", "frame")

    def __init__(self, body: bytes, delimiters: Delimiters, charset: str, codec: str) -> None:
        super().__init__([])
        self.frame = Frame(delimiters, codec)
        self.body, self.charset = body, charset
        self.bom = b""
        self.findings: tuple[Finding, ...] = ()

    @property
    def delimiters(self) -> Delimiters:
        return self.frame.delimiters

    @property
    def codec(self) -> str:
        return self.frame.codec

    def field(self, segment: str, number: int) -> str:
        """Raw text of a field of the first such segment; empty where there is none."""
        found = self.index.get(segment)
        return found[0].fields[number] if found and number < len(found[0].fields) else ""

    def place_of(self, key: Key) -> Place:
        return self.frame.place_of(key)


@lru_cache(maxsize=16384)
def _place(name: str, occurrence: int, field: int, repetition: int, component: int, sub: int) -> Place:
    """Kept: the messages of a sender name the same places again and again."""
    path = name if occurrence == 1 else f"{name}[{occurrence}]"
    if field:
        path += f"-{field}" if repetition < 2 else f"-{field}[{repetition}]"
    if component:
        path += f".{component}.{sub}" if sub else f".{component}"
    return Place(notation="hl7v2", path=path)
