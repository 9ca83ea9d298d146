"""`$validate` over HTTP (FHIR R4 operation Resource-validate).

    POST /fhir/$validate                 a resource, or Parameters with `resource` and `profile`
    POST /fhir/{type}/$validate          the same, of that type
    ?profile=URL                         profiles to check against, beside those that the resource claims

The answer is 200 with an OperationOutcome, in the form of the Accept header and in the reader's language; 400 and
413 when the body cannot be read. Nothing is stored. The caller is known before the body is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from gateway.errors import NotAllowed, codes, finding
from gateway.formats import fhirxml, json, media
from gateway.message import LANGUAGES, Finding, Json, Language
from gateway.validate.outcome import outcome
from gateway.validate.reading import FORM, Form, read
from gateway.validate.rulebook import Rulebook

MAX_BODY: Final = 16 * 1024 * 1024
IN_THREAD: Final = 64 * 1024
"""Larger bodies are validated in a thread, so that one caller does not hold up the others."""

Admit = Callable[[Request], None]
"""Raises `NotAllowed` for a caller who may not ask."""


def language_of(request: Request) -> Language:
    """The first language of Accept-Language that we speak."""
    for part in request.headers.get("accept-language", "").split(","):
        wanted = part.partition(";")[0].strip().lower()[:2]
        for known in LANGUAGES:
            if known == wanted:
                return known
    return "en"


def router(book: Callable[[], Rulebook], admit: Admit, max_body: int = MAX_BODY) -> APIRouter:
    """The routes. `book` is asked at each request, so that a reloaded rule set takes effect at once."""
    made = APIRouter()

    async def validate(request: Request, type: str | None = None) -> Response:
        try:
            admit(request)
        except NotAllowed as refused:
            return _answer(request, book(), (refused.finding(),), codes()[refused.code].http)
        body = await _bounded(request, max_body)
        if body is None:
            found = finding("GW-CORE-004", what="bytes", actual="more", limit=str(max_body))
            return _answer(request, book(), (found,), 413)
        rules = book()
        if len(body) > IN_THREAD:
            status, said = await asyncio.to_thread(judge, rules, body, _form(request), type, _profiles(request))
        else:
            status, said = judge(rules, body, _form(request), type, _profiles(request))
        return _answer(request, rules, said, status)

    made.add_api_route("/fhir/$validate", validate, methods=["POST"])
    made.add_api_route("/fhir/{type}/$validate", validate, methods=["POST"])
    return made


async def _bounded(request: Request, limit: int) -> bytes | None:
    held = bytearray()
    async for chunk in request.stream():
        held += chunk
        if len(held) > limit:
            return None
    return bytes(held)


def _form(request: Request) -> Form:
    return FORM.get(request.headers.get("content-type", "").partition(";")[0].strip().lower(), "json")


def _profiles(request: Request) -> Sequence[str]:
    return [each for each in request.query_params.getlist("profile") if each]


def judge(
    book: Rulebook, body: bytes, form: Form, type: str | None, profiles: Sequence[str]
) -> tuple[int, tuple[Finding, ...]]:
    """HTTP status and findings of a request."""
    value, unreadable = read(book, body, form)
    if unreadable is not None:
        return codes()[unreadable.code].http, (unreadable,)
    resource, more = _unwrap(value, type)
    found = book.validate(resource, [*profiles, *more])
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if type is not None and kind != type:
        found = (finding("GW-VAL-058", location=str(kind), expected=type, found=str(kind)), *found)
    return 200, found


def _unwrap(value: Any, type: str | None) -> tuple[Any, list[str]]:
    """The resource inside Parameters, with its profiles; a Parameters without one is what is validated."""
    if not isinstance(value, dict) or value.get("resourceType") != "Parameters" or type == "Parameters":
        return value, []
    held = [each for each in value.get("parameter") or () if isinstance(each, dict)]
    resources = [each["resource"] for each in held if each.get("name") == "resource" and "resource" in each]
    named = [each for each in held if each.get("name") == "profile"]
    urls = [
        url
        for each in named
        for key in ("valueUri", "valueCanonical", "valueUrl")
        if isinstance(url := each.get(key), str)
    ]
    return (resources[0], urls) if len(resources) == 1 else (value, [])


def _answer(request: Request, book: Rulebook, found: Sequence[Finding], status: int) -> Response:
    language = language_of(request)
    said: Json = outcome(found, language)
    headers = {"cache-control": "no-store", "content-language": language, "x-content-type-options": "nosniff"}
    if "xml" in request.headers.get("accept", ""):
        return Response(fhirxml.write(said, book.rules.types), status, headers, media.FHIR_XML)
    return Response(json.write(said), status, headers, media.FHIR_JSON)
