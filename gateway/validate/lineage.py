"""From a place in what we made to the place in what the sender sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.message import Finding, Json, Lineage, Place
from gateway.validate.model import Model

_PART: Final = re.compile(r"([^.\[]+)(?:\[(\d+)\])?")


def json_way(location: str, resource: Json) -> list[str]:
    """The JSON members of a FHIRPath location: `Patient.deceased` is `deceasedBoolean` where that is there."""
    found: list[str] = []
    value: Any = resource
    for name, index in _PART.findall(location)[1:]:
        if type(value) is dict and name not in value:
            size = len(name)
            bare = (n.removeprefix("_") for n in value)
            name = next((n for n in bare if n.startswith(name) and n[size : size + 1].isupper()), name)
        value = value.get(name) if type(value) is dict else None
        found.append(f"{name}[{index}]" if index else name)
        if index:
            value = value[int(index)] if type(value) is list and int(index) < len(value) else None
    return found


def place_of(location: str | None, resource: Json, lineage: Sequence[Lineage]) -> Place | None:
    """The sender's place of an element: its own, or that of the nearest element around it that has one."""
    if location is None:
        return None
    prefix = f"{resource.get('resourceType')}/{resource.get('id', '')}#"
    known = {each.element[len(prefix) :]: each.places for each in lineage if each.element.startswith(prefix)}
    if not known:
        return None
    way = json_way(location, resource)
    for size in range(len(way), -1, -1):
        around = ".".join(way[:size])
        for name in (around, around.removesuffix("[0]")):
            if known.get(name):
                return known[name][0]
        below = [places for name, places in known.items() if around and name.startswith((around + ".", around + "["))]
        if size and below and below[0]:
            return below[0][0]
    return None


def placed(finding: Finding, resource: Json, lineage: Sequence[Lineage], model: Model) -> Finding:
    """The finding with the sender's place, and with the resource named in its location."""
    place = finding.place or place_of(finding.location, resource, lineage)
    return msgspec.structs.replace(finding, place=place) if place is not None else finding
