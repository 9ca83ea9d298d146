"""A peer that says exactly what it is told to, byte for byte: commands instead of a protocol.

    async with Parrot([Read(), Send(b"HTTP/1.1 200 OK…"), Reset()]) as parrot:
        parrot.port, parrot.received

The same commands are run for every connection, or one list for each connection when lists are given.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from typing import Self


@dataclass(frozen=True)
class Read:
    """Read one HTTP request by its length, or one MLLP frame."""

    mllp: bool = False


@dataclass(frozen=True)
class ReadHead:
    """Read up to the empty line and leave the rest in the socket."""


@dataclass(frozen=True)
class Skip:
    """Read so many bytes and forget them."""

    count: int


@dataclass(frozen=True)
class Send:
    """Say these bytes; a function gets the last request."""

    data: bytes | Callable[[bytes], bytes]


@dataclass(frozen=True)
class Drip:
    """Say them one by one."""

    data: bytes
    seconds: float


@dataclass(frozen=True)
class Wait:
    """Say nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """Break the connection with RST."""


@dataclass(frozen=True)
class Close:
    """End the connection in order."""


Command = Read | ReadHead | Skip | Send | Drip | Wait | Reset | Close
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Parrot:
    """A listener on loopback. What it received is in `received`, one entry for each completed `Read`."""

    def __init__(
        self, commands: Sequence[Command] | Sequence[Sequence[Command]], context: ssl.SSLContext | None = None
    ) -> None:
        lists = bool(commands) and isinstance(commands[0], (list, tuple))
        self._lists: list[Sequence[Command]] = list(commands) if lists else [commands]  # type: ignore[arg-type, list-item]
        self._context, self.received, self.connections, self.port = context, [], 0, 0  # type: ignore[var-annotated]
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        commands = self._lists[min(self.connections, len(self._lists) - 1)]
        self.connections += 1
        async with self._closing(writer):
            for command in commands:
                await self._obey(command, reader, writer)

    @contextlib.asynccontextmanager
    async def _closing(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            yield
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def _obey(self, command: Command, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        match command:
            case Read(mllp=True):
                self.received.append(await reader.readuntil(b"\x1c\x0d"))
            case Read():
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                self.received.append(head + await reader.readexactly(int(length[1]) if length else 0))
            case ReadHead():
                await reader.readuntil(b"\r\n\r\n")
            case Skip(count=count):
                await reader.readexactly(count)
            case Send(data=data):
                writer.write(data(self.received[-1]) if callable(data) else data)
                await writer.drain()
            case Drip(data=data, seconds=seconds):
                for byte in data:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(seconds)
            case Wait(seconds=seconds):
                await asyncio.sleep(seconds)
            case Reset():
                writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            case Close():
                writer.close()


def http(status: int, body: bytes, media_type: str, *headers: str, length: int | None = None) -> bytes:
    """An HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {media_type}", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
