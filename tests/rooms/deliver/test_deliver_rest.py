"""FHIR REST, the signed REST template and the file drop, against stand-ins and a real folder."""

from __future__ import annotations

import base64
import json as plain_json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from deliver_world import (
    AT,
    QUICK,
    Memory,
    TestSigner,
    destination,
    document,
    exchange,
    fhir_message,
    peer,
    routed,
    running,
    tools,
    until,
)
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.deliver import http_message, judge, paths, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.errors import Broken, GatewayError, Misconfigured
from gateway.formats import json
from gateway.message import Attempt, Evidence, Outcome
from gateway.network import Outbound, Reply
from gateway.simulate import cart
from gateway.simulate.faults import Faults
from gateway.simulate.medcare import Medcare
from gateway.simulate.server import Running

FHIR = {"content-type": "application/fhir+json; charset=UTF-8"}


def attempt_of(wire: Any, body: bytes, id: str = "e1", number: int = 1, jws: str = "a..b") -> Attempt:
    made = replace(
        document(f"doc-{id}", body),
        evidence=Evidence(jws=jws, algorithm="RS256", certificate_digest="0" * 64, signed_at=AT),
    )
    request, transport = wire.render(made, exchange(id), {}, number, AT)
    return Attempt(
        id=f"{id}-{number}",
        exchange=id,
        number=number,
        started_at=AT,
        request=request,
        request_digest="",
        transport_id=transport,
    )


async def sent(place: Any, url: str, body: bytes, signer: TestSigner | None = None, jws: str = "a..b") -> Outcome:
    network = Outbound({"peer": peer(url)})
    wire = wires.make(place, network, signer, None)
    try:
        return await wire.send(attempt_of(wire, body, jws=jws))
    finally:
        await network.aclose()


# --- FHIR ----------------------------------------


async def test_a_message_bundle_is_taken_with_its_evidence_over_the_exact_bytes(signer: TestSigner, ca: Path) -> None:
    """The receiver verifies the detached JWS over what arrived, so nothing on the way may touch a byte."""
    body = fhir_message("m-1", note="بیمار آزمایشی 1.50")
    async with Running(cart.Cart(ca=ca)) as server:
        place = destination(url=f"{server.url}/$process-message")
        outcome = await sent(place, server.url, body, jws=signer.jws(body))
        assert outcome.state == "delivered", outcome
        assert outcome.receipts["response"] == "answer-1"
        spoiled = await sent(place, server.url, body.replace(b"1.50", b"1.5"), jws=signer.jws(body))
    assert spoiled.state == "rejected"
    assert "does not verify" in spoiled.findings[0].args["detail"]


async def test_a_message_without_evidence_is_refused_where_it_is_demanded(ca: Path) -> None:
    """And the refusal is the document's, told in the destination's words."""
    async with Running(cart.Cart(ca=ca)) as server:
        place = destination(url=f"{server.url}/m", options={"evidence": "none"})
        outcome = await sent(place, server.url, fhir_message())
    assert outcome.state == "rejected"


async def test_evidence_may_travel_as_provenance_header() -> None:
    """R4 has a header for a Provenance that comes with a request."""
    network = Outbound({})
    wire = wires.make(destination(options={"evidence": "provenance"}, url="http://127.0.0.1:1/"), network)
    out = http_message.take_apart(attempt_of(wire, fhir_message()).request)
    provenance = plain_json.loads(out.headers["X-Provenance"])
    assert provenance["resourceType"] == "Provenance"
    assert provenance["signature"][0]["sigFormat"] == "application/jose"


async def test_the_key_against_duplicates_is_the_same_in_every_try() -> None:
    """Only a key that stays the same lets the destination recognise a repetition."""
    wire = wires.make(destination(url="http://127.0.0.1:1/"), Outbound({}))
    keys = {
        http_message.take_apart(attempt_of(wire, fhir_message(), number=n).request).headers["Idempotency-Key"]
        for n in (1, 2, 3)
    }
    assert keys == {"e1"}


def fhir_reply(status: int, body: Any, **headers: str) -> Reply:
    return Reply(status, {**FHIR, **headers}, json.write(body) if not isinstance(body, bytes) else body)


OUTCOME = cart.outcome("subject is missing")
TABLE = [
    (fhir_reply(200, cart.response("header-1")), "delivered"),
    (fhir_reply(200, cart.response("header-1", "transient-error")), "due"),
    (fhir_reply(200, cart.response("header-1", "fatal-error", 0, OUTCOME)), "rejected"),
    (fhir_reply(422, OUTCOME), "rejected"),
    (fhir_reply(400, OUTCOME), "rejected"),
    (fhir_reply(400, b"<html>"), "parked"),
    (fhir_reply(404, OUTCOME), "parked"),
    (fhir_reply(413, b""), "parked"),
    (fhir_reply(401, b""), "parked"),
    (fhir_reply(429, b"", **{"retry-after": "7"}), "due"),
    (fhir_reply(503, OUTCOME), "due"),
    (fhir_reply(500, OUTCOME), "unknown"),
    (fhir_reply(202, b""), "awaiting"),
    (fhir_reply(200, b""), "unknown"),
    (fhir_reply(600, b""), "unknown"),
]


@pytest.mark.parametrize(("reply", "state"), TABLE)
def test_fhir_answers_are_judged_by_status_and_content(reply: Reply, state: str) -> None:
    """One table of what each answer means."""
    wire: Any = wires.make(destination(url="http://127.0.0.1:1/"), Outbound({}))
    outcome = wire.verdict(reply, attempt_of(wire, fhir_message()))
    assert outcome.state == state
    assert outcome.reply == reply.body
    assert outcome.retry_after == (7.0 if "retry-after" in reply.headers else None)


def test_a_destination_may_read_statuses_in_its_own_way() -> None:
    """Real systems answer 500 for what is wrong with the message; configuration says so, not code."""
    place = destination(url="http://127.0.0.1:1/", options={"statuses": "500=due 409=rejected", "empty_ok": "yes"})
    wire: Any = wires.make(place, Outbound({}))
    attempt = attempt_of(wire, fhir_message())
    states = [wire.verdict(fhir_reply(s, b""), attempt).state for s in (500, 409, 200)]
    assert states == ["due", "rejected", "delivered"]
    with pytest.raises(Misconfigured):
        wires.make(destination(options={"statuses": "500=delivered"}), Outbound({}))


def transaction(*statuses: str) -> dict[str, Any]:
    entries = [{"response": {"status": each}} for each in statuses]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (transaction("201 Created", "200 OK"), "delivered"),
        (transaction("201 Created"), "unknown"),
        (transaction("201 Created", "422"), "unknown"),
        (transaction("201 Created", "200 OK", "200 OK"), "unknown"),
        ({"resourceType": "Bundle", "type": "searchset", "total": 2}, "unknown"),
        ({"resourceType": "Patient"}, "unknown"),
    ],
)
def test_a_transaction_is_whole_or_unknown(answer: dict[str, Any], state: str) -> None:
    """All or nothing: an answer for fewer entries than were sent is not a yes."""
    wire: Any = wires.make(destination(url="http://127.0.0.1:1/", options={"mode": "transaction"}), Outbound({}))
    body = json.write({"resourceType": "Bundle", "type": "transaction", "entry": [{"a": 1}, {"a": 2}]})
    assert wire.verdict(fhir_reply(200, answer), attempt_of(wire, body)).state == state


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), st.integers(100, 699))
def test_no_garbage_is_delivered_and_none_breaks_the_judge(body: bytes, status: int) -> None:
    """Whatever comes back, the verdict is a verdict."""
    wire: Any = wires.make(destination(url="http://127.0.0.1:1/"), Outbound({}))
    outcome = wire.verdict(fhir_reply(status, body), attempt_of(wire, fhir_message()))
    assert outcome.state != "delivered"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceType", "type", "entry", "resource", "response", "code", "issue", "id", "severity"]
            ),
            inner | st.sampled_from(["Bundle", "message", "MessageHeader", "ok", "OperationOutcome", "error"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_shape_of_json_breaks_the_judge(value: Any) -> None:
    """Members of the wrong type are a liar's favourite."""
    wire: Any = wires.make(destination(url="http://127.0.0.1:1/"), Outbound({}))
    assert wire.verdict(fhir_reply(200, value), attempt_of(wire, fhir_message())).state != "delivered"


async def test_a_lost_answer_is_found_out_by_asking(memory: Memory) -> None:
    """The connection breaks after the repository has kept the message; asking saves the repetition."""
    async with Running(cart.Cart(faults=Faults(["drop-after"]))) as server:
        options = {"reconcile_url": f"{server.url}/Bundle?message={{message}}", "reconcile_seconds": "0"}
        place = destination(url=f"{server.url}/m", options=options)
        network = Outbound({"peer": peer(server.url)})
        await memory.commit(routed(exchange("e1"), body=fhir_message("m-7")))
        async with running(Dispatcher([place], {"d": wires.make(place, network)}, tools(memory))):
            await until(lambda: memory.states() == {"e1": "delivered"})
        await network.aclose()
        assert server.stand_in.log.count == 1
    assert [a.codes for a in memory.tries["e1"].values()] == [("GW-DELIVER-013",)]


async def test_what_was_lost_on_the_way_is_sent_again_after_asking(memory: Memory) -> None:
    """The repository broke the connection before it kept anything, and says so when asked."""
    async with Running(cart.Cart(faults=Faults(["drop-before"]))) as server:
        options = {"reconcile_url": f"{server.url}/Bundle?message={{message}}", "reconcile_seconds": "0"}
        place = destination(url=f"{server.url}/m", options=options)
        network = Outbound({"peer": peer(server.url)})
        await memory.commit(routed(exchange("e1"), body=fhir_message("m-7")))
        async with running(Dispatcher([place], {"d": wires.make(place, network)}, tools(memory))):
            await until(lambda: memory.states() == {"e1": "delivered"})
        await network.aclose()
        assert server.stand_in.log.count == 2
        assert server.stand_in.kept == 1


# --- the signed REST template ----------------------------------------

TEMPLATE = {
    "success": "$.status = REGISTERED",
    "rejected": "$.status = REFUSED",
    "reference": "$.reference",
    "receipt.registration": "$.registration",
    "evidence_header": "X-JWS-Signature",
}


def medcare(url: str, **more: str) -> Any:
    asking = {"reconcile_url": f"{url}/registrations?key={{exchange}}", "known": "$.status = REGISTERED"}
    options = {**TEMPLATE, **asking, "missing": "$.status = UNKNOWN", "reconcile_seconds": "0", **more}
    return destination(url=f"{url}/registrations", protocol="signed-rest", options=options)


async def test_the_template_delivers_and_keeps_the_receipt(signer: TestSigner, ca: Path) -> None:
    """Evidence over the document's bytes, a registration number back."""
    body = b'{"stay":"x","total":10.50}'
    async with Running(Medcare(ca=ca)) as server:
        outcome = await sent(medcare(server.url), server.url, body, jws=signer.jws(body))
        assert (outcome.state, outcome.receipts) == ("delivered", {"registration": "MC-000001"})
        again = await sent(medcare(server.url), server.url, body, jws=signer.jws(body))
        assert again.receipts == {"registration": "MC-000001"}, "the same key is the same registration"
        other = await sent(medcare(server.url), server.url, b"{}", jws=signer.jws(b"{}"))
    assert other.state == "rejected"
    assert "M04" in other.findings[0].args["detail"]


@pytest.mark.parametrize(
    ("fault", "arrivals"),
    [
        ("drop-after", 1),
        ("drop-before", 2),
        ("status-after=500", 1),
        ("status=500", 2),
        ("reset-mid-body", 1),
        ("html", 2),
        ("cut", 1),
        ("charset", 1),
        ("empty", 1),
        ("twice", 1),
        ("status=503/0", 2),
        ("redirect=302", 2),
    ],
)
async def test_every_fault_ends_in_one_registration(memory: Memory, fault: str, arrivals: int) -> None:
    """With a question to ask, nothing is lost and nothing is sent again that had been kept."""
    async with Running(Medcare(faults=Faults([fault]))) as server:
        network = Outbound({"peer": peer(server.url)})
        place = medcare(server.url)
        await memory.commit(routed(exchange("e1"), exchange("e2"), body=b'{"a":1}'))
        async with running(Dispatcher([place], {"d": wires.make(place, network)}, tools(memory))):
            await until(lambda: memory.states() == {"e1": "delivered", "e2": "delivered"})
        await network.aclose()
        stand_in = server.stand_in
    assert isinstance(stand_in, Medcare)
    assert len(stand_in.registered) == 2
    first = [a for a in stand_in.log.arrivals if a.header("idempotency-key") == "e1"]
    assert len(first) == arrivals
    assert memory.kept["d", "c-1", "registration"]


def test_the_template_signs_the_bytes_that_it_sends(signer: TestSigner) -> None:
    """Where the body is a national message, the signature is over that message."""
    place = destination(
        url="http://127.0.0.1:1/", protocol="signed-rest", options=TEMPLATE, body="b", signer="raw-rsa-sha256"
    )
    wire = wires.make(place, Outbound({}), signer, lambda document, target, values: b'{"made":"here"}')
    out = http_message.take_apart(attempt_of(wire, b"{}").request)
    assert out.body == b'{"made":"here"}'
    value = base64.b64decode(out.headers["X-Signature"])
    signer.certificate.public_key().verify(value, out.body, padding.PKCS1v15(), hashes.SHA256())  # type: ignore[union-attr,call-arg,arg-type]
    assert "X-JWS-Signature" not in out.headers, "evidence is over other bytes than these"


async def test_a_signed_national_body_is_verified_by_the_receiver(signer: TestSigner, ca: Path) -> None:
    """Value and certificate side by side, over exactly what arrived."""
    async with Running(Medcare(ca=ca)) as server:
        place = replace(medcare(server.url), body="b", signer="raw-rsa-sha256")
        network = Outbound({"peer": peer(server.url)})
        wire = wires.make(place, network, signer, lambda document, target, values: b'{"made":"here"}')
        attempt = attempt_of(wire, b"{}")
        assert (await wire.send(attempt)).state == "delivered"
        spoiled = replace(attempt, request=attempt.request.replace(b"here", b"hera"), transport_id="e2")
        assert (await wire.send(spoiled)).state == "rejected"
        await network.aclose()


def test_xml_answers_are_read_by_the_same_paths() -> None:
    """A template serves XML as well: local names, values that stand once."""
    options = {"success": "$.answer.state = OK", "receipt.number": "$.answer.number", "reference": "$.answer.ref"}
    wire: Any = wires.make(destination(url="http://x", protocol="signed-rest", options=options), Outbound({}))
    body = b"<a:answer xmlns:a='urn:a'><a:state>OK</a:state><a:number>7</a:number><a:ref>e1</a:ref></a:answer>"
    attempt = attempt_of(wire, b"{}")
    outcome = wire.verdict(Reply(200, {"content-type": "application/xml"}, body), attempt)
    assert (outcome.state, outcome.receipts) == ("delivered", {"number": "7"})
    twice = body.replace(b"<a:number>", b"<a:number>8</a:number><a:number>")
    assert wire.verdict(Reply(200, {"content-type": "application/xml"}, twice), attempt).state == "unknown"


@pytest.mark.parametrize("text", ["status", "$.a[", "$..a", "$.a b", "$.a[1000000000]", "$[x]", ""])
def test_paths_that_cannot_be_meant_stop_the_start(text: str) -> None:
    """A path with a typing error would make every answer unknown."""
    with pytest.raises(Misconfigured):
        paths.compile_path(text)


# --- file drop ----------------------------------------


async def test_a_file_appears_whole_under_its_name(tmp_path: Path, memory: Memory) -> None:
    """A consumer that lists the folder never sees half a file."""
    place = destination(url=str(tmp_path), protocol="file-drop")
    await memory.commit(routed(exchange("e1"), body=b'{"a":1}'))
    async with running(Dispatcher([place], {"d": wires.make(place, Outbound({}))}, tools(memory))):
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert [each.name for each in tmp_path.iterdir()] == ["e1.json"]
    assert (tmp_path / "e1.json").read_bytes() == b'{"a":1}'


async def test_a_folder_that_is_gone_is_retried_and_heals(tmp_path: Path, memory: Memory) -> None:
    """A share that is not mounted is an outage, not a refusal."""
    folder = tmp_path / "share"
    place = destination(url=str(folder), protocol="file-drop", retry=replace(QUICK, first=0.01))
    await memory.commit(routed(exchange("e1"), body=b"{}"))
    async with running(Dispatcher([place], {"d": wires.make(place, Outbound({}))}, tools(memory))):
        await until(lambda: len(memory.tries["e1"]) >= 2)
        assert memory.states()["e1"] in ("due", "claimed", "in_flight")
        folder.mkdir()
        await until(lambda: memory.states() == {"e1": "delivered"})


async def test_the_folder_answers_what_became_of_a_file(tmp_path: Path) -> None:
    """After a crash between writing and noting, the folder itself is asked."""
    wire: Any = wires.make(destination(url=str(tmp_path), protocol="file-drop"), Outbound({}))
    attempt = attempt_of(wire, b"{}")
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "due"
    await wire.send(attempt)
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "delivered"
    (tmp_path / "e1.json").write_bytes(b"other")
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "unknown"


# --- shared ----------------------------------------

header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(st.dictionaries(st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True), header_text, max_size=5), st.binary())
def test_an_attempts_bytes_come_apart_as_they_were_put_together(headers: dict[str, str], body: bytes) -> None:
    """The body may hold anything, also what looks like a head."""
    made = http_message.compose("POST", "https://x.invalid/a", headers, body)
    assert http_message.take_apart(made) == ("POST", "https://x.invalid/a", headers, body)


@pytest.mark.parametrize("value", ["a\r\nX-Forged: yes", "a\nb", "نام", "\x00"])
def test_a_header_cannot_forge_another(value: str) -> None:
    """An identifier with a line end in it must not become a header of its own."""
    with pytest.raises(Misconfigured):
        http_message.compose("POST", "https://x.invalid/", {"X": value}, b"")


def test_bytes_that_are_no_attempt_are_a_defect() -> None:
    """And not a message to anybody."""
    with pytest.raises(Broken):
        http_message.take_apart(b"garbage")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("Sat, 21 Nov 2026 08:01:00 GMT", 60.0),
        ("Sat, 21 Nov 2026 07:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 400, None),
        ("٥", None),
    ],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: float | None) -> None:
    """Seconds or a date; anything else is as if it were not there."""
    assert judge.retry_after({"retry-after": text}, AT) == seconds


@pytest.mark.parametrize("protocol", ["", "nothing", "../x", "wires", "judge", "sepas-reply", "Fhir-rest", "os"])
def test_only_protocol_files_are_protocols(protocol: str) -> None:
    """A setting must not be able to load any module that it names."""
    with pytest.raises(Misconfigured):
        wires.make(destination(protocol=protocol), Outbound({}))


@pytest.mark.parametrize(
    "place",
    [
        destination(signer="raw-rsa-sha256", url="http://x"),
        destination(options={"mode": "letter"}, url="http://x"),
        destination(protocol="sepas-soap"),
        destination(protocol="signed-rest"),
        destination(protocol="signed-rest", options={"success": "status is fine"}),
        destination(protocol="mllp-out", body="b", url="http://x"),
        destination(protocol="file-drop"),
        destination(protocol="file-drop", url="/tmp", options={"name": "../x"}),
    ],
)
def test_settings_that_cannot_work_stop_the_start(place: Any) -> None:
    """What is missing is found before the first message, with the destination's name."""
    with pytest.raises(GatewayError):
        wires.make(place, Outbound({}), None, lambda *a: b"")
