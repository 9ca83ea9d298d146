"""What one run of a mapping over one item keeps: values under way, lineage, what was read, findings.

Values carry the data that they came from, so that lineage and the loss report need no second pass. A place counts
as read only if its value reached a resource: conditions, keyed ids and look-ups read, but they carry nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from gateway.errors import finding
from gateway.formats.source import Datum, Source
from gateway.message import Context, Finding, Lineage, Place

How = Literal["mapped", "derived", "defaulted", "looked_up"]
NO_DATA: Final[tuple[Datum, ...]] = ()


class Got:
    """A value under way: what it is, the data that it came from, how it was made, and whether it lost something.

    `lossy` is set by a function after which the source value can no longer be told (a hash, a many-to-one code,
    a date cut out of an instant): then the place stays in the loss report unless somebody else reads it whole.
    """

    __slots__ = ("data", "how", "lossy", "value")

    def __init__(self, value: Any, data: tuple[Datum, ...] = NO_DATA, how: How = "mapped") -> None:
        self.value = value
        self.data = data
        self.how: How = how
        self.lossy = False


def derived(value: Any, data: tuple[Datum, ...]) -> Got:
    """A value that follows from the data and does not tell them: an id, a reference."""
    got = Got(value, data, "derived")
    got.lossy = True
    return got


Read = Callable[["Run", Source], Got | None]
"""A compiled expression: from the run and the place where we stand to a value, or None where there is none."""


class Problem(Exception):
    """Raised by a mapping function: becomes a finding at the place of the value."""

    def __init__(self, code: str, **args: str) -> None:
        super().__init__(code)
        self.code = code
        self.args_ = args


class Scope:
    """Where we stand inside `each`: the part of the input, its position from 1, and the scope around it."""

    __slots__ = ("here", "outer", "position")

    def __init__(self, here: Source, position: int, outer: Scope | None) -> None:
        self.here = here
        self.position = position
        self.outer = outer


class Run:
    """The state of one run. Nothing in it outlives the item.

    `values` are the options of the sender, or what the caller of `render` gives; `today` is the local day of the
    recorded clock, on which dated tables and registry entries are read unless the mapping names another day.
    `repeats` are data that said the same as others that were preferred to them. `base` is the part of the input that
    the resource under way is made from.
    """

    __slots__ = (
        "base", "context", "findings", "made", "memo", "notes", "repeats", "root", "scope", "seen", "today", "values",
    )  # fmt: skip

    def __init__(self, context: Context, root: Source, values: Mapping[str, str], today: str) -> None:
        self.context = context
        self.root = root
        self.values = values
        self.today = today
        self.seen = bytearray(root.size)
        self.notes: list[tuple[str, Got]] = []
        self.findings: list[Finding] = []
        self.repeats: list[tuple[tuple[Datum, ...], tuple[Datum, ...]]] = []
        self.made: dict[tuple[str, int, int], tuple[str, tuple[Datum, ...]]] = {}
        self.memo: dict[object, Got | None] = {}
        self.scope = Scope(root, 1, None)
        self.base: Source = root

    def note(self, element: str, got: Got) -> None:
        """Record which data made the element. `forget` takes it back where the element is left out after all."""
        self.notes.append((element, got))

    def forget(self, count: int) -> None:
        """Keep only the first notes."""
        del self.notes[count:]

    def lineage(self) -> tuple[Lineage, ...]:
        """What made each element; marks the data as read."""
        made = []
        known: dict[tuple[int, int], Place] = {}  # keys and references name the same places again and again
        seen, first = self.seen, self.root.first
        for element, got in self.notes:
            places = []
            marks = not got.lossy and got.how != "defaulted"
            for datum in got.data:
                leaf, span = datum.leaf, datum.span
                place = known.get((leaf, span))
                if place is None:
                    place = known[leaf, span] = datum.place
                places.append(place)
                if marks and span == 1:
                    seen[leaf - first] = 1
                elif marks:
                    seen[leaf - first : leaf - first + span] = b"\x01" * span
            made.append(Lineage(element=element, places=tuple(places), how=got.how))
            if got.how == "defaulted":
                self._tell_default(element)
        return tuple(made)

    def _tell_default(self, element: str) -> None:
        kind, _, path = element.partition("#")
        location = f"{kind.partition('/')[0]}.{path}"
        self.findings.append(finding("GW-MAP-024", None, location, element=location))

    def problem(self, code: str, place: Place | None, **args: str) -> None:
        """Record a finding, once for one place."""
        found = finding(code, place, **args)
        if found not in self.findings:
            self.findings.append(found)

    def stand(self, here: Source, position: int) -> None:
        """Begin a resource at its part of the input."""
        self.base = here
        self.enter(here, position)

    def enter(self, here: Source, position: int) -> None:
        """Go into one repetition."""
        self.scope = Scope(here, position, self.scope)

    def leave(self) -> None:
        """Come back out of it."""
        assert self.scope.outer is not None
        self.scope = self.scope.outer
