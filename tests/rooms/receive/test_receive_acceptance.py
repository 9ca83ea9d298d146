"""The promise of an acknowledgement: first the commit, then the answer, the same answer for the same bytes."""

from __future__ import annotations

import asyncio

import pytest
from receive_peers import PROGRAMME, Findings, House, Peer, ScriptedStore, adt, client, errs, msa

from gateway.errors import StorageFailed, finding
from gateway.message import Place

JSON = {"content-type": "application/json"}
HL7 = {"content-type": "application/hl7-v2"}
URL = f"/submissions/{PROGRAMME}"


async def test_http_answers_201_when_the_findings_are_ready(house: House, store: ScriptedStore) -> None:
    """Findings within answer_within come in the first answer, and what was sent is kept byte for byte."""
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b'{"a": 1}', headers=JSON)
    assert answer.status_code == 201
    assert store.kept[0].body == b'{"a": 1}'
    assert answer.headers["location"] == f"/submissions/{store.kept[0].id}"
    issue = answer.json()["issue"][0]
    assert (issue["severity"], issue["details"]["coding"][0]["code"]) == ("information", "GW-RECEIVE-022")


async def test_http_answers_202_when_the_findings_take_longer(house: House, findings: Findings) -> None:
    """The sender is not kept waiting longer than answer_within."""
    findings.found = None
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    assert answer.status_code == 202
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-RECEIVE-021"


async def test_http_answers_422_with_the_place_in_the_senders_format(house: House, findings: Findings) -> None:
    """A refusal has a permanent code, the sender's own place, and a way to mend it."""
    findings.found = (finding("GW-CORE-003", Place(notation="json", path="$.id"), format="JSON", detail="x"),)
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
        problem = await web.post(URL, content=b"{ }", headers=JSON | {"accept": "application/problem+json"})
    assert answer.status_code == problem.status_code == 422
    assert answer.headers["content-type"] == "application/fhir+json"
    issue = answer.json()["issue"][0]
    assert issue["location"] == ["$.id"]
    assert issue["details"]["coding"][0]["code"] == "GW-CORE-003"
    assert issue["diagnostics"]
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["findings"][0]["place"] == {"notation": "json", "path": "$.id"}


async def test_mllp_answers_aa_after_the_commit(house: House, store: ScriptedStore) -> None:
    """AA names the message that it is about, and the message is in the store by then."""
    server = await house.mllp()
    peer = await Peer.connect(server)
    answer = await peer.ask(adt("MSG-7"))
    assert msa(answer) == ("AA", "MSG-7")
    assert store.kept[0].body == adt("MSG-7")
    assert store.kept[0].control_id == "MSG-7"
    assert store.kept[0].message_type == "ADT^A01^ADT_A01"
    assert not errs(answer)
    await peer.close()


@pytest.mark.parametrize("within", [0.0, 0.3])
async def test_nothing_positive_leaves_when_the_store_fails(house: House, store: ScriptedStore, within: float) -> None:
    """A disk that does not take it: 503 on HTTP, AE in original mode, CE in enhanced mode; nothing is kept."""
    house.within = within
    store.fail = StorageFailed()
    web_server, mllp_server = await house.http(), await house.mllp()
    peer = await Peer.connect(mllp_server)
    assert msa(await peer.ask(adt("MSG-1"))) == ("AE", "MSG-1")
    assert msa(await peer.ask(adt("MSG-2", f15="AL", f16="NE"))) == ("CE", "MSG-2")
    async with client(web_server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    assert answer.status_code == 503
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-CORE-009"
    assert answer.headers["retry-after"]
    assert not store.kept
    store.fail = None
    assert msa(await peer.ask(adt("MSG-1"))) == ("AA", "MSG-1")
    await peer.close()


async def test_no_byte_of_the_answer_leaves_before_the_commit_returns(house: House, store: ScriptedStore) -> None:
    """While the commit is under way both listeners are silent."""
    store.delay = 0.4
    web_server, mllp_server = await house.http(), await house.mllp()
    peer = await Peer.connect(mllp_server)
    peer.send(b"\x0b" + adt() + b"\x1c\r")
    with pytest.raises(TimeoutError):
        await peer.answer(seconds=0.2)
    async with client(web_server) as web:
        asking = asyncio.create_task(web.post(URL, content=b"{}", headers=JSON))
        await asyncio.sleep(0.2)
        assert not asking.done()
        assert (await asking).status_code == 201
    assert msa(await peer.answer()) == ("AA", "MSG-1")
    await peer.close()
