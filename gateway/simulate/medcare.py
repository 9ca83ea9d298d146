"""The medcare stand-in: JSON over REST, a registration number as receipt, duplicates removed by Idempotency-Key.

No interface of the real system is published; this one follows the template of `deliver/signed_rest.py`. With `ca`
a signature over the body's exact bytes is compulsory and checked: `X-JWS-Signature` (detached JWS), or `X-Signature`
with `X-Signature-Certificate`.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order, answer
from gateway.simulate.server import Judged, StandIn


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
            body = json.read(arrival.body)
            if not isinstance(body, dict):
                return "M03", "the body is not an object"
            wrong = next(_shape(body), "") if "registration" in body else ""
            if wrong:
                return "M06", wrong
            if self._anchors:
                certificates.verify_arrival(arrival, self._anchors)
        except Refused as refused:
            return "M05", refused.args_.get("detail", "the body cannot be read")
        except GatewayError:
            return "M03", "the body is not JSON"
        if self.registrations.get(key, ("", digest))[1] != digest:
            return "M04", "another body under the same key"
        return None

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


PARTS: Final[dict[str, tuple[str, ...]]] = {
    "registration": ("reference", "centre", "university"),
    "patient": ("nationalCode", "withoutId", "recordNumber", "firstName", "lastName", "birthDate", "gender"),
    "stay": ("class", "admissionType", "admitted", "discharged"),
}
"""The members of the template's objects, in their order."""

_LISTS: Final[dict[str, tuple[str, ...]]] = {
    "diagnoses": ("code", "text"),
    "services": ("code", "name", "count", "date", "total", "insurance"),
}
_TOP: Final = ("registration", "patient", "group", "stay", "diagnoses", "services")
_NUMBERS: Final = frozenset({"count", "total", "insurance"})
_DATES: Final = frozenset({"birthDate", "admitted", "discharged", "date"})


def _shape(body: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a body of the template: names, order, types, codes; never a value."""
    if not _ordered(body, _TOP):
        yield "the members are not those of the template, in their order"
        return
    for name, members in PARTS.items():
        yield from _members(name, body.get(name, {}), members)
    for name, members in _LISTS.items():
        for each in body.get(name, []) if isinstance(body.get(name, []), list) else [None]:
            yield from _members(name, each, members)
    if not body["registration"].get("centre"):
        yield "registration.centre is missing"
    patient = body.get("patient", {})
    if not patient.get("nationalCode") and patient.get("withoutId") is not True:
        yield "patient.nationalCode is missing"
    if body.get("stay", {}).get("admissionType", "1") not in ("1", "2", "4"):
        yield "stay.admissionType is not one of the codes"


def _ordered(value: Any, members: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and list(value) == [name for name in members if name in value]


def _members(name: str, value: Any, members: tuple[str, ...]) -> Iterator[str]:
    if not _ordered(value, members):
        yield f"the members of {name} are not those of the template, in their order"
        return
    for member, each in value.items():
        number = isinstance(each, int | Decimal) and not isinstance(each, bool)
        text = isinstance(each, bool) if member == "withoutId" else isinstance(each, str)
        if not (number if member in _NUMBERS else text):
            yield f"{name}.{member} has another type"
        elif member in _DATES and not re.fullmatch(r"1[34]\d\d/\d\d/\d\d", str(each), re.ASCII):
            yield f"{name}.{member} is not a Jalali date"
