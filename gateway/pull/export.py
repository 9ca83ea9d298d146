"""Bulk data (HL7 FHIR Bulk Data Access 2.0): `$export` for the system, for patients and for a programme as a Group.

An export is a picture, not a copy: the feed number at the kick-off. Its job is sealed into its URL, so there is
nothing to clean up and nothing that a restart forgets; a file is a run of positions, read from the store while it is
sent, a page at a time. A file that broke off is asked for again and has the same lines.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.errors import NotAllowed, Refused
from gateway.formats import json
from gateway.formats.search import AnyOf, Has, Scope, Search
from gateway.message import Json
from gateway.pull import present, query, respond
from gateway.pull.access import Caller
from gateway.pull.api import Api, form, known, one, since_of
from gateway.pull.instants import instant, text
from gateway.pull.query import Pair, Reader

FILE: Final = 50_000
"""Resources in one file."""

_PAGE: Final = 500
_PAGE_BYTES: Final = 8 * 1024 * 1024
_COUNT_SECONDS: Final = 60.0
_FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_NAMES: Final = ("_since", "_type", "_typeFilter", "_outputFormat")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported, for whom: all that a status or a file needs."""

    job: str
    id: str
    feed: int
    request: str
    types: tuple[str, ...]
    programmes: tuple[str, ...]
    patients: bool = False
    changed_after: int = 0
    filters: tuple[Pair, ...] = ()  # type, query
    at: str = ""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a job."""

    job: Job
    type: str
    after: int
    count: int


async def kick_off(api: Api, request: Request) -> Response:
    """Everything: 202 with the address of the status."""
    return await _kick_off(api, request, "")


async def kick_off_patients(api: Api, request: Request) -> Response:
    """Patients and what refers to one."""
    return await _kick_off(api, request, "Patient")


async def kick_off_group(api: Api, request: Request) -> Response:
    """The same of one programme."""
    return await _kick_off(api, request, str(request.path_params["group"]))


async def _kick_off(api: Api, request: Request, level: str) -> Response:
    caller = await api.access.caller(request)
    given = [*query.pairs(request.scope.get("query_string", b"")), *(await form(request))]
    if "respond-async" not in request.headers.get("prefer", ""):
        raise Refused("GW-PULL-015")
    job = await _job(api, request, caller, level, given)
    for type in job.types:
        caller.need(type, "r")
    await api.listed(caller, "search-system", "export", 0, given)
    sealed = api.jobs.close(msgspec.to_builtins(job), api.clock.now() + timedelta(hours=api.settings.export_hours))
    headers = {**respond.HEADERS, "content-location": f"{api.base(request)}export/{sealed}"}
    return Response(status_code=202, headers=headers)


async def _job(api: Api, request: Request, caller: Caller, level: str, given: Sequence[Pair]) -> Job:
    known(given, *_NAMES, hard=True)
    if (one(given, "_outputFormat") or "ndjson") not in _FORMATS:
        raise Refused("GW-PULL-011")
    programmes = caller.scope.programmes
    if level not in ("", "Patient"):  # a Group is a programme
        if level not in programmes:
            raise await api.absent(caller, "Group", level if level.isalnum() else "unknown")
        programmes = (level,)
    types = tuple(each for value in [one(given, "_type")] if value for each in value.split(","))
    if set(types) - set(api.definitions.types):
        raise Refused("GW-PULL-005", name="_type")
    since = since_of(given)
    return Job(
        job=secrets.token_hex(12),
        id=caller.id,
        feed=await api.store.feed(),
        request=f"{api.base(request)}{'/'.join(each for each in (_path(level), '$export') if each)}",
        types=types or tuple(each for each in api.definitions.types if caller.may(each, "r")),
        programmes=programmes,
        patients=level != "",
        changed_after=0 if since is None else await api.store.position_since(since),
        filters=_filters(api, given, types),
        at=text(api.clock.now()),
    )


def _path(level: str) -> str:
    return level if level in ("", "Patient") else f"Group/{level}"


def _filters(api: Api, given: Sequence[Pair], types: Sequence[str]) -> tuple[Pair, ...]:
    """`_typeFilter`: one search a type, checked now."""
    found: dict[str, str] = {}
    for value in (value for name, value in given if name == "_typeFilter"):
        for each in value.split(","):
            type, mark, rest = each.partition("?")
            if not mark or type in found or (types and type not in types):
                raise Refused("GW-PULL-005", name="_typeFilter")
            Reader(api.definitions, "", api.clock.now()).read(type, parse_qsl(rest), strict=True)
            found[type] = rest
    return tuple(found.items())


async def _opened(api: Api, caller: Caller, sealed: str) -> Any:
    """A job or a file of this caller; 404 where it is not his, is over, or was deleted."""
    value = api.jobs.open(sealed, api.clock.now())
    job = value.get("job") if isinstance(value, dict) else None
    inner = job if isinstance(job, dict) else value
    if not isinstance(inner, dict) or inner.get("id") != caller.id:
        raise await api.absent(caller, "Group", "unknown")
    if await api.store.remembered("pull-export", str(inner["job"])):
        raise await api.absent(caller, "Group", "unknown")
    return value


async def status(api: Api, request: Request) -> Response:
    """The manifest. It is ready at once: what is exported was settled by the kick-off."""
    caller = await api.access.caller(request)
    job = msgspec.convert(await _opened(api, caller, str(request.path_params["job"])), Job)
    expires = api.clock.now() + timedelta(hours=api.settings.export_hours)
    output: list[Json] = []
    for type in job.types:
        after = 0
        for last, count in await api.store.parts(_asked(api, caller, job, type, _COUNT_SECONDS), FILE):
            made = File(job=job, type=type, after=after, count=count)
            sealed = api.jobs.close(msgspec.to_builtins(made), expires)
            output.append({"type": type, "url": f"{api.base(request)}export-file/{sealed}", "count": count})
            after = last
    latest = await api.store.last_updated(Scope(programmes=job.programmes, senders=caller.scope.senders), job.feed)
    manifest: Json = {
        "transactionTime": text(latest) if latest else text(instant(0)),
        "request": job.request,
        "requiresAccessToken": True,
        "output": output,
        "error": [],
    }
    headers = {**respond.HEADERS, "expires": expires.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    return Response(json.write(manifest), 200, headers, media_type="application/json")


async def delete(api: Api, request: Request) -> Response:
    """The job and its files are not there any more."""
    caller = await api.access.caller(request)
    job = msgspec.convert(await _opened(api, caller, str(request.path_params["job"])), Job)
    until = api.clock.now() + timedelta(hours=api.settings.export_hours * 2 + 1)
    await api.store.remember("pull-export", job.job, until)
    return Response(status_code=202, headers=respond.HEADERS)


async def file(api: Api, request: Request) -> Response:
    """One file, streamed."""
    caller = await api.access.caller(request)
    value = await _opened(api, caller, str(request.path_params["file"]))
    if not isinstance(value.get("job"), dict):
        raise NotAllowed("GW-PULL-003")
    wanted = msgspec.convert(value, File)
    caller.need(wanted.type, "r")
    if api.streams.get(caller.id, 0) >= api.settings.exports:
        raise NotAllowed("GW-PULL-013")
    await api.listed(caller, "search-type", wanted.type, wanted.count, [("export", wanted.job.job)])
    return StreamingResponse(_lines(api, caller, wanted), 200, respond.HEADERS, respond.NDJSON)


async def _lines(api: Api, caller: Caller, wanted: File) -> AsyncIterator[bytes]:
    """A page of lines at a time; the page shrinks where the resources are large."""
    api.streams[caller.id] = api.streams.get(caller.id, 0) + 1
    try:
        asked = _asked(api, caller, wanted.job, wanted.type, _COUNT_SECONDS)
        left, after, size = wanted.count, wanted.after, _PAGE
        while left > 0:
            page = msgspec.structs.replace(asked, after=(after,), limit=min(left, size))
            hits = await api.store.search(page)
            if not hits:
                return
            lines = [json.write(present.resource(each.resource, api.definitions)) for each in hits]
            body = b"\n".join(lines) + b"\n"
            left, after = left - len(hits), hits[-1].key[0]
            size = max(1, min(_PAGE, size * _PAGE_BYTES // max(len(body), _PAGE_BYTES // 2)))
            yield body
    finally:
        api.streams[caller.id] -= 1


def _asked(api: Api, caller: Caller, job: Job, type: str, seconds: float) -> Search:
    """The search behind a type of a job. What the caller may see is what he may see today."""
    filters = dict(job.filters)
    where: tuple[AnyOf, ...] = ()
    if type in filters:
        where = Reader(api.definitions, "", api.clock.now()).read(type, parse_qsl(filters[type]), strict=True).where
    if job.patients and type != "Patient":
        references = [each for each in api.definitions.of(type).values() if "Patient" in each.targets]
        where = (*where, AnyOf(terms=tuple(Has(parameter=each.key, kind="reference") for each in references)))
    programmes = tuple(each for each in job.programmes if each in caller.scope.programmes)
    return Search(
        type=type,
        scope=Scope(programmes=programmes, senders=caller.scope.senders),
        feed=job.feed,
        where=where,
        changed_after=job.changed_after,
        seconds=seconds,
    )
