"""One owner of a data folder, proved by a lock that the operating system drops when the owner dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gateway.errors import Misconfigured


class Owner:
    """Holds an exclusive `flock` on `data/owner.lock` from `take` to `release`."""

    def __init__(self, data: Path) -> None:
        self._path = data / "owner.lock"
        self._handle: int | None = None

    def take(self) -> None:
        """Become the owner, or raise `Misconfigured` GW-STORE-001 because somebody else is."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise Misconfigured("GW-STORE-001", folder=str(self._path.parent)) from None
        self._handle = handle

    def release(self) -> None:
        """Let the next one in. The file stays: removing it would let two owners hold two files."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
