"""A profile as a tree: what it adds to its base type, element by element, slice by slice.

Made from a differential over the tree of the parent profile, or from a snapshot; what equals the base type is
dropped. Nothing is written back: this is not a snapshot generator, only what a compiler needs. Sources: FHIR R4
5.1 (profiling, slicing, re-slicing), 1.13 (ElementDefinition, element ids).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from gateway.message import Json
from gateway.validate.invariants import NATIVE
from gateway.validate.model import PRIMITIVES, Element, Model, TypeRef, capital, type_refs

_VALUED: Final = ("fixed", "pattern", "minValue", "maxValue")
_LANGUAGES: Final = "/narrative-language-control"
_MUST_HAVE_VALUE: Final = "ElementDefinition.mustHaveValue"


class Spec:
    """What a profile asks of one element (or of one slice of it). None: nothing is asked."""

    def __init__(self, name: str, label: str) -> None:
        self.name = name
        self.label = label  # element id, for findings: "Patient.identifier:national.system"
        self.min: int | None = None
        self.max: int | None = None  # -1: no limit
        self.types: tuple[TypeRef, ...] | None = None
        self.values: dict[str, tuple[str, Any]] = {}  # fixed, pattern, minValue, maxValue -> (type, value)
        self.binding: Json | None = None
        self.max_length: int | None = None
        self.constraints: list[Json] = []
        self.must_have_value = False
        self.languages: tuple[str, ...] = ()  # language sections that a narrative may have; _no: none
        self.definition: Json = {}
        self.slicing: Json | None = None
        self.slices: dict[str, Spec] = {}
        self.children: dict[str, Spec] = {}
        self.problems: list[str] = []  # of a root: element paths that the type does not have

    def copy(self) -> Spec:
        """A deep copy, so that a derived profile may change it."""
        made = Spec(self.name, self.label)
        made.__dict__.update(self.__dict__)
        made.values, made.constraints = dict(self.values), list(self.constraints)
        made.slices = {name: each.copy() for name, each in self.slices.items()}
        made.children = {name: each.copy() for name, each in self.children.items()}
        return made

    @property
    def empty(self) -> bool:
        """Whether nothing is asked, here and below."""
        return not (
            self.min
            or self.max is not None
            or self.types is not None
            or self.values
            or self.binding is not None
            or self.max_length is not None
            or self.constraints
            or self.must_have_value
            or self.languages
            or self.slices
            or (self.slicing is not None and self.slicing.get("rules") == "closed")
            or self.children
        )

    def prune(self) -> None:
        """Drop everything below that asks nothing."""
        for each in (*self.children.values(), *self.slices.values()):
            each.prune()
        self.children = {name: each for name, each in self.children.items() if not each.empty}

    def find(self, id: str) -> Spec | None:
        """The Spec of an element id below a root Spec, if the profile says anything of it."""
        found: Spec | None = self
        for segment in id.split(".")[1:]:
            name, _, cut = segment.partition(":")
            found = found.children.get(name.removesuffix("[x]")) if found is not None else None
            for each in cut.split("/") if cut else ():
                found = found.slices.get(each) if found is not None else None
        return found

    def child(self, name: str) -> Spec:
        """The element of that name, made when it is not there yet."""
        if name not in self.children:
            self.children[name] = Spec(name, f"{self.label}.{name}")
        return self.children[name]

    def slice(self, name: str) -> Spec:
        """The slice of that name; `a/b` is slice b of slice a."""
        outer, _, inner = name.partition("/")
        if outer not in self.slices:
            self.slices[outer] = Spec(self.name, f"{self.label}:{outer}")
        found = self.slices[outer]
        return found.slice(inner) if inner else found


def element_path(id: str) -> str:
    """The path of an element id: Composition.section:codeA -> Composition.section."""
    return ".".join(each.partition(":")[0].removesuffix("[x]") for each in id.split("."))


class Broken(Exception):
    """A row is about an element that the type does not have; says which."""


def build(model: Model, definition: Json, parent: Spec | None, core_parent: bool) -> Spec:
    """The tree of a profile. `parent` is the tree of its base profile, None where the base is a core type.

    The differential is what the author wrote; the snapshot is used where there is no differential, or where the
    parent is not known.
    """
    differential = (definition.get("differential") or {}).get("element")
    use_snapshot = not differential or (parent is None and not core_parent)
    rows = (definition.get("snapshot") or {}).get("element") if use_snapshot else differential
    kind = str(definition.get("type"))
    root = parent.copy() if parent is not None and not use_snapshot else Spec("", kind)
    for way, row in ways(rows or differential or ()):
        try:
            spec, element = _descend(model, root, kind, way)
        except Broken as broken:
            root.problems.append(str(broken))  # the row is left out: it is about nothing that can be there
            continue
        _apply(model, spec, element, row, kind if len(way) == 1 else "")
    root.prune()
    return root


Way = list[tuple[str, str]]
"""Segments (name without [x], slice name or ""), the first one being the type."""


def ways(rows: Sequence[Json]) -> Iterator[tuple[Way, Json]]:
    """Each row with its way. Slice names come from the element id, or from the rows above where there is none."""
    current: dict[str, str] = {}
    for row in rows:
        path = str(row.get("path", ""))
        names = path.split(".")
        id = str(row.get("id") or "")
        segments = id.split(".")
        if id and ":" in id and [each.partition(":")[0] for each in segments] == names:
            way = [(each.partition(":")[0], each.partition(":")[2]) for each in segments]
        else:
            prefixes = [".".join(names[: at + 1]) for at in range(len(names))]
            way = [(name, current.get(prefix, "")) for name, prefix in zip(names, prefixes, strict=True)]
            way[-1] = (names[-1], str(row.get("sliceName", "")))
        for stale in [each for each in current if each == path or each.startswith(path + ".")]:
            del current[stale]
        if way[-1][1]:
            current[path] = way[-1][1]
        yield [(name.removesuffix("[x]"), cut) for name, cut in way], row


def _descend(model: Model, root: Spec, kind: str, way: Way) -> tuple[Spec, Element | None]:
    """The Spec at the end of a way, and the base element that it constrains (None for the type itself)."""
    spec, key, element = root, kind, None
    if way[0][1]:
        spec = spec.slice(way[0][1])
    for name, cut in way[1:]:
        element, type_cut = _element(model, key, name)
        if element is None:
            raise Broken(f"{spec.label}.{name}")
        spec = spec.child(element.name)
        cut = cut or type_cut
        if cut:
            spec = spec.slice(cut)
        key = _key(spec, element, cut)
    return spec, element


def _element(model: Model, key: str, name: str) -> tuple[Element | None, str]:
    found = model.elements(key).get(name)
    if found is not None:
        return found, ""
    member = model.members(key).get(name)
    if member is not None and member.element.choice:
        return member.element, name  # valueQuantity for value[x]:valueQuantity
    return None, ""


def _key(spec: Spec, element: Element, cut: str) -> str:
    """The type key in which the next segment is to be found."""
    types = spec.types or element.types
    if element.choice and cut.startswith(element.name):
        for ref in element.types:
            if element.name + capital(ref.code) == cut:
                return ref.code
    return types[0].code if types else "Element"


# --- one row --------------------------------------------------------------------


def _apply(model: Model, spec: Spec, element: Element | None, row: Json, kind: str) -> None:
    base: Json = (element.definition if element is not None else model.root(kind)) or {}
    sliced = bool(row.get("sliceName")) or spec.label.rpartition(".")[2].partition(":")[2] != ""
    spec.definition = row
    if element is not None:
        _cardinality(spec, element, row, sliced)
    _types(spec, element, row, sliced)
    for name, value in row.items():
        for prefix in _VALUED:
            if name.startswith(prefix) and len(name) > len(prefix) and base.get(name) != value:
                spec.values[prefix] = (_type_name(name[len(prefix) :]), value)
    if "maxLength" in row and row["maxLength"] != base.get("maxLength"):
        spec.max_length = row["maxLength"]
    binding = row.get("binding")
    if binding and (sliced or _binding_key(binding) != _binding_key(base.get("binding") or {})):
        spec.binding = binding
    _constraints(model, spec, element, row, base)
    for extension in row.get("extension", ()):
        if str(extension.get("url", "")).endswith(_LANGUAGES) and "valueCode" in extension:
            spec.languages = (*spec.languages, str(extension["valueCode"]))
    spec.must_have_value = spec.must_have_value or _must_have_value(row)
    if "slicing" in row:
        spec.slicing = row["slicing"]


def _cardinality(spec: Spec, element: Element, row: Json, sliced: bool) -> None:
    low, high = row.get("min"), row.get("max")
    if low is not None and (sliced or int(low) > element.min):
        spec.min = max(int(low), spec.min or 0)
    if high is not None:
        limit = -1 if high == "*" else int(high)
        if sliced or limit != (-1 if element.many else 1):
            spec.max = None if limit < 0 else limit


def _types(spec: Spec, element: Element | None, row: Json, sliced: bool) -> None:
    if element is None or "type" not in row:
        return
    refs = type_refs(row)
    if element.types and "." in element.types[0].code:
        refs = tuple(
            ref._replace(code=element.types[0].code) for ref in refs if ref.code in ("BackboneElement", "Element")
        )
    plain = not element.choice and all(ref.code in PRIMITIVES and not ref.profiles for ref in refs)
    if refs and not plain and (sliced or set(refs) != set(element.types)):
        spec.types = refs


def _binding_key(binding: Json) -> tuple[Any, ...]:
    extensions = [each.get("valueCanonical") for each in binding.get("extension", ())]
    return binding.get("strength"), str(binding.get("valueSet", "")).partition("|")[0], *filter(None, extensions)


def _constraints(model: Model, spec: Spec, element: Element | None, row: Json, base: Json) -> None:
    known = {each.get("key") for each in base.get("constraint", ())} | NATIVE
    for ref in element.types if element is not None else ():
        known |= {each.get("key") for each in (model.root(ref.code) or {}).get("constraint", ())}
    known |= {each.get("key") for each in spec.constraints}
    spec.constraints += [each for each in row.get("constraint", ()) if each.get("key") not in known]


def _must_have_value(row: Json) -> bool:
    if row.get("mustHaveValue") is True:
        return True
    return any(
        str(each.get("url", "")).endswith(_MUST_HAVE_VALUE) and each.get("valueBoolean") is True
        for each in row.get("extension", ())
    )


def _type_name(suffix: str) -> str:
    """fixedCodeableConcept -> CodeableConcept, fixedUri -> uri."""
    lowered = suffix[:1].lower() + suffix[1:]
    return lowered if lowered in PRIMITIVES else suffix
