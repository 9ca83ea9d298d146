"""Paths into HL7 v2, as an analyst writes them.

    PID-3.1        component 1 of every repetition of field 3 of every PID in scope
    PID-3[2].1.1   sub-component 1 of component 1 of the second repetition
    OBX[3]-5       field 5 of the third OBX in scope: its whole text where it has several components
    ZXX            the whole text of the segment
    .1  .4.2  .    inside a repetition or component given by `each`: its components, its own text

A component with sub-components, asked for without one, is its first sub-component: what a receiver that knows the
component as a primitive reads (chapter 2, section 2.8.2, "receivers ignore what they do not expect"). The others
stay unread, so the loss report lists them.

For `each` a path may also name a group of segments:

    ORC..            from every ORC to just before the next ORC, or to the end of the scope
    OBR{OBX,NTE}     from every OBR over the listed segments; the first segment that is neither listed nor a
                     Z-segment ends the group, as the next OBR does
    ORC?OBR{OBX}     the same, and an ORC standing directly before the OBR belongs to its group
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from gateway.errors import Misconfigured

_FIELD: Final = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d{1,6})\])?(?:-(\d{1,3})(?:\[(\d{1,6})\])?(?:\.(\d{1,3})(?:\.(\d{1,3}))?)?)?"
)
_RELATIVE: Final = re.compile(r"\.?(\d{1,3})(?:\.(\d{1,3}))?")
_GROUP: Final = re.compile(r"((?:[A-Z][A-Z0-9]{2}\?)*)([A-Z][A-Z0-9]{2})(?:(\.\.)|\{([A-Z0-9, ]*)\})")


class HL7Path(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers count from 1; 0 means "not named". `segment` is empty for a relative path."""

    text: str
    segment: str = ""
    occurrence: int = 0
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0
    group: bool = False
    lead: tuple[str, ...] = ()
    members: frozenset[str] | None = None  # None: everything up to the next of the same name


@lru_cache(maxsize=8192)
def compile(path: str) -> HL7Path:
    """The path, or `Misconfigured` (GW-FMT-040) that quotes it."""
    text = path.strip()
    if text == ".":
        return HL7Path(text=text)
    found = _RELATIVE.fullmatch(text)
    if found:
        return _checked(HL7Path(text=text, component=int(found[1]), subcomponent=int(found[2] or 0)))
    found = _FIELD.fullmatch(text)
    if found:
        _no_zero(text, found.groups()[1:])
        occurrence, field, repetition, component, sub = (int(n or 0) for n in found.groups()[1:])
        return HL7Path(
            text=text,
            segment=found[1],
            occurrence=occurrence,
            field=field,
            repetition=repetition,
            component=component,
            subcomponent=sub,
        )
    found = _GROUP.fullmatch(text)
    if found is None:
        raise Misconfigured("GW-FMT-040", path=path, notation="HL7 v2")
    lead = tuple(name for name in found[1].split("?") if name)
    members = None if found[3] else frozenset(found[4].replace(" ", "").split(",")) - {""}
    return HL7Path(text=text, segment=found[2], group=True, lead=lead, members=members)


def _checked(path: HL7Path) -> HL7Path:
    _no_zero(path.text, (str(path.component),))
    return path


def _no_zero(text: str, numbers: tuple[str | None, ...]) -> None:
    if any(n is not None and int(n) == 0 for n in numbers):
        raise Misconfigured("GW-FMT-040", path=text, notation="HL7 v2")
