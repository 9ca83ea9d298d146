"""The standard's tables per version, compiled once from `hl7apy`'s data when a version is first seen.

`hl7apy` itself never runs on a message. Corrected here: choice groups are choices, v2.1 to v2.4 time stamps are
checked as time stamps, fields that its data leave undescribed accept anything.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any, Final, NamedTuple

from gateway.formats.hl7v2_datatypes import FIELD_LIMITS, LIMITS, TESTS
from gateway.formats.hl7v2_structure import Structure

VERSIONS: Final = {
    "2.1": "v2_1", "2.2": "v2_2", "2.3": "v2_3", "2.3.1": "v2_3_1", "2.4": "v2_4", "2.5": "v2_5", "2.5.1": "v2_5_1",
    "2.6": "v2_6", "2.7": "v2_7", "2.7.1": "v2_7", "2.8": "v2_8", "2.8.1": "v2_8_1", "2.8.2": "v2_8_2",
}  # fmt: skip
NEAREST: Final = "2.8.2"
"""What a version that is not listed is checked against."""

_BEFORE_WITHDRAWAL: Final = "2.6"
"""v2.7 withdrew messages that are still sent under its number (ORM, some merges): their last structure serves."""

_SHARED: Final = {
    "ADT_A01": "A04 A08 A13", "ADT_A05": "A14 A28 A31", "ADT_A06": "A07", "ADT_A09": "A10 A11 A12",
    "ADT_A21": "A22 A23 A25 A26 A27 A29 A32 A33", "ADT_A30": "A34 A35 A36 A46 A47 A48 A49",
    "ADT_A39": "A40 A41 A42", "ADT_A43": "A44", "ADT_A50": "A51", "ADT_A52": "A53", "ADT_A54": "A55",
    "ADT_A61": "A62", "SIU_S12": "S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
    "SRM_S01": "S02 S03 S04 S05 S06 S07 S08 S09 S10 S11", "MDM_T01": "T03 T05 T07 T09 T11",
    "MDM_T02": "T04 T06 T08 T10", "REF_I12": "I13 I14 I15", "PGL_PC6": "PC7 PC8", "PPR_PC1": "PC2 PC3",
    "ORU_R30": "R31 R32", "BAR_P01": "P05", "RDE_O11": "O25",
}  # fmt: skip
_BY_EVENT: Final = {
    f"{structure[:3]}_{event}": structure for structure, events in _SHARED.items() for event in events.split()
}


_OPEN: Final = frozenset({"HL70396", "HL70399"})
"""Tables whose published codes are patterns or a part of another standard: coding systems, countries."""


class Leaf(NamedTuple):
    """A primitive. `test` is None where any text will do; `codes` is None where no table binds."""

    datatype: str
    test: Callable[[str], bool] | None
    codes: frozenset[str] | None
    table: str
    limit: int
    free: bool  # any text satisfies it: nothing to check


class Component(NamedTuple):
    """One component: a leaf, or sub-components."""

    required: bool
    leaf: Leaf | None
    subs: tuple[Leaf, ...]


class Field(NamedTuple):
    """One field. Exactly one of `leaf` and `components` is set, or neither where anything goes."""

    name: str
    required: bool
    most: int  # -1: unbounded
    datatype: str
    leaf: Leaf | None
    components: tuple[Component, ...]
    free: bool  # a leaf that any text satisfies: nothing to check
    varies: bool
    table: str
    codes: frozenset[str] | None
    withdrawn: bool
    needed: tuple[int, ...] = ()  # numbers of required components
    watched: tuple[tuple[int, Component], ...] = ()  # number and component, where not any text will do


def _watched(part: Component) -> bool:
    """Whether some text without sub-components could be wrong in it."""
    if part.leaf is None:
        return any(not leaf.free for leaf in part.subs[:1])
    return part.required or not part.leaf.free


_CONDITIONAL: Final = frozenset({("OBX", 4)})
"""Fields that the tables call required and the standard conditional."""

_WITHDRAWN: Final = Field("", False, -1, "", None, (), True, True, "", None, True)
"""A number that the version's tables leave out: the field was withdrawn, old senders still fill it."""


def _numbered(parts: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Fields or components with the number in the table's own name for them: "EVN_2", "CX_4"; else by position."""
    if parts and isinstance(parts[0], str):  # a list of one that lost its comma in the data
        parts = (parts,)
    for position, part in enumerate(parts, 1):
        number = str(part[0]).rpartition("_")[2]
        yield (int(number) if number.isdigit() else position), part


class Version:
    """One version of the standard. Segments and structures are compiled when they are first asked for."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.name = name
        self.late = tuple(int(n) for n in name.split(".")) >= (2, 7)
        self._module = module
        self._codes: Mapping[str, Any] = getattr(module, "TABLES", None) or {}
        self._segments: dict[str, tuple[Field, ...] | None] = {}
        self._structures: dict[str, Structure | None] = {}
        self._leaves: dict[tuple[str, str], Leaf] = {}

    def segment(self, name: str) -> tuple[Field, ...] | None:
        """The fields from 1 on; None where the version has no such segment."""
        if name not in self._segments:
            reference = self._module.SEGMENTS.get(name)
            made = None
            if reference is not None:
                known = {
                    n: self._field(name, n, raw) for n, raw in _numbered(reference[1] if len(reference) > 1 else ())
                }
                made = tuple(known.get(n, _WITHDRAWN) for n in range(1, max(known, default=0) + 1))
            self._segments[name] = made
        return self._segments[name]

    def structure(self, code: str, event: str, declared: str) -> tuple[Structure | None, bool]:
        """The structure of a message: the declared one, else the one that the event shares; None if unknown.

        The second value tells that it was borrowed from the last version that had it.
        """
        for name in (declared, f"{code}_{event}", _BY_EVENT.get(f"{code}_{event}", ""), code):
            if name and name not in self._structures:
                reference = self._module.MESSAGES.get(name)
                self._structures[name] = Structure(name, reference) if reference is not None else None
            if name and self._structures[name] is not None:
                return self._structures[name], False
        before = version(_BEFORE_WITHDRAWAL) if self.late else None
        return (before.structure(code, event, declared)[0], True) if before is not None else (None, False)

    def datatype(self, name: str) -> Field | None:
        """A datatype as a field, for OBX-5; None where the version has none of that name."""
        if name in TESTS or name in self._module.BASE_DATATYPES:
            return self._made("", False, 1, name, name, "", None)
        parts = self._module.DATATYPES_STRUCTS.get(name)
        return self._made("", False, 1, name, None, "", parts) if parts else None

    def table(self, name: str) -> frozenset[str] | None:
        """The codes of a table; None where the standard publishes none."""
        row = self._codes.get(name)
        return frozenset(row[1]) if row and len(row[1]) > 1 else None

    def _field(self, segment: str, number: int, raw: Any) -> Field:
        name, reference, (least, most), _ = raw
        if not reference or len(reference) < 5:
            return Field(name, least > 0, most, "", None, (), True, False, "", None, False)
        primitive = reference[0] == "leaf"
        table = reference[4] or ""
        required = least > 0 and (segment, number) not in _CONDITIONAL
        datatype, parts = reference[2], None if primitive else reference[1]
        made = self._made(reference[3] or name, required, most, datatype, datatype if primitive else None, table, parts)
        limits = FIELD_LIMITS.get((segment, number))
        if limits and made.leaf:
            leaf = made.leaf._replace(limit=limits[self.late], free=False)
            made = made._replace(leaf=leaf, free=False)
        return made

    def _made(
        self, name: str, required: bool, most: int, datatype: str, primitive: str | None, table: str, parts: Any
    ) -> Field:
        withdrawn = datatype == "WD" or most == 0
        varies = datatype in ("varies", "-", None, "ANY")
        if primitive is not None or varies or not parts:
            leaf = self._leaf(primitive or "ST", table)
            free = withdrawn or varies or leaf.free
            return Field(name, required, most, datatype or "", leaf, (), free, varies, table, None, withdrawn)
        known = {n: self._component(part, datatype, n) for n, part in _numbered(parts)}
        anything = Component(False, self._leaf("ST", ""), ())
        components = tuple(known.get(n, anything) for n in range(1, max(known, default=0) + 1))
        codes = self.table(table) if table else None
        needed = tuple(n for n, part in enumerate(components, 1) if part.required)
        watched = tuple((n, part) for n, part in enumerate(components, 1) if _watched(part))
        return Field(
            name, required, most, datatype, None, components, False, False, table, codes, withdrawn, needed, watched
        )

    def _component(self, part: Any, owner: str, number: int) -> Component:
        _, reference, (least, _), _ = part
        if not reference or len(reference) < 5:
            return Component(False, self._leaf("ST", ""), ())
        if owner == "TS":
            return Component(number == 1, self._leaf("DTM" if number == 1 else "ID", ""), ())
        if reference[0] == "leaf":
            return Component(least > 0, self._leaf(reference[2], reference[4] or ""), ())
        inner = reference[2]
        known = {n: self._sub(sub, inner, n) for n, sub in _numbered(reference[1] or ())}
        subs = tuple(known.get(n, self._leaf("ST", "")) for n in range(1, max(known, default=0) + 1))
        return Component(least > 0, None, subs)

    def _sub(self, part: Any, owner: str, number: int) -> Leaf:
        reference = part[1]
        if owner == "TS" and number == 1:
            return self._leaf("DTM", "")
        if not reference or reference[0] != "leaf":
            return self._leaf("ST", "")
        return self._leaf(reference[2], reference[4] or "")

    def _leaf(self, datatype: str, table: str) -> Leaf:
        key = (datatype, table)
        if key not in self._leaves:
            binding = table and datatype in ("ID", "IS") and table not in _OPEN
            codes = self.table(table) if binding else None
            limit = LIMITS.get(datatype, 0)
            if self.late and datatype in ("NM", "SI"):
                limit = 0
            test = TESTS.get(datatype)
            free = test is None and codes is None and not limit
            self._leaves[key] = Leaf(datatype, test, codes, table, limit, free)
        return self._leaves[key]


@cache
def version(name: str) -> Version | None:
    """The tables of a version; None where we have none for it."""
    module = VERSIONS.get(name)
    return Version(name, importlib.import_module(f"hl7apy.{module}")) if module else None
