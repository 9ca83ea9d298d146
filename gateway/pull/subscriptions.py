"""Subscription as a resource: create, read, update, delete, search, `$status` and `$events`.

A repository sees and changes its own, where its scopes have the letters for it (`system/Subscription.cruds`).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway import errors
from gateway.errors import Refused, StaleState, TooLarge
from gateway.formats import fhirxml, json
from gateway.formats.standing import Subscribed
from gateway.message import AuditRecord, Json
from gateway.pull import notification, query, respond, wanted
from gateway.pull.access import SUBSCRIPTION, Caller
from gateway.pull.api import Api, count_of, form, known, one, strict
from gateway.pull.instants import text
from gateway.pull.query import Pair
from gateway.pull.wanted import Content

MAX_BODY: Final = 64 * 1024
MOST_EVENTS: Final = 1_000
_SERVERS: Final = frozenset({"id", "meta", "status", "error", "text"})
"""Elements of a Subscription that are ours to say."""

_PARAMETERS: Final = frozenset({"_id", "status", "url", "criteria", "type", "payload"})


async def _body(api: Api, request: Request) -> Json:
    """The Subscription of a request."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge("GW-PULL-007", limit=f"{MAX_BODY} bytes")
    if kind not in (respond.JSON, respond.XML, "application/json", "application/xml", "text/xml"):
        raise Refused("GW-PULL-014", given=kind[:60])
    value: Any = json.read(bytes(body)) if "json" in kind else fhirxml.read(bytes(body), api.definitions.model)
    if not isinstance(value, dict) or value.get("resourceType") != SUBSCRIPTION:
        raise Refused("GW-PULL-019", name="resourceType")
    return value


def _checked(api: Api, caller: Caller, resource: Json) -> wanted.Wanted:
    """What it asks for; `Refused` also for elements that R4 does not know: they could not be shown as XML."""
    entry = api.access.entry(caller.id)
    try:
        fhirxml.write(resource, api.definitions.model)
    except Refused:
        raise Refused("GW-PULL-019", name="content") from None
    return wanted.read(resource, caller, entry, api.definitions, api.topics, api.clock)


def _status(resource: Json, otherwise: str = "requested") -> str:
    """What the subscriber may want: to be served, or not."""
    found = resource.get("status", otherwise)
    if found not in ("requested", "active", "error", "off"):
        raise Refused("GW-PULL-019", name="status")
    return "off" if found == "off" else "requested"


def shown(found: Subscribed) -> Json:
    """The Subscription as it stands: with our status, version and error."""
    given = wanted.hidden(found.resource)
    meta = given.get("meta") if isinstance(given.get("meta"), dict) else {}
    made: Json = {
        "resourceType": SUBSCRIPTION,
        "id": found.id,
        "meta": {**(meta or {}), "versionId": str(found.version), "lastUpdated": text(found.changed_at)},
        "status": found.status,
        **{name: each for name, each in given.items() if name not in _SERVERS and name != "resourceType"},
    }
    if found.error is not None:
        made["error"] = errors.text(errors.finding(found.error), "en")
    return made


def _answer(api: Api, request: Request, found: Subscribed, status: int) -> Response:
    media = respond.format_of(request, one(query.pairs(request.scope.get("query_string", b"")), "_format"))
    headers = {
        "etag": f'W/"{found.version}"',
        "last-modified": found.changed_at.strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }
    if status == 201:
        headers["location"] = f"{api.base(request)}{SUBSCRIPTION}/{found.id}/_history/{found.version}"
    return respond.respond(shown(found), media, api.definitions.model, status, headers)


def _event(api: Api, caller: Caller, id: str, act: str) -> Sequence[AuditRecord]:
    return (api.trail.subscription_changed(id, caller.id, act, api.clock.now()),)


async def _mine(api: Api, request: Request, caller: Caller) -> Subscribed:
    """The subscription of the path, if it is the caller's."""
    id = api.id(request)
    found = await api.store.subscriptions.one(id)
    if found is None or found.repository != caller.id:
        raise await api.absent(caller, SUBSCRIPTION, id)
    return found


async def create(api: Api, request: Request) -> Response:
    """201 with the Subscription; it is `requested` until its endpoint has answered."""
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "c")
    resource = await _body(api, request)
    _checked(api, caller, resource)
    now = api.clock.now()
    made = Subscribed(
        id=secrets.token_hex(16),
        repository=caller.id,
        base=api.base(request),
        resource=resource,
        status=_status(resource),  # type: ignore[arg-type]
        since=now,
        changed_at=now,
        cursor=await api.store.subscriptions.end(),
    )
    most = api.settings.subscriptions
    if not await api.store.subscriptions.create(made, most, _event(api, caller, made.id, "create")):
        raise Refused("GW-PULL-020", limit=str(most))
    api.rang()
    return _answer(api, request, made, 201)


async def update(api: Api, request: Request) -> Response:
    """Replace it. Its numbers go on; with `requested` a parked one is tried again, and hears a handshake first."""
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "u")
    found, given = await _mine(api, request, caller), await _body(api, request)
    if given.get("id") != found.id:
        raise Refused("GW-PULL-019", name="id")
    expected = request.headers.get("if-match")
    if expected is not None and expected.removeprefix("W/").strip('" ') != str(found.version):
        raise Refused("GW-PULL-022")
    resource = wanted.restored(given, found.resource)
    _checked(api, caller, resource)
    now = api.clock.now()
    after = msgspec.structs.replace(
        found,
        resource=resource,
        status=_status(resource),
        since=now,
        changed_at=now,
        version=found.version + 1,
        tries=0,
        next_at=None,
        error=None,
    )
    await _changed(api, after, _event(api, caller, found.id, "update"))
    return _answer(api, request, after, 200)


async def _changed(api: Api, after: Subscribed, audit: Sequence[AuditRecord]) -> None:
    try:
        await api.store.subscriptions.change(after, audit)
    except StaleState:
        raise Refused("GW-PULL-022") from None
    api.rang()


async def delete(api: Api, request: Request) -> Response:
    """It and its events are gone."""
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "d")
    found = await _mine(api, request, caller)
    await api.store.subscriptions.delete(found.id, _event(api, caller, found.id, "delete"))
    return Response(status_code=204, headers=respond.HEADERS)


async def read(api: Api, request: Request) -> Response:
    """The caller's own, as it stands."""
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "r")
    found = await _mine(api, request, caller)
    await api.read(caller, SUBSCRIPTION, found.id)
    if respond.not_modified(request, f'W/"{found.version}"') and found.status == "active":
        return Response(status_code=304, headers=respond.HEADERS)
    return _answer(api, request, found, 200)


# --- search ----------------------------------------


async def search_get(api: Api, request: Request) -> Response:
    """By `_id`, `status`, `url`, `criteria`, `type` and `payload`: there are few of them."""
    return await _search(api, request, query.pairs(request.scope.get("query_string", b"")))


async def search_post(api: Api, request: Request) -> Response:
    """The same by form."""
    given = query.pairs(request.scope.get("query_string", b""))
    return await _search(api, request, [*given, *(await form(request))])


async def _search(api: Api, request: Request, given: list[Pair]) -> Response:
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "s")
    known(given, *_PARAMETERS, "_count", hard=strict(request))
    found = [each for each in await api.store.subscriptions.every(caller.id) if _fits(each, given)]
    await api.listed(caller, "search-type", SUBSCRIPTION, len(found), given)
    base, limit = api.base(request), count_of(given)
    entries = [
        {"fullUrl": f"{base}{SUBSCRIPTION}/{each.id}", "resource": shown(each), "search": {"mode": "match"}}
        for each in found[:limit]
    ]
    own = f"{base}{SUBSCRIPTION}" + (f"?{query.written([p for p in given if p[0] in _PARAMETERS])}" if given else "")
    made: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found)}
    made |= {"link": [{"relation": "self", "url": own}]} | ({"entry": entries} if entries else {})
    return respond.respond(made, respond.format_of(request, one(given, "_format")), api.definitions.model)


def _fits(found: Subscribed, given: Sequence[Pair]) -> bool:
    channel = found.resource.get("channel", {})
    values = {
        "_id": found.id,
        "status": found.status,
        "url": channel.get("endpoint"),
        "criteria": found.resource.get("criteria"),
        "type": channel.get("type"),
        "payload": channel.get("payload"),
    }
    return all(name not in values or values[name] in value.split(",") for name, value in given)


# --- operations ----------------------------------------


async def _operation(api: Api, request: Request, *names: str) -> tuple[Caller, list[Pair]]:
    caller = await api.access.caller(request)
    caller.need(SUBSCRIPTION, "r")
    given = query.pairs(request.scope.get("query_string", b""))
    if request.method == "POST":
        given = [*given, *(await _parameters(request))]
    known(given, *names, hard=strict(request))
    return caller, given


async def _parameters(request: Request) -> list[Pair]:
    """A form, or a Parameters resource of simple values."""
    if "json" not in request.headers.get("content-type", ""):
        return await form(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge("GW-PULL-007", limit=f"{MAX_BODY} bytes")
    value = json.read(bytes(body)) if body else {}
    found = value.get("parameter", []) if isinstance(value, dict) else []
    return [
        (str(each.get("name")), str(next((v for k, v in each.items() if k.startswith("value")), "")))
        for each in found
        if isinstance(each, dict)
    ]


def _topic(found: Subscribed, api: Api) -> str | None:
    criteria = str(found.resource.get("criteria", "")).partition("|")[0]
    return criteria if api.topics.get(criteria) is not None else None


async def status(api: Api, request: Request) -> Response:
    """`$status` of one, or of all that `id` and `status` choose."""
    caller, given = await _operation(api, request, "id", "status")
    if "id" in request.path_params:
        chosen: Sequence[Subscribed] = [await _mine(api, request, caller)]
    else:
        ids = {each for name, value in given if name == "id" for each in value.split(",")}
        states = {each for name, value in given if name == "status" for each in value.split(",")}
        chosen = [
            each
            for each in await api.store.subscriptions.every(caller.id)
            if (not ids or each.id in ids) and (not states or each.status in states)
        ]
    await api.listed(caller, "search-type", SUBSCRIPTION, len(chosen), given)
    own = f"{api.base(request)}{SUBSCRIPTION}/$status"
    made = notification.found_status([(each, _topic(each, api)) for each in chosen], own)
    media = respond.format_of(request, one(given, "_format"))
    return respond.respond(made, media, api.definitions.model)


async def events(api: Api, request: Request) -> Response:
    """`$events`: what was notified, or should have been, between two numbers, inclusive; at most `MOST_EVENTS`."""
    caller, given = await _operation(api, request, "eventsSinceNumber", "eventsUntilNumber", "content")
    found = await _mine(api, request, caller)
    first, last = _number(given, "eventsSinceNumber", 1), _number(given, "eventsUntilNumber", found.events)
    content = one(given, "content")
    if content not in (None, "empty", "id-only", "full-resource"):
        raise Refused("GW-PULL-005", name="content")
    chosen: Content = (
        content
        or wanted.extension(  # type: ignore[assignment]
            found.resource.get("channel", {}).get("_payload"), wanted.CONTENT
        )
        or "id-only"
    )
    kept = await api.store.subscriptions.events(found.id, first, last, MOST_EVENTS)
    readable = [each for each in kept if caller.may(each.type, "r")]
    visible = await api.store.subscriptions.versions([each.position for each in readable], caller.scope)
    fitting = _within(kept, visible, api.settings.page_bytes if chosen == "full-resource" else 0)
    await api.listed(caller, "search-type", SUBSCRIPTION, len(fitting), [("$events", found.id), *given])
    at = api.clock.now()
    made = notification.bundle(found, _topic(found, api), "query-event", api.definitions, at, chosen, fitting, visible)
    media = respond.format_of(request, one(given, "_format"))
    return respond.respond(made, media, api.definitions.model)


def _within(kept: Sequence[Any], visible: notification.Shown, limit: int) -> Sequence[Any]:
    """As many as fit into a page; one always does."""
    held = 0
    for place, each in enumerate(kept):
        held += len(visible[each.position].body) if each.position in visible else 0
        if limit and place and held > limit:
            return kept[:place]
    return kept


def _number(given: Sequence[Pair], name: str, otherwise: int) -> int:
    found = one(given, name)
    if found is None:
        return otherwise
    if not (found.isascii() and found.isdigit() and len(found) < 16):
        raise Refused("GW-PULL-005", name=name)
    return int(found)
