"""Bundles: what their entries must be to one another (FHIR R4 2.36, 3.3 documents, 2.4 messages).

The invariants bdl-1 … bdl-12 come with the definitions; here is what they cannot say: absolute fullUrls that agree
with the resource's id, references of a document or message that must lead into the Bundle, and entries that
nothing leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.message import Json
from gateway.validate.references import RESTFUL, Entry, Index
from gateway.validate.run import Path, Run, shown

_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NO_URL_NEEDED: Final = frozenset({"transaction", "batch", "batch-response", "transaction-response"})
_MUST_RESOLVE: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "Composition": (
        ("subject",),
        ("encounter",),
        ("author",),
        ("attester", "party"),
        ("custodian",),
        ("event", "detail"),
    ),
    "MessageHeader": (("focus",),),
}
_IN_SECTION: Final = (("author",), ("focus",), ("entry",))


def check(bundle: Any, path: Path, run: Run) -> None:
    """Everything about a Bundle that is not about one entry alone."""
    index = run.index
    entries = bundle.get("entry")
    if index is None or type(entries) is not list:
        return
    kind = bundle.get("type")
    for at, entry in enumerate(entries):
        if type(entry) is dict:
            _full_url(entry, kind, (path, "entry", at, "Bundle.entry"), run)
    if kind in ("document", "message") and index.entries and index.entries[0].at == 0:
        _rooted(bundle, index, path, run, kind)


def _full_url(entry: Json, kind: Any, path: Path, run: Run) -> None:
    url, resource = entry.get("fullUrl"), entry.get("resource")
    if type(resource) is not dict:
        return
    if type(url) is not str:
        if kind not in _NO_URL_NEEDED and "fullUrl" not in entry:
            run.say("GW-VAL-060", path, severity=None if kind in ("document", "message") else "warning")
        return
    if not _ABSOLUTE.match(url):
        run.say("GW-VAL-061", path, args={"url": shown(url)})
        return
    name, id = resource.get("resourceType"), resource.get("id")
    if type(name) is not str or not run.rules.model.is_concrete_resource(name):
        return
    parts = RESTFUL.fullmatch(url)
    if parts is not None and run.rules.model.is_concrete_resource(parts["type"]) and type(id) is str:
        if (parts["type"], parts["id"]) != (name, id):
            run.say("GW-VAL-062", path, args={"url": shown(url), "name": f"{name}/{shown(id)}"})
    elif url.startswith("urn:uuid:") and type(id) is str and kind == "document" and url[9:].lower() != id.lower():
        run.say("GW-VAL-062", path, severity="information", args={"url": shown(url), "name": f"{name}/{shown(id)}"})


def _rooted(bundle: Json, index: Index, path: Path, run: Run, kind: str) -> None:
    """A document or message: what the first entry must lead to, and what leads nowhere."""
    first = index.entries[0]
    here = ((path, "entry", 0, "Bundle.entry"), "resource", -1, str(first.resource.get("resourceType")))
    for reference, inner in _required(first.resource):
        found = index.find(reference, first.full_url)
        if not found and not reference.startswith("#"):
            place = here
            for name, at in inner:
                place = (place, name, at, "")
            run.say("GW-VAL-063", place, args={"reference": shown(reference)})
    reached = _reached(index, first)
    styles = {link.get("url") for link in bundle.get("link", ()) if type(link) is dict}
    for each in index.entries:
        if each.at not in reached and each.full_url not in styles and each.resource.get("resourceType") != "Binary":
            place = (path, "entry", each.at, "Bundle.entry")
            run.say("GW-VAL-064", place, severity=None if kind == "document" else "warning")


def _required(root: Json) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    for steps in _MUST_RESOLVE.get(str(root.get("resourceType")), ()):
        yield from _at(root, steps, [])
    if root.get("resourceType") == "Composition":
        yield from _sections(root, [])


def _sections(holder: Json, way: list[tuple[str, int]]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    sections = holder.get("section")
    for at, section in enumerate(sections if type(sections) is list else ()):
        if type(section) is dict:
            inner = [*way, ("section", at)]
            for steps in _IN_SECTION:
                yield from _at(section, steps, inner)
            yield from _sections(section, inner)


def _at(holder: Any, steps: tuple[str, ...], way: list[tuple[str, int]]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    if type(holder) is not dict:
        return
    if not steps:
        if type(holder.get("reference")) is str:
            yield holder["reference"], way
        return
    value = holder.get(steps[0])
    if type(value) is list:
        for at, each in enumerate(value):
            yield from _at(each, steps[1:], [*way, (steps[0], at)])
    else:
        yield from _at(value, steps[1:], [*way, (steps[0], -1)])


def links(resource: Json) -> set[str]:
    """Every reference and URL of the resource that may lead to another entry."""
    found: set[str] = set()
    todo: list[Any] = [resource]
    while todo:
        each = todo.pop()
        if type(each) is list:
            todo.extend(each)
        elif type(each) is dict:
            for name, value in each.items():
                if type(value) is str and name in ("reference", "url", "valueUri", "valueUrl", "valueCanonical"):
                    found.add(value)
                elif type(value) is dict or type(value) is list:
                    todo.append(value)
    return found


def _reached(index: Index, first: Entry) -> set[int]:
    """Positions of the entries that links lead to from the first entry, forwards, and backwards from them."""
    forward: dict[int, set[int]] = {}
    backward: dict[int, set[int]] = {}
    for each in index.entries:
        for link in links(each.resource):
            for target in index.find(link, each.full_url):
                forward.setdefault(each.at, set()).add(target.at)
                backward.setdefault(target.at, set()).add(each.at)
    found = {first.at}
    todo = [first.at]
    while todo:
        at = todo.pop()
        for other in forward.get(at, set()) | backward.get(at, set()):
            if other not in found:
                found.add(other)
                todo.append(other)
    return found
