"""HTTP as bytes: smuggling, floods, dripping heads and naughty headers are answered or cut, and nothing is accepted."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from receive_peers import PROGRAMME, TOKEN, Certificates, House, ScriptedStore, client

from gateway.receive import server as serving
from gateway.receive.server import HttpServer
from gateway.settings import Http

URL = f"/submissions/{PROGRAMME}"
HEAD = f"POST {URL} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"


async def say(server: HttpServer, *parts: bytes | str, pause: float = 0.0, seconds: float = 6.0) -> bytes:
    """What the server says to these bytes before it closes (or until we close after a second of silence)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    said = b""
    try:
        for part in parts:
            writer.write(part.encode("latin-1") if isinstance(part, str) else part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(seconds):
            while data := await reader.read(65536):
                said += data
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    return said


CLOSE = "connection: close\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HEAD + CLOSE + "content-length: 2\r\n\r\n{}", 201),
        (HEAD + CLOSE + "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", 201),
        (HEAD + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),  # smuggling, CL.TE
        (HEAD + "content-length: 2\r\ncontent-length: 3\r\n\r\n{}x", 400),
        (HEAD + "content-length: -1\r\n\r\n{}", 400),
        (HEAD + "content-length: 2, 2\r\n\r\n{}", 400),
        (HEAD + "content-length: +2\r\n\r\n{}", 400),
        (HEAD + "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
        (HEAD + "transfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n", 400),
        (HEAD + "transfer-encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n", 400),
        (HEAD + "x: a\x00b\r\ncontent-length: 2\r\n\r\n{}", 400),
        (HEAD + "x y: a\r\ncontent-length: 2\r\n\r\n{}", 400),
        (HEAD + " folded: a\r\ncontent-length: 2\r\n\r\n{}", 400),
        ("GARBAGE\r\n\r\n", 400),
        ("POST\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS towards plain text
        (HEAD + f"x: {'a' * 40_000}\r\ncontent-length: 2\r\n\r\n{{}}", 431),
        (HEAD + "".join(f"x{n}: y\r\n" for n in range(9000)) + "content-length: 2\r\n\r\n{}", 431),
        (f"POST /{'a' * 40_000} HTTP/1.1\r\nhost: x\r\n\r\n", 431),
    ],
)
async def test_malformed_requests(house: House, store: ScriptedStore, request_: str, status: int) -> None:
    """One reading of each request, or none; a refusal carries a code."""
    said = await say(await house.http(), request_, seconds=2.0)
    assert said.startswith(f"HTTP/1.1 {status}".encode())
    assert len(re.findall(rb"HTTP/1\.1 \d", said)) == 1
    assert len(store.kept) == (status == 201)
    assert b"GW-" in said


async def test_heads_that_drip_are_cut(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow loris: neither silence, nor a head byte by byte, nor the second head of a connection holds a place."""
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.4)
    server = await house.http()

    async def timed(*parts: str, pause: float = 0.0) -> float:
        began = asyncio.get_running_loop().time()
        await say(server, *parts, pause=pause)
        return asyncio.get_running_loop().time() - began

    whole = HEAD + "content-length: 2\r\n\r\n{}"
    times = await asyncio.gather(
        timed(), timed(*HEAD[:40], pause=0.03), timed(whole + "POST /x"), timed("POST", pause=1.0)
    )
    assert all(each < 2.0 for each in times), times


async def test_endless_heads_and_trailers_are_cut(house: House) -> None:
    """Bytes that the parser swallows without a word are counted."""
    server = await house.http()
    flood = b"a" * 65536
    for start in ("GET / HTTP/1.1\r\nx: ", HEAD + "transfer-encoding: chunked\r\n\r\n1;", "GET /"):
        said = await say(server, start, *([flood] * 20), seconds=2.0)
        assert said == b"" or b"HTTP/1.1 4" in said


async def test_connections_are_bounded(house: House) -> None:
    """One too many is told so with 503; when others go its place is free again."""
    server = await house.http(max_connections=3)
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    await asyncio.sleep(0.05)
    said = await say(server, HEAD + "content-length: 2\r\n\r\n{}", seconds=1.0)
    assert said.startswith(b"HTTP/1.1 503")
    assert b"GW-RECEIVE-020" in said
    for _, writer in idle:
        writer.close()
    await asyncio.sleep(0.1)
    async with client(server) as web:
        assert (await web.get("/health/live")).status_code == 200


async def test_a_peer_that_never_ends_its_handshake_is_cut(
    house: House, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS comes before everything, so it has its own limit."""
    from gateway.receive import tls

    monkeypatch.setattr(tls, "HANDSHAKE_SECONDS", 0.3)
    server = await house.http(tls=certificates.tls())
    began = asyncio.get_running_loop().time()
    await say(server, b"\x16\x03\x01")
    assert asyncio.get_running_loop().time() - began < 3


async def test_a_peer_that_does_not_read_is_cut(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody takes does not hold its place for ever."""
    monkeypatch.setattr(serving, "WRITE_SECONDS", 0.3)

    async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"32000000")]})
        await send({"type": "http.response.body", "body": b"x" * 32_000_000})

    server = HttpServer(app, Http(port=0))
    await server.start()
    house.running.append(server)
    _, deaf = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
    deaf.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.2)
    assert len(server._state.connections) == 1
    await asyncio.sleep(0.6)
    assert not server._state.connections
    deaf.close()


async def test_pipelined_requests_are_answered_in_order(house: House, store: ScriptedStore) -> None:
    """Joined in one packet: each is a submission of its own."""
    one = HEAD + "content-length: 2\r\n\r\n"
    said = await say(await house.http(), one + "{}" + one + "[]" + one.replace("host", CLOSE + "host") + "10")
    assert said.count(b"HTTP/1.1 201") == 3
    assert [each.body for each in store.kept] == [b"{}", b"[]", b"10"]


async def test_naughty_headers_are_survived(house: House, store: ScriptedStore) -> None:
    """Three hundred requests with headers that mean too much or nothing: each is answered with a code or accepted."""
    server = await house.http()
    dice = random.Random(11)
    naughty = ["", "*", "*/*;q=9", ";;;", ",,,", "fa" * 1000, "q=;q", "\xff\xfe", "application/", "/", "%s%n", "../..",
               "\"", "\\", "{}", "text/html;charset=", "a;b;c;d", "en;q=nan", "en;q=inf", "application/json;q=1e400",
               "Bearer", "bearer \t", "0" * 3000, "\x7f", "application/json; charset=\"x\\\"", "x-\u00e9"]  # fmt: skip
    names = ["accept", "accept-language", "content-type", "idempotency-key", "content-encoding", "authorization",
             "expect", "x-forwarded-for", "host", "content-language"]  # fmt: skip
    for _ in range(300):
        extra = "".join(f"{dice.choice(names)}: {dice.choice(naughty)}\r\n" for _ in range(3))
        said = await say(server, HEAD + CLOSE + extra + "content-length: 2\r\n\r\n{}", seconds=2.0)
        assert said.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 100")), (extra, said[:200])
        assert b"GW-CORE-001" not in said
    async with client(server) as web:
        assert (await web.get("/health/live")).status_code == 200


async def test_fuzzed_requests_never_bring_an_error_of_ours(house: House, store: ScriptedStore) -> None:
    """Invariant: whatever the bytes, the answer is 2xx or 4xx, or a close; never 5xx."""
    server = await house.http(body_seconds=0.2)
    dice = random.Random(5)
    whole = (HEAD + CLOSE + "content-length: 30\r\n\r\n" + "{" + " " * 28 + "}").encode()

    async def one(seed: int) -> None:
        raw = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(raw))
            raw[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        said = await say(server, bytes(raw), seconds=1.0)
        assert b"HTTP/1.1 5" not in said, (raw, said)

    for start in range(0, 400, 40):
        await asyncio.gather(*(one(start + n) for n in range(40)))
