"""Whether a message is what its declared version says it should be: every fault at once, each with its place.

Checked: structure and groups, unknown segments, required and surplus fields, repetitions, components, datatypes,
lengths, tables, and the conditions of `hl7v2_conditions`. A table that the standard leaves to users ("suggested
values") gives a warning like any other: policy may raise or drop findings by code, the check does not decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gateway.errors import finding
from gateway.formats.hl7v2_conditions import conditions
from gateway.formats.hl7v2_message import HEADERS, Message, Segment, first_of, subs_of
from gateway.formats.hl7v2_message import Component as Part
from gateway.formats.hl7v2_tables import NEAREST, Component, Field, Leaf, Version, version
from gateway.formats.hl7v2_text import NULL, unescape
from gateway.message import Finding, Place

MAX_FINDINGS: Final = 500
_ENVELOPE: Final = frozenset({"FHS", "BHS", "BTS", "FTS"})


class _Check:
    """One message being checked."""

    def __init__(self, message: Message, tables: Version) -> None:
        self.message, self.tables = message, tables
        self.found: list[Finding] = []
        self.escape = message.delimiters.escape

    def add(self, code: str, segment: Segment, number: int = 0, rep: int = 0, comp: int = 0, sub: int = 0,
            **args: str) -> None:  # fmt: skip
        if len(self.found) < MAX_FINDINGS:
            place = self.message.place_of((segment, number, rep, comp, sub))
            self.found.append(finding(code, place, **args))

    # --- one segment

    def segment(self, segment: Segment) -> None:
        name = segment.name
        specs = self.tables.segment(name)
        if specs is None:
            if name[0] != "Z":
                self.add("GW-FMT-025", segment, name=name, version=self.tables.name)
            return
        fields, present = segment.fields, len(segment.fields)
        header = name in HEADERS
        for number, spec in enumerate(specs, 1):
            text = fields[number] if number < present else ""
            if not text:
                if spec.required:
                    self.required(segment, number, spec)
            elif spec.free and text.isalnum() and not spec.varies:
                continue
            elif not (header and number < 3):
                self.field(segment, number, text, spec)
        if present > len(specs) + 1:
            for number in range(len(specs) + 1, present):
                if fields[number]:
                    self.add("GW-FMT-028", segment, number, last=str(len(specs)), version=self.tables.name)

    def required(self, segment: Segment, number: int, spec: Field) -> None:
        place = Place(notation="hl7v2", path=f"{segment.here.path}-{number}")
        if len(self.found) < MAX_FINDINGS and not spec.withdrawn:
            self.found.append(finding("GW-FMT-026", place, field=_words(spec.name)))

    # --- one field

    def field(self, segment: Segment, number: int, text: str, spec: Field) -> None:
        if spec.varies:
            if segment.name == "OBX" and number == 5:
                self.observed(segment, number)
            return
        leaf = spec.leaf
        if leaf is not None and text.isalnum():
            self.leaf(segment, number, 1, 1, 1, text, leaf)
            return
        repetitions = segment.repetitions(number)
        if spec.most == 1 and len(repetitions) > 1:
            self.add("GW-FMT-027", segment, number, field=_words(spec.name), most="1")
        for rep, (_, whole, components, flat) in enumerate(repetitions, 1):
            if not whole or whole == NULL:
                continue
            if leaf is not None:
                self.primitive(segment, number, rep, components, leaf)
            else:
                self.composite(segment, number, rep, components, spec, flat)

    def observed(self, segment: Segment, number: int) -> None:
        kind = segment.fields[2] if len(segment.fields) > 2 else ""
        spec = self.tables.datatype(kind) if kind else None
        if spec is None or spec.free:
            return
        for rep, (_, whole, components, flat) in enumerate(segment.repetitions(number), 1):
            if not whole or whole == NULL:
                continue
            if spec.leaf is not None:
                self.primitive(segment, number, rep, components, spec.leaf)
            else:
                self.composite(segment, number, rep, components, spec, flat)

    def primitive(self, segment: Segment, number: int, rep: int, components: list[Part],
                  leaf: Leaf) -> None:  # fmt: skip
        text = leaf.datatype in ("TX", "FT")
        if len(components) > 1 and not text and any(map(any, components[1:])):
            self.add("GW-FMT-032", segment, number, rep, actual=str(len(components)), most="1")
        self.leaf(segment, number, rep, 1, 1, first_of(components[0]), leaf)

    def composite(self, segment: Segment, number: int, rep: int, components: list[Part],
                  spec: Field, flat: bool) -> None:  # fmt: skip
        specs, given = spec.components, len(components)
        # Most components are one leaf that may be any text: only the others are looked at.
        for comp, part in spec.watched if flat else enumerate(specs, 1):
            if comp > given:
                break
            self.component(segment, number, rep, comp, subs_of(components[comp - 1]), part)
        if given > len(specs) and any(map(any, components[len(specs) :])):
            self.add("GW-FMT-032", segment, number, rep, actual=str(given), most=str(len(specs)))
        for comp in spec.needed:
            if comp > given:
                self.add("GW-FMT-033", segment, number, rep, component=str(comp), datatype=spec.datatype)
        if spec.codes and spec.datatype in ("CWE", "CNE", "CE") and self._own_table(components, spec.table):
            code = first_of(components[0])
            if code and code not in spec.codes:
                self.add("GW-FMT-031", segment, number, rep, 1, 1, value=code[:40], table=spec.table[3:])

    @staticmethod
    def _own_table(components: list[Part], table: str) -> bool:
        system = first_of(components[2]) if len(components) > 2 else ""
        return system == table or (system == "" and len(components) == 1)

    def component(self, segment: Segment, number: int, rep: int, comp: int, subs: list[str], part: Component) -> None:
        if part.leaf is not None:
            if subs[0]:
                self.leaf(segment, number, rep, comp, 1, subs[0], part.leaf)
            elif part.required:
                self.add("GW-FMT-033", segment, number, rep, component=str(comp), datatype="")
            if len(subs) > 1 and any(subs[1:]):
                self.add("GW-FMT-032", segment, number, rep, comp, actual=str(len(subs)), most="1")
            return
        for sub, (text, leaf) in enumerate(zip(subs, part.subs, strict=False), 1):
            if text and not leaf.free:
                self.leaf(segment, number, rep, comp, sub, text, leaf)
        if len(subs) > len(part.subs):
            self.add("GW-FMT-032", segment, number, rep, comp, actual=str(len(subs)), most=str(len(part.subs)))

    def leaf(self, segment: Segment, number: int, rep: int, comp: int, sub: int, text: str, leaf: Leaf) -> None:
        datatype, test, codes, table, limit, _ = leaf
        if text == NULL:
            return
        if test is not None and not test(text):
            self.add("GW-FMT-029", segment, number, rep, comp, sub, value=text[:40], datatype=datatype)
        if codes is not None and text not in codes and self._plain(text) not in codes:
            self.add("GW-FMT-031", segment, number, rep, comp, sub, value=text[:40], table=table[3:])
        if limit and len(text) > limit and len(self._plain(text)) > limit:
            actual = str(len(self._plain(text)))
            self.add("GW-FMT-030", segment, number, rep, comp, sub, actual=actual, limit=str(limit))

    def _plain(self, text: str) -> str:
        return unescape(text, self.message.delimiters, self.message.codec) if self.escape in text else text

    # --- the whole message

    def structure(self) -> None:
        code, event, declared = _type(self.message)
        header = self.message.segments[0]
        if not code:
            self.add("GW-FMT-026", header, 9, field="message type")
            return
        structure, borrowed = self.tables.structure(code, event, declared)
        if structure is None:
            self.add("GW-FMT-021", header, 9, type=f"{code}^{event}"[:40], version=self.tables.name)
            return
        segments = [segment for segment in self.message.segments if segment.name not in _ENVELOPE]
        for trouble in structure.check([segment.name for segment in segments]):
            self._TROUBLES[trouble.kind](self, segments, trouble.index, trouble.name, structure.name)
        if borrowed:  # the declared version does not know the message: its order cannot be wrong, only unusual
            self.found[:] = [msgspec.structs.replace(each, severity="warning") for each in self.found]

    def _missing(self, segments: list[Segment], index: int, name: str, structure: str) -> None:
        before = segments[index].here.path if index < len(segments) else "-"
        place = Place(notation="hl7v2", path=name.split(" | ")[0])
        self.found.append(finding("GW-FMT-022", place, name=name, before=before, structure=structure))

    def _misplaced(self, segments: list[Segment], index: int, name: str, structure: str) -> None:
        self.add("GW-FMT-023", segments[index], name=name, structure=structure)

    def _foreign(self, segments: list[Segment], index: int, name: str, structure: str) -> None:
        if self.tables.segment(name) is not None:  # otherwise it is reported as unknown
            self.add("GW-FMT-024", segments[index], name=name, structure=structure)

    _TROUBLES: Final[dict[str, Callable[[_Check, list[Segment], int, str, str], None]]] = {
        "missing": _missing,
        "misplaced": _misplaced,
        "foreign": _foreign,
    }


def _type(message: Message) -> tuple[str, str, str]:
    """MSH-9 as (code, event, structure)."""
    parts = message.field("MSH", 9).split(message.delimiters.component)
    code, event, declared = [*parts, "", "", ""][:3]
    return code, event, declared


def _words(name: str) -> str:
    return name.replace("_", " ").lower()


def check(message: Message) -> list[Finding]:
    """Every finding about the message, structure first, then field by field. Never raises for a read message."""
    declared = message.field("MSH", 12).split(message.delimiters.component)[0].strip()
    tables = version(declared)
    checking = _Check(message, tables or _nearest())
    if tables is None:
        header = message.segments[0]
        checking.add("GW-FMT-020", header, 12, version=declared[:12] or "-", nearest=NEAREST)
    checking.structure()
    for segment in message.segments:
        if segment.name not in _ENVELOPE:
            checking.segment(segment)
    for code, place, args in conditions(message):
        checking.found.append(finding(code, place, **args))
    return checking.found[:MAX_FINDINGS]


def _nearest() -> Version:
    found = version(NEAREST)
    assert found is not None
    return found
