"""A document Bundle as a source, for the mappings that make national messages from it.

Encounter.period.start                  in every Encounter of the Bundle
Patient.identifier[system=urn:x].value  only where the member has that value; filters may be nested: [type.text=y]
.code.coding[0].code                    inside a part given by `each`, counted from 0
Encounter.subject.resolve().name        across a reference that the Bundle can answer
Bundle.timestamp                        the Bundle itself
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gateway.errors import Misconfigured
from gateway.formats.source import Datum
from gateway.message import Json, Place

_STEP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|resolve\(\))((?:\[[^\]]*\])*)(?:\.|$)")
_FILTER: Final = re.compile(r"\[([^\]=]*)(?:=([^\]]*))?\]")


class Filter(NamedTuple):
    """`[3]` or `[name.name=value]`; a name alone: whether it is there."""

    names: tuple[str, ...]
    value: str | None
    position: int = -1


class DocumentStep(NamedTuple):
    """One name of a path with its filters."""

    name: str
    filters: tuple[Filter, ...] = ()


class DocumentPath(msgspec.Struct, frozen=True):
    """`type` is the resource type that an absolute path begins with; empty for a relative one."""

    text: str
    type: str
    steps: tuple[DocumentStep, ...]


def _filter(name: str, value: str | None) -> Filter:
    if value is None and name.isdigit():
        return Filter((), None, int(name))
    return Filter(tuple(name.split(".")), value)


def compile(path: str) -> DocumentPath:
    """The path, or `Misconfigured`."""
    text = path.strip()
    rest = text.removeprefix(".")
    steps: list[DocumentStep] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise Misconfigured("GW-FMT-040", path=path, notation="a document")
        filters = tuple(_filter(m[1], m[2]) for m in _FILTER.finditer(found[2]))
        steps.append(DocumentStep(found[1], filters))
        at = found.end()
    if not text.startswith(".") and steps and steps[0].name[0].isupper():
        first = steps[0]
        return DocumentPath(text, first.name, (DocumentStep("", first.filters), *steps[1:]))
    return DocumentPath(text, "", tuple(steps))


class DocumentNotation:
    """For the compiler: the paths of this file."""

    name: Final = "fhirpath"

    def compile(self, path: str) -> DocumentPath:
        """The path, or `Misconfigured`."""
        return compile(path)


NOTATION: Final = DocumentNotation()


class Document:
    """The Bundle with its index."""

    def __init__(self, bundle: Json) -> None:
        self.bundle = bundle
        self.by_type: dict[str, list[Json]] = {"Bundle": [bundle]}
        self.by_reference: dict[str, Json] = {}
        for entry in bundle.get("entry", ()):
            resource = entry.get("resource") or {}
            kind = resource.get("resourceType", "")
            self.by_type.setdefault(kind, []).append(resource)
            self.by_reference[f"{kind}/{resource.get('id')}"] = resource
            if "fullUrl" in entry:
                self.by_reference[entry["fullUrl"]] = resource

    def place_of(self, key: str) -> Place:
        """Paths of documents are shown as they are written."""
        return Place(notation="fhirpath", path=key)


class Part:
    """One node of the document. Is a `Source`; leaves are not numbered, because nothing of it can be lost here."""

    notation: Final = "fhirpath"
    first: Final = 0
    size: Final = 1

    def __init__(self, document: Document, node: Any) -> None:
        self.document = document
        self.node = node

    @property
    def here(self) -> Place:
        return Place(notation="fhirpath", path="Bundle")

    def nodes(self, path: DocumentPath) -> list[Any]:
        """Every node under the path."""
        found = self.document.by_type.get(path.type, []) if path.type else [self.node]
        for step in path.steps:
            found = [node for parent in found for node in self._step(parent, step)]
        return found

    def _step(self, parent: Any, step: DocumentStep) -> list[Any]:
        if step.name == "resolve()":
            reference = parent.get("reference") if isinstance(parent, dict) else None
            resource = self.document.by_reference.get(reference or "")
            return [resource] if resource is not None else []
        if step.name:
            if not isinstance(parent, dict) or step.name not in parent:
                return []
            value = parent[step.name]
        else:
            value = parent
        found = value if isinstance(value, list) else [value]
        for each in step.filters:
            found = (
                found[each.position : each.position + 1]
                if each.position >= 0
                else [n for n in found if _holds(n, each)]
            )
        return found

    def get(self, path: DocumentPath) -> Sequence[Datum]:
        return [
            Datum(node, 0, self.document, path.text)
            for node in self.nodes(path)
            if not isinstance(node, dict | list) and node != ""
        ]

    def each(self, path: DocumentPath) -> Sequence[Part]:
        return [Part(self.document, node) for node in self.nodes(path)]

    def leaves(self, seen: bytearray | None = None) -> Iterable[Datum]:
        return ()


def _holds(node: Any, wanted: Filter) -> bool:
    found = [node]
    for name in wanted.names:
        found = [
            child
            for parent in found
            if isinstance(parent, dict) and name in parent
            for child in (parent[name] if isinstance(parent[name], list) else [parent[name]])
        ]
    return bool(found) if wanted.value is None else any(str(each) == wanted.value for each in found)


def read(bundle: Json) -> Part:
    """The document as a source."""
    return Part(Document(bundle), bundle)
