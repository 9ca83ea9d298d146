"""The application: routes, errors, compression."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import errors
from gateway.clock import Clock
from gateway.errors import GatewayError, Refused, finding
from gateway.message import Finding, Json
from gateway.pull import export, export_files, respond, rest, subscriptions
from gateway.pull.access import Access, ByCertificate, OAuthError, Verify
from gateway.pull.api import Api, Holding, Trail, form
from gateway.pull.parameters import Definitions
from gateway.pull.sharing import Sharing
from gateway.pull.topics import Topics
from gateway.pull.wanted import allowed
from gateway.settings import Peer, Pull, Sender

log: Final = structlog.get_logger("gateway.pull")

Handler = Callable[[Api, Request], Awaitable[Response]]

_ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/", rest.system_get),
    ("POST", "/_search", rest.system_post),
    ("GET", "/metadata", rest.metadata),
    ("GET", "/.well-known/smart-configuration", rest.smart),
    ("GET", "/$export", export.kick_off),
    ("POST", "/$export", export.kick_off),
    ("GET", "/Patient/$export", export.kick_off_patients),
    ("POST", "/Patient/$export", export.kick_off_patients),
    ("GET", "/Group/{group:str}/$export", export.kick_off_group),
    ("POST", "/Group/{group:str}/$export", export.kick_off_group),
    ("GET", "/export/{job:str}", export.status),
    ("DELETE", "/export/{job:str}", export.delete),
    ("GET", "/export-file/{job:str}/{file:str}", export_files.file),
    ("GET", "/Subscription/$status", subscriptions.status),
    ("POST", "/Subscription/$status", subscriptions.status),
    ("GET", "/Subscription/{id:str}/$status", subscriptions.status),
    ("POST", "/Subscription/{id:str}/$status", subscriptions.status),
    ("GET", "/Subscription/{id:str}/$events", subscriptions.events),
    ("POST", "/Subscription/{id:str}/$events", subscriptions.events),
    ("POST", "/Subscription/_search", subscriptions.search_post),
    ("GET", "/Subscription/{id:str}", subscriptions.read),
    ("PUT", "/Subscription/{id:str}", subscriptions.update),
    ("DELETE", "/Subscription/{id:str}", subscriptions.delete),
    ("GET", "/Subscription", subscriptions.search_get),
    ("POST", "/Subscription", subscriptions.create),
    ("GET", "/_history", rest.history_system),
    ("GET", "/Binary/{id:str}", rest.binary),
    ("GET", "/Bundle/{id:str}", rest.bundle),
    ("GET", "/Patient/{id:str}/$everything", rest.everything),
    ("GET", "/{type:str}/_history", rest.history_type),
    ("POST", "/{type:str}/_search", rest.search_post),
    ("GET", "/{type:str}/{id:str}/_history", rest.history_instance),
    ("GET", "/{type:str}/{id:str}/_history/{version:str}", rest.vread),
    ("GET", "/{type:str}/{id:str}", rest.read),
    ("GET", "/{type:str}", rest.search_get),
    ("GET", "/{rest:path}", rest.nothing),
)


def make_api(
    settings: Pull,
    senders: tuple[Sender, ...],
    store: Holding,
    definitions: Definitions,
    clock: Clock,
    trail: Trail,
    key: bytes,
    by_certificate: ByCertificate,
    verify: Verify,
    peers: Mapping[str, Peer],
    topics: Sequence[Json] = (),
) -> Api:
    """What answers and notifies. Raises `Misconfigured`.

    `store` was opened with `definitions` as its indexer. `key` is secret and the same in every process that answers
    for this gateway; `by_certificate` and `verify` are described in `access.py`. `topics` are SubscriptionTopics.
    """
    for each in settings.repository:
        allowed(each, peers)
    sharing = Sharing(settings, definitions, clock, store.registry)
    access = Access(settings, senders, store, clock, key, by_certificate, verify, sharing)
    return Api(settings, store, definitions, access, clock, trail, key, Topics(definitions, topics))


def make_app(api: Api) -> Starlette:
    """The ASGI application, to be mounted at its path (`routes`)."""
    routes = [Route(path, _endpoint(api, handler), methods=[method]) for method, path, handler in _ROUTES]
    routes.insert(0, Route("/token", partial(_token, api), methods=["POST"]))
    app = Starlette(routes=routes, middleware=[Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)])
    app.add_exception_handler(GatewayError, partial(_on_gateway_error, api))
    app.add_exception_handler(HTTPException, partial(_on_http_error, api))
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, partial(_on_defect, api))
    return app


class _Root:
    """The base itself, without a slash at its end: a search of the whole system (FHIR R4 3.1.0.9)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        await self._app(dict(scope) | {"root_path": path, "path": path + "/"}, receive, send)


def routes(path: str, app: ASGIApp) -> list[BaseRoute]:
    """Where the application answers: at the path, and below it."""
    root = path.rstrip("/")
    return [Route(root, _Root(app), methods=["GET"]), Mount(root, app)]


def _endpoint(api: Api, handler: Handler) -> Any:
    async def endpoint(request: Request) -> Response:
        return await handler(api, request)

    return endpoint


async def _token(api: Api, request: Request) -> Response:
    """RFC 6749 4.4 with RFC 7523 2.2; errors as RFC 6749 5.2 names them."""
    headers = {"cache-control": "no-store", "pragma": "no-cache"}
    try:
        given = await form(request)
        if len({name for name, _ in given}) != len(given):
            raise OAuthError("invalid_request")
        return JSONResponse(await api.access.token(dict(given), f"{api.base(request)}token"), headers=headers)
    except OAuthError as error:
        name = error.name
    except Refused:
        name = "invalid_request"
    log.warning("token_refused", error=name)
    return JSONResponse({"error": name}, 401 if name == "invalid_client" else 400, headers)


# --- errors ----------------------------------------


def _answer(api: Api, request: Request, found: Finding, status: int, headers: dict[str, str]) -> Response:
    language = respond.language_of(request)
    try:
        media = respond.format_of(request, request.query_params.get("_format"))
    except GatewayError:
        media = respond.JSON
    value = respond.outcome((found,), language)
    return respond.respond(value, media, api.definitions.model, status, headers)


async def _on_gateway_error(api: Api, request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    code = "GW-PULL-012" if error.code == "GW-CORE-004" else error.code
    row = errors.codes()[code]
    if row.http >= 500:
        log.error("not_answered", code=code)
    found = finding(code, None, None, **error.args_)
    headers = {"connection": "close"} if request.method == "POST" else {}
    if row.http == 401:
        headers["www-authenticate"] = "Bearer"
    if row.http in (429, 503):
        headers["retry-after"] = "5"
    return _answer(api, request, found, row.http, headers)


async def _on_http_error(api: Api, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {"connection": "close"} | dict(error.headers or {})
    return _answer(api, request, finding("GW-PULL-009"), error.status_code, headers)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _on_defect(api: Api, request: Request, error: Exception) -> Response:
    """What we did not foresee: a reference for both sides, and nothing of what was asked."""
    reference = secrets.token_hex(6)
    log.error("defect", reference=reference, error=type(error).__name__)
    return _answer(api, request, finding("GW-CORE-001", reference=reference), 500, {"connection": "close"})
