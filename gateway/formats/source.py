"""What every reader gives to mapping: values with their places, whatever the format.

A *leaf* is the smallest value of a format: an HL7 sub-component, a cell, an XML text or attribute, a JSON scalar.
Leaves have numbers that are unique inside one input and rise in document order, so that "what was read" is a
`bytearray` and the loss report is what stayed zero:

    seen = bytearray(source.size)
    for datum in source.get(path):
        seen[datum.leaf - source.first : datum.leaf - source.first + datum.span] = b"\\x01" * datum.span
    unread = list(source.leaves(seen))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from gateway.message import Place

Scalar = str | Decimal | bool | int


class Origin(Protocol):
    """Whoever can say where a key of its own lies."""

    def place_of(self, key: Any) -> Place: ...


class Datum(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One value and where it came from.

    `leaf` is the number of its first leaf and `span` how many leaf numbers it covers (the whole text of an HL7
    field covers all of its sub-components). `null` is an explicit "delete this" (`""` of HL7 v2, `null` of
    JSON); `value` is then empty. `place` is built when asked for: nobody pays for places that are not shown.
    """

    value: Scalar
    leaf: int
    origin: Origin
    key: Any
    span: int = 1
    null: bool = False

    @property
    def place(self) -> Place:
        return self.origin.place_of(self.key)


class Path(Protocol):
    """A compiled path. Opaque to its users, apart from the text that it was made from."""

    @property
    def text(self) -> str: ...


class Source(Protocol):
    """An input, or a part of one. Leaf numbers of a part lie in range(first, first + size) of the whole."""

    @property
    def notation(self) -> str: ...
    @property
    def first(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def here(self) -> Place:
        """The place of the whole source: "OBX[3]", "row 7", an XPath."""
        ...

    def get(self, path: Any) -> Sequence[Datum]:
        """Every value under the path, in document order; empty values are left out, explicit nulls are not."""
        ...

    def each(self, path: Any) -> Sequence[Source]:
        """The parts under the path: segments, groups, repetitions, rows, elements, array members."""
        ...

    def leaves(self, seen: bytearray | None = None) -> Iterable[Datum]:
        """Every non-empty leaf exactly once, in document order; without those marked in `seen`, if it is given.

        `seen[n]` is the mark of leaf number `first + n`.
        """
        ...
