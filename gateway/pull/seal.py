"""Cursors and access tokens: what we hand out and want back unchanged, and what nobody else shall read.

AES-256-GCM (NIST SP 800-38D) with a random nonce. A cursor holds the search that it continues, which may identify
somebody; sealed, it can stand in an address.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.formats import json

_NONCE: Final = 12
_LONGEST: Final = 16_000


class Seal:
    """One purpose, one key: a cursor is never a token."""

    def __init__(self, key: bytes, purpose: str) -> None:
        self._box = AESGCM(hmac.new(key, f"pull\0{purpose}".encode(), hashlib.sha256).digest())

    def close(self, value: Any, expires: datetime) -> str:
        """The value as text that fits into a URL."""
        nonce = secrets.token_bytes(_NONCE)
        body = self._box.encrypt(nonce, json.write([int(expires.timestamp()), value]), None)
        return base64.urlsafe_b64encode(nonce + body).rstrip(b"=").decode("ascii")

    def open(self, text: str, now: datetime) -> Any | None:
        """The value again; None where the text is not ours, was changed, or has expired."""
        if not text or len(text) > _LONGEST or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            expires, value = json.read(self._box.decrypt(raw[:_NONCE], raw[_NONCE:], None))
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return value if now.timestamp() < expires else None


def digest(text: str) -> str:
    """A digest of what was asked, for the audit trail."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
