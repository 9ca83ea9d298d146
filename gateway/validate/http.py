"""`$validate` over HTTP (FHIR R4 operation Resource-validate).

    POST /fhir/$validate                 a resource, or Parameters with `resource` and `profile`
    POST /fhir/{type}/$validate          the same, of that type
    ?profile=URL                         profiles to check against, beside those that the resource claims

The answer is 200 with an OperationOutcome, in the form of the Accept header and in the reader's language; 400 and
413 when the body cannot be read. Nothing is stored. The caller is known before the body is read.

Who may ask, how much they may send, and where the work is done is given from outside: `Take` hands over a request's
body, `Judge` answers a question (`judge`), for instance in a worker process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.errors import codes, finding
from gateway.formats import fhirxml, json, media
from gateway.message import LANGUAGES, Finding, Json, Language
from gateway.validate.outcome import outcome
from gateway.validate.reading import FORM, Form, read
from gateway.validate.rulebook import Rulebook


class Question(msgspec.Struct, frozen=True):
    """What is asked: a body, what it has to be, and how the answer should look."""

    body: bytes
    form: Form
    type: str | None = None
    profiles: tuple[str, ...] = ()
    trouble: tuple[Finding, ...] = ()  # what was wrong with reading the body: then that is the answer
    language: Language = "en"
    xml: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """An HTTP status, and an OperationOutcome as bytes."""

    status: int
    media_type: str
    body: bytes


Take = Callable[[Request], AbstractAsyncContextManager[tuple[bytes, tuple[Finding, ...]]]]
"""The body of a request, within bounds, and what was wrong with it; raises `NotAllowed` for who may not ask."""

Judge = Callable[[Question], Awaitable[Verdict]]


def language_of(request: Request) -> Language:
    """The first language of Accept-Language that we speak."""
    for part in request.headers.get("accept-language", "").split(","):
        wanted = part.partition(";")[0].strip().lower()[:2]
        for known in LANGUAGES:
            if known == wanted:
                return known
    return "en"


def router(take: Take, judge: Judge) -> APIRouter:
    """The routes."""
    made = APIRouter()

    async def validate(request: Request, type: str | None = None) -> Response:
        async with take(request) as (body, trouble):
            verdict = await judge(_question(request, body, trouble, type))
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        headers["content-language"] = language_of(request)
        if trouble:
            headers["connection"] = "close"  # the rest of the body was not read
        return Response(verdict.body, verdict.status, headers, verdict.media_type)

    made.add_api_route("/fhir/$validate", validate, methods=["POST"], response_model=None)
    made.add_api_route("/fhir/{type}/$validate", validate, methods=["POST"], response_model=None)
    return made


def _question(request: Request, body: bytes, trouble: tuple[Finding, ...], type: str | None) -> Question:
    form = FORM.get(request.headers.get("content-type", "").partition(";")[0].strip().lower(), "json")
    profiles = tuple(each for each in request.query_params.getlist("profile") if each)
    xml = "xml" in request.headers.get("accept", "")
    return Question(body, form, type, profiles, trouble, language_of(request), xml)


def judge(book: Rulebook, asked: Question) -> Verdict:
    """The answer to a question. Pure."""
    if asked.trouble:
        status, found = codes()[asked.trouble[0].code].http, asked.trouble
    else:
        status, found = _findings(book, asked)
    said: Json = outcome(found, asked.language)
    if asked.xml:
        return Verdict(status, media.FHIR_XML, fhirxml.write(said, book.rules.types))
    return Verdict(status, media.FHIR_JSON, json.write(said))


def _findings(book: Rulebook, asked: Question) -> tuple[int, tuple[Finding, ...]]:
    value, unreadable = read(book, asked.body, asked.form)
    if unreadable is not None:
        return codes()[unreadable.code].http, (unreadable,)
    resource, more = _unwrap(value, asked.type)
    found = book.validate(resource, [*asked.profiles, *more])
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if asked.type is not None and kind != asked.type:
        found = (finding("GW-VAL-058", location=str(kind), expected=asked.type, found=str(kind)), *found)
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
