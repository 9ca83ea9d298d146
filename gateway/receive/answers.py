"""Findings in the words of each kind of caller: FHIR OperationOutcome, problem+json, and the status of a submission.

The text is in the reader's language; code, severity and place never depend on it. `gateway.receive.hl7` does the same
for HL7 acknowledgements.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from fhir.resources.R4B.operationoutcome import OperationOutcome

from gateway import errors
from gateway.formats import json
from gateway.kept import ItemStatus, JournalEntry, SubmissionStatus
from gateway.message import Exchange, Finding, ItemRecord, Json, Language, Lineage, Loss

FHIR: Final = "application/fhir+json"
PROBLEM: Final = "application/problem+json"
PLAIN: Final = "application/json"

CODE_SYSTEM: Final = "urn:gateway:codes"
"""The `system` of our codes in OperationOutcome.issue.details and in ERR-5."""

_LANGUAGE: Final = {"en": "en", "fa": "fa", "it": "it", "zh": "zh-CN"}
"""BCP 47 tags of the four languages."""

MAX_FINDINGS: Final = 1000
"""More than this is not shown in one answer; a last one then says how many there are. The status has them all."""


def tag(language: Language) -> str:
    """The BCP 47 tag."""
    return _LANGUAGE[language]


def language_of(accept_language: str | None, otherwise: Language) -> Language:
    """The first acceptable of the four languages (RFC 9110 section 12.5.4), else the sender's."""
    best: tuple[float, Language] | None = None
    for part in (accept_language or "").split(",")[:20]:
        name, _, parameters = part.strip().partition(";")
        primary = name.split("-")[0].strip().lower()
        quality = _quality(parameters)
        for language in ("en", "fa", "it", "zh"):
            if primary == language and quality > 0 and (best is None or quality > best[0]):
                best = (quality, language)
    return best[1] if best else otherwise


def _quality(parameters: str) -> float:
    for each in parameters.split(";"):
        name, _, value = each.strip().partition("=")
        if name.strip().lower() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def preferred(accept: str | None, offered: Sequence[str]) -> str:
    """The offered media type that `Accept` ranks highest; the first offered where it names none (RFC 9110 12.5.1)."""
    best = (0.0, 0, offered[0])
    for part in (accept or "").split(",")[:40]:
        name, _, parameters = part.strip().partition(";")
        for index, each in enumerate(offered):
            if name.strip().lower() == each:
                best = max(best, (_quality(parameters), -index, each))
    return best[2]


def outcome(findings: Sequence[Finding], language: Language) -> bytes:
    """An OperationOutcome (FHIR R4): one issue a finding, `details.coding` our permanent code.

    `expression` is a FHIRPath into what we made of the input; `location` is the place in the sender's own notation;
    `diagnostics` says how to mend it.
    """
    if len(findings) == 1 and findings[0].code in errors.codes() and findings[0] == errors.finding(findings[0].code):
        return _constant(findings[0].code, language)
    return _outcome(findings, language)


@lru_cache(maxsize=512)
def _constant(code: str, language: Language) -> bytes:
    """The most frequent answers say one thing that never changes."""
    return _outcome([errors.finding(code)], language)


def _outcome(findings: Sequence[Finding], language: Language) -> bytes:
    issues = [_issue(each, language) for each in _shown(findings)]
    made = OperationOutcome.model_validate({"language": tag(language), "issue": issues})
    return made.model_dump_json().encode()


def _shown(findings: Sequence[Finding]) -> Sequence[Finding]:
    if len(findings) <= MAX_FINDINGS:
        return findings
    return [*findings[:MAX_FINDINGS], errors.finding("GW-RECEIVE-031", count=str(len(findings) - MAX_FINDINGS))]


def _issue(found: Finding, language: Language) -> Json:
    issue: Json = {
        "severity": found.severity,
        "code": found.issue,
        "details": {"coding": [{"system": CODE_SYSTEM, "code": found.code}], "text": _said(found, language)},
    }
    if mend := errors.mend(found, language):
        issue["diagnostics"] = _clean(mend)
    expressions = [found.location] if found.location else []
    if found.place is not None and found.place.notation == "fhirpath":
        expressions.append(found.place.path)
    elif found.place is not None:
        issue["location"] = [_clean(found.place.path)]
    if expressions:
        issue["expression"] = [_clean(each) for each in expressions]
    return issue


def _said(found: Finding, language: Language) -> str:
    return _clean(errors.text(found, language))


def _clean(text: str) -> str:
    """FHIR strings hold no control characters and are not empty (section 2.24.0.1)."""
    kept = "".join(each if each >= " " and not "\ud800" <= each <= "\udfff" else "\ufffd" for each in text.strip())
    return kept[:2000] or "–"


def problem(findings: Sequence[Finding], language: Language, status: int, instance: str | None = None) -> bytes:
    """A problem document (RFC 9457): the first error leads, all findings follow as an extension member."""
    first = next((each for each in findings if each.severity == "error"), findings[0])
    body: Json = {
        "type": f"urn:gateway:code:{first.code}",
        "title": _said(first, language),
        "status": status,
        "code": first.code,
        "findings": [finding_json(each, language) for each in _shown(findings)],
    }
    if mend := errors.mend(first, language):
        body["detail"] = _clean(mend)
    if instance is not None:
        body["instance"] = instance
    return json.write(body)


def finding_json(found: Finding, language: Language) -> Json:
    """One finding as plain JSON: code, severity, whose fault, whether to retry, place, text, mend."""
    row = errors.codes().get(found.code)
    body: Json = {"code": found.code, "severity": found.severity, "text": _said(found, language)}
    if mend := errors.mend(found, language):
        body["mend"] = _clean(mend)
    if row is not None:
        body |= {"fault": row.fault, "retry": row.retry, "lost": row.lost}
    if found.place is not None:
        body["place"] = {"notation": found.place.notation, "path": found.place.path}
    if found.location:
        body["location"] = found.location
    if found.source:
        body["source"] = found.source
    return body


def status_json(status: SubmissionStatus, language: Language) -> Json:
    """A submission as its sender sees it; `links.next` leads to the items that are not shown here."""
    here = f"/submissions/{status.id}"
    shown = status.first + len(status.items)
    more = {"next": f"{here}?first={shown}"} if status.items and shown < sum(status.counts.values()) else {}
    return {
        "id": status.id,
        "programme": status.programme,
        "state": status.state,
        "settled": status.settled,
        "received_at": instant(status.received_at),
        "language": tag(language),
        "findings": [finding_json(each, language) for each in status.findings],
        "counts": dict(status.counts),
        "items": [_item(each, language) for each in status.items],
        "links": {"self": here, "trace": f"{here}/trace", "lineage": f"{here}/lineage"} | more,
    }


def _item(item: ItemStatus, language: Language) -> Json:
    return {
        "id": item.id,
        "label": item.label,
        "state": item.state,
        "findings": [finding_json(each, language) for each in item.findings],
        "exchanges": [_exchange(each) for each in item.exchanges],
    }


def _exchange(exchange: Exchange) -> Json:
    body: Json = {"id": exchange.id, "destination": exchange.destination, "state": exchange.state}
    if exchange.reason:
        body["reason"] = exchange.reason
    if exchange.created_at is not None:
        body["created_at"] = instant(exchange.created_at)
    return body


def trace_json(id: str, entries: Sequence[JournalEntry], limit: int) -> Json:
    """State changes of the submission and of what came of it, in feed order; a full page has a next one."""
    steps = [
        {
            "feed": each.feed,
            "at": instant(each.at),
            "thing": each.thing,
            "id": each.id,
            "from": each.frm,
            "to": each.to,
            "room": each.room,
        }
        | ({"reason": each.reason} if each.reason else {})
        for each in entries
    ]
    here = f"/submissions/{id}"
    last = f"{entries[-1].feed}.{entries[-1].place}" if len(entries) == limit else ""
    return {"id": id, "steps": steps, "links": {"submission": here} | _next(f"{here}/trace?after=", last)}


def _next(where: str, cursor: str) -> dict[str, str]:
    return {"next": where + cursor} if cursor else {}


def lineage_json(id: str, items: Sequence[ItemRecord], first: int, limit: int) -> Json:
    """Which of the sender's places made each FHIR element, and what nobody read; a full page has a next one."""
    rows = [
        {
            "id": each.id,
            "label": each.result.label,
            "mapping": each.result.mapping,
            "elements": elements_json(each.result.lineage),
            "loss": loss_json(each.result.loss),
        }
        for each in items
    ]
    here = f"/submissions/{id}"
    after = str(first + len(items)) if len(items) == limit else ""
    return {"id": id, "items": rows, "links": {"submission": here} | _next(f"{here}/lineage?first=", after)}


def elements_json(lineage: Sequence[Lineage]) -> list[Json]:
    """What made each element."""
    return [
        {"element": line.element, "how": line.how, "places": [place.path for place in line.places]} for line in lineage
    ]


def loss_json(loss: Sequence[Loss]) -> list[Json]:
    """What became of the places that made nothing."""
    return [
        {"place": line.place.path, "fate": line.fate} | ({"reason": line.reason} if line.reason else {})
        for line in loss
    ]


def instant(at: datetime) -> str:
    """An FHIR instant with milliseconds, in UTC."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
