"""SEPAS over SOAP, against the strict stand-in: signed, understood by a foreign SOAP client, UIDs carried forward."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import zeep
import zeep.transports
from deliver_world import SYSTEM, TestSigner, bill, destination, document, exchange, peer, routed, running, tools
from lxml import etree

from gateway.clock import SystemClock
from gateway.deliver import http_message, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.formats import json, xml
from gateway.message import Attempt, Outcome
from gateway.network import Outbound
from gateway.simulate import arrivals
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.faults import Faults
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import Running

VM = "{http://thrita.behdasht.gov.ir/VM/}"


def national(url: str, id: str = "sepas", **more: Any) -> Any:
    values: dict[str, Any] = {
        "protocol": "sepas-soap",
        "url": f"{url}/BillPatient/BillPatientPort",
        "system_id": SYSTEM,
        "signer": "raw-rsa-sha256",
        "body": "bill.yaml",
    }
    return destination(id, **(values | more))


def wire_to(url: str, key: TestSigner | None, **more: Any) -> tuple[Any, Outbound]:
    network = Outbound({"peer": peer(url)})
    return wires.make(national(url, **more), network, key, bill), network


async def send(wire: Any, receipts: dict[str, str] | None = None, record: str = "1001", number: int = 1) -> Outcome:
    now = SystemClock().now()
    body = json.write({"record": record})
    request, transport = wire.render(document("doc", body), exchange("e"), receipts or {}, number, now)
    attempt = Attempt(
        id="a", exchange="e", number=number, started_at=now, request=request, request_digest="", transport_id=transport
    )
    outcome: Outcome = await wire.send(attempt)
    return outcome


async def test_a_signed_bill_is_verified_by_the_receiver_and_gives_both_uids(
    signer: TestSigner, ca: Path, tmp_path: Path
) -> None:
    """The signature slot is only worth something if a stranger can verify it over the bytes that arrived."""
    log = tmp_path / "arrivals.jsonl"
    async with Running(Sepas(ArrivalLog(log), ca=ca)) as server:
        wire, network = wire_to(server.url, signer)
        outcome = await send(wire)
        await network.aclose()
    assert outcome.state == "delivered", outcome
    assert outcome.receipts["CompositionUID"].startswith("node-1.test::")
    assert outcome.receipts["PatientUID"].startswith("node-1.test::")
    verdict = list(arrivals.read(log))[1]["verdict"]
    assert verdict["signature"] == "verified"
    assert verdict["kept"] is True


async def test_the_dispatcher_carries_uids_from_one_answer_into_the_next_message(
    signer: TestSigner, ca: Path, tmp_path: Path, ledger: Any
) -> None:
    """A later bill of the same stay must update the composition, not make a second one, so it is rendered late."""
    first, second = exchange("e1", "sepas"), exchange("e2", "sepas")
    await ledger.commit(routed(first, second, body=b'{"record":"1001"}'))
    log = tmp_path / "arrivals.jsonl"
    async with Running(Sepas(ArrivalLog(log), ca=ca)) as server:
        wire, network = wire_to(server.url, signer)
        dispatcher = Dispatcher([national(server.url)], {"sepas": wire}, tools(ledger))
        async with running(dispatcher):
            await until_delivered(ledger, "e1", "e2")
        await network.aclose()
    verdicts = [line["verdict"]["result"] for line in arrivals.read(log) if "verdict" in line]
    assert verdicts == ["created", "updated"]
    tries = await ledger.attempts("e2")
    kept = await ledger.receipts("sepas", ["c-1", "s-1"])
    assert kept["CompositionUID"].encode() in tries[0].request


async def until_delivered(ledger: Any, *ids: str) -> None:
    for id in ids:
        for _ in range(400):
            found = await ledger.exchange(id)
            if found.state == "delivered":
                break
            await asyncio.sleep(0.02)
        assert found.state == "delivered", found


async def test_bytes_on_disk_are_the_bytes_that_arrive(
    signer: TestSigner, ca: Path, tmp_path: Path, ledger: Any
) -> None:
    """An attempt that was re-serialised on its way out would prove nothing afterwards."""
    await ledger.commit(routed(exchange("e1", "sepas"), body=b'{"record":"77"}'))
    log = ArrivalLog(tmp_path / "arrivals.jsonl")
    async with Running(Sepas(log, ca=ca)) as server:
        wire, network = wire_to(server.url, signer)
        async with running(Dispatcher([national(server.url)], {"sepas": wire}, tools(ledger))):
            await until_delivered(ledger, "e1")
        await network.aclose()
    tries = await ledger.attempts("e1")
    assert http_message.take_apart(tries[0].request).body == log.arrivals[0].body


async def test_a_node_that_is_down_makes_us_forget_its_uids_and_send_anew(
    signer: TestSigner, ca: Path, tmp_path: Path, ledger: Any
) -> None:
    """The UIDs of a dead node are refused for ever; only dropping them lets the record through."""
    log = tmp_path / "arrivals.jsonl"
    await ledger.commit(routed(exchange("e1", "sepas"), body=b'{"record":"9"}'))
    stand_in = Sepas(ArrivalLog(log), ca=ca, node="old-node")
    async with Running(stand_in) as server:
        wire, network = wire_to(server.url, signer)
        async with running(Dispatcher([national(server.url)], {"sepas": wire}, tools(ledger))):
            await until_delivered(ledger, "e1")
            stand_in.become("new-node")
            await ledger.commit(routed(exchange("e2", "sepas"), body=b'{"record":"9"}'))
            await until_delivered(ledger, "e2")
        await network.aclose()
    kept = await ledger.receipts("sepas", ["c-1", "s-1"])
    assert kept["PatientUID"].startswith("new-node::")
    assert kept["CompositionUID"].startswith("new-node::")
    assert len(await ledger.attempts("e2")) == 2


CATEGORIES = {
    "Date Validation": "rejected",
    "Mapping": "rejected",
    "National Locator": "due",
    "Structure": "parked",
    "Locator": "due",
    "Mandatory": "rejected",
    "Wrong Data": "rejected",
    "DB": "due",
    "Calculation": "rejected",
    "Logic": "rejected",
    "SepasBlock": "parked",
    "Network": "due",
    "Version": "parked",
    "Facility Validation": "parked",
    "Input Data": "rejected",
    "Data Format": "rejected",
    "Unknown": "parked",
    "SepasNode": "due",
}


@pytest.mark.parametrize(("category", "state"), CATEGORIES.items())
async def test_each_published_category_leads_where_the_table_says(
    signer: TestSigner, ca: Path, category: str, state: str
) -> None:
    """A rejection taken for an outage is sent for ever; an outage taken for a rejection is lost."""
    async with Running(Sepas(faults=Faults([f"category={category}"]), ca=ca)) as server:
        wire, network = wire_to(server.url, signer)
        outcome = await send(wire)
        await network.aclose()
    assert outcome.state == state
    assert outcome.findings[0].code == "GW-DELIVER-017"
    assert outcome.findings[0].args["detail"], "the national words are kept for the sender"
    assert outcome.forget == (("PatientUID", "CompositionUID") if category == "SepasNode" else ())


async def test_a_foreign_soap_client_and_the_stand_in_understand_each_other() -> None:
    """The stand-in would be worthless if it only understood our own codec: zeep builds its message from the WSDL."""

    def call(url: str) -> Any:
        client = zeep.Client(str(Path(__file__).parents[3] / "gateway" / "simulate" / "sepas.wsdl"))
        service = client.create_service("{http://sepas.behdasht.gov.ir/}BillPatientBinding", f"{url}/BillPatientPort")
        identifier = {"Issuer": "MOHME_IT", "Assigner": "MOHME_IT"}
        code = {"Value": "x", "Terminology_id": "thritaEHR.admissionType", "Coded_string": "2"}
        message = {
            "Person": {"NationalCode": "0012345679"},
            "MsgID": {
                "SystemID": {**identifier, "ID": SYSTEM, "Type": "System_ID"},
                "HealthCareFacilityID": {**identifier, "ID": "F", "Type": "Org_ID"},
            },
            "Composition": {
                "Admission": {
                    "AdmissionDate": {"Year": 1399, "Month": 12, "Day": 30},
                    "AdmissionType": code,
                    "MedicalRecordNumber": "5",
                }
            },
        }
        header = {"Sender": {"SystemID": {**identifier, "ID": SYSTEM, "Type": "System_ID"}}}
        return service.savePatientBill(PatientBillMessageVO=message, _soapheaders={"header": header})

    async with Running(Sepas()) as server:
        answer = await asyncio.to_thread(call, server.url)
    assert answer.ErrorMessage is None
    assert "::" in answer.CompositionUID
    assert "::" in answer.patientUID


async def test_a_foreign_soap_server_schema_reads_our_message(signer: TestSigner) -> None:
    """What we send must be readable by a stack that only knows the WSDL: zeep parses our envelope's body."""
    wire, network = wire_to("http://127.0.0.1:1", signer)
    request, _ = wire.render(document("doc", b'{"record":"5"}'), exchange("e"), {}, 1, SystemClock().now())
    await network.aclose()
    client = zeep.Client(str(Path(__file__).parents[3] / "gateway" / "simulate" / "sepas.wsdl"))
    root = xml.read(http_message.take_apart(request).body)
    element = client.get_element("{http://sepas.behdasht.gov.ir/}savePatientBill")
    read = element.parse(root.find(".//{http://sepas.behdasht.gov.ir/}savePatientBill"), client.wsdl.types)
    assert read.PatientBillMessageVO.Composition.Admission.AdmissionDate.Year == 1399
    assert read.PatientBillMessageVO.MsgID.CompositionSignature.SignatureValue
    header = client.get_element(f"{VM}HeaderMessageVO").parse(root.find(f".//{VM}HeaderMessageVO"), client.wsdl.types)
    assert header.Sender.SystemID.ID == SYSTEM
    assert header.Sender.Proof.Certificate


async def test_the_signature_slot_stays_empty_where_no_signer_is_asked_for() -> None:
    """Every public client leaves it empty, so that must be possible."""
    wire, network = wire_to("http://127.0.0.1:1", None, signer="none")
    request, _ = wire.render(document("doc", b"{}"), exchange("e"), {}, 1, SystemClock().now())
    await network.aclose()
    assert b"CompositionSignature" not in request


async def test_a_composition_that_was_changed_after_signing_is_refused(signer: TestSigner, ca: Path) -> None:
    """The receiver's check must be a real one, or the demonstration shows nothing."""
    wire, network = wire_to("http://127.0.0.1:1", signer)
    now = SystemClock().now()
    request, _ = wire.render(document("doc", b'{"record":"5"}'), exchange("e"), {}, 1, now)
    await network.aclose()
    body = http_message.take_apart(request).body
    changed = body.replace(b"MedicalRecordNumber>5<", b"MedicalRecordNumber>6<")
    assert changed != body
    stand_in = Sepas(ca=ca)
    headers = [("content-type", "text/xml; charset=utf-8")]
    for sent, result in ((body, "created"), (changed, "refused")):
        arrival = stand_in.log.arrived(now, "POST", "/", headers, sent, "")
        assert stand_in.judge(arrival).verdict["result"] == result


@pytest.mark.parametrize(
    ("made", "word"),
    [
        (TestSigner(facility="OTHER"), "OU"),
        (TestSigner(system="OTHER"), "T is not"),
        (TestSigner(days=(-20, -10)), "not valid"),
    ],
    ids=["other facility", "other system", "expired"],
)
async def test_the_stand_in_refuses_certificates_that_do_not_fit(made: TestSigner, word: str, tmp_path: Path) -> None:
    """Testers find out before go-live what the ministry would refuse."""
    path = tmp_path / "own.pem"
    path.write_bytes(made.ca_pem)
    async with Running(Sepas(ca=path)) as server:
        wire, network = wire_to(server.url, made)
        outcome = await send(wire)
        await network.aclose()
    assert outcome.state == "parked"
    assert word in outcome.findings[0].args["detail"]


async def test_a_certificate_of_another_authority_is_refused(signer: TestSigner, tmp_path: Path) -> None:
    """A chain that only looks right leads nowhere."""
    path = tmp_path / "stranger.pem"
    path.write_bytes(TestSigner().ca_pem)
    async with Running(Sepas(ca=path)) as server:
        wire, network = wire_to(server.url, signer)
        outcome = await send(wire)
        await network.aclose()
    assert outcome.state == "parked"
    assert "known authority" in outcome.findings[0].args["detail"]


def test_the_signature_is_over_canonical_bytes_without_the_envelope(signer: TestSigner) -> None:
    """A name space that the envelope declares must not change what was signed."""
    from gateway.deliver.sepas_soap import signed_bytes

    inner = xml.read(b'<v:Composition xmlns:v="http://thrita.behdasht.gov.ir/VM/"><v:A/></v:Composition>')
    before = signed_bytes(inner, exclusive=False)
    outer = etree.Element("{urn:x}Envelope", nsmap={"x": "urn:x"})
    outer.append(inner)
    assert signed_bytes(outer[0], exclusive=False) == before
