"""Bulk data (HL7 FHIR Bulk Data Access 2.0): `$export` for the system, for patients and for a programme as a Group.

An export is a picture, not a copy: the feed number at the kick-off. The job and the borders of its files are kept in
the ledger; a file is a run of positions, read while it is sent, a page at a time. So an export takes no disk, goes on
after a restart where it was, and a file that broke off is asked for again and has the same lines.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import NotAllowed, Refused, finding
from gateway.formats import json
from gateway.formats.search import AnyOf, Has, Scope, Search
from gateway.formats.standing import Export
from gateway.message import Finding, Json
from gateway.pull import query, respond
from gateway.pull.access import Caller
from gateway.pull.api import Api, form, one, since_of
from gateway.pull.instants import instant, text
from gateway.pull.query import Pair, Reader, Unknown

FILE: Final = 50_000
"""Resources in one file, at most."""

LOOK_SECONDS: Final = 1.5
"""How long one look at the status goes on finding files before it answers that there are more to come."""

COUNT_SECONDS: Final = 60.0
_FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_NAMES: Final = frozenset({"_since", "_type", "_typeFilter", "_outputFormat", "_format", "_pretty"})
_FILTERS: Final = re.compile(r",(?=[A-Z][A-Za-z]{1,60}\?)", re.ASCII)
_MAX_FILTERS: Final = 20


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported. `filters` are pairs of a type and a search; several of one type are alternatives."""

    feed: int
    request: str
    types: tuple[str, ...]
    programmes: tuple[str, ...]
    patients: bool = False
    since: bool = False
    changed_after: int = 0
    filters: tuple[Pair, ...] = ()
    notes: tuple[Pair, ...] = ()  # codes and names of what was left out, as the client preferred


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file: `count` lines behind a position."""

    type: str
    after: int
    last: int
    count: int
    deleted: bool = False


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far the files are found: which type, behind which position, and whether it is about what was deleted."""

    type: int = 0
    after: int = 0
    deleted: bool = False


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
    mine = [each for each in await api.store.exports.every() if each.repository == caller.id]
    if sum(each.state != "ended" for each in mine) >= api.settings.exports * 8:
        raise NotAllowed("GW-PULL-013")
    await api.listed(caller, "search-system", "export", 0, given)
    now, id = api.clock.now(), secrets.token_hex(16)
    made = Export(
        id=id,
        repository=caller.id,
        at=now,
        expires=now + timedelta(hours=api.settings.export_hours),
        state="preparing",
        job=msgspec.to_builtins(job),
        place=msgspec.to_builtins(Place()),
    )
    await api.store.exports.begin(made)
    headers = {**respond.HEADERS, "content-location": f"{api.base(request)}export/{id}"}
    return Response(status_code=202, headers=headers)


async def _job(api: Api, request: Request, caller: Caller, level: str, given: Sequence[Pair]) -> Job:
    lenient = "handling=lenient" in request.headers.get("prefer", "").replace(" ", "").lower()
    unknown = [name for name, _ in given if name not in _NAMES]
    if unknown and not lenient:
        raise Refused("GW-PULL-004", name=unknown[0][:60], type="")
    if (one(given, "_outputFormat") or "ndjson").replace(" ", "+") not in _FORMATS:
        raise Refused("GW-PULL-011")
    programmes = tuple(dict.fromkeys((*caller.scope.programmes, *(each.programme for each in caller.scope.shares))))
    if level not in ("", "Patient"):  # a Group is a programme
        if level not in caller.scope.programmes:
            raise await api.absent(caller, "Group", level if level.isalnum() else "unknown")
        programmes = (level,)
    types = tuple(dict.fromkeys(each for name, value in given if name == "_type" for each in value.split(",")))
    if set(types) - set(api.definitions.types):
        raise Refused("GW-PULL-005", name="_type")
    since = since_of(given)
    filters, notes = _filters(api, given, types, lenient)
    return Job(
        feed=await api.store.feed(),
        request=_asked(api, request),
        types=types or tuple(each for each in api.definitions.types if caller.may(each, "r")),
        programmes=programmes,
        patients=level != "",
        since=since is not None,
        changed_after=0 if since is None else await api.store.position_since(since),
        filters=filters,
        notes=(*(("GW-PULL-004", name[:60]) for name in unknown), *notes),
    )


def _asked(api: Api, request: Request) -> str:
    """The address that was called, as the manifest repeats it; what a filter says stays out of it."""
    path = str(request.url.path).removeprefix(request.scope.get("root_path", "")).lstrip("/")
    said = [each for each in query.pairs(request.scope.get("query_string", b"")) if each[0] != "_typeFilter"]
    return f"{api.base(request)}{path}" + (f"?{query.written(said)}" if said else "")


def _filters(
    api: Api, given: Sequence[Pair], types: Sequence[str], lenient: bool
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """`_typeFilter`: searches, checked now. What cannot be done is an error, or left out and said in the error file."""
    found: list[Pair] = []
    notes: list[Pair] = []
    for each in (part for name, value in given if name == "_typeFilter" for part in _FILTERS.split(value)):
        type, mark, rest = each.partition("?")
        try:
            if not mark or type not in api.definitions.types or (types and type not in types):
                raise Unknown("GW-PULL-005", name="_typeFilter")
            Reader(api.definitions, "", api.clock.now()).read(type, parse_qsl(rest), strict=True)
        except Unknown as fault:
            if not lenient:
                raise
            notes.append((fault.code, "_typeFilter"))
            continue
        found.append((type, rest))
    if len(found) > _MAX_FILTERS:
        raise Refused("GW-PULL-007", limit=str(_MAX_FILTERS))
    return tuple(found), tuple(notes)


# --- what is there ----------------------------------------


async def opened(api: Api, caller: Caller, id: str) -> Export:
    """An export of this caller; 404 where it is not his, is over, or was deleted."""
    found = await api.store.exports.one(id)
    if found is None or found.repository != caller.id or found.state == "ended" or found.expires <= api.clock.now():
        raise await api.absent(caller, "Group", "unknown")
    return found


def job_of(export: Export) -> Job:
    """What it exports."""
    return msgspec.convert(export.job, Job)


def files_of(export: Export) -> list[File]:
    """Its files so far."""
    return [msgspec.convert(each, File) for each in export.files]


async def status(api: Api, request: Request) -> Response:
    """202 with the progress while files are being found, then the manifest."""
    caller = await api.access.caller(request)
    export = await opened(api, caller, str(request.path_params["job"]))
    if export.state == "preparing":
        export = await prepare(api, caller, export)
    if export.state == "preparing":
        headers = {"x-progress": _progress(export), "retry-after": "1"}
        return Response(status_code=202, headers={**respond.HEADERS, **headers})
    headers = {**respond.HEADERS, "expires": export.expires.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    return Response(
        json.write(await _manifest(api, request, caller, export)), 200, headers, media_type="application/json"
    )


def _progress(export: Export) -> str:
    place, job = msgspec.convert(export.place, Place), job_of(export)
    found = sum(each.count for each in files_of(export))
    return f"{place.type} of {len(job.types)} types, {found} resources in {len(export.files)} files"


async def prepare(api: Api, caller: Caller, export: Export) -> Export:
    """Find files for a while, and keep how far it came: whoever asks next goes on there, in whatever process."""
    job, until = job_of(export), api.clock.monotonic() + LOOK_SECONDS
    place, files = msgspec.convert(export.place, Place), files_of(export)
    while place.type < len(job.types):
        place, file = await _next(api, caller, job, place)
        files += [] if file is None else [file]
        if api.clock.monotonic() >= until:
            break
    done = place.type >= len(job.types)
    after = msgspec.structs.replace(
        export,
        state="ready" if done else "preparing",
        place=msgspec.to_builtins(place),
        files=tuple(msgspec.to_builtins(each) for each in files),
    )
    if not await api.store.exports.save(after):
        return await api.store.exports.one(export.id) or export  # somebody else was faster
    return msgspec.structs.replace(after, revision=export.revision + 1)


async def _next(api: Api, caller: Caller, job: Job, place: Place) -> tuple[Place, File | None]:
    """The next file of a type, bounded by lines and by bytes; and where to go on."""
    type = job.types[place.type]
    if place.deleted:
        return await _next_deleted(api, caller, job, place, type)
    found = await api.store.exports.sizes(search_of(api, caller, job, type, place.after, FILE))
    if not found:
        after = Place(type=place.type, deleted=True) if job.since else Place(type=place.type + 1)
        return after, None
    held = taken = 0
    for _, size in found:
        held += size
        if taken and held > api.settings.export_file_bytes:
            break
        taken += 1
    last = found[taken - 1][0]
    return Place(type=place.type, after=last), File(type=type, after=place.after, last=last, count=taken)


async def _next_deleted(api: Api, caller: Caller, job: Job, place: Place, type: str) -> tuple[Place, File | None]:
    found = () if job.patients and not _of_patients(api, type) else await _gone(api, caller, job, type, place.after)
    if not found:
        return Place(type=place.type + 1), None
    last = found[-1][0]
    file = File(type=type, after=place.after, last=last, count=len(found), deleted=True)
    return Place(type=place.type, after=last, deleted=True), file


async def _gone(api: Api, caller: Caller, job: Job, type: str, after: int) -> Sequence[tuple[int, str]]:
    scope = scope_of(caller, job)
    return await api.store.exports.deleted(scope, type, job.feed, job.changed_after, after, FILE)


def _of_patients(api: Api, type: str) -> bool:
    return type == "Patient" or any("Patient" in each.targets for each in api.definitions.of(type).values())


def scope_of(caller: Caller, job: Job) -> Scope:
    """What of a job the caller may see today."""
    shares = tuple(each for each in caller.scope.shares if each.programme in job.programmes)
    programmes = tuple(each for each in job.programmes if each in caller.scope.programmes)
    return Scope(programmes=programmes, senders=caller.scope.senders, shares=shares)


def search_of(api: Api, caller: Caller, job: Job, type: str, after: int, limit: int) -> Search:
    """The search behind a type of a job."""
    reader = Reader(api.definitions, "", api.clock.now())
    either = tuple(reader.read(type, parse_qsl(rest), True).where for each, rest in job.filters if each == type)
    where: tuple[AnyOf, ...] = either[0] if len(either) == 1 else ()
    if job.patients and type != "Patient":
        references = [each for each in api.definitions.of(type).values() if "Patient" in each.targets]
        where = (*where, AnyOf(terms=tuple(Has(parameter=each.key, kind="reference") for each in references)))
    return Search(
        type=type,
        scope=scope_of(caller, job),
        feed=job.feed,
        where=where,
        either=either if len(either) > 1 else (),
        changed_after=job.changed_after,
        after=(after,) if after else None,
        limit=limit,
        seconds=COUNT_SECONDS,
    )


async def _manifest(api: Api, request: Request, caller: Caller, export: Export) -> Json:
    job, base = job_of(export), f"{api.base(request)}export-file/{export.id}"
    output: list[Json] = []
    deleted: list[Json] = []
    for number, each in enumerate(files_of(export)):
        lost = sum(p["type"] == each.type and each.after < p["position"] <= each.last for p in export.problems)
        line: Json = {"type": each.type, "url": f"{base}/{number}", "count": each.count - lost}
        if each.deleted:
            deleted.append({"type": "Bundle", "url": f"{base}/{number}"})
        elif line["count"]:
            output.append(line)
    wrong = [{"type": "OperationOutcome", "url": f"{base}/errors"}] if notes_of(export) else []
    latest = await api.store.last_updated(scope_of(caller, job), job.feed)
    return {
        "transactionTime": text(latest) if latest else text(instant(0)),
        "request": job.request,
        "requiresAccessToken": True,
        "output": output,
        **({"deleted": deleted} if job.since else {}),
        "error": wrong,
    }


def notes_of(export: Export) -> list[Finding]:
    """What the error file says: what was left out of the question, and what could not be read."""
    notes = [finding(code, None, None, name=name, type="$export") for code, name in job_of(export).notes]
    said = [msgspec.structs.replace(each, severity="warning") for each in notes]
    lost = [finding("GW-PULL-016", None, f"{each['type']}/{each['id']}", **_named(each)) for each in export.problems]
    return [*said, *lost]


def _named(problem: Any) -> dict[str, str]:
    return {"resource": f"{problem['type']}/{problem['id']}", "version": str(problem["version"])}


async def delete(api: Api, request: Request) -> Response:
    """The job and its files are not there any more."""
    caller = await api.access.caller(request)
    export = await opened(api, caller, str(request.path_params["job"]))
    while not await api.store.exports.save(msgspec.structs.replace(export, state="ended", files=())):
        export = await opened(api, caller, export.id)
    return Response(status_code=202, headers=respond.HEADERS)
