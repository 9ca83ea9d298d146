"""Take a valid instance, break one thing, and expect exactly one error, with the right code at the right place."""
# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from instances_validate import DROP, INSTANCES, change, errors

from gateway.message import Json
from gateway.validate import Rulebook

XHTML = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'

BASE: list[tuple[str, str, Any, str, str]] = [
    # instance, what is changed, to what, expected code, expected location
    ("Patient", "foo", 1, "GW-VAL-002", "Patient"),
    ("Patient", "name/0/foo", 1, "GW-VAL-002", "Patient.name[0]"),
    ("Patient", "contact/0/foo", 1, "GW-VAL-002", "Patient.contact[0]"),
    ("Patient", "fhir_comments", ["x"], "GW-VAL-002", "Patient"),
    ("Patient", "name/0/resourceType", "HumanName", "GW-VAL-002", "Patient.name[0]"),
    ("Patient", "identifier", {}, "GW-VAL-005", "Patient.identifier"),
    ("Patient", "identifier", [], "GW-VAL-007", "Patient.identifier"),
    ("Patient", "identifier/0", {}, "GW-VAL-007", "Patient.identifier[0]"),
    ("Patient", "identifier/0", {"id": "x"}, "GW-VAL-007", "Patient.identifier[0]"),
    ("Patient", "identifier/0", "x", "GW-VAL-005", "Patient.identifier[0]"),
    ("Patient", "identifier/0", None, "GW-VAL-005", "Patient.identifier[0]"),
    ("Patient", "gender", None, "GW-VAL-005", "Patient.gender"),
    ("Patient", "gender", "f", "GW-VAL-010", "Patient.gender"),
    ("Patient", "gender", "Female", "GW-VAL-010", "Patient.gender"),
    ("Patient", "gender", "", "GW-VAL-007", "Patient.gender"),
    ("Patient", "gender", ["female"], "GW-VAL-005", "Patient.gender"),
    ("Patient", "gender", {"value": "female"}, "GW-VAL-005", "Patient.gender"),
    ("Patient", "active", "true", "GW-VAL-005", "Patient.active"),
    ("Patient", "active", 1, "GW-VAL-005", "Patient.active"),
    ("Patient", "birthDate", "1980-2-29", "GW-VAL-006", "Patient.birthDate"),
    ("Patient", "birthDate", "1981-02-29", "GW-VAL-073", "Patient.birthDate"),
    ("Patient", "birthDate", "1980-02-29T00:00:00Z", "GW-VAL-006", "Patient.birthDate"),
    ("Patient", "birthDate", 1980, "GW-VAL-005", "Patient.birthDate"),
    ("Patient", "deceasedDateTime", "2024", "GW-VAL-008", "Patient"),
    ("Patient", "deceasedString", "no", "GW-VAL-002", "Patient"),
    ("Patient", "name/0/use", "formal", "GW-VAL-010", "Patient.name[0].use"),
    ("Patient", "name/0/family", " ", "GW-VAL-006", "Patient.name[0].family"),
    ("Patient", "name/0/family", "a\x07", "GW-VAL-006", "Patient.name[0].family"),
    ("Patient", "name/0/given", "Test", "GW-VAL-005", "Patient.name[0].given"),
    ("Patient", "name/0/given/1", None, "GW-VAL-005", "Patient.name[0].given[1]"),
    ("Patient", "name/0/given/1", "", "GW-VAL-007", "Patient.name[0].given[1]"),
    ("Patient", "name/0/given", [], "GW-VAL-007", "Patient.name[0].given"),
    ("Patient", "name/0/_given", [None], "", ""),
    ("Patient", "name/0/_family", {}, "GW-VAL-007", "Patient.name[0].family"),
    ("Patient", "name/0/_family", "x", "GW-VAL-005", "Patient.name[0].family"),
    ("Patient", "name/0/_family", {"foo": 1}, "GW-VAL-002", "Patient.name[0].family"),
    ("Patient", "name/0/_family", {"extension": []}, "GW-VAL-007", "Patient.name[0].family.extension"),
    ("Patient", "telecom/0/system", DROP, "GW-VAL-015", "Patient.telecom[0]"),
    ("Patient", "telecom/0/rank", 0, "GW-VAL-006", "Patient.telecom[0].rank"),
    ("Patient", "telecom/0/rank", "1", "GW-VAL-005", "Patient.telecom[0].rank"),
    ("Patient", "telecom/0/rank", Decimal("1.0"), "GW-VAL-005", "Patient.telecom[0].rank"),
    ("Patient", "address/0/period/end", "2018-01-01", "GW-VAL-015", "Patient.address[0].period"),
    ("Patient", "address/0/period/start", "x", "GW-VAL-006", "Patient.address[0].period.start"),
    ("Patient", "contact/0", {"gender": "male"}, "GW-VAL-015", "Patient.contact[0]"),
    ("Patient", "communication/0/language", DROP, "GW-VAL-003", "Patient.communication[0]"),
    ("Patient", "link/0/type", DROP, "GW-VAL-003", "Patient.link[0]"),
    ("Patient", "link/0/other", DROP, "GW-VAL-003", "Patient.link[0]"),
    ("Patient", "link/0/type", "same", "GW-VAL-010", "Patient.link[0].type"),
    ("Patient", "link/0/other/reference", "Encounter/1", "GW-VAL-017", "Patient.link[0].other"),
    ("Patient", "generalPractitioner/0/reference", "Patient/1", "GW-VAL-017", "Patient.generalPractitioner[0]"),
    ("Patient", "generalPractitioner/0/reference", "#none", "GW-VAL-018", "Patient.generalPractitioner[0]"),
    ("Patient", "generalPractitioner/0/reference", "nowhere", "GW-VAL-020", "Patient.generalPractitioner[0]"),
    ("Patient", "generalPractitioner/0/reference", "", "GW-VAL-007", "Patient.generalPractitioner[0].reference"),
    ("Patient", "generalPractitioner/0/reference", 5, "GW-VAL-005", "Patient.generalPractitioner[0].reference"),
    ("Patient", "generalPractitioner/0/type", "Organization", "GW-VAL-019", "Patient.generalPractitioner[0]"),
    ("Patient", "managingOrganization", {"reference": "Practitioner/1"}, "GW-VAL-017", "Patient.managingOrganization"),
    ("Patient", "managingOrganization", [{"reference": "Organization/1"}], "GW-VAL-005", "Patient.managingOrganization"),
    ("Patient", "id", "a_b", "GW-VAL-006", "Patient.id"),
    ("Patient", "id", "x" * 65, "GW-VAL-006", "Patient.id"),
    ("Patient", "id", 5, "GW-VAL-005", "Patient.id"),
    ("Patient", "meta", {}, "GW-VAL-007", "Patient.meta"),
    ("Patient", "meta", {"profile": ["Patient/x"]}, "GW-VAL-074", "Patient.meta.profile[0]"),
    ("Observation", "referenceRange/0/low", {"value": 1, "comparator": "<"}, "GW-VAL-015", "Observation.referenceRange[0].low"),
    ("Questionnaire", "item/0/item/0/enableWhen", [{"question": "1", "operator": "exists", "answerBoolean": True}] * 2, "GW-VAL-015", "Questionnaire.item[0].item[0]"),
    ("Patient", "_deceasedDateTime", {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}, "GW-VAL-008", "Patient"),
    ("Patient", "modifierExtension", [{"url": "https://test.invalid/none", "valueString": "x"}], "GW-VAL-027", "Patient.modifierExtension[0]"),
    ("Patient", "implicitRules", "x y", "GW-VAL-006", "Patient.implicitRules"),
    ("Patient", "language", "fa-IR", "", ""),
    ("Patient", "birthDate", "1900-02-29", "GW-VAL-073", "Patient.birthDate"),
    ("Observation", "effectiveDateTime", "2016-12-31T23:59:60Z", "", ""),
    ("Observation", "effectiveDateTime", "2016-12-31T24:00:00Z", "GW-VAL-006", "Observation.effective"),
    ("Questionnaire", "url", "Questionnaire/x", "GW-VAL-074", "Questionnaire.url"),
    ("Questionnaire", "url", "2024-02-29T10:00:00", "GW-VAL-074", "Questionnaire.url"),
    ("Observation", "code/coding/0/system", "loinc", "GW-VAL-068", "Observation.code.coding[0]"),
    ("Patient", "meta", {"lastUpdated": "2024-01-01"}, "GW-VAL-006", "Patient.meta.lastUpdated"),
    ("Patient", "meta", {"lastUpdated": "2024-01-01T00:00:00"}, "GW-VAL-072", "Patient.meta.lastUpdated"),
    ("Patient", "meta", {"versionId": "a b"}, "GW-VAL-006", "Patient.meta.versionId"),
    ("Patient", "meta", {"profile": ["a b"]}, "GW-VAL-006", "Patient.meta.profile[0]"),
    ("Patient", "meta", {"profile": "http://a"}, "GW-VAL-005", "Patient.meta.profile"),
    ("Patient", "implicitRules", "a b", "GW-VAL-006", "Patient.implicitRules"),
    ("Patient", "language", "x y", "GW-VAL-010", "Patient.language"),
    ("Patient", "text/status", "made", "GW-VAL-010", "Patient.text.status"),
    ("Patient", "text/status", DROP, "GW-VAL-003", "Patient.text"),
    ("Patient", "text/div", DROP, "GW-VAL-003", "Patient.text"),
    ("Patient", "text/div", "<div>x</div>", "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", "plain", "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<p>x"), "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("&nbsp;x"), "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", '<p xmlns="http://www.w3.org/1999/xhtml">x</p>', "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", "<!DOCTYPE div><div>x</div>", "GW-VAL-039", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format(" "), "GW-VAL-042", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<p/>"), "GW-VAL-042", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<script>x</script>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<iframe>x</iframe>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<object>x</object>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<form>x</form>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<body>x</body>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format("<x>x</x>"), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format('<p onclick="x">x</p>'), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format('<p href="x">x</p>'), "GW-VAL-040", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format('<a href="javascript:x">x</a>'), "GW-VAL-041", "Patient.text.div"),
    ("Patient", "text/div", XHTML.format('<a href="#nowhere">x</a>'), "GW-VAL-043", "Patient.text.div"),
    ("Patient", "text/div", 5, "GW-VAL-005", "Patient.text.div"),
    ("Patient", "extension", [{"url": "http://x.invalid/ext", "valueString": "x"}], "GW-VAL-024", "Patient.extension[0]"),
    ("Patient", "extension", [{"valueString": "x"}], "GW-VAL-003", "Patient.extension[0]"),
    (
        "Patient",
        "modifierExtension",
        [{"url": "http://x.invalid/ext", "valueString": "x"}],
        "GW-VAL-027",
        "Patient.modifierExtension[0]",
    ),
    (
        "Patient",
        "extension",
        [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueString": "x"}],
        "GW-VAL-037",
        "Patient.extension[0].value",
    ),
    (
        "Patient",
        "extension",
        [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"}],
        "GW-VAL-023",
        "Patient.extension[0]",
    ),
    (
        "Patient",
        "name/0/extension",
        [{"url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired", "valueBoolean": True}],
        "GW-VAL-025",
        "Patient.name[0].extension[0]",
    ),
    (
        "Patient",
        "modifierExtension",
        [{"url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired", "valueBoolean": True}],
        "GW-VAL-028",
        "Patient.modifierExtension[0]",
    ),
    (
        "Patient",
        "extension",
        [{"url": "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired|4.0.1", "valueBoolean": True}],
        "GW-VAL-026",
        "Patient.extension[0]",
    ),
    ("Encounter", "status", DROP, "GW-VAL-003", "Encounter"),
    ("Encounter", "class", DROP, "GW-VAL-003", "Encounter"),
    ("Encounter", "status", "done", "GW-VAL-010", "Encounter.status"),
    ("Encounter", "class/code", "NOPE", "", ""),
    ("Encounter", "class/system", "ActCode", "GW-VAL-068", "Encounter.class"),
    ("Encounter", "class/system", "http://hl7.org/fhir/ValueSet/encounter-status", "GW-VAL-069", "Encounter.class"),
    ("Encounter", "class", {"system": "http://hl7.org/fhir/encounter-status", "code": "NOPE"}, "GW-VAL-013", "Encounter.class"),
    ("Patient", "identifier/0/system", "id", "GW-VAL-068", "Patient.identifier[0]"),
    ("Patient", "identifier/0/system", "urn:ietf:rfc:3986", "GW-VAL-067", "Patient.identifier[0]"),
    ("Patient", "photo", [{"contentType": "image/png", "data": "dGVzdA==", "size": 5}], "GW-VAL-066", "Patient.photo[0]"),
    ("Patient", "photo", [{"contentType": "image/png", "data": "dGVzdA==", "size": 4}], "", ""),
    ("Patient", "text/div", XHTML.format('<img src="#none" alt="x"/>'), "GW-VAL-043", "Patient.text.div"),
    ("Patient", "meta", {"profile": ["#x"]}, "GW-VAL-018", "Patient.meta.profile[0]"),
    ("Patient", "contact/0", {"id": "n", "name": {"id": "n", "text": "x"}}, "GW-VAL-071", "Patient.contact[0].name.id"),
    ("Patient", "contact/0/id", "a b", "GW-VAL-006", "Patient.contact[0].id"),
    ("Observation", "category", [{"text": "weight"}], "GW-VAL-031", "Observation"),
    ("Encounter", "class", [{"code": "IMP"}], "GW-VAL-005", "Encounter.class"),
    ("Encounter", "subject/reference", "Location/1", "GW-VAL-017", "Encounter.subject"),
    ("Encounter", "subject/type", "Patients", "GW-VAL-017", "Encounter.subject"),
    ("Encounter", "period/end", "2023-01-01T00:00:00Z", "GW-VAL-015", "Encounter.period"),
    ("Encounter", "period/end", "2024-01-05T10:15:00", "GW-VAL-072", "Encounter.period.end"),
    ("Encounter", "period/end", "2024-01-05T10:15Z", "GW-VAL-006", "Encounter.period.end"),
    ("Encounter", "period/end", "2024-01-05T24:00:00Z", "GW-VAL-006", "Encounter.period.end"),
    ("Encounter", "length/value", "4", "GW-VAL-005", "Encounter.length.value"),
    ("Encounter", "diagnosis/0/condition", DROP, "GW-VAL-003", "Encounter.diagnosis[0]"),
    ("Encounter", "diagnosis/0/rank", -1, "GW-VAL-006", "Encounter.diagnosis[0].rank"),
    ("Encounter", "location/0/status", "here", "GW-VAL-010", "Encounter.location[0].status"),
    ("Encounter", "location/0/location/reference", "Patient/1", "GW-VAL-017", "Encounter.location[0].location"),
    ("Encounter", "statusHistory", [{"status": "planned"}], "GW-VAL-003", "Encounter.statusHistory[0]"),
    ("Observation", "code", DROP, "GW-VAL-003", "Observation"),
    ("Observation", "status", "finished", "GW-VAL-010", "Observation.status"),
    ("Observation", "valueString", "x", "GW-VAL-008", "Observation"),
    ("Observation", "valueDecimal", 1, "GW-VAL-002", "Observation"),
    ("Observation", "dataAbsentReason", {"text": "x"}, "GW-VAL-015", "Observation"),
    ("Observation", "valueQuantity/system", DROP, "GW-VAL-003", "Observation.value"),
    ("Observation", "valueQuantity/comparator", "!", "GW-VAL-010", "Observation.value.comparator"),
    ("Observation", "valueQuantity/value", True, "GW-VAL-005", "Observation.value.value"),
    ("Observation", "effectiveDateTime", "yesterday", "GW-VAL-006", "Observation.effective"),
    ("Observation", "effectiveInstant", "2024-01-01T00:00:00Z", "GW-VAL-008", "Observation"),
    ("Observation", "referenceRange/0", {"age": {"low": {"value": 1}}}, "GW-VAL-015", "Observation.referenceRange[0]"),
    ("Observation", "component/0/code", DROP, "GW-VAL-003", "Observation.component[0]"),
    ("Observation", "component/0/code", {"text": ""}, "GW-VAL-007", "Observation.component[0].code.text"),
    ("Observation", "component/0/valueInteger", 1, "GW-VAL-008", "Observation.component[0]"),
    ("Observation", "component/0/valueRange", {"low": {"value": 1}}, "GW-VAL-008", "Observation.component[0]"),
    ("Observation", "interpretation", {"text": "x"}, "GW-VAL-005", "Observation.interpretation"),
    ("Observation", "code/coding/0/system", "a b", "GW-VAL-006", "Observation.code.coding[0].system"),
    ("Observation", "code/coding/0/code", " x", "GW-VAL-006", "Observation.code.coding[0].code"),
    ("Observation", "code/coding/0/userSelected", "yes", "GW-VAL-005", "Observation.code.coding[0].userSelected"),
    ("ServiceRequest", "status", DROP, "GW-VAL-003", "ServiceRequest"),
    ("ServiceRequest", "intent", DROP, "GW-VAL-003", "ServiceRequest"),
    ("ServiceRequest", "subject", DROP, "GW-VAL-003", "ServiceRequest"),
    ("ServiceRequest", "priority", "P", "GW-VAL-010", "ServiceRequest.priority"),
    ("ServiceRequest", "occurrenceDateTime", "2024", "GW-VAL-008", "ServiceRequest"),
    ("ServiceRequest", "occurrencePeriod/start", "2024-02-02", "GW-VAL-015", "ServiceRequest.occurrence"),
    ("ServiceRequest", "requester/reference", "#nurse", "GW-VAL-018", "ServiceRequest.requester"),
    ("ServiceRequest", "contained/0/resourceType", "Doctor", "GW-VAL-001", "ServiceRequest.contained[0]"),
    ("ServiceRequest", "contained/0/meta", {"versionId": "1"}, "GW-VAL-015", "ServiceRequest"),
    ("ServiceRequest", "contained/0/meta", {"security": [{"code": "x"}]}, "GW-VAL-015", "ServiceRequest"),
    ("ServiceRequest", "requester", {"display": "x"}, "GW-VAL-015", "ServiceRequest"),
    ("ServiceRequest", "contained/1", {"resourceType": "Patient", "id": "doctor"}, "GW-VAL-045", "ServiceRequest.contained[1]"),
    ("ServiceRequest", "contained/1", {"resourceType": "Patient"}, "GW-VAL-044", "ServiceRequest.contained[1]"),
    ("ServiceRequest", "contained/0/name/0/foo", 1, "GW-VAL-002", "ServiceRequest.contained[0].name[0]"),
    ("ServiceRequest", "note/0/text", DROP, "GW-VAL-003", "ServiceRequest.note[0]"),
    ("ServiceRequest", "note/0/time", "2024-01-01T09:00Z", "GW-VAL-006", "ServiceRequest.note[0].time"),
    ("ServiceRequest", "orderDetail", [{"text": "x"}], "", ""),
    ("ServiceRequest", "quantityQuantity", {"value": "x"}, "GW-VAL-005", "ServiceRequest.quantity.value"),
    ("ServiceRequest", "doNotPerform", "no", "GW-VAL-005", "ServiceRequest.doNotPerform"),
    ("ServiceRequest", "basedOn", [{"reference": "Patient/1"}], "GW-VAL-017", "ServiceRequest.basedOn[0]"),
    ("Organization", "name", DROP, "GW-VAL-015", "Organization"),
    ("Organization", "telecom/0/use", "home", "GW-VAL-015", "Organization.telecom[0]"),
    ("Organization", "address/0/use", "home", "GW-VAL-015", "Organization.address[0]"),
    ("Organization", "address/0/type", "house", "GW-VAL-010", "Organization.address[0].type"),
    ("Organization", "partOf", {"reference": "Location/1"}, "GW-VAL-017", "Organization.partOf"),
    ("Organization", "alias", "x", "GW-VAL-005", "Organization.alias"),
    ("Organization", "endpoint", [{"reference": "Patient/1"}], "GW-VAL-017", "Organization.endpoint[0]"),
    ("CarePlan", "status", "running", "GW-VAL-010", "CarePlan.status"),
    ("CarePlan", "subject", DROP, "GW-VAL-003", "CarePlan"),
    ("CarePlan", "activity/0/reference", {"reference": "Task/1"}, "GW-VAL-015", "CarePlan.activity[0]"),
    ("CarePlan", "activity/0/detail/status", DROP, "GW-VAL-003", "CarePlan.activity[0].detail"),
    ("CarePlan", "activity/0/detail/kind", "Patient", "GW-VAL-010", "CarePlan.activity[0].detail.kind"),
    ("CarePlan", "activity/0/detail/scheduledString", "x", "GW-VAL-008", "CarePlan.activity[0].detail"),
    ("MedicationRequest", "medicationReference", {"reference": "Medication/1"}, "GW-VAL-008", "MedicationRequest"),
    ("MedicationRequest", "medicationCodeableConcept", DROP, "GW-VAL-003", "MedicationRequest"),
    (
        "MedicationRequest",
        "dosageInstruction/0/timing/repeat/periodUnit",
        DROP,
        "GW-VAL-015",
        "MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
    (
        "MedicationRequest",
        "dosageInstruction/0/timing/repeat/period",
        -1,
        "GW-VAL-015",
        "MedicationRequest.dosageInstruction[0].timing.repeat",
    ),
    (
        "MedicationRequest",
        "dosageInstruction/0/timing/repeat/dayOfWeek",
        ["monday"],
        "GW-VAL-010",
        "MedicationRequest.dosageInstruction[0].timing.repeat.dayOfWeek[0]",
    ),
    (
        "MedicationRequest",
        "dosageInstruction/0/doseAndRate/0/doseRange",
        {"low": {"value": 1}},
        "GW-VAL-008",
        "MedicationRequest.dosageInstruction[0].doseAndRate[0]",
    ),
    ("Questionnaire", "status", DROP, "GW-VAL-003", "Questionnaire"),
    ("Questionnaire", "item/0/type", "box", "GW-VAL-010", "Questionnaire.item[0].type"),
    ("Questionnaire", "item/0/item/0/linkId", DROP, "GW-VAL-003", "Questionnaire.item[0].item[0]"),
    ("Questionnaire", "item/0/item/0/linkId", "1", "GW-VAL-015", "Questionnaire"),
    ("Questionnaire", "item/0/item/0/foo", 1, "GW-VAL-002", "Questionnaire.item[0].item[0]"),
    ("Questionnaire", "subjectType", ["Persons"], "GW-VAL-010", "Questionnaire.subjectType[0]"),
    ("Bundle", "type", DROP, "GW-VAL-003", "Bundle"),
    ("Bundle", "type", "pile", "GW-VAL-010", "Bundle.type"),
    ("Bundle", "total", 2, "GW-VAL-015", "Bundle"),
    ("Bundle", "entry/0/search", {"mode": "match"}, "GW-VAL-015", "Bundle"),
    ("Bundle", "entry/0/request", {"method": "GET", "url": "x"}, "GW-VAL-015", "Bundle"),
    ("Bundle", "entry/0/response", {"status": "200"}, "GW-VAL-015", "Bundle"),
    ("Bundle", "entry/2", {"link": [{"relation": "self", "url": "http://x"}]}, "GW-VAL-015", "Bundle.entry[2]"),
    ("Bundle", "entry/0/fullUrl", "Patient/a", "GW-VAL-061", "Bundle.entry[0]"),
    ("Bundle", "entry/0/fullUrl", "https://test.invalid/fhir/Patient/z", "GW-VAL-062", "Bundle.entry[0]"),
    ("Bundle", "entry/0/fullUrl", "https://test.invalid/fhir/Group/a", "GW-VAL-062", "Bundle.entry[0]"),
    ("Bundle", "entry/0/fullUrl", "https://test.invalid/fhir/Patient/a/_history/1", "GW-VAL-015", "Bundle.entry[0]"),
    ("Bundle", "entry/0/fullUrl", "urn:uuid:1", "GW-VAL-006", "Bundle.entry[0].fullUrl"),
    ("Bundle", "entry/0/resource/foo", 1, "GW-VAL-002", "Bundle.entry[0].resource"),
    ("Bundle", "entry/0/resource/resourceType", DROP, "GW-VAL-001", "Bundle.entry[0].resource"),
    ("Bundle", "entry/1/resource/status", DROP, "GW-VAL-003", "Bundle.entry[1].resource"),
    ("Bundle", "entry/1/resource/subject/reference", "Group/a", "", ""),
    ("Bundle", "entry/1/resource/subject/reference", "https://test.invalid/fhir/Encounter/b", "GW-VAL-017", "Bundle.entry[1].resource.subject"),
    ("Bundle", "link", [{"relation": "self"}], "GW-VAL-003", "Bundle.link[0]"),
    ("Document", "identifier", DROP, "GW-VAL-015", "Bundle"),
    ("Document", "timestamp", DROP, "GW-VAL-015", "Bundle"),
    ("Document", "entry/0/resource/subject/reference", "Patient/zz", "GW-VAL-063", "Bundle.entry[0].resource.subject"),
    ("Document", "entry/0/resource/author/0/reference", "Practitioner/zz", "GW-VAL-063", "Bundle.entry[0].resource.author[0]"),
    ("Document", "entry/0/resource/section/0/entry/0/reference", "Observation/zz", "GW-VAL-063", "Bundle.entry[0].resource.section[0].entry[0]"),
    ("Document", "entry/0/resource/title", DROP, "GW-VAL-003", "Bundle.entry[0].resource"),
    (
        "Document",
        "entry/4",
        {"fullUrl": "https://test.invalid/fhir/Basic/x", "resource": {"resourceType": "Basic", "id": "x", "code": {"text": "x"}}},
        "GW-VAL-064",
        "Bundle.entry[4]",
    ),
    ("Document", "entry/1/fullUrl", DROP, "GW-VAL-060", "Bundle.entry[1]"),
]  # fmt: skip

TWO = {
    # broken in two ways by nature: what leads to the entry is gone as well
    ("Document", "entry/0/resource/section/0/entry/0/reference"),
    ("Document", "entry/0/resource/author/0/reference"),
    ("Document", "entry/1/fullUrl"),
    ("ServiceRequest", "requester/reference"),
}

GOOD: dict[str, Any] = {
    "Base64Binary": "dGVzdA==", "Boolean": True, "Canonical": "http://x.invalid/a|1", "Code": "a b", "Date": "2024-02",
    "DateTime": "2024-01-01T00:00:00.123+14:00", "Decimal": Decimal("0.10"), "Id": "a-1.b", "Instant": "2024-01-01T00:00:00Z",
    "Integer": -5, "Markdown": "a *b*\n", "Oid": "urn:oid:1.2.3", "PositiveInt": 1, "String": "متن آزمایشی",
    "Time": "23:59:60", "UnsignedInt": 0, "Uri": "urn:x:y", "Url": "http://x.invalid", "Uuid": "urn:uuid:00000000-0000-4000-8000-000000000000",
    "Address": {"city": "x"}, "Age": {"value": 1, "code": "a", "system": "http://unitsofmeasure.org"}, "Annotation": {"text": "x", "time": "2024"},
    "Attachment": {"contentType": "text/plain", "data": "dGVzdA=="}, "CodeableConcept": {"text": "x"}, "Coding": {"display": "x"},
    "ContactPoint": {"system": "phone", "value": "1"}, "Count": {"value": 3, "code": "1", "system": "http://unitsofmeasure.org"},
    "Duration": {"value": 1, "code": "h", "system": "http://unitsofmeasure.org"},
    "HumanName": {"text": "x"}, "Identifier": {"value": "x"}, "Money": {"value": 1}, "Period": {"start": "2024"},
    "Quantity": {"value": 1}, "Range": {"low": {"value": 1}, "high": {"value": 2}}, "Ratio": {"numerator": {"value": 1}, "denominator": {"value": 2}},
    "Reference": {"display": "x"}, "Signature": {"type": [{"code": "x"}], "when": "2024-01-01T00:00:00Z", "who": {"display": "x"}},
    "Timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}, "Dosage": {"text": "x"}, "ContactDetail": {"name": "x"},
    "Expression": {"language": "text/fhirpath", "expression": "x"}, "Meta": {"versionId": "1"},
}  # fmt: skip

BAD: dict[str, list[tuple[Any, str]]] = {
    "Base64Binary": [("a", "006"), ("%%%%", "006"), ("", "007"), (1, "005"), ("dGVzdA=", "006"), ("====", "006")],
    "Boolean": [("true", "005"), (0, "005"), (None, "005"), ({}, "005")],
    "Canonical": [("a b", "006"), ("", "007"), (1, "005"), ("\t", "006")],
    "Code": [(" a", "006"), ("a ", "006"), ("a  b", "006"), ("", "007"), (1, "005"), (True, "005")],
    "Date": [("2024-13", "006"), ("2024-1", "006"), ("24", "006"), ("2024-02-30", "073"), ("2024-00-01", "006"), ("0000", "006"), (2024, "005")],
    "DateTime": [
        ("2024-01-01T00:00", "006"), ("2024-01-01T00:00:00", "072"), ("2024-01-01 00:00:00Z", "006"), ("2024-01-01T25:00:00Z", "006"),
        ("2024-01-01T00:60:00Z", "006"), ("2024-01-01T00:00:61Z", "006"), ("2024-01-01T00:00:00+15:00", "006"), ("2024-01T00:00:00Z", "006"),
        ("2024-04-31T00:00:00Z", "073"), ("T00:00:00Z", "006"), ("", "007"),
    ],
    "Decimal": [("1.0", "005"), (True, "005"), (None, "005"), ([1], "005")],
    "Id": [("a b", "006"), ("ä", "006"), ("a/b", "006"), ("", "007"), ("x" * 65, "006"), (1, "005")],
    "Instant": [("2024-01-01", "006"), ("2024", "006"), ("2024-01-01T00:00:00", "072"), (1, "005")],
    "Integer": [("1", "005"), (2**31, "006"), (-(2**31) - 1, "006"), (Decimal("1.5"), "005"), (True, "005")],
    "Markdown": [("", "007"), (" ", "006"), ("\x00", "006"), (1, "005")],
    "Oid": [("1.2.3", "006"), ("urn:oid:3.1", "006"), ("urn:oid:1.02", "006"), ("urn:oid:", "006"), (1, "005")],
    "PositiveInt": [(0, "006"), (-1, "006"), ("1", "005"), (2**31, "006"), (Decimal("1.0"), "005")],
    "String": [("", "007"), ("  ", "006"), ("\n\t", "006"), ("a\x01b", "006"), (1, "005"), (["x"], "005"), ({"a": 1}, "005"), ("x" * (1024 * 1024 + 1), "006")],
    "Time": [("24:00:00", "006"), ("12:00", "006"), ("12:00:00Z", "006"), ("1:00:00", "006"), (1, "005")],
    "UnsignedInt": [(-1, "006"), ("0", "005"), (2**31, "006")],
    "Uri": [("a b", "006"), ("", "007"), ("urn:uuid:1", "006"), ("urn:oid:9", "006"), (1, "005")],
    "Url": [("a b", "006"), ("", "007"), (1, "005")],
    "Uuid": [("00000000-0000-4000-8000-000000000000", "006"), ("urn:uuid:x", "006"), (1, "005")],
}  # fmt: skip

IN_TYPES: list[tuple[str, str, Any, str, str]] = [
    ("Address", "use", "x", "010", ".use"), ("Address", "line", "x", "005", ".line"), ("Address", "period", [], "005", ".period"),
    ("Age", "code", "1", "", ""), ("Age", "system", DROP, "015", ""), ("Annotation", "text", DROP, "003", ""),
    ("Annotation", "authorReference", {"reference": "Location/1"}, "017", ".author"), ("Annotation", "time", "x", "006", ".time"),
    ("Attachment", "contentType", DROP, "015", ""), ("Attachment", "contentType", "text plain", "010", ".contentType"), ("Attachment", "size", -1, "006", ".size"),
    ("CodeableConcept", "coding", {}, "005", ".coding"), ("CodeableConcept", "coding", [{"code": "a", "display": ""}], "007", ".coding[0].display"),
    ("Coding", "system", "a b", "006", ".system"), ("Coding", "foo", "x", "002", ""),
    ("ContactPoint", "system", "letter", "010", ".system"), ("ContactPoint", "rank", 0, "006", ".rank"), ("ContactPoint", "system", DROP, "015", ""),
    ("Count", "value", Decimal("1.5"), "015", ""), ("Duration", "system", "http://x.invalid", "015", ""),
    ("HumanName", "use", "x", "010", ".use"), ("HumanName", "prefix", "x", "005", ".prefix"), ("HumanName", "period", {"start": "2024", "end": "2023"}, "015", ".period"),
    ("Identifier", "use", "x", "010", ".use"), ("Identifier", "assigner", {"reference": "Patient/1"}, "017", ".assigner"), ("Identifier", "type", "x", "005", ".type"),
    ("Money", "value", "1", "005", ".value"), ("Period", "end", "2023", "015", ""), ("Period", "end", "2024-99", "006", ".end"),
    ("Quantity", "system", "ucum", "068", ""), ("Quantity", "code", "x", "015", ""), ("Quantity", "comparator", "=", "010", ".comparator"), ("Quantity", "unit", 1, "005", ".unit"),
    ("Range", "high", {"value": 0}, "015", ""), ("Range", "low", [], "005", ".low"), ("Ratio", "denominator", DROP, "015", ""),
    ("Reference", "reference", "#x", "018", ""), ("Reference", "reference", "x y", "020", ""), ("Reference", "identifier", {}, "007", ".identifier"),
    ("Signature", "when", DROP, "003", ""), ("Signature", "type", DROP, "003", ""), ("Signature", "who", DROP, "003", ""), ("Signature", "data", "!", "006", ".data"),
    ("Timing", "repeat/periodUnit", "x", "010", ".repeat.periodUnit"), ("Timing", "repeat/countMax", 3, "015", ".repeat"), ("Timing", "event", "2024", "005", ".event"),
    ("Timing", "repeat/when", ["XX"], "010", ".repeat.when[0]"), ("Dosage", "asNeededBoolean", "x", "005", ".asNeeded"), ("Dosage", "sequence", "1", "005", ".sequence"),
    ("Expression", "expression", "a..b", "075", ".expression"), ("Expression", "expression", "name.(", "075", ".expression"),
    ("Expression", "language", DROP, "003", ""), ("ContactDetail", "telecom", [{"value": "1"}], "015", ".telecom[0]"), ("Meta", "tag", {}, "005", ".tag"),
]  # fmt: skip


def holding(kind: str, value: Any) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "x", "value" + kind: value}]}


@pytest.mark.parametrize("name", INSTANCES)
def test_what_is_broken_below_is_valid_to_begin_with(book: Rulebook, name: str) -> None:
    """Otherwise the tests below would prove nothing."""
    assert book.validate(INSTANCES[name]) == () or not errors(book.validate(INSTANCES[name]))


@pytest.mark.parametrize(("name", "way", "value", "code", "location"), BASE, ids=lambda v: str(v)[:40])
def test_one_thing_broken_is_one_error_at_its_place(
    book: Rulebook, name: str, way: str, value: Any, code: str, location: str
) -> None:
    """A sender mends what is named; a second error for the same fault would send them looking for nothing."""
    found = errors(book.validate(change(INSTANCES[name], way, value)))
    if not code:
        assert found == []
        return
    assert (found[0].code, found[0].location) == (code, location) or (name, way) in TWO, found
    assert len(found) == 1 or (name, way) in TWO, found
    assert code in [each.code for each in found]


@pytest.mark.parametrize(("kind", "value"), GOOD.items(), ids=list(GOOD))
def test_a_right_value_of_every_type_is_accepted(book: Rulebook, kind: str, value: Any) -> None:
    """False alarms stop deliveries."""
    assert errors(book.validate(holding(kind, value))) == []


@pytest.mark.parametrize(
    ("kind", "value", "code"),
    [(kind, value, code) for kind, rows in BAD.items() for value, code in rows],
    ids=lambda v: repr(v)[:24],
)
def test_a_wrong_primitive_is_one_error(book: Rulebook, kind: str, value: Any, code: str) -> None:
    """FHIR R4 2.24.0.1: each primitive type has one format."""
    found = errors(book.validate(holding(kind, value)))
    assert [(each.code, each.location) for each in found] == [("GW-VAL-" + code, "Parameters.parameter[0].value")]


@pytest.mark.parametrize(("kind", "way", "value", "code", "below"), IN_TYPES, ids=lambda v: repr(v)[:24])
def test_a_wrong_part_of_a_datatype_is_one_error(
    book: Rulebook, kind: str, way: str, value: Any, code: str, below: str
) -> None:
    """The same rules hold wherever a datatype stands."""
    found = errors(book.validate(change(holding(kind, GOOD[kind]), f"parameter/0/value{kind}/{way}", value)))
    expected = [("GW-VAL-" + code, "Parameters.parameter[0].value" + below)] if code else []
    assert [(each.code, each.location) for each in found] == expected


def test_there_are_enough_of_them() -> None:
    """The promise is three hundred."""
    assert len(BASE) + sum(map(len, BAD.values())) + len(IN_TYPES) >= 300
