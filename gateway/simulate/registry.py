"""A repository after the template of `deliver/signed_rest.py`: documents under idempotency keys, a number as receipt.

For systems whose interface is not published: they differ in their words (`Words`) and in what a document must be. The
same key and bytes get the same number again, other bytes under a key are refused, `GET …?key=…` says whether a
document is here. With `ca` a signature over the body's exact bytes is compulsory and checked: `X-JWS-Signature`
(detached JWS), or `X-Signature` with `X-Signature-Certificate`.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order, answer
from gateway.simulate.server import Judged, StandIn

_JSON: Final = frozenset({"application/json", "application/fhir+json"})

Problem = tuple[str, str]
"""Code and text; never a value of the document."""


class Words(NamedTuple):
    """What an interface calls things."""

    taken: str  # the status of what is here
    refused: str
    receipt: str  # the member with the number
    number: str  # as a format, "MC-{:06d}"
    codes: str  # what its codes begin with: 01 to 05 stand here, 99 is a refusal on order


class Registry(StandIn):
    """`registered` maps an idempotency key to (number, digest of the body)."""

    words: ClassVar[Words]

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
    ) -> None:
        super().__init__(log, faults, clock, ca=ca)
        self.registered: dict[str, tuple[str, str]] = {}

    @abstractmethod
    def wrong(self, document: Any) -> Iterable[Problem]:
        """What is wrong with a document's content."""

    def judge(self, arrival: Arrival) -> Judged:
        """Take it, repeat the earlier answer for the same key and bytes, or refuse with every problem."""
        key, digest = arrival.header("idempotency-key"), hashlib.sha256(arrival.body).hexdigest()
        found = self._found(arrival, key, digest)
        if found:
            refusal = self._refusal(key, found[0][0], "; ".join(dict.fromkeys(text for _, text in found)))
            return Judged(refusal, {"result": "refused", "problems": [code for code, _ in found]})
        repeated = key in self.registered
        number = self.registered[key][0] if repeated else self.words.number.format(len(self.registered) + 1)
        verdict = {"result": "repeated" if repeated else "created", self.words.receipt: number}
        if self.anchors:
            verdict["signature"] = "verified"
        given = self._taken(key, number, 200 if repeated else 201)
        return Judged(given, verdict, [(self.registered, key, (number, digest))])

    def _found(self, arrival: Arrival, key: str, digest: str) -> list[Problem]:
        code = self.words.codes
        if not key:
            return [(f"{code}01", "Idempotency-Key is missing")]
        if arrival.header("content-type").partition(";")[0] not in _JSON:
            return [(f"{code}02", "content type is not JSON")]
        try:
            document = json.read(arrival.body)
        except GatewayError:
            return [(f"{code}03", "the body is not JSON")]
        try:
            if self.anchors:
                certificates.verify_arrival(arrival, self.anchors)
        except Refused as refused:
            return [(f"{code}05", refused.args_.get("detail", "the signature cannot be verified"))]
        if self.registered.get(key, ("", digest))[1] != digest:
            return [(f"{code}04", "another body under the same key")]
        return list(self.wrong(document))

    def _taken(self, key: str, number: str, status: int = 200) -> Answer:
        return answer(status, {"status": self.words.taken, "reference": key, self.words.receipt: number})

    def _refusal(self, key: str, code: str, text: str, status: int = 422) -> Answer:
        error = {"code": code, "text": text}
        return answer(status, {"status": self.words.refused, "reference": key, "error": error})

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Errors and wrong references of this interface."""
        key, number = arrival.header("idempotency-key"), self.words.number.format(999_999)
        if order.name == "wrong-id":
            return self._taken(f"not-{key}", number)
        if order.name == "unknown-code":
            return answer(200, {"status": "PERHAPS", "reference": key, self.words.receipt: number})
        status = 200 if order.name == "error-in-200" else 422
        return self._refusal(key, order.value or f"{self.words.codes}99", "refused on order", status)

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """Whether the document of a key is here."""
        key = query.get("key", "")
        found = self.registered.get(key)
        return self._taken(key, found[0]) if found else answer(200, {"status": "UNKNOWN", "reference": key})
