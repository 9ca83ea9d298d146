"""The shapes of a repeated control id: the same answer again, a warning, or a refusal; never silence."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from receive_peers import PROGRAMME, Findings, House, Peer, ScriptedStore, adt, client, errs, msa

from gateway.errors import finding

URL = f"/submissions/{PROGRAMME}"
KEY = {"content-type": "application/json", "idempotency-key": "KEY-1"}


def codes(answer: object) -> list[str]:
    return [each["details"]["coding"][0]["code"] for each in answer.json()["issue"]]  # type: ignore[attr-defined]


async def test_same_id_same_bytes_gets_the_same_answer_again(house: House, store: ScriptedStore) -> None:
    """Byte for byte the earlier answer, and nothing is kept twice."""
    server, listener = await house.http(), await house.mllp()
    async with client(server) as web:
        first = await web.post(URL, content=b"{}", headers=KEY)
        again = await web.post(URL, content=b"{}", headers=KEY | {"accept": "application/problem+json"})
    assert (again.status_code, again.content, again.headers["location"]) == (
        first.status_code,
        first.content,
        first.headers["location"],
    )
    peer = await Peer.connect(listener)
    assert await peer.ask(adt()) == await peer.ask(adt())
    assert len(store.kept) == 2


async def test_same_id_same_bytes_across_a_restart(house: House, store: ScriptedStore) -> None:
    """The earlier answer is on disk, not in the memory of the process that gave it."""
    peer = await Peer.connect(await house.mllp())
    first = await peer.ask(adt())
    peer = await Peer.connect(await house.mllp(house.door()))
    assert await peer.ask(adt()) == first
    assert len(store.kept) == 1


@pytest.mark.parametrize("policy", ["accept_with_warning", "refuse"])
async def test_same_id_other_bytes_follows_the_senders_policy(house: House, store: ScriptedStore, policy: str) -> None:
    """Counters wrap, so it is accepted with a warning; or refused, as agreed. Either way its bytes are kept."""
    house.senders = (msgspec.structs.replace(house.senders[0], duplicate=policy),)
    server, listener = await house.http(), await house.mllp()
    async with client(server) as web:
        await web.post(URL, content=b"{}", headers=KEY)
        other = await web.post(URL, content=b"[]", headers=KEY)
    peer = await Peer.connect(listener)
    await peer.ask(adt())
    answer = await peer.ask(adt(extra="PV1|1\r"))
    if policy == "refuse":
        assert (other.status_code, codes(other)) == (422, ["GW-RECEIVE-007"])
        assert msa(answer)[0] == "AE"
        assert errs(answer)[0][3].startswith("205^")
    else:
        assert (other.status_code, codes(other)) == (201, ["GW-RECEIVE-006"])
        assert msa(answer)[0] == "AA"
        assert (errs(answer)[0][4], errs(answer)[0][5]) == ("W", "GW-RECEIVE-006")
    assert [store.state(each) for each in store.kept][1::2] == ["refused" if policy == "refuse" else "received"] * 2


async def test_new_id_same_content_is_a_new_submission(house: House, store: ScriptedStore) -> None:
    """Without an id of its own nothing tells a repetition from a second event; that is gather's business."""
    server = await house.http()
    async with client(server) as web:
        for key in ("KEY-1", "KEY-2"):
            assert (await web.post(URL, content=b"{}", headers=KEY | {"idempotency-key": key})).status_code == 201
        for _ in range(2):
            await web.post(URL, content=b"{}", headers={"content-type": "application/json"})
    assert len(store.kept) == 4


async def test_the_same_id_of_another_sender_is_another_id(house: House, store: ScriptedStore) -> None:
    """Two hospitals count from one, both."""
    peer = await Peer.connect(await house.mllp())
    one = await peer.ask(adt("1"))
    two = await peer.ask(adt("1", application="LAB"))
    assert msa(one) == msa(two) == ("AA", "1")
    assert {each.sender for each in store.kept} == {"one", "two"}


async def test_two_at_the_same_moment_become_one(house: House, store: ScriptedStore, findings: Findings) -> None:
    """A client that gives up waiting and sends again meets its own first request under way."""
    store.delay, findings.after = 0.05, 0.1
    server = await house.http()
    async with client(server) as web:
        answers = await asyncio.gather(*(web.post(URL, content=b"{}", headers=KEY) for _ in range(5)))
    assert {(each.status_code, each.headers["location"]) for each in answers} == {
        (201, f"/submissions/{store.kept[0].id}")
    }
    assert len(store.kept) == 1


async def test_what_was_refused_at_the_door_may_come_again_mended(house: House, store: ScriptedStore) -> None:
    """A refusal uses up no control id: the mended submission is no reuse, and the same mistake is not kept twice."""
    house.senders = (msgspec.structs.replace(house.senders[0], duplicate="refuse"),)
    server = await house.http()
    async with client(server) as web:
        wrong = [await web.post(URL, content=b"{}", headers=KEY | {"content-type": "text/plain"}) for _ in range(2)]
        right = await web.post(URL, content=b"{} ", headers=KEY)
    assert [each.status_code for each in wrong] == [415, 415]
    assert right.status_code == 201
    assert [store.state(each) for each in store.kept] == ["refused", "received"]


async def test_a_repetition_on_the_other_channel_gets_the_same_verdict_in_its_own_words(
    house: House, store: ScriptedStore, findings: Findings
) -> None:
    """First over HTTP, then over MLLP: one submission, and the second answer is an acknowledgement."""
    findings.found = (finding("GW-CORE-002"),)
    server, listener = await house.http(), await house.mllp()
    async with client(server) as web:
        first = await web.post(URL, content=adt("X"), headers={"content-type": "application/hl7-v2"})
    answer = await (await Peer.connect(listener)).ask(adt("X"))
    assert first.status_code == 422
    assert msa(answer) == ("AE", "X")
    assert errs(answer)[0][5] == "GW-CORE-002"
    assert len(store.kept) == 1
