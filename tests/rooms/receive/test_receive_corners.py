"""What happens seldom: answers that cannot be kept, stops in the middle, lists that cannot be read."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from receive_peers import PROGRAMME, TOKEN, Certificates, Findings, House, Peer, ScriptedStore, adt, client, errs, msa

from gateway.errors import Broken, Misconfigured, NotAllowed, StaleState, StorageFailed
from gateway.kept import SubmissionStatus
from gateway.message import Answer
from gateway.receive import http as front
from gateway.receive import mllp, server, tls
from gateway.receive.framing import wrap
from gateway.receive.identity import read_certificate
from gateway.receive.mllp import MllpServer
from gateway.receive.server import HttpServer
from gateway.settings import Http, Mllp
from gateway.sign.dev_ca import Authority

URL = f"/submissions/{PROGRAMME}"
JSON = {"content-type": "application/json"}


def code(answer: Any) -> str:
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])


# --- answers --------------------------------------------------------------------------------------


async def test_what_is_accepted_stays_accepted_when_the_answer_cannot_be_kept(
    house: House, store: ScriptedStore
) -> None:
    """The bytes are on disk, which is all that the answer says."""
    store.fail, store.fail_named = StorageFailed(), "answer"
    server_, listener = await house.http(), await house.mllp()
    async with client(server_) as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 201
    assert msa(await (await Peer.connect(listener)).ask(adt()))[0] == "AA"
    assert [store.state(each) for each in store.kept] == ["received", "received"]


async def test_an_answer_that_somebody_else_kept_first_is_given_instead(house: House, store: ScriptedStore) -> None:
    """Two processes answer the same submission: both senders' connections get the one that is on disk."""
    keep = store.commit

    async def commit(step: Any) -> Any:
        if step.name == "answer":
            (answer,) = step.writes
            store.given["other"] = msgspec.structs.replace(answer, id="other", body=answer.body.replace(b"201", b"202"))
            raise StaleState(thing="answer")
        return await keep(step)

    store.commit = commit  # type: ignore[method-assign]
    async with client(await house.http()) as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 202


async def test_what_was_parked_is_accepted_and_said_to_be_looked_at(house: House, store: ScriptedStore) -> None:
    """A defect of ours after acceptance is not the sender's to repeat."""

    async def parked(id: str, seconds: float) -> SubmissionStatus:
        found = await store.submission_status(id)
        assert found is not None
        return msgspec.structs.replace(found, state="parked")

    house.findings = parked
    async with client(await house.http()) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    assert (answer.status_code, code(answer)) == (202, "GW-RECEIVE-030")
    assert msa(await (await Peer.connect(await house.mllp())).ask(adt()))[0] == "AA"


@pytest.mark.parametrize("case", ["owed_already", "not_settled", "commit_fails"])
async def test_the_door_owes_a_later_answer_at_most_once(
    house: House, store: ScriptedStore, findings: Findings, case: str
) -> None:
    """Somebody else owed it, there is nothing to owe yet, or the store is away: the first answer stands."""
    findings.found = None
    owed = Answer(id="later", submission="", sender="one", kind="callback", state="owed", body=b"", media_type="",
                  created_at=datetime.now(UTC))  # fmt: skip

    async def settled(id: str, seconds: float) -> None:
        if case != "not_settled":
            findings.settle(id, ())
            store.statuses[id] = msgspec.structs.replace(store.statuses[id], settled=False)
        if case == "owed_already":
            store.given["later"] = msgspec.structs.replace(owed, submission=id)

    keep = store.commit

    async def commit(step: Any) -> Any:
        done = await keep(step)
        if step.name == "answer" and case != "not_settled":
            for id, status in store.statuses.items():
                store.statuses[id] = msgspec.structs.replace(status, settled=True)
        return done

    store.commit = commit  # type: ignore[method-assign]
    store.fail, store.fail_named = (StorageFailed(), "owe") if case == "commit_fails" else (None, None)
    house.findings = settled
    asked = []

    def later(submission: Any, found: Any) -> tuple[Answer, ...]:
        asked.append(submission.id)
        return (msgspec.structs.replace(owed, submission=submission.id),)

    async with client(await house.http(house.door(later=later))) as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 202
    assert len(asked) == (case == "commit_fails")
    assert [step.name for step in store.steps] == ["accept", "answer"]


async def test_a_summary_is_given_where_json_is_asked_for(house: House) -> None:
    """application/json: the status of the submission instead of an OperationOutcome, also at once."""
    headers = JSON | {"accept": "application/json"}
    async with client(await house.http()) as web:
        full = (await web.post(URL, content=b"{}", headers=headers)).json()
    async with client(await house.http(house.door(answer_within=0.0))) as web:
        brief = await web.post(URL, content=b"{}", headers=headers)
    assert (full["state"], full["settled"]) == ("itemised", True)
    assert (brief.status_code, brief.json()["state"]) == (202, "received")
    assert brief.json()["findings"][0]["code"] == "GW-RECEIVE-021"


async def test_a_key_is_the_same_with_and_without_quotes(house: House, store: ScriptedStore) -> None:
    """The draft writes it as a structured-field string; most clients do not."""
    async with client(await house.http()) as web:
        for key in ("KEY-1", '"KEY-1"'):
            await web.post(URL, content=b"{}", headers=JSON | {"idempotency-key": key})
    assert [each.control_id for each in store.kept] == ["KEY-1"]


async def test_a_defect_that_is_known_as_one_has_a_reference_too(house: House, store: ScriptedStore) -> None:
    """Broken without a code of its own is GW-CORE-001 with a reference."""
    store.fail = Broken()
    async with client(await house.http()) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    assert (answer.status_code, code(answer)) == (500, "GW-CORE-001")
    assert "…" not in answer.json()["issue"][0]["details"]["text"]


async def test_strangers_are_turned_away_also_when_that_cannot_be_kept(house: House, store: ScriptedStore) -> None:
    """The answer does not depend on the disk."""
    store.fail = StorageFailed()
    async with client(await house.http(), "wrong") as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 401


@pytest.mark.parametrize(("limit", "value"), [("DRAIN_BYTES", 100_000), ("DRAIN_SECONDS", 0.2)])
async def test_draining_ends(house: House, monkeypatch: pytest.MonkeyPatch, limit: str, value: float) -> None:
    """We read on for politeness, not for ever."""
    monkeypatch.setattr(front, limit, value)
    listening = await house.http(max_body=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", listening.port)
    head = f"POST {URL} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
    writer.write(head.encode() + b"content-length: 900000000\r\n\r\n" + b"x" * 200_000)
    async with asyncio.timeout(3):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


# --- MLLP -----------------------------------------------------------------------------------------


async def test_unreadable_bytes_of_a_certificate_are_its_owners(
    house: House, certificates: Certificates, store: ScriptedStore
) -> None:
    """Without MSH the certificate still says whose refusal it is."""
    listener = await house.mllp(tls=certificates.tls(client_optional=False))
    peer = await Peer.connect(listener, ssl=certificates.client("good"), server_hostname="localhost")
    assert msa(await peer.ask(b"garbage"))[0] == "AR"
    assert [(each.sender, each.body) for each in store.kept] == [("one", b"garbage")]


async def test_unreadable_bytes_of_nobody_are_not_kept(house: House, store: ScriptedStore) -> None:
    """Two senders may speak from here, so nobody knows whose they are."""
    assert msa(await (await Peer.connect(await house.mllp())).ask(b"garbage"))[0] == "AR"
    assert not store.kept


async def test_roles_that_do_not_push_are_refused(house: House, store: ScriptedStore) -> None:
    """As on HTTP; in silence where the message wants no acknowledgement at all."""
    house.senders = (msgspec.structs.replace(house.senders[0], role="repository"),)
    peer = await Peer.connect(await house.mllp())
    peer.send(wrap(adt("QUIET", f15="NE", f16="NE")))
    answer = await peer.ask(adt("LOUD"))
    assert (msa(answer), errs(answer)[0][5]) == (("AR", "LOUD"), "GW-RECEIVE-016")
    assert not store.kept


async def test_a_stop_does_not_wait_for_ever(
    house: House, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs is cut after the grace period, on both listeners; nothing was acknowledged."""
    monkeypatch.setattr(mllp, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr(server, "GRACE_SECONDS", 0.2)
    store.delay = 30
    web_server, listener = await house.http(), await house.mllp()
    peer = await Peer.connect(listener)
    peer.send(wrap(adt()) + wrap(adt("MSG-2")))
    async with client(web_server) as web:
        asking = asyncio.create_task(web.post(URL, content=b"{}", headers=JSON))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await listener.stop()
            await web_server.stop()
        assert await peer.answer() is None
        (outcome,) = await asyncio.gather(asking, return_exceptions=True)
    assert isinstance(outcome, Exception) or outcome.status_code >= 500
    assert not store.kept


async def test_messages_that_wait_behind_the_one_in_hand_are_left_to_the_sender(
    house: House, store: ScriptedStore
) -> None:
    """At a stop the message in hand is finished; those behind it are neither kept nor answered."""
    store.delay = 0.2
    listener = await house.mllp()
    peer = await Peer.connect(listener)
    peer.send(wrap(adt("1")) + wrap(adt("2")))
    await asyncio.sleep(0.1)
    await listener.stop()
    assert msa(await peer.answer()) == ("AA", "1")
    assert await peer.answer() is None
    assert [each.control_id for each in store.kept] == ["1"]


async def test_stopping_what_never_started(house: House) -> None:
    """Start may have failed half-way; stop is called all the same."""
    await MllpServer(Mllp(port=0), house.senders, house.door(), house.clock).stop()
    await HttpServer(front.make_app.__call__, Http(port=0)).stop()


async def test_a_peer_that_reads_slowly_but_reads_gets_everything(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write limit is for those who do not read at all."""
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.5)
    size = 20_000_000

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"x" * (size // 20), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    listening = HttpServer(app, Http(port=0))
    await listening.start()
    house.running.append(listening)
    async with client(listening) as web, web.stream("GET", "/") as response:
        total = 0
        async for chunk in response.aiter_raw(1 << 20):
            total += len(chunk)
            await asyncio.sleep(0.05)
    assert total == size


# --- certificates and lists -----------------------------------------------------------------------


def test_what_is_no_certificate_opens_nothing() -> None:
    """Converted at the border, like every foreign error."""
    with pytest.raises(NotAllowed):
        read_certificate(b"not a certificate")


def test_lists_are_read_as_der_pem_and_bundles(certificates: Certificates) -> None:
    """A CA with several issuers publishes several lists in one file."""
    der = (certificates.folder / "empty.crl").read_bytes()
    pem = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    assert [len(tls.read_crls(each)) for each in (der, pem, pem + pem)] == [1, 1, 2]
    with pytest.raises(ValueError, match="no CRL"):
        tls.read_crls((certificates.folder / "ca.pem").read_bytes())


def test_a_list_counts_only_while_it_is_fresh_signed_and_readable(certificates: Certificates, tmp_path: Path) -> None:
    """Gone, broken, of another authority, or expired: nobody can be known not to be revoked."""
    now, at = datetime.now(UTC), 0.0
    path = tmp_path / "some.crl"
    good = (certificates.folder / "empty.crl").read_bytes()
    path.write_bytes(good)
    der = x509.load_pem_x509_certificate((certificates.folder / "good.pem").read_bytes()).public_bytes(Encoding.DER)
    certificate = read_certificate(der)
    asked = tls.Revocation(certificates.tls(crl=str(path)))
    foreign = Authority.create("Test authority", now).crl(now)  # the same name, another key
    for number, (body, known) in enumerate(
        [(good, True), (foreign, False), (good, True), (b"", False), (None, False), (good, True)], 1
    ):
        path.unlink() if body is None else path.write_bytes(body)
        if body is not None:
            os.utime(path, ns=(number, number))
        for _ in range(2):
            at += 10.0
            if known:
                asked.check(certificate, now, at)
            else:
                with pytest.raises(NotAllowed):
                    asked.check(certificate, now, at)
    with pytest.raises(NotAllowed):
        asked.check(certificate, now + timedelta(days=4000), at)
    asked.check(None, now, at)
    tls.Revocation(None).check(certificate, now, at)


async def test_half_written_files_leave_the_old_ones_in_force(
    house: House, certificates: Certificates, tmp_path: Path
) -> None:
    """A renewal that is caught in the middle locks nobody out; the complete one is taken up."""
    for name in ("server.pem", "server.key"):
        (tmp_path / name).write_bytes((certificates.folder / name).read_bytes())
    own = {"certificate": str(tmp_path / "server.pem"), "key": str(tmp_path / "server.key")}
    listener = await house.mllp(tls=certificates.tls(client_optional=False, **own))

    async def asks() -> tuple[str, str]:
        peer = await Peer.connect(listener, ssl=certificates.client("good"), server_hostname="localhost")
        return msa(await peer.ask(adt()))

    (tmp_path / "server.pem").write_bytes(b"half")
    assert await asks() == ("AA", "MSG-1")
    (tmp_path / "server.pem").write_bytes((certificates.folder / "server.pem").read_bytes())
    assert await asks() == ("AA", "MSG-1")
    (tmp_path / "server.pem").unlink()
    assert await asks() == ("AA", "MSG-1")


def test_a_mistake_in_the_settings_is_said_without_a_key(certificates: Certificates) -> None:
    """What is wrong, never what is in the file."""
    with pytest.raises(Misconfigured) as caught:
        tls.context(certificates.tls(key=str(certificates.folder / "good.key")))
    assert "PRIVATE" not in str(caught.value.args_)
