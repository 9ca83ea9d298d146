"""The administration socket: one owner of the ledger, many commands.

The process that owns the database listens on a Unix socket in the data folder (mode 0600: the operator's own user).
A request is one JSON line {"command": …, "arguments": {…}}; the answer is JSON lines, the last of them
{"done": true} or {"error": {"code", "text"}}. `gateway status` and its kin speak to it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from gateway.errors import GatewayError, text
from gateway.formats import json
from gateway.message import Json

Handler = Callable[[Mapping[str, Any]], AsyncIterator[Json]]
"""A command: its arguments in, answer lines out."""

CUT_OFF: Final = "GW-DESK-004"
_LONGEST: Final = 100
LIMIT: Final = 64 * 1024 * 1024
_log = structlog.get_logger()


def socket_path(data: Path) -> Path:
    """Where the owner of this data folder listens."""
    return data / "admin.sock"


@contextmanager
def _within_reach(path: Path) -> Iterator[str]:
    """A name of the socket that fits into a socket address (108 bytes on Linux), however deep the folder lies."""
    if len(os.fsencode(path)) < _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class Admin:
    """Listens until `stop`; unknown commands and bad arguments are answered, never raised."""

    def __init__(self, data: Path, handlers: Mapping[str, Handler]) -> None:
        self._path, self._handlers = socket_path(data), handlers
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket left by a crash is replaced: the ledger's lock proves that its owner is gone."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with _within_reach(self._path) as name:
                self._server = await asyncio.start_unix_server(self._serve, name, limit=LIMIT)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(600):
                async for line in self._answer(await reader.readline()):
                    writer.write(json.write(line) + b"\n")
                    await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            _log.info("admin_connection_ended")
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> AsyncIterator[Json]:
        try:
            request = json.read(line, LIMIT)
            command = str(request["command"])
            _log.debug("admin_command", command=command)
            async for answer in self._handlers[command](request.get("arguments", {})):
                yield answer
            yield {"done": True}
        except GatewayError as fault:
            yield {"error": {"code": fault.code, "text": text(fault.finding(), "en")}}
        except (KeyError, TypeError, ValueError) as fault:
            yield {"error": {"code": "GW-DESK-001", "text": f"not a command: {type(fault).__name__}"}}


async def ask(data: Path, command: str, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
    """Speak to the owner of the data folder: its answer lines. `FileNotFoundError` where nobody listens.

    Raises GW-DESK-004 where the owner ends before its last line: what was asked may or may not have been done.
    """
    with _within_reach(socket_path(data)) as name:
        reader, writer = await asyncio.open_unix_connection(name, limit=LIMIT)
    try:
        writer.write(json.write({"command": command, "arguments": dict(arguments)}) + b"\n")
        await writer.drain()
        while line := await reader.readline():
            answer: Json = json.read(line, LIMIT)
            yield answer
            if "done" in answer or "error" in answer:
                return
        raise GatewayError(CUT_OFF)
    except (ConnectionResetError, BrokenPipeError):
        raise GatewayError(CUT_OFF) from None
    finally:
        writer.close()
