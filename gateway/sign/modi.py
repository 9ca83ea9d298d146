"""Tokens and headers of the Italian interoperability model (AgID ModI) over REST, and of PDND.

ID_AUTH_REST_01/02, INTEGRITY_REST_01/02, AUDIT_REST_01/02 (AgID guidelines on technologies and standards for the
interoperability of public administrations' systems) and the PDND client assertion (RFC 7523). `Digest` follows
RFC 3230, which the model still asks for, and is computed on the bytes that leave, after content coding.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.errors import Refused
from gateway.message import Json
from gateway.sign import tokens
from gateway.sign.algorithms import PublicKey
from gateway.sign.keys import KeyHandle
from gateway.sign.replay import Memory
from gateway.sign.tokens import Naming, Rules
from gateway.sign.trust import Trust

SIGNATURE_HEADER: Final = "Agid-JWT-Signature"
TRACKING_HEADER: Final = "Agid-JWT-TrackingEvidence"
COVERED: Final = ("digest", "content-type", "content-encoding")


def digest(body: bytes) -> str:
    """The `Digest` header of exactly these bytes."""
    return "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")


def authorization(
    handle: KeyHandle,
    audience: str,
    now: datetime,
    *,
    issuer: str = "",
    subject: str = "",
    naming: Naming = "x5c",
    kid: str = "",
    lifetime: int = 60,
    claims: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """ID_AUTH_REST_02 (01 is the same without a rule on `jti`): the Authorization header."""
    full: dict[str, Any] = {"aud": audience, **(claims or {})}
    full |= {k: v for k, v in (("iss", issuer), ("sub", subject)) if v}
    return {"Authorization": "Bearer " + tokens.make(handle, full, now, lifetime=lifetime, naming=naming, kid=kid)}


def integrity(
    handle: KeyHandle,
    audience: str,
    body: bytes,
    headers: Mapping[str, str],
    now: datetime,
    *,
    issuer: str = "",
    subject: str = "",
    naming: Naming = "x5c",
    kid: str = "",
    lifetime: int = 60,
    claims: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """INTEGRITY_REST_01 (02 with naming "kid"): `Digest` and `Agid-JWT-Signature` over the bytes that leave.

    `headers` are those of the request; of them Content-Type and Content-Encoding are covered when present.
    """
    lower = {k.lower(): v for k, v in headers.items()}
    lower["digest"] = digest(body)
    signed = [{name: lower[name]} for name in COVERED if name in lower]
    full: dict[str, Any] = {"aud": audience, "signed_headers": signed, **(claims or {})}
    if issuer:
        full["iss"] = issuer
    if subject:
        full["sub"] = subject
    token = tokens.make(handle, full, now, lifetime=lifetime, naming=naming, kid=kid)
    return {"Digest": lower["digest"], SIGNATURE_HEADER: token}


def tracking(
    handle: KeyHandle,
    audience: str,
    user: Mapping[str, str],
    now: datetime,
    *,
    issuer: str,
    kid: str,
    lifetime: int = 60,
) -> dict[str, str]:
    """AUDIT_REST_01/02: who asked. `user` has userID, userLocation and LoA as the agreement names them."""
    full = {"aud": audience, "iss": issuer, **user}
    return {TRACKING_HEADER: tokens.make(handle, full, now, lifetime=lifetime, naming="kid", kid=kid)}


def client_assertion(
    handle: KeyHandle,
    client: str,
    audience: str,
    purpose: str,
    kid: str,
    now: datetime,
    *,
    evidence: str = "",
    lifetime: int = 60,
) -> str:
    """The PDND client assertion: issuer and subject are the client; AUDIT_REST_02 binds the tracking token."""
    claims: dict[str, Any] = {"iss": client, "sub": client, "aud": audience, "purposeId": purpose}
    if evidence:
        claims["digest"] = {"alg": "SHA256", "value": hashlib.sha256(evidence.encode("ascii")).hexdigest()}
    return tokens.make(handle, claims, now, lifetime=lifetime, naming="kid", kid=kid, algorithm="RS256")


def token_request(assertion: str, client: str) -> dict[str, str]:
    """The form fields of the voucher request (RFC 7523 section 2.2)."""
    return {
        "client_id": client,
        "client_assertion": assertion,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "grant_type": "client_credentials",
    }


def check_authorization(
    headers: Mapping[str, str],
    rules: Rules,
    now: datetime,
    seen: Memory | None = None,
    *,
    trust: Trust | None = None,
    key: PublicKey | None = None,
) -> Json:
    """The claims of the bearer token: ID_AUTH_REST_01, with `rules.once` ID_AUTH_REST_02, or a PDND voucher.

    For a voucher `key` is PDND's, and `rules.equal` names what it has to be for: producerId, eserviceId, descriptorId.
    """
    scheme, _, token = {k.lower(): v for k, v in headers.items()}.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused("GW-SIGN-040", detail="no bearer token")
    if key is not None:
        return tokens.check(token, key, rules, now, seen)
    if trust is None:
        raise Refused("GW-SIGN-044")
    return tokens.check_with_certificate(token, trust, rules, now, seen)[0]


def check_integrity(
    headers: Mapping[str, str],
    body: bytes,
    rules: Rules,
    now: datetime,
    seen: Memory | None = None,
    *,
    trust: Trust | None = None,
    key: PublicKey | None = None,
    must_cover: Sequence[str] = ("digest", "content-type"),
) -> Json:
    """The claims of `Agid-JWT-Signature`, once it covers exactly the body and headers at hand; else `Refused`.

    Either `key` (a peer registered with PDND) or `trust` (a certificate in x5c) says who may sign.
    """
    lower = {k.lower(): v for k, v in headers.items()}
    token = lower.get(SIGNATURE_HEADER.lower(), "")
    if key is not None:
        claims = tokens.check(token, key, rules, now, seen)
    elif trust is not None:
        claims, _ = tokens.check_with_certificate(token, trust, rules, now, seen)
    else:
        raise Refused("GW-SIGN-044")
    covered = _covered(claims)
    for name in (*must_cover, *(n for n in COVERED if n in lower)):
        if name not in covered:
            raise Refused("GW-SIGN-058", header=name)
    for name, value in covered.items():
        if lower.get(name) != value:
            raise Refused("GW-SIGN-058", header=name[:40])
    if not hmac.compare_digest(lower["digest"].encode(), digest(body).encode()):
        raise Refused("GW-SIGN-059")
    return claims


def _covered(claims: Json) -> dict[str, str]:
    signed = claims.get("signed_headers")
    if not isinstance(signed, list):
        raise Refused("GW-SIGN-050", claim="signed_headers")
    covered: dict[str, str] = {}
    for each in signed:
        if not isinstance(each, dict) or len(each) != 1:
            raise Refused("GW-SIGN-050", claim="signed_headers")
        ((name, value),) = each.items()
        if name != name.lower() or name in covered or not isinstance(value, str):
            raise Refused("GW-SIGN-050", claim="signed_headers")
        covered[name] = value
    return covered
