"""The health record gateway of the Italian ministry (FSE 2.0): validation of a FHIR Bundle, its status, its callback.

The request is `POST {url}/documents/fhir-validation` with the parts `file` and `requestBody`, and two tokens. It
changes nothing at the ministry, so that what may have arrived may be sent again. Publication is not spoken here.

Options of the destination: `operation` (documents/fhir-validation), `activity` (VERIFICA), `mode` (RESOURCE; empty:
not said), `file_type` (application/json), `file_name` (bundle.json), `attachment_hash` yes (default) or no: whether the
digest of the file is claimed; `claims`, an output that makes claims about the document as JSON (person_id, …);
`callback_url`, our address for status events; `confirm` answer (default) or status: what a 200 leads to, delivered or
a wait for the event `final_event` (VALIDATION); `types` and `statuses`, readings of problems and of statuses of one's
own ("/msg/generic-error=parked", "500=parked"). Sources: ministry's integration guide 2.22, chapters 2 to 4 and 13.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from gateway.deliver import http_message, judge, multipart
from gateway.deliver.judge import Meaning
from gateway.deliver.multipart import FormPart
from gateway.deliver.wires import Parts
from gateway.errors import GatewayError, Misconfigured, Refused, finding
from gateway.formats import json
from gateway.message import Attempt, Document, Exchange, Finding, Outcome
from gateway.ports import Heard, Reply, Wire

PROTOCOL: Final = "fse"
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
WORKFLOW: Final = "workflowInstanceId"
TRACE: Final = "traceID"
WARNED: Final = "GW-DELIVER-036"
UNHEARD: Final = "GW-DELIVER-038"
OURS: Final = "GW-DELIVER-039"

_DOCUMENT: Final = Meaning("rejected", judge.REJECTED)
_REQUEST: Final = Meaning("parked", OURS)
_TOKEN: Final = Meaning("parked", judge.CREDENTIALS)
_LATER: Final = Meaning("due", judge.BUSY)

TYPES: Final[Mapping[str, Meaning]] = {
    # the document
    "/msg/cda-element": _DOCUMENT,
    "/msg/fhir-element": _DOCUMENT,
    "/msg/syntax": _DOCUMENT,
    "/msg/semantic": _DOCUMENT,
    "/msg/vocabulary": _DOCUMENT,
    "/msg/cda-match": _DOCUMENT,
    "/msg/fhir-mapping-type": _DOCUMENT,
    "/msg/max-day-limit-exceed": _DOCUMENT,
    "/msg/workflow-id-error-extraction": _DOCUMENT,
    # what we made of the request: settings, claims, form
    "/msg/empty-file": _REQUEST,
    "/msg/document-type": _REQUEST,
    "/msg/document-hash": _REQUEST,
    "/msg/mandatory-element": _REQUEST,
    "/msg/invalid-format": _REQUEST,
    "/msg/jwt-validation": _REQUEST,
    "/msg/record-not-found": _REQUEST,
    "/msg/eds-error": _REQUEST,
    # tokens and certificates
    "/msg/mandatory-element-token": _TOKEN,
    "/msg/missing-token": _TOKEN,
    # their side
    "/msg/generic-timeout": _LATER,
    "/msg/generic-error": _LATER,
    "/msg/ini-error": _LATER,
    # a region's own gateway in front (types `mw/…`)
    "mw/io_error": _LATER,
    "mw/internal_error": _LATER,
}
"""What a problem's type leads to. Repeating a validation harms nobody, so that their own errors are tried again."""

_STATUSES: Final[Mapping[int, Meaning]] = {
    500: _LATER,
    502: _LATER,
    504: _LATER,
    413: Meaning("rejected", judge.REJECTED),
    422: Meaning("rejected", judge.REJECTED),
}
_INSTANCES: Final = {"/jwt-person-id": _DOCUMENT, "/jwt-document-type": _DOCUMENT}  # of /msg/jwt-validation
_BLOCKING: Final = "BLOCKING_ERROR"
_STATES: Final = frozenset({"rejected", "parked", "due"})


def make(parts: Parts) -> Wire:
    """The wire of one health record gateway."""
    return Fse(parts)


class Problem(NamedTuple):
    """A problem (RFC 7807), as far as it is one."""

    type: str
    title: str
    detail: str
    instance: str
    trace: str

    @property
    def shown(self) -> str:
        """For whoever reads the finding: type, words, and the number by which the ministry knows it."""
        words = self.detail or self.title
        return f"{self.type} {words}"[:500] + (f" ({self.trace})" if self.trace else "")


class Fse:
    """One gateway of the health record."""

    subject_receipts: frozenset[str] = frozenset()
    unique_receipts = frozenset({WORKFLOW})

    def __init__(self, parts: Parts) -> None:
        self._parts, option = parts, parts.option
        self._base = parts.destination.url.rstrip("/")
        self._where = f"{self._base}/{option('operation', 'documents/fhir-validation')}"
        self._waits = option("confirm", "answer") == "status"
        self._final = option("final_event", "VALIDATION")
        self._statuses = {**_STATUSES, **judge.meanings(option("statuses"))}
        self._types = {**TYPES, **_own_types(option("types"))}
        if option("confirm", "answer") not in ("answer", "status"):
            raise Misconfigured(detail=f"destination {parts.destination.id}: options.confirm is answer or status")
        if parts.destination.body:
            parts.national()

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The form with the file and its description, and both tokens; the id is the exchange's."""
        option, file = self._parts.option, self._file(document, exchange)
        asked = {key: value for key, value in (("mode", option("mode", "RESOURCE")),) if value}
        described = json.write({**asked, "activity": option("activity", "VERIFICA")})
        media, body = multipart.compose(
            [
                FormPart("requestBody", JSON, described),
                FormPart("file", option("file_type", JSON), file, option("file_name", "bundle.json")),
            ]
        )
        headers = {"Content-Type": media, "Accept": JSON}
        if option("callback_url"):
            headers["X-Callback-Url"] = option("callback_url")
        facts = self._facts(document, exchange, file)
        return self._parts.compose("POST", self._where, headers, body, now, facts), exchange.id

    def _file(self, document: Document, exchange: Exchange) -> bytes:
        destination = self._parts.destination
        if not destination.body:
            return document.body
        values = {"exchange": exchange.id, **self._parts.options("value.")}
        return self._parts.national()(json.reread(document.body), destination.body, values)

    def _facts(self, document: Document, exchange: Exchange, file: bytes) -> Mapping[str, str]:
        """Claims that only the document can say."""
        made: dict[str, str] = {}
        target, render = self._parts.option("claims"), self._parts.render_national
        if target:
            if render is None:
                raise Misconfigured(detail=f"destination {self._parts.destination.id}: claims names no output")
            found = json.read(render(json.reread(document.body), target, {"exchange": exchange.id}))
            made = {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
        if self._parts.option("attachment_hash", "yes") == "yes":
            made["attachment_hash"] = hashlib.sha256(file).hexdigest()
        return made

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Post the form; `delivered` only where the answer carries the ministry's own identifiers."""
        return self.verdict(await self._parts.post(attempt.request), attempt)

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        if reply.status not in (200, 201, 202) or reply.status in self._statuses:
            return self._refusal(reply, attempt)
        answer = _object(reply, JSON)
        if answer is None or _problem(answer) is not None or not _text(answer, TRACE):
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        given = {name: _text(answer, name) for name in (WORKFLOW, TRACE) if _text(answer, name)}
        told = _text(answer, "warning")
        found = (finding(WARNED, detail=told[:500]),) if told else ()
        if reply.status == 202 or self._waits:
            if WORKFLOW not in given:
                return judge.outcome(reply, "unknown", judge.UNREADABLE)
            return judge.outcome(reply, "awaiting", receipts=given, findings=found)
        return judge.outcome(reply, "delivered", receipts=given, findings=found)

    def _refusal(self, reply: Reply, attempt: Attempt) -> Outcome:
        answer = _object(reply, PROBLEM, JSON)
        problem = _problem(answer) if answer is not None else None
        meaning = self._meaning(reply, problem)
        found: tuple[Finding, ...] = ()
        if problem is not None and meaning.code in (judge.REJECTED, OURS):
            found = (finding(meaning.code, detail=problem.shown),)
        if meaning.state == "rejected" and not found:  # who refuses a document says why, or is not who we think
            meaning = Meaning("parked", judge.REFUSED)
        return judge.refused(reply, meaning, attempt.started_at, found)

    def _meaning(self, reply: Reply, problem: Problem | None) -> Meaning:
        """By the problem's instance or type; the frontier's own problems, which have other types, by their status."""
        if problem is not None:
            own = _INSTANCES.get(problem.instance) if problem.type == "/msg/jwt-validation" else None
            known = own or self._types.get(problem.type)
            if known is not None:
                return known
        status = judge.by_status(reply.status, self._statuses)
        return status or Meaning("unknown", judge.UNREADABLE)

    # --- asking afterwards, and being told -----------------------------------------------------

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """Ask for the status of the workflow; without its identifier nothing was taken, and it is due again."""
        workflow = _workflow(attempt.reply)
        if not workflow:
            return Outcome(state="due", codes=(judge.NOT_FOUND,))
        url, parts = f"{self._base}/status/{quote(workflow, safe='')}", self._parts
        headers: Mapping[str, str] = {"Accept": JSON}
        if parts.request_signer is not None:
            facts = _claimed(attempt.request)  # of the same person and structure as the request itself
            more, _ = parts.request_signer.secure("GET", url, headers, b"", parts.clock.now(), facts)
            headers = {**headers, **more}
        reply = await parts.reach("GET", url, headers)
        answer = _object(reply, JSON, PROBLEM)
        if reply.status == 404 and answer is not None and _problem(answer) is not None:
            return judge.outcome(reply, "due", judge.NOT_FOUND)
        if reply.status != 200 or answer is None or not _text(answer, TRACE):
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        state, found = self._read_events(answer.get("transactionData"))
        return judge.outcome(reply, state, judge.REJECTED if state == "rejected" else None, findings=found)

    def hear(self, headers: Mapping[str, str], body: bytes) -> Heard:
        """A status event at our address: `{"workflowInstanceId": …, "events": […]}`. `Refused` where it is not one."""
        try:
            told = json.read(body, 1024 * 1024)
        except GatewayError as fault:
            raise Refused(UNHEARD, detail=fault.code) from None
        if not isinstance(told, dict) or not _text(told, WORKFLOW) or not isinstance(told.get("events"), list):
            raise Refused(UNHEARD, detail="no workflowInstanceId with events")
        state, found = self._read_events(told["events"])
        codes = (judge.REJECTED,) if state == "rejected" else ()
        outcome = Outcome(state=state, codes=codes, findings=found, reply=body)
        return Heard(WORKFLOW, _text(told, WORKFLOW), outcome, 200, JSON, b"{}")

    def _read_events(self, events: Any) -> tuple[judge.State, tuple[Finding, ...]]:
        """Events of a workflow: a blocking error rejects, the final event's success delivers, all else waits."""
        listed = [each for each in events if isinstance(each, dict)] if isinstance(events, list) else []
        bad = [each for each in listed if each.get("eventStatus") == _BLOCKING]
        if bad:
            said = (f"{_text(each, 'eventType')} {_text(each, 'message')}".strip()[:500] for each in bad[:20])
            return "rejected", tuple(finding(judge.REJECTED, detail=each) for each in said)
        done = any(e.get("eventType") == self._final and e.get("eventStatus") == "SUCCESS" for e in listed)
        return ("delivered" if done else "awaiting"), ()


def _own_types(text: str) -> Mapping[str, Meaning]:
    """The destination's own reading of problem types: "/msg/generic-error=parked mw/other=due"."""
    codes = {"rejected": judge.REJECTED, "parked": OURS, "due": judge.BUSY}
    made: dict[str, Meaning] = {}
    for pair in text.split():
        name, _, state = pair.rpartition("=")
        if not name or state not in codes:
            raise Misconfigured(detail=f"types {text!r} is not like '/msg/generic-error=parked'")
        made[name] = Meaning(state, codes[state])  # type: ignore[arg-type]
    return made


def _object(reply: Reply, *media: str) -> dict[str, Any] | None:
    if judge.media_type(reply.headers) not in media or judge.charset(reply.headers) not in ("", "utf-8"):
        return None
    try:
        found = json.read(reply.body)
    except GatewayError:
        return None
    return found if isinstance(found, dict) else None


def _problem(answer: Mapping[str, Any]) -> Problem | None:
    """The problem that an answer is; None where it says nothing of one."""
    if not isinstance(answer.get("type"), str) or not isinstance(answer.get("status"), int):
        return None
    trace = _text(answer, TRACE) or _text(answer, "govway_id")
    kind, title, detail, instance = (_text(answer, name) for name in ("type", "title", "detail", "instance"))
    return Problem(kind, title, detail, instance, trace)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value.strip()[:1000] if isinstance(value, str) else ""


def _claimed(request: bytes) -> Mapping[str, str]:
    """What the signature token of an attempt claimed; nothing where there is none. It is our own: only taken apart."""
    headers = {name.lower(): value for name, value in http_message.take_apart(request).headers.items()}
    middle = headers.get("fse-jwt-signature", "..").split(".")[1]
    try:
        found = json.read(base64.b64decode(middle + "=" * (-len(middle) % 4), altchars=b"-_"))
    except (GatewayError, ValueError):
        return {}
    words = {True: "true", False: "false"}
    return {
        name: words[value] if isinstance(value, bool) else str(value)
        for name, value in found.items()
        if name not in ("iss", "aud", "iat", "nbf", "exp", "jti", "attachment_hash")
    }


def _workflow(reply: bytes | None) -> str:
    try:
        answer = json.read(reply or b"")
    except GatewayError:
        return ""
    return _text(answer, WORKFLOW) if isinstance(answer, dict) else ""
