"""A generic signed REST interface, described by the destination's options alone (for systems with no public text).

Options: `method` (POST), `media_type` (application/json), `idempotency_header` (Idempotency-Key), `header.NAME`
(fixed headers; {exchange} and {document} are filled in), `evidence_header` (the document's detached JWS; only where
the body is the document itself), `signature_header`, `certificate_header`, `signature_method_header` (the signer's
parts over the body's exact bytes), `success` ("$.status = REGISTERED|OK"), `rejected`, `busy` and `pending` (further
conditions), `reference` (a path that must hold the exchange id), `code` and `text` (paths of an error), `receipt.NAME`
(paths), `receipt_header.NAME` (headers of the answer, such as X-CART-id), `statuses`, `reconcile_url` with {exchange},
`known` and `missing` (conditions on its answer).
The body is the national message of `body`, or the document's exact bytes where `body` is empty.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from lxml import etree

from gateway.deliver import judge, paths
from gateway.deliver.wires import Parts
from gateway.errors import GatewayError, Misconfigured, finding
from gateway.formats import json, xml
from gateway.message import Attempt, Document, Exchange, Finding, Outcome
from gateway.ports import Reply, Wire

PROTOCOL: Final = "signed-rest"
_JSON: Final = frozenset({"application/json", "application/fhir+json", "application/problem+json"})
_XML: Final = frozenset({"application/xml", "text/xml"})


def make(parts: Parts) -> Wire:
    """A generic REST wire."""
    return SignedRest(parts)


class SignedRest:
    """One destination behind a REST template."""

    subject_receipts: frozenset[str]
    unique_receipts: frozenset[str]

    def __init__(self, parts: Parts) -> None:
        self._parts, option = parts, parts.option
        if not option("success"):
            raise Misconfigured(detail=f"destination {parts.destination.id}: options.success says what delivered means")
        self._success = paths.Condition(option("success"))
        self._others = [(state, _condition(option(name))) for name, state in _CONDITIONS]
        self._reference = paths.compile_path(option("reference")) if option("reference") else None
        self._code = paths.compile_path(option("code", "$.error.code"))
        self._text = paths.compile_path(option("text", "$.error.text"))
        self._receipts = paths.compile_all(parts.options("receipt."))
        self._numbers = {name: header.lower() for name, header in parts.options("receipt_header.").items()}
        self._statuses = judge.meanings(option("statuses"))
        self._known, self._missing = _condition(option("known")), _condition(option("missing"))
        self.subject_receipts = frozenset(option("subject_receipts").split())
        self.unique_receipts = frozenset(option("unique_receipts").split())
        if parts.destination.body:
            parts.national()

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The body and its headers; the id is the exchange's, which is the idempotency key."""
        option, body = self._parts.option, self._body(document, exchange, receipts)
        headers = {
            "Content-Type": option("media_type", "application/json"),
            "Accept": option("accept", "application/json"),
            option("idempotency_header", "Idempotency-Key"): exchange.id,
        }
        for name, value in self._parts.options("header.").items():
            headers[name] = _filled(value, exchange)
        if option("evidence_header") and not self._parts.destination.body:
            headers[option("evidence_header")] = document.evidence.jws
        headers |= self._signature(body, now)
        url = _filled(self._parts.destination.url, exchange)
        return self._parts.compose(option("method", "POST"), url, headers, body, now), exchange.id

    def _body(self, document: Document, exchange: Exchange, receipts: Mapping[str, str]) -> bytes:
        destination = self._parts.destination
        if not destination.body:
            return document.body
        values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
        return self._parts.national()(json.reread(document.body), destination.body, {**values, **receipts})

    def _signature(self, body: bytes, now: datetime) -> dict[str, str]:
        option, signer = self._parts.option, self._parts.signer
        if signer is None or self._parts.destination.signer == "none":
            return {}
        made = signer.sign_bytes(body, now)
        named = {
            option("signature_header", "X-Signature"): base64.b64encode(made.value).decode(),
            option("certificate_header", "X-Signature-Certificate"): base64.b64encode(made.certificate_der).decode(),
            option("signature_method_header", "X-Signature-Method"): made.method,
        }
        return {name: value for name, value in named.items() if name != "none"}

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Send the attempt's bytes; `delivered` only where the condition of success holds for this message."""
        reply = await self._parts.post(attempt.request)
        outcome = self.verdict(reply, attempt)
        numbers = {n: reply.headers[h][: paths.MAX_VALUE] for n, h in self._numbers.items() if reply.headers.get(h)}
        if not numbers or outcome.state == "unknown":
            return outcome
        return msgspec.structs.replace(outcome, receipts={**outcome.receipts, **numbers})

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        answer = _read(reply)
        meaning = judge.by_status(reply.status, self._statuses)
        if meaning is not None:
            return self._refusal(reply, meaning, answer, attempt)
        if reply.status == 202 and not reply.body.strip():
            return judge.outcome(reply, "awaiting")
        if answer is None:
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if self._reference is not None and paths.follow(self._reference, answer) != attempt.transport_id:
            return judge.outcome(reply, "unknown", judge.NOT_OURS)
        if self._success.holds(answer):
            given = paths.take(self._receipts, answer)
            whole = given.keys() == self._receipts.keys()
            return (
                judge.outcome(reply, "delivered", receipts=given)
                if whole
                else judge.outcome(reply, "unknown", judge.UNREADABLE)
            )
        return self._otherwise(reply, answer, attempt)

    def _otherwise(self, reply: Reply, answer: Any, attempt: Attempt) -> Outcome:
        for state, condition in self._others:
            if condition is not None and condition.holds(answer):
                found = self._complaint(answer) if state == "rejected" else ()
                code = {"rejected": judge.REJECTED, "due": judge.BUSY}.get(state)
                return judge.outcome(reply, state, code, attempt.started_at, findings=found)
        return judge.outcome(reply, "unknown", judge.UNREADABLE)

    def _refusal(self, reply: Reply, meaning: judge.Meaning, answer: Any, attempt: Attempt) -> Outcome:
        about_document = reply.status in (400, 409, 412, 422) and reply.status not in self._statuses
        refused = any(state == "rejected" and c is not None and c.holds(answer) for state, c in self._others)
        if about_document and refused:
            found = self._complaint(answer)
            return judge.outcome(reply, "rejected", judge.REJECTED, findings=found)
        return judge.refused(reply, meaning, attempt.started_at)

    def _complaint(self, answer: Any) -> tuple[Finding, ...]:
        code, text = paths.follow(self._code, answer) or "", paths.follow(self._text, answer) or ""
        return (finding(judge.REJECTED, detail=f"{code} {text}".strip()),)

    # --- asking afterwards -----------------------------------------------------------------------

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """Ask `reconcile_url`; `known` makes it delivered, `missing` makes it due, anything else stays unknown."""
        template = self._parts.option("reconcile_url")
        if not template or self._known is None:
            return None
        url = _filled(template, exchange)
        headers = {"Accept": "application/json"}
        reply = await self._parts.reach("GET", url, headers)
        answer = _read(reply) if reply.status == 200 else None
        if answer is not None and self._known.holds(answer):
            return judge.outcome(reply, "delivered", judge.FOUND, receipts=paths.take(self._receipts, answer))
        if answer is not None and self._missing is not None and self._missing.holds(answer):
            return judge.outcome(reply, "due", judge.NOT_FOUND)
        return judge.outcome(reply, "unknown", judge.UNREADABLE)


_CONDITIONS: Final[tuple[tuple[str, judge.State], ...]] = (
    ("rejected", "rejected"),
    ("busy", "due"),
    ("pending", "awaiting"),
)


def _condition(text: str) -> paths.Condition | None:
    return paths.Condition(text) if text else None


def _filled(template: str, exchange: Exchange) -> str:
    return template.replace("{exchange}", exchange.id).replace("{document}", exchange.document)


def _read(reply: Reply) -> Any:
    """The answer as a document that paths can be followed in; None where it is not what it says it is."""
    kind, charset = judge.media_type(reply.headers), judge.charset(reply.headers)
    if charset not in ("", "utf-8"):
        return None
    try:
        if kind in _JSON:
            return json.read(reply.body)
        if kind in _XML:
            root = xml.read(reply.body)
            return {etree.QName(root).localname: _tree(root)}
    except GatewayError:
        return None
    return None


def _tree(element: etree._Element) -> Any:
    """XML as nested members by local name, so that one path language serves both; repeats make it no plain value."""
    children = list(element.iterchildren(tag=etree.Element))
    if not children:
        return (element.text or "").strip()
    names = [etree.QName(each).localname for each in children]
    made: dict[str, Any] = {}
    for name, child in zip(names, children, strict=True):
        made[name] = _tree(child) if names.count(name) == 1 else [_tree(c) for c in children if c.tag == child.tag]
    return made
