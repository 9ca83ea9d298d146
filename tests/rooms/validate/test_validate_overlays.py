"""Profiles where the pieces meet: type slices, whole values, companions, what a reference leads to."""

from __future__ import annotations

from typing import Any

import pytest
from instances_validate import PROFILE, errors, profile

from gateway.message import Json
from gateway.validate import load

PATIENT: Json = {"resourceType": "Patient"}
OBSERVATION: Json = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
NAMED = profile("named", "Organization", {"path": "Organization.name", "min": 1})
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}
BORN = {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"city": "x"}}
FAITH = {"url": "http://hl7.org/fhir/StructureDefinition/patient-religion", "valueCodeableConcept": {"text": "x"}}
URN = "urn:uuid:00000000-0000-4000-8000-00000000000"
A = {"system": "http://x.invalid", "code": "a"}

BY_TYPE = (
    {
        "path": "Observation.value[x]",
        "slicing": {"discriminator": [{"type": "type", "path": "$this"}], "rules": "closed"},
    },
    {
        "id": "Observation.value[x]:valueQuantity",
        "path": "Observation.value[x]",
        "sliceName": "valueQuantity",
        "type": [{"code": "Quantity"}],
    },
    {"id": "Observation.value[x]:valueQuantity.unit", "path": "Observation.value[x].unit", "min": 1},
)
PATTERN = ({"path": "Observation.code", "patternCodeableConcept": {"coding": [A]}},)
FIXED = ({"path": "Observation.code", "fixedCodeableConcept": {"coding": [A]}},)
NO_GENDER = ({"path": "Patient.gender", "max": "0"},)
GENDER = ({"path": "Patient.gender", "min": 1},)
TARGET = (
    {"path": "Patient.managingOrganization", "type": [{"code": "Reference", "targetProfile": [PROFILE + "named"]}]},
)
LIMITS = ({"path": "Patient.birthDate", "minValueDate": "1900-01-01", "maxValueDate": "2020-12-31"},)
GIVEN = ({"path": "Patient.name.given", "min": 2, "max": "2"},)
ONLY_BORN = (
    {"path": "Patient.extension", "slicing": {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"}},
    {
        "id": "Patient.extension:b",
        "path": "Patient.extension",
        "sliceName": "b",
        "type": [{"code": "Extension", "profile": [BORN["url"]]}],
    },
)
BY_PROFILE = (
    {
        "path": "Bundle.entry",
        "slicing": {"discriminator": [{"type": "profile", "path": "resource"}], "rules": "closed"},
    },
    {"id": "Bundle.entry:o", "path": "Bundle.entry", "sliceName": "o", "min": 1, "max": "1"},
    {
        "id": "Bundle.entry:o.resource",
        "path": "Bundle.entry.resource",
        "type": [{"code": "Organization", "profile": [PROFILE + "named"]}],
    },
)
NARROW = (
    {
        "path": "Observation.subject",
        "type": [{"code": "Reference", "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Patient"]}],
    },
)


def contained(organization: Json) -> Json:
    inner = {"resourceType": "Organization", "id": "o", **organization}
    return PATIENT | {"managingOrganization": {"reference": "#o"}, "contained": [inner]}


def bundle(*resources: Json) -> Json:
    entries = [{"fullUrl": URN + str(at), "resource": each} for at, each in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


CASES: list[tuple[tuple[Json, ...], Json, str]] = [
    # rows of the differential, a resource, what is wrong with it ("": nothing)
    (BY_TYPE, OBSERVATION | {"valueQuantity": {"value": 1, "unit": "x"}}, ""),
    (BY_TYPE, OBSERVATION | {"valueQuantity": {"value": 1}}, "GW-VAL-003"),
    (BY_TYPE, OBSERVATION | {"valueString": "x"}, "GW-VAL-033"),
    (
        PATTERN,
        OBSERVATION
        | {"code": {"coding": [{"system": "http://y.invalid", "code": "b"}, {**A, "display": "A"}], "text": "t"}},
        "",
    ),
    (
        PATTERN,
        OBSERVATION
        | {"code": {"coding": [{"system": "http://x.invalid"}, {"system": "http://y.invalid", "code": "a"}]}},
        "GW-VAL-036",
    ),
    (FIXED, OBSERVATION | {"code": {"coding": [A]}}, ""),
    (FIXED, OBSERVATION | {"code": {"coding": [A | {"display": "A"}]}}, "GW-VAL-035"),
    (FIXED, OBSERVATION | {"code": {"id": "q", "coding": [A]}}, "GW-VAL-035"),
    (NO_GENDER, PATIENT | {"_gender": UNKNOWN}, "GW-VAL-004"),
    (GENDER, PATIENT | {"_gender": UNKNOWN}, ""),
    (({"path": "Patient.gender", "mustSupport": True},), PATIENT, ""),
    (TARGET, contained({"name": "x"}), ""),
    (TARGET, contained({"identifier": [{"value": "x"}]}), "GW-VAL-048"),
    (LIMITS, PATIENT | {"birthDate": "1899-12-31"}, "GW-VAL-046"),
    (LIMITS, PATIENT | {"birthDate": "2021-01-01"}, "GW-VAL-047"),
    (LIMITS, PATIENT | {"birthDate": "2000"}, ""),
    (GIVEN, PATIENT, ""),
    (GIVEN, PATIENT | {"name": [{"given": ["a", None], "_given": [None, UNKNOWN]}]}, ""),
    (GIVEN, PATIENT | {"name": [{"given": ["a", "b", "c"]}]}, "GW-VAL-004"),
    (ONLY_BORN, PATIENT | {"extension": [BORN]}, ""),
    (ONLY_BORN, PATIENT | {"extension": [FAITH]}, "GW-VAL-033"),
    (BY_PROFILE, bundle({"resourceType": "Organization", "name": "x"}), ""),
    (BY_PROFILE, bundle({"resourceType": "Organization", "identifier": [{"value": "x"}]}), "GW-VAL-031"),
    (NARROW, OBSERVATION | {"subject": {"reference": "Group/1"}}, "GW-VAL-017"),
    (NARROW, OBSERVATION | {"subject": {"display": "x"}}, ""),
    (({"path": "Observation.valueQuantity", "min": 1},), OBSERVATION, "GW-VAL-031"),
    (({"path": "Observation.valueQuantity", "min": 1},), OBSERVATION | {"valueQuantity": {"value": 1}}, ""),
]


@pytest.mark.parametrize(("rows", "resource", "code"), CASES)
def test_where_constraints_meet(rows: tuple[Json, ...], resource: Any, code: str) -> None:
    """What the specification says of each; what is right stays accepted."""
    book = load(extra=[profile("p", resource["resourceType"], *rows), NAMED])
    found = [each.code for each in errors(book.validate(resource, [PROFILE + "p"]))]
    assert (code in found) if code else found == []


@pytest.mark.parametrize(("organization", "right"), [({"name": "x"}, True), ({"identifier": [{"value": "x"}]}, False)])
def test_a_target_profile_is_kept_by_the_entry_that_is_meant(organization: Json, right: bool) -> None:
    """In a Bundle the target is there, so it is looked at."""
    book = load(extra=[profile("p", "Patient", *TARGET), NAMED])
    patient = PATIENT | {"meta": {"profile": [PROFILE + "p"]}, "managingOrganization": {"reference": URN + "1"}}
    found = errors(book.validate(bundle(patient, {"resourceType": "Organization", **organization})))
    assert (found == []) is right
