"""The health record's validation: the form and its tokens, every type of problem, status, callback, lies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from deliver_world import QUICK, Memory, destination, document, exchange, routed, running, tools, until
from joserfc import jwt
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry
from parrot import Close, Command, Parrot, Read, Reset, Send, Wait, http
from regional_samples import BASE, BUNDLE, TAX_CODE

from gateway.deliver import http_message, steps, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.fse import TYPES
from gateway.deliver.hearing import Hearing
from gateway.deliver.multipart import FormPart, compose
from gateway.errors import Misconfigured, NotAllowed, Refused
from gateway.formats import json
from gateway.network import Outbound
from gateway.ports import Wire
from gateway.settings import Destination, Key, Peer
from gateway.sign import dev_ca, fse
from gateway.sign.keyring import KeyRing
from gateway.sign.requests import request_signer_for
from gateway.simulate.faults import Faults
from gateway.simulate.fse import PROBLEMS, Fse
from gateway.simulate.server import Running

CLAIMS = {
    "fse.sub": fse.cx("PRVPRV00A01H501X"),
    "fse.subject_organization_id": "090",
    "fse.subject_organization": "Regione di prova",
    "fse.locality": fse.xon("Prova", fse.STRUCTURE_ROOTS[0], "090101"),
    "fse.subject_role": "AAS",
    "fse.purpose_of_use": "TREATMENT",
    "fse.resource_hl7_type": "('57832-8^^2.16.840.1.113883.6.1')",
    "fse.action_id": "CREATE",
    "fse.subject_application_id": "gateway",
    "fse.subject_application_vendor": "test",
    "fse.subject_application_version": "1",
}


@pytest.fixture(scope="module")
def s1(tmp_path_factory: Any) -> tuple[Path, KeyRing]:
    """(anchors, a ring with the key "s1", whose certificate is called as the ministry calls them)."""
    made = dev_ca.make(tmp_path_factory.mktemp("fse") / "ca", signer_name="S1#090TEST")
    return made.ca, KeyRing({"s1": Key(certificate=str(made.signer.certificate), key=str(made.signer.key))})


def claims_of(bundle: Any, target: str, values: Mapping[str, str]) -> bytes:
    """The output that `claims` names: who the document is about."""
    code = bundle["entry"][0]["resource"]["identifier"][0]["value"] if bundle.get("entry") else "?"
    return json.write({"person_id": fse.cx(code)})


def place(url: str = BASE, **more: str) -> Destination:
    options = {**CLAIMS, "secure": "fse", "audience": BASE, "claims": "p/claims", "reconcile_seconds": "0", **more}
    once = msgspec.structs.replace(QUICK, budget=1)
    made = destination(protocol="fse", url=url, signing_key="s1", options={k: v for k, v in options.items() if v})
    return msgspec.structs.replace(made, retry=once, on_unknown="hold")


def wire_to(s1: tuple[Path, KeyRing], where: Destination, network: Any = None) -> Wire:
    signer = request_signer_for(where, s1[1])
    return wires.make(where, network or Outbound({}), None, claims_of, request_signer=signer)


def form_of(request: http_message.Request) -> dict[str, Any]:
    """The parts of a form, read by the standard library."""
    head = b"MIME-Version: 1.0\r\nContent-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n"
    parts = BytesParser(policy=policy.HTTP).parsebytes(head + request.body).iter_parts()
    return {str(each.get_param("name", header="content-disposition")): each for each in parts}


# --- what leaves ----------------------------------------


def test_the_form_has_the_file_its_description_and_two_tokens(s1: tuple[Path, KeyRing]) -> None:
    """Read by the mail parser and by joserfc: what is claimed is said of these bytes and of this person."""
    where = place(callback_url="https://gateway.invalid/told/fse")
    raw, id = wire_to(s1, where).render(document("doc", BUNDLE), exchange("e1"), {}, 1, datetime.now(UTC))
    request = http_message.take_apart(raw)
    parts = form_of(request)
    assert request.url == f"{BASE}/documents/fhir-validation"
    assert id == "e1"
    assert json.read(parts["requestBody"].get_payload(decode=True)) == {"mode": "RESOURCE", "activity": "VERIFICA"}
    assert parts["file"].get_payload(decode=True) == BUNDLE
    assert parts["file"].get_filename() == "bundle.json"
    assert request.headers["X-Callback-Url"] == "https://gateway.invalid/told/fse"
    public = s1[1].need("s1").certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    wide = JWSRegistry(algorithms=["RS256"])
    wide.max_header_length = wide.max_payload_length = 16 * 1024
    key = RSAKey.import_key(public)
    bearer = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), key, registry=wide).claims
    claims = jwt.decode(request.headers["FSE-JWT-Signature"], key, registry=wide).claims
    assert bearer["iss"] == "auth:S1#090TEST"
    assert claims["iss"] == "integrity:S1#090TEST"
    assert bearer["aud"] == claims["aud"] == BASE
    assert claims["person_id"] == fse.cx(TAX_CODE)
    assert claims["attachment_hash"] == hashlib.sha256(BUNDLE).hexdigest()
    assert bearer["jti"] != claims["jti"]


def test_a_form_is_the_same_for_the_same_parts_and_no_part_ends_it(s1: tuple[Path, KeyRing]) -> None:
    """A file that holds the boundary of another form does not end this one."""
    first = compose([FormPart("file", "application/json", b"x", "a.json")])
    assert first == compose([FormPart("file", "application/json", b"x", "a.json")])
    trap = first[0].partition("boundary=")[2].encode()
    kind, body = compose([FormPart("file", "text/plain", b"--" + trap + b"--\r\n", "a.txt")])
    assert kind.partition("boundary=")[2].encode() != trap
    request = http_message.Request("POST", "u", {"Content-Type": kind}, body)
    assert form_of(request)["file"].get_payload(decode=True) == b"--" + trap + b"--\r\n"
    with pytest.raises(Misconfigured):
        compose([FormPart('a"b', "text/plain", b"")])


@pytest.mark.parametrize("more", [{"confirm": "later"}, {"types": "/msg/syntax=perhaps"}, {"audience": ""}])
def test_settings_that_cannot_work_stop_the_start(s1: tuple[Path, KeyRing], more: dict[str, str]) -> None:
    """Not at the first document."""
    with pytest.raises(Misconfigured):
        wire_to(s1, place(**more))


# --- against the stand-in ----------------------------------------


async def through(
    s1: tuple[Path, KeyRing],
    store: Memory,
    orders: Sequence[str] = (),
    body: bytes = BUNDLE,
    slow: bool = False,
    **more: str,
) -> tuple[str, Fse]:
    """One exchange to the stand-in, until it rests."""
    stand_in = Fse(ca=s1[0], audience=BASE, faults=Faults(orders), slow=slow)
    async with Running(stand_in) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        where = place(f"{server.url}/v1", **more)
        await store.commit(routed(exchange("e1"), body=body))
        async with running(Dispatcher([where], {"d": wire_to(s1, where, network)}, tools(store))):
            still = ("due", "claimed", "rendered", "in_flight", *(() if more.get("wait") else ("awaiting",)))
            await until(lambda: store.states()["e1"] not in still, 10)
        await network.aclose()
    return store.states()["e1"], stand_in


async def test_a_validation_is_delivered_with_the_ministrys_identifiers(
    s1: tuple[Path, KeyRing], memory: Memory
) -> None:
    """Both tokens were verified by another library; the workflow's identifier is kept for whoever asks."""
    state, stand_in = await through(s1, memory)
    assert state == "delivered", stand_in.reasons
    assert memory.kept["d", "c-1", "workflowInstanceId"] in stand_in.workflows
    assert memory.kept["d", "c-1", "traceID"] in stand_in.traces


async def test_what_is_taken_is_asked_for_until_its_event_is_there(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """202, then GET status with tokens of its own, each used once."""
    state, stand_in = await through(s1, memory, slow=True)
    assert state == "delivered", stand_in.reasons
    assert not stand_in.reasons


async def test_an_answer_may_be_confirmed_by_the_status(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """For those who trust the event more than the answer."""
    assert (await through(s1, memory, confirm="status"))[0] == "delivered"


async def test_a_warning_is_told(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """Delivered, and the ministry's words beside it come with the outcome."""
    where = msgspec.structs.replace(place(), options={**place().options, "mode": ""})
    said_of: list[Any] = []

    async def note(exchange: Any, outcome: Any) -> Any:
        said_of.append(outcome)
        return steps.NOTHING

    stand_in = Fse(ca=s1[0], audience=BASE)
    async with Running(stand_in) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        where = msgspec.structs.replace(where, url=f"{server.url}/v1")
        await memory.commit(routed(exchange("e1"), body=BUNDLE))
        lanes = Dispatcher([where], {"d": wire_to(s1, where, network)}, tools(memory, on_outcome=note))
        async with running(lanes):
            await until(lambda: memory.states()["e1"] == "delivered", 10)
        await network.aclose()
    assert [each.code for each in said_of[0].findings] == ["GW-DELIVER-036"]
    assert "modalit" in said_of[0].findings[0].args["detail"]


@pytest.mark.parametrize("kind", PROBLEMS)
async def test_every_problem_of_the_guide_leads_where_the_table_says(
    s1: tuple[Path, KeyRing], memory: Memory, kind: str
) -> None:
    """Rejected is the document's fault and is told with type and words; parked is ours; due is theirs."""
    state, _ = await through(s1, memory, [f"category={kind}:9"])
    meant = TYPES[kind].state
    assert state == ("parked" if meant == "due" else meant), "a spent budget parks"
    attempt = memory.tries["e1"]["e1-1"]
    assert kind.encode() in (attempt.reply or b"")
    assert attempt.codes[0] == TYPES[kind].code


@pytest.mark.parametrize(
    ("order", "state"),
    [
        ("error-in-200", "unknown"),
        ("wrong-id", "unknown"),
        ("unknown-code", "rejected"),
        ("html", "unknown"),
        ("empty", "unknown"),
        ("cut", "unknown"),
        ("charset", "unknown"),
        ("twice", "unknown"),
        ("redirect", "parked"),
        ("status=401", "parked"),
        ("status=418", "parked"),
        ("status=429", "parked"),
    ],
)
async def test_what_the_stand_in_is_ordered_to_say(
    s1: tuple[Path, KeyRing], memory: Memory, order: str, state: str
) -> None:
    """A yes that is none is never believed; with one try, what could be tried again is parked."""
    assert (await through(s1, memory, [f"{order}:9"]))[0] == state


async def test_what_may_have_arrived_is_sent_again_for_it_harms_nobody(
    s1: tuple[Path, KeyRing], memory: Memory
) -> None:
    """A verification leaves nothing behind at the ministry: the lost answer of the first is not missed."""
    stand_in = Fse(ca=s1[0], audience=BASE, faults=Faults(["drop-after"]))
    async with Running(stand_in) as server:
        network = Outbound({"peer": Peer(origin=server.url, plaintext=True)})
        where = msgspec.structs.replace(place(f"{server.url}/v1"), retry=QUICK, on_unknown="reconcile")
        await memory.commit(routed(exchange("e1"), body=BUNDLE))
        async with running(Dispatcher([where], {"d": wire_to(s1, where, network)}, tools(memory))):
            await until(lambda: memory.states()["e1"] == "delivered", 10)
        await network.aclose()
    assert len(stand_in.log.arrivals) == 2


# --- lies, byte for byte ----------------------------------------


JSON, PROBLEM = "application/json", "application/problem+json"
YES = (
    b'{"traceID":"4e1cd92c6a406c4e","spanID":"4e1c","workflowInstanceId":"2.16.840.1.113883.2.9.2.90.4.4.aa^^^^urn:x"}'
)


def said(data: bytes) -> list[Command]:
    return [Read(), Send(data), Wait(0.05)]


LIES: dict[str, list[Command]] = {
    "nothing": said(http(200, b"", JSON)),
    "an object": said(http(200, b"{}", JSON)),
    "no trace": said(http(200, b'{"workflowInstanceId":"x"}', JSON)),
    "a problem in a 200": said(http(200, b'{"traceID":"a","type":"/msg/syntax","status":400}', JSON)),
    "a list": said(http(200, b"[" + YES + b"]", JSON)),
    "a repeated key": said(http(200, b'{"traceID":"b",' + YES[1:], JSON)),
    "as a problem": said(http(200, YES, PROBLEM)),
    "as text": said(http(200, YES, "text/plain")),
    "204": said(http(204, b"", JSON)),
    "taken, and no workflow": said(http(202, b'{"traceID":"a"}', JSON)),
    "yes in a 500": said(http(500, YES, JSON)),
    "yes in a 422": said(http(422, YES, JSON)),
    "reset": [Read(), Reset()],
    "half": [Read(), Send(http(200, YES, JSON)[:-20]), Close()],
    "late": [Read(), Wait(1.0), Send(http(200, YES, JSON))],
}


async def told(s1: tuple[Path, KeyRing], commands: list[Command], memory: Memory) -> str:
    async with Parrot(commands) as parrot:
        limits = {"first_byte_seconds": 0.5, "total_seconds": 0.7, "max_response": 1_000_000}
        network = Outbound({"peer": Peer(origin=parrot.url, plaintext=True, **limits)})  # type: ignore[arg-type]
        where = place(f"{parrot.url}/v1")
        await memory.commit(routed(exchange("e1"), body=BUNDLE))
        async with running(Dispatcher([where], {"d": wire_to(s1, where, network)}, tools(memory))):
            await until(lambda: memory.states()["e1"] not in ("due", "claimed", "rendered", "in_flight"), 10)
        await network.aclose()
    return memory.states()["e1"]


@pytest.mark.parametrize("lie", LIES)
async def test_no_lie_becomes_delivered(s1: tuple[Path, KeyRing], lie: str, memory: Memory) -> None:
    """A false delivered is the one error that nobody would ever notice."""
    assert await told(s1, LIES[lie], memory) in {"unknown", "rejected", "parked", "awaiting"}


async def test_the_plain_truth_is_believed(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """The lies above are refused for being lies."""
    assert await told(s1, said(http(200, YES, JSON)), memory) == "delivered"


# --- being told ----------------------------------------


async def waiting(s1: tuple[Path, KeyRing], store: Memory) -> tuple[Hearing, Fse, str]:
    """An exchange that waits at a slow stand-in."""
    state, stand_in = await through(s1, store, slow=True, wait="yes", awaiting_seconds="100")
    assert state == "awaiting"
    where = place(told_by="ministry")
    return Hearing([where], {"d": wire_to(s1, where)}, tools(store)), stand_in, next(iter(stand_in.workflows))


@pytest.mark.parametrize(("status", "state"), [("SUCCESS", "delivered"), ("BLOCKING_ERROR", "rejected")])
async def test_an_event_ends_what_waits(s1: tuple[Path, KeyRing], memory: Memory, status: str, state: str) -> None:
    """And the event is kept with the attempt that it is about."""
    hearing, stand_in, workflow = await waiting(s1, memory)
    event = json.write(stand_in.decide(workflow, status, "motivo"))
    assert (await hearing.take("d", "ministry", {}, event)).status == 200
    assert memory.states()["e1"] == state
    assert memory.tries["e1"]["e1-1"].reply == event


async def test_an_event_on_the_way_changes_nothing(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """It is acknowledged; the exchange goes on waiting."""
    hearing, stand_in, workflow = await waiting(s1, memory)
    event = json.write(stand_in.decide(workflow, "ASYNC_RETRY"))
    assert (await hearing.take("d", "ministry", {}, event)).status == 200
    assert memory.states()["e1"] == "awaiting"


async def test_events_of_others_and_by_others_change_nothing(s1: tuple[Path, KeyRing], memory: Memory) -> None:
    """Another workflow, another teller, something that is no event."""
    hearing, stand_in, workflow = await waiting(s1, memory)
    event = stand_in.decide(workflow)
    with pytest.raises(NotAllowed):
        await hearing.take("d", "ministry", {}, json.write({**event, "workflowInstanceId": "another"}))
    with pytest.raises(NotAllowed):
        await hearing.take("d", "hospital", {}, json.write(event))
    for body in (b"", b"[]", b'{"workflowInstanceId":"x"}', b'{"workflowInstanceId":"","events":[]}'):
        with pytest.raises(Refused):
            await hearing.take("d", "ministry", {}, body)
    assert memory.states()["e1"] == "awaiting"
