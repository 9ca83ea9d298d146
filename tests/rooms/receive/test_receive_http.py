"""The HTTP front: what is refused and how, what a sender may see, and what stays bounded."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import msgspec
import pytest
from receive_peers import OTHER_TOKEN, PROGRAMME, TOKEN, Findings, House, ScriptedStore, adt, client, msa

from gateway.errors import finding
from gateway.formats import json, media
from gateway.kept import ItemStatus
from gateway.message import Exchange, ItemRecord, ItemResult, Lineage, Loss, Place
from gateway.receive import http as front
from gateway.receive.http import Reply, make_app
from gateway.receive.server import HttpServer
from gateway.settings import Http, Settings

URL = f"/submissions/{PROGRAMME}"
JSON = {"content-type": "application/json"}


def code(answer: object) -> str:
    return str(answer.json()["issue"][0]["details"]["coding"][0]["code"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "wanted"),
    [
        (URL, b"", JSON, 400, "GW-RECEIVE-001"),
        (URL, b" \r\n", JSON, 400, "GW-RECEIVE-001"),
        (URL, b"x", {"content-type": "application/pdf"}, 415, "GW-RECEIVE-002"),
        (URL, b"x", {}, 415, "GW-RECEIVE-002"),
        ("/submissions/nowhere", b"{}", JSON, 404, "GW-RECEIVE-003"),
        ("/submissions/second", b"{}", JSON, 403, "GW-RECEIVE-004"),
        (URL, b"not hl7", {"content-type": "application/hl7-v2"}, 400, "GW-FMT-001"),
        (URL, adt(control_id=""), {"content-type": "application/hl7-v2"}, 400, "GW-RECEIVE-028"),
        (URL, b"{}", JSON | {"idempotency-key": "x" * 201}, 400, "GW-RECEIVE-012"),
        (URL, b"{}", JSON | {"idempotency-key": ""}, 400, "GW-RECEIVE-012"),
        (URL, b"\x1f\x8b", JSON | {"content-encoding": "gzip"}, 415, "GW-RECEIVE-013"),
    ],
)
async def test_what_is_refused_at_the_door_is_kept_as_refused(
    house: House, store: ScriptedStore, path: str, body: bytes, headers: dict[str, str], status: int, wanted: str
) -> None:
    """A permanent code and a way to mend; the bytes are kept, and nothing of it goes on."""
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(path, content=body, headers=headers)
        shown = await web.get(answer.headers["location"])
    assert (answer.status_code, code(answer)) == (status, wanted)
    assert answer.json()["issue"][0]["diagnostics"]
    assert [each.body for each in store.kept] == [body]
    assert store.state(store.kept[0]) == "refused"
    assert store.steps[0].audit[0].detail["codes"].startswith("GW-")
    assert store.given[f"{store.kept[0].id}-first"].state == "given"
    assert shown.json()["state"] == "refused"


async def test_every_accepted_media_type_comes_in(house: House, store: ScriptedStore) -> None:
    """With parameters, in any case; the charset is kept as declared."""
    server = await house.http()
    async with client(server) as web:
        for name in media.FORMAT:
            header = {"content-type": f"{name.upper()}; Charset=Windows-1256"}
            assert (await web.post(URL, content=adt(name[:20]), headers=header)).status_code == 201
    assert [each.media_type for each in store.kept] == list(media.FORMAT)
    assert {each.charset for each in store.kept} == {"Windows-1256"}


@pytest.mark.parametrize(
    ("accept_language", "tag"),
    [("fa", "fa"), ("de, it;q=0.5, en;q=0.4", "it"), ("zh-Hans-CN", "zh-CN"), ("fa;q=0, de", "en"), ("", "en")],
)
async def test_the_answer_speaks_the_language_that_was_asked_for(
    house: House, findings: Findings, accept_language: str, tag: str
) -> None:
    """Accept-Language comes before the sender's own language; code and severity never change with it."""
    findings.found = (finding("GW-RECEIVE-001"),)
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON | {"accept-language": accept_language})
    assert answer.headers["content-language"] == answer.json()["language"] == tag
    assert (code(answer), answer.json()["issue"][0]["severity"]) == ("GW-RECEIVE-001", "error")


async def test_an_hl7_sender_may_have_its_answer_in_hl7(house: House, findings: Findings) -> None:
    """HL7 over HTTP: the body of the answer is an acknowledgement where the client accepts it."""
    findings.found = (finding("GW-CORE-002", Place(notation="hl7v2", path="PID-3.1")),)
    server = await house.http()
    headers = {"content-type": "application/hl7-v2", "accept": "application/hl7-v2"}
    async with client(server) as web:
        answer = await web.post(URL, content=adt("X-1"), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/hl7-v2")
    assert msa(answer.content) == ("AE", "X-1")


async def test_a_sender_sees_its_submission_with_items_findings_exchanges_and_lineage(
    house: House, store: ScriptedStore, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GET says what became of it, in the sender's language and in terms of its own message."""
    findings.found = (finding("GW-RECEIVE-006", Place(notation="json", path="$.x")),)
    server = await house.http()
    async with client(server) as web:
        where = (await web.post(URL, content=b"{}", headers=JSON)).headers["location"]
        id = store.kept[0].id
        owed = Exchange(id="e", document="d", destination="central", programme="p", sender="one", subject="s",
                        case="c", state="held", reason="GW-DELIVER-001")  # fmt: skip
        item = ItemStatus(id="i", label="row 1", state="gathered", findings=findings.found, exchanges=(owed,))
        store.statuses[id] = msgspec.structs.replace(store.statuses[id], items=(item,))
        made = ItemResult(
            index=0,
            label="row 1",
            lineage=(Lineage(element="Patient/1#id", places=(Place(notation="json", path="$.id"),)),),
            loss=(Loss(place=Place(notation="json", path="$.y"), fate="unread"),),
        )
        record = ItemRecord(id="i", submission=id, sender="one", programme="p", state="valid", result=made)

        async def items(submission: str, first: int = 0, limit: int | None = None) -> list[ItemRecord]:
            return [record]

        monkeypatch.setattr(store, "items", items)
        shown = (await web.get(where, headers={"accept-language": "it"})).json()
        lineage = (await web.get(shown["links"]["lineage"])).json()
        trace = (await web.get(shown["links"]["trace"])).json()
    assert (shown["state"], shown["settled"], shown["language"]) == ("itemised", True, "it")
    told = shown["items"][0]["findings"][0]
    assert told["place"] == {"notation": "json", "path": "$.x"}
    assert told["text"]
    assert told["mend"]
    assert shown["items"][0]["exchanges"] == [
        {"id": "e", "destination": "central", "state": "held", "reason": "GW-DELIVER-001"}
    ]
    assert lineage["items"][0]["elements"] == [{"element": "Patient/1#id", "how": "mapped", "places": ["$.id"]}]
    assert lineage["items"][0]["loss"] == [{"place": "$.y", "fate": "unread"}]
    assert [each["to"] for each in trace["steps"]] == ["received", "given"]


@pytest.mark.parametrize("view", ["", "/trace", "/lineage"])
async def test_two_tenants_see_nothing_of_one_another(house: House, store: ScriptedStore, view: str) -> None:
    """Own, other's, none, guessed: the answer to other's is the answer to what does not exist."""
    server = await house.http()
    async with client(server) as web:
        await web.post(URL, content=b"{}", headers=JSON)
    id = store.kept[0].id
    async with client(server) as own, client(server, OTHER_TOKEN) as other, client(server, None) as nobody:
        assert (await own.get(f"/submissions/{id}{view}")).status_code == 200
        theirs, guessed = await other.get(f"/submissions/{id}{view}"), await other.get(f"/submissions/{'0' * 32}{view}")
        assert (await nobody.get(f"/submissions/{id}{view}")).status_code == 401
    assert theirs.status_code == guessed.status_code == 404
    assert theirs.content == guessed.content
    assert code(theirs) == "GW-RECEIVE-010"


async def test_roles_that_do_not_push_are_refused(house: House, store: ScriptedStore) -> None:
    """A repository's credential pulls; it does not send."""
    house.senders = (msgspec.structs.replace(house.senders[0], role="repository"),)
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    assert (answer.status_code, code(answer)) == (403, "GW-CORE-005")
    assert not store.kept


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("DELETE", URL, 405),
        ("POST", "/health/live", 405),
        ("GET", "/docs", 404),
        ("GET", "/%00", 404),
    ],
)
async def test_nothing_else_is_there(house: House, method: str, path: str, status: int) -> None:
    """Unknown addresses and methods get a code like everything else."""
    server = await house.http()
    async with client(server) as web:
        answer = await web.request(method, path)
    assert (answer.status_code, code(answer)) == (status, "GW-RECEIVE-011")


async def test_errors_are_problem_documents_where_the_client_asks(house: House) -> None:
    """RFC 9457 for clients that do not speak FHIR."""
    server = await house.http()
    async with client(server, None) as web:
        answer = await web.post(URL, content=b"{}", headers={"accept": "application/problem+json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["status"], answer.json()["code"]) == (401, "GW-RECEIVE-014")


async def test_a_defect_of_ours_shows_a_reference_and_nothing_else(
    house: House, store: ScriptedStore, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback, no text of the exception: it could quote what was sent (promise 10)."""
    store.fail = RuntimeError("CANARY-Patient-One")
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b"{}", headers=JSON)
    told = answer.json()["issue"][0]["details"]["text"]
    assert (answer.status_code, code(answer)) == (500, "GW-CORE-001")
    reference = told.split("Reference ")[1].rstrip(".")
    everything = answer.text + capsys.readouterr().out + caplog.text
    assert reference in everything.replace(answer.text, "", 1)
    assert "CANARY" not in everything
    assert "Traceback" not in everything


async def test_what_is_sent_stays_out_of_the_log(
    house: House, findings: Findings, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Accepted, refused, turned away: no canary of body, header or address in any log line."""
    findings.found = (finding("GW-CORE-003", format="JSON", detail="CANARY"),)
    server = await house.http()
    headers = JSON | {"x-name": "CANARY", "idempotency-key": "CANARY"}
    async with client(server) as web, client(server, "CANARY") as stranger:
        await web.post(f"{URL}?name=CANARY", content=b'"CANARY"', headers=headers)
        await web.post("/submissions/CANARY", content=b'"CANARY"', headers=headers)
        await web.get("/submissions/CANARY")
        await stranger.post(URL, content=b'"CANARY"', headers=headers)
    out = capsys.readouterr()
    assert "CANARY" not in out.out + out.err + caplog.text


# --- limits ---------------------------------------------------------------------------------------


async def _chunks(total: int, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for _ in range(total // size):
        yield b"x" * size


@pytest.mark.parametrize("declared", [True, False])
async def test_fifty_megabytes_are_refused_without_being_held(
    house: House, store: ScriptedStore, declared: bool
) -> None:
    """413 whether the length was declared or not; memory does not grow; a prefix is kept as refused."""
    server = await house.http()
    total = 50 << 20
    headers = JSON | ({"content-length": str(total)} if declared else {})
    async with client(server, timeout=30) as web:
        await web.post(URL, content=b"{}", headers=JSON)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = await web.post(URL, content=_chunks(total), headers=headers)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (answer.status_code, code(answer)) == (413, "GW-RECEIVE-008")
    assert grown < (8 if declared else 50), grown  # undeclared: max_body (16 MiB) may be held until it is passed
    assert len(store.kept[1].body) == front.KEPT_OF_TOO_LARGE
    assert store.state(store.kept[1]) == "refused"


async def test_the_largest_allowed_body_is_accepted(house: House, store: ScriptedStore) -> None:
    """The limit is the limit, not one less."""
    server = await house.http(max_body=1000)
    async with client(server) as web:
        assert (await web.post(URL, content=b"x" * 1000, headers=JSON)).status_code == 201
        assert (await web.post(URL, content=b"x" * 1001, headers=JSON)).status_code == 413


async def test_all_bodies_together_are_bounded(
    house: House, store: ScriptedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many large bodies at once: those that do not fit are told to come again, and nothing of them is kept."""
    monkeypatch.setattr(front, "BODIES_IN_MEMORY", 2)
    store.delay = 0.3
    server = await house.http(max_body=100_000)
    async with client(server) as web:
        answers = await asyncio.gather(*(web.post(URL, content=b"x" * 90_000, headers=JSON) for _ in range(6)))
        statuses = sorted(each.status_code for each in answers)
        busy = next(each for each in answers if each.status_code == 503)
        assert statuses[:2] == [201, 201] or statuses[0] == 201
        assert (code(busy), bool(busy.headers["retry-after"])) == ("GW-RECEIVE-020", True)
        assert (await web.post(URL, content=b"x" * 90_000, headers=JSON)).status_code == 201
    assert len(store.kept) == statuses.count(201) + 1


async def raw(server: HttpServer, *parts: bytes, pause: float = 0.0, seconds: float = 5.0) -> bytes:
    """What the server says to these bytes before it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        async with asyncio.timeout(seconds):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


HEAD = f"POST {URL} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n".encode()


async def test_a_slow_body_is_cut_with_408(house: House, store: ScriptedStore) -> None:
    """A body that drips is not waited for; nothing of it is accepted."""
    server = await house.http(body_seconds=0.3)
    said = await raw(server, HEAD + b"content-length: 100\r\n\r\n{", b"}", pause=0.2)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"GW-RECEIVE-009" in said
    assert [store.state(each) for each in store.kept] == ["refused"]


async def test_a_client_that_goes_away_leaves_nothing(house: House, store: ScriptedStore) -> None:
    """A body that ends before its declared length was never submitted."""
    server = await house.http()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(HEAD + b"content-length: 100\r\n\r\n{}")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await asyncio.sleep(0.2)
    assert not store.kept
    async with client(server) as web:
        assert (await web.post(URL, content=b"{}", headers=JSON)).status_code == 201


async def test_expect_continue_is_answered_before_the_body_is_sent(house: House) -> None:
    """Too large by its own declaration: refused without a byte of the body."""
    server = await house.http()
    said = await raw(server, HEAD + b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in said


async def test_health(house: House, store: ScriptedStore) -> None:
    """Live and ready are two questions, and say what is not well."""
    answers = {"ready": {"ledger": "GW-STORE-003"}}

    async def ready() -> dict[str, str]:
        return answers["ready"]

    settings = Settings(http=Http(port=0), sender=house.senders)
    server = HttpServer(make_app(settings, store, house.door(), house.clock, ready=ready), Http(port=0))  # type: ignore[arg-type]
    await server.start()
    house.running.append(server)
    async with client(server, None) as web:
        assert (await web.get("/health/live")).json()["status"] == "pass"
        unready = await web.get("/health/ready")
        assert (unready.status_code, unready.json()["checks"]) == (503, {"ledger": "GW-STORE-003"})
        answers["ready"] = {}
        assert (await web.get("/health/ready")).status_code == 200


def test_a_reply_survives_being_recorded() -> None:
    """What is kept as application/http comes back as it was."""
    reply = Reply(status=422, media_type="application/fhir+json", body=b"\r\n\r\n{}", language="fa", location="/x")
    assert Reply.from_bytes(reply.to_bytes()) == reply


async def test_the_findings_of_the_json_reader_reach_the_sender_with_their_place(
    house: House, findings: Findings
) -> None:
    """A repeated key is found by the one JSON reader; the answer carries its code, place and text."""
    try:
        json.read(b'{"a": 1, "a": 2}')
    except json.Unreadable as error:
        findings.found = (error.finding(),)
    server = await house.http()
    async with client(server) as web:
        answer = await web.post(URL, content=b'{"a": 1, "a": 2}', headers=JSON)
    assert answer.status_code == 422
    assert code(answer).startswith("GW-")
    assert "a" in answer.json()["issue"][0]["details"]["text"]
