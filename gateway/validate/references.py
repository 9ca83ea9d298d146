"""References: form, allowed targets, and what they lead to (FHIR R4 2.28; bundle resolution 3.1.8.1).

A reference is looked up where it can be looked up without asking anybody: among the contained resources (`#id`),
in the Bundle by fullUrl, by a relative URL against the entry's own base, with a version where one is given.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.message import Json
from gateway.validate.model import Model
from gateway.validate.pack import R4, split_canonical
from gateway.validate.run import Path, Run, shown

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules

Rule = Callable[[Any, Path, Run], None]

RESTFUL: Final = re.compile(
    r"(?P<base>(?:https?)://[^\s?#]*?/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9\-.]{1,64}))?(?:#(?P<fragment>.*))?"
)
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class Entry(NamedTuple):
    """One resource that references may lead to. `at` is its position among the entries."""

    resource: Json
    full_url: str
    at: int


class Index:
    """The entries of a Bundle (or of an item's resources) by what a reference may call them."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.by_url: dict[str, list[Entry]] = {}
        self.by_name: dict[str, list[Entry]] = {}
        self.by_urn: dict[str, Entry] = {}  # last part of a URN -> entry
        self.url_of: dict[int, str] = {}
        self.kept: dict[tuple[int, str], frozenset[tuple[int, str]]] = {}  # see `Run.keeps`
        for each in entries:
            if each.full_url:
                self.by_url.setdefault(each.full_url, []).append(each)
            if each.full_url.startswith("urn:"):
                self.by_urn.setdefault(each.full_url.rpartition(":")[2], each)
            name = f"{each.resource.get('resourceType')}/{each.resource.get('id')}"
            self.by_name.setdefault(name, []).append(each)
            self.url_of[id(each.resource)] = each.full_url

    @classmethod
    def of_bundle(cls, bundle: Json) -> Index:
        """The index of a Bundle's entries; entries of another shape are left out."""
        found: list[Entry] = []
        entries = bundle.get("entry")
        for at, entry in enumerate(entries if type(entries) is list else ()):
            if type(entry) is dict and type(entry.get("resource")) is dict:
                url = entry.get("fullUrl")
                found.append(Entry(entry["resource"], url if type(url) is str else "", at))
        return cls(found)

    def find(self, reference: str, source_url: str) -> list[Entry]:
        """Every entry that the reference leads to, seen from the entry with `source_url`."""
        url, _, _ = reference.partition("#")
        parts = RESTFUL.fullmatch(reference)
        if not _ABSOLUTE.match(url):
            if parts is None:
                return []
            base = RESTFUL.fullmatch(source_url)
            if base is None or base["base"] is None:
                # no base to stand on: the entry has no RESTful URL, so the name alone decides (3.1.8.1, rule 3)
                return self._versioned(self.by_name.get(f"{parts['type']}/{parts['id']}", []), parts["version"])
            url = f"{base['base']}{parts['type']}/{parts['id']}"
        elif parts is not None and parts["base"] is not None:
            url = f"{parts['base']}{parts['type']}/{parts['id']}"
        return self._versioned(self.by_url.get(url, []), parts["version"] if parts else None)

    @staticmethod
    def _versioned(found: list[Entry], version: str | None) -> list[Entry]:
        if version is None:
            return found
        return [e for e in found if (e.resource.get("meta") or {}).get("versionId") == version]


def resolve(run: Run, reference: Any) -> Json | None:
    """The one resource that a reference leads to from where we are, or None."""
    if type(reference) is not str or not reference:
        return None
    if reference.startswith("#"):
        return contained(run, reference[1:])
    found = run.index.find(reference, source_url(run)) if run.index is not None else []
    return found[0].resource if found else None


def contained(run: Run, id: str) -> Json | None:
    """The contained resource of that id; an empty id is the container itself (`#`)."""
    holder = run.container if run.container is not None else run.resource
    if not id:
        return holder
    known = run.inner.get(builtins.id(holder))
    if known is None:
        inner = holder.get("contained")
        held = [each for each in inner if type(each) is dict] if type(inner) is list else []
        known = run.inner[builtins.id(holder)] = {each["id"]: each for each in held if type(each.get("id")) is str}
    if id in known:
        return known[id]
    return holder if holder.get("id") == id and run.container is not None else None


def source_url(run: Run) -> str:
    """fullUrl of the entry that we are in."""
    if run.index is None:
        return ""
    holder = run.container if run.container is not None else run.resource
    return run.index.url_of.get(id(holder), "")


def target_types(model: Model, targets: tuple[str, ...], rules: Rules) -> Mapping[str, tuple[str, ...]] | None:
    """Resource type -> profiles of it that are allowed (empty: any instance); None where anything is allowed."""
    if not targets:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for canonical in targets:
        url = split_canonical(canonical)[0]
        name = url.removeprefix(R4)
        if name != url and model.is_resource(name):
            if name in ("Resource", "DomainResource"):
                return None
            found[name] = ()
        else:
            definition = rules.pack.structure(canonical)
            if definition is None:
                return None
            kind = str(definition.get("type"))
            if found.get(kind) != ():
                found[kind] = (*found.get(kind, ()), canonical)
    return found


def target_rule(source: Rules, targets: tuple[str, ...]) -> Rule:
    """The check of a Reference against its element's base targets."""
    allowed: list[Mapping[str, tuple[str, ...]] | None] = []

    def rule(value: Any, path: Path, run: Run) -> None:
        if not allowed:
            allowed.append(target_types(source.model, targets, source))
        check(value, allowed[0], path, run)

    return rule


def check(value: Json, allowed: Mapping[str, Any] | None, path: Path, run: Run) -> None:
    """Form, resolution and type of one Reference."""
    reference, stated = value.get("reference"), value.get("type")
    if type(stated) is str:
        stated = stated.removeprefix(R4)
        if not run.rules.model.is_resource(stated) and not _ABSOLUTE.match(stated):
            run.say("GW-VAL-017", path, args={"type": shown(stated), "allowed": "…"})
        elif allowed is not None and stated not in allowed and not _ABSOLUTE.match(stated):
            run.say("GW-VAL-017", path, args={"type": shown(stated), "allowed": ", ".join(allowed)})
    if type(reference) is not str or not reference:
        return
    known = type(stated) is str and run.rules.model.is_resource(stated)
    _check_literal(reference, stated if known else None, allowed, path, run)


def _check_literal(reference: str, stated: str | None, allowed: Mapping[str, Any] | None, path: Path, run: Run) -> None:
    found: Json | None
    if reference.startswith("#"):
        found = contained(run, reference[1:])
        if found is None:
            run.say("GW-VAL-018", path, args={"reference": shown(reference)}, source="ref-1")
            return
    else:
        found = _in_bundle(reference, path, run)
    parts = RESTFUL.fullmatch(reference)
    named = parts["type"] if parts is not None else None
    if found is not None:
        kind = found.get("resourceType")
        if type(kind) is not str or not run.rules.model.is_concrete_resource(kind):
            return  # said where that resource stands
        if named is not None and kind != named:
            run.say("GW-VAL-019", path, args={"reference": shown(reference), "found": str(kind)})
            return
        named = kind
    elif parts is None and not _ABSOLUTE.match(reference) and not _conditional(reference):
        run.say("GW-VAL-020", path, args={"reference": shown(reference)})
        return
    elif named is not None and not run.rules.model.is_resource(named):
        if parts is not None and parts["base"] is None:
            run.say("GW-VAL-020", path, args={"reference": shown(reference)})
        return
    if type(named) is str and allowed is not None and named not in allowed:
        run.say("GW-VAL-017", path, args={"type": shown(named), "allowed": ", ".join(allowed)})
    elif type(named) is str and stated is not None and stated != named and not _ABSOLUTE.match(stated):
        run.say("GW-VAL-019", path, args={"reference": shown(reference), "found": named})


def _conditional(reference: str) -> bool:
    """`Patient?identifier=…`: allowed in transactions."""
    return "?" in reference and reference.partition("?")[0].isalpha()


def _in_bundle(reference: str, path: Path, run: Run) -> Json | None:
    if run.index is None:
        return None
    found = run.index.find(reference, source_url(run))
    if len(found) > 1 and not _same_resource(found):
        run.say("GW-VAL-021", path, args={"reference": shown(reference), "count": str(len(found))})
    if found:
        return found[0].resource
    unresolved = run.policy.unresolved
    if reference.startswith("urn:") and run.root.get("resourceType") == "Bundle":
        if run.root.get("type") in ("transaction", "batch", "document", "message", "collection"):
            run.say("GW-VAL-022", path, severity="warning", args={"reference": shown(reference)})
    elif unresolved is not None and not _ABSOLUTE.match(reference):
        run.say("GW-VAL-022", path, severity=unresolved, args={"reference": shown(reference)})
    if run.root.get("resourceType") == "Bundle" and not _ABSOLUTE.match(reference):
        _wrong_type_nearby(reference, path, run)
    return None


def _same_resource(found: list[Entry]) -> bool:
    return len({id(each.resource) for each in found}) == 1


def _wrong_type_nearby(reference: str, path: Path, run: Run) -> None:
    """A relative reference whose id is in the Bundle, but as another type."""
    parts = RESTFUL.fullmatch(reference)
    if parts is None or run.index is None:
        return
    each = run.index.by_urn.get(parts["id"])
    kind = str(each.resource.get("resourceType")) if each is not None else parts["type"]
    if kind != parts["type"]:
        run.say("GW-VAL-019", path, args={"reference": shown(reference), "found": kind})
