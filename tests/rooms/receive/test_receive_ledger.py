"""The door before the real ledger: what the scripted store stands for is what the ledger does."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from receive_peers import PROGRAMME, House, Peer, adt, client, msa

from gateway import store as stores
from gateway.clock import SystemClock
from gateway.kept import SubmissionStatus
from gateway.receive import callbacks
from gateway.settings import Callback, Sender
from gateway.store import Ledger

URL = f"/submissions/{PROGRAMME}"
KEY = {"content-type": "application/json", "idempotency-key": "KEY-1"}


async def unsettled(id: str, seconds: float) -> SubmissionStatus | None:
    """Nobody maps here."""
    return None


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with stores.open("", tmp_path, SystemClock()) as made:
        yield made


@pytest.fixture
async def front(ledger: Ledger, senders: tuple[Sender, ...]) -> AsyncIterator[House]:
    made = House(ledger, unsettled, senders)
    yield made
    for each in made.running:
        await each.stop()


async def test_an_acknowledged_message_is_in_the_file(front: House, tmp_path: Path) -> None:
    """Read by another connection to the database, before anything is closed (promise 1)."""
    peer = await Peer.connect(await front.mllp())
    assert msa(await peer.ask(adt())) == ("AA", "MSG-1")
    (path,) = [each for each in tmp_path.rglob("*") if each.is_file() and each.read_bytes()[:6] == b"SQLite"]
    with sqlite3.connect(path) as other:
        assert other.execute("select count(*) from submissions").fetchone() == (1,)


async def test_duplicates_refusals_and_status_on_the_ledger(front: House, ledger: Ledger) -> None:
    """Same bytes: the same answer; other bytes: a warning; refused: kept; all of it in the trace."""
    server = await front.http()
    async with client(server) as web:
        first = await web.post(URL, content=b"{}", headers=KEY)
        again = await web.post(URL, content=b"{}", headers=KEY)
        other = await web.post(URL, content=b"[]", headers=KEY)
        refused = await web.post(URL, content=b"", headers=KEY | {"idempotency-key": "KEY-2"})
        status = (await web.get(refused.headers["location"])).json()
        trace = (await web.get(f"{first.headers['location']}/trace")).json()
        lineage = await web.get(f"{first.headers['location']}/lineage")
    assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)
    assert [each["details"]["coding"][0]["code"] for each in other.json()["issue"]] == [
        "GW-RECEIVE-006",
        "GW-RECEIVE-021",
    ]
    assert (refused.status_code, status["state"]) == (400, "refused")
    assert [(each["thing"], each["to"]) for each in trace["steps"]] == [("submission", "received"), ("answer", "given")]
    assert lineage.json()["items"] == []
    kept = await ledger.submission(refused.headers["location"].rpartition("/")[2])
    assert kept is not None
    assert kept.body == b""
    assert await ledger.audit_chain_intact()
    assert [each.sequence for each in await ledger.received(10)] == [1, 2]


async def test_the_same_answer_after_a_restart(senders: tuple[Sender, ...], tmp_path: Path) -> None:
    """A new process on the same file gives the earlier answer, byte for byte."""
    answers = []
    for _ in range(2):
        async with stores.open("", tmp_path, SystemClock()) as ledger:
            front = House(ledger, unsettled, senders)
            peer = await Peer.connect(await front.mllp())
            answers.append(await peer.ask(adt()))
            for each in front.running:
                await each.stop()
            assert len(await ledger.received(10)) == 1
    assert answers[0] == answers[1]


async def test_a_large_body_is_kept_beside_the_database(front: House, ledger: Ledger) -> None:
    """Above 1 MiB payloads are files; what comes back is what was sent."""
    body = b"[" + b"1," * 1_000_000 + b"1]"
    server = await front.http()
    async with client(server) as web:
        answer = await web.post(URL, content=body, headers=KEY)
    kept = await ledger.submission(answer.headers["location"].rpartition("/")[2])
    assert kept is not None
    assert kept.body == body


async def test_many_connections_share_commits_and_keep_their_order(front: House, ledger: Ledger) -> None:
    """Ten connections, twenty messages each: all accepted, each connection's in sequence."""
    front.within = 0.0
    listener = await front.mllp()

    async def one(name: str) -> None:
        peer = await Peer.connect(listener)
        for n in range(20):
            assert msa(await peer.ask(adt(f"{name}-{n:02}"))) == ("AA", f"{name}-{n:02}")

    await asyncio.gather(*(one(f"C{n}") for n in range(10)))
    kept = [str(each.control_id) for each in await ledger.received(1000)]
    assert len(kept) == 200
    for n in range(10):
        mine = [each for each in kept if each.startswith(f"C{n}-")]
        assert mine == sorted(mine)


async def test_later_answers_live_in_the_ledger(front: House, ledger: Ledger) -> None:
    """Owed, tried in vain, tried again: the state of each try is on disk."""
    from test_receive_callbacks import ScriptedNetwork, Signer

    hook = Callback(url="https://sender.test/hook", events=("refused", "accepted"))
    front.senders = (msgspec.structs.replace(front.senders[0], callback=hook),)
    server = await front.http()
    async with client(server) as web:
        await web.post(URL, content=b"{}", headers=KEY)
    (submission,) = await ledger.received(1)
    owed = callbacks.later(front.senders, front.clock, submission, ())
    from gateway.receive import acceptance

    await ledger.commit(acceptance.owe(owed, front.clock.now()))
    network = ScriptedNetwork([500])
    giving = callbacks.Callbacks(ledger, network, Signer(), front.clock, front.senders, chance=lambda: 0.0)
    assert await giving.deliver_due()
    (waiting,) = [each for each in await ledger.answers(submission.id) if each.kind == "callback"]
    assert (waiting.state, waiting.tries) == ("owed", 1)
    await asyncio.sleep(0.15)
    assert await giving.deliver_due()
    (given,) = [each for each in await ledger.answers(submission.id) if each.kind == "callback"]
    assert given.state == "given"
    assert len(network.asked) == 2
