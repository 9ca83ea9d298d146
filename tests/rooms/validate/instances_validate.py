"""Valid instances to break, one thing at a time. Every person in them is invented."""

from __future__ import annotations

import copy
from typing import Any

from gateway.message import Finding

PROFILE = "https://test.invalid/StructureDefinition/"
R4 = "http://hl7.org/fhir/StructureDefinition/"


def errors(findings: tuple[Finding, ...]) -> list[Finding]:
    return [each for each in findings if each.severity == "error"]


def narrative(text: str = "Test") -> dict[str, Any]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


INSTANCES: dict[str, dict[str, Any]] = {
    "Patient": {
        "resourceType": "Patient",
        "id": "one",
        "text": narrative("Test Patient-One"),
        "identifier": [
            {"use": "official", "system": "https://test.invalid/id", "value": "TEST-1"},
            {"use": "usual", "system": "https://test.invalid/mrn", "value": "TEST-2"},
        ],
        "active": True,
        "name": [{"use": "official", "family": "Patient-One", "given": ["Test", "Second"]}],
        "telecom": [{"system": "phone", "value": "+000000000", "use": "mobile", "rank": 1}],
        "gender": "female",
        "birthDate": "1980-02-29",
        "deceasedBoolean": False,
        "address": [{"use": "home", "line": ["Test street 1"], "period": {"start": "2019-05-01"}}],
        "contact": [{"name": {"family": "Contact-One"}}],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "fa"}]}, "preferred": True}],
        "generalPractitioner": [{"reference": "Practitioner/two"}],
        "link": [{"other": {"reference": "Patient/other"}, "type": "seealso"}],
    },
    "Encounter": {
        "resourceType": "Encounter",
        "id": "stay",
        "text": narrative(),
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": {"reference": "Patient/one", "type": "Patient"},
        "period": {"start": "2024-01-01T08:00:00+03:30", "end": "2024-01-05T10:15:00+03:30"},
        "length": {"value": 4, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"},
        "diagnosis": [{"condition": {"reference": "Condition/c"}, "rank": 1}],
        "location": [{"location": {"reference": "Location/l"}, "status": "active"}],
    },
    "Observation": {
        "resourceType": "Observation",
        "id": "value",
        "text": narrative(),
        "status": "final",
        "category": [
            {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
                ]
            }
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "Weight"},
        "subject": {"reference": "Patient/one"},
        "effectiveDateTime": "2024-01-01",
        "valueQuantity": {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
        "referenceRange": [{"low": {"value": 50, "unit": "kg"}, "text": "usual"}],
        "component": [{"code": {"text": "part"}, "valueString": "x"}],
    },
    "ServiceRequest": {
        "resourceType": "ServiceRequest",
        "id": "request",
        "text": narrative(),
        "contained": [{"resourceType": "Practitioner", "id": "doctor", "name": [{"family": "Doctor-One"}]}],
        "status": "active",
        "intent": "order",
        "priority": "urgent",
        "code": {"text": "A test"},
        "subject": {"reference": "Patient/one"},
        "occurrencePeriod": {"start": "2024-01-02", "end": "2024-01-12"},
        "authoredOn": "2024-01-01T09:00:00Z",
        "requester": {"reference": "#doctor"},
        "note": [{"time": "2024-01-01T09:00:00Z", "text": "A note"}],
    },
    "Organization": {
        "resourceType": "Organization",
        "id": "centre",
        "text": narrative(),
        "active": True,
        "name": "Test centre",
        "telecom": [{"system": "phone", "value": "+0", "use": "work"}],
        "address": [{"use": "work", "city": "Test city"}],
    },
    "CarePlan": {
        "resourceType": "CarePlan",
        "id": "plan",
        "text": narrative(),
        "status": "active",
        "intent": "plan",
        "subject": {"reference": "Patient/one"},
        "activity": [{"detail": {"status": "scheduled", "scheduledPeriod": {"start": "2024-01-01"}}}],
    },
    "MedicationRequest": {
        "resourceType": "MedicationRequest",
        "id": "drug",
        "text": narrative(),
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "A drug"},
        "subject": {"reference": "Patient/one"},
        "dosageInstruction": [
            {
                "sequence": 1,
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "tablet"}}],
            }
        ],
    },
    "Questionnaire": {
        "resourceType": "Questionnaire",
        "id": "form",
        "text": narrative(),
        "url": "https://test.invalid/Questionnaire/form",
        "name": "Form",
        "status": "draft",
        "item": [
            {
                "linkId": "1",
                "text": "Group",
                "type": "group",
                "item": [{"linkId": "1.1", "text": "Q", "type": "string"}],
            }
        ],
    },
    "Bundle": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "https://test.invalid/fhir/Patient/a",
                "resource": {"resourceType": "Patient", "id": "a", "text": narrative()},
            },
            {
                "fullUrl": "https://test.invalid/fhir/Encounter/b",
                "resource": {
                    "resourceType": "Encounter",
                    "id": "b",
                    "text": narrative(),
                    "status": "planned",
                    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                    "subject": {"reference": "Patient/a"},
                },
            },
        ],
    },
    "Document": {
        "resourceType": "Bundle",
        "identifier": {"system": "https://test.invalid/doc", "value": "1"},
        "type": "document",
        "timestamp": "2024-01-01T00:00:00Z",
        "entry": [
            {
                "fullUrl": "https://test.invalid/fhir/Composition/c",
                "resource": {
                    "resourceType": "Composition",
                    "id": "c",
                    "text": narrative(),
                    "status": "final",
                    "type": {"text": "Summary"},
                    "subject": {"reference": "Patient/a"},
                    "date": "2024-01-01",
                    "author": [{"reference": "Practitioner/p"}],
                    "title": "Summary",
                    "section": [{"title": "One", "text": narrative(), "entry": [{"reference": "Observation/o"}]}],
                },
            },
            {
                "fullUrl": "https://test.invalid/fhir/Patient/a",
                "resource": {"resourceType": "Patient", "id": "a", "text": narrative()},
            },
            {
                "fullUrl": "https://test.invalid/fhir/Practitioner/p",
                "resource": {"resourceType": "Practitioner", "id": "p", "text": narrative()},
            },
            {
                "fullUrl": "https://test.invalid/fhir/Observation/o",
                "resource": {
                    "resourceType": "Observation",
                    "id": "o",
                    "text": narrative(),
                    "status": "final",
                    "code": {"text": "x"},
                    "subject": {"reference": "Patient/a"},
                },
            },
        ],
    },
}


def profile(name: str, kind: str, *rows: dict[str, Any], base: str = "", **more: Any) -> dict[str, Any]:
    """A StructureDefinition by its differential; `id` may be left out where it equals the path."""
    return {
        "resourceType": "StructureDefinition",
        "url": PROFILE + name,
        "version": "1.0.0",
        "name": name,
        "status": "draft",
        "kind": "resource",
        "abstract": False,
        "type": kind,
        "baseDefinition": base or R4 + kind,
        "derivation": "constraint",
        "differential": {"element": [{"id": row.get("id", row["path"]), **row} for row in rows]},
        **more,
    }


class _Drop:
    """The sentinel for "take it away", with a name that is the same in every process."""

    def __repr__(self) -> str:
        return "DROP"


DROP = _Drop()


def change(instance: dict[str, Any], way: str, value: Any) -> dict[str, Any]:
    """A copy with one thing changed: `name.0.family` set to a value, or taken away with DROP."""
    made = copy.deepcopy(instance)
    holder: Any = made
    *steps, last = way.split("/")
    for step in steps:
        holder = holder[int(step)] if isinstance(holder, list) else holder.setdefault(step, {})
    key: Any = int(last) if isinstance(holder, list) else last
    if value is DROP:
        del holder[key]
    elif isinstance(holder, list) and key == len(holder):
        holder.append(value)
    else:
        holder[key] = value
    return made
