"""Promise: a document becomes the national message with its names, order, namespaces and calendar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from maplab import HOME, MAPPINGS, Apply

from gateway.errors import Misconfigured, Refused
from gateway.formats import json, xml
from gateway.map import Engine

VM = "{http://thrita.behdasht.gov.ir/VM/}"
SAMPLES = MAPPINGS / "sepas" / "samples"


def document(apply: Apply, *names: str) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for name in names:
        path = SAMPLES / name
        for result in apply("sepas", path.read_bytes(), path.suffix):
            for resource in result.resources:
                key = f"{resource['resourceType']}/{resource['id']}"
                resources[key] = {**resources.get(key, {}), **resource}
    return {
        "resourceType": "Bundle",
        "id": "document-1",
        "timestamp": "2026-01-10T06:00:00.000Z",
        "entry": [{"resource": resource} for resource in resources.values()],
    }


def bill(engine: Engine, bundle: dict[str, Any]) -> etree._Element:
    return xml.read(engine.render(bundle, "sepas/patient-bill", {}))


def texts(root: etree._Element, path: str) -> list[str | None]:
    return [each.text for each in root.findall("/".join(VM + step for step in path.split("/")))]


def test_the_bill_of_an_adt_and_its_dft(engine: Engine, apply: Apply) -> None:
    """One stay, two messages, one bill: person, admission in Jalali parts, services, money in Rial."""
    root = bill(engine, document(apply, "adt-a03.hl7", "dft-p03.hl7"))
    assert root.tag == "PatientBillMessageVO"
    assert [etree.QName(each).localname for each in root] == ["Person", "MsgID", "Composition"]
    assert texts(root, "Person/NationalCode") == ["0012345679"]
    for part, value in (("Year", "1404"), ("Month", "10"), ("Day", "15")):
        assert texts(root, f"Composition/Admission/AdmissionDate/{part}") == [value]
    assert texts(root, "Composition/Admission/AdmissionTime/Hour") == ["8"]
    assert texts(root, "Composition/BillSummary/TotalCharge/Magnitude") == ["41200000"]
    assert texts(root, "Composition/BillSummary/TotalCharge/Unit") == ["Rial"]
    assert texts(root, "Composition/BillServices/Service/Coded_string") == ["901", "600120", "260010"]
    assert texts(root, "Composition/Insurance/SHEBAD/ID") == ["HIDTEST01"]


def test_every_coded_text_is_a_whole_triple(engine: Engine, apply: Apply) -> None:
    """The server refuses a coded text that lacks one of its three parts."""
    for names in (("adt-a03.hl7", "dft-p03.hl7"), ("stay.json",)):
        root = bill(engine, document(apply, *names))
        coded = [each.getparent() for each in root.iter(f"{VM}Coded_string")]
        assert len(coded) > 8
        for each in coded:
            assert each is not None
            assert [etree.QName(child).localname for child in each] == ["Value", "Terminology_id", "Coded_string"]
            assert all(child.text for child in each)


@pytest.mark.parametrize("names", [("adt-a03.hl7", "dft-p03.hl7"), ("stay.json",)], ids=["hl7v2", "json"])
def test_the_bill_has_the_names_and_order_of_the_message_model(
    engine: Engine, apply: Apply, names: tuple[str, ...]
) -> None:
    """The stand-in's schema is written from the public names; what it refuses the repository would."""
    path = HOME / "gateway" / "simulate" / "sepas_vm.xsd"
    schema = path.read_text(encoding="utf-8").replace(
        "</xs:schema>", '<xs:element name="Bill" type="PatientBillMessageVO"/></xs:schema>'
    )
    root = bill(engine, document(apply, *names))
    root.tag = f"{VM}Bill"
    checker = etree.XMLSchema(xml.read(schema.encode()))
    assert checker.validate(root), checker.error_log


def test_the_bill_leaves_to_the_attempt_what_is_the_attempts(engine: Engine, apply: Apply) -> None:
    """Signature, system and the UIDs of earlier answers are not part of the document."""
    root = bill(engine, document(apply, "stay.json"))
    msg_id = root.find(f"{VM}MsgID")
    assert msg_id is not None
    found = {etree.QName(each).localname for each in msg_id}
    assert found == {"HealthCareFacilityID", "LocalId"}


def test_a_patient_without_national_code_is_marked(engine: Engine, apply: Apply) -> None:
    """WithoutId is the national message's own flag for it."""
    root = bill(engine, document(apply, "adt-a04-unidentified.hl7"))
    assert texts(root, "MsgID/WithoutId") == ["true"]
    assert texts(root, "Person/NationalCode") == []


def test_the_registration_of_the_other_system(engine: Engine, apply: Apply) -> None:
    """The same document in the shape of the programme's own system."""
    made = json.read(engine.render(document(apply, "adt-a03.hl7", "dft-p03.hl7"), "sepas/medcare", {}))
    assert made["group"] == "cancer"
    assert made["stay"]["admitted"] == "1404/10/15"
    assert [each["total"] for each in made["services"]] == [1200000, 25000000, 15000000]


def test_rendering_is_pure(engine: Engine, apply: Apply) -> None:
    """The same document gives the same bytes, today and in ten years."""
    bundle = document(apply, "stay.json")
    assert engine.render(bundle, "sepas/patient-bill", {}) == engine.render(bundle, "sepas/patient-bill", {})


def test_what_the_message_cannot_say_is_refused(engine: Engine, apply: Apply) -> None:
    """A class that the national list does not have is not turned into another."""
    bundle = document(apply, "adt-a03.hl7")
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "Encounter":
            entry["resource"] = {**entry["resource"], "class": {"code": "EMER"}}
    with pytest.raises(Refused) as caught:
        engine.render(bundle, "sepas/patient-bill", {})
    assert caught.value.code == "GW-MAP-003"


def test_an_unknown_target_is_an_operators_error(engine: Engine) -> None:
    """A destination that names no file says so."""
    with pytest.raises(Misconfigured) as caught:
        engine.render({"resourceType": "Bundle"}, "sepas/poem", {})
    assert caught.value.code == "GW-MAP-022"


def test_attributes_text_and_given_values(little: Any, tmp_path: Path) -> None:
    """XML that has attributes, and values that only the caller knows."""
    out = """
title: o
format: xml
root: Bill
namespaces: {root: "urn:r", children: "urn:c"}
body:
  "@id": Bundle.id
  Line:
    each: Patient.name
    "@n": $position
    "#text": .text
  Token: $given.token
"""
    mapping = "title: t\nsubject: p\nresources:\n  p: {resourceType: Patient, key: [id]}\n"
    engine = little(mapping, out__bill_yaml=out)
    bundle = {"id": "b", "entry": [{"resource": {"resourceType": "Patient", "name": [{"text": "x"}, {"text": "<y>"}]}}]}
    made = engine.render(bundle, "little/bill", {"token": "t"})
    assert made == (
        b"<?xml version='1.0' encoding='UTF-8'?>\n"
        b'<ns0:Bill xmlns:ns0="urn:r" id="b"><Line xmlns="urn:c" n="1">x</Line>'
        b'<Line xmlns="urn:c" n="2">&lt;y&gt;</Line><Token xmlns="urn:c">t</Token></ns0:Bill>'
    )
