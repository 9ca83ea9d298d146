"""The stand-in of the family-support system and of the district health commission.

No interface of either is published. This one follows the REST template of `sign/parameters.py`: one JSON object with
the application, time, nonce, certificate, message and signature. With `ca` the signature over the sorted parameters
and the detached JWS over the body are compulsory, and verified by another SM2 engine (`simulate/sm2.py`).

It refuses what a strict platform would: a member that is missing or is no text, a time more than `minutes` away, a
nonce that is not the idempotency key or came with another message, a Bundle without entries, a household or person
without its identifier.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo

from cryptography import x509

from gateway.clock import Clock
from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.message import Json
from gateway.simulate import certificates, sm2
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order, answer
from gateway.simulate.server import Judged, StandIn

MEMBERS: Final = ("appId", "bizContent", "certificate", "nonce", "sign", "signType", "timestamp")
ZONE: Final = ZoneInfo("Asia/Shanghai")


class Chongqing(StandIn):
    """`received` maps a nonce to (receipt number, digest of the message); `documents` counts resources by type."""

    name = "chongqing"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
        signer_id: str = sm2.DEFAULT_ID,
        issuer_id: str = sm2.DEFAULT_ID,
        app_id: str = "",
        app_secret: str = "",
        minutes: int = 15,
    ) -> None:
        super().__init__(log, faults, clock, ca=ca)
        self._signer_id, self._issuer_id, self._secret = signer_id, issuer_id, app_secret
        self._app_id, self._minutes = app_id, minutes
        self.received: dict[str, tuple[str, str]] = {}

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Signer ids and what the platform has agreed on."""
        super().options(parser)
        parser.add_argument("--signer-id", default=sm2.DEFAULT_ID, help="SM2 signer id of requests; '' is the empty id")
        parser.add_argument("--issuer-id", default=sm2.DEFAULT_ID, help="SM2 signer id of the certificates' issuer")
        parser.add_argument("--app-id", default="", help="the only application that may write")
        parser.add_argument("--app-secret", default="", help="shared text joined to the parameters")
        parser.add_argument("--minutes", type=int, default=15, help="how far a request's time may be away")

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(
            log,
            faults,
            ca=options.ca,
            signer_id=options.signer_id,
            issuer_id=options.issuer_id,
            app_id=options.app_id,
            app_secret=options.app_secret,
            minutes=options.minutes,
        )

    def judge(self, arrival: Arrival) -> Judged:
        """Take it, repeat the earlier answer for the same nonce and message, or refuse with every problem."""
        sent = _members(arrival.body)
        if sent is None:
            refusal = {"status": "REFUSED", "reference": "", "error": {"code": "C01", "text": "not an object of texts"}}
            return Judged(answer(422, refusal), {"result": "refused", "problems": ["C01"]})
        nonce, digest = sent.get("nonce", ""), hashlib.sha256(sent.get("bizContent", "").encode()).hexdigest()
        problems = list(self._problems(arrival, sent, digest))
        if problems:
            code, text = problems[0]
            refusal = {"status": "REFUSED", "reference": nonce, "error": {"code": code, "text": text}}
            return Judged(answer(422, refusal), {"result": "refused", "problems": [code for code, _ in problems]})
        repeated = nonce in self.received
        number = self.received[nonce][0] if repeated else f"CQ-{len(self.received) + 1:06d}"
        body = {"status": "ACCEPTED", "reference": nonce, "receipt": number}
        verdict = {"result": "repeated" if repeated else "created", "receipt": number}
        verdict["signature"] = "verified" if self.anchors else "not checked"
        return Judged(answer(200, body), verdict, [(self.received, nonce, (number, digest))])

    def _problems(self, arrival: Arrival, sent: Mapping[str, str], digest: str) -> Iterator[tuple[str, str]]:
        missing = [name for name in MEMBERS if not sent.get(name)]
        if missing:
            yield "C02", f"missing: {', '.join(missing)}"
            return
        if self._app_id and sent["appId"] != self._app_id:
            yield "C03", "this application may not write"
        if sent["nonce"] != arrival.header("idempotency-key"):
            yield "C04", "the nonce is not the idempotency key"
        if self.received.get(sent["nonce"], ("", digest))[1] != digest:
            yield "C05", "another message under the same nonce"
        if not self._timely(sent["timestamp"], arrival.time):
            yield "C06", "the time is too far away"
        if self.anchors:
            yield from self._signatures(arrival, sent)
        yield from contents(sent["bizContent"])

    def _timely(self, text: str, at: datetime) -> bool:
        try:
            said = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
        except ValueError:
            return False
        return abs(said - at) <= timedelta(minutes=self._minutes)

    def _signatures(self, arrival: Arrival, sent: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """The signature over the parameters and the detached JWS over the body, each by the other engine."""
        try:
            leaf = certificates.load_leaf(sent["certificate"])
            self._trusted(leaf, arrival.time)
            signed = signed_bytes(sent, self._secret)
            sm2.verify(leaf, certificates.standard_base64(sent["sign"]), signed, self._signer_id)
            self._jws(arrival, leaf)
        except Refused as refused:
            yield "C07", refused.args_.get("detail", "signature")

    def _trusted(self, leaf: x509.Certificate, at: datetime) -> None:
        if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
            raise certificates.refuse("the certificate is not valid now")
        sm2.check_issued(leaf, self.anchors, self._issuer_id)

    def _jws(self, arrival: Arrival, leaf: x509.Certificate) -> None:
        first, middle, last = (*arrival.header("x-jws-signature").split("."), "", "")[:3]
        try:
            header = json.read(_unpadded(first), 64 * 1024)
            inside = base64.b64decode(header["x5c"][0])
            signature = _unpadded(last)
        except (ValueError, KeyError, TypeError, IndexError, binascii.Error, GatewayError):
            raise certificates.refuse("no detached JWS with x5c") from None
        if middle or header.get("alg") != "SGD_SM3_SM2" or x509.load_der_x509_certificate(inside) != leaf:
            raise certificates.refuse("the JWS is not detached, or of another algorithm or certificate")
        payload = base64.urlsafe_b64encode(arrival.body).rstrip(b"=")
        sm2.verify(leaf, signature, first.encode() + b"." + payload, self._signer_id)

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Errors and wrong references of this interface."""
        nonce = (_members(arrival.body) or {}).get("nonce", "")
        if order.name == "wrong-id":
            return answer(200, {"status": "ACCEPTED", "reference": f"not-{nonce}", "receipt": "CQ-999999"})
        if order.name == "unknown-code":
            return answer(200, {"status": "PERHAPS", "reference": nonce})
        error = {"code": order.value or "C99", "text": "refused on order"}
        status = 200 if order.name == "error-in-200" else 422
        return answer(status, {"status": "REFUSED", "reference": nonce, "error": error})

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """`GET /receipts?nonce=…`: whether it is here."""
        nonce = query.get("nonce", "")
        found = self.received.get(nonce)
        known = {"receipt": found[0]} if found else {}
        return answer(200, {"status": "ACCEPTED" if found else "UNKNOWN", "reference": nonce, **known})


def signed_bytes(sent: Mapping[str, str], shared: str = "") -> bytes:
    """What the platform says is signed: written here from its description, not taken from room sign."""
    words = [f"{name}={sent[name]}" for name in sorted(sent) if name != "sign" and sent[name]]
    return "&".join([*words, f"key={shared}"] if shared else words).encode()


def _members(body: bytes) -> dict[str, str] | None:
    try:
        sent = json.read(body)
    except GatewayError:
        return None
    good = isinstance(sent, dict) and all(isinstance(value, str) for value in sent.values())
    return sent if good else None


def _unpadded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


NAMED: Final = ("Group", "Patient", "CareTeam", "EpisodeOfCare")
"""Resources without which the platform could not find its own record."""


def contents(text: str) -> Iterator[tuple[str, str]]:
    """What is wrong with the message, without any value in it."""
    try:
        bundle = json.read(text.encode())
    except GatewayError:
        yield "C08", "the message is not JSON"
        return
    entries = bundle.get("entry") if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle" else None
    if not isinstance(entries, list) or not entries:
        yield "C09", "the message is no Bundle with entries"
        return
    resources: list[Json] = [each.get("resource") or {} for each in entries if isinstance(each, dict)]
    for each in resources:
        if each.get("resourceType") in NAMED and not each.get("identifier"):
            yield "C10", f"a {each['resourceType']} without identifier"
            return
    if bundle.get("type") == "document" and resources[0].get("resourceType") != "Composition":
        yield "C11", "a document whose first entry is no Composition"
