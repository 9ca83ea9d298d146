"""The stand-in for the health record gateway (FSE 2.0): light, without containers, with the true forms of its errors.

`POST …/documents/fhir-validation` and `…/documents/validation` (multipart, two tokens), `GET …/status/{id}` and
`…/status/search/{trace}`, and of publication only so much that "the CDA was not validated" can be met:
`POST …/documents`. With `--slow` a validation is taken (202), and its event is there when asked for a second
time.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import unquote

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.formats import json
from gateway.message import Json
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order
from gateway.simulate.fse_tokens import BadClaim, InvalidToken, Tokens
from gateway.simulate.server import Judged, StandIn

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
BOM: Final = b"\xef\xbb\xbf"
SUFFIX: Final = "^^^^urn:ihe:iti:xdw:2013:workflowInstanceId"
TAX_CODE: Final = ("http://hl7.it/sid/codiceFiscale", "urn:oid:2.16.840.1.113883.2.9.4.3.2")


class Says(NamedTuple):
    """One problem of the guide: status, title and instance."""

    status: int
    title: str
    instance: str


PROBLEMS: Final[dict[str, Says]] = {
    "/msg/cda-element": Says(400, "Errore in fase di estrazione del CDA.", "/cda-extraction"),
    "/msg/fhir-element": Says(400, "Errore in fase di estrazione del Bundle FHIR.", "/msg/fhir-extraction"),
    "/msg/syntax": Says(400, "Errore di sintassi.", "/validation/error"),
    "/msg/semantic": Says(422, "Errore semantico.", "/validation/error"),
    "/msg/vocabulary": Says(400, "Errore vocabolario.", "/validation/error"),
    "/msg/cda-match": Says(400, "Errore in fase di recupero dell'esito della verifica.", "/cda-validation"),
    "/msg/empty-file": Says(400, "File vuoto.", "/empty-multipart-file"),
    "/msg/document-type": Says(415, "Il documento non è pdf.", "/multipart-file"),
    "/msg/document-hash": Says(400, "Verifica hash fallita.", "/jwt-hash-match"),
    "/msg/mandatory-element": Says(400, "Campo obbligatorio non presente.", "/request-missing-field"),
    "/msg/invalid-format": Says(400, "Formato campo non valido.", "/request-invalid-date-format"),
    "/msg/mandatory-element-token": Says(403, "Token JWT non valido.", "/jwt-mandatory-field-missing"),
    "/msg/jwt-validation": Says(403, "Campo token JWT non valido.", "/jwt-mandatory-field-malformed"),
    "/msg/missing-token": Says(403, "Token non fornito.", "/missing-jwt"),
    "/msg/fhir-mapping-type": Says(400, "Mapping fhir fallito.", "/fhir-resource"),
    "/msg/generic-timeout": Says(504, "Generic timeout.", ""),
    "/msg/workflow-id-error-extraction": Says(
        400, "Errore in fase di estrazione del workflow id.", "/msg/workflow-id-error-extraction"
    ),
    "/msg/record-not-found": Says(404, "Record non trovato.", ""),
    "/msg/ini-error": Says(500, "Ini error.", "/msg/service-error/ini"),
    "/msg/generic-error": Says(500, "Errore generico.", ""),
    "/msg/eds-error": Says(404, "Eds error.", "/msg/eds-document-missing"),
    "/msg/max-day-limit-exceed": Says(
        400, "Error: document exceeded the maximum period to be published.", "/msg/max-day-limit-exceed"
    ),
}


class Refusal(Exception):
    """A problem of the table: (type, detail, instance or empty)."""


class Workflow:
    """What is remembered of one validation."""

    def __init__(self, digest: str, activity: str, at: datetime) -> None:
        self.digest, self.activity, self.at = digest, activity, at
        self.published, self.asked = False, 0
        self.events: list[Json] = []


class Fse(StandIn):
    """`workflows` maps a workflowInstanceId to what is known of it."""

    name = "fse"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
        audience: str = "",
        slow: bool = False,
    ) -> None:
        super().__init__(log, faults, clock, ca=ca)
        self._tokens = Tokens(self.anchors, audience) if self.anchors else None
        self._slow = slow
        self.workflows: dict[str, Workflow] = {}
        self.traces: dict[str, str] = {}
        self.reasons: list[str] = []

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Its address as tokens have it, and how it answers."""
        super().options(parser)
        parser.add_argument("--audience", default="", help="base address with version, as `aud` has to say")
        parser.add_argument("--slow", action="store_true", help="take validations (202), decide them later")

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(log, faults, ca=options.ca, audience=options.audience, slow=options.slow)

    # --- requests -----------------------------------------------------------------------

    def judge(self, arrival: Arrival) -> Judged:
        """A ValidationResDTO, or a problem of the guide."""
        trace = uuid.uuid4().hex[:16]
        try:
            claims = self._authenticated(dict(arrival.headers), arrival.time)
            return self._taken(arrival, claims, trace)
        except InvalidToken as invalid:
            self.reasons.append(str(invalid))
            return Judged(_invalid(), {"result": "refused", "problems": ["Invalid token"]})
        except BadClaim as bad:
            kind, title, detail, instance = bad.args
            return Judged(_problem(trace, kind, detail, instance, title), {"result": "refused", "problems": [kind]})
        except Refusal as refusal:
            kind, detail, instance = refusal.args
            return Judged(_problem(trace, kind, detail, instance), {"result": "refused", "problems": [kind]})

    def _authenticated(self, headers: Mapping[str, str], now: datetime) -> Mapping[str, Any]:
        return self._tokens.check(headers, now) if self._tokens is not None else {}

    def _taken(self, arrival: Arrival, claims: Mapping[str, Any], trace: str) -> Judged:
        asked, file = _form(arrival)
        digest = hashlib.sha256(file).hexdigest()
        if not file:
            raise Refusal("/msg/empty-file", "File vuoto", "")
        if claims.get("attachment_hash", digest) != digest:
            raise Refusal("/msg/document-hash", "Verifica hash fallita.", "")
        if arrival.path.endswith("/documents"):
            return self._publish(asked, digest, trace)
        activity, fhir = str(asked.get("activity", "")), arrival.path.endswith("/fhir-validation")
        if activity not in ("VERIFICA", "VALIDATION"):
            raise Refusal("/msg/mandatory-element", "Il campo activity deve essere valorizzato", "")
        if fhir and activity == "VALIDATION":
            raise Refusal("/msg/invalid-format", "Il campo activity deve essere valorizzato correttamente", "")
        if fhir:
            _bundle(file, claims)
        return self._validated(asked, digest, activity, trace, arrival.time)

    def _validated(self, asked: Json, digest: str, activity: str, trace: str, at: datetime) -> Judged:
        workflow = f"2.16.840.1.113883.2.9.2.90.4.4.{digest}.{uuid.uuid4().hex[:10]}{SUFFIX}"
        answer = {"traceID": trace, "spanID": trace, "workflowInstanceId": workflow}
        if "mode" not in asked:
            answer["warning"] = "Attenzione, non è stata selezionata la modalità di estrazione del CDA"
        made = Workflow(digest, activity, at)
        if not self._slow:
            made.events.append(event("VALIDATION", "SUCCESS", at))
        keep: list[tuple[dict[Any, Any], Any, Any]] = [
            (self.workflows, workflow, made),
            (self.traces, trace, workflow),
        ]
        status = 202 if self._slow else 200 if activity == "VERIFICA" else 201
        return Judged(_json(status, answer), {"result": "created", "workflow": workflow}, keep)

    def _publish(self, asked: Json, digest: str, trace: str) -> Judged:
        """Only that what was not validated so is refused; what would follow is not played."""
        known = self.workflows.get(str(asked.get("workflowInstanceId", "")))
        good = known is not None and known.activity == "VALIDATION" and not known.published and known.digest == digest
        if known is None or not good:
            raise Refusal("/msg/cda-match", "Il CDA non risulta validato", "")
        known.published = True
        answer = {"traceID": trace, "spanID": trace, "workflowInstanceId": asked["workflowInstanceId"]}
        return Judged(_json(202, answer), {"result": "published"})

    # --- questions -----------------------------------------------------------------------

    def inquire(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """`GET …/status/{workflowInstanceId}` and `…/status/search/{traceId}`."""
        trace = uuid.uuid4().hex[:16]
        try:
            self._authenticated(headers, self.clock.now())
        except InvalidToken as invalid:
            self.reasons.append(str(invalid))
            return _invalid()
        except BadClaim as bad:
            kind, title, detail, instance = bad.args
            return _problem(trace, kind, detail, instance, title)
        found = re.search(r"/status/(search/)?(.+)$", path)
        asked = unquote(found[2]) if found else ""
        known = self.workflows.get(self.traces.get(asked, "") if found and found[1] else asked)
        if known is None:
            return _problem(trace, "/msg/record-not-found", "Record non trovato", "")
        known.asked += 1
        if self._slow and known.asked > 1 and not known.events:
            known.events.append(event("VALIDATION", "SUCCESS", self.clock.now()))
        return _json(200, {"traceID": trace, "spanID": trace, "transactionData": known.events})

    def decide(self, workflow: str, status: str = "SUCCESS", message: str = "") -> Json:
        """Let a slow validation end, and give the event as it is told to a callback."""
        known = self.workflows[workflow]
        known.events.append(event("VALIDATION", status, self.clock.now(), message))
        return {"workflowInstanceId": workflow, "events": known.events}

    # --- lies -----------------------------------------------------------------------

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Any problem of the table by its type, an error in a 200, an answer that says nothing, one about another."""
        trace = uuid.uuid4().hex[:16]
        if order.name == "category":
            return _problem(trace, order.value if order.value in PROBLEMS else "/msg/generic-error", "su richiesta", "")
        if order.name == "error-in-200":
            return _problem(trace, "/msg/semantic", "su richiesta", "")._replace(status=200, media_type=JSON)
        if order.name == "unknown-code":
            return _json(422, {"type": "/msg/unheard-of", "title": "?", "status": 422})._replace(media_type=PROBLEM)
        return _json(200, {"workflowInstanceId": f"2.16.840.1.1.{'0' * 64}.0{SUFFIX}"})


def event(kind: str, status: str, at: datetime, message: str = "") -> Json:
    """One event of a workflow."""
    made = {"eventType": kind, "eventDate": at.isoformat(), "eventStatus": status, "issuer": "stand-in"}
    return {**made, "message": message} if message else made


def _json(status: int, answer: Mapping[str, Any]) -> Answer:
    return Answer(status, JSON, json.write(answer))


def _problem(trace: str, kind: str, detail: str, instance: str, title: str = "") -> Answer:
    says = PROBLEMS[kind]
    body = {
        "traceID": trace,
        "spanID": trace,
        "type": kind,
        "title": title or says.title,
        "detail": detail,
        "status": says.status,
        "instance": instance or says.instance,
    }
    if kind == "/msg/semantic" and not detail:
        del body["detail"]
    return Answer(says.status, PROBLEM, json.write(body))


def _invalid() -> Answer:
    """What the frontier says of any token that it does not take."""
    body = {
        "type": "https://govway.org/handling-errors/401/TokenAuthenticationFailed.html",
        "title": "TokenAuthenticationFailed",
        "status": 401,
        "detail": "Invalid token",
        "govway_id": str(uuid.uuid4()),
    }
    return Answer(401, PROBLEM, json.write(body), (("WWW-Authenticate", 'Bearer realm="fse", error="invalid_token"'),))


def _form(arrival: Arrival) -> tuple[Json, bytes]:
    """The parts of the form, read by the standard library's mail parser."""
    kind = arrival.header("content-type")
    if not kind.lower().startswith("multipart/form-data"):
        raise Refusal("/msg/mandatory-element", "Il campo file deve essere valorizzato", "")
    head = b"MIME-Version: 1.0\r\nContent-Type: " + kind.encode("latin-1") + b"\r\n\r\n"
    parts: dict[str, bytes] = {}
    for part in BytesParser(policy=policy.HTTP).parsebytes(head + arrival.body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        parts[str(name)] = content if isinstance(content, bytes) else b""
    try:
        asked = json.read(parts.get("requestBody", b"{}"))
    except GatewayError:
        raise Refusal("/msg/mandatory-element", "Il campo requestBody deve essere valorizzato", "") from None
    return (asked if isinstance(asked, dict) else {}), parts.get("file", b"")


def _bundle(file: bytes, claims: Mapping[str, Any]) -> None:
    if file.startswith(BOM):
        raise Refusal("/msg/semantic", "", "")  # and no word more: that is how it is met
    try:
        bundle = json.read(file)
    except GatewayError:
        raise Refusal("/msg/fhir-element", "Errore in fase di estrazione del Bundle FHIR.", "") from None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle" or not bundle.get("entry"):
        raise Refusal("/msg/syntax", "Bundle: elemento non riconosciuto", "")
    said = str(claims.get("person_id", "")).partition("^")[0]
    people = [each.get("resource") for each in bundle["entry"] if isinstance(each, dict)]
    patients = [each for each in people if isinstance(each, dict) and each.get("resourceType") == "Patient"]
    if not patients:
        raise Refusal("/msg/fhir-mapping-type", "Bundle senza Patient", "")
    known = [i.get("value") for p in patients for i in p.get("identifier", []) if i.get("system") in TAX_CODE]
    if said and known and said not in known:
        detail = "Il codice fiscale del claim person_id non corrisponde"
        raise BadClaim("/msg/jwt-validation", "Campo token JWT non valido.", detail, "/jwt-person-id")
