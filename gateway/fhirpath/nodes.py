"""FHIR elements as typed nodes over plain JSON, and the steps between them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from typing import Any, Final, cast

import msgspec

from gateway.fhirpath.model import TypeModel


class Node(msgspec.Struct, gc=False):
    """One element. `value` is its JSON value (None for a primitive that has only extensions); `fields` is the JSON
    object that holds its children: the value itself, or the `_name` sibling of a primitive."""

    value: Any
    fields: dict[str, Any] | None
    kind: Kind


class Step(msgspec.Struct, frozen=True):
    """How to reach an element from its parent's JSON: the member, its `_` sibling if primitive, the child's kind."""

    key: str
    shadow: str | None
    kind: Kind


_SYSTEM_OF: Final = {
    "boolean": "Boolean", "integer": "Integer", "positiveInt": "Integer", "unsignedInt": "Integer",
    "integer64": "Integer", "decimal": "Decimal", "date": "Date", "dateTime": "DateTime", "instant": "DateTime",
    "time": "Time", "Quantity": "Quantity",
}  # fmt: skip
_FREE_PRIMITIVES: Final = frozenset(_SYSTEM_OF) - {"Quantity"} | {"string"}
UNKNOWN: Final = "Element"


MANY: Final = 3
"""From so many steps on, the members that are there are looked at, and not each of `Extension.value`'s fifty types."""


class _Steps(dict[str, tuple[Step, ...]]):
    """Steps by element name, found once. Names come from expressions, so the table stays small."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind

    def __missing__(self, name: str) -> tuple[Step, ...]:
        found = self.kind.find(name)
        self[name] = found
        return found


class Kind:
    """A type at run time: what it is, and where its elements are."""

    __slots__ = ("by_key", "choices", "dynamic", "free", "kinds", "lineage", "name", "primitive", "steps", "system")

    def __init__(self, kinds: Kinds, name: str, *, free: bool = False) -> None:
        self.kinds = kinds
        self.name = name
        self.free = free  # nothing is known of its elements
        self.lineage = kinds.lineage(name)
        self.primitive = kinds.is_primitive(name)
        self.system = next((_SYSTEM_OF[base] for base in self.lineage_order() if base in _SYSTEM_OF), None)
        if self.system is None and self.primitive:
            self.system = "String"
        self.dynamic = name in ("Resource", "DomainResource")
        self.steps = _Steps(self)
        self.choices: dict[str, dict[str, int]] = {}  # of elements with many steps: JSON member -> place in `steps`
        self.by_key: dict[str, Step] | None = None

    def __repr__(self) -> str:
        return f"Kind({self.name})"

    def lineage_order(self) -> Iterator[str]:
        """The type and the types that it specialises, nearest first."""
        return self.kinds.ancestors(self.name)

    def find(self, name: str) -> tuple[Step, ...]:
        """The steps that the name stands for: several for a choice element, none for an unknown name."""
        elements = self.kinds.elements(self.name)
        if elements is None or self.free:
            return ()
        element = elements.get(name)
        return tuple(self.kinds.step(key, kind) for key, kind in element.json()) if element else ()

    def reached(self, name: str, fields: dict[str, Any]) -> Sequence[Step]:
        """The steps that lead to something in these fields, in their order; where there are few: all of them."""
        steps = self.steps[name]
        if len(steps) < MANY:
            return steps
        places = self.choices.get(name)
        if places is None:
            places = self.choices[name] = {
                key: at for at, step in enumerate(steps) for key in (step.key, step.shadow) if key is not None
            }
        found = {places[key] for key in fields if key in places}
        return [steps[at] for at in sorted(found)]

    def keys(self) -> dict[str, Step]:
        """All steps by JSON member name, in the order of the type."""
        if self.by_key is None:
            elements = self.kinds.elements(self.name) or {}
            self.by_key = {
                key: self.kinds.step(key, kind) for element in elements.values() for key, kind in element.json()
            }
        return self.by_key


class Kinds:
    """All kinds of one model, made when first needed. Without a model every element is guessed from its JSON."""

    def __init__(self, model: TypeModel | None) -> None:
        self.model = model
        self._kinds: dict[str, Kind] = {}

    def of(self, name: str) -> Kind:
        """The kind of that name; one that knows no elements if the model does not know the type."""
        kind = self._kinds.get(name)
        if kind is None:
            free = self.elements(name) is None and not self.is_primitive(name)
            kind = Kind(self, name, free=free)
            if not free or (len(self._kinds) < 2_000 and len(name) < 100):  # the name may come from the input
                self._kinds[name] = kind
        return kind

    def knows(self, name: str) -> bool:
        """Whether the model has the type; without a model every name is allowed."""
        return self.model is None or self.elements(name) is not None or self.is_primitive(name)

    def elements(self, name: str) -> Any:
        return self.model.elements(name) if self.model is not None else None

    def is_primitive(self, name: str) -> bool:
        return self.model.is_primitive(name) if self.model is not None else name in _FREE_PRIMITIVES

    def ancestors(self, name: str) -> Iterator[str]:
        seen = 0
        current: str | None = name
        while current and seen < 20:
            yield current
            current = self.model.base(current) if self.model is not None else None
            seen += 1

    def lineage(self, name: str) -> frozenset[str]:
        return frozenset(self.ancestors(name))

    def step(self, key: str, type_name: str) -> Step:
        kind = self.of(type_name)
        return Step(key, f"_{key}" if kind.primitive else None, kind)

    def guess(self, value: Any) -> Kind:
        """The kind of a JSON value of which nothing else is known."""
        match value:
            case dict():
                name = value.get("resourceType")
                return self.of(name) if isinstance(name, str) else self._free(UNKNOWN)
            case bool():
                return self.of("boolean")
            case int():
                return self.of("integer")
            case Decimal() | float():
                return self.of("decimal")
            case _:
                return self.of("string")

    def _free(self, name: str) -> Kind:
        kind = self._kinds.get("?")
        if kind is None:
            kind = self._kinds["?"] = Kind(self, name, free=True)
        return kind

    def node(self, value: Any, type_name: str | None = None, sibling: dict[str, Any] | None = None) -> Node:
        """A JSON value as a node. Without a type, `resourceType` or the JSON type decides."""
        kind = self.guess(value) if type_name is None else self.of(type_name)
        return wrap(value, kind) if not kind.primitive else Node(value, sibling, kind)


@lru_cache(maxsize=8)
def _kinds_of(model: Hashable) -> Kinds:
    return Kinds(cast("TypeModel | None", model))


def kinds_of(model: TypeModel | None) -> Kinds:
    """The kinds of a model. A few models are kept, so that reloaded ones do not pile up."""
    return _kinds_of(cast("Hashable", model))


def wrap(value: Any, kind: Kind) -> Node:
    """One JSON value of a complex kind; a resource says itself what it is."""
    if value.__class__ is dict:
        if kind.dynamic or kind.free:
            kind = kind.kinds.guess(value)
        return Node(value, value, kind)
    return Node(value, None, kind if not kind.free else kind.kinds.guess(value))


def _primitives(value: Any, shadow: Any, kind: Kind, out: list[Any]) -> None:
    if value.__class__ is not list and shadow.__class__ is not list:
        if value is not None or shadow is not None:
            out.append(Node(value, shadow if shadow.__class__ is dict else None, kind))
        return
    values = value if value.__class__ is list else [] if value is None else [value]
    shadows = shadow if shadow.__class__ is list else []
    for one, other in zip_longest(values, shadows):
        if one is not None or other is not None:
            out.append(Node(one, other if other.__class__ is dict else None, kind))


def take(step: Step, fields: dict[str, Any], out: list[Any]) -> None:
    """Append the nodes that one step reaches."""
    value = fields.get(step.key)
    shadow = step.shadow
    if shadow is None:
        if value.__class__ is list:
            kind = step.kind
            out.extend([wrap(one, kind) for one in value if one is not None])
        elif value is not None:
            out.append(wrap(value, step.kind))
    elif value.__class__ is not list and shadow not in fields:
        if value is not None:
            out.append(Node(value, None, step.kind))
    else:
        _primitives(value, fields.get(shadow), step.kind, out)


def member(node: Node, name: str, out: list[Any]) -> None:
    """Append the children of that name."""
    fields = node.fields
    if fields is None:
        return
    kind = node.kind
    if kind.steps[name]:
        for step in kind.reached(name, fields):
            take(step, fields, out)
    elif kind.free or (kind.primitive and kind.kinds.model is None):
        _guessed(fields, name, kind.kinds, out)


def _guessed(fields: dict[str, Any], name: str, kinds: Kinds, out: list[Any]) -> None:
    """Without a model: the member itself, or else the one that begins with the name and a capital (a choice)."""
    if name not in fields and f"_{name}" not in fields:
        size = len(name)
        name = next((key for key in fields if key.startswith(name) and key[size : size + 1].isupper()), name)
    take_guessed(fields, name, kinds, out)


def take_guessed(fields: dict[str, Any], key: str, kinds: Kinds, out: list[Any]) -> None:
    """Append the nodes of one JSON member of an unknown type."""
    value, shadow = fields.get(key), fields.get(f"_{key}")
    sample = next((one for one in value if one is not None), None) if value.__class__ is list else value
    if sample.__class__ is dict:
        values = value if value.__class__ is list else (value,)
        out.extend([wrap(one, kinds.guess(one)) for one in values if one is not None])
    elif value is not None or shadow is not None:
        _primitives(value, shadow, kinds.guess(sample), out)


def children(node: Node) -> list[Any]:
    """All direct children, in the order of the JSON."""
    fields = node.fields
    out: list[Any] = []
    if fields is None:
        return out
    known = node.kind.keys()
    for key in fields:
        name = key
        if key.startswith("_"):
            name = key[1:]
            if name in fields:
                continue  # taken together with its value
        step = known.get(name)
        if step is not None:
            take(step, fields, out)
        elif node.kind.free and name != "resourceType":
            take_guessed(fields, name, node.kind.kinds, out)
    return out
