"""JSON Web Tokens (RFC 7519), made and checked by the practices of RFC 8725.

What a token must be is written in `Rules`, from configuration. The token can only agree: it chooses neither its
algorithm nor its key, lives no longer than the rule says, and is taken once where ids are remembered.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.message import Json
from gateway.sign import algorithms, jws
from gateway.sign.algorithms import Algorithm, PublicKey
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Memory
from gateway.sign.trust import Names, Trust

Naming = Literal["x5c", "x5t#S256", "kid"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a token has to be. Times are seconds. An empty text is not compared; `audience` must never be empty."""

    audience: str
    algorithms: tuple[Algorithm, ...]
    issuer: str = ""
    subject: str = ""
    types: tuple[str, ...] = ("JWT",)  # of the typ header, compared without case
    lifetime: int = 300
    age: int = 300  # how long ago it may have been made
    future: int = 5  # how far its time may lie ahead of our clock
    required: tuple[str, ...] = ("iat", "exp", "aud")
    once: bool = False  # jti is required and remembered
    equal: Mapping[str, str] = msgspec.field(default_factory=dict)  # further claims and the value each has to have


def make(
    handle: KeyHandle,
    claims: Mapping[str, Any],
    now: datetime,
    *,
    lifetime: int = 60,
    naming: Naming = "x5c",
    kid: str = "",
    type: str = "JWT",
    algorithm: Algorithm | None = None,
) -> str:
    """A signed token: iat, nbf and exp in seconds, a fresh `jti` unless the claims bring one."""
    alg = algorithm or handle.algorithm
    first = _header(handle.der, handle.chain, naming, kid, type, alg)
    at = int(now.timestamp())
    times = {"iat": at, "nbf": at, "exp": at + lifetime, "jti": _fresh_id()}
    return jws.signed(handle, first, json.write({**times, **claims}), alg)


def _fresh_id() -> str:
    """A random UUID (RFC 9562 version 4) as text; the library's takes an object between and twice the time."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:]}"


_VARIANT: Final = {digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")}


@lru_cache(maxsize=256)
def _header(
    der: bytes, chain: tuple[x509.Certificate, ...], naming: Naming, kid: str, type: str, algorithm: Algorithm
) -> str:
    """The encoded header, which is the same for every token of a key: it depends on nothing secret."""
    header: dict[str, Any] = {"alg": algorithm, "typ": type}
    if naming == "kid":
        header["kid"] = kid
    elif naming == "x5c":
        ders = (der, *(each.public_bytes(Encoding.DER) for each in chain))
        header["x5c"] = [base64.b64encode(each).decode("ascii") for each in ders]
    else:
        header["x5t#S256"] = jws.encode(hashlib.sha256(der).digest())
    return jws.encode(json.write(header))


def check(token: str, key: PublicKey, rules: Rules, now: datetime, seen: Memory | None = None) -> Json:
    """The claims, once signature, times, audience and uniqueness hold; else `Refused` with the code of the cause."""
    fitting = [a for a in rules.algorithms if a in algorithms.allowed(key)]
    claimed = jws.header_of(token)
    expected = next((a for a in fitting if a == claimed.get("alg")), None)
    if expected is None:
        raise Refused("GW-SIGN-041", algorithm=str(claimed.get("alg"))[:40])
    header, payload = jws.verify(token, key, expected, understood=(), max_payload=256 * 1024)
    if str(header.get("typ", "JWT")).lower() not in {t.lower() for t in rules.types}:
        raise Refused("GW-SIGN-050", claim="typ")
    claims = _claims(payload)
    _check_claims(claims, rules, now)
    if rules.once:
        _check_once(claims, now, rules, seen)
    return claims


def check_with_certificate(
    token: str, trust: Trust, rules: Rules, now: datetime, seen: Memory | None = None, names: Names | None = None
) -> tuple[Json, x509.Certificate]:
    """The same for a token that brings its certificate in `x5c`: it counts only if our anchors stand behind it."""
    certificates = jws.certificates_of(jws.header_of(token))
    trust.check(certificates[0], certificates[1:], now, names)
    return check(token, algorithms.public_key(certificates[0]), rules, now, seen), certificates[0]


def _claims(payload: bytes) -> Json:
    try:
        claims = json.read(payload)
    except GatewayError:
        raise Refused("GW-SIGN-040", detail="the claims are not strict JSON") from None
    if not isinstance(claims, dict):
        raise Refused("GW-SIGN-040", detail="the claims are not an object")
    return claims


def _check_claims(claims: Json, rules: Rules, now: datetime) -> None:
    for name in (*rules.required, *(("jti",) if rules.once else ())):
        if claims.get(name) in (None, "", []):
            raise Refused("GW-SIGN-050", claim=name)
    _check_times(claims, rules, int(now.timestamp()))
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if not rules.audience or rules.audience not in audiences:
        raise Refused("GW-SIGN-053")
    for name, expected in (("iss", rules.issuer), ("sub", rules.subject), *rules.equal.items()):
        if expected and claims.get(name) != expected:
            raise Refused("GW-SIGN-054", claim=name)


def _check_times(claims: Json, rules: Rules, now: int) -> None:
    for name in ("iat", "nbf", "exp"):
        value = claims.get(name)
        if name in claims and (not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**11):
            raise Refused("GW-SIGN-055", claim=name)
    issued, start = claims.get("iat", 0), claims.get("nbf", 0)
    ends = claims.get("exp", issued + rules.lifetime)
    if now >= ends + rules.future or now > issued + rules.age + rules.future:
        raise Refused("GW-SIGN-051")
    if issued > now + rules.future or start > now + rules.future:
        raise Refused("GW-SIGN-052")
    if ends - issued > rules.lifetime or ends <= issued:
        raise Refused("GW-SIGN-056", limit=str(rules.lifetime))


def _check_once(claims: Json, now: datetime, rules: Rules, seen: Memory | None) -> None:
    id, issuer = claims["jti"], str(claims.get("iss", ""))
    if not isinstance(id, str) or len(id) > 256:
        raise Refused("GW-SIGN-050", claim="jti")
    # by the token's own end and not by our clock, so that two processes write the same entry and one of them loses
    ends = claims.get("exp", claims.get("iat", int(now.timestamp())) + rules.lifetime) + rules.future
    until = datetime.fromtimestamp(ends, UTC)
    if seen is None or not seen.first(issuer, id, until, now):
        raise Refused("GW-SIGN-057")
