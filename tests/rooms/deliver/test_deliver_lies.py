"""The lying answers: whatever a peer says that is not a plain yes to this very message, nothing becomes delivered.

Each lie runs over a real socket against the whole lane. A destination that waits for a person when unclear, and gives
up after one try, leaves the exchange where the lie has put it. The one lie that must be believed, a correct
acknowledgement after which nothing was kept, must leave the words that we took on record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from deliver_world import (
    QUICK,
    Memory,
    bill,
    destination,
    exchange,
    fhir_message,
    peer,
    routed,
    running,
    tools,
    until,
)
from msgspec.structs import replace
from parrot import Close, Command, Drip, Parrot, Read, ReadHead, Reset, Send, Wait, http

from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.formats import json
from gateway.message import Exchange
from gateway.network import Outbound
from gateway.settings import Retry
from gateway.simulate import cart, faults, sepas

ONCE: Retry = replace(QUICK, budget=1)
WAIT = 0.4  # every limit of the peer under test, seconds

# --- what the truth would be in each protocol ----------------------------------------

FHIR_OK = json.write(cart.response("header-1"))
FHIR_OTHER = json.write(cart.response("header-0"))
SOAP_OK = sepas.result(composition="n::c-1", patient="n::p-1").body
SOAP_HALF = sepas.result(composition="n::c-1").body
REST_OK = b'{"status":"REGISTERED","reference":"e1","registration":"MC-1"}'
REST_OTHER = b'{"status":"REGISTERED","reference":"e0","registration":"MC-1"}'
FHIR, SOAP, REST = "application/fhir+json", "text/xml; charset=utf-8", "application/json"


def hl7(code: str, control_id: str, segments: str = "") -> bytes:
    return f"\x0bMSH|^~\\&|R|R|G|G|20261121||ACK|1|P|2.5\rMSA|{code}|{control_id}\r{segments}\x1c\r".encode()


def hl7_bill(document: Any, target: str, values: Any) -> bytes:
    return f"MSH|^~\\&|G|G|R|R|20261121||DFT^P03|{values['exchange']}|P|2.5\rEVN|P03\r".encode()


def after_reading(said: bytes | Callable[[bytes], bytes], mllp: bool = False) -> list[Command]:
    return [Read(mllp), Send(said), Wait(5)]


PAGE = http(200, faults.PAGE, "text/html; charset=utf-8")
SOAP_ERROR = sepas.result(error="Mandatory: X is mandatory").body
FHIR_ERROR = json.write(cart.outcome("no"))
REST_ERROR = b'{"status":"REFUSED","reference":"e1","error":{"code":"M1"}}'


def common(ok: bytes, media: str) -> dict[str, list[Command]]:
    """The lies that need no words of the protocol."""
    whole = http(200, ok, media)
    return {
        "answer repeated in one body": after_reading(http(200, ok + ok, media)),
        "nothing in it": after_reading(http(200, b"", media)),
        "cut short, length right": after_reading(http(200, ok[: len(ok) * 2 // 3], media)),
        "cut short, then closed": [Read(), Send(http(200, ok[:20], media, length=len(ok))), Close()],
        "reset in mid body": [Read(), Send(http(200, ok[:20], media, length=len(ok))), Wait(0.05), Reset()],
        "reset before any answer": [Read(), Reset()],
        "closed before any answer": [Read(), Close()],
        "late": [Read(), Wait(WAIT * 2), Send(whole)],
        "one byte at a time": [Read(), Drip(whole, WAIT / 8)],
        "head dripping for ever": [Read(), Drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500, WAIT / 10)],
        "login page": after_reading(PAGE),
        "login page that calls itself right": after_reading(http(200, faults.PAGE, media)),
        "redirect": after_reading(http(307, b"", media, "Location: http://127.0.0.1:1/x")),
        "redirect after the work": after_reading(http(303, b"", media, "Location: http://127.0.0.1:1/x")),
        "wrong charset declared": after_reading(http(200, ok, f"{media.partition(';')[0]}; charset=windows-1256")),
        "another charset in fact": after_reading(http(200, ok.decode().encode("utf-16"), media)),
        "500 after the work": after_reading(http(500, b"", "text/plain")),
        "502 from a proxy": after_reading(http(502, PAGE, "text/html")),
        "504 from a proxy": after_reading(http(504, b"", "text/plain")),
        "503": after_reading(http(503, b"", "text/plain", "Retry-After: 1")),
        "204": after_reading(b"HTTP/1.1 204 No Content\r\n\r\n"),
        "206 of the right answer": after_reading(http(206, ok[:-1], media)),
        "accepted, and never more": after_reading(http(202, b"", media)),
        "not HTTP at all": after_reading(b"SSH-2.0-Test\r\n"),
        "two lengths": after_reading(whole.replace(b"Content-Length", b"Content-Length: 3\r\nContent-Length")),
        "compressed without being asked": after_reading(http(200, ok, media, "Content-Encoding: gzip")[:-5]),
        "endless": after_reading(http(200, b"x" * 3_000_000, media)),
        "yes to 401": after_reading(http(401, ok, media)),
        "yes in a 404": after_reading(http(404, ok, media)),
    }


LIES: dict[str, dict[str, list[Command]]] = {
    "fhir": {
        **common(FHIR_OK, FHIR),
        "wrong id": after_reading(http(200, FHIR_OTHER, FHIR)),
        "no response in the header": after_reading(http(200, fhir_message(), FHIR)),
        "unknown code": after_reading(http(200, json.write(cart.response("header-1", "perhaps")), FHIR)),
        "ok beside an error": after_reading(
            http(200, json.write(cart.response("header-1", "ok", 0, cart.outcome("no"))), FHIR)
        ),
        "error in a 200": after_reading(http(200, FHIR_ERROR, FHIR)),
        "a repeated key": after_reading(http(200, FHIR_OK.replace(b'"type"', b'"type":"message","type"'), FHIR)),
        "an empty Bundle": after_reading(http(200, b'{"resourceType":"Bundle","type":"message"}', FHIR)),
        "entries that are none": after_reading(
            http(200, b'{"resourceType":"Bundle","type":"message","entry":7}', FHIR)
        ),
    },
    "soap": {
        **common(SOAP_OK, SOAP),
        "wrong id": after_reading(http(200, sepas.result(composition="other", patient="x").body, SOAP)),
        "half the receipts": after_reading(http(200, SOAP_HALF, SOAP)),
        "unknown code": after_reading(http(500, sepas.fault("Unheard", "x").body, SOAP)),
        "server fault": after_reading(http(500, sepas.fault("Server", "x").body, SOAP)),
        "fault in a 200": after_reading(http(200, sepas.fault("Server", "x").body, SOAP)),
        "error in a 200": after_reading(http(200, SOAP_ERROR, SOAP)),
        "error beside a receipt": after_reading(
            http(200, sepas.result(error="DB: x", composition="n::c-1", patient="n::p-1").body, SOAP)
        ),
        "yes in a 500": after_reading(http(500, SOAP_OK, SOAP)),
        "two results": after_reading(http(200, SOAP_OK.replace(b"</return>", b"</return><return/>"), SOAP)),
        "two values for one name": after_reading(
            http(200, SOAP_OK.replace(b"<return>", b"<return><patientUID>n::x</patientUID>"), SOAP)
        ),
        "a document type": after_reading(http(200, b"<!DOCTYPE x [<!ENTITY e 'n::c'>]>" + SOAP_OK[38:], SOAP)),
        "another operation": after_reading(http(200, SOAP_OK.replace(b"savePatientBill", b"saveOther"), SOAP)),
    },
    "rest": {
        **common(REST_OK, REST),
        "wrong id": after_reading(http(200, REST_OTHER, REST)),
        "unknown code": after_reading(http(200, REST_OK.replace(b"REGISTERED", b"PERHAPS"), REST)),
        "no receipt": after_reading(http(200, b'{"status":"REGISTERED","reference":"e1"}', REST)),
        "error in a 200": after_reading(http(200, REST_ERROR, REST)),
        "a list": after_reading(http(200, b"[" + REST_OK + b"]", REST)),
        "a repeated key": after_reading(http(200, b'{"status":"REFUSED",' + REST_OK[1:], REST)),
    },
    "mllp": {
        "wrong id": after_reading(hl7("AA", "e0"), True),
        "no id": after_reading(hl7("AA", ""), True),
        "no MSA": after_reading(b"\x0bMSH|^~\\&|R|R|G|G|20261121||ACK|1|P|2.5\r\x1c\r", True),
        "twice in one frame": after_reading(hl7("AA", "e1", "MSA|AA|e1\r"), True),
        "cut short": [Read(True), Send(hl7("AA", "e1")[:-2]), Close()],
        "unknown code": after_reading(hl7("AX", "e1"), True),
        "late": [Read(True), Wait(WAIT * 2), Send(hl7("AA", "e1"))],
        "error": after_reading(hl7("AE", "e1", "ERR|||101\r"), True),
        "rejection": after_reading(hl7("AR", "e1"), True),
        "commit and never more": after_reading(hl7("CA", "e1"), True),
        "login page": after_reading(PAGE + b"\x1c\r", True),
        "wrong charset": after_reading("\x0bMSH|^~\\&|\rMSA|AA|e1\x1c\r".encode("utf-16") + b"\x1c\r", True),
        "reset": [Read(True), Reset()],
        "one byte at a time": [Read(True), Drip(hl7("AA", "e1"), WAIT / 8)],
        "no start of block": after_reading(hl7("AA", "e1")[1:], True),
        "endless": after_reading(b"\x0b" + b"x" * 3_000_000, True),
    },
}
REST_OPTIONS = {
    "success": "$.status = REGISTERED",
    "rejected": "$.status = REFUSED",
    "reference": "$.reference",
    "receipt.registration": "$.registration",
}


def target(protocol: str, parrot: Parrot) -> Any:
    more: dict[str, Any] = {"retry": ONCE, "on_unknown": "hold"}
    if protocol == "fhir":
        return destination(url=f"{parrot.url}/m", protocol="fhir-rest", **more)
    if protocol == "soap":
        return destination(url=f"{parrot.url}/m", protocol="sepas-soap", body="b", system_id="S", **more)
    if protocol == "rest":
        return destination(url=f"{parrot.url}/m", protocol="signed-rest", options=REST_OPTIONS, **more)
    return destination(url=f"mllp://127.0.0.1:{parrot.port}", protocol="mllp-out", body="b", **more)


def network_to(parrot: Parrot, protocol: str) -> Outbound:
    url = f"mllp://127.0.0.1:{parrot.port}" if protocol == "mllp" else parrot.url
    limits = {"first_byte_seconds": WAIT, "total_seconds": WAIT * 1.5, "max_response": 1_000_000}
    made = peer(url, **limits)
    return Outbound({"peer": replace(made, plaintext=True)})


async def outcome_of(protocol: str, parrot: Parrot, store: Memory) -> str:
    """Where one exchange ends up."""
    network, render = network_to(parrot, protocol), hl7_bill if protocol == "mllp" else bill
    where = target(protocol, parrot)
    wire = wires.make(where, network, None, render)
    await store.commit(routed(exchange("e1"), body=fhir_message()))
    async with running(Dispatcher([where], {"d": wire}, tools(store))):
        await until(lambda: store.states()["e1"] not in ("due", "claimed", "rendered", "in_flight"), 10)
    await network.aclose()
    return store.states()["e1"]


CASES = [(protocol, name) for protocol, lies in LIES.items() for name in lies]


@pytest.mark.parametrize(("protocol", "lie"), CASES)
async def test_no_lie_becomes_delivered(protocol: str, lie: str, memory: Memory) -> None:
    """A false delivered is the one error that nobody would ever notice."""
    async with Parrot(LIES[protocol][lie]) as parrot:
        state = await outcome_of(protocol, parrot, memory)
        assert len(parrot.received) <= 1, "one try only"
    assert state in {"unknown", "rejected", "parked", "awaiting"}, state
    said = [audit.detail.get("state") for step in memory.steps for audit in step.audit]
    assert "delivered" not in said
    assert not any(memory.kept.values()), "no receipt is kept from a lie"


TRUTHS = {
    "fhir": after_reading(http(200, FHIR_OK, FHIR)),
    "soap": after_reading(http(200, SOAP_OK, SOAP)),
    "rest": after_reading(http(200, REST_OK, REST)),
    "mllp": after_reading(hl7("AA", "e1"), True),
}


@pytest.mark.parametrize("protocol", TRUTHS)
async def test_a_plain_yes_is_believed_and_kept_on_record(protocol: str, memory: Memory) -> None:
    """The lies above are only refused for being lies; if nothing is kept there, whose word it was is on record."""
    async with Parrot(TRUTHS[protocol]) as parrot:
        assert await outcome_of(protocol, parrot, memory) == "delivered"
    attempt = next(iter(memory.tries["e1"].values()))
    assert attempt.reply
    assert attempt.outcome == "delivered"


async def two_in_a_row(commands: Sequence[Command], memory: Memory, protocol: str = "soap") -> dict[str, str]:
    async with Parrot(commands) as parrot:
        network = network_to(parrot, protocol)
        where = replace(target(protocol, parrot), concurrency=1)
        wire = wires.make(where, network, None, bill)
        both: list[Exchange] = [exchange("e1", case="c-1"), exchange("e2", case="c-2")]
        await memory.commit(routed(*both, body=fhir_message()))
        async with running(Dispatcher([where], {"d": wire}, tools(memory))):
            await until(lambda: settled(memory), 10)
        await network.aclose()
    return memory.states()


def settled(memory: Memory) -> bool:
    """Nothing runs, and nothing will: the head of the key is final or waits for a person."""
    first, second = memory.exchanges["e1"], memory.exchanges["e2"]
    ends = ("delivered", "rejected", "parked", "unknown")
    return first.state in ends and (second.state in ends or first.state != "delivered")


async def test_the_answer_of_the_previous_message_is_not_the_answer_of_this_one(memory: Memory) -> None:
    """A peer that repeats itself gives two stays one CompositionUID; the second stay was never registered."""
    said = Send(http(200, SOAP_OK, SOAP))
    states = await two_in_a_row([Read(), said, Read(), said, Wait(5)], memory)
    assert states == {"e1": "delivered", "e2": "unknown"}
    assert memory.tries["e2"]["e2-1"].codes == ("GW-DELIVER-005",), "it is known whose answer it was not"


async def test_a_second_answer_on_the_connection_is_not_taken_for_the_next_message(memory: Memory) -> None:
    """Two answers to one request would shift every later answer by one."""
    other = sepas.result(composition="n::c-9", patient="n::p-9").body
    twice = http(200, SOAP_OK, SOAP) + http(200, other, SOAP)
    never = [Read(), Wait(5)]
    states = await two_in_a_row([[Read(), Send(twice), Read(), Wait(5)], never], memory)  # type: ignore[list-item]
    assert states == {"e1": "delivered", "e2": "unknown"}
    assert memory.tries["e2"]["e2-1"].codes == ("GW-NET-006",), "the second answer was not even looked at"


async def test_a_late_answer_does_not_land_on_the_next_message(memory: Memory) -> None:
    """What comes after the time is up comes on a connection that nobody listens to any more."""
    late = [Read(), Wait(WAIT * 2), Send(http(200, SOAP_OK, SOAP)), Read(), Wait(5)]
    states = await two_in_a_row([late, [Read(), Wait(5)]], memory)  # type: ignore[list-item]
    assert states["e1"] == "unknown"
    assert states["e2"] == "due", "it waits behind the unknown one of its subject"


async def test_a_yes_before_our_last_byte_is_not_believed(memory: Memory) -> None:
    """A peer that has not read the message cannot have taken it."""
    early = [ReadHead(), Send(http(200, FHIR_OK, FHIR, "Connection: close")), Wait(0.1), Reset()]
    async with Parrot(early) as parrot:
        network, where = network_to(parrot, "fhir"), target("fhir", parrot)
        wire = wires.make(where, network, None, bill)
        large = fhir_message(note="x" * 20_000_000)
        await memory.commit(routed(exchange("e1"), body=large))
        async with running(Dispatcher([where], {"d": wire}, tools(memory))):
            await until(lambda: memory.states()["e1"] not in ("due", "claimed", "in_flight"), 10)
        await network.aclose()
    assert memory.states()["e1"] == "unknown"


async def test_a_redirect_is_never_followed(memory: Memory) -> None:
    """Our bytes and headers go to the configured origin and nowhere else."""
    async with Parrot([Read(), Wait(1)]) as elsewhere:
        said = http(307, b"", FHIR, f"Location: {elsewhere.url}/m")
        async with Parrot(after_reading(said)) as parrot:
            assert await outcome_of("fhir", parrot, memory) == "parked"
        await asyncio.sleep(0.1)
        assert elsewhere.connections == 0
