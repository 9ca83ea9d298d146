"""Whole FHIR resources taken over from a FHIR input (`is: . | resource`)."""

from __future__ import annotations

from typing import Any

from maplab import Little, one

from gateway.formats import json

MAPPING = """
title: t
subject: patient
case: {kind: case, key: [id]}
parts: [all]
resources:
  patient: {resourceType: Patient, each: "entry[*].resource", when: resourceType = Patient, key: [id], is: . | resource}
  stay:
    resourceType: Encounter
    each: entry[*].resource
    when: resourceType = Encounter
    key: [id]
    is: '. | resource "urn:profile"'
"""
URN = "urn:uuid:00000000-0000-4000-8000-000000000001"


def bundle(**more: Any) -> bytes:
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": "urn:x", "value": "1"}, {"use": "official", "system": "urn:y", "value": "2"}],
    }
    stay = {"resourceType": "Encounter", "id": "e", "status": "finished", "meta": {"versionId": "9"}, **more}
    entries = [{"fullUrl": URN, "resource": patient}, {"resource": stay}]
    return json.write({"resourceType": "Bundle", "id": "b", "entry": entries})


def test_ids_are_keyed_and_references_follow(little: Little) -> None:
    """By fullUrl and by Type/id; a reference names the target's official identifier where it named none."""
    engine = little(MAPPING)
    made = one(engine, bundle(subject={"reference": URN}, partOf={"reference": "Encounter/other"}))
    patient, stay = made.resources
    assert patient["id"] != "p"
    assert stay["subject"] == {
        "reference": f"Patient/{patient['id']}",
        "identifier": {"system": "urn:y", "value": "2"},
    }
    assert stay["partOf"]["reference"].startswith("Encounter/")
    assert stay["partOf"]["reference"] != "Encounter/other"
    assert stay["meta"] == {"profile": ["urn:profile"]}
    assert one(engine, bundle()).resources[1]["id"] == stay["id"]


def test_what_leads_elsewhere_or_inside_stays_as_it_is(little: Little) -> None:
    """Contained resources and absolute addresses are nobody's keyed ids."""
    made = one(
        little(MAPPING),
        bundle(
            contained=[{"resourceType": "Organization", "id": "c", "name": "x"}],
            serviceProvider={"reference": "#c"},
            subject={"reference": "https://elsewhere.example/Patient/1"},
        ),
    )
    stay = made.resources[1]
    assert stay["serviceProvider"] == {"reference": "#c"}
    assert stay["subject"] == {"reference": "https://elsewhere.example/Patient/1"}
    assert stay["contained"][0]["id"] == "c"
