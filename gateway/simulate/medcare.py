"""The medcare stand-in: JSON over REST, a registration number as receipt, duplicates removed by Idempotency-Key.

No interface of the real system is published; this one follows the template of `deliver/signed_rest.py`. With `ca`
a signature over the body's exact bytes is compulsory and checked: `X-JWS-Signature` (detached JWS), or `X-Signature`
with `X-Signature-Certificate`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order
from gateway.simulate.server import Judged, StandIn


def answer(status: int, body: Mapping[str, Any]) -> Answer:
    """A JSON answer."""
    return Answer(status, "application/json", json.write(body))


class Medcare(StandIn):
    """`registrations` maps an idempotency key to (registration number, digest of the body)."""

    name = "medcare"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
    ) -> None:
        super().__init__(log, faults, clock)
        self._anchors = certificates.load_ca(ca) if ca is not None else ()
        self.registrations: dict[str, tuple[str, str]] = {}

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(log, faults, ca=options.ca)

    @classmethod
    def made(cls, ca: Path | None = None) -> Self:
        """With compulsory signatures under `ca`."""
        return cls(ca=ca)

    def judge(self, arrival: Arrival) -> Judged:
        """Register it, repeat the earlier answer for the same key and bytes, or refuse."""
        key, digest = arrival.header("idempotency-key"), hashlib.sha256(arrival.body).hexdigest()
        problem = self._problem(arrival, key, digest)
        if problem:
            refusal = {"status": "REFUSED", "reference": key, "error": {"code": problem[0], "text": problem[1]}}
            return Judged(answer(422, refusal), {"result": "refused", "problems": [problem[0]]})
        number, repeated = f"MC-{len(self.registrations) + 1:06d}", key in self.registrations
        if repeated:
            number = self.registrations[key][0]
        verdict = {"result": "repeated" if repeated else "created", "registration": number}
        if self._anchors:
            verdict["signature"] = "verified"
        body = {"status": "REGISTERED", "reference": key, "registration": number}
        return Judged(answer(200 if repeated else 201, body), verdict, [(self.registrations, key, (number, digest))])

    def _problem(self, arrival: Arrival, key: str, digest: str) -> tuple[str, str] | None:
        if not key:
            return "M01", "Idempotency-Key is missing"
        if arrival.header("content-type").partition(";")[0] not in ("application/json", "application/fhir+json"):
            return "M02", "content type is not JSON"
        try:
            if not isinstance(json.read(arrival.body), dict):
                return "M03", "the body is not an object"
            if self._anchors:
                self._verify(arrival)
        except Refused as refused:
            return "M05", refused.args_.get("detail", "the body cannot be read")
        except GatewayError:
            return "M03", "the body is not JSON"
        if self.registrations.get(key, ("", digest))[1] != digest:
            return "M04", "another body under the same key"
        return None

    def _verify(self, arrival: Arrival) -> None:
        """The signature over the body's exact bytes: a detached JWS, or value and certificate side by side."""
        value = arrival.header("x-signature")
        if not value:
            token = arrival.header("x-jws-signature")
            certificates.verify_detached(token, arrival.body, self._anchors, arrival.time)
            return
        leaf = certificates.load_leaf(arrival.header("x-signature-certificate"))
        certificates.check_certificate(leaf, [], self._anchors, arrival.time)
        certificates.verify_rsa(leaf, certificates.standard_base64(value), arrival.body)

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Errors and wrong references of this interface."""
        key = arrival.header("idempotency-key")
        if order.name == "wrong-id":
            return answer(200, {"status": "REGISTERED", "reference": f"not-{key}", "registration": "MC-999999"})
        if order.name == "unknown-code":
            return answer(200, {"status": "PERHAPS", "reference": key, "registration": "MC-999998"})
        error = {"code": order.value or "M99", "text": "refused on order"}
        status = 200 if order.name == "error-in-200" else 422
        return answer(status, {"status": "REFUSED", "reference": key, "error": error})

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """`GET /registrations?key=…`: whether it is here."""
        found = self.registrations.get(query.get("key", ""))
        body = {"status": "REGISTERED" if found else "UNKNOWN", "reference": query.get("key", "")}
        return answer(200, {**body, "registration": found[0]} if found else body)
