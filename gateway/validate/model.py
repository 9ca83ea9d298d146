"""The types of R4 as the validator walks them: which members an object of a type may have, and what each is.

A type is named by a **key**: the name of a resource or datatype ("Patient", "HumanName"), or the path of a
backbone element ("Patient.contact"). Sources: FHIR R4 2.24 (datatypes), 2.6.2 (JSON representation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from gateway.fhirpath import model as path_model
from gateway.message import Json
from gateway.validate.pack import R4, Pack

PRIMITIVES: Final = frozenset(
    {"base64Binary", "boolean", "canonical", "code", "date", "dateTime", "decimal", "id", "instant", "integer"}
    | {"markdown", "oid", "positiveInt", "string", "time", "unsignedInt", "uri", "url", "uuid", "xhtml"}
)
_QUANTITY_PROFILES: Final = {"SimpleQuantity": "Quantity", "MoneyQuantity": "Quantity"}
_PROFILE_ELEMENT: Final = "/elementdefinition-profile-element"
_KEPT: Final = 2_000
RESOURCES: Final = frozenset({"Resource", "DomainResource"})


class TypeRef(NamedTuple):
    """One allowed type of an element, with the profiles it must follow. `code` is a key of the model."""

    code: str
    profiles: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    aggregation: tuple[str, ...] = ()


class Element(NamedTuple):
    """One element of a type. `name` has no [x]; `key` is the type key of its content where it is a backbone."""

    name: str
    path: str
    min: int
    many: bool
    choice: bool
    types: tuple[TypeRef, ...]
    definition: Json


class Member(NamedTuple):
    """One JSON member: the element it belongs to and the type that its name says."""

    element: Element
    type: TypeRef


def type_refs(definition: Json) -> tuple[TypeRef, ...]:
    """The types of an ElementDefinition; a FHIRPath system type is `string`."""
    return tuple(
        TypeRef(
            _code(each),
            _profiles(each),
            tuple(each.get("targetProfile", ())),
            tuple(each.get("aggregation", ())),
        )
        for each in definition.get("type", ())
        if "code" in each
    )


def _profiles(source: Json) -> tuple[str, ...]:
    """The profiles of a type; `url#element` where only one element of the profile is meant."""
    found: list[str] = []
    notes = source.get("_profile", ())
    for at, url in enumerate(source.get("profile", ())):
        note = notes[at] if at < len(notes) else None
        inner = [e for e in (note or {}).get("extension", ()) if str(e.get("url", "")).endswith(_PROFILE_ELEMENT)]
        found.append(f"{url}#{inner[0].get('valueString')}" if inner else url)
    return tuple(found)


def _code(source: Json) -> str:
    code = str(source["code"])
    if code.startswith("http://hl7.org/fhirpath/System."):
        for extension in source.get("extension", ()):
            if extension["url"].endswith("/structuredefinition-fhir-type"):
                return str(extension.get("valueUrl", extension.get("valueUri", "string")))
        return "string"
    return _QUANTITY_PROFILES.get(code, code.removeprefix(R4))


def is_base(definition: Json) -> bool:
    """Whether a StructureDefinition defines a type itself, rather than saying more about one that exists."""
    kind = str(definition.get("type"))
    return definition.get("derivation") != "constraint" and definition.get("url") in (R4 + kind, kind)


def capital(name: str) -> str:
    """First letter upper case, as in the JSON name of a choice."""
    return name[:1].upper() + name[1:]


class Model:
    """Types by key, read from a pack when they are first needed."""

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self._types: dict[str, Mapping[str, Element]] = {}
        self._members: dict[str, Mapping[str, Member]] = {}
        self._loaded: set[str] = set()
        self._resources: dict[str, tuple[bool, bool]] = {}
        self._ancestry: dict[str, tuple[str, ...]] = {}

    def _base(self, name: str) -> Json | None:
        found = self.pack.structure(name)
        if found is None or not is_base(found) or "." in name:
            return None
        return found

    def _load(self, name: str) -> None:
        self._loaded.add(name)
        found = self._base(name)
        if found is None:
            return
        parts: dict[str, dict[str, Element]] = {}
        for definition in (found.get("snapshot") or found.get("differential") or {}).get("element", ()):
            path = definition["path"]
            parent, _, last = path.rpartition(".")
            if not parent:
                parts.setdefault(path, {})
                continue
            element = self._element(path, last, definition, found.get("kind") == "resource")
            parts.setdefault(parent, {})[element.name] = element
        self._types.update(parts)

    @staticmethod
    def _element(path: str, last: str, definition: Json, resource: bool) -> Element:
        types = type_refs(definition)
        if "contentReference" in definition:
            types = (TypeRef(definition["contentReference"].partition("#")[2]),)
        elif types and types[0].code in ("BackboneElement", "Element") and len(types) == 1:
            types = (TypeRef(path),)
        many = definition.get("max", "*") not in ("0", "1")
        choice = last.endswith("[x]")
        if last == "id" and path.count(".") == 1 and (types and types[0].code == "string") and resource:
            types = (TypeRef("id"),)  # 4.0.1 names the wrong type for Resource.id; 2.24.0.1 and 2.25 say id
        return Element(last.removesuffix("[x]"), path, int(definition.get("min", 0)), many, choice, types, definition)

    def known(self, key: str) -> bool:
        """Whether there is such a type."""
        return key in self._types or bool(self.elements(key)) or key in PRIMITIVES

    def elements(self, key: str) -> Mapping[str, Element]:
        """The elements of a type in order; empty for a key that is not known."""
        root = key.partition(".")[0]
        if key not in self._types and root not in self._loaded and self._base(root) is not None:
            self._load(root)
        return self._types.get(key, {})

    def root(self, key: str) -> Json | None:
        """The ElementDefinition of the type itself, where its constraints stand."""
        name = key.partition(".")[0]
        found = self._base(name)
        if found is None:
            return None
        for definition in found["snapshot"]["element"]:
            if definition["path"] == key:
                return dict(definition)
        return None

    def members(self, key: str) -> Mapping[str, Member]:
        """JSON member name -> what it is, with choice elements spelled out; `_name` is left to the caller."""
        made = self._members.get(key)
        if made is None:
            made = {
                (element.name + capital(ref.code) if element.choice else element.name): Member(element, ref)
                for element in self.elements(key).values()
                for ref in (element.types or (TypeRef("Element"),))
            }
            if self.is_resource(key):
                made.pop("resourceType", None)
            self._members[key] = made
        return made

    def _resource_kind(self, key: str) -> tuple[bool, bool]:
        known = self._resources.get(key)
        if known is None:
            found = self._base(key)
            named = found is not None and found.get("kind") == "resource"
            known = (named, named and found is not None and not found.get("abstract"))
            if len(self._resources) < _KEPT:  # the names come from outside
                self._resources[key] = known
        return known

    def is_resource(self, key: str) -> bool:
        """Whether the key names a resource type (abstract ones too)."""
        return self._resource_kind(key)[0]

    def is_concrete_resource(self, key: str) -> bool:
        """Whether a resource of that type can exist."""
        return self._resource_kind(key)[1]

    def is_primitive(self, key: str) -> bool:
        return key in PRIMITIVES

    def parent(self, key: str) -> str | None:
        """The type that a type specialises: Age -> Quantity, Patient -> DomainResource, code -> string."""
        found = self._base(key)
        if found is None:
            return "BackboneElement" if "." in key else None
        base = found.get("baseDefinition")
        return base.rpartition("/")[2] if base else None

    def ancestry(self, key: str) -> Sequence[str]:
        """The type and everything it specialises, nearest first."""
        known = self._ancestry.get(key)
        if known is None:
            found: list[str] = []
            each: str | None = key
            while each is not None and each not in found:
                found.append(each)
                each = self.parent(each)
            known = tuple(found)
            if len(self._ancestry) < _KEPT:  # the names come from outside
                self._ancestry[key] = known
        return known


class PathTypes:
    """The FHIRPath engine's view of the same types (`gateway.fhirpath.model.TypeModel`)."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._made: dict[str, Mapping[str, path_model.Element] | None] = {}

    def elements(self, type_name: str) -> Mapping[str, path_model.Element] | None:
        """All elements of a type by name; None for a type that is not known."""
        if type_name not in self._made:
            found = {
                each.name: path_model.Element(
                    each.name,
                    tuple(dict.fromkeys(ref.code for ref in each.types)) or ("Element",),
                    each.many,
                    each.choice,
                )
                for each in self.model.elements(type_name).values()
            }
            self._made[type_name] = found or None
        return self._made[type_name]

    def base(self, type_name: str) -> str | None:
        """The type that it specialises."""
        return self.model.parent(type_name)

    def is_primitive(self, type_name: str) -> bool:
        """Whether the JSON form is a bare value."""
        return type_name in PRIMITIVES
