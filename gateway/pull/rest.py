"""The interactions: read, vread, history, search, and what is known of the server (FHIR R4 3.1.0)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import NotAllowed, Refused
from gateway.formats import json
from gateway.formats.search import Hit
from gateway.kept import KeptResource
from gateway.message import Json
from gateway.pull import capability, present, query, records, respond, search
from gateway.pull.access import Caller
from gateway.pull.api import Api, Listing, count_of, form, known, one, since_of, strict
from gateway.pull.instants import text
from gateway.pull.query import Pair, Reader
from gateway.pull.respond import respond as answer

VERSION: Final = version("gateway")
_MONITOR_DAYS: Final = 90


def _given(request: Request) -> list[Pair]:
    return query.pairs(request.scope.get("query_string", b""))


async def metadata(api: Api, request: Request) -> Response:
    """CapabilityStatement; open to everybody, because it says nothing about anybody."""
    media = respond.format_of(request, one(_given(request), "_format"))
    made = capability.statement(api.definitions, api.topics, api.base(request), api.clock.now(), VERSION)
    return answer(made, media, api.definitions.model)


async def smart(api: Api, request: Request) -> Response:
    """The SMART configuration."""
    return answer(capability.smart(api.base(request)), respond.JSON, api.definitions.model)


# --- read ----------------------------------------


def _part(api: Api, type: str, given: Sequence[Pair], hard: bool) -> present.Part:
    known(given, "_summary", "_elements", hard=hard)
    wanted = [each for each in given if each[0] in ("_summary", "_elements")]
    made = Reader(api.definitions, "", api.clock.now()).read(type, wanted, True)
    return present.Part(summary=made.summary, elements=made.elements)


def _shown(api: Api, request: Request, kept: KeptResource, media: str, part: present.Part) -> Response:
    headers = {"etag": present.etag(kept), "last-modified": kept.at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    if kept.document is not None:
        headers["link"] = f'<{api.base(request)}Binary/{kept.document}>; rel="via"'
    if respond.not_modified(request, headers["etag"]):
        return Response(status_code=304, headers={**respond.HEADERS, **headers})
    value = present.resource(kept, api.definitions, part)
    return answer(value, media, api.definitions.model, 200, headers)


async def read(api: Api, request: Request) -> Response:
    """The newest version. Another's resource is not there; a deleted one is gone."""
    caller, type, id = await api.access.caller(request), api.type(request), api.id(request)
    caller.need(type, "r")
    given = _given(request)
    media, part = respond.format_of(request, one(given, "_format")), _part(api, type, given, strict(request))
    kept = await api.store.newest(type, id, caller.scope)
    if kept is None:
        raise await api.absent(caller, type, id)
    if kept.deleted:
        raise await api.absent(caller, type, id, "GW-PULL-010")
    await api.read(caller, type, id)
    return _shown(api, request, kept, media, part)


async def vread(api: Api, request: Request) -> Response:
    """One version."""
    caller, type, id = await api.access.caller(request), api.type(request), api.id(request)
    caller.need(type, "r")
    given, number = _given(request), str(request.path_params["version"])
    media, part = respond.format_of(request, one(given, "_format")), _part(api, type, given, strict(request))
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    kept = await api.store.version(type, id, int(number), caller.scope) if is_number else None
    if kept is None:
        raise await api.absent(caller, type, id)
    if kept.deleted:
        raise await api.absent(caller, type, id, "GW-PULL-010")
    await api.read(caller, type, id, kept.version)
    return _shown(api, request, kept, media, part)


async def binary(api: Api, request: Request) -> Response:
    """A document's exact signed bytes; with .jws after its id, the detached signature over them."""
    caller, id = await api.access.caller(request), api.id(request)
    caller.need("Binary", "r")
    document = await api.store.carried(id.removesuffix(records.SIGNATURE), caller.scope)
    if document is None:
        raise await api.absent(caller, "Binary", id)
    await api.read(caller, "Binary", id)
    asked = one(_given(request), "_format")
    return records.binary(request, document, id.endswith(records.SIGNATURE), asked, api.definitions.model)


async def bundle(api: Api, request: Request) -> Response:
    """A document as a signed Bundle: its exact bytes, and its evidence as Bundle.signature."""
    caller, id = await api.access.caller(request), api.id(request)
    caller.need("Bundle", "r")
    media = respond.format_of(request, one(_given(request), "_format"))
    document = await api.store.carried(id, caller.scope)
    proofs = await api.store.current("Provenance", [id], caller.scope) if document is not None else []
    if document is None or not proofs:
        raise await api.absent(caller, "Bundle", id)
    await api.read(caller, "Bundle", id)
    body = records.signed(document, json.read(proofs[0].body))
    headers = {
        **respond.HEADERS,
        "etag": f'"{document.digest}"',
        "link": f'<{api.base(request)}Binary/{id}>; rel="via"',
    }
    if media == respond.JSON:
        return Response(body, 200, headers, media_type=media)
    return Response(respond.write(json.read(body), media, api.definitions.model), 200, headers, media_type=media)


async def everything(api: Api, request: Request) -> Response:
    """Patient/$everything: `_since` and `_type` narrow it."""
    caller, id = await api.access.caller(request), api.id(request)
    given = _given(request)
    known(given, "_since", "_type", "_count", hard=strict(request))
    media = respond.format_of(request, one(given, "_format"))
    types = [each for value in [one(given, "_type")] if value for each in value.split(",")]
    if set(types) - set(api.definitions.types):
        raise Refused("GW-PULL-005", name="_type")
    caller.need("Patient", "r")
    if not await api.store.current("Patient", [id], caller.scope):
        raise await api.absent(caller, "Patient", id)
    feed = await api.store.feed()
    found = await records.everything(api.searcher, caller, id, feed, types, since_of(given))
    await api.listed(caller, "search-system", "Patient", len(found), [("$everything", id), *given])
    base = api.base(request)
    made = records.searchset(found, base, api.searcher, f"{base}Patient/{id}/$everything")
    return answer(made, media, api.definitions.model)


# --- search ----------------------------------------


async def search_get(api: Api, request: Request) -> Response:
    """Search by URL."""
    return await _search(api, request, _given(request))


async def search_post(api: Api, request: Request) -> Response:
    """Search by form: what identifies somebody stays out of addresses."""
    return await _search(api, request, [*_given(request), *(await form(request))])


async def system_get(api: Api, request: Request) -> Response:
    """Search of several types at once, by URL: `_type`, and the parameters that every type has."""
    return await _search(api, request, _given(request), whole=True)


async def system_post(api: Api, request: Request) -> Response:
    """The same by form."""
    return await _search(api, request, [*_given(request), *(await form(request))], whole=True)


def _types(api: Api, caller: Caller, given: Sequence[Pair]) -> tuple[str, ...]:
    """What a search of the whole system looks at: the types that are named, or all that the caller may search."""
    named = one(given, "_type")
    if named is None:
        return tuple(each for each in api.definitions.types if caller.may(each, "s"))
    found = tuple(dict.fromkeys(named.split(",")))
    if set(found) - set(api.definitions.types):
        raise Refused("GW-PULL-005", name="_type")
    for each in found:
        caller.need(each, "s")
    return found


async def _search(api: Api, request: Request, given: list[Pair], whole: bool = False) -> Response:
    caller, type = await api.access.caller(request), "" if whole else api.type(request)
    if type:
        caller.need(type, "s")
    sealed = one(given, "_cursor")
    cursor = None if sealed is None else api.searcher.cursor(sealed, caller, type)
    asked = given if cursor is None else [*cursor.pairs, *(p for p in given if p[0] == "_format")]
    media, base = respond.format_of(request, one(asked, "_format")), api.base(request)
    types = _types(api, caller, asked) if whole else ()
    if whole and not types:
        raise NotAllowed("GW-PULL-002")
    wanted = Reader(api.definitions, base, api.clock.now()).read(type, asked, strict(request), types)
    feed = await api.store.feed()
    page = await api.searcher.run(wanted, caller, base, feed, cursor)
    outcome = respond.outcome(wanted.ignored, respond.language_of(request, caller.language)) if wanted.ignored else None
    count = len(page.matches) + len(page.included)
    await api.listed(caller, "search-system" if whole else "search-type", type or "Resource", count, asked)
    return answer(search.bundle(page, wanted, base, api.definitions, outcome), media, api.definitions.model)


# --- history ----------------------------------------


async def history_instance(api: Api, request: Request) -> Response:
    """Every version of one resource."""
    type, id = api.type(request), api.id(request)
    return await _history(api, request, "history-instance", type, id)


async def history_type(api: Api, request: Request) -> Response:
    """Every version of a type."""
    return await _history(api, request, "history-type", api.type(request), None)


async def history_system(api: Api, request: Request) -> Response:
    """Every version."""
    return await _history(api, request, "history-system", None, None)


async def _history(api: Api, request: Request, how: Listing, type: str | None, id: str | None) -> Response:
    caller = await api.access.caller(request)
    caller.need(type or "*", "r")
    given = _given(request)
    known(given, "_since", "_count", "_cursor", "_sort", hard=strict(request))
    media = respond.format_of(request, one(given, "_format"))
    state = await _state(api, caller, given, [how, type, id])
    count, forward = state["count"], state["forward"]
    hits = await api.store.versions(
        caller.scope, type, id, state["after"], state["before"], limit=count + 1, newest_first=not forward
    )
    if id is not None and not hits and state["after"] == 0 and state["before"] is None:
        raise await api.absent(caller, type or "", id)
    shown, more = hits[:count], len(hits) > count
    await api.listed(caller, how, type or "Resource", len(shown), given)
    path = "/".join(each for each in (type, id, "_history") if each)
    links = _links(api, caller, api.base(request) + path, state, shown, more)
    made: Json = {"resourceType": "Bundle", "type": "history", "link": links}
    latest = await api.store.last_updated(caller.scope, await api.store.feed())
    if latest is not None:
        made = {"resourceType": "Bundle", "meta": {"lastUpdated": text(latest)}, "type": "history", "link": links}
    entries = [present.history_entry(each.resource, api.base(request), api.definitions) for each in shown]
    return answer(made | ({"entry": entries} if entries else {}), media, api.definitions.model)


async def _state(api: Api, caller: Caller, given: Sequence[Pair], what: list[str | None]) -> dict[str, Any]:
    """Where the history is: from a cursor, or from the beginning. `top` is the newest position of the first page."""
    sealed = one(given, "_cursor")
    if sealed is not None:
        value = api.cursors.open(sealed, api.clock.now())
        if not isinstance(value, dict) or value.get("id") != caller.id or value.get("what") != what:
            raise Refused("GW-PULL-008")
        return value
    order = one(given, "_sort") or "-_lastUpdated"
    if order not in ("_lastUpdated", "-_lastUpdated"):
        raise Refused("GW-PULL-005", name="_sort")
    since = since_of(given)
    after = 0 if since is None else await api.store.position_since(since)
    forward = order == "_lastUpdated"
    return {
        "id": caller.id,
        "what": what,
        "after": after,
        "before": None,
        "top": after,
        "count": count_of(given),
        "forward": forward,
    }


def _links(
    api: Api, caller: Caller, own: str, state: dict[str, Any], shown: Sequence[Hit], more: bool
) -> list[dict[str, str]]:
    """`next` while there is more; on the last page `monitor`: what comes after everything seen, in feed order."""
    positions = [int(each.key[0]) for each in shown]
    top = max([state["top"], *positions])
    if more:
        moved = {"after": positions[-1]} if state["forward"] else {"before": positions[-1]}
        name, state, lifetime = "next", state | moved | {"top": top}, timedelta(hours=1)
    else:
        again = {"after": top, "before": None, "top": top, "forward": True}
        name, state, lifetime = "monitor", state | again, timedelta(days=_MONITOR_DAYS)
    sealed = api.cursors.close(state, api.clock.now() + lifetime)
    return [{"relation": "self", "url": own}, {"relation": name, "url": f"{own}?_cursor={sealed}"}]


async def nothing(api: Api, request: Request) -> Response:
    """Whatever else is asked for."""
    await api.access.caller(request)
    raise NotAllowed("GW-PULL-009")
