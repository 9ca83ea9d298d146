"""What the DITAS stand-in checks of a laboratory batch: plain JSON, camelCase, every message with its identifiers.

Names known from the published description: `data[]` of { msgID, person, composition { admission,
generalLaboratoryResult } }; each message carries centre, university and physician. Further names are our reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.errors import GatewayError
from gateway.formats import json

_ITEM: Final = ("msgID", "person", "composition")
_CAMEL: Final = re.compile(r"[a-z][A-Za-z0-9]*")
_NEEDED: Final = {
    "msgID": ("systemID", "healthCareFacilityID", "universityID"),
    "composition": ("admission", "generalLaboratoryResult"),
}
_DOCTORS: Final = ("admittingDoctor", "attendingDoctor", "referringDoctor")


def items(body: bytes) -> list[Any]:
    """The messages of a batch that is JSON with `data[]`; none elsewhere."""
    try:
        found = json.read(body)
    except GatewayError:
        return []
    data = found.get("data") if isinstance(found, dict) else None
    return data if isinstance(data, list) else []


def problems(body: bytes) -> list[str]:
    """What is wrong, in the words of the published categories; never a value."""
    found = items(body)
    if not found:
        return ["Structure: data[] is empty or missing"]
    return [f"{what} (data[{number}])" for number, each in enumerate(found) for what in _of_item(each)]


def _of_item(item: Any) -> Iterator[str]:
    if not isinstance(item, dict) or tuple(item) != _ITEM:
        yield "Structure: a message has msgID, person and composition"
        return
    for name in _names(item):
        if not _CAMEL.fullmatch(name) and name != "msgID":
            yield "Structure: names are written in camelCase"
            return
    for part, names in _NEEDED.items():
        given = item[part] if isinstance(item[part], dict) else {}
        for name in names:
            if not given.get(name):
                yield f"Mandatory: {part}.{name} is mandatory"
    admission = item["composition"].get("admission") if isinstance(item["composition"], dict) else None
    if isinstance(admission, dict) and not any(_identified(admission.get(name)) for name in _DOCTORS):
        yield "Mandatory: a physician's identifier is mandatory"


def _identified(doctor: Any) -> bool:
    identifier = doctor.get("identifier") if isinstance(doctor, dict) else None
    return isinstance(identifier, dict) and bool(identifier.get("id"))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)
