"""Promise: any HL7 v2 message becomes resources or findings, and what no rule read is listed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from maplab import HOME, NOW, PROGRAMME, submission

from gateway import map as mapping
from gateway import programme, validate
from gateway.formats import media
from gateway.message import Context, ItemResult

DATA = Path(os.environ.get("GATEWAY_TEST_DATA", HOME.parent / "shared" / "data")) / "hl7v2"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no sample messages at {DATA}")


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A programme that takes the shared mapping as it is."""
    home = tmp_path_factory.mktemp("home")
    (home / "mappings").mkdir()
    (home / "mappings" / "v2").symlink_to(HOME / "mappings" / "v2")
    own = home / "mappings" / "little"
    own.mkdir()
    text = PROGRAMME.format(format="hl7v2", zone="Europe/Rome").replace("map.yaml", "v2/any.yaml")
    (own / "programme.toml").write_text(text, encoding="utf-8")
    engine = mapping.load(home, [programme.load(home, "little")])

    def run(body: bytes) -> tuple[ItemResult, ...]:
        given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k")
        return engine.take_apart(submission("little", body, media.HL7V2), given)

    return run


def files() -> list[Path]:
    return sorted(DATA.glob("*.hl7")) if DATA.is_dir() else []


@needs_data
@pytest.mark.parametrize("path", files(), ids=lambda p: p.stem)
def test_a_handed_out_message(path: Path, anything: Any) -> None:
    """Resources whose references lead somewhere, or a refusal that says where; nothing in between."""
    for result in anything(path.read_bytes()):
        if result.refused:
            assert all(f.place for f in result.findings if f.severity == "error")
            continue
        made = {f"{r['resourceType']}/{r['id']}" for r in result.resources}
        assert any(reference.startswith("Patient/") for reference in made)
        assert {r for r in references(list(result.resources)) if "/" in r} <= made
        known = {lineage.element.partition("#")[0] for lineage in result.lineage}
        assert known <= made


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [r for child in value.values() for r in references(child)]
    return [r for child in value for r in references(child)] if isinstance(value, list) else []


HEAD = "MSH|^~\\&|A|B|C|D|20260101||{}|1|P|2.5\rPID|1||77^^^H^MR||Test^One\r"


def of(result: ItemResult, kind: str) -> list[dict[str, Any]]:
    return [each for each in result.resources if each["resourceType"] == kind]


def test_a_merge_links_and_never_deletes(anything: Any) -> None:
    """A40: both patients are there, each pointing to the other; the old one is inactive."""
    (result,) = anything((HEAD.format("ADT^A40") + "MRG|88^^^H^MR||||||Test^Old\r").encode())
    survivor, old = of(result, "Patient")
    assert survivor["link"] == [{"other": {"reference": f"Patient/{old['id']}"}, "type": "replaces"}]
    assert old["link"][0]["type"] == "replaced-by"
    assert old["active"] is False
    assert old["identifier"][0]["value"] == "88"


def test_a_result_message(anything: Any) -> None:
    """ORU^R01: a report with its observations, a number as a number, a text as a text."""
    text = HEAD.format("ORU^R01") + (
        "OBR|1|P1|F1|24323-8^Panel^LN|||20260101120000|||||||||||||||20260101130000||LAB|F\r"
        "OBX|1|NM|2345-7^Glucose^LN||98.50|mg/dL^^UCUM|70-110|N|||F\r"
        "OBX|2|NM|2160-0^Creatinine^LN||<0.2|mg/dL||||||F\r"
        "OBX|3|ST|8251-1^Comment^LN||fasting||||||P\r"
    )
    (result,) = anything(text.encode())
    (report,) = of(result, "DiagnosticReport")
    observations = of(result, "Observation")
    assert report["status"] == "final"
    assert [each["reference"] for each in report["result"]] == [f"Observation/{o['id']}" for o in observations]
    assert str(observations[0]["valueQuantity"]["value"]) == "98.50"
    assert observations[0]["valueQuantity"]["system"] == "http://unitsofmeasure.org"
    assert observations[1]["valueString"] == "<0.2"
    assert observations[2]["status"] == "preliminary"


def test_an_order_keeps_its_priority(anything: Any) -> None:
    """OMG and ORM: one request for each OBR, with the numbers of both sides."""
    text = HEAD.format("OMG^O19") + "ORC|NW|P1|F1||||||20260101\rTQ1|1||||||||S\rOBR|1|P1|F1|X1^Scan^L\r"
    (result,) = anything(
        text.replace("TQ1|1||||||||S\rOBR|1|P1|F1|X1^Scan^L", "OBR|1|P1|F1|X1^Scan^L\rTQ1|1||||||||S").encode()
    )
    (request,) = of(result, "ServiceRequest")
    assert request["priority"] == "stat"
    assert request["status"] == "active"
    assert [each["value"] for each in request["identifier"]] == ["P1", "F1"]


def test_an_appointment(anything: Any) -> None:
    """SIU: who, what, when."""
    text = HEAD.format("SIU^S12") + (
        "SCH|A1|B1|||||CHECK^Check-up^L|NORMAL|30|MIN|^^^20260201090000^20260201093000||||||||||||||Booked\r"
        "AIS|1||SCAN^Scan^L|20260201090000\rAIP|1||D1^Doc^Test\r"
    )
    (result,) = anything(text.encode())
    (appointment,) = of(result, "Appointment")
    assert appointment["status"] == "booked"
    assert appointment["start"] == "2026-02-01T09:00:00+01:00"
    assert appointment["minutesDuration"] == 30
    assert len(appointment["participant"]) == 2


def test_segments_of_ones_own_are_listed(anything: Any) -> None:
    """A Z segment that no rule reads is in the loss report, with what it said."""
    (result,) = anything((HEAD.format("ADT^A01") + "PV1|1|I\rZXX|one|two\r").encode())
    assert [(x.place.path, x.value) for x in result.loss if x.place.path.startswith("Z")] == [
        ("ZXX-1", "one"),
        ("ZXX-2", "two"),
    ]


def test_the_envelope_and_the_event(anything: Any) -> None:
    """MSH and EVN: who told whom what, and who did it when."""
    text = HEAD.format("ADT^A01").replace("|20260101|", "|20260101120000|")
    (result,) = anything((text + "EVN||20260101115900|||OP1^Oper^Test||Ward^1.2.3^ISO\rPV1|1|I\r").encode())
    (header,), (event,) = of(result, "MessageHeader"), of(result, "Provenance")
    assert header["eventCoding"]["code"] == "A01"
    assert (header["source"]["name"], header["sender"]["display"]) == ("A", "B")
    assert (header["destination"][0]["name"], header["destination"][0]["receiver"]["display"]) == ("C", "D")
    assert event["recorded"] == "2026-01-01T11:59:00+01:00"
    assert event["agent"][0]["who"]["identifier"]["value"] == "OP1"
    assert event["location"]["display"] == "Ward"
    (vague,) = anything((text + "EVN||202601\rPV1|1|I\r").encode())
    assert not of(vague, "Provenance"), "an instant is not invented"
    assert not vague.refused


def test_specimens_comments_and_roles(anything: Any) -> None:
    """SPM, NTE and ROL come out, and belong to what they stand with."""
    text = HEAD.format("ORU^R01") + (
        "ROL|1|AD|PP^Primary^HL70443|D9^Doc^Test|20260101\r"
        "OBR|1|P1|F1|X1^Panel^L\rNTE|1||about the order\r"
        "OBX|1|ST|X2^One^L||fine||||||F\rNTE|1||first line~second line||W1^Writer^Test|20260101120000\r"
        "OBX|2|ST|X3^Two^L||good||||||F\r"
        "SPM|1|SP1^SF1||BLD^Blood^HL70487||||||||2^mL|||||20260101110000|20260101113000||Y\r"
    )
    (result,) = anything(text.encode())
    (specimen,), (report,) = of(result, "Specimen"), of(result, "DiagnosticReport")
    assert report["specimen"] == [{"reference": f"Specimen/{specimen['id']}"}]
    assert specimen["collection"]["quantity"] == {"value": 2, "unit": "mL"}
    assert specimen["status"] == "available"
    one, two = of(result, "Observation")
    assert one["note"][0]["text"] == "first line second line"
    assert one["note"][0]["authorReference"]["display"] == "Test Writer"
    assert "note" not in two
    (role,), (patient,) = of(result, "PractitionerRole"), of(result, "Patient")
    assert patient["generalPractitioner"] == [{"reference": f"PractitionerRole/{role['id']}"}]
    unread = {x.place.path for x in result.loss if x.fate == "unread"}
    assert not {path for path in unread if path[:3] in ("SPM", "ROL", "NTE")}


def test_a_code_of_the_senders_own_is_kept_as_text(anything: Any) -> None:
    """A marital status that no table has is no reason to refuse a patient."""
    pid = HEAD.format("ADT^A08").rstrip("\r") + "|" * 11 + "Wed\r"
    (result,) = anything(pid.encode())
    (patient,) = of(result, "Patient")
    assert patient["maritalStatus"] == {"text": "Wed"}
    assert [f.severity for f in result.findings if f.code == "GW-MAP-025"] == ["warning"]
    assert not result.refused


@needs_data
def test_all_handed_out_messages_are_taken(anything: Any) -> None:
    """None of them is so wrong that nothing may come of it."""
    refused = [path.stem for path in files() for result in anything(path.read_bytes()) if result.refused]
    assert not refused


@pytest.fixture(scope="module")
def rulebook() -> validate.Rulebook:
    """FHIR R4 as published, without a programme's profiles."""
    return validate.load(HOME)


NO_HEART_RATE = {"GW-VAL-037", "GW-VAL-033"}  # LOINC 8867-4 with a text such as "60~120" instead of a number
NO_UNIT_NO_TIME = {"GW-VAL-003"}  # LOINC 8867-4 with a number, but without OBX-6 and OBX-14
RIGHTLY_REFUSED = {
    "BAR-P12-01": NO_HEART_RATE,
    "OML-O21-01": NO_UNIT_NO_TIME,
    "OML-O21-02": NO_UNIT_NO_TIME,
    "OUL-R22-01": NO_HEART_RATE,
    "OUL-R24-01": NO_HEART_RATE,
    "OUL-R24-02": NO_HEART_RATE,
    "RDE-O11-01": NO_HEART_RATE,
    "RDE-O25-01": NO_HEART_RATE,
}
"""Messages whose heart rate does not satisfy R4's own profile of it, and what is said of them."""


@needs_data
@pytest.mark.parametrize("path", files(), ids=lambda p: p.stem)
def test_a_handed_out_message_is_accepted_by_the_validator(
    path: Path, anything: Any, rulebook: validate.Rulebook
) -> None:
    """What a message becomes is valid R4, vital signs included; what is not is a fault of the message, and named."""
    given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k")
    errors = {
        found.code
        for result in anything(path.read_bytes())
        if not result.refused
        for found in rulebook.findings(result, given)
        if found.severity == "error"
    }
    assert errors == RIGHTLY_REFUSED.get(path.stem, set())
