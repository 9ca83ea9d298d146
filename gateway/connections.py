"""One connection to one peer: TCP by asyncio, TLS by `ssl` over memory, HTTP/1.1 (RFC 9112) by h11.

What the way out rests on is known here to the byte: whether anything of a request has left (`asked`), whether its last
byte had left when the answer began, whether all of the answer came and nothing more. Only a connection of which all
that is certain is `free` for the next request; whatever breaks or is cancelled in the middle leaves it in a state in
which it never is.

Why this and no client library: CPU of one HTTPS exchange of 10 kB on a kept connection, where this and the pool above
it take 0.29 ms (`python -m bench.network`), was 0.89 in httpcore's pool. Bare, each without what is promised here:
httpcore's connection over asyncio's streams 0.39, aiohttp 0.23, h11 over asyncio's TLS 0.20, as here 0.18. aiohttp
repeats a PUT by itself when a kept connection turns out dead, and asks nobody about a peer before each request;
asyncio's TLS does not tell when the last byte has left it. httptools in place of h11 would take off another 0.1, but
writes no requests, reads more leniently, and does not say what was left over after an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import h11

from gateway.ports import MaybeSent
from gateway.settings import Peer

MAX_HEAD: Final = 100 * 1024
_PIECE: Final = 64 * 1024


@dataclass(frozen=True)
class Reply:
    """What came back; header names are lower case. `body` is as received, never decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """The transport calls the first half of the methods; who has something to ask calls the second."""

    def __init__(self, context: ssl.SSLContext | None, host: str) -> None:
        self.context = context
        self._inward, self._outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._inward, self._outward, server_hostname=host) if context else None
        self._secured = False
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD)
        self._came = bytearray()  # of the answer, not looked at yet
        self._end: Exception | None = None  # EOFError where it was an orderly one
        self._leaving = False  # bytes of ours wait in this process
        self._early = False  # the answer began while they did
        self._waiter: asyncio.Future[None] | None = None
        self.asked = False  # bytes of a request have left, and its answer is not over
        self.heard = False  # the peer has ever said anything
        self.since = 0.0  # for who keeps it: when it became free

    # --- what happens to it ----------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have `pause_writing` called for as long as one byte has not left."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(0)

    def pause_writing(self) -> None:
        self._leaving = True

    def resume_writing(self) -> None:
        self._leaving = False
        self._wake()

    def data_received(self, data: bytes) -> None:
        if self.tls is None:
            self._take(data)
        else:
            self._inward.write(data)
            if self._secured:
                self._decrypt(self.tls)
        self._wake()

    def eof_received(self) -> None:
        if self.tls is None:
            self._ends(EOFError())
            return
        self._inward.write_eof()
        if self._secured:
            self._decrypt(self.tls)
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends(exc or ConnectionAbortedError())

    def _ends(self, how: Exception) -> None:
        self._end = self._end or how
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        try:
            while data := tls.read(_PIECE):
                self._take(data)
            self._ends(EOFError())  # the closure alert; an end without it may be a cut (RFC 9112 section 9.8)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._ends(error)
        self._flush()  # what TLS itself has to say, such as a new key

    def _take(self, data: bytes) -> None:
        self.heard = True
        if self.asked:
            self._early = self._early or self._leaving
            self._came += data
        else:  # it would be taken for the answer to the next request
            self._ends(ConnectionAbortedError())
            self.abort()

    def _flush(self) -> None:
        if self._outward.pending:
            self._transport.write(self._outward.read())

    # --- what is done with it ----------------------------------------

    async def handshake(self) -> None:
        """Make it secure, where it has a context. Raises `OSError`, of which `ssl.SSLError` is one."""
        while self.tls is not None and not self._secured:
            end = self._end  # before the handshake goes on: what came before the end is looked at first
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                if end is None:
                    await self._happens()  # in here: a limit that ends this wait is seen to have ended a handshake
            else:
                self._secured, end = True, None
                self._flush()
                self._decrypt(self.tls)  # what came with the end of the handshake
            if end is not None:
                raise end

    @property
    def free(self) -> bool:
        """Whether a request may be written: nothing is unfinished, nothing came unasked, and it has not ended."""
        return not self.asked and self._end is None

    @property
    def speaks(self) -> bool:
        """Whether the kernel has something of the peer's, if only its end, that this process has not looked at yet."""
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def exchange(self, request: h11.Request, body: bytes, limits: Peer) -> Reply:
        """One request and its answer, on a connection that is `free`, and is again if all that can be told to be over.

        Raises `OSError`, `TimeoutError`, `h11.ProtocolError`, or `MaybeSent` where the answer is too large, or is a
        yes that began before the last byte of the request had left.
        """
        self._write(b"".join(filter(None, map(self._http.send, (request, h11.Data(body), h11.EndOfMessage())))))
        if self._leaving:
            async with asyncio.timeout(limits.write_seconds):
                while self._leaving and not self._came and self._end is None:
                    await self._happens()
        while not isinstance(head := await self._event(limits), h11.Response):
            # An interim answer (1xx): what counts begins after it, perhaps in the same piece.
            self._early = self._early and bool(self._http.trailing_data[0] or self._came)
        early, answer = self._early, bytearray()
        while isinstance(piece := await self._event(limits), h11.Data):
            answer += piece.data
            if len(answer) > limits.max_response:
                raise MaybeSent("GW-NET-007")
        if early and head.status_code < 300:
            raise MaybeSent("GW-NET-005")  # a yes to what it had not read to its end
        headers = _by_name(head.headers)
        two_lengths = "content-length" in headers and "transfer-encoding" in headers
        states = (self._http.our_state, self._http.their_state)
        if states == (h11.DONE, h11.DONE) and not (early or two_lengths or self._http.trailing_data[0]):
            self._http.start_next_cycle()
            self.asked = False
        return Reply(head.status_code, headers, bytes(answer))

    def close(self) -> None:
        """End it in order."""
        if self.tls is not None:
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
            self._flush()
        self._transport.close()

    def abort(self) -> None:
        """End it now."""
        self._transport.abort()

    async def _happens(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _event(self, limits: Peer) -> h11.Event:
        while not isinstance(event := self._http.next_event(), h11.Event):  # it needs more
            async with asyncio.timeout(limits.first_byte_seconds):
                self._http.receive_data(await self._read())
        return event

    async def _read(self) -> bytes:
        """What came next; empty at an orderly end."""
        while not self._came:
            if isinstance(self._end, EOFError):
                return b""
            if self._end is not None:
                raise self._end
            await self._happens()
        data = bytes(self._came)
        self._came.clear()
        return data

    def _write(self, data: bytes) -> None:
        if self.tls is not None:
            self.tls.write(data)
            data = self._outward.read()
        self.asked = True
        self._transport.write(data)


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
