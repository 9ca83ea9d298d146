"""Later answers: who is owed one, what it says, and that it is given in order, at least once, signed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from receive_peers import PROGRAMME, Findings, House, Peer, ScriptedStore, adt, client, msa

from gateway.clock import FixedClock
from gateway.errors import StorageFailed, finding
from gateway.flow import NEW, Room, Thing
from gateway.formats import hl7v2, json
from gateway.message import Answer, Document, Evidence, Exchange, Move, Outcome, Step, Submission
from gateway.network import Outbound, Reply
from gateway.ports import MaybeSent, NotSent
from gateway.receive import callbacks
from gateway.receive.framing import Block, Decoder, wrap
from gateway.settings import Callback, Retry, Sender
from gateway.settings import Peer as PeerSettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = Callback(url="https://sender.test/hook", peer="sender", events=("accepted", "refused", "delivered", "rejected"))
HL7 = Callback(mllp_host="127.0.0.1", mllp_port=1, peer="sender")
BAD = (finding("GW-CORE-002"),)


def sender(callback: Callback | None = WEB, id: str = "one") -> Sender:
    return Sender(id=id, programmes=(PROGRAMME,), language="it", callback=callback)


def submission(body: bytes = b"{}", media_type: str = "application/json", id: str = "s1") -> Submission:
    return Submission(
        id=id, sender="one", programme=PROGRAMME, received_at=NOW, channel="http", media_type=media_type, body=body,
        digest="d", control_id="MSG-1", language="it",
    )  # fmt: skip


def message(**msh: str) -> Submission:
    return submission(adt(**msh), "application/hl7-v2")


class Signer:
    def sign(self, body: bytes, at: datetime) -> Evidence:
        return Evidence(jws=f"jws-over-{len(body)}", algorithm="ES256", certificate_digest="c", signed_at=at)


@dataclass
class ScriptedNetwork:
    """Says what the script says; notes what it was asked."""

    script: list[Any] = field(default_factory=list)
    asked: list[tuple[str, bytes, Mapping[str, str]]] = field(default_factory=list)
    delay: dict[str, float] = field(default_factory=dict)

    async def request(
        self, peer: str, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Reply:
        await asyncio.sleep(self.delay.get(peer, 0))
        self.asked.append((url, body, headers))
        said = self.script.pop(0) if self.script else 204
        if isinstance(said, Exception):
            raise said
        return Reply(said, {}, b"")

    async def mllp(self, peer: str, host: str, port: int, frame: bytes, timeout: float) -> bytes:
        self.asked.append((f"mllp://{host}:{port}", frame, {}))
        said = self.script.pop(0) if self.script else positive(frame)
        if isinstance(said, Exception):
            raise said
        return bytes(said)


def positive(frame: bytes, code: str = "AA", control_id: str | None = None) -> bytes:
    header = hl7v2.header(next(e.data for e in Decoder(1 << 20).feed(frame) if isinstance(e, Block)))
    return wrap(f"MSH|^~\\&|X|||||||Y|P|2.5\rMSA|{code}|{control_id or header.control_id}\r".encode())


async def owe(store: ScriptedStore, *answers: Answer) -> None:
    for each in answers:
        move = Move(thing=Thing.ANSWER, id=each.id, frm=NEW, to="owed", room=Room.MAP)
        await store.commit(Step(name="owe", at=NOW, moves=(move,), writes=(each,)))


def made(event_for: Submission | None = None, callback: Callback = WEB, **changed: Any) -> Answer:
    owed = callbacks.later((sender(callback),), FixedClock(NOW), event_for or submission(), BAD)
    return msgspec.structs.replace(owed[0], **changed)


# --- who is owed what -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "callback", "findings", "kind", "event"),
    [
        (submission(), WEB, BAD, "callback", "refused"),
        (submission(), WEB, (), "callback", "accepted"),
        (submission(), WEB, (finding("GW-RECEIVE-006"),), "callback", "findings"),
        (submission(), Callback(url="https://x.test"), (), None, None),  # does not want to hear of good news
        (submission(), Callback(url="https://x.test", events=("delivered",)), BAD, None, None),
        (submission(), None, BAD, None, None),
        (message(), HL7, BAD, "callback", "AE"),  # original mode, found too late for the acknowledgement
        (message(f15="AL", f16="AL"), HL7, BAD, "application", "AE"),
        (message(f15="AL", f16="AL"), HL7, (), "application", "AA"),
        (message(f15="AL", f16="ER"), HL7, (), None, None),
        (message(f15="AL", f16="ER"), HL7, BAD, "application", "AE"),
        (message(f15="AL", f16="SU"), HL7, BAD, None, None),
        (message(f15="AL", f16="NE"), HL7, (), None, None),
        (message(f15="AL", f16="AL"), WEB, (), "application", "accepted"),  # no MLLP address: as an event
    ],
)
def test_who_is_owed_a_later_answer(
    of: Submission, callback: Callback | None, findings: Any, kind: str | None, event: str | None
) -> None:
    """Configuration and MSH-16 decide; an enhanced message gets its application acknowledgement, in HL7."""
    owed = callbacks.later((sender(callback),), FixedClock(NOW), of, findings)
    assert [each.kind for each in owed] == ([kind] if kind else [])
    for each in owed:
        assert each.state == "owed"
        told = msa(each.body) if each.media_type == "application/hl7-v2" else json.read(each.body)["event"]
        assert told == ((event, "MSG-1") if each.media_type == "application/hl7-v2" else event)


def test_an_unknown_sender_is_owed_nothing() -> None:
    """Removed from the settings since."""
    assert callbacks.later((), FixedClock(NOW), submission(), BAD) == ()


def test_the_webhook_speaks_the_senders_language_and_repeats_under_one_id() -> None:
    """What a receiver needs to act and to drop repetitions; nothing of the message itself."""
    owed = made()
    body = json.read(owed.body)
    assert body["id"] == owed.id
    assert (body["submission"], body["control_id"], body["language"]) == ("s1", "MSG-1", "it")
    assert body["findings"][0]["text"] == "L'input è stato rifiutato."


@pytest.mark.parametrize("callback", [WEB, HL7])
@pytest.mark.parametrize("state", ["delivered", "rejected", "due", "awaiting", "unknown", "parked"])
async def test_outcomes_are_told_to_everybody_who_contributed(
    store: ScriptedStore, monkeypatch: pytest.MonkeyPatch, callback: Callback, state: Any
) -> None:
    """Delivery and rejection are news; waiting is not."""
    for id in ("s1", "s2"):
        store.submissions[id] = msgspec.structs.replace(message(), id=id)
    proof = Evidence(jws="", algorithm="", certificate_digest="", signed_at=NOW)
    document = Document(id="d", case="c", version=1, programme="p", subject="s", made_at=NOW, body=b"", digest="",
                        evidence=proof, submissions=("s1", "s2", "gone"))  # fmt: skip

    async def one(id: str) -> Document:
        return document

    monkeypatch.setattr(store, "document", one, raising=False)
    exchange = Exchange(id="e", document="d", destination="central", programme="p", sender="one", subject="s",
                        case="c", state="in_flight")  # fmt: skip
    outcome = Outcome(state=state, codes=("X-1",))
    owed = await callbacks.for_outcome(store, (sender(callback),), FixedClock(NOW), exchange, outcome)  # type: ignore[arg-type]
    assert [each.submission for each in owed] == (["s1", "s2"] if state in ("delivered", "rejected") else [])
    for each in owed:
        if callback is HL7:
            assert msa(each.body)[0] == ("AA" if state == "delivered" else "AE")
        else:
            told = json.read(each.body)
            assert (told["event"], told["destination"], told["document"]) == (state, "central", "d")


# --- giving ---------------------------------------------------------------------------------------


class Giving:
    """Callbacks with a clock set by hand."""

    def __init__(self, store: ScriptedStore, network: Any, *senders: Sender, **changed: Any) -> None:
        self.clock = FixedClock(NOW)
        retry = Retry(first=10.0, factor=2.0, ceiling=100.0, budget=3)
        self.callbacks = callbacks.Callbacks(
            store, network, Signer(), self.clock, senders or (sender(),), retry, chance=lambda: 1.0, **changed  # type: ignore[arg-type]
        )  # fmt: skip

    async def round(self, seconds: float = 0.0) -> bool:
        self.clock.advance(timedelta(seconds=seconds))
        return await self.callbacks.deliver_due()


async def test_a_webhook_gets_the_exact_bytes_signed(store: ScriptedStore) -> None:
    """The detached signature is over the body that is sent; the answer is given when a 2xx says so."""
    network = ScriptedNetwork()
    owed = made()
    await owe(store, owed)
    giving = Giving(store, network)
    assert await giving.round()
    assert not await giving.round()
    ((url, body, headers),) = network.asked
    assert (url, body, headers["webhook-id"]) == (WEB.url, owed.body, owed.id)
    assert headers["x-jws-signature"] == f"jws-over-{len(body)}"
    assert store.given[owed.id].state == store.states[Thing.ANSWER, owed.id] == "given"
    assert store.steps[-1].audit[0].outcome == "0"


@pytest.mark.parametrize("trouble", [500, 404, 302, NotSent("GW-NET-001"), MaybeSent("GW-NET-005")])
async def test_what_was_not_taken_is_given_again_later_and_in_the_end_given_up_visibly(
    store: ScriptedStore, trouble: Any
) -> None:
    """Backoff between tries, the same id each time, and after the budget `not_owed` with a code in the journal."""
    network = ScriptedNetwork([trouble] * 3)
    owed = made()
    await owe(store, owed)
    giving = Giving(store, network)
    assert [await giving.round(seconds) for seconds in (0, 5, 5, 5, 15)] == [True, False, True, False, True]
    assert [headers["webhook-id"] for _, _, headers in network.asked] == [owed.id] * 3
    assert store.states[Thing.ANSWER, owed.id] == "not_owed"
    assert store.steps[-1].moves[0].reason == "GW-RECEIVE-029"


async def test_answers_of_a_sender_are_given_in_order(store: ScriptedStore) -> None:
    """The second waits until the first was taken."""
    network = ScriptedNetwork([500])
    first, second = made(), made()
    await owe(store, first, second)
    giving = Giving(store, network)
    for seconds in (0, 0, 10, 0):
        await giving.round(seconds)
    assert [headers["webhook-id"] for _, _, headers in network.asked] == [first.id, first.id, second.id]


async def test_a_slow_sender_delays_no_other(store: ScriptedStore) -> None:
    """One webhook that hangs; the other's answers go on."""
    network = ScriptedNetwork(delay={"slow": 5.0})
    slow = sender(msgspec.structs.replace(WEB, peer="slow"), "slow")
    await owe(store, made(sender="slow"), *(made() for _ in range(3)))
    giving = Giving(store, network, slow, sender())
    for _ in range(4):
        await giving.round()
    assert len(network.asked) == 3
    await giving.callbacks.stop()
    assert [state for (thing, _), state in store.states.items()].count("owed") == 1


async def test_a_commit_that_fails_leaves_it_owed_and_is_not_hammered(store: ScriptedStore) -> None:
    """At least once: it was sent but could not be noted, so it is sent again, after a pause."""
    network = ScriptedNetwork()
    owed = made()
    await owe(store, owed)
    giving = Giving(store, network)
    store.fail = StorageFailed()
    assert [await giving.round() for _ in range(3)] == [True, False, False]
    store.fail = None
    assert await giving.round(callbacks.PAUSE_SECONDS)
    assert len(network.asked) == 2
    assert store.states[Thing.ANSWER, owed.id] == "given"


async def test_a_sender_without_an_address_is_owed_nothing_any_more(store: ScriptedStore) -> None:
    """The callback was removed from the settings since: visibly ended, not for ever waiting."""
    owed = made()
    await owe(store, owed)
    await Giving(store, ScriptedNetwork(), sender(None)).round()
    assert store.states[Thing.ANSWER, owed.id] == "not_owed"


@pytest.mark.parametrize(
    ("lie", "taken"),
    [
        (lambda frame: positive(frame), True),
        (lambda frame: positive(frame, "CA"), True),
        (lambda frame: positive(frame, "AE"), False),
        (lambda frame: positive(frame, "AR"), False),
        (lambda frame: positive(frame, control_id="ANOTHER"), False),  # an answer to another message
        (lambda frame: positive(frame)[1:-2], False),  # not framed
        (lambda frame: wrap(b"MSH|^~\\&|X|||||||Y|P|2.5\r"), False),  # no MSA
        (lambda frame: wrap(b"OK"), False),
        (lambda frame: b"", False),
    ],
)
async def test_only_a_true_acknowledgement_counts(store: ScriptedStore, lie: Any, taken: bool) -> None:
    """MSA-1 positive and MSA-2 ours, in a frame; everything else is tried again."""
    owed = made(message(), HL7)
    network = ScriptedNetwork([lie(wrap(owed.body))])
    await owe(store, owed)
    await Giving(store, network, sender(HL7)).round()
    assert store.states[Thing.ANSWER, owed.id] == ("given" if taken else "owed")


async def test_an_application_acknowledgement_reaches_a_real_listener(house: House, store: ScriptedStore) -> None:
    """Over real sockets: CA on the connection, AA later to the configured address."""
    came: list[bytes] = []

    async def receiver(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frame = await reader.readuntil(b"\x1c\r")
        came.append(frame)
        writer.write(positive(frame))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(receiver, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        address = Callback(mllp_host="127.0.0.1", mllp_port=port, peer="his")
        house.senders = (msgspec.structs.replace(house.senders[0], callback=address),)
        peer = await Peer.connect(await house.mllp())
        assert msa(await peer.ask(adt(f15="AL", f16="AL"))) == ("CA", "MSG-1")
        owed = callbacks.later(house.senders, house.clock, store.kept[0], ())
        await owe(store, *owed)
        network = Outbound({"his": PeerSettings(origin=f"mllp://127.0.0.1:{port}", plaintext=True)})
        await callbacks.Callbacks(store, network, Signer(), house.clock, house.senders).deliver_due()  # type: ignore[arg-type]
        await network.aclose()
    assert msa(came[0].strip(b"\x0b\x1c\r")) == ("AA", "MSG-1")
    assert store.states[Thing.ANSWER, owed[0].id] == "given"


async def test_findings_that_come_while_we_stop_waiting_are_owed(
    house: House, store: ScriptedStore, findings: Findings
) -> None:
    """Whoever settled it saw somebody waiting and owed nothing; the door then owes it itself, once."""
    house.senders = (msgspec.structs.replace(house.senders[0], callback=WEB),)

    class Late(Findings):
        async def __call__(self, id: str, seconds: float) -> None:
            self.late = id
            return

    late = Late(store)
    keep = store.commit

    async def commit(step: Step) -> Any:
        if step.name == "answer":  # the findings are committed just before our answer is
            late.settle(late.late, BAD)
        return await keep(step)

    store.commit = commit  # type: ignore[method-assign]
    house.findings = late
    later = lambda of, found: callbacks.later(house.senders, house.clock, of, found)  # noqa: E731
    server = await house.http(house.door(later=later))
    async with client(server) as web:
        answer = await web.post(
            f"/submissions/{PROGRAMME}", content=b"{}", headers={"content-type": "application/json"}
        )
    assert answer.status_code == 202
    assert [each.kind for each in store.given.values()] == ["first", "callback"]
