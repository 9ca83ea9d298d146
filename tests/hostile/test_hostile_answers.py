"""Whatever bytes a peer answers with, in whatever pieces: one answer is one answer, the rest is nobody's."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from itertools import pairwise

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.connections import Connection, Reply
from gateway.ports import MaybeSent
from gateway.settings import Peer

PEER = Peer(origin="http://127.0.0.1:1", plaintext=True, first_byte_seconds=2.0, max_response=2000)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
GO_ON = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
PARTS = [
    OK,
    CHUNKED,
    GO_ON,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"Content-Length: 5\r\n",
    b"\x00",
]


async def answered(pieces: list[bytes]) -> tuple[Reply | None, bool]:
    """The reply to one request when the peer says that and ends; whether the connection may be used again before."""
    ours, theirs = socket.socketpair()
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(None, ""), sock=ours)
    asked = h11.Request(method="POST", target="/", headers=[("Host", "h"), ("Content-Length", "1")])
    with theirs:
        asking = asyncio.create_task(connection.exchange(asked, b"x", PEER))
        for piece in pieces:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with suppress(OSError):
                theirs.send(piece)
        await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)
        reply = None
        with suppress(OSError, TimeoutError, h11.ProtocolError, MaybeSent):
            reply = await asking
        free = not connection.asked
    connection.abort()
    await asyncio.sleep(0)
    return reply, free


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(at)]


@given(st.lists(st.sampled_from(PARTS), max_size=3), st.lists(st.integers(0, 400), max_size=6))
@example([OK, OK], [len(OK)])
@example([OK, b"\r\n"], [])
@settings(max_examples=150, deadline=None)
def test_pieces_make_no_difference(parts: list[bytes], places: list[int]) -> None:
    """The network cuts where it likes. What would be over in one piece is over in many, and nothing is made of more."""
    data = b"".join(parts)
    whole, free = asyncio.run(answered([data]))
    assert asyncio.run(answered(cut(data, places)))[0] == whole
    if free:
        assert whole is not None
        last = [part for part in parts if part != GO_ON]
        assert len(last) == 1, "one answer and nothing else"


@given(st.sampled_from(PARTS[:4]), st.integers(0, 80), st.binary(max_size=3), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_damaged_answers_are_never_more_than_unclear(answer: bytes, at: int, put: bytes, drop: int) -> None:
    """Any few bytes changed: a reply within bounds, or nobody knows; never another failure, never a hang."""
    at %= len(answer)
    data = answer[:at] + put + answer[at + drop :]
    reply, free = asyncio.run(answered([data]))
    if reply is not None:
        assert len(reply.body) <= PEER.max_response
        assert 200 <= reply.status <= 999
    assert not (free and reply is None)
