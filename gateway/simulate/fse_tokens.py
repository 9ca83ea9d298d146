"""What the health record gateway checks of its two tokens, by joserfc, apart from room sign.

As at the ministry, whatever is wrong with a token itself is "Invalid token" and no more; what is wrong with a claim
has a type of its own.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jws import JWSRegistry

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate.certificates import check_certificate, load_leaf, refuse, subject

ALGORITHMS: Final = ("RS256", "RS384", "RS512")
CLAIMS: Final = (
    "subject_organization_id",
    "subject_organization",
    "locality",
    "subject_role",
    "person_id",
    "patient_consent",
    "purpose_of_use",
    "resource_hl7_type",
    "action_id",
    "subject_application_id",
    "subject_application_vendor",
    "subject_application_version",
)
_PERSON: Final = re.compile(r"[A-Z0-9]{11,16}\^\^\^&2\.16\.840\.1\.113883\.2\.9\.4\.3\.2&ISO")
_NAME: Final = re.compile(r"(A1|S1)#([0-9]{3}).*")
MILLISECONDS: Final = 10**11


class InvalidToken(Exception):
    """401, and no word why. `args` has the reason, for the stand-in's own log."""


class BadClaim(Exception):
    """403 with a type: (type, title, detail, instance)."""


class _Registry(JWSRegistry):
    """joserfc's rules, with headers that have room for a certificate chain."""

    max_header_length = 16 * 1024
    max_payload_length = 64 * 1024
    max_signature_length = 2048


class Tokens:
    """The rules of one gateway: whose certificates, for which address; each token once."""

    def __init__(self, anchors: tuple[x509.Certificate, ...], audience: str) -> None:
        self._anchors, self._audience = anchors, audience
        self._seen: set[str] = set()

    def check(self, headers: Mapping[str, str], now: datetime) -> dict[str, Any]:
        """The claims of the signature token. Raises `InvalidToken` or `BadClaim`."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise InvalidToken("no bearer token")
        self._token(bearer, "auth:", now)
        token = headers.get("fse-jwt-signature", "")
        if not token:
            detail = "Attenzione il jwt fornito risulta essere vuoto"
            raise BadClaim("/msg/missing-token", "Token non fornito.", detail, "/missing-jwt")
        claims, name = self._token(token, "integrity:", now)
        self._claims(claims, name)
        return claims

    def _token(self, token: str, prefix: str, now: datetime) -> tuple[dict[str, Any], str]:
        try:
            header = json.read(_decoded(token.split(".")[0]))
            if header.get("alg") not in ALGORITHMS or header.get("typ") != "JWT" or not isinstance(header["x5c"], list):
                raise refuse("alg, typ or x5c")
            leaf, *rest = [load_leaf(each) for each in header["x5c"]]
            check_certificate(leaf, rest, self._anchors, now)
            public = leaf.public_key()
            if not isinstance(public, rsa.RSAPublicKey):
                raise refuse("not an RSA key")
            pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            claims = jwt.decode(token, RSAKey.import_key(pem), registry=_Registry(algorithms=[header["alg"]])).claims
        except Refused as refused:
            raise InvalidToken(refused.args_.get("detail", refused.code)) from None
        except (JoseError, GatewayError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidToken("not a token that verifies") from None
        name = subject(leaf, NameOID.COMMON_NAME)
        reason = self._registered(claims, prefix, name, now)
        if reason:
            raise InvalidToken(reason)
        return dict(claims), name

    def _registered(self, claims: Mapping[str, Any], prefix: str, name: str, now: datetime) -> str:
        at = int(now.timestamp())
        times = [each for each in (claims.get("iat"), claims.get("exp")) if isinstance(each, int)]
        role = _NAME.fullmatch(name)
        checks = {
            "times are whole seconds": len(times) == 2 and all(each < MILLISECONDS for each in times),
            "the token is of now": len(times) == 2 and times[0] - 5 <= at < times[1],
            "nbf has come": int(claims.get("nbf", at)) <= at + 5,
            "iss is the prefix and the CN": claims.get("iss") == prefix + name,
            "the certificate is S1": role is not None and role[1] == "S1",
            "aud is the base address": claims.get("aud") == self._audience,
            "sub is in CX form": bool(_PERSON.fullmatch(str(claims.get("sub", "")))),
            "jti is there for the first time": bool(claims.get("jti")) and claims["jti"] not in self._seen,
        }
        broken = next((words for words, holds in checks.items() if not holds), "")
        if not broken:
            self._seen.add(str(claims["jti"]))
        return broken

    def _claims(self, claims: Mapping[str, Any], name: str) -> None:
        for each in CLAIMS:
            if claims.get(each) in (None, ""):
                title = "Token JWT non valido."
                raise BadClaim("/msg/mandatory-element-token", title, title[:-1], "/jwt-mandatory-field-missing")
        for each in CLAIMS:
            value = claims[each]
            if isinstance(value, str) and value != value.strip():
                raise _malformed(each)
        if not _PERSON.fullmatch(str(claims["person_id"])):
            raise _malformed("person_id")
        role = _NAME.fullmatch(name)
        if role is None or role[2] != claims["subject_organization_id"]:
            raise _malformed("subject_organization_id")


def _malformed(name: str) -> BadClaim:
    detail = f"Il campo {name} non è valido"
    return BadClaim("/msg/jwt-validation", "Campo token JWT non valido.", detail, "/jwt-mandatory-field-malformed")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
