"""The Behzisti stand-in: documents of day centres over REST, and a folder of files that are read the same way.

The organisation has published no interface; this one follows the templates of `deliver/signed_rest.py` and
`deliver/file_drop.py`, and is strict: a document is a Bundle with an identifier, clients have disability codes of ten
digits, centres a licence, and the same key never brings other bytes. `GET /documents?key=…` says whether one is here.
With `ca`, a signature over the exact bytes is compulsory: `X-JWS-Signature`, or `X-Signature` with its certificate.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order, answer
from gateway.simulate.server import Judged, StandIn

_CODE: Final = re.compile(r"[0-9]{10}")
_BUNDLES: Final = frozenset({"collection", "document"})
_JSON: Final = frozenset({"application/json", "application/fhir+json"})

Problem = tuple[str, str]


def problems(document: Any) -> Iterator[Problem]:
    """What is wrong with a document's content: BZ-S codes of this stand-in."""
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        yield "BZ-S10", "the body is not a Bundle"
        return
    if document.get("type") not in _BUNDLES:
        yield "BZ-S11", "the Bundle is neither a collection nor a document"
    if not str((document.get("identifier") or {}).get("value") or ""):
        yield "BZ-S12", "the Bundle has no identifier"
    entries = document.get("entry")
    if not isinstance(entries, list) or not entries:
        yield "BZ-S13", "the Bundle is empty"
        return
    for entry in entries:
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict) or not resource.get("id"):
            yield "BZ-S14", "an entry has no resource with an id"
        else:
            yield from _resource(resource)


def _resource(resource: Mapping[str, Any]) -> Iterator[Problem]:
    kind = resource.get("resourceType")
    if kind == "Patient" and not _CODE.fullmatch(_identifier(resource, "/disability-code")):
        yield "BZ-S20", "a client has no disability code of ten digits"
    if kind == "Organization" and not _identifier(resource, "/licence"):
        yield "BZ-S21", "a centre has no licence"
    if (
        kind == "EpisodeOfCare"
        and resource.get("status") == "finished"
        and not (resource.get("period") or {}).get("end")
    ):
        yield "BZ-S22", "a discharge has no day"
    for name in ("subject", "patient", "beneficiary"):
        code = ((resource.get(name) or {}).get("identifier") or {}).get("value")
        if code is not None and not _CODE.fullmatch(str(code)):
            yield "BZ-S23", "a reference to a client has no disability code of ten digits"


def _identifier(resource: Mapping[str, Any], ending: str) -> str:
    known = (each for each in resource.get("identifier") or () if str(each.get("system", "")).endswith(ending))
    return next((str(each.get("value", "")) for each in known), "")


class Behzisti(StandIn):
    """`documents` maps an idempotency key to (tracking number, digest of the body)."""

    name = "behzisti"

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
        self.documents: dict[str, tuple[str, str]] = {}

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(log, faults, ca=options.ca)

    def judge(self, arrival: Arrival) -> Judged:
        """Take it, repeat the earlier answer for the same key and bytes, or refuse with every problem."""
        key, digest = arrival.header("idempotency-key"), hashlib.sha256(arrival.body).hexdigest()
        found = self._problems(arrival, key, digest)
        if found:
            error = {"code": found[0][0], "text": "; ".join(dict.fromkeys(text for _, text in found))}
            refusal = {"status": "REJECTED", "reference": key, "error": error}
            return Judged(answer(422, refusal), {"result": "refused", "problems": [code for code, _ in found]})
        repeated = key in self.documents
        number = self.documents[key][0] if repeated else f"BZ-{len(self.documents) + 1:08d}"
        verdict: dict[str, Any] = {"result": "repeated" if repeated else "created", "tracking": number}
        if self._anchors:
            verdict["signature"] = "verified"
        body = {"status": "ACCEPTED", "reference": key, "tracking": number}
        return Judged(answer(200 if repeated else 201, body), verdict, [(self.documents, key, (number, digest))])

    def _problems(self, arrival: Arrival, key: str, digest: str) -> list[Problem]:
        if not key:
            return [("BZ-S01", "Idempotency-Key is missing")]
        if arrival.header("content-type").partition(";")[0] not in _JSON:
            return [("BZ-S02", "content type is not JSON")]
        try:
            document = json.read(arrival.body)
            if self._anchors:
                certificates.verify_arrival(arrival, self._anchors)
        except Refused as refused:
            return [("BZ-S05", refused.args_.get("detail", "the signature cannot be verified"))]
        except GatewayError:
            return [("BZ-S03", "the body is not JSON")]
        if self.documents.get(key, ("", digest))[1] != digest:
            return [("BZ-S04", "another body under the same key")]
        return list(problems(document))

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Errors and wrong references of this interface."""
        key = arrival.header("idempotency-key")
        if order.name == "wrong-id":
            return answer(200, {"status": "ACCEPTED", "reference": f"not-{key}", "tracking": "BZ-99999999"})
        if order.name == "unknown-code":
            return answer(200, {"status": "PERHAPS", "reference": key, "tracking": "BZ-99999998"})
        error = {"code": order.value or "BZ-S99", "text": "refused on order"}
        status = 200 if order.name == "error-in-200" else 422
        return answer(status, {"status": "REJECTED", "reference": key, "error": error})

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """`GET /documents?key=…`: whether it is here."""
        found = self.documents.get(query.get("key", ""))
        body = {"status": "ACCEPTED" if found else "UNKNOWN", "reference": query.get("key", "")}
        return answer(200, {**body, "tracking": found[0]} if found else body)
