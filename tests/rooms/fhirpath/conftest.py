"""A handful of types, written out: enough to see typing at work without the whole of R4."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.fhirpath import StructureModel

ELEMENT = {"id": ("string", "1"), "extension": ("Extension", "*")}


def _primitive(name: str, base: str = "Element") -> dict[str, Any]:
    return _structure(name, "primitive-type", base, ELEMENT)


def _structure(name: str, kind: str, base: str, elements: dict[str, Any]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{"path": name}]
    for path, shape in elements.items():
        types, most = shape
        row: dict[str, Any] = {"path": f"{name}.{path}", "max": most}
        if types.startswith("#"):
            row["contentReference"] = types
        else:
            row["type"] = [{"code": code} for code in types.split("|")]
        rows.append(row)
    return {
        "type": name,
        "kind": kind,
        "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{base}",
        "snapshot": {"element": rows},
    }


RESOURCE = {
    "id": ("string", "1"),
    "contained": ("Resource", "*"),
    "extension": ("Extension", "*"),
}
STRUCTURES = [
    *(_primitive(name) for name in ("boolean", "string", "integer", "decimal", "date", "dateTime", "time", "uri")),
    _primitive("code", "string"),
    _primitive("id", "string"),
    _structure(
        "Extension",
        "complex-type",
        "Element",
        ELEMENT | {"url": ("uri", "1"), "value[x]": ("string|dateTime|Quantity", "1")},
    ),
    _structure(
        "Quantity",
        "complex-type",
        "Element",
        ELEMENT
        | {
            "value": ("decimal", "1"),
            "unit": ("string", "1"),
            "system": ("uri", "1"),
            "code": ("code", "1"),
            "comparator": ("code", "1"),
        },
    ),
    _structure(
        "Age",
        "complex-type",
        "Quantity",
        ELEMENT | {"value": ("decimal", "1"), "unit": ("string", "1"), "system": ("uri", "1"), "code": ("code", "1")},
    ),
    _structure("Period", "complex-type", "Element", ELEMENT | {"start": ("dateTime", "1"), "end": ("dateTime", "1")}),
    _structure(
        "HumanName",
        "complex-type",
        "Element",
        ELEMENT
        | {"use": ("code", "1"), "family": ("string", "1"), "given": ("string", "*"), "period": ("Period", "1")},
    ),
    _structure("Reference", "complex-type", "Element", ELEMENT | {"reference": ("string", "1")}),
    _structure("Resource", "resource", "Base", {"id": ("string", "1")}),
    _structure("Organization", "resource", "DomainResource", RESOURCE),
    _structure("DomainResource", "resource", "Resource", RESOURCE),
    _structure(
        "Patient",
        "resource",
        "DomainResource",
        RESOURCE
        | {
            "active": ("boolean", "1"),
            "gender": ("code", "1"),
            "birthDate": ("date", "1"),
            "name": ("HumanName", "*"),
            "contact": ("BackboneElement", "*"),
            "contact.name": ("HumanName", "1"),
            "managingOrganization": ("Reference", "1"),
        },
    ),
    _structure(
        "Observation",
        "resource",
        "DomainResource",
        RESOURCE
        | {
            "value[x]": ("Quantity|string|Period|boolean", "1"),
            "component": ("BackboneElement", "*"),
            "component.value[x]": ("Quantity|string", "1"),
            "component.part": ("#Observation.component", "*"),
        },
    ),
    _structure(
        "Bundle",
        "resource",
        "Resource",
        {
            "id": ("string", "1"),
            "entry": ("BackboneElement", "*"),
            "entry.fullUrl": ("uri", "1"),
            "entry.resource": ("Resource", "1"),
        },
    ),
]


@pytest.fixture(scope="session")
def types() -> StructureModel:
    return StructureModel(STRUCTURES)
