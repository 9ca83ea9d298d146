"""Single things: a document's exact signed bytes as a Binary, and everything about a patient."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import Broken, NotAllowed, Refused
from gateway.fhirpath import StructureModel
from gateway.formats import json
from gateway.formats.search import AnyOf, IsDate, RefersTo
from gateway.kept import KeptResource
from gateway.message import Document, Json
from gateway.pull import present, respond
from gateway.pull.access import Caller
from gateway.pull.instants import LATEST, micros, text
from gateway.pull.query import Include
from gateway.pull.search import Searcher, proofs

MOST: Final = 2_000
"""Resources in one answer about a patient; more is what bulk export is for."""

SIGNATURE: Final = ".jws"
_JOSE: Final = "application/jose"


def binary(request: Request, document: Document, signature: bool, asked: str | None, model: StructureModel) -> Response:
    """The bytes as they are, unless the caller asks for the FHIR form (FHIR R4 2.38.1: Accept decides)."""
    body, media = (document.evidence.jws.encode(), _JOSE) if signature else (document.body, respond.JSON)
    accept = request.headers.get("accept", "*/*")
    headers = {
        "etag": f'"{document.digest}"',
        "x-security-context": f"Provenance?_document={document.id}",
        "content-disposition": "attachment",
    }
    if asked is None and ("fhir+" not in accept or accept.startswith(media)) and "fhir+xml" not in accept:
        return Response(body, 200, {**respond.HEADERS, **headers}, media_type=media)
    value: Json = {
        "resourceType": "Binary",
        "id": document.id + (SIGNATURE if signature else ""),
        "meta": {"versionId": "1", "lastUpdated": text(document.made_at)},
        "contentType": media,
        "data": base64.b64encode(body).decode("ascii"),
    }
    return respond.respond(value, respond.format_of(request, asked), model, 200, {"etag": headers["etag"]})


def signed(document: Document, provenance: Json) -> bytes:
    """The document's own bytes with `signature` as their last element, as FHIR R4 orders it.

    Nothing else of them is written anew: without that one member the text is, byte for byte, what was signed.
    """
    found = provenance.get("signature")
    if not isinstance(found, list) or not found or not document.body.endswith(b"}"):
        raise Broken("GW-STORE-003", reference="evidence")
    return document.body[:-1] + b',"signature":' + json.write(found[0]) + b"}"


async def everything(
    searcher: Searcher, caller: Caller, id: str, feed: int, types: Sequence[str], since: datetime | None
) -> list[KeptResource]:
    """The patient, what refers to him, what that refers to, and the proofs of the documents that carried it.

    `NotAllowed` where there is no such patient for the caller or a scope is missing, `Refused` past `MOST`.
    """
    caller.need("Patient", "r")
    patient = await searcher.store.current("Patient", [id], caller.scope, feed)
    if not patient:
        raise NotAllowed("GW-PULL-003")
    found = list(patient)
    newer = () if since is None else (_since(since),)
    for type in searcher.definitions.types:
        if type in ("Patient", "Provenance") or (types and type not in types) or not caller.may(type, "s"):
            continue
        terms = _of_patient(searcher, type, id)
        if terms:
            found += await searcher.all(type, AnyOf(terms=terms), caller, feed, MOST, *newer)
        if len(found) > MOST:
            raise Refused("GW-PULL-012")
    found += await _around(searcher, caller, found, feed, types)
    if caller.may("Provenance", "s") and (not types or "Provenance" in types):
        terms = tuple(proofs(found))
        found += await searcher.all("Provenance", AnyOf(terms=terms), caller, feed, MOST) if terms else ()
    if len(found) > MOST:
        raise Refused("GW-PULL-012")
    return list({(each.type, each.id): each for each in found}.values())


def _since(at: datetime) -> AnyOf:
    return AnyOf(terms=(IsDate(parameter="_lastUpdated", prefix="ge", low=micros(at), high=LATEST),))


def _of_patient(searcher: Searcher, type: str, id: str) -> tuple[RefersTo, ...]:
    return tuple(
        RefersTo(parameter=each.key, type="Patient", id=id)
        for each in searcher.definitions.of(type).values()
        if each.kind == "reference" and "Patient" in each.targets
    )


async def _around(
    searcher: Searcher, caller: Caller, found: Sequence[KeptResource], feed: int, types: Sequence[str]
) -> list[KeptResource]:
    """What the record refers to, one step: organisations, practitioners, places. Never another patient."""
    made: list[KeptResource] = []
    wildcards = [Include(each, "*") for each in searcher.definitions.types]
    for type, ids in searcher.referred(found, wildcards).items():
        allowed = type in searcher.definitions.types and caller.may(type, "r") and (not types or type in types)
        if allowed and type != "Patient":
            made += await searcher.store.current(type, sorted(ids)[:MOST], caller.scope, feed)
    return made


def searchset(found: Sequence[KeptResource], base: str, searcher: Searcher, own: str) -> Json:
    """The answer of an operation that returns resources."""
    entries = [present.entry(each, base, searcher.definitions) for each in found]
    link = [{"relation": "self", "url": own}]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": link, "entry": entries}
