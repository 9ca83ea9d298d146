"""Public keys of clients (RFC 7517), for the two algorithms of SMART backend services: ES384 and RS384."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.errors import GatewayError, Unreadable
from gateway.formats import json

_MINIMUM_RSA: Final = 2048
_LONGEST: Final = 16_000
Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class Key(msgspec.Struct, frozen=True):
    """A public key and the one algorithm it is used with."""

    public: Public
    algorithm: str


def _unreadable() -> Unreadable:
    return Unreadable("GW-CORE-003", format="JWK set", detail="a key cannot be used")


def _number(text: Any) -> int:
    if not isinstance(text, str):
        raise _unreadable()
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable() from None
    return int.from_bytes(raw, "big")


def _key(entry: Mapping[str, Any]) -> Key | None:
    """One key; None for a kind that the standard does not name."""
    try:
        if entry.get("kty") == "EC" and entry.get("crv") == "P-384":
            point = ec.EllipticCurvePublicNumbers(_number(entry.get("x")), _number(entry.get("y")), ec.SECP384R1())
            return Key(point.public_key(), "ES384")
        if entry.get("kty") == "RSA":
            public = rsa.RSAPublicNumbers(_number(entry.get("e")), _number(entry.get("n"))).public_key()
            return Key(public, "RS384") if public.key_size >= _MINIMUM_RSA else None
    except ValueError:
        raise _unreadable() from None
    return None


def read(body: bytes) -> Mapping[str, Key]:
    """The keys by `kid`. Raises `Refused` where the set cannot be read or has no key of use."""
    value = json.read(body)
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise _unreadable()
    if any("d" in each for each in entries):
        raise _unreadable()  # a private key has no business here
    found = {str(each.get("kid", "")): key for each in entries if (key := _key(each)) is not None}
    if not found or "" in found:
        raise _unreadable()
    return found


def peek(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a compact JWS, **not verified**: only for finding out whose key to try."""
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _LONGEST:
        return {}, {}
    found = []
    for each in parts[:2]:
        try:
            value = json.read(base64.b64decode(each + "=" * (-len(each) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, GatewayError):
            return {}, {}
        found.append(value if isinstance(value, dict) else {})
    return found[0], found[1]
