"""FHIR over REST: a document Bundle posted as it is, judged by status and by what the answering Bundle says.

Options of the destination: `mode` message (default, `$process-message`, R4 messaging section 2.4) or transaction
(R4 http section 3.1.0.11); `idempotency_header` (Idempotency-Key); `evidence` header (default, the detached JWS in
`evidence_header`), provenance (the `X-Provenance` header of R4) or none; `statuses` ("500=due"); `empty_ok` yes where
the destination answers without a body; `receipt.NAME` JSON paths; `reconcile_url` with {document}, {exchange}.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.deliver import http_message, judge, paths
from gateway.deliver.wires import Parts
from gateway.errors import GatewayError, Misconfigured, finding
from gateway.formats import json
from gateway.message import Attempt, Document, Exchange, Finding, Outcome
from gateway.ports import Reply, Wire

PROTOCOL: Final = "fhir-rest"
MEDIA: Final = "application/fhir+json"
READABLE: Final = frozenset({MEDIA, "application/json"})
_RESPONSE: Final = {"ok": "delivered", "transient-error": "due", "fatal-error": "rejected"}
_SERIOUS: Final = frozenset({"error", "fatal"})
MAX_FINDINGS: Final = 50


def make(parts: Parts) -> Wire:
    """A FHIR REST wire."""
    return FhirRest(parts)


def _resource(reply: Reply) -> dict[str, Any] | None:
    """The FHIR resource of a reply; None where it is not one (a login page, cut short, another charset)."""
    if judge.media_type(reply.headers) not in READABLE or judge.charset(reply.headers) not in ("", "utf-8"):
        return None
    try:
        found = json.read(reply.body)
    except GatewayError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("resourceType"), str) else None


def _entries(bundle: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    entries = bundle.get("entry")
    return [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []


def _resources(bundle: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [each.get("resource") for each in _entries(bundle)]
    return [each for each in found if isinstance(each, dict) and each.get("resourceType") == kind]


def complaints(resource: Mapping[str, Any] | None) -> tuple[Finding, ...]:
    """The errors of an OperationOutcome as findings; the destination's words stay arguments, shown to the sender."""
    issues = (resource or {}).get("issue")
    made = []
    for issue in issues if isinstance(issues, list) else ():
        if isinstance(issue, dict) and issue.get("severity") in _SERIOUS:
            details = issue.get("details")
            said = details.get("text") if isinstance(details, dict) else None
            text = str(issue.get("diagnostics") or said or issue.get("code") or "")
            made.append(finding(judge.REJECTED, detail=text[:500], issue=str(issue.get("code", ""))[:50]))
    return tuple(made[:MAX_FINDINGS])


class FhirRest:
    """One destination that speaks FHIR REST."""

    subject_receipts: frozenset[str] = frozenset()

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mode = parts.option("mode", "message")
        if self._mode not in ("message", "transaction"):
            raise Misconfigured(detail=f"destination {parts.destination.id}: mode {self._mode!r}")
        self._statuses = judge.meanings(parts.option("statuses"))
        self._receipts = paths.compile_all(parts.options("receipt."))
        self.unique_receipts = frozenset({"response"}) if self._mode == "message" else frozenset[str]()

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The document's exact bytes under headers; the id is the MessageHeader's, or the exchange's."""
        headers = {
            "Content-Type": MEDIA,
            "Accept": MEDIA,
            self._parts.option("idempotency_header", "Idempotency-Key"): exchange.id,
            **self._evidence(document),
        }
        request = self._parts.compose("POST", self._parts.destination.url, headers, document.body, now)
        return request, self._message_id(document) if self._mode == "message" else exchange.id

    def _message_id(self, document: Document) -> str:
        bundle = json.reread(document.body)
        headers = _resources(bundle, "MessageHeader") if isinstance(bundle, dict) else []
        if len(headers) != 1 or not headers[0].get("id"):
            raise Misconfigured(detail=f"destination {self._parts.destination.id}: the document is not a message")
        return str(headers[0]["id"])

    def _evidence(self, document: Document) -> dict[str, str]:
        how = self._parts.option("evidence", "header")
        if how == "header":
            return {self._parts.option("evidence_header", "X-JWS-Signature"): document.evidence.jws}
        if how == "provenance":
            return {"X-Provenance": json.write(_provenance(document)).decode("ascii")}
        return {}

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Post the attempt's bytes; `delivered` only where the answer names this message and says so."""
        return self.verdict(await self._parts.post(attempt.request), attempt)

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        meaning = judge.by_status(reply.status, self._statuses)
        resource = _resource(reply)
        if meaning is not None:
            return self._refusal(reply, meaning, resource, attempt)
        if reply.status == 202:
            return judge.outcome(reply, "awaiting")
        if not reply.body.strip() and reply.status in (200, 201, 204):
            done = self._parts.option("empty_ok") == "yes"
            return judge.outcome(reply, "delivered") if done else judge.outcome(reply, "unknown", judge.UNREADABLE)
        if resource is None:
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if resource["resourceType"] == "OperationOutcome":
            found = complaints(resource)
            state: judge.State = "rejected" if found else "unknown"
            return judge.outcome(reply, state, judge.REJECTED if found else judge.UNREADABLE, findings=found)
        judged = self._message(reply, resource, attempt) if self._mode == "message" else None
        return judged or self._transaction(reply, resource, attempt)

    def _refusal(
        self, reply: Reply, meaning: judge.Meaning, resource: dict[str, Any] | None, attempt: Attempt
    ) -> Outcome:
        """A 4xx is a rejection of the document only where an OperationOutcome says why; else ours to look at."""
        found = complaints(resource) if resource and resource["resourceType"] == "OperationOutcome" else ()
        about_document = reply.status in (400, 412, 422) and reply.status not in self._statuses
        if about_document and found:
            meaning = judge.Meaning("rejected", judge.REJECTED)
        return judge.refused(reply, meaning, attempt.started_at, found)

    def _message(self, reply: Reply, bundle: dict[str, Any], attempt: Attempt) -> Outcome:
        headers = _resources(bundle, "MessageHeader")
        response = headers[0].get("response") if len(headers) == 1 else None
        if bundle.get("type") != "message" or not isinstance(response, dict):
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if not attempt.transport_id or response.get("identifier") != attempt.transport_id:
            return judge.outcome(reply, "unknown", judge.NOT_OURS)
        state = _RESPONSE.get(str(response.get("code")))
        found = tuple(f for each in _resources(bundle, "OperationOutcome") for f in complaints(each))
        if state is None or (state == "delivered" and found):
            return judge.outcome(reply, "unknown", judge.UNREADABLE, findings=found)
        receipts = {"response": str(headers[0]["id"])} if headers[0].get("id") else {}
        code = {"due": judge.BUSY, "rejected": judge.REJECTED}.get(state)
        given = {**receipts, **paths.take(self._receipts, bundle)} if state == "delivered" else {}
        return judge.outcome(reply, state, code, attempt.started_at, findings=found, receipts=given)  # type: ignore[arg-type]

    def _transaction(self, reply: Reply, bundle: dict[str, Any], attempt: Attempt) -> Outcome:
        """A transaction is all or nothing: as many 2xx entries as were sent, else nobody knows."""
        sent = json.read(http_message.take_apart(attempt.request).body)
        answers = [each.get("response") for each in _entries(bundle)]
        statuses = [str(each.get("status", "")) for each in answers if isinstance(each, dict)]
        whole = len(statuses) == len(_entries(sent)) and all(each[:1] == "2" for each in statuses)
        if bundle.get("type") != "transaction-response" or not whole:
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        return judge.outcome(reply, "delivered", receipts=paths.take(self._receipts, bundle))

    # --- asking afterwards -----------------------------------------------------------------------

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """Ask `reconcile_url` for a searchset: one match is delivered, none is due; None where it is not set."""
        template = self._parts.option("reconcile_url")
        if not template:
            return None
        url = template.replace("{exchange}", exchange.id).replace("{document}", exchange.document)
        url = url.replace("{message}", attempt.transport_id or "")
        reply = await self._parts.reach("GET", url, {"Accept": MEDIA})
        resource = _resource(reply) if reply.status == 200 else None
        total = resource.get("total") if resource and resource.get("type") == "searchset" else None
        if not isinstance(total, int):
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if total == 0:
            return judge.outcome(reply, "due", judge.NOT_FOUND)
        return judge.outcome(reply, "delivered", judge.FOUND)


def _provenance(document: Document) -> dict[str, Any]:
    """The evidence as R4 Provenance; it stands beside the document, never inside what it signs."""
    signed_at = document.evidence.signed_at.isoformat()
    return {
        "resourceType": "Provenance",
        "target": [{"identifier": {"system": "urn:ietf:rfc:6920", "value": f"sha-256:{document.digest}"}}],
        "recorded": signed_at,
        "agent": [{"who": {"identifier": {"value": f"sha-256:{document.evidence.certificate_digest}"}}}],
        "signature": [
            {
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.5"}],
                "when": signed_at,
                "who": {"identifier": {"value": f"sha-256:{document.evidence.certificate_digest}"}},
                "sigFormat": "application/jose",
                "data": base64.b64encode(document.evidence.jws.encode()).decode(),
            }
        ],
    }
