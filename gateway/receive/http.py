"""The HTTP front: POST a submission, GET what became of it.

    POST /submissions/{programme}     201 findings known · 202 findings follow · 4xx with an OperationOutcome
    GET  /submissions/{id}            for its own sender only; for everybody else it does not exist
    GET  /submissions/{id}/trace      every state change with the room that made it
    GET  /submissions/{id}/lineage    which place of the input made each element, and what nobody read
    GET  /submissions/{id}/workbook   the table that was sent, with faulty cells marked (see preview.py)
    POST /convert/{programme}         what would become of an input; nothing of it is kept
    GET  /health/live, /health/ready

The caller is known before the body is read, the body is bounded while it is read, and nothing that a caller sent
appears in a log or an address.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gateway import errors
from gateway.clock import Clock
from gateway.errors import Broken, GatewayError, NotAllowed, finding
from gateway.formats import json, media
from gateway.kept import JOURNAL_LINES, STATUS_ITEMS, SubmissionStatus
from gateway.message import Finding, Json, Language
from gateway.ports import Store
from gateway.receive import acceptance, answers, hl7, preview
from gateway.receive.acceptance import KEPT_OF_TOO_LARGE, Arrival
from gateway.receive.answers import FHIR, PLAIN, PROBLEM
from gateway.receive.budget import Budget
from gateway.receive.door import Door, Rendered, Verdict
from gateway.receive.identity import PUSHERS, Identities, certificate_in
from gateway.receive.tls import Revocation, Still
from gateway.settings import Http, Sender, Settings

log: Final = structlog.get_logger("gateway.receive")

Health = Callable[[], Awaitable[Mapping[str, str]]]
"""What is not well: name -> reason (a code or one word). Empty means well."""

MESSAGE: Final = "application/http"
"""Recorded answers are whole HTTP responses (RFC 9112 section 10.2)."""

DRAIN_BYTES: Final = 64 * 1024 * 1024
DRAIN_SECONDS: Final = 5.0
ALL: Final = 2**31 - 1
LINEAGE_PAGE: Final = 200
_CURSOR: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?")
BODIES_IN_MEMORY: Final = 16
"""The bodies of all requests together may hold this many times `max_body`."""

_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


async def _well() -> Mapping[str, str]:
    return {}


# --- rendering ------------------------------------------------------------------------------------


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP response, as it is recorded and sent."""

    status: int
    media_type: str
    body: bytes
    language: str = ""
    location: str = ""

    def to_bytes(self) -> bytes:
        """As an HTTP/1.1 message."""
        lines = [f"HTTP/1.1 {self.status} ", f"content-type: {self.media_type}"]
        lines += [f"content-language: {self.language}"] * bool(self.language)
        lines += [f"location: {self.location}"] * bool(self.location)
        return "\r\n".join([*lines, "", ""]).encode("ascii") + self.body

    @classmethod
    def from_bytes(cls, message: bytes) -> Reply:
        """Back from what `to_bytes` wrote."""
        head, _, body = message.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        named = dict(line.split(": ", 1) for line in lines)
        return cls(
            status=int(first.split(" ")[1]),
            media_type=named["content-type"],
            body=body,
            language=named.get("content-language", ""),
            location=named.get("location", ""),
        )

    def response(self, extra: Mapping[str, str] | None = None) -> Response:
        """The same for the framework."""
        named = {"content-language": self.language, "location": self.location}
        headers = _HEADERS | {key: value for key, value in named.items() if value} | dict(extra or {})
        return Response(self.body, self.status, headers, self.media_type)


class Renderer:
    """Puts a verdict into the form that the caller asked for."""

    media_type = MESSAGE

    def __init__(self, language: Language, accept: str | None, clock: Clock) -> None:
        self._language, self._accept, self._clock = language, accept, clock

    def __call__(self, verdict: Verdict) -> Rendered:
        """201 where findings are known, 202 where they follow, the code's own status or 422 where it is refused."""
        status = _status(verdict)
        location = f"/submissions/{verdict.submission.id}"
        offered = (FHIR, PROBLEM, PLAIN) if verdict.fate == "refused" else (FHIR, PLAIN)
        if verdict.header is not None:
            offered = (*offered, hl7.MEDIA_TYPE)
        chosen = answers.preferred(self._accept, offered)
        if chosen == hl7.MEDIA_TYPE:
            body = self._acknowledgement(verdict)
        elif chosen == FHIR:
            body = answers.outcome(verdict.findings, self._language)
        elif verdict.fate == "refused":
            chosen, body = PROBLEM, answers.problem(verdict.findings, self._language, status, location)
        else:
            body = json.write(self._summary(verdict))
        tag = answers.tag(self._language)
        reply = Reply(status=status, media_type=chosen, body=body, language=tag, location=location)
        return Rendered(MESSAGE, reply.to_bytes())

    def _acknowledgement(self, verdict: Verdict) -> bytes:
        code = hl7.original(verdict.findings, verdict.fate == "refused")
        return hl7.acknowledge(verdict.header, code, verdict.findings, self._clock.now(), self._language)

    def _summary(self, verdict: Verdict) -> Json:
        if verdict.status is not None:
            return answers.status_json(verdict.status, self._language) | {
                "findings": [answers.finding_json(each, self._language) for each in verdict.findings]
            }
        status = SubmissionStatus(
            id=verdict.submission.id,
            sender=verdict.submission.sender,
            programme=verdict.submission.programme,
            state="received",
            received_at=verdict.submission.received_at,
            settled=False,
            findings=verdict.findings,
        )
        return answers.status_json(status, self._language)


def _status(verdict: Verdict) -> int:
    if verdict.fate != "refused":
        return 201 if verdict.fate == "found" else 202
    if verdict.status is not None and verdict.status.items:
        return 422
    first = next((each.code for each in verdict.findings if each.severity == "error"), "")
    row = errors.codes().get(first)
    return row.http if row is not None and row.http >= 400 else 422


# --- the body, bounded ----------------------------------------------------------------------------


class Body(msgspec.Struct, frozen=True):
    """What was read, and what was wrong with reading it."""

    data: bytes
    trouble: tuple[Finding, ...] = ()


async def read_body(request: Request, limits: Http, budget: Budget) -> Body:
    """The body within `max_body` bytes and `body_seconds`. Past a limit a prefix and a finding; `Busy` when full.

    What is past the limit is read and forgotten for a while, because a client that is still sending does not
    read our answer. The declared length is believed only where it already says too much.
    """
    if _declared(request) > limits.max_body:
        prefix = b"" if "expect" in request.headers else await _prefix_then_drain(request, bytearray())
        return Body(prefix, (_too_large(limits, len(prefix)),))
    held = bytearray()
    taken = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                budget.take(len(chunk))
                taken += len(chunk)
                held += chunk
                if len(held) > limits.max_body:
                    break
            else:
                return Body(bytes(held))
    except TimeoutError:
        seconds = f"{limits.body_seconds:g}"
        return Body(bytes(held[:KEPT_OF_TOO_LARGE]), (finding("GW-RECEIVE-009", seconds=seconds),))
    finally:
        budget.give(taken)
    prefix = await _prefix_then_drain(request, held)
    return Body(prefix, (_too_large(limits, len(prefix)),))


def _declared(request: Request) -> int:
    value = request.headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdigit() else 0


def _too_large(limits: Http, kept: int) -> Finding:
    return finding("GW-RECEIVE-008", limit=str(limits.max_body), kept=str(kept))


async def _prefix_then_drain(request: Request, held: bytearray) -> bytes:
    del held[KEPT_OF_TOO_LARGE:]
    seen = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in request.stream():
                held += chunk[: KEPT_OF_TOO_LARGE - len(held)]
                seen += len(chunk)
                if seen > DRAIN_BYTES:
                    break
    except TimeoutError:
        pass
    return bytes(held)


# --- the application ------------------------------------------------------------------------------


class Front:
    """What the handlers share."""

    def __init__(self, settings: Settings, store: Store, door: Door, clock: Clock, still: Still | None = None) -> None:
        self.limits = settings.http or Http()
        self.store, self.door, self.clock = store, door, clock
        self.identities = Identities(settings.sender)
        self.revocation = Revocation(self.limits.tls, still)
        self.budget = Budget(max(self.limits.max_body, KEPT_OF_TOO_LARGE) * BODIES_IN_MEMORY)
        self.programmes = settings.programmes
        self.one_workbook = asyncio.Lock()  # a workbook in the making takes many times its size

    async def caller(self, request: Request) -> Sender:
        """Who is calling, or `NotAllowed` (kept as an audit event)."""
        certificate, now = certificate_in(request.scope), self.clock.now()
        try:
            self.revocation.check(certificate, now, self.clock.monotonic())
            return self.identities.over_http(certificate, request.headers.get("authorization"), now)
        except NotAllowed as error:
            await self.door.turn_away(request.client.host if request.client else "", error)
            raise

    @asynccontextmanager
    async def taken(self, request: Request) -> AsyncIterator[tuple[bytes, tuple[Finding, ...]]]:
        """The body of one who may push, and what was wrong with it; `NotAllowed` for others. Nothing is kept."""
        if (await self.caller(request)).role not in PUSHERS:
            raise NotAllowed
        body = await read_body(request, self.limits, self.budget)
        self.budget.take(len(body.data))
        try:
            yield body.data, body.trouble
        finally:
            self.budget.give(len(body.data))

    def language(self, request: Request, sender: Sender) -> Language:
        """The language of this request: asked for, or the sender's own."""
        return answers.language_of(request.headers.get("accept-language"), sender.language)


def make_app(
    settings: Settings,
    store: Store,
    door: Door,
    clock: Clock,
    ready: Health = _well,
    live: Health = _well,
    previewer: preview.Previewer | None = None,
    still: Still | None = None,
    more: Callable[[Front], APIRouter] | None = None,
) -> FastAPI:
    """The application. Its door decides; see `Door` for what an acknowledgement means. `more` brings routes."""
    front = Front(settings, store, door, clock, still)
    app = FastAPI(title="gateway", docs_url=None, redoc_url=None, openapi_url=None)

    async def push(request: Request, programme: str) -> Response:
        return await _push(front, request, programme)

    async def status(request: Request, id: str) -> Response:
        return await _show(front, request, id, "status")

    async def trace(request: Request, id: str) -> Response:
        return await _show(front, request, id, "trace")

    async def lineage(request: Request, id: str) -> Response:
        return await _show(front, request, id, "lineage")

    async def workbook(request: Request, id: str) -> Response:
        return await _workbook(front, request, id)

    async def convert(request: Request, programme: str) -> Response:
        assert previewer is not None
        return await _convert(front, previewer, request, programme)

    async def alive() -> Response:
        return _health(await live())

    async def prepared() -> Response:
        return _health(await ready())

    app.add_api_route("/submissions/{programme}", push, methods=["POST"], response_model=None)
    app.add_api_route("/submissions/{id}", status, methods=["GET"], response_model=None)
    app.add_api_route("/submissions/{id}/trace", trace, methods=["GET"], response_model=None)
    app.add_api_route("/submissions/{id}/lineage", lineage, methods=["GET"], response_model=None)
    app.add_api_route("/submissions/{id}/workbook", workbook, methods=["GET"], response_model=None)
    if previewer is not None:
        app.add_api_route("/convert/{programme}", convert, methods=["POST"], response_model=None)
    app.add_api_route("/health/live", alive, methods=["GET"], response_model=None)
    app.add_api_route("/health/ready", prepared, methods=["GET"], response_model=None)
    if more is not None:
        app.include_router(more(front))
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_defect)
    return app


async def _push(front: Front, request: Request, programme: str) -> Response:
    sender = await front.caller(request)
    if sender.role not in PUSHERS:
        raise NotAllowed
    received_at = front.clock.now()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    key, trouble = _idempotency_key(request)
    if coding not in ("", "identity"):
        trouble = (*trouble, finding("GW-RECEIVE-013", given=coding[:40]))
    body = await read_body(request, front.limits, front.budget)
    front.budget.take(len(body.data))
    try:
        language = front.language(request, sender)
        arrival = Arrival(
            sender=sender,
            programme=programme,
            channel="http",
            content_type=request.headers.get("content-type", ""),
            body=body.data,
            received_at=received_at,
            language=language,
            key=key,
            trouble=(*trouble, *body.trouble),
        )
        renderer = Renderer(language, request.headers.get("accept"), front.clock)
        rendered = await front.door.receive(arrival, renderer)
    finally:
        front.budget.give(len(body.data))
    return Reply.from_bytes(rendered.body).response({"connection": "close"} if body.trouble else None)


def _idempotency_key(request: Request) -> tuple[str | None, tuple[Finding, ...]]:
    """The key, with or without the quotes of the draft (a structured-field string)."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None, ()
    key = given[0].strip()
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if len(given) > 1 or not 1 <= len(key) <= 200 or not all("!" <= each <= "~" for each in key):
        return None, (finding("GW-RECEIVE-012"),)
    return key, ()


def _cursor(request: Request, name: str, second: int = 0) -> tuple[int, int]:
    """Where a page begins: the number, or two of them, that the link of the page before gave."""
    found = _CURSOR.fullmatch(request.query_params.get(name, ""))
    return (int(found[1]), int(found[2] or second)) if found else (0, second)


async def _own(front: Front, request: Request, id: str, limit: int = STATUS_ITEMS) -> tuple[Sender, SubmissionStatus]:
    """The caller and its submission; for everybody else there is none."""
    sender = await front.caller(request)
    found = await front.store.submission_status(id, _cursor(request, "first")[0], limit)
    if found is None or found.sender != sender.id:
        raise NotAllowed("GW-RECEIVE-010")
    return sender, found


async def _workbook(front: Front, request: Request, id: str) -> Response:
    sender, found = await _own(front, request, id, ALL)
    submission = await front.store.submission(id)
    if submission is None:
        raise NotAllowed("GW-RECEIVE-010")
    language = front.language(request, sender)
    async with front.one_workbook:
        body = await asyncio.to_thread(preview.marked, submission, found, language)
    reply = Reply(status=200, media_type=media.XLSX, body=body, language=answers.tag(language))
    return reply.response({"content-disposition": f'attachment; filename="{id}.xlsx"'})


async def _convert(front: Front, previewer: preview.Previewer, request: Request, programme: str) -> Response:
    sender = await front.caller(request)
    if sender.role not in PUSHERS:
        raise NotAllowed
    body = await read_body(request, front.limits, front.budget)
    language, now = front.language(request, sender), front.clock.now()
    arrival = Arrival(
        sender=sender,
        programme=programme,
        channel="http",
        content_type=request.headers.get("content-type", ""),
        body=body.data,
        received_at=now,
        language=language,
        trouble=body.trouble,
    )
    judged = acceptance.judge(arrival, front.programmes, "preview")
    if judged.refused:
        status = errors.codes()[next(f.code for f in judged.findings if f.severity == "error")].http
        return _answer(request, judged.findings, status, {"connection": "close"} if body.trouble else {})
    found = await previewer(judged.submission)
    await front.store.commit(preview.asked(judged.submission, len(found.items), now))
    shown = json.write(preview.converted(found, language))
    return Reply(status=200, media_type=PLAIN, body=shown, language=answers.tag(language)).response()


async def _show(front: Front, request: Request, id: str, what: str) -> Response:
    sender, found = await _own(front, request, id)
    language = front.language(request, sender)
    first = _cursor(request, "first")[0]
    if what == "trace":
        feed, place = _cursor(request, "after", -1)
        body = answers.trace_json(id, await front.store.journal(id, (feed, place)), JOURNAL_LINES)
    elif what == "lineage":
        items = await front.store.items(id, first, LINEAGE_PAGE)
        body = answers.lineage_json(id, items, first, LINEAGE_PAGE)
    else:
        body = answers.status_json(found, language)
    tag = answers.tag(language)
    return Reply(status=200, media_type=PLAIN, body=json.write(body), language=tag).response()


def _health(found: Mapping[str, str]) -> Response:
    body = json.write({"status": "fail" if found else "pass", "checks": dict(found)})
    return Reply(status=503 if found else 200, media_type="application/health+json", body=body).response()


# --- errors ---------------------------------------------------------------------------------------


def _answer(request: Request, findings: tuple[Finding, ...], status: int, extra: Mapping[str, str]) -> Response:
    language = answers.language_of(request.headers.get("accept-language"), "en")
    chosen = answers.preferred(request.headers.get("accept"), (FHIR, PROBLEM, PLAIN))
    if chosen == FHIR:
        body = answers.outcome(findings, language)
    else:
        chosen, body = PROBLEM, answers.problem(findings, language, status)
    reply = Reply(status=status, media_type=chosen, body=body, language=answers.tag(language))
    return reply.response(extra)


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    row = errors.codes()[error.code]
    if isinstance(error, Broken) and row.http >= 500:
        log.error("not_accepted", code=error.code)
    if error.code == "GW-CORE-001":
        return await _on_defect(request, error)
    extra = {"connection": "close"}  # the body may not have been read
    if row.http == 401:
        extra["www-authenticate"] = "Bearer"
    if row.http == 503:
        extra["retry-after"] = "5"
    return _answer(request, (error.finding(),), row.http, extra)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    extra = {"connection": "close"} | dict(error.headers or {})
    found = finding("GW-RECEIVE-011", method=request.method[:16])
    return _answer(request, (found,), error.status_code, extra)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _on_defect(request: Request, error: Exception) -> Response:
    """What we did not foresee: a reference for both sides, and nothing of what was sent."""
    reference = secrets.token_hex(6)
    log.error("defect", reference=reference, error=type(error).__name__)
    return _answer(request, (finding("GW-CORE-001", reference=reference),), 500, {"connection": "close"})
