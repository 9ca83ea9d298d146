"""Requests of platforms that sign their parameters with SM2-with-SM3, as regional health and insurance platforms do.

No authority has published this for every platform, so all of it is the destination's options. The body becomes one
JSON object of text members: `app_id`, the time, a nonce, the certificate, the message as it is, and the signature in
base64 over `name=value` sorted by name and joined by `&` (GB/T 32918.2 with the signer id of the key).

Options: `app_id`; `app_secret` (`env:NAME` or a path), joined as `&key=…` where the platform wants it; `sm2_encoding`
(`der`, `raw`); `jws` (`yes`: a detached JWS over the body that leaves, in the header `jws_header`); and the names of
the members: `field.app_id`, `field.timestamp`, `field.nonce`, `field.certificate`, `field.content`, `field.method`,
`field.sign`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.settings import Destination, secret
from gateway.sign import algorithms, jws, sm2
from gateway.sign.keyring import KeyRing
from gateway.sign.keys import check_validity

METHOD: Final = "SM2WithSM3"
ALGORITHM: Final = "SGD_SM3_SM2"
FIELDS: Final[Mapping[str, str]] = {
    "app_id": "appId",
    "timestamp": "timestamp",
    "nonce": "nonce",
    "certificate": "certificate",
    "content": "bizContent",
    "method": "signType",
    "sign": "sign",
}


class SignedParameters:
    """The request signer of one destination (`ports.RequestSigner`)."""

    def __init__(self, destination: Destination, ring: KeyRing) -> None:
        options = destination.options
        self._destination, self._ring, self._options = destination, ring, options
        self._names = {name: options.get(f"field.{name}", usual) for name, usual in FIELDS.items()}
        self._encoding: algorithms.Encoding = "raw" if options.get("sm2_encoding", "der") == "raw" else "der"
        self._zone = ZoneInfo(options.get("timestamp_zone", "Asia/Shanghai"))
        if not options.get("app_id"):
            raise Misconfigured(detail=f"destination {destination.id}: options.app_id is needed")
        handle = ring.need(destination.signing_key)
        if ALGORITHM not in algorithms.allowed(handle.public):
            raise Misconfigured(detail=f"destination {destination.id}: the signing key is no SM2 key")

    def secure(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        at: datetime,
        facts: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """See `ports.RequestSigner`. The nonce is the idempotency key: a repeated attempt is the same request."""
        handle = self._ring.need(self._destination.signing_key)
        check_validity(handle, at)
        idempotency = self._options.get("idempotency_header", "Idempotency-Key")
        given = {
            "app_id": self._options["app_id"],
            "timestamp": at.astimezone(self._zone).strftime("%Y%m%d%H%M%S"),
            "nonce": headers.get(idempotency, ""),
            "certificate": base64.b64encode(handle.der).decode("ascii"),
            "content": body.decode("utf-8"),
            "method": METHOD,
        }
        values = {self._names[name]: value for name, value in given.items()}
        signature = handle.sign(self._signed(values), ALGORITHM, self._encoding)
        values[self._names["sign"]] = base64.b64encode(signature).decode("ascii")
        made = json.write(values)
        more = {"Content-Type": "application/json"}
        if self._options.get("jws", "yes") == "yes":
            token = jws.sign(handle, {"x5c": jws.x5c(handle)}, made, algorithm=ALGORITHM, detached=True)
            more[self._options.get("jws_header", "X-JWS-Signature")] = token
        return more, made

    def _signed(self, values: Mapping[str, str]) -> bytes:
        words = sm2.parameters(values, (self._names["sign"],))
        shared = self._options.get("app_secret", "")
        return words + b"&key=" + secret(shared) if shared else words
