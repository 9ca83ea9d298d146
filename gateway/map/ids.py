"""Keyed ids: the same business identifier of the same sender always gives the same id, and the id tells nothing.

HMAC-SHA256 (RFC 2104) over sender scope, what it identifies and the business identifier, cut to 128 bits and
written as 32 hexadecimal digits, which FHIR R4 allows as `id` (2.24.0.1: at most 64 of A-Z a-z 0-9 - .). The
sender is part of what is hashed, so two senders never arrive at one patient.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

_SEPARATOR = "\x1f"


def keyed(key: bytes, sender: str, what: str, identifier: Iterable[str]) -> str:
    """The id of one thing. `what` is a resource type or a kind of case; parts are kept apart by a control character."""
    said = _SEPARATOR.join((sender, what, *identifier))
    return hmac.digest(key, said.encode("utf-8"), "sha256").hex()[:32]
