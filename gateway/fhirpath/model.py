"""What the engine must know of the types: the small interface, and one made from StructureDefinitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

_TYPE_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
_SYSTEM: Final = "http://hl7.org/fhirpath/System."


class Element(msgspec.Struct, frozen=True):
    """One element of a type.

    `types` are names that the model knows: "string", "HumanName", the path of a backbone ("Patient.contact"), or
    "Resource". With `choice` the JSON name is `name` and the capitalised type: value -> valueQuantity.
    """

    name: str
    types: tuple[str, ...]
    many: bool = False
    choice: bool = False

    def json(self) -> tuple[tuple[str, str], ...]:
        """Pairs of JSON member name and type."""
        if self.choice:
            return tuple((self.name + name[0].upper() + name[1:], name) for name in self.types)
        return ((self.name, self.types[0]),) if self.types else ()


class TypeModel(Protocol):
    """The types of one FHIR release. Answers must not change: the engine keeps them."""

    def elements(self, type_name: str) -> Mapping[str, Element] | None:
        """All elements of a type (inherited ones too) by name, in order; None for an unknown type."""
        ...

    def base(self, type_name: str) -> str | None:
        """The type that it specialises: "Age" -> "Quantity", "code" -> "string"; None at the top."""
        ...

    def is_primitive(self, type_name: str) -> bool:
        """Whether the JSON form is a bare value with an optional `_name` beside it."""
        ...


class StructureModel:
    """A `TypeModel` read from StructureDefinitions with snapshots (JSON documents, base definitions only)."""

    def __init__(self, structures: Iterable[Mapping[str, Any]]) -> None:
        self._elements: dict[str, dict[str, Element]] = {}
        self._base: dict[str, str] = {}
        self._primitive: set[str] = set()
        for structure in structures:
            if structure.get("derivation") != "constraint" and "snapshot" in structure:
                self._read(structure)

    def elements(self, type_name: str) -> Mapping[str, Element] | None:
        return self._elements.get(type_name)

    def base(self, type_name: str) -> str | None:
        return self._base.get(type_name)

    def is_primitive(self, type_name: str) -> bool:
        return type_name in self._primitive

    def _read(self, structure: Mapping[str, Any]) -> None:
        name = structure["type"]
        if structure.get("kind") == "primitive-type":
            self._primitive.add(name)
        base = structure.get("baseDefinition", "").rpartition("/")[2]
        if base:
            self._base[name] = base
        rows = structure["snapshot"]["element"]
        parents = {row["path"].rpartition(".")[0] for row in rows}
        self._elements[name] = {}
        for row in rows[1:]:
            parent, _, last = row["path"].rpartition(".")
            element = _element(row, last, backbone=row["path"] in parents)
            if row["path"] == f"{name}.id" and structure.get("kind") == "resource":
                element = Element("id", ("id",))  # 4.0.1 says string here; the text of the standard says id
            self._elements.setdefault(parent, {})[element.name] = element
            if row["path"] in parents:
                self._base[row["path"]] = row["type"][0]["code"]


def _element(row: Mapping[str, Any], last: str, *, backbone: bool) -> Element:
    many = row.get("max", "1") not in ("0", "1")
    if "contentReference" in row:
        return Element(last, (row["contentReference"].rpartition("#")[2],), many)
    if backbone:
        return Element(last, (row["path"],), many)
    types = tuple(dict.fromkeys(_type(kind) for kind in row.get("type", ())))
    choice = last.endswith("[x]")
    return Element(last.removesuffix("[x]"), types, many, choice)


def _type(kind: Mapping[str, Any]) -> str:
    code: str = kind["code"]
    if not code.startswith(_SYSTEM):
        return code
    for extension in kind.get("extension", ()):
        if extension.get("url") == _TYPE_EXTENSION:
            return str(extension.get("valueUrl") or extension.get("valueUri") or "string")
    name = code.removeprefix(_SYSTEM)
    return name[0].lower() + name[1:]
