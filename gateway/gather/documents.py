"""Documents: a complete case as one Bundle, built once, its bytes never changed afterwards.

Resources of several items that have the same id are one resource: a later item replaces the top-level elements
that it brings and leaves the others, except `identifier`, which grows, and `extension`, where it replaces those of
the same url. So an ADT that knows the address and a DFT that
does not make one Patient with the address. Order is the order of first appearance; the same items give the same
bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from gateway.formats import json
from gateway.message import Case, ItemRecord, Json
from gateway.programme import DocumentPlan, Programme


def document_id(case: Case) -> str:
    """The id of the document of this case version; the same every time it is asked."""
    return hashlib.sha256(f"document\0{case.id}\0{case.version}".encode()).hexdigest()[:32]


def _union(earlier: list[Any], later: list[Any]) -> list[Any]:
    return [*earlier, *(each for each in later if each not in earlier)]


def _overlay(earlier: Json, later: Json) -> Json:
    merged = {**earlier, **later}
    if "identifier" in earlier and isinstance(later.get("identifier"), list):
        merged["identifier"] = _union(earlier["identifier"], later["identifier"])
    if "extension" in earlier and isinstance(later.get("extension"), list):
        told = {each.get("url") for each in later["extension"]}
        merged["extension"] = [*(e for e in earlier["extension"] if e.get("url") not in told), *later["extension"]]
    return merged


def merge(resources: Iterable[Json]) -> list[Json]:
    """One resource per type and id, in the order of first appearance."""
    merged: dict[tuple[str, str], Json] = {}
    for resource in resources:
        key = (resource["resourceType"], resource["id"])
        merged[key] = _overlay(merged[key], resource) if key in merged else resource
    return list(merged.values())


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _header(plan: DocumentPlan, id: str, resources: Sequence[Json]) -> Json:
    system, _, code = plan.event.partition("|")
    return {
        "resourceType": "MessageHeader",
        "id": id,
        "eventCoding": {"system": system, "code": code},
        "source": {"name": plan.source_name, "endpoint": plan.endpoint},
        "focus": [{"reference": f"{r['resourceType']}/{r['id']}"} for r in resources],
    }


def assemble(programme: Programme, case: Case, items: Sequence[ItemRecord], at: datetime) -> bytes:
    """The document's exact bytes: a Bundle of the merged resources of the items, in the order of gathering."""
    return of_resources(programme, case, merge(resource for item in items for resource in item.result.resources), at)


def of_resources(programme: Programme, case: Case, resources: Sequence[Json], at: datetime) -> bytes:
    """The document's exact bytes for resources that are already what they should be."""
    plan = programme.document_plan(case.kind)
    id = document_id(case)
    if plan.bundle == "message":
        resources = [_header(plan, id, resources), *resources]
    bundle: Json = {"resourceType": "Bundle", "id": id}
    if plan.profile:
        bundle["meta"] = {"profile": [plan.profile]}
    bundle["identifier"] = {"system": f"{programme.canonical}/document", "value": id}
    bundle["type"] = plan.bundle
    bundle["timestamp"] = _instant(at)
    bundle["entry"] = _entries(programme, resources)
    return json.write(bundle)


def _entries(programme: Programme, resources: Iterable[Json]) -> list[Json]:
    return [{"fullUrl": f"{programme.canonical}/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]


def with_derived(programme: Programme, body: bytes, derived: bytes) -> bytes:
    """The document with what was derived from the whole of it: `{"resources": […]}`, merged like any other.

    What stands in the document wins over what is derived: a derived resource only adds elements to it.
    """
    return joined(programme, json.reread(body), json.reread(derived))


def joined(programme: Programme, bundle: Json, derived: Json) -> bytes:
    """The same of a document and of what was derived that are read already; `bundle` is used up."""
    present = [entry["resource"] for entry in bundle["entry"]]
    more = derived.get("resources", [])
    given = {(r["resourceType"], r["id"]): r for r in more}
    kept = [_overlay(given.get((r["resourceType"], r["id"]), {}), r) for r in present]
    bundle["entry"] = _entries(programme, merge([*kept, *_others(more, present)]))
    return json.write(bundle)


def _others(more: Iterable[Json], present: Iterable[Json]) -> list[Json]:
    known = {(r["resourceType"], r["id"]) for r in present}
    return [each for each in more if (each["resourceType"], each["id"]) not in known]
