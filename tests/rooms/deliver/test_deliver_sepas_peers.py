"""SOAP peers that were not written for this codec, and the life of a record against the strict stand-in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zeep
from deliver_world import SYSTEM, TestSigner, bill, destination, document, exchange, peer
from lxml import etree

from gateway.clock import SystemClock
from gateway.deliver import wires
from gateway.formats import json, xml
from gateway.message import Attempt, Outcome
from gateway.network import Outbound
from gateway.simulate.faults import Faults
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import Running

WSDL = Path(__file__).parents[3] / "gateway" / "simulate" / "sepas.wsdl"
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
SERVICE = "{http://sepas.behdasht.gov.ir/}"
VM = "{http://thrita.behdasht.gov.ir/VM/}"


def wire_to(url: str, signer: TestSigner | None, national: Any = bill, **options: str) -> tuple[Any, Outbound]:
    network = Outbound({"peer": peer(url)})
    place = destination(
        "sepas",
        protocol="sepas-soap",
        url=f"{url}/BillPatient/BillPatientPort",
        system_id=SYSTEM,
        signer="raw-rsa-sha256" if signer else "none",
        body="bill.yaml",
        options=options,
    )
    return wires.make(place, network, signer, national), network


async def send(wire: Any, receipts: dict[str, str] | None = None, number: int = 1) -> Outcome:
    now = SystemClock().now()
    made = document("doc", json.write({"record": "1001"}))
    request, transport = wire.render(made, exchange("e"), receipts or {}, number, now)
    attempt = Attempt(
        id="a", exchange="e", number=number, started_at=now, request=request, request_digest="", transport_id=transport
    )
    outcome: Outcome = await wire.send(attempt)
    return outcome


# --- a server whose every element is read and written by zeep ----------------------------------------


class Foreign:
    """Parses requests and renders answers by the WSDL alone; it keeps what it understood."""

    def __init__(self, error: str = "") -> None:
        self.client = zeep.Client(str(WSDL))
        self.error, self.messages, self.headers = error, [], []  # type: str, list[Any], list[Any]

    def answer(self, body: bytes) -> bytes:
        root = xml.read(body)
        operation = self.client.get_element(f"{SERVICE}savePatientBill")
        header = self.client.get_element(f"{VM}HeaderMessageVO")
        types = self.client.wsdl.types
        self.messages.append(operation.parse(root.find(f"{SOAP}Body")[0], types))
        self.headers.append(header.parse(root.find(f"{SOAP}Header")[0], types))
        response = self.client.get_element(f"{SERVICE}savePatientBillResponse")
        result = {"MessageUID": "m-1", "ErrorMessage": self.error or None}
        if not self.error:
            result |= {"CompositionUID": "foreign::c-1", "patientUID": "foreign::p-1"}
        envelope = etree.Element(f"{SOAP}Envelope")
        response.render(etree.SubElement(envelope, f"{SOAP}Body"), response(**{"return": result}))
        return etree.tostring(envelope, xml_declaration=True, encoding="utf-8")

    @contextmanager
    def running(self) -> Iterator[str]:
        foreign = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = foreign.answer(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-type", "text/xml; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing of a request is printed."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


async def test_a_server_of_a_foreign_soap_library_understands_us_and_we_understand_it(signer: TestSigner) -> None:
    """Both directions by somebody else's codec: what it parsed is what we meant, what it rendered is delivered."""
    foreign = Foreign()
    with foreign.running() as url:
        wire, network = wire_to(
            url, signer, sender_list="yes", committer="12345", university_id="U-1", queriable="true"
        )
        outcome = await send(wire)
        await network.aclose()
    assert (outcome.state, dict(outcome.receipts)) == (
        "delivered",
        {"MessageUID": "m-1", "CompositionUID": "foreign::c-1", "PatientUID": "foreign::p-1"},
    )
    (message,), (header,) = foreign.messages, foreign.headers
    bill_ = message.PatientBillMessageVO
    assert bill_.Person.LastName == "آزمایشی"
    assert bill_.Composition.Admission.AdmissionDate.Year == 1399
    assert bill_.MsgID.VersionLifecycleState.Coded_string == "1.1.1.2"
    assert bill_.MsgID.Committer.Identifier.Type == "Med_ID"
    assert bill_.MsgID.UniversityID.ID == "U-1"
    assert bill_.MsgID.IS_Queriable is True
    assert bill_.MsgID.CompositionSignature.SignatureValue
    assert header.Sender.SystemID.ID == SYSTEM
    assert header.SenderList


async def test_a_foreign_server_s_refusal_keeps_its_words(signer: TestSigner) -> None:
    """The national text reaches the sender as it was said."""
    foreign = Foreign("Mapping: InsuranceBox is invalid")
    with foreign.running() as url:
        wire, network = wire_to(url, signer)
        outcome = await send(wire)
        await network.aclose()
    assert outcome.state == "rejected"
    assert outcome.findings[0].args == {"category": "coding", "detail": "Mapping: InsuranceBox is invalid"}


# --- the life of a record ----------------------------------------


def withdrawing(*given: Any) -> bytes:
    return bill(*given).replace(
        b"</v:HealthCareFacilityID>", b"</v:HealthCareFacilityID><v:Deactivate>true</v:Deactivate>"
    )


async def test_save_update_deactivate_and_a_new_life(signer: TestSigner, ca: Path) -> None:
    """After a withdrawal the old CompositionUID is dead there, so it must not be used again here."""
    stand_in = Sepas(ca=ca)
    async with Running(stand_in) as server:
        wire, network = wire_to(server.url, signer)
        taking_back, other = wire_to(server.url, signer, withdrawing)
        saved = await send(wire)
        updated = await send(wire, dict(saved.receipts))
        gone = await send(taking_back, dict(updated.receipts))
        kept = {**saved.receipts, **gone.receipts} | dict.fromkeys(gone.forget, "")
        again = await send(wire, kept)
        dead = await send(wire, dict(saved.receipts))
        for each in (network, other):
            await each.aclose()
    assert updated.receipts["CompositionUID"] == saved.receipts["CompositionUID"]
    assert (gone.state, gone.forget) == ("delivered", ("CompositionUID",))
    assert again.receipts["PatientUID"] == saved.receipts["PatientUID"]
    assert again.receipts["CompositionUID"] != saved.receipts["CompositionUID"]
    assert (dead.state, len(stand_in.withdrawn)) == ("rejected", 1)


async def test_what_was_never_accepted_is_not_withdrawn_on_the_wire(signer: TestSigner, ca: Path) -> None:
    """The record would refuse it, and there is nothing to take back; it is said, not hidden."""
    stand_in = Sepas(ca=ca)
    async with Running(stand_in) as server:
        wire, network = wire_to(server.url, signer, withdrawing)
        outcome = await send(wire)
        await network.aclose()
    assert (outcome.state, outcome.codes) == ("delivered", ("GW-DELIVER-024",))
    assert stand_in.log.count == 0


async def test_the_uid_may_be_kept_where_a_node_wants_it_so(signer: TestSigner, ca: Path) -> None:
    """What a node does with a withdrawn record is not published: a setting."""
    async with Running(Sepas(ca=ca)) as server:
        wire, network = wire_to(server.url, signer, withdrawing, after_deactivate="keep")
        saving, other = wire_to(server.url, signer)
        saved = await send(saving)
        gone = await send(wire, dict(saved.receipts))
        for each in (network, other):
            await each.aclose()
    assert gone.forget == ()
    assert gone.receipts["CompositionUID"] == saved.receipts["CompositionUID"]


@pytest.mark.parametrize("answer", ["", "MessageUID only"])
async def test_an_answer_without_uids_is_not_a_delivery(signer: TestSigner, ca: Path, answer: str) -> None:
    """An empty result from a dying node must not count."""
    order = "empty" if not answer else "wrong-id"
    async with Running(Sepas(faults=Faults([order]), ca=ca)) as server:
        wire, network = wire_to(server.url, signer)
        outcome = await asyncio.wait_for(send(wire), 10)
        await network.aclose()
    assert outcome.state == "unknown"
