"""File drop: the message appears in a folder whole or not at all (write aside, sync, rename, sync the folder).

`url` is the folder as a path or file:// URL. Options: `name` ("{exchange}.json"; {document} and {number} too),
`aside` (".partial", the ending of unfinished files). The body is the national message of `body`, or the document's
exact bytes. A repeated delivery of the same bytes under the same name is the same file, so nothing comes twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.deliver import judge
from gateway.deliver.wires import Parts
from gateway.errors import Broken, Misconfigured, finding
from gateway.formats import json
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Wire

PROTOCOL: Final = "file-drop"
NOT_WRITTEN: Final = "GW-DELIVER-023"


def make(parts: Parts) -> Wire:
    """A file drop."""
    return FileDrop(parts)


class FileDrop:
    """One folder."""

    subject_receipts: frozenset[str] = frozenset()
    unique_receipts: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        url = parts.destination.url
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else Path(url)
        self._name = parts.option("name", "{exchange}.json")
        if not url or "/" in self._name or self._name.startswith("."):
            raise Misconfigured(detail=f"destination {parts.destination.id}: folder or name cannot be used")

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The file's bytes, after a first line with its name."""
        destination = self._parts.destination
        body = document.body
        if destination.body:
            values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
            body = self._parts.national()(json.read(document.body), destination.body, {**values, **receipts})
        name = self._name.replace("{exchange}", exchange.id).replace("{document}", exchange.document)
        name = name.replace("{number}", str(number))
        if "/" in name or "\n" in name:
            raise Misconfigured(detail=f"destination {destination.id}: the file name is not a plain name")
        return name.encode() + b"\n" + body, name

    async def send(self, attempt: Attempt) -> Outcome:
        """Put the file there; `due` where the disk does not take it, because then it is not there."""
        name, end, body = attempt.request.partition(b"\n")
        if not end:
            raise Broken(reference="attempt bytes")
        try:
            await asyncio.to_thread(self._put, name.decode(), body)
        except OSError as error:
            found = finding(NOT_WRITTEN, detail=error.strerror or "")
            return Outcome(state="due", codes=(NOT_WRITTEN,), findings=(found,))
        return Outcome(state="delivered")

    def _put(self, name: str, body: bytes) -> None:
        target = self._folder / name
        aside = self._folder / f".{name}{self._parts.option('aside', '.partial')}"
        try:
            with aside.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            aside.rename(target)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """The folder can be asked: the same bytes under the name are delivered, no file is due.

        A consumer that removes what it has read leaves no trace; where that is so, set `on_unknown` to hold.
        """
        name, _, body = attempt.request.partition(b"\n")
        found = await asyncio.to_thread(self._digest, name.decode())
        if found is None:
            return Outcome(state="due", codes=(judge.NOT_FOUND,))
        same = found == hashlib.sha256(body).hexdigest()
        return Outcome(state="delivered", codes=(judge.FOUND,)) if same else Outcome(state="unknown")

    def _digest(self, name: str) -> str | None:
        try:
            return hashlib.sha256((self._folder / name).read_bytes()).hexdigest()
        except OSError:
            return None
