"""SPCoop over real sockets, in its four profiles: against the stand-in, against liars, read by other software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import signxml
from deliver_world import AT, QUICK, Memory, destination, document, exchange, routed, running, tools, until
from lxml import etree
from parrot import Close, Command, Drip, Parrot, Read, Reset, Send, Wait, http

from gateway.clock import FixedClock
from gateway.deliver import http_message, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.hearing import Hearing
from gateway.deliver.spcoop import serial
from gateway.errors import Misconfigured, NotAllowed, Refused
from gateway.formats import egov
from gateway.formats.egov import Envelope, Failure, Party
from gateway.message import Attempt, Exchange
from gateway.network import Outbound
from gateway.ports import Wire
from gateway.settings import Destination, Key, Peer
from gateway.sign import dev_ca
from gateway.sign.keyring import KeyRing
from gateway.sign.requests import request_signer_for
from gateway.simulate.cart import Cart
from gateway.simulate.faults import Faults
from gateway.simulate.server import Running
from gateway.simulate.spcoop import Spcoop as SpcoopDesk

SOAP = "text/xml; charset=utf-8"
WAIT = 0.4
OPTIONS = {
    "office": "AziendaTest",
    "door": "AziendaTestSPCoopIT",
    "receiver": "RegioneTest",
    "service": "Prenotazioni",
    "action": "invia",
    "success": "$.esito = OK",
    "rejected": "$.esito = KO",
    "pending": "$.esito = IN_CORSO",
    "text": "$.descrizione",
    "reconcile_seconds": "0",
    "told_by": "cart",
}


def national(document: Any, target: str, values: Mapping[str, str]) -> bytes:
    return b'<p:prenotazione xmlns:p="urn:test"><p:numero>1</p:numero></p:prenotazione>'


def place(url: str = "https://cart.invalid/pd", **more: str) -> Destination:
    return destination(protocol="spcoop", url=url, body="p/b", options={**OPTIONS, **more})


def wire_to(url: str, network: Any = None, clock: Any = None, **more: str) -> Wire:
    return wires.make(place(url, **more), network or Outbound({}), None, national, clock=clock)


def rendered(wire: Wire, one: Exchange | None = None, now: datetime = AT) -> tuple[http_message.Request, str]:
    one = one or exchange("e1", position=7_000_003, created_at=AT)
    request, id = wire.render(document("doc-e1"), one, {}, 1, now)
    return http_message.take_apart(request), id or ""


# --- what leaves ----------------------------------------


def test_an_envelope_says_what_the_agreement_says() -> None:
    """Read by the reader of envelopes and by XPath; the body is the national message and nothing else."""
    request, id = rendered(wire_to("https://cart.invalid/pd", expires_minutes="30", soap_action="invia"))
    message = egov.parse(request.body)
    one = message.envelope
    assert (one.sender.name, one.receiver.name, one.service, one.action) == (
        "AziendaTest",
        "RegioneTest",
        "Prenotazioni",
        "invia",
    )
    assert one.profile == egov.SYNCHRONOUS
    assert one.id == id == "AziendaTest_AziendaTestSPCoopIT_0003503_2026-11-21_09:00"
    assert one.expires_at == AT + timedelta(minutes=30)
    assert one.forwarding == "EGOV_IT_ALPIUUNAVOLTA"
    assert one.hops[0].target.name == "RegioneTest"
    assert [each.tag for each in message.body] == ["{urn:test}prenotazione"]
    assert not list(egov.faults(one, AT))
    assert request.headers["SOAPAction"] == '"invia"'


def test_every_try_of_an_exchange_has_the_same_identifier() -> None:
    """So that a gateway that passes on at most once can remove what we sent twice; the times are of the try."""
    wire, one = wire_to("https://cart.invalid/pd"), exchange("e1", position=5, created_at=AT)
    first, id = rendered(wire, one)
    later, again = rendered(wire, one, AT + timedelta(hours=3))
    assert id == again
    assert egov.parse(first.body).envelope.recorded_at < egov.parse(later.body).envelope.recorded_at


def test_serials_of_one_minute_differ() -> None:
    """Of a thousand commits with ten exchanges each, and of five hundred in one commit; always below a question's."""
    many = [commit * 1_000_000 + place for commit in range(90_000, 91_000) for place in range(10)]
    assert len({serial(position) for position in many}) == len(many)
    assert len({serial(7_000_000 + place) for place in range(500)}) == 500
    assert max(serial(position) for position in (*many, 10**15 + 499)) < 9_000_000


def test_text_is_carried_in_an_element_of_its_own() -> None:
    """For services that take JSON or flat files."""
    wire = wires.make(
        place(payload="text", payload_namespace="urn:flow", payload_element="file"),
        Outbound({}),
        None,
        lambda *_: "a;b\r\nè;<".encode(),
    )
    body = egov.parse(rendered(wire)[0].body).body[0]
    assert body.tag == "{urn:flow}file"
    assert body.text == "a;b\r\nè;<"


def test_a_signed_envelope_is_verified_by_other_software(tmp_path: Any) -> None:
    """WS-Security beside the e-Gov header: signxml checks every reference, xmlsec the signature itself."""
    made = dev_ca.make(tmp_path / "ca")
    ring = KeyRing({"k": Key(certificate=str(made.signer.certificate), key=str(made.signer.key))})
    there = msgspec.structs.replace(place(secure="ws-security"), signing_key="k")
    wire = wires.make(there, Outbound({}), None, national, request_signer=request_signer_for(there, ring))
    body = rendered(wire, now=datetime.now(UTC))[0].body
    root = etree.fromstring(body)
    config = signxml.SignatureConfiguration(
        location=".//",
        expect_references=4,
        require_x509=False,
        default_reference_c14n_method=None,  # type: ignore[arg-type]
    )
    certificate = ring.need("k").certificate
    found = signxml.XMLVerifier().verify(
        root, x509_cert=certificate, id_attribute="Id", expect_config=config, validate_schema=False
    )
    signed = {etree.QName(each.signed_xml).localname for each in found}  # type: ignore[union-attr]
    assert signed == {"Timestamp", "To", "MessageID", "Body"}
    _by_xmlsec(root, certificate)
    assert egov.parse(body).envelope.service == "Prenotazioni"


def _by_xmlsec(root: etree._Element, certificate: Any) -> None:
    import xmlsec
    from cryptography.hazmat.primitives.serialization import Encoding

    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(certificate.public_bytes(Encoding.PEM), xmlsec.constants.KeyDataFormatCertPem)
    wsu = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
    for each in root.iter(etree.Element):
        if each.get(f"{{{wsu}}}Id"):
            context.register_id(each, "Id", wsu)
    context.verify(next(root.iter("{http://www.w3.org/2000/09/xmldsig#}Signature")))


@pytest.mark.parametrize(
    "more",
    [{"office": ""}, {"office": "a_b"}, {"profile": "any"}, {"expires_minutes": "soon"}, {"success": "esito"}],
)
def test_settings_that_make_no_envelope_stop_the_start(more: dict[str, str]) -> None:
    """Not at the first message."""
    with pytest.raises(Misconfigured):
        wire_to("https://cart.invalid/pd", **more)


# --- against the stand-in ----------------------------------------


async def through(
    store: Memory, faults: Sequence[str] = (), desk: SpcoopDesk | None = None, **more: str
) -> tuple[str, Cart]:
    """One exchange to the stand-in, until it rests."""
    cart = Cart(dialect="spcoop", faults=Faults(faults), spcoop=desk)
    async with Running(cart) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        again = more.pop("on_unknown", "reconcile")
        where = msgspec.structs.replace(place(f"{server.url}/pd", **more), on_unknown=again)
        wire = wires.make(where, network, None, national)
        await store.commit(routed(exchange("e1", created_at=AT)))
        async with running(Dispatcher([where], {"d": wire}, tools(store))):
            moving = ("due", "claimed", "rendered", "in_flight", *(("unknown",) if again == "resend" else ()))
            await until(lambda: store.states()["e1"] not in moving, 10)
            if more.get("profile") == "asymmetric":
                await until(lambda: store.states()["e1"] != "awaiting", 10)
        await network.aclose()
    return store.states()["e1"], cart


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "delivered"),
        ({"profile": "one-way"}, "delivered"),
        ({"profile": "one-way", "confirm": "yes"}, "delivered"),
        ({"profile": "symmetric"}, "awaiting"),
        ({"profile": "asymmetric", "status_action": "stato"}, "delivered"),
    ],
    ids=["synchronous", "one-way", "one-way confirmed", "symmetric", "asymmetric"],
)
async def test_each_profile_ends_as_it_has_to(memory: Memory, more: dict[str, str], state: str) -> None:
    """What a receipt is worth depends on the profile; the asymmetric answer is asked for until it is there."""
    assert (await through(memory, **more))[0] == state


async def test_a_message_that_came_before_is_removed_by_its_identifier(memory: Memory) -> None:
    """The first try was kept and its answer lost; the second is the same message to the other side."""
    state, cart = await through(memory, ["drop-after"], on_unknown="resend")
    assert state == "delivered"
    assert len(cart.log.arrivals) == 2
    assert len(cart.spcoop.messages) == 1
    assert len({each.transport_id for each in memory.tries["e1"].values()}) == 1


@pytest.mark.parametrize(
    ("desk", "code"),
    [
        (SpcoopDesk(("Altro",)), "EGOV_IT_105"),
        (SpcoopDesk((), "AltraRegione"), "EGOV_IT_102"),
    ],
)
async def test_exceptions_of_the_header_park_and_are_told(memory: Memory, desk: SpcoopDesk, code: str) -> None:
    """They are a matter of settings: trying again helps nobody, and the operator reads which element it is."""
    state, _ = await through(memory, desk=desk)
    assert state == "parked"
    reply = next(iter(memory.tries["e1"].values())).reply or b""
    assert code.encode() in reply
    assert next(iter(memory.tries["e1"].values())).codes == ("GW-DELIVER-039",)


@pytest.mark.parametrize(
    ("order", "more", "state"),
    [
        ("category=EGOV_IT_300", {}, "unknown"),
        ("category=EGOV_IT_103", {}, "parked"),
        ("category=EGOV_IT_109", {"duplicates": "EGOV_IT_109"}, "delivered"),
        ("error-in-200", {}, "rejected"),
        ("unknown-code", {}, "unknown"),
        ("wrong-id", {}, "unknown"),
        ("html", {}, "unknown"),
        ("previous", {}, "unknown"),
        ("cut", {}, "unknown"),
        ("twice", {}, "unknown"),
        ("charset", {}, "unknown"),
        ("status=401", {}, "parked"),
        ("accepted-forever", {}, "unknown"),
        ("accepted-forever", {"profile": "one-way", "confirm": "yes"}, "awaiting"),
    ],
)
async def test_what_the_stand_in_is_ordered_to_say(
    memory: Memory, order: str, more: dict[str, str], state: str
) -> None:
    """Exceptions, an application that says no, and lies; none of them is taken for a delivery that was not."""
    assert (await through(memory, [order], **more))[0] == state


# --- lies, byte for byte ----------------------------------------


def answer(**more: Any) -> bytes:
    """The true answer to exchange e1 of the tests below, with changes."""
    body = more.pop("body", "<p:r xmlns:p='urn:t'><p:esito>OK</p:esito></p:r>")
    values: dict[str, Any] = {
        "sender": Party(name="RegioneTest"),
        "receiver": Party(name="AziendaTest"),
        "profile": egov.SYNCHRONOUS,
        "service": "Prenotazioni",
        "id": "RegioneTest_RegioneTestSPCoopIT_0000001_2026-11-21_09:00",
        "recorded_at": AT,
        "reference": "AziendaTest_AziendaTestSPCoopIT_0000001_2026-11-21_09:00",
    }
    return egov.build(Envelope(**(values | more)), *([etree.fromstring(body)] if body else []))


def said(data: bytes) -> list[Command]:
    return [Read(), Send(data), Wait(0.05)]


GRAVE = (Failure(code="EGOV_IT_300", context=egov.PROCESSING_FAULT),)
LIES: dict[str, list[Command]] = {
    "of another exchange": said(http(200, answer(reference="AziendaTest_x_0000009_2026-11-21_09:00"), SOAP)),
    "of nobody": said(http(200, answer(reference=""), SOAP)),
    "from somebody else": said(http(200, answer(sender=Party(name="Altro")), SOAP)),
    "for somebody else": said(http(200, answer(receiver=Party(name="Altro")), SOAP)),
    "a yes with a grave exception": said(http(200, answer(failures=GRAVE), SOAP)),
    "a yes in a 500": said(http(500, answer(), SOAP)),
    "no body": said(http(200, answer(body=""), SOAP)),
    "two headers": said(
        http(200, answer().replace(b"<eGov_IT:Mittente>", b"<eGov_IT:Mittente/><eGov_IT:Mittente>"), SOAP)
    ),
    "no header": said(
        http(200, b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body/></s:Envelope>", SOAP)
    ),
    "a bare server fault": said(
        http(
            500,
            b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><s:Fault><faultcode>s:Server"
            b"</faultcode></s:Fault></s:Body></s:Envelope>",
            SOAP,
        )
    ),
    "a bare client fault": said(
        http(
            500,
            b"<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><s:Fault><faultcode>s:Client"
            b"</faultcode></s:Fault></s:Body></s:Envelope>",
            SOAP,
        )
    ),
    "empty": said(http(200, b"", SOAP)),
    "202 and nothing": said(http(202, b"", SOAP)),
    "a login page": said(http(200, b"<html><body>login</body></html>", "text/html")),
    "JSON": said(http(200, b'{"esito":"OK"}', "application/json")),
    "a document type": said(http(200, b"<!DOCTYPE x [<!ENTITY e 'OK'>]>" + answer()[38:], SOAP)),
    "another charset": said(http(200, answer(), "text/xml; charset=utf-16")),
    "redirect": said(http(302, b"", SOAP, "Location: http://127.0.0.1:1/")),
    "reset": [Read(), Reset()],
    "half": [Read(), Send(http(200, answer(), SOAP)[:-40]), Close()],
    "late": [Read(), Wait(WAIT * 2), Send(http(200, answer(), SOAP))],
    "one byte at a time": [Read(), Drip(http(200, answer(), SOAP), WAIT / 10)],
    "endless": said(http(200, b"<x>" + b"y" * 3_000_000, SOAP)),
}


async def told(commands: list[Command], memory: Memory) -> str:
    async with Parrot(commands) as parrot:
        limits = {"first_byte_seconds": WAIT, "total_seconds": WAIT * 1.5, "max_response": 1_000_000}
        network = Outbound({"peer": Peer(origin=parrot.url, plaintext=True, **limits)})  # type: ignore[arg-type]
        once = msgspec.structs.replace(QUICK, budget=1)
        where = msgspec.structs.replace(place(f"{parrot.url}/pd"), retry=once, on_unknown="hold")
        wire = wires.make(where, network, None, national)
        await memory.commit(routed(exchange("e1", created_at=AT)))
        async with running(Dispatcher([where], {"d": wire}, tools(memory))):
            await until(lambda: memory.states()["e1"] not in ("due", "claimed", "rendered", "in_flight"), 10)
        await network.aclose()
    return memory.states()["e1"]


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_becomes_delivered(lie: str, memory: Memory) -> None:
    """A false delivered is the one error that nobody would ever notice."""
    assert await told(LIES[lie], memory) in {"unknown", "rejected", "parked", "awaiting"}


async def test_the_plain_truth_is_believed(memory: Memory) -> None:
    """The lies above are refused for being lies."""
    assert await told(said(http(200, answer(), SOAP)), memory) == "delivered"


# --- being told ----------------------------------------


async def waiting(store: Memory) -> tuple[Hearing, bytes]:
    """A symmetric exchange that waits, the ear of its destination, and the request as it left."""
    state, _ = await through(store, profile="symmetric")
    assert state == "awaiting"
    where = place(profile="symmetric")
    wire = wires.make(where, Outbound({}), None, national)
    request = http_message.take_apart(next(iter(store.tries["e1"].values())).request).body
    return Hearing([where], {"d": wire}, tools(store)), request


async def test_an_answer_that_is_brought_ends_the_exchange_and_is_acknowledged_after(memory: Memory) -> None:
    """By an envelope of ours that names theirs; the exchange is delivered when we say so."""
    hearing, request = await waiting(memory)
    brought = SpcoopDesk().answer(request, datetime.now(UTC))
    back = await hearing.take("d", "cart", {}, brought)
    assert memory.states()["e1"] == "delivered"
    assert back.status == 200
    assert egov.parse(back.body).envelope.reference == egov.parse(brought).envelope.id
    assert memory.tries["e1"]["e1-1"].reply == brought


async def test_an_answer_that_says_no_rejects(memory: Memory) -> None:
    """With the words of the other side."""
    hearing, request = await waiting(memory)
    await hearing.take("d", "cart", {}, SpcoopDesk().answer(request, datetime.now(UTC), "KO", "posto occupato"))
    assert memory.states()["e1"] == "rejected"


async def test_what_is_told_twice_changes_nothing(memory: Memory) -> None:
    """The second time nothing waits: an e-Gov exception on the reference says so."""
    hearing, request = await waiting(memory)
    brought = SpcoopDesk().answer(request, datetime.now(UTC))
    await hearing.take("d", "cart", {}, brought)
    steps = len(memory.steps)
    again = await hearing.take("d", "cart", {}, brought)
    assert again.status == 404
    assert egov.parse(again.body).envelope.failures[0].code == "EGOV_IT_110"
    assert len(memory.steps) == steps


@pytest.mark.parametrize(("who", "where"), [("hospital", "d"), ("", "d"), ("cart", "other")])
async def test_nobody_else_may_tell(memory: Memory, who: str, where: str) -> None:
    """Only the sender entry that the destination names."""
    hearing, request = await waiting(memory)
    with pytest.raises(NotAllowed):
        await hearing.take(where, who, {}, SpcoopDesk().answer(request, datetime.now(UTC)))
    assert memory.states()["e1"] == "awaiting"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b"",
        lambda b: b"{}",
        lambda b: b.replace(b">RegioneTest<", b">Altro<"),
        lambda b: b.replace(b"RegioneTestSPCoopIT_0000001_", b"RegioneTestSPCoopIT_1_"),
        lambda b: b[:-20],
    ],
)
async def test_what_is_no_answer_of_the_service_is_refused(memory: Memory, spoil: Any) -> None:
    """And the exchange goes on waiting."""
    hearing, request = await waiting(memory)
    with pytest.raises(Refused):
        await hearing.take("d", "cart", {}, spoil(SpcoopDesk().answer(request, datetime.now(UTC))))
    assert memory.states()["e1"] == "awaiting"


async def test_a_question_has_an_identifier_of_its_own() -> None:
    """It refers to the message that it asks about, and its serial is none that a message can have."""
    clock = FixedClock(AT)
    seen: list[bytes] = []

    class Net:
        async def request(self, peer: str, method: str, url: str, headers: Any, body: bytes, timeout: float) -> Any:
            seen.append(body)
            return type("R", (), {"status": 503, "headers": {}, "body": b""})()

    wire = wire_to("https://cart.invalid/pd", Net(), clock, profile="asymmetric", status_action="stato")
    one = exchange("e1", position=5, created_at=AT)
    request, id = wire.render(document("doc-e1"), one, {}, 1, AT)
    attempt = Attempt(
        id="e1-1", exchange="e1", number=1, started_at=AT, request=request, request_digest="", transport_id=id
    )
    await wire.reconcile(one, attempt)
    asked = egov.parse(seen[0]).envelope
    assert asked.reference == asked.collaboration == id
    assert int(asked.id.split("_")[2]) >= 9_000_000
    assert asked.action == "stato"
