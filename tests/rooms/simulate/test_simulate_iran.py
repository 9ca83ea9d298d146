"""The stand-ins of the national gateway and the registry, and both templates of the programme's own system."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from deliver_world import destination, document, exchange, peer

from gateway.clock import SystemClock
from gateway.commands import simulate as command
from gateway.deliver import wires
from gateway.formats import json, xml
from gateway.message import Attempt, Outcome
from gateway.network import Outbound
from gateway.simulate import ditas_lab
from gateway.simulate.arrivals import Arrival
from gateway.simulate.behzisti import Behzisti
from gateway.simulate.cancer_registry import VARIABLES, CancerRegistry
from gateway.simulate.ditas import Ditas
from gateway.simulate.faults import Faults
from gateway.simulate.medcare import Medcare
from gateway.simulate.registry import Registry
from gateway.simulate.server import Running

ROW = {
    "TumourID": "t-1", "Surname": "آزمایشی", "Sex": "2", "Age": "051", "BirthDate": "19700501", "AddressCode": "99",
    "IncidenceDate": "20210301", "Topography": "504", "Morphology": "8500", "Behaviour": "3", "BasisDiagnosis": "7",
}  # fmt: skip


def table(*rows: dict[str, str], separator: str = ";") -> bytes:
    lines = [separator.join(ROW), *(separator.join(row.values()) for row in rows)]
    return "\r\n".join([*lines, ""]).encode("utf-8-sig")


async def deliver(url: str, body: bytes, id: str = "e", **options: str) -> Outcome:
    """By the generic REST template."""
    network = Outbound({"peer": peer(url)})
    given = {
        "success": "$.status = REGISTERED",
        "rejected": "$.status = REFUSED",
        "reference": "$.reference",
        "media_type": "text/csv",
        **options,
    }
    place = destination("d", protocol="signed-rest", url=f"{url}/files", body="x.yaml", options=given)
    wire = wires.make(place, network, None, lambda *_: body)
    now = SystemClock().now()
    request, transport = wire.render(document("doc", b"{}"), exchange(id), {}, 1, now)
    attempt = Attempt(
        id="a", exchange=id, number=1, started_at=now, request=request, request_digest="", transport_id=transport
    )
    try:
        return await wire.send(attempt)
    finally:
        await network.aclose()


async def test_a_file_is_registered_and_a_tumour_that_comes_again_is_replaced() -> None:
    """Any of the separators that CanReg5 offers; the second version is not a second tumour."""
    stand_in = CancerRegistry()
    async with Running(stand_in) as server:
        first = await deliver(server.url, table(ROW, {**ROW, "TumourID": "t-2"}), **{"receipt.rows": "$.rows"})
        second = await deliver(server.url, table({**ROW, "Age": "052"}, separator=","), id="e2")
    assert (first.state, first.receipts, second.state) == ("delivered", {"rows": "2"}, "delivered")
    assert stand_in.tumours["t-1"]["Age"] == "052"
    assert len(stand_in.tumours) == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("Sex", "F"),
        ("Age", ""),
        ("BirthDate", "1970-05-01"),
        ("IncidenceDate", "2021"),
        ("Topography", "C504"),
        ("Morphology", "7500"),
        ("Behaviour", "5"),
        ("BasisDiagnosis", "8"),
        ("Surname", ""),
        ("AddressCode", ""),
    ],
)
async def test_a_row_with_a_wrong_variable_refuses_the_file_and_is_named(variable: str, value: str) -> None:
    """Row and variable, never the value; nothing of the file is kept."""
    stand_in = CancerRegistry()
    async with Running(stand_in) as server:
        outcome = await deliver(server.url, table(ROW, {**ROW, "TumourID": "t-2", variable: value}))
    assert outcome.state == "rejected"
    assert f"row 2: {variable}" in outcome.findings[0].args["detail"]
    assert not stand_in.tumours


@pytest.mark.parametrize(
    "fault", ["category=C07", "wrong-id", "unknown-code", "error-in-200", "html", "cut", "status=503"]
)
async def test_the_registry_can_be_ordered_to_fail(fault: str) -> None:
    """What is not a clear yes is never a delivery."""
    async with Running(CancerRegistry(faults=Faults([fault]))) as server:
        outcome = await deliver(server.url, table(ROW))
    assert outcome.state in ("rejected", "unknown", "due")


def test_every_variable_that_the_standard_registry_makes_mandatory_is_checked() -> None:
    """The list is public; the address of a patient is on it."""
    mandatory = {"Surname", "Sex", "Age", "BirthDate", "AddressCode", "IncidenceDate"}
    assert mandatory | {"Topography", "Morphology", "Behaviour", "BasisDiagnosis"} <= VARIABLES.keys()


# --- the programme's own system: a registration, or a file ----------------------------------------


async def test_a_registration_number_is_kept_as_a_receipt() -> None:
    """What the centre shows when somebody doubts that the service was registered."""
    async with Running(Medcare()) as server:
        options = {"media_type": "application/json", "receipt.registration": "$.registration"}
        outcome = await deliver(server.url, b'{"stay":1}', **options)
    assert (outcome.state, outcome.receipts) == ("delivered", {"registration": "MC-000001"})


STAY: dict[str, Any] = {
    "registration": {"reference": "b", "centre": "F"},
    "patient": {"nationalCode": "0012345679", "birthDate": "1359/01/01", "gender": "1"},
    "stay": {"class": "IMP", "admissionType": "2", "admitted": "1399/08/01"},
    "services": [{"code": "901", "count": 1, "date": "1399/08/01", "total": 100}],
}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"extra": 1}, "template"),
        ({"registration": {"centre": "F", "reference": "b"}}, "in their order"),
        ({"registration": {"reference": "b"}}, "centre is missing"),
        ({"patient": {"gender": "1"}}, "nationalCode"),
        ({"patient": {"withoutId": True}}, ""),
        ({"stay": {"admissionType": "3"}}, "codes"),
        ({"stay": {"admitted": "2020-10-22"}}, "Jalali"),
        ({"services": [{"code": "901", "total": "100"}]}, "another type"),
    ],
)
async def test_the_rest_template_is_strict_about_names_order_types_and_codes(change: dict[str, Any], word: str) -> None:
    """Its wire is not public; a tester still learns what his own mapping forgets."""
    async with Running(Medcare()) as server:
        outcome = await deliver(server.url, json.write({**STAY, **change}), media_type="application/json")
    assert outcome.state == ("rejected" if word else "delivered")
    assert word in str([each.args for each in outcome.findings])


@pytest.mark.parametrize(("repository", "code"), [(Medcare, "M03"), (Behzisti, "BZ-S03")])
def test_a_body_that_is_not_json_is_told_apart_from_a_bad_signature(repository: type[Registry], code: str) -> None:
    """A tester who looks at his key because his JSON is broken looks in the wrong place."""
    headers = [("idempotency-key", "k"), ("content-type", "application/json")]
    arrival = Arrival(1, SystemClock().now(), "POST", "/", headers, b'{"stay":')
    assert repository().judge(arrival).verdict["problems"] == [code]


async def test_the_file_template_puts_a_whole_file_into_the_folder(tmp_path: Path) -> None:
    """Where the system takes files: under the exchange's own name, once."""
    place = destination(
        "medcare", protocol="file-drop", url=str(tmp_path), body="x.yaml", options={"name": "{exchange}.csv"}
    )
    network = Outbound({})
    wire = wires.make(place, network, None, lambda *_: b"Registration,Centre\r\n")
    now = SystemClock().now()
    request, transport = wire.render(document("doc", b"{}"), exchange("e"), {}, 1, now)
    attempt = Attempt(
        id="a", exchange="e", number=1, started_at=now, request=request, request_digest="", transport_id=transport
    )
    assert (await wire.send(attempt)).state == "delivered"
    found = await wire.reconcile(exchange("e"), attempt)
    await network.aclose()
    assert found is not None
    assert found.state == "delivered"
    assert [each.name for each in tmp_path.iterdir()] == ["e.csv"]


# --- the laboratory batch ----------------------------------------


def item(**changed: Any) -> dict[str, Any]:
    doctor = {"identifier": {"id": "12345"}}
    whole: dict[str, Any] = {
        "msgID": {"systemID": {"id": "S"}, "healthCareFacilityID": {"id": "F"}, "universityID": {"id": "U"}},
        "person": {"nationalCode": "0012345679"},
        "composition": {"admission": {"attendingDoctor": doctor}, "generalLaboratoryResult": [{"code": "1"}]},
    }
    return {**whole, **changed}


@pytest.mark.parametrize(
    ("items", "word"),
    [
        ([item()], ""),
        ([], "data[]"),
        ([item(extra=1)], "msgID, person and composition"),
        ([item(msgID={"systemID": {"id": "S"}, "healthCareFacilityID": {"id": "F"}})], "universityID"),
        ([item(msgID={"systemID": {"id": "S"}, "universityID": {"id": "U"}})], "healthCareFacilityID"),
        ([item(composition={"generalLaboratoryResult": [1]})], "admission"),
        ([item(composition={"admission": {"x": 1}, "generalLaboratoryResult": [1]})], "physician"),
        ([item(), item(person={"NationalCode": "1"})], "camelCase"),
    ],
)
def test_a_batch_has_its_containers_its_identifiers_and_camel_case(items: list[Any], word: str) -> None:
    """Centre, university, physician and admission in each message: the public description says so."""
    found = ditas_lab.problems(json.write({"data": items}))
    assert (word in str(found)) if word else not found


# --- for testers ----------------------------------------


@pytest.mark.parametrize("name", ["ditas", "cancer-registry", "medcare", "sepas"])
def test_each_stand_in_is_a_command(name: str, tmp_path: Path) -> None:
    """`gateway simulate NAME` and nothing to install."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    more = ["--public-key", str(tmp_path / "key.pem"), "--pid", "0" * 24] if name == "ditas" else []
    made = command.make(parser.parse_args(["simulate", name, "--fail", "status=503", *more]))
    assert (made.name, made.faults.waiting) == (name, 1)
    if isinstance(made, Ditas):
        assert (tmp_path / "key.pem").read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----")


# --- the schema, against the public table of names ----------------------------------------

NAMES = {
    "PatientBillMessageVO": "Person MsgID Composition",
    "MessageIdentifierVO": "VersionLifecycleState IS_Queriable CompositionSignature SystemID HealthCareFacilityID "
    "PatientUID CompositionUID Committer LocalId UniversityID Version MessageUID RegisterUID WithoutId Deactivate",
    "SignatureVO": "SignatureValue SignatureMethod TimeStamp Certificate SubjectDN Thumbprint OrderType SignerRole",
    "DO_CODED_TEXT": "Value Terminology_id Coded_string",
    "DO_IDENTIFIER": "Issuer Assigner ID Type",
    "DO_QUANTITY": "Magnitude MagnitudeStatus Unit",
    "AdmissionVO": "AdmissionDate AdmissionTime AdmissionType MedicalRecordNumber Institute ReasonForEncounter "
    "AdmittingDoctor ReferringDoctor AttendingDoctor AdmissionWard OtherDateTime EMSID",
    "BillPatientCompositionVO": "Admission Discharge BillSummary BillServices Insurance Death Diagnosis",
    "DiagnosisVO": "Diagnosis Status Severity DiagnosisDate DiagnosisTime Comment",
    "DischargeVO": "DischargeDate DischargeTime ConditionOnDischarge",
    "InsuranceVO": "Insurer InsuranceBox InsuredNumber InsuranceBookletSerialNumber InsuranceExpirationDate SHEBAD "
    "InsuranceContribution InsuranceOtherCosts",
    "ServiceDetailsVO": "Service ServiceType ServiceCount TotalCharge BasicInsuranceContribution PatientContribution "
    "OtherCosts RelativeCost StartDate StartTime EndDate EndTime WardType WardName Room Bed ServiceProvider PKID "
    "RelatedService ExtraLocation",
    "BillSummaryVO": "TotalCharge TotalPatientContribution TotalBasicInsuranceContribution TotalOtherCosts "
    "ServiceGroupRow MedicalRecordType GlobalPackage HospitalAccreditation Insurer InsurerBox",
    "PathologyVO": "Specimen MacroscopicExamination MicroscopicExamination ClinicalInformation PathologyDiagnosis",
    "PathologyDiagnosisVO": "Diagnosis Topography TopographyLaterality Morphology MorphologyDifferentiation",
    "HeaderMessageVO": "Sender SenderList",
    "SystemSenderVO": "SystemID LocationID IP URL Proof DateTimeStamp",
    "ResultVO": "MessageUID ErrorMessage CompositionUID patientUID",
}
TYPES = {
    "MessageIdentifierVO/IS_Queriable": "xs:boolean",
    "MessageIdentifierVO/CompositionSignature": "SignatureVO",
    "MessageIdentifierVO/SystemID": "DO_IDENTIFIER",
    "SignatureVO/SignatureValue": "xs:base64Binary",
    "SignatureVO/TimeStamp": "xs:dateTime",
    "SignatureVO/SignerRole": "DO_CODED_TEXT",
    "InsuranceVO/SHEBAD": "DO_IDENTIFIER",
    "BillSummaryVO/HospitalAccreditation": "xs:int",
    "PersonInfoVO/BirthDate": "DO_DATE",
    "ServiceDetailsVO/TotalCharge": "DO_QUANTITY",
}
XS = "{http://www.w3.org/2001/XMLSchema}"


def declared(name: str) -> dict[str, str]:
    path = Path(__file__).parents[3] / "gateway" / "simulate" / "sepas_vm.xsd"
    (kind,) = (each for each in xml.read(path.read_bytes()).findall(f"{XS}complexType") if each.get("name") == name)
    return {each.get("name", ""): each.get("type", "") for each in kind.iter(f"{XS}element")}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_order_of_the_schema_are_those_of_the_public_table(name: str) -> None:
    """With the misspellings that the wire has; the stand-in refuses whatever is elsewhere."""
    assert list(declared(name)) == NAMES[name].split()


@pytest.mark.parametrize("place", TYPES)
def test_types_of_the_schema_are_those_of_the_public_table(place: str) -> None:
    """Of what the table gives a type; the others are said to be our reading."""
    name, _, element = place.partition("/")
    assert declared(name)[element] == TYPES[place]


def test_a_person_has_the_misspelt_name_of_the_wire() -> None:
    """Mended by a well-meaning reader, the element would be refused there."""
    assert "JobDescribtion" in declared("PersonInfoVO")
