"""The HMAC key of ids. Losing it would give every patient and case another id, so it is on disk before it is used."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.errors import Misconfigured
from gateway.settings import Settings, secret


def id_key(settings: Settings) -> bytes:
    """The key from the settings, or one that is made once and kept beside the ledger."""
    if settings.id_key:
        return secret(settings.id_key)
    path = Path(settings.data) / "id.key"
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise Misconfigured("GW-STORE-002", detail=f"{path}: {error.strerror}") from None
    return secret(str(path))


def _make(path: Path) -> None:
    """Whole and synced under its name, or not there at all: half a key would be another key after the next start."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, path)
    except FileExistsError:
        pass  # another process was quicker: its key counts
    finally:
        part.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
