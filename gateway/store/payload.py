"""Bytes, their digests, and where they are kept.

Up to `INLINE` bytes stand in their row. Above that, on SQLite, they stand in a file named by its digest under
`data/blobs`; file and folder are synced before the row is committed, so a row never names bytes that are not
there. On PostgreSQL they always stand in the row: another machine does not see this folder.
Whoever reads bytes back reads them through `Payloads.read`, which verifies the digest.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.errors import Broken, StorageFailed
from gateway.message import Answer, Attempt, Document, Step, StoredResource, Submission

INLINE: Final = 1024 * 1024


def sha256(body: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(body).hexdigest()


def _payloads(step: Step) -> Iterator[bytes]:
    """Every payload of the step whose bytes are given as such. Item results are encoded later: see `rows`."""
    for write in step.writes:
        match write:
            case Submission() | Document() | StoredResource() | Answer():
                yield write.body
            case Attempt():
                yield write.request
                yield write.reply or b""
            case _:
                pass


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Payloads:
    """`folder` None keeps everything in the rows."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def in_file(self, size: int) -> bool:
        """Whether bytes of that size stand in a file."""
        return self._folder is not None and size > INLINE

    def path(self, digest: str) -> Path:
        """Where bytes of that digest stand when they stand in a file."""
        assert self._folder is not None
        return self._folder / digest[:2] / digest[2:]

    def spills(self, step: Step) -> bool:
        """Whether `spill` would write anything."""
        return self._folder is not None and any(len(body) > INLINE for body in _payloads(step))

    def spill(self, step: Step) -> None:
        """Write and sync what is too large for a row, before the step is committed; `StorageFailed` if it cannot."""
        for body in _payloads(step):
            self.keep(body)

    def keep(self, body: bytes) -> None:
        """Put the bytes in their file if they belong in one. Repeating it is harmless."""
        if not self.in_file(len(body)):
            return
        path = self.path(sha256(body))
        try:
            path.parent.parent.mkdir(mode=0o700, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._write(path, body)
            _sync_folder(path.parent)
            _sync_folder(path.parent.parent)
        except OSError:
            raise StorageFailed("GW-STORE-004") from None

    @staticmethod
    def _write(path: Path, body: bytes) -> None:
        """A file of the name is never half written: it is made aside and renamed."""
        aside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def columns(self, name: str, body: bytes | None, digest: str | None = None) -> dict[str, Any]:
        """The payload columns `name…` of a row. A given digest that is not that of the bytes is a defect."""
        if body is None:
            return {name: None, f"{name}_digest": None, f"{name}_size": None, f"{name}_kept": None}
        true = sha256(body)
        if digest is not None and digest != true:
            raise Broken("GW-STORE-006", what=name)
        kept = "file" if self.in_file(len(body)) else "row"
        if kept == "file" and not self.path(true).exists():  # swept between `spill` and now
            self.keep(body)
        return {
            name: body if kept == "row" else None,
            f"{name}_digest": true,
            f"{name}_size": len(body),
            f"{name}_kept": kept,
        }

    def read(self, row: Mapping[str, Any], name: str, owner: str) -> bytes | None:
        """The bytes of a row, verified; empty after retention took them.

        `Broken` GW-STORE-003 names the owner when they are not what was written.
        """
        kept = row[f"{name}_kept"]
        if kept is None:
            return None
        if kept in ("gone", "past"):
            return b""
        body = row[name] if kept == "row" else self._file(row[f"{name}_digest"], owner)
        if not isinstance(body, bytes) or sha256(body) != row[f"{name}_digest"]:
            raise Broken("GW-STORE-003", reference=owner)
        return body

    def files(self) -> Iterator[str]:
        """The digests of every file."""
        if self._folder is not None:
            for path in self._folder.glob("??/*"):
                if len(path.name) == 62:
                    yield path.parent.name + path.name

    def remove_parts(self) -> None:
        """Remove what an owner that died had half written."""
        if self._folder is not None:
            for path in self._folder.glob("??/*.part"):
                path.unlink(missing_ok=True)

    def remove(self, digest: str) -> None:
        """Remove a file that no row names."""
        self.path(digest).unlink(missing_ok=True)

    def _file(self, digest: str, owner: str) -> bytes:
        try:
            return self.path(digest).read_bytes()
        except OSError:
            raise Broken("GW-STORE-003", reference=owner) from None
