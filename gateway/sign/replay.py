"""Ids that were seen before, remembered on disk until they expire: `jti` of tokens, MessageID of SOAP messages.

One empty file an id, created exclusively, so that several processes share one memory and a crash forgets nothing.
Names are digests: what stands in a message is never a file name.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

_HOUR: Final = 3600


class Memory(Protocol):
    """Whether an id is new."""

    def first(self, issuer: str, id: str, until: datetime, now: datetime) -> bool:
        """True once for an issuer and id, False ever after until `until` has passed."""
        ...


class Seen:
    """`Memory` in a folder; one sub-folder for each hour of expiry, dropped whole when the hour has passed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def first(self, issuer: str, id: str, until: datetime, now: datetime) -> bool:
        """See `Memory`. The entry is synced before True is returned."""
        name = hashlib.sha256(f"{len(issuer)}:{issuer}{id}".encode()).hexdigest()
        buckets = self._live(now)
        if any((bucket / name).exists() for bucket in buckets):
            return False
        bucket = self._folder / str(int(until.timestamp()) // _HOUR + 1)
        bucket.mkdir(exist_ok=True, mode=0o700)
        try:
            os.close(os.open(bucket / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        _sync(bucket)
        return True

    def _live(self, now: datetime) -> list[Path]:
        hour = int(now.timestamp()) // _HOUR
        live = []
        for bucket in self._folder.iterdir():
            if bucket.name.isdigit() and int(bucket.name) < hour:
                _drop(bucket)
            elif bucket.name.isdigit():
                live.append(bucket)
        return live


def _drop(bucket: Path) -> None:
    for entry in bucket.iterdir():
        entry.unlink(missing_ok=True)
    try:
        bucket.rmdir()
    except OSError:
        return  # another process was first, or still writes: the next call drops it


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
