"""Connections that are kept: which of them may carry the next request, and what an answer is the answer to.

HTTP/1.1 has only one way to tell whose answer something is: its place. So everything that could shift places is here:
answers too many, too early, too late, cut off, cancelled, and connections that ended while nobody looked.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import h11
import pytest
from parrot import Close, Command, Parrot, Read, ReadHead, Reset, Send, Skip, Wait, http
from test_deliver_network import Authority

from gateway.connections import Connection
from gateway.errors import Refused
from gateway.handshake import guard
from gateway.network import Outbound, Reply, _broke, tls_context
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer

LARGE = b"x" * 20_000_000  # more than the sockets take of somebody who does not read
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\nhello"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


def said(body: bytes, status: int = 200) -> bytes:
    return http(status, body, "application/json")


OK = said(b"{}")
Ask = Callable[..., "asyncio.Future[Reply]"]


@contextlib.asynccontextmanager
async def asking(parrot: Parrot, authority: Authority | None = None, **more: float) -> AsyncIterator[Ask]:
    """A function that sends a body to the parrot and gives back the reply, always over the same network."""
    ca = str(authority.ca) if authority is not None else None
    network = Outbound({"p": Peer(origin=parrot.url, ca=ca, plaintext=ca is None, **more)})  # type: ignore[arg-type]

    def ask(body: bytes = b"x", timeout: float = 3.0) -> asyncio.Future[Reply]:
        return asyncio.ensure_future(network.request("p", "POST", f"{parrot.url}/a", {}, body, timeout))

    try:
        yield ask
    finally:
        await network.aclose()


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority | None:
    """Both ways to speak."""
    return Authority(tmp_path) if request.param else None


def serving(authority: Authority | None) -> ssl.SSLContext | None:
    return authority.server() if authority is not None else None


# --- an answer before the request has left ----------------------------------------


async def test_a_yes_before_the_last_byte_has_left_is_a_maybe(authority: Authority | None) -> None:
    """Who has not read the message cannot have taken it, even if he goes on to read it to its end."""
    early: list[Command] = [ReadHead(), Send(OK), Wait(0.2), Skip(len(LARGE)), Wait(1)]
    async with Parrot(early, serving(authority)) as parrot, asking(parrot, authority) as ask:
        with pytest.raises(MaybeSent, match="GW-NET-005"):
            await ask(LARGE)


@pytest.mark.parametrize("before", [b"", GO_ON], ids=["", "1xx"])
async def test_a_yes_that_begins_too_early_is_a_maybe_however_late_it_ends(
    authority: Authority | None, before: bytes
) -> None:
    """What counts is when the answer began; the last byte of it may well come after the last one of the request."""
    begun = Send(before + OK[:20])
    early: list[Command] = [ReadHead(), begun, Wait(0.2), Skip(len(LARGE)), Send(OK[20:]), Wait(1)]
    async with Parrot(early, serving(authority)) as parrot, asking(parrot, authority) as ask:
        with pytest.raises(MaybeSent, match="GW-NET-005"):
            await ask(LARGE)


async def test_a_no_before_the_request_is_read_is_an_answer_and_ends_the_connection() -> None:
    """413 need not be waited for; what is left of the request must not be read as the next one."""
    no = said(b"too large", 413)
    async with Parrot([[ReadHead(), Send(no), Wait(2)], [Read(), Send(OK), Wait(1)]]) as parrot, asking(parrot) as ask:
        assert (await ask(LARGE)).status == 413
        assert (await ask()).status == 200
        assert parrot.connections == 2


async def test_an_interim_answer_is_not_the_answer(authority: Authority | None) -> None:
    """A server may say 100 while the message is still on its way, and yes when it has read it."""
    commands: list[Command] = [ReadHead(), Send(GO_ON), Wait(0.1), Skip(len(LARGE)), Send(OK), Wait(1)]
    async with Parrot(commands, serving(authority)) as parrot, asking(parrot, authority) as ask:
        assert (await ask(LARGE)).status == 200


async def test_whatever_a_peer_says_before_it_is_asked_ends_the_connection() -> None:
    """Nothing has left yet, and nothing leaves on a connection whose first answer is already there."""
    ours, theirs = socket.socketpair()
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(None, ""), sock=ours)
    assert connection.free
    with theirs:
        theirs.send(OK)
        await asyncio.sleep(0.05)
        assert not connection.free
        assert theirs.recv(10) == b"", "it is closed"


async def test_the_last_byte_counts_and_not_the_last_but_a_few() -> None:
    """What waits in this process has not left, were it one byte that the sockets did not take."""
    seen: set[bool] = set()
    request = h11.Request(method="POST", target="/", headers=[("Host", "h"), ("Transfer-Encoding", "chunked")])
    for size in range(50_000, 1_000_000, 10_000):
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(lambda: Connection(None, ""), sock=ours)
        asking = asyncio.create_task(connection.exchange(request, b"x" * size, Peer(origin="")))
        await asyncio.sleep(0)
        left = transport.get_write_buffer_size()
        with theirs:
            theirs.send(OK)
            assert isinstance((await asyncio.gather(asking, return_exceptions=True))[0], MaybeSent) == bool(left)
        connection.abort()
        seen.add(left > 0)
        if left > 64 * 1024:
            break
    assert seen == {False, True}


async def test_a_reset_in_the_handshake_is_known_at_once(tmp_path: Path) -> None:
    """Not when the time to connect is over."""
    async with Parrot([Skip(5), Reset()]) as parrot:
        url, ca = f"https://127.0.0.1:{parrot.port}", str(Authority(tmp_path).ca)
        network = Outbound({"p": Peer(origin=url, ca=ca)})
        began = time.monotonic()
        with pytest.raises(NotSent, match="GW-NET-001"):
            await network.request("p", "POST", url, {}, b"x", 9)
        assert time.monotonic() - began < 2


# --- between two requests ----------------------------------------


async def test_an_answer_between_two_requests_is_the_answer_to_neither(authority: Authority | None) -> None:
    """A second answer that comes a moment later would be taken for the next message's."""
    first: list[Command] = [Read(), Send(said(b'"one"')), Wait(0.05), Send(said(b'"stray"')), Wait(2)]
    second: list[Command] = [Read(), Send(said(b'"two"')), Wait(2)]
    async with Parrot([first, second], serving(authority)) as parrot, asking(parrot, authority) as ask:
        assert (await ask()).body == b'"one"'
        await asyncio.sleep(0.2)
        assert (await ask()).body == b'"two"'
        assert parrot.connections == 2


@contextlib.contextmanager
def beside(then: bytes) -> Iterator[tuple[int, threading.Event, threading.Event]]:
    """A server in a thread that says something more when it is told to, or with no bytes ends the connection."""
    listener, now, done = socket.create_server(("127.0.0.1", 0)), threading.Event(), threading.Event()

    def serve() -> None:
        one, _ = listener.accept()
        one.recv(65536)
        one.send(said(b'"one"'))
        now.wait(5)
        one.send(then) if then else one.shutdown(socket.SHUT_WR)
        done.set()
        two, _ = listener.accept()
        with one, two:
            two.recv(65536)
            two.send(said(b'"two"'))
            two.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield listener.getsockname()[1], now, done
        thread.join(5)


@pytest.mark.parametrize("then", [said(b'"stray"'), b"x", b""], ids=["answer", "byte", "end"])
async def test_what_waits_in_the_kernel_is_seen_before_a_connection_is_used_again(then: bytes) -> None:
    """A busy process may not have looked yet when it takes the next message in hand."""
    with beside(then) as (port, now, done):
        network = Outbound({"p": Peer(origin=f"http://127.0.0.1:{port}", plaintext=True)})
        url = f"http://127.0.0.1:{port}/a"
        assert (await network.request("p", "POST", url, {}, b"x", 2)).body == b'"one"'
        now.set()
        assert done.wait(5)  # on purpose without letting the loop run
        time.sleep(0.05)
        assert (await network.request("p", "POST", url, {}, b"x", 2)).body == b'"two"'
        await network.aclose()


async def test_a_connection_that_the_server_ended_is_not_written_to(authority: Authority | None) -> None:
    """Servers end kept connections when they like; that must not make an outcome unknown."""
    commands: list[Command] = [Read(), Send(OK), Wait(0.02), Close()]
    async with Parrot(commands, serving(authority)) as parrot, asking(parrot, authority) as ask:
        for _ in range(3):
            assert (await ask()).status == 200
            await asyncio.sleep(0.1)
        assert parrot.connections == 3


async def test_a_connection_is_kept_for_a_time_and_then_ended_in_order(
    authority: Authority | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older than what servers keep, it is likely to be dead: a new one costs less than an unknown outcome."""
    monkeypatch.setattr("gateway.network.KEEPALIVE_SECONDS", 0.1)
    commands: list[Command] = [Read(), Send(OK), Read(), Send(OK), Wait(2)]
    async with Parrot(commands, serving(authority)) as parrot, asking(parrot, authority) as ask:
        await ask()
        await ask()
        assert parrot.connections == 1
        await asyncio.sleep(0.2)
        await ask()
        assert parrot.connections == 2


class Trusting:
    """`PeerTrust` that changes its mind."""

    refuses = False

    def admit(self, chain: object, host: str = "") -> None: ...

    def still(self, fingerprint: str, host: str = "") -> None:
        if self.refuses:
            raise Refused("GW-SIGN-012", subject="")


async def test_a_kept_connection_to_who_is_no_longer_trusted_is_ended(tmp_path: Path) -> None:
    """It is asked about before each request, and not put back to be asked about again."""
    authority, trust = Authority(tmp_path), Trusting()
    async with Parrot([Read(), Send(OK), Read()], authority.server()) as parrot:
        peer = Peer(origin=parrot.url, ca=str(authority.ca))
        network = Outbound({"p": peer}, lambda p: guard(tls_context(p), trust))  # type: ignore[arg-type]
        assert (await network.request("p", "POST", parrot.url, {}, b"x", 3)).status == 200
        trust.refuses = True
        for _ in range(2):
            with pytest.raises(NotSent, match="GW-SIGN-012"):
                await network.request("p", "POST", parrot.url, {}, b"x", 3)
            await asyncio.sleep(0.1)
            assert not parrot._tasks, "the server sees that it is over"
            trust.refuses = False
            assert (await network.request("p", "POST", parrot.url, {}, b"x", 3)).status == 200
            trust.refuses = True
        assert len(parrot.received) == 3
        await network.aclose()


async def test_http_1_1_is_agreed_upon_in_the_handshake(tmp_path: Path) -> None:
    """A server that would rather speak HTTP/2 must know that we do not."""
    authority, agreed = Authority(tmp_path), []
    context = authority.server()
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(OK)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        network = Outbound({"p": Peer(origin=url, ca=str(authority.ca))})
        await network.request("p", "GET", url, {}, b"", 3)
        await network.aclose()
    assert agreed == ["http/1.1"]


# --- what ends an answer ----------------------------------------


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (CHUNKED, 1),
        (CHUNKED + b"x", 2),
        (CHUNKED + CHUNKED, 2),
        (CHUNKED[:-2] + b"Trailer: y\r\n\r\n", 1),
        (CHUNKED.replace(b"Transfer", b"Content-Length: 2\r\nTransfer"), 2),
        (OK.replace(b"Said\r\n", b"Said\r\nConnection: close\r\n"), 2),
        (OK.replace(b"HTTP/1.1", b"HTTP/1.0"), 2),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 204 No Content\r\n\r\n{}", 2),
        (GO_ON + OK, 1),
    ],
    ids=[
        "chunks",
        "a byte more",
        "twice",
        "trailers",
        "two lengths",
        "close",
        "1.0",
        "none",
        "more than none",
        "interim",
    ],
)
async def test_a_connection_is_used_again_only_if_the_end_of_the_answer_is_certain(
    answer: bytes, connections: int
) -> None:
    """A body in chunks has an end of its own; an answer with two lengths has two (RFC 9112 section 6.3)."""
    async with Parrot([Read(), Send(answer), Read(), Send(answer), Wait(1)]) as parrot, asking(parrot) as ask:
        for _ in range(2):
            assert (await ask()).status in (200, 204)
        assert parrot.connections == connections


async def test_an_answer_that_the_end_of_the_connection_ends_needs_an_end_in_order(authority: Authority | None) -> None:
    """In TLS anybody on the way can cut a connection, and nobody can forge the closure alert (RFC 9112 section 9.8)."""
    async with (
        Parrot([Read(), Send(UNFRAMED), Close()], serving(authority)) as parrot,
        asking(parrot, authority) as ask,
    ):
        assert (await ask()).body == b"hello"


async def test_an_answer_in_tls_that_is_cut_is_not_whole(tmp_path: Path) -> None:
    """The same without the alert: five bytes of who knows how many."""
    authority = Authority(tmp_path)
    context, listener = authority.server(), socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.send(UNFRAMED)
            os.close(wrapped.detach())

    thread = threading.Thread(target=serve)
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    network = Outbound({"p": Peer(origin=url, ca=str(authority.ca))})
    with listener, pytest.raises(MaybeSent, match="GW-NET-005"):
        await network.request("p", "POST", f"{url}/a", {}, b"x", 3)
    await network.aclose()
    await asyncio.to_thread(thread.join, 5)


def test_an_alert_on_a_connection_that_has_answered_proves_nothing() -> None:
    """In the handshake it says that nothing was read; after an answer it may be about a request that was."""
    alert = ssl.SSLError(1, "alert")
    alert.reason = "TLSV1_ALERT_ACCESS_DENIED"
    assert isinstance(_broke(alert, sent=True), NotSent)
    assert isinstance(_broke(alert, sent=True, heard=True), MaybeSent)


# --- in the middle ----------------------------------------


@pytest.mark.parametrize("limit", [0.2, 9.0], ids=["time is up", "cancelled"])
async def test_a_request_that_is_given_up_takes_its_connection_along(authority: Authority | None, limit: float) -> None:
    """Its answer would come to somebody else."""
    first: list[Command] = [Read(), Wait(0.4), Send(said(b'"one"')), Wait(2)]
    second: list[Command] = [Read(), Send(said(b'"two"')), Wait(2)]
    async with Parrot([first, second], serving(authority)) as parrot, asking(parrot, authority) as ask:
        given_up = ask(b"first", limit)
        await asyncio.sleep(0.25)
        given_up.cancel()
        with pytest.raises((MaybeSent, asyncio.CancelledError)):
            await given_up
        await asyncio.sleep(0.3)
        assert (await ask(b"second")).body == b'"two"'
        assert parrot.connections == 2


async def test_a_request_that_is_cancelled_while_it_is_written_leaves_no_half_message(
    authority: Authority | None,
) -> None:
    """The rest of it must not be written in front of the next one."""
    commands: list[list[Command]] = [[ReadHead(), Wait(3)], [Read(), Send(OK), Wait(1)]]
    async with Parrot(commands, serving(authority)) as parrot, asking(parrot, authority) as ask:
        given_up = ask(LARGE)
        await asyncio.sleep(0.2)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        assert (await ask(b"second")).status == 200
        assert parrot.received[0].endswith(b"second")


async def test_no_more_connections_are_made_than_allowed_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no room in time has sent nothing; whoever leaves, however it ends, makes room."""
    monkeypatch.setattr("gateway.network.MAX_CONNECTIONS", 2)
    async with Parrot([Read(), Wait(5)]) as parrot, asking(parrot, connect_seconds=0.2) as ask:
        for _ in range(3):
            both = [ask(), ask()]
            await asyncio.sleep(0.1)
            with pytest.raises(NotSent, match="GW-NET-009"):
                await ask()
            for each in both:
                each.cancel()
            await asyncio.wait(both)
        assert parrot.connections == 6


async def test_many_at_once_each_get_their_own_answer(
    authority: Authority | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over few connections, in turns."""
    monkeypatch.setattr("gateway.network.MAX_CONNECTIONS", 3)
    echo = Send(lambda request: said(request.partition(b"\r\n\r\n")[2]))
    async with Parrot([Read(), echo] * 40, serving(authority)) as parrot, asking(parrot, authority) as ask:
        bodies = [f'"{n}"'.encode() for n in range(30)]
        replies = await asyncio.gather(*map(ask, bodies))
        assert [each.body for each in replies] == bodies
        assert parrot.connections <= 3


async def test_a_request_in_progress_ends_on_its_connection_when_the_files_change(tmp_path: Path) -> None:
    """It is answered, and its connection, made under the old trust, carries nothing more."""
    authority = Authority(tmp_path)
    slow: list[Command] = [Read(), Wait(0.3), Send(said(b'"old"')), Read(), Send(said(b'"late"')), Wait(1)]
    quick: list[Command] = [Read(), Send(said(b'"new"')), Read(), Send(said(b'"new"')), Wait(1)]
    async with Parrot([slow, quick], authority.server()) as parrot, asking(parrot, authority) as ask:
        old = ask()
        await asyncio.sleep(0.1)
        authority.ca.write_bytes(authority.ca.read_bytes() + b"\n")
        assert (await ask()).body == b'"new"'
        assert (await old).body == b'"old"'
        assert (await ask()).body == b'"new"'
        assert parrot.connections == 2


async def test_closing_the_network_ends_what_still_waits(authority: Authority | None) -> None:
    """Nobody waits for an answer on a connection that is no more."""
    async with Parrot([Read(), Wait(5)], serving(authority)) as parrot:
        async with asking(parrot, authority) as ask:
            waiting = ask()
            await asyncio.sleep(0.1)
        with pytest.raises(MaybeSent, match="GW-NET-005"):
            await waiting
