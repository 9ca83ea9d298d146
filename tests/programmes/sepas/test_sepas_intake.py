"""Every form of input and every kind of person makes the same stay; words and letter forms are taken as they come."""

from __future__ import annotations

from typing import Any

import pytest
from sepas_house import AT, House, errors, resources
from sepas_inputs import ROOT, SAMPLES, stay

from gateway.commands.demo_inputs import workbook
from gateway.formats import json, media
from gateway.gather import routes
from gateway.message import Json

KINDS = {
    ".hl7": media.HL7V2,
    ".json": media.JSON,
    ".csv": media.CSV,
    ".xml": media.XML,
    ".fhir": media.FHIR_JSON,
}


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


def sample(name: str, *swaps: tuple[str, str]) -> tuple[bytes, str]:
    body = (SAMPLES / name).read_text(encoding="utf-8")
    for old, new in swaps:
        assert old in body, old
        body = body.replace(old, new)
    suffix = "." + name.rpartition(".")[2]
    return (body.replace("\n", "\r") if suffix == ".hl7" else body).encode(), KINDS[suffix]


def made(house: House, *names: str) -> Json:
    results = []
    for name in names:
        result, findings = house.examine(*sample(name))
        assert errors(findings) == [], name
        results.append(result)
    return house.document(*results)


@pytest.mark.parametrize("name", ["stay.json", "services.csv", "bill.xml", "bundle.fhir"])
def test_every_form_of_a_whole_stay_makes_the_same_kinds_of_resources(house: House, name: str) -> None:
    """One PatientBill version needs person, centre, stay, diagnoses and services, whatever they came in."""
    bundle = made(house, name)
    kinds = {each["resource"]["resourceType"] for each in bundle["entry"]}
    assert {"Patient", "Organization", "Encounter", "Condition", "ChargeItem", "Claim", "EpisodeOfCare"} <= kinds
    (patient,) = resources(bundle, "Patient")
    assert {"0012345679", "MR-1001"} <= {each["value"] for each in patient["identifier"]}
    for entry in bundle["entry"]:
        said = house.book.validate(entry["resource"])
        assert [each.code for each in said if each.severity == "error"] == []


def test_the_same_stay_by_two_ways_is_one_case_and_one_patient(house: House) -> None:
    """A centre may send a stay as messages and its corrections as a table."""
    first, _ = house.examine(*sample("bill.xml"))
    second, _ = house.examine(*sample("services.csv", ("V-7100", "V-8100")))
    assert first.case == second.case
    assert first.subject == second.subject
    bundle = house.document(first, second)
    assert len(resources(bundle, "Encounter")) == len(resources(bundle, "Patient")) == 1


@pytest.mark.parametrize(
    ("name", "path", "official"),
    [
        ("adt-a03.hl7", "national", True),
        ("adt-a08-foreigner.hl7", "foreign", True),
        ("adt-a04-newborn.hl7", "newborn", False),
        ("adt-a04-unidentified.hl7", "unidentified", False),
    ],
)
def test_nobody_is_refused_for_lacking_a_code_of_another_kind(
    house: House, name: str, path: str, official: bool
) -> None:
    """Citizens, foreigners, newborns and people whom nobody knows, each with an identifier of their own."""
    result, findings = house.examine(*sample(name))
    assert errors(findings) == []
    (patient,) = (each for each in result.resources if each["resourceType"] == "Patient")
    assert patient["extension"][0]["valueCode"] == path
    assert any(each.get("use") == "official" for each in patient["identifier"]) is official


def test_letter_forms_and_words_are_taken_and_the_exact_code_is_given(house: House) -> None:
    """ي and ك for ی and ک, words for codes, either letter case; what goes out is exact."""
    result, findings = house.examine(*sample("services.csv", ("نهایی", "نهايي"), ("Z49.1", "z49.1")))
    assert errors(findings) == []
    found: dict[str, list[Json]] = {}
    for each in result.resources:
        found.setdefault(each["resourceType"], []).append(each)
    encounter, coverage = found["Encounter"][0], found["Coverage"][0]
    assert encounter["extension"][0]["valueCoding"] == {
        "system": "urn:thritaEHR:admissionType",
        "code": "1",
        "display": "سرپایی",
    }
    assert encounter["class"]["code"] == "AMB"
    assert coverage["payor"][0] == {
        "identifier": {"system": "urn:thritaEHR:insurer", "value": "2"},
        "display": "بیمه سلامت",
    }
    assert found["Condition"][0]["code"]["coding"][0]["code"] == "Z49.1"


def test_a_cancelled_discharge_opens_the_stay_and_a_cancelled_admission_ends_it(house: House) -> None:
    """A13 takes the discharge away; A11 completes the case, so that what was sent is taken back."""
    undone, _ = house.examine(*sample("adt-a13.hl7"))
    assert "-discharge" in undone.parts
    gone, findings = house.examine(*sample("adt-a11.hl7"))
    assert errors(findings) == []
    assert gone.parts == ("cancelled",)
    bundle = house.document(*(house.examine(*sample(n))[0] for n in ("adt-a03.hl7", "dft-p03.hl7", "adt-a11.hl7")))
    assert resources(bundle, "Encounter")[0]["status"] == "cancelled"
    assert {"sepas", "medcare"} <= set(routes.destinations(house.programme, "stay", bundle, AT))
    assert not {"sepas", "medcare"} & set(routes.destinations(house.programme, "stay", house.document(gone), AT))
    assert resources(bundle, "Claim")[0]["status"] == "cancelled"


def test_a_credited_charge_is_no_part_of_the_bill(house: House) -> None:
    """FT1-6 CD takes a charge back: it stays as a record and costs nothing."""
    adt, _ = house.examine(*sample("adt-a03.hl7"))
    dft, findings = house.examine(
        *sample("dft-p03.hl7", ("20260106|20260110|CG|260010", "20260106|20260110|CD|260010"))
    )
    assert errors(findings) == []
    bundle = house.document(adt, dft)
    assert len(resources(bundle, "ChargeItem")) == 3
    (claim,) = resources(bundle, "Claim")
    assert [each["sequence"] for each in claim["item"]] == [1, 2]
    assert claim["total"]["value"] == 26200000


def test_a_hid_that_was_bound_later_goes_before_the_reserved_one(house: House) -> None:
    """A reserved HID serves while the insurer is not reachable; the bill is sent again with the final one."""
    body = json.read(stay(1, ("C50.4",)))
    body["visit"] = "V-9001"
    body["patient"] = json.read(sample("stay.json")[0])["patient"]
    body["insurance"][0] |= {"hid": "HIDRSV01", "hidReserved": True}
    first, findings = house.examine(json.write(body))
    assert errors(findings) == []
    row = "\n".join(sample("hid.csv")[0].decode().splitlines()[:2]).encode()
    second, findings = house.examine(row, media.CSV)
    assert errors(findings) == []
    assert first.case == second.case
    assert first.subject == second.subject
    (encounter,) = resources(house.document(first, second), "Encounter")
    hids = [each for each in encounter["identifier"] if each["system"].endswith("/identifier/hid")]
    assert [(each["value"], each.get("use")) for each in hids] == [("HIDTEST22", None), ("HIDRSV01", "temp")]


def test_an_insurers_answer_finds_the_charge_that_it_is_about(house: House) -> None:
    """By PKID, which the bill gave; or by the centre's own numbers of stay and service."""
    bill, _ = house.examine(*sample("stay.json"))
    charges = {
        each["identifier"][0]["value"]: each["id"] for each in bill.resources if each["resourceType"] == "ChargeItem"
    }
    table, findings = house.examine(*sample("reimbursement-table.csv"))
    assert errors(findings) == []
    (answer,) = table.resources
    about = [item["extension"][0]["valueReference"]["reference"] for item in answer["item"]]
    assert about == [f"ChargeItem/{charges['S-1']}", f"ChargeItem/{charges['S-2']}"]
    swaps = ("0123456789abcdef0123456789abcdef", charges["S-2"])
    wire, findings = house.examine(*sample("reimbursement.xml", swaps))
    assert errors(findings) == []
    (answer,) = wire.resources
    (item,) = answer["item"]
    assert item["extension"][0]["valueReference"]["reference"] == f"ChargeItem/{charges['S-2']}"
    deduction = item["adjudication"][2]
    assert deduction["category"]["coding"][0]["code"] == "deduction"
    assert deduction["amount"] == {"value": 3000000, "currency": "IRR"}
    assert [each["code"] for each in deduction["reason"]["coding"]] == ["4", "R-12"]


def test_a_pathology_report_gives_a_tumour_with_every_axis(house: House) -> None:
    """Topography, morphology, behaviour, grade, side and basis of diagnosis, in exact ICD-O-3 (A-35)."""
    (tumour,) = resources(made(house, "oru-pathology.hl7"), "Condition")
    axes: dict[str, Any] = {
        each["url"].rpartition("/")[2]: each["valueCoding"]["code"]
        for each in tumour["extension"]
        if "valueCoding" in each
    }
    assert tumour["bodySite"][0]["coding"][0]["code"] == "C50.4"  # sent as C504
    assert axes == {
        "morphology": "8500/3",
        "behaviour": "3",
        "differentiation": "2",
        "laterality": "1",
        "basis-of-diagnosis": "7",
    }
    assert tumour["onsetDateTime"] == "2026-01-06"


def test_a_merge_links_two_records_and_deletes_none(house: House) -> None:
    """A40: the older record points to the one that goes on, and back."""
    result, findings = house.examine(*sample("adt-a40.hl7"))
    assert errors(findings) == []
    kept, merged = (each for each in result.resources if each["resourceType"] == "Patient")
    assert kept["link"] == [{"type": "replaces", "other": {"reference": f"Patient/{merged['id']}"}}]
    assert merged["active"] is False
    assert merged["link"][0]["type"] == "replaced-by"


def test_one_bad_result_of_a_laboratorys_batch_is_refused_alone(house: House) -> None:
    """Each member of the batch is an item of its own."""
    body = json.read(sample("laboratory.json")[0])
    body["data"][1]["person"]["nationalCode"] = "0012345678"
    sent, _ = sample("laboratory.json")
    assert sent
    found = house.examine_all(json.write(body), media.JSON)
    assert [bool(errors(findings)) for _, findings in found] == [False, True]


def test_a_workbook_is_read_like_the_table_that_it_holds(house: House) -> None:
    """One row a service, as CSV or as XLSX."""
    rows = [line.split(";") for line in sample("services.csv")[0].decode().splitlines()]
    table, _ = house.examine(*sample("services.csv"))
    book, findings = house.examine(workbook(rows), media.XLSX)
    assert errors(findings) == []
    assert [each["id"] for each in book.resources] == [each["id"] for each in table.resources]
