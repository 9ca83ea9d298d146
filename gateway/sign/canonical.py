"""Canonical JSON (RFC 8785), only for a peer whose profile signs that form instead of the bytes.

A FHIR decimal carries its precision and this form drops it (1.50 becomes 1.5), so it is never what evidence is over.
The document is read by the strict reader first: a repeated key is refused before anything is signed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import rfc8785

from gateway.errors import Refused
from gateway.formats import json

_EXACT: Final = 2**53


def jcs(body: bytes) -> bytes:
    """The canonical form; `Refused` for numbers that it cannot carry exactly."""
    try:
        made: bytes = rfc8785.dumps(_plain(json.read(body)))
    except (rfc8785.CanonicalizationError, RecursionError):
        raise Refused("GW-SIGN-040", detail="it has no canonical form by RFC 8785") from None
    return made


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if not isinstance(value, Decimal):
        return value
    as_float = float(value)
    if abs(value) > _EXACT or Decimal(repr(as_float)) != value:
        raise Refused("GW-SIGN-040", detail="a number does not survive RFC 8785")
    return as_float
