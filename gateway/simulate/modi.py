"""What a ModI peer checks of a REST request, by joserfc, apart from room sign: ID_AUTH_REST_02, INTEGRITY_REST_01."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.errors import GatewayError
from gateway.formats import json
from gateway.simulate.arrivals import Arrival
from gateway.simulate.certificates import check_certificate, load_leaf, refuse
from gateway.simulate.vouchers import VoucherDesk

SIGNATURE: Final = "agid-jwt-signature"


class _Registry(JWSRegistry):
    """joserfc's rules, with headers that have room for a certificate chain."""

    max_header_length = 16 * 1024
    max_payload_length = 64 * 1024
    max_signature_length = 2048


class Modi:
    """The rules of one service: who may sign, for which audience, each token once."""

    def __init__(self, anchors: tuple[x509.Certificate, ...], audience: str, desk: VoucherDesk | None = None) -> None:
        self._anchors, self._audience, self._desk = anchors, audience, desk
        self._seen: set[str] = set()

    def check(self, arrival: Arrival) -> None:
        """Promise that both tokens are good and cover the bytes that arrived, or `Refused`."""
        if self._desk is not None:
            self._desk.check(arrival)
        else:
            scheme, _, token = arrival.header("authorization").partition(" ")
            if scheme != "Bearer":
                raise refuse("no bearer token")
            self._claims(token, arrival.time)
        if not arrival.body:
            raise refuse("an empty body has no integrity to check")
        if not arrival.header("digest"):
            raise refuse("there is no Digest")
        claims = self._claims(arrival.header(SIGNATURE), arrival.time)
        digest = "SHA-256=" + base64.b64encode(hashlib.sha256(arrival.body).digest()).decode()
        if arrival.header("digest") != digest:
            raise refuse("Digest is not that of the bytes")
        signed = claims.get("signed_headers")
        if not isinstance(signed, list) or not all(isinstance(each, dict) for each in signed):
            raise refuse("signed_headers is not an array of objects")
        if not {"digest", "content-type"} <= {n for each in signed for n in each}:
            raise refuse("signed_headers lacks digest or content-type")
        for each in signed:
            for name, value in each.items():
                if arrival.header(name) != value:
                    raise refuse("a signed header is not the one that came")

    def _claims(self, token: str, now: datetime) -> dict[str, Any]:
        try:
            head = token.split(".")[0]
            header = json.read(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
            leaf, *rest = [load_leaf(each) for each in header["x5c"]]
        except (ValueError, KeyError, TypeError, GatewayError):
            raise refuse("no token with x5c") from None
        check_certificate(leaf, rest, self._anchors, now)
        public = leaf.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        algorithm, kind = ("RS256", RSAKey) if isinstance(public, rsa.RSAPublicKey) else ("ES256", ECKey)
        try:
            claims = jwt.decode(token, kind.import_key(pem), registry=_Registry(algorithms=[algorithm])).claims
        except (JoseError, ValueError):
            raise refuse("the token does not verify") from None
        at = int(now.timestamp())
        if claims.get("aud") != self._audience or not claims["iat"] - 5 <= at < claims["exp"]:
            raise refuse("the token is for another audience or time")
        if claims["jti"] in self._seen:
            raise refuse("the token came before")
        self._seen.add(claims["jti"])
        return dict(claims)
