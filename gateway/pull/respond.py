"""Answers: JSON or FHIR XML as asked for, errors as OperationOutcome, validators, and nothing that may be cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.errors import Refused
from gateway.fhirpath import StructureModel
from gateway.formats import fhirxml, json
from gateway.message import LANGUAGES, Finding, Json, Language

JSON: Final = "application/fhir+json"
XML: Final = "application/fhir+xml"
NDJSON: Final = "application/fhir+ndjson"
HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff", "vary": "accept, authorization"}

_NAMES: Final = {
    **dict.fromkeys(("json", JSON, "application/json", "text/json", "*/*", "application/*", ""), JSON),
    **dict.fromkeys(("xml", XML, "application/xml", "text/xml"), XML),
}


def format_of(request: Request, asked: str | None) -> str:
    """The media type of the answer: `_format` before Accept (FHIR R4 3.1.0.1.9). `Refused` for what we do not make."""
    if asked:
        found = _NAMES.get(asked.partition(";")[0].replace(" ", "+").strip().lower())
        if found is None:
            raise Refused("GW-PULL-011")
        return found
    ranked = []
    for place, each in enumerate(request.headers.get("accept", "*/*").split(",")[:30]):
        name, _, rest = each.partition(";")
        weight = next((p.partition("=")[2] for p in rest.replace(" ", "").split(";") if p.startswith("q=")), "1")
        ranked.append((-_weight(weight), place, name.strip().lower()))
    for weight_, _, name in sorted(ranked):
        if name in _NAMES and weight_ < 0:
            return _NAMES[name]
    raise Refused("GW-PULL-011")


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def language_of(request: Request, otherwise: Language = "en") -> Language:
    """The first of our languages that Accept-Language names."""
    for each in request.headers.get("accept-language", "").split(",")[:20]:
        name = each.partition(";")[0].strip().lower().partition("-")[0]
        for language in LANGUAGES:
            if name == language:
                return language
    return otherwise


def outcome(findings: Sequence[Finding], language: Language) -> Json:
    """An OperationOutcome: the code, what is wrong, and how to mend it."""
    issues = []
    for each in findings:
        words = f"{errors.text(each, language)} {errors.mend(each, language)}".strip()
        coding = {"system": "urn:gateway:codes", "code": each.code}
        issues.append(
            {
                "severity": each.severity,
                "code": each.issue,
                "details": {"coding": [coding], "text": errors.text(each, language)},
                "diagnostics": words,
            }
        )
    return {"resourceType": "OperationOutcome", "issue": issues}


def write(value: Json, media: str, model: StructureModel) -> bytes:
    """The resource in that media type."""
    return json.write(value) if media == JSON else fhirxml.write(value, model)


def respond(
    value: Json, media: str, model: StructureModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The resource as a response."""
    return Response(write(value, media, model), status, {**HEADERS, **(headers or {})}, media_type=media)


def not_modified(request: Request, tag: str) -> bool:
    """Whether If-None-Match names this version; compared weakly (RFC 9110 13.1.2)."""
    given = request.headers.get("if-none-match")
    if given is None:
        return False
    names = {each.strip().removeprefix("W/") for each in given.split(",")[:50]}
    return "*" in names or tag.removeprefix("W/") in names
