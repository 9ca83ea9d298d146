"""Where a file drop puts its files: a folder of this machine, or one of an SFTP server behind the network port."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

from gateway.deliver.wires import Parts
from gateway.errors import Misconfigured

Files = Sequence[tuple[str, bytes]]
"""Names and bytes."""


class Folder(Protocol):
    """A folder in which files appear whole or not at all."""

    async def put(self, files: Files, ending: str) -> None:
        """Let the files appear in this order; `OSError` or `NotSent`: the last did not, `MaybeSent`: it may have."""
        ...

    async def get(self, name: str, limit: int) -> bytes | None:
        """At most `limit` bytes of a file; None where there is none."""
        ...


def folder(url: str, parts: Parts) -> Folder:
    """The folder that a URL or a path names; `Misconfigured` where nothing can be one."""
    if url.startswith("sftp:"):
        if not urlsplit(url).path.strip("/"):
            raise Misconfigured(detail=f"destination {parts.destination.id}: {url} names no folder")
        return Remote(url.rstrip("/"), parts)
    return Local(Path(unquote(urlsplit(url).path)) if url.startswith("file:") else Path(url))


class Local:
    """A folder of this machine, or a share that it mounts."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, files: Files, ending: str) -> None:
        for name, body in files:
            await asyncio.to_thread(self._put, name, body, ending)

    def _put(self, name: str, body: bytes, ending: str) -> None:
        aside = self._path / f".{name}{ending}"
        try:
            with aside.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(self._path / name)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        folder = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def get(self, name: str, limit: int) -> bytes | None:
        return await asyncio.to_thread(self._get, name, limit)

    def _get(self, name: str, limit: int) -> bytes | None:
        try:
            with (self._path / name).open("rb") as file:
                return file.read(limit)
        except OSError:
            return None


class Remote:
    """A folder of the destination's peer."""

    def __init__(self, url: str, parts: Parts) -> None:
        self._url, self._parts = url, parts

    async def put(self, files: Files, ending: str) -> None:
        parts = self._parts
        await parts.network.put_files(parts.destination.peer, self._url, files, ending, parts.timeout)

    async def get(self, name: str, limit: int) -> bytes | None:
        parts, url = self._parts, f"{self._url}/{quote(name)}"
        return await parts.network.get_file(parts.destination.peer, url, limit, parts.timeout)
