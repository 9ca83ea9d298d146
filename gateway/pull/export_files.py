"""The files of a bulk export, streamed: resources, what was deleted, and what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.errors import Broken, NotAllowed
from gateway.formats import json
from gateway.formats.standing import Export, Line
from gateway.kept import KeptResource
from gateway.message import Json
from gateway.pull import present, respond
from gateway.pull.access import Caller
from gateway.pull.api import Api
from gateway.pull.export import File, files_of, job_of, notes_of, opened, scope_of, search_of

PAGE: Final = 500
PAGE_BYTES: Final = 8 * 1024 * 1024
_IN_BUNDLE: Final = 100


async def file(api: Api, request: Request) -> Response:
    """One file of an export."""
    caller = await api.access.caller(request)
    export = await opened(api, caller, str(request.path_params["job"]))
    wanted = str(request.path_params["file"])
    if wanted == "errors":
        return Response(b"".join(_errors(export, caller)), 200, respond.HEADERS, respond.NDJSON)
    files = files_of(export)
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 9 and int(wanted) < len(files)):
        raise NotAllowed("GW-PULL-003")
    chosen = files[int(wanted)]
    caller.need(chosen.type, "r")
    if api.streams.get(caller.id, 0) >= api.settings.exports:
        raise NotAllowed("GW-PULL-013")
    await api.listed(caller, "search-type", chosen.type, chosen.count, [("export", export.id), ("file", wanted)])
    body = (_gone if chosen.deleted else _lines)(api, caller, export, chosen)
    return StreamingResponse(_counted(api, caller, export, chosen, body), 200, respond.HEADERS, respond.NDJSON)


def _errors(export: Export, caller: Caller) -> Iterator[bytes]:
    for each in notes_of(export):
        yield json.write(respond.outcome((each,), caller.language)) + b"\n"


async def _counted(
    api: Api, caller: Caller, export: Export, chosen: File, body: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The body, and what was sent of it: for the operator, once it was sent to its end."""
    api.streams[caller.id] = api.streams.get(caller.id, 0) + 1
    size = 0
    try:
        async for part in body:
            size += len(part)
            yield part
        await api.store.exports.sent(export.id, chosen.count, size)
    finally:
        api.streams[caller.id] -= 1


async def _lines(api: Api, caller: Caller, export: Export, chosen: File) -> AsyncIterator[bytes]:
    """A page of lines at a time; the page shrinks where the resources are large.

    A resource that cannot be read ends the transfer, so that nobody takes the file for whole; it is recorded, and the
    next time the file is complete without it and the error file names it.
    """
    job, known = job_of(export), {each["position"] for each in export.problems}
    left, after, size = chosen.count, chosen.after, PAGE
    while left > 0:
        found = await api.store.exports.lines(search_of(api, caller, job, chosen.type, after, min(left, size)))
        if not found:
            return
        lost = [each for each in found if each.resource is None and each.position not in known]
        if lost:
            await _record(api, export, lost)
            raise Broken("GW-PULL-016", resource=f"{lost[0].type}/{lost[0].id}", version=str(lost[0].version))
        body = b"".join(_line(api, each.resource) for each in found if each.resource is not None)
        left, after = left - len(found), found[-1].position
        size = max(1, min(PAGE, size * PAGE_BYTES // max(len(body), PAGE_BYTES // 2)))
        yield body


def _line(api: Api, kept: KeptResource) -> bytes:
    return json.write(present.resource(kept, api.definitions)) + b"\n"


async def _record(api: Api, export: Export, lost: list[Line]) -> None:
    more = tuple({"position": e.position, "type": e.type, "id": e.id, "version": e.version} for e in lost)
    found: Export | None = export
    while found is not None:
        known = {each["position"] for each in found.problems}
        fresh = tuple(each for each in more if each["position"] not in known)
        if await api.store.exports.save(msgspec.structs.replace(found, problems=(*found.problems, *fresh))):
            return
        found = await api.store.exports.one(export.id)


async def _gone(api: Api, caller: Caller, export: Export, chosen: File) -> AsyncIterator[bytes]:
    """Transactions that delete, as the standard wants what was deleted since."""
    job = job_of(export)
    scope = scope_of(caller, job)
    ask = api.store.exports.deleted
    found = await ask(scope, chosen.type, job.feed, job.changed_after, chosen.after, chosen.count)
    for start in range(0, len(found), _IN_BUNDLE):
        requests = [{"method": "DELETE", "url": f"{chosen.type}/{id}"} for _, id in found[start : start + _IN_BUNDLE]]
        bundle: Json = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": r} for r in requests]}
        yield json.write(bundle) + b"\n"
