"""The token endpoint of a stand-in (PDND vouchers, RFC 7523): client assertions checked by joserfc, tokens given."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from gateway.formats import json
from gateway.simulate.arrivals import Arrival
from gateway.simulate.certificates import refuse
from gateway.simulate.faults import Answer
from gateway.simulate.server import Judged

PATH: Final = "/token.oauth2"
JSON: Final = "application/json"
KIND: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class VoucherDesk:
    """Whom it knows: client id -> (kid, certificate). `seconds` is how long a voucher lives."""

    def __init__(self, clients: Mapping[str, tuple[str, x509.Certificate]], audience: str, seconds: int = 600) -> None:
        self._clients, self._audience, self._seconds = clients, audience, seconds
        self._seen: set[str] = set()
        self.given: dict[str, float] = {}

    def judge(self, arrival: Arrival) -> Judged:
        """A voucher, or an error of RFC 6749 section 5.2."""
        form = {key: values[0] for key, values in parse_qs(arrival.body.decode("ascii", "replace")).items()}
        problem = self._problem(form, arrival.time)
        if problem:
            status = 401 if problem == "invalid_client" else 400
            return Judged(Answer(status, JSON, json.write({"error": problem})), {"result": "refused"})
        token = secrets.token_urlsafe(32)
        self.given[token] = arrival.time.timestamp() + self._seconds
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self._seconds}
        return Judged(Answer(200, JSON, json.write(answer)), {"result": "voucher"})

    def _problem(self, form: Mapping[str, str], now: datetime) -> str:
        if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != KIND:
            return "unsupported_grant_type"
        known = self._clients.get(form.get("client_id", ""))
        if known is None:
            return "invalid_client"
        kid, certificate = known
        pem = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        try:
            token = jwt.decode(form.get("client_assertion", ""), RSAKey.import_key(pem), algorithms=["RS256"])
        except (JoseError, ValueError):
            return "invalid_client"
        claims, at = token.claims, now.timestamp()
        good = claims.get("iss") == claims.get("sub") == form["client_id"] and claims.get("aud") == self._audience
        timely = claims.get("iat", 0) - 5 <= at < claims.get("exp", 0)
        if not good or not timely or token.header.get("kid") != kid or claims.get("jti") in self._seen:
            return "invalid_client"
        self._seen.add(str(claims.get("jti")))
        return "" if claims.get("purposeId") else "invalid_request"

    def check(self, arrival: Arrival) -> None:
        """Promise that the request carries a voucher of ours that still holds."""
        scheme, _, token = arrival.header("authorization").partition(" ")
        if scheme != "Bearer" or self.given.get(token, 0) <= arrival.time.timestamp():
            raise refuse("no voucher of ours that holds")

    def withdraw(self) -> None:
        """Forget every voucher, as a key server that was restarted does."""
        self.given.clear()
