"""What the definitions of datatypes say in words only (FHIR R4 2.24), and Observation's vital signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway import fhirpath
from gateway.message import Json
from gateway.validate import references
from gateway.validate.pack import R4
from gateway.validate.run import Path, Run, shown

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")
_URI_SYSTEM: Final = "urn:ietf:rfc:3986"
_LOINC: Final = "http://loinc.org"

VITAL_SIGNS: Final[Mapping[str, str]] = {
    "85353-1": "vitalspanel",
    "9279-1": "resprate",
    "8867-4": "heartrate",
    "2708-6": "oxygensat",
    "8310-5": "bodytemp",
    "8302-2": "bodyheight",
    "9843-4": "headcircum",
    "29463-7": "bodyweight",
    "39156-5": "bmi",
    "85354-9": "bp",
}
"""LOINC code -> core profile that an Observation with that code SHALL keep (R4, vital signs profiles)."""


def attachment(value: Any, path: Path, run: Run) -> None:
    """Attachment.size is the number of bytes of the data."""
    size, data = value.get("size"), value.get("data")
    if type(size) is not int or size < 0 or type(data) is not str:
        return
    packed = "".join(data.split())
    found = len(packed) // 4 * 3 - (len(packed) - len(packed.rstrip("=")))
    if size != found:
        run.say("GW-VAL-066", path, args={"size": str(size), "found": str(found)})


def identifier(value: Any, path: Path, run: Run) -> None:
    """The system is absolute, and urn:ietf:rfc:3986 goes with a value that is a URI."""
    system, held = value.get("system"), value.get("value")
    if type(system) is str and system and not any(map(str.isspace, system)) and not _ABSOLUTE.match(system):
        run.say("GW-VAL-068", path, args={"system": shown(system)})
    if system == _URI_SYSTEM and type(held) is str and not _ABSOLUTE.match(held):
        run.say("GW-VAL-067", path, args={"value": shown(held)})


def coding(value: Any, path: Path, run: Run) -> None:
    """The system is absolute and names a code system."""
    system = value.get("system")
    if type(system) is not str or not system or any(map(str.isspace, system)):
        return
    if not _ABSOLUTE.match(system):
        run.say("GW-VAL-068", path, args={"system": shown(system)})
    elif "/ValueSet/" in system and run.rules.pack.find("ValueSet", system) is not None:
        run.say("GW-VAL-069", path, args={"system": shown(system)})


def canonical(value: Any, path: Path, run: Run) -> None:
    """A canonical is absolute, or begins with # and names a contained resource (R4 2.24.0.1, 2.1.0.4)."""
    if type(value) is not str or not value or any(map(str.isspace, value)):
        return
    if value[0] == "#":
        if len(value) > 1 and references.contained(run, value[1:]) is None:
            run.say("GW-VAL-018", path, args={"reference": shown(value)})
    elif not _ABSOLUTE.match(value):
        # Official examples name libraries as Library/x; a claimed profile that is not absolute names nothing.
        claims = path[0] is not None and path[0][3] == "Meta"
        run.say("GW-VAL-074", path, severity=None if claims else "warning", args={"value": shown(value)})


def own_canonical(value: Any, path: Path, run: Run) -> None:
    """The url of a canonical resource is absolute."""
    if type(value) is str and value and not any(map(str.isspace, value)) and not _ABSOLUTE.match(value):
        run.say("GW-VAL-074", path, args={"value": shown(value)})


def quantity(value: Any, path: Path, run: Run) -> None:
    """The system of the unit is absolute."""
    system = value.get("system")
    if type(system) is str and system and not any(map(str.isspace, system)) and not _ABSOLUTE.match(system):
        run.say("GW-VAL-068", path, args={"system": shown(system)})


def element_id(value: Any, path: Path, run: Run) -> None:
    """Element.id has no spaces and is unique within its resource.

    ElementDefinitions repeat theirs in snapshot and differential.
    """
    if type(value) is str and " " in value:
        run.say("GW-VAL-006", path, args={"value": shown(value), "type": "id", "reason": "space"})
    if type(value) is not str or path[0][3] == "ElementDefinition":
        return
    mark = (id(run.resource), value)
    if mark in run.ids:
        run.say("GW-VAL-071", path, args={"id": shown(value)})
    run.ids.add(mark)


def simple_quantity(value: Any, path: Path, run: Run) -> None:
    """sqty-1: an element whose type is SimpleQuantity has no comparator."""
    if "comparator" in value:
        text = "The comparator is not used on a SimpleQuantity"
        run.say("GW-VAL-015", path, source="sqty-1", args={"rule": "sqty-1", "text": text})


def expression(value: Any, path: Path, run: Run) -> None:
    """An Expression in FHIRPath can be read."""
    if value.get("language") == "text/fhirpath":
        _readable(value.get("expression"), path, run)


def search_parameter(value: Any, path: Path, run: Run) -> None:
    """SearchParameter.expression is FHIRPath."""
    _readable(value.get("expression"), path, run)


def _readable(text: Any, path: Path, run: Run) -> None:
    if type(text) is not str or not text.strip():
        return
    try:
        fhirpath.parse(text)
    except fhirpath.FhirPathError:
        run.say("GW-VAL-075", (path, "expression", -1, "string"), args={"value": shown(text)})


def vital_sign(observation: Json) -> str | None:
    """The core profile that the Observation's code asks for."""
    code = observation.get("code")
    codings = code.get("coding") if type(code) is dict else None
    for each in codings if type(codings) is list else ():
        if type(each) is dict and each.get("system") == _LOINC and type(each.get("code")) is str:
            name = VITAL_SIGNS.get(each["code"])
            if name is not None:
                return R4 + name
    return None
