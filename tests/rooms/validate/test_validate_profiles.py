"""Profiles: what each constraint accepts and refuses, by differential and by derived profile."""
# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

from typing import Any

import pytest
from instances_validate import DROP, INSTANCES, PROFILE, R4, change, errors, profile

from gateway.message import Json
from gateway.validate import Rulebook
from gateway.validate.rulebook import Rules
from gateway.validate.spec import Spec, build

BY_SYSTEM = {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}
ID = "Patient.identifier"


def sliced(rules: str = "open", ordered: bool = False, low: int = 1, high: str = "1") -> tuple[Json, ...]:
    return (
        {"path": ID, "slicing": {**BY_SYSTEM, "rules": rules, "ordered": ordered}},
        {"id": f"{ID}:mrn", "path": ID, "sliceName": "mrn", "min": low, "max": high},
        {"id": f"{ID}:mrn.system", "path": f"{ID}.system", "fixedUri": "https://test.invalid/mrn"},
        {"id": f"{ID}:mrn.value", "path": f"{ID}.value", "min": 1, "maxLength": 6},
        {"id": f"{ID}:main", "path": ID, "sliceName": "main", "max": "1"},
        {"id": f"{ID}:main.system", "path": f"{ID}.system", "fixedUri": "https://test.invalid/id"},
    )


EXTENSION = profile(
    "colour",
    "Extension",
    {"path": "Extension.url", "fixedUri": PROFILE + "colour"},
    {"path": "Extension.value[x]", "min": 1, "type": [{"code": "code"}]},
    context=[{"type": "element", "expression": "Patient"}],
)
COMPLEX = profile(
    "pair",
    "Extension",
    {"id": "Extension.extension:left", "path": "Extension.extension", "sliceName": "left", "min": 1, "max": "1"},
    {"id": "Extension.extension:left.url", "path": "Extension.extension.url", "fixedUri": "left"},
    {"id": "Extension.extension:left.value[x]", "path": "Extension.extension.value[x]", "type": [{"code": "string"}]},
    {"path": "Extension.url", "fixedUri": PROFILE + "pair"},
    {"path": "Extension.value[x]", "max": "0"},
    context=[{"type": "fhirpath", "expression": "Patient.name"}],
)
SYSTEM = {
    "resourceType": "CodeSystem",
    "url": "https://test.invalid/cs",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "a", "display": "Alpha", "concept": [{"code": "a1"}]}, {"code": "b"}],
}
VALUES = {
    "resourceType": "ValueSet",
    "url": "https://test.invalid/vs",
    "status": "active",
    "compose": {
        "include": [
            {"system": "https://test.invalid/cs", "filter": [{"property": "concept", "op": "is-a", "value": "a"}]}
        ],
        "exclude": [{"system": "https://test.invalid/cs", "concept": [{"code": "a1"}]}],
    },
}
QUANTITY = {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"}

CASES: list[tuple[str, tuple[Json, ...], str, Any, str, str]] = [
    # type, rows of the differential, what is changed in the valid instance, to what, code ("" for accepted), location
    ("Patient", ({"path": "Patient.maritalStatus", "min": 1},), "active", True, "GW-VAL-003", "Patient"),
    ("Patient", ({"path": "Patient.maritalStatus", "min": 1},), "maritalStatus", {"text": "x"}, "", ""),
    ("Patient", ({"path": "Patient.photo", "max": "0"},), "photo", [{"title": "x"}], "GW-VAL-004", "Patient.photo"),
    ("Patient", ({"path": "Patient.name", "max": "1"},), "name/1", {"text": "x"}, "GW-VAL-004", "Patient.name"),
    ("Patient", ({"path": "Patient.name.given", "min": 1},), "name/0/given", DROP, "GW-VAL-003", "Patient.name[0]"),
    ("Patient", ({"path": "Patient.gender", "fixedCode": "female"},), "gender", "male", "GW-VAL-035", "Patient.gender"),
    ("Patient", ({"path": "Patient.gender", "fixedCode": "female"},), "gender", "female", "", ""),
    ("Patient", ({"path": "Patient.active", "fixedBoolean": True},), "active", False, "GW-VAL-035", "Patient.active"),
    (
        "Patient",
        ({"path": "Patient.maritalStatus", "patternCodeableConcept": {"coding": [{"code": "M"}]}},),
        "maritalStatus",
        {"coding": [{"code": "S"}, {"code": "W"}]},
        "GW-VAL-036",
        "Patient.maritalStatus",
    ),
    (
        "Patient",
        ({"path": "Patient.maritalStatus", "patternCodeableConcept": {"coding": [{"code": "M"}]}},),
        "maritalStatus",
        {"coding": [{"code": "S"}, {"code": "M", "display": "x"}], "text": "x"},
        "",
        "",
    ),
    ("Patient", ({"path": "Patient.name.family", "maxLength": 5},), "name/0/family", "123456", "GW-VAL-052", "Patient.name[0].family"),
    ("Patient", ({"path": "Patient.birthDate", "minValueDate": "1970-01-01"},), "birthDate", "1969-12-31", "GW-VAL-046", "Patient.birthDate"),
    ("Patient", ({"path": "Patient.birthDate", "minValueDate": "1970-01-01"},), "birthDate", "1970", "", ""),
    ("Patient", ({"path": "Patient.birthDate", "maxValueDate": "2000-01-01"},), "birthDate", "2000-01-02", "GW-VAL-047", "Patient.birthDate"),
    ("Patient", ({"path": "Patient.telecom.rank", "maxValuePositiveInt": 3},), "telecom/0/rank", 4, "GW-VAL-047", "Patient.telecom[0].rank"),
    ("Observation", ({"path": "Observation.value[x]", "maxValueQuantity": QUANTITY},), "valueQuantity/value", 71, "GW-VAL-047", "Observation.value"),
    ("Observation", ({"path": "Observation.value[x]", "maxValueQuantity": QUANTITY},), "valueQuantity/value", 70, "", ""),
    ("Observation", ({"path": "Observation.value[x]", "type": [{"code": "CodeableConcept"}]},), "note", [{"text": "x"}], "GW-VAL-037", "Observation.value"),
    ("Observation", ({"path": "Observation.valueQuantity", "min": 1},), "valueQuantity", DROP, "GW-VAL-031", "Observation"),
    ("Observation", ({"path": "Observation.valueQuantity.code", "fixedCode": "g"},), "note", [{"text": "x"}], "GW-VAL-035", "Observation.value.code"),
    (
        "Observation",
        (
            {"path": "Observation.value[x]", "slicing": {"discriminator": [{"type": "type", "path": "$this"}], "rules": "closed"}},
            {"id": "Observation.value[x]:valueString", "path": "Observation.value[x]", "sliceName": "valueString", "type": [{"code": "string"}]},
        ),
        "note",
        [{"text": "x"}],
        "GW-VAL-033",
        "Observation.value",
    ),
    ("Patient", ({"path": "Patient", "constraint": [{"key": "t-1", "severity": "error", "human": "x", "expression": "name.count() < 2"}]},), "name/1", {"text": "x"}, "GW-VAL-015", "Patient"),
    ("Patient", ({"path": "Patient.name", "constraint": [{"key": "t-1", "severity": "error", "human": "x", "expression": "given.exists()"}]},), "name/0/given", DROP, "GW-VAL-015", "Patient.name[0]"),
    ("Patient", ({"path": "Patient.birthDate", "constraint": [{"key": "t-1", "severity": "error", "human": "x", "expression": "$this < today()"}]},), "active", True, "", ""),
    ("Patient", ({"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": VALUES["url"]}},), "maritalStatus", {"coding": [{"system": SYSTEM["url"], "code": "b"}]}, "GW-VAL-010", "Patient.maritalStatus"),
    ("Patient", ({"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": VALUES["url"]}},), "maritalStatus", {"coding": [{"system": SYSTEM["url"], "code": "a1"}]}, "GW-VAL-010", "Patient.maritalStatus"),
    ("Patient", ({"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": VALUES["url"]}},), "maritalStatus", {"coding": [{"system": SYSTEM["url"], "code": "a"}]}, "", ""),
    ("Patient", ({"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": VALUES["url"]}},), "maritalStatus", {"text": "x"}, "GW-VAL-010", "Patient.maritalStatus"),
    ("Patient", ({"path": "Patient.maritalStatus", "binding": {"strength": "extensible", "valueSet": VALUES["url"]}},), "maritalStatus", {"coding": [{"system": "https://test.invalid/o", "code": "b"}]}, "", ""),
    ("Patient", sliced(), "identifier/1", DROP, "GW-VAL-031", "Patient"),
    ("Patient", sliced(), "identifier/2", {"system": "https://test.invalid/mrn", "value": "3"}, "GW-VAL-032", "Patient"),
    ("Patient", sliced(), "identifier/2", {"system": "https://test.invalid/other"}, "", ""),
    ("Patient", sliced(), "identifier/1/value", DROP, "GW-VAL-003", "Patient.identifier[1]"),
    ("Patient", sliced(), "identifier/1/value", "1234567", "GW-VAL-052", "Patient.identifier[1].value"),
    ("Patient", sliced("closed"), "identifier/2", {"system": "https://test.invalid/other"}, "GW-VAL-033", "Patient.identifier[2]"),
    ("Patient", sliced("openAtEnd"), "identifier/2", {"system": "https://test.invalid/other"}, "", ""),
    ("Patient", sliced("openAtEnd"), "identifier/0/system", "https://test.invalid/other", "GW-VAL-034", "Patient.identifier[1]"),
    ("Patient", sliced(ordered=True), "active", True, "GW-VAL-034", "Patient.identifier[1]"),
    ("Patient", sliced(low=0, high="0"), "active", True, "GW-VAL-032", "Patient"),
    (
        "Patient",
        (
            {"path": "Patient.contact", "slicing": {"discriminator": [{"type": "exists", "path": "organization"}], "rules": "closed"}},
            {"id": "Patient.contact:people", "path": "Patient.contact", "sliceName": "people"},
            {"id": "Patient.contact:people.organization", "path": "Patient.contact.organization", "max": "0"},
        ),
        "contact/0/organization",
        {"display": "x"},
        "GW-VAL-033",
        "Patient.contact[0]",
    ),
    (
        "Patient",
        (
            {"path": "Patient.telecom", "slicing": {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}},
            {"id": "Patient.telecom:phone", "path": "Patient.telecom", "sliceName": "phone", "slicing": {"discriminator": [{"type": "value", "path": "use"}], "rules": "closed"}},
            {"id": "Patient.telecom:phone.system", "path": "Patient.telecom.system", "fixedCode": "phone"},
            {"id": "Patient.telecom:phone/mobile", "path": "Patient.telecom", "sliceName": "phone/mobile"},
            {"id": "Patient.telecom:phone/mobile.use", "path": "Patient.telecom.use", "fixedCode": "mobile"},
        ),
        "telecom/0/use",
        "home",
        "GW-VAL-033",
        "Patient.telecom[0]",
    ),
    (
        "ServiceRequest",
        ({"path": "ServiceRequest.requester", "type": [{"code": "Reference", "targetProfile": [R4 + "Organization"]}]},),
        "note/0/text",
        "y",
        "GW-VAL-017",
        "ServiceRequest.requester",
    ),
    (
        "ServiceRequest",
        ({"path": "ServiceRequest.requester", "type": [{"code": "Reference", "targetProfile": [PROFILE + "doctor"]}]},),
        "contained/0/active",
        True,
        "GW-VAL-048",
        "ServiceRequest.requester",
    ),
    (
        "ServiceRequest",
        ({"path": "ServiceRequest.requester", "type": [{"code": "Reference", "targetProfile": [PROFILE + "doctor"]}]},),
        "contained/0/gender",
        "female",
        "",
        "",
    ),
    (
        "ServiceRequest",
        ({"path": "ServiceRequest.requester", "type": [{"code": "Reference", "aggregation": ["referenced"]}]},),
        "note/0/text",
        "y",
        "GW-VAL-051",
        "ServiceRequest.requester",
    ),
    (
        "Bundle",
        (
            {"path": "Bundle.entry", "slicing": {"discriminator": [{"type": "type", "path": "resource"}], "rules": "closed"}},
            {"id": "Bundle.entry:p", "path": "Bundle.entry", "sliceName": "p"},
            {"id": "Bundle.entry:p.resource", "path": "Bundle.entry.resource", "type": [{"code": "Patient"}]},
        ),
        "timestamp",
        "2024-01-01T00:00:00Z",
        "GW-VAL-033",
        "Bundle.entry[1]",
    ),
    (
        "Bundle",
        (
            {"path": "Bundle.entry", "slicing": {"discriminator": [{"type": "profile", "path": "resource"}], "rules": "open"}},
            {"id": "Bundle.entry:p", "path": "Bundle.entry", "sliceName": "p", "min": 1},
            {"id": "Bundle.entry:p.resource", "path": "Bundle.entry.resource", "type": [{"code": "Practitioner", "profile": [PROFILE + "doctor"]}]},
        ),
        "timestamp",
        "2024-01-01T00:00:00Z",
        "GW-VAL-031",
        "Bundle",
    ),
    (
        "Document",
        (
            {"path": "Bundle.entry.resource", "min": 1},
            {"path": "Bundle.entry", "slicing": {"discriminator": [{"type": "type", "path": "resource"}], "rules": "open"}},
            {"id": "Bundle.entry:c", "path": "Bundle.entry", "sliceName": "c", "min": 1},
            {"id": "Bundle.entry:c.resource", "path": "Bundle.entry.resource", "type": [{"code": "Composition"}]},
            {"id": "Bundle.entry:c.resource.section", "path": "Bundle.entry.resource.section", "slicing": {"discriminator": [{"type": "type", "path": "entry.resolve()"}], "rules": "closed"}},
            {"id": "Bundle.entry:c.resource.section:o", "path": "Bundle.entry.resource.section", "sliceName": "o"},
            {"id": "Bundle.entry:c.resource.section:o.entry", "path": "Bundle.entry.resource.section.entry", "type": [{"code": "Reference", "targetProfile": [R4 + "Condition"]}]},
        ),
        "timestamp",
        "2024-01-02T00:00:00Z",
        "GW-VAL-033",
        "Bundle.entry[0].resource.section[0]",
    ),
    ("Patient", (), "extension", [{"url": PROFILE + "colour", "valueCode": "x"}], "", ""),
    ("Patient", (), "extension", [{"url": PROFILE + "colour", "valueString": "x"}], "GW-VAL-037", "Patient.extension[0].value"),
    ("Patient", (), "contact/0/extension", [{"url": PROFILE + "colour", "valueCode": "x"}], "GW-VAL-025", "Patient.contact[0].extension[0]"),
    ("Patient", (), "name/0/extension", [{"url": PROFILE + "pair", "extension": [{"url": "left", "valueString": "x"}]}], "", ""),
    ("Patient", (), "extension", [{"url": PROFILE + "pair", "extension": [{"url": "left", "valueString": "x"}]}], "GW-VAL-025", "Patient.extension[0]"),
    ("Patient", (), "name/0/extension", [{"url": PROFILE + "pair", "extension": [{"url": "left", "valueString": "x"}, {"url": "right", "valueString": "x"}]}], "GW-VAL-030", "Patient.name[0].extension[0].extension[1]"),
    (
        "Patient",
        (
            {"id": "Patient.extension:colour", "path": "Patient.extension", "sliceName": "colour", "min": 1, "type": [{"code": "Extension", "profile": [PROFILE + "colour"]}]},
        ),
        "active",
        True,
        "GW-VAL-031",
        "Patient",
    ),
    (
        "Patient",
        (
            {"id": "Patient.extension:colour", "path": "Patient.extension", "sliceName": "colour", "min": 1, "type": [{"code": "Extension", "profile": [PROFILE + "colour"]}]},
        ),
        "extension",
        [{"url": PROFILE + "colour", "valueCode": "x"}],
        "",
        "",
    ),
]  # fmt: skip

BY_CODE = (
    {
        "path": "Observation.component",
        "slicing": {"discriminator": [{"type": "pattern", "path": "code"}], "rules": "open"},
    },
    {"id": "Observation.component:sys", "path": "Observation.component", "sliceName": "sys", "min": 1},
    {
        "id": "Observation.component:sys.code.coding.system",
        "path": "Observation.component.code.coding.system",
        "fixedUri": "http://loinc.org",
    },
    {
        "id": "Observation.component:sys.code.coding.code",
        "path": "Observation.component.code.coding.code",
        "fixedCode": "8480-6",
    },
)
CASES += [
    ("Observation", BY_CODE, "component/0/code", {"coding": [{"code": "x"}, {"system": "http://loinc.org", "code": "8480-6"}]}, "GW-VAL-035", "Observation.component[0].code.coding[0].code"),
    ("Observation", BY_CODE, "component/0/code", {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, "", ""),
    ("Observation", BY_CODE, "component/0/code", {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]}, "GW-VAL-031", "Observation"),
    (
        "Patient",
        ({"id": "Patient.extension:far", "path": "Patient.extension", "sliceName": "far", "min": 1, "type": [{"code": "Extension", "profile": [PROFILE + "far"]}]},),
        "active",
        True,
        "GW-VAL-031",
        "Patient",
    ),
    (
        "Patient",
        ({"id": "Patient.birthDate.extension:colour", "path": "Patient.birthDate.extension", "sliceName": "colour", "min": 1, "type": [{"code": "Extension", "profile": [PROFILE + "colour"]}]},),
        "active",
        True,
        "GW-VAL-031",
        "Patient.birthDate",
    ),
    ("Observation", ({"path": "Observation.referenceRange.low", "type": [{"code": "SimpleQuantity"}]},), "note", [{"text": "x"}], "", ""),
    ("Questionnaire", ({"path": "Questionnaire.item.item.text", "max": "0"},), "title", "x", "GW-VAL-004", "Questionnaire.item[0].item[0].text"),
]  # fmt: skip

DOCTOR = profile("doctor", "Practitioner", {"path": "Practitioner.gender", "min": 1})
KNOWN = (EXTENSION, COMPLEX, SYSTEM, VALUES, DOCTOR)


def judged(
    book: Rulebook, kind: str, rows: tuple[Json, ...], way: str, value: Any, *more: Json
) -> list[tuple[str, str | None]]:
    instance = INSTANCES[kind] if value is DROP and way == "active" else change(INSTANCES[kind], way, value)
    asserted = profile("asserted", instance["resourceType"], *rows)
    found = book.validate(instance, (PROFILE + "asserted",), (asserted, *KNOWN, *more))
    return [(each.code, each.location) for each in errors(found)]


@pytest.mark.parametrize(("kind", "rows", "way", "value", "code", "location"), CASES, ids=lambda v: str(v)[:30])
def test_a_constraint_refuses_exactly_what_breaks_it(
    book: Rulebook, kind: str, rows: tuple[Json, ...], way: str, value: Any, code: str, location: str
) -> None:
    """One fault, one error, at the element that a sender can mend."""
    assert judged(book, kind, rows, way, value) == ([(code, location)] if code else [])


@pytest.mark.parametrize(("kind", "rows", "way", "value", "code", "location"), CASES, ids=lambda v: str(v)[:30])
def test_a_derived_profile_keeps_what_its_parent_asks(
    book: Rulebook, kind: str, rows: tuple[Json, ...], way: str, value: Any, code: str, location: str
) -> None:
    """A differential over a differential: nothing of the parent is lost."""
    instance = INSTANCES[kind] if value is DROP and way == "active" else change(INSTANCES[kind], way, value)
    name = instance["resourceType"]
    parent = profile("asserted", name, *rows)
    child = profile("child", name, {"path": f"{name}.implicitRules", "max": "0"}, base=PROFILE + "asserted")
    found = book.validate(instance, (PROFILE + "child",), (parent, child, *KNOWN))
    assert [(each.code, each.location) for each in errors(found)] == ([(code, location)] if code else [])


def test_an_unknown_profile_is_said_and_never_passed_over(book: Rulebook) -> None:
    """Asserted: an error. Claimed by the resource: a warning; it was not checked against it."""
    url = PROFILE + "nobody"
    (found,) = errors(book.validate(INSTANCES["Patient"], (url,)))
    assert found.code == "GW-VAL-055"
    (claimed,) = book.validate(change(INSTANCES["Patient"], "meta", {"profile": [url]}))
    assert (claimed.code, claimed.severity, claimed.location) == ("GW-VAL-055", "warning", "Patient.meta.profile[0]")


def test_a_profile_for_another_type_is_said(book: Rulebook) -> None:
    """Otherwise a wrong assertion would look like a pass."""
    (found,) = errors(book.validate(INSTANCES["Patient"], (PROFILE + "doctor",), (DOCTOR,)))
    assert found.code == "GW-VAL-056"


def test_what_a_resource_claims_is_checked(book: Rulebook) -> None:
    """meta.profile inside a Bundle as well."""
    bundle = change(INSTANCES["Bundle"], "entry/0/resource/meta", {"profile": [PROFILE + "p|1.0.0"]})
    definition = profile("p", "Patient", {"path": "Patient.gender", "min": 1})
    (found,) = errors(book.validate(bundle, (), (definition,)))
    assert (found.code, found.location) == ("GW-VAL-003", "Bundle.entry[0].resource")


def test_the_version_of_a_canonical_is_kept(book: Rulebook) -> None:
    """Two versions of one profile ask different things."""
    loose = profile("p", "Patient", {"path": "Patient.photo", "max": "1"}) | {"version": "1.0.0"}
    strict = profile("p", "Patient", {"path": "Patient.photo", "min": 1}) | {"version": "2.0.0"}
    for version, count in (("1.0.0", 0), ("1.0", 0), ("2.0.0", 1), ("2", 1)):
        found = book.validate(INSTANCES["Patient"], (f"{PROFILE}p|{version}",), (loose, strict))
        assert len(errors(found)) == count


def test_a_row_about_nothing_is_said_and_the_rest_holds(book: Rulebook) -> None:
    """A profile with a misspelt path must not silently lose its other rules."""
    rows = ({"path": "Patient.dateOfBirth", "min": 1}, {"path": "Patient.photo", "min": 1})
    found = book.validate(INSTANCES["Patient"], (PROFILE + "p",), (profile("p", "Patient", *rows),))
    assert {each.code for each in found} == {"GW-VAL-054", "GW-VAL-003"}


def test_cannot_decide_is_neither_yes_nor_no(book: Rulebook) -> None:
    """A SNOMED CT filter without SNOMED CT: information, and a service may settle it."""
    values = {
        "resourceType": "ValueSet",
        "url": "https://test.invalid/snomed",
        "compose": {
            "include": [
                {"system": "http://snomed.info/sct", "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}
            ]
        },
    }
    rows = ({"path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": values["url"]}},)
    coded = change(
        INSTANCES["Patient"], "maritalStatus", {"coding": [{"system": "http://snomed.info/sct", "code": "2"}]}
    )
    found = book.validate(coded, (PROFILE + "p",), (profile("p", "Patient", *rows), values))
    assert [(each.code, each.severity) for each in found if each.args["set"] == values["url"]] == [
        ("GW-VAL-011", "information")
    ]
    settled = Rulebook(Rules(book.rules.pack, lambda url, system, code: "no"), {}, book.policy)
    found = settled.validate(coded, (PROFILE + "p",), (profile("p", "Patient", *rows), values))
    assert [(each.code, each.severity) for each in found if each.args["set"] == values["url"]] == [
        ("GW-VAL-010", "error")
    ]


def _asks(spec: Spec) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    todo = [spec]
    while todo:
        each = todo.pop()
        if each.min or each.max is not None or each.values:
            asked[each.label] = (each.min or 0, each.max, sorted(each.values))
        todo += [*each.children.values(), *each.slices.values()]
    return asked


@pytest.mark.parametrize(
    "name", ["bp", "bodyweight", "vitalsigns", "lipidprofile", "patient-animal", "patient-nationality"]
)
def test_core_profiles_ask_what_their_snapshots_say(book: Rulebook, name: str) -> None:
    """The pack keeps snapshots: every cardinality in them that is narrower than the base is in the compiled tree."""
    rules = book.rules
    definition = rules.pack.structure(R4 + name)
    assert definition is not None
    asked = _asks(build(rules.model, definition, None, True))
    rows = {row["path"] for row in definition["snapshot"]["element"] if row.get("min") and "sliceName" in row}
    assert all(
        any(label.partition(":")[0].startswith(path.replace("[x]", "")[:12]) for label in asked) for path in rows
    )
    assert asked
