"""Base types as compiled closures: shape, cardinality, formats, choices, companions (`_element`), bindings.

A `Shape` walks one JSON object of a type once. Each member has a handler made for it at compile time; the walk
looks the handler up by name, so what costs is proportional to what is there, not to what could be there.
Sources: FHIR R4 2.6.2 (JSON), 2.24 (datatypes), 2.26 (extensions), 1.13 ElementDefinition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Json
from gateway.validate import bindings, bundles, datatypes, extensions, invariants, narrative, references
from gateway.validate.model import Element, Member, TypeRef
from gateway.validate.pack import R4
from gateway.validate.primitives import FAULT, Fault
from gateway.validate.run import MAX_ARRAY, MAX_DEPTH, Path, Run, depth, shown

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules

Handler = Callable[[Any, Json, Path, Run], None]
Rule = Callable[[Any, Path, Run], None]
Walk = Callable[[Any, Path, Run], None]

_NAMES_OF_KIND: Final = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number"}


def _kind(value: Any) -> str:
    return "null" if value is None else _NAMES_OF_KIND.get(type(value), "number")


def wrong_kind(run: Run, path: Path, expected: str, value: Any) -> None:
    """GW-VAL-005: another JSON kind than the element has."""
    run.say("GW-VAL-005", path, args={"expected": expected, "found": _kind(value)})


class Shape:
    """What an object of one type may look like. Filled at the first use; types may contain themselves."""

    __slots__ = ("about_primitive", "choices", "handlers", "key", "required", "resource", "rules", "source")

    def __init__(self, source: Rules, key: str) -> None:
        self.source = source
        self.key = key
        self.handlers: dict[str, Handler] | None = None
        self.required: list[tuple[tuple[str, ...], Element]] = []
        self.choices: list[tuple[frozenset[str], str]] = []
        self.rules: list[Rule] = []
        self.resource = False
        self.about_primitive = key == "Element"  # the companion of a primitive looks at emptiness itself

    def __call__(self, obj: Json, path: Path, run: Run) -> None:
        handlers = self.handlers
        if handlers is None:
            handlers = self._fill()
        if len(obj) < 2 and (not obj or "id" in obj) and not self.resource and not self.about_primitive:
            run.say("GW-VAL-007", path)
        for name, value in obj.items():
            handler = handlers.get(name)
            if handler is None:
                self._stranger(name, path, run)
            else:
                handler(value, obj, path, run)
        for names, element in self.required:
            if names[0] not in obj and not any(name in obj for name in names[1:]):
                run.say("GW-VAL-003", path, args={"element": element.path, "min": str(element.min), "found": "0"})
        for group, name in self.choices:
            if len(group.intersection(obj)) > 1:
                _one_choice(group, name, obj, path, run)
        for rule in self.rules:
            rule(obj, path, run)

    def _stranger(self, name: str, path: Path, run: Run) -> None:
        if name != "resourceType" or not self.resource:
            run.say("GW-VAL-002", path, args={"member": shown(name), "type": self.key})

    def _fill(self) -> dict[str, Handler]:
        source, model = self.source, self.source.model
        handlers: dict[str, Handler] = {}
        required: list[tuple[tuple[str, ...], Element]] = []
        choices: list[tuple[frozenset[str], str]] = []
        self.resource = model.is_resource(self.key)
        for name, member in model.members(self.key).items():
            handlers[name] = member_handler(source, self.key, name, member)
            if model.is_primitive(member.type.code) and member.type.code != "xhtml":
                handlers["_" + name] = companion(source, name, member)
        if self.resource:
            handlers["resourceType"] = _nothing
        for element in model.elements(self.key).values():
            names = _json_names(element)
            if element.min > 0:
                required.append((names, element))
            if element.choice:
                choices.append((frozenset(names), element.name))
        self.required, self.choices, self.rules = required, choices, type_rules(source, self.key)
        self.handlers = handlers  # last: from here on other threads use it
        return handlers


def _nothing(value: Any, obj: Json, path: Path, run: Run) -> None:
    return


def _json_names(element: Element) -> tuple[str, ...]:
    names = [element.name]
    if element.choice:
        names = [element.name + ref.code[:1].upper() + ref.code[1:] for ref in element.types]
    return (*names, *("_" + name for name in names))


def _one_choice(group: frozenset[str], name: str, obj: Json, path: Path, run: Run) -> None:
    found = sorted({each.removeprefix("_") for each in group.intersection(obj)})
    if len(found) > 1:
        run.say("GW-VAL-008", path, args={"element": name + "[x]", "found": ", ".join(found)})


def type_rules(source: Rules, key: str) -> list[Rule]:
    """What is checked on every object of the type after its members: native rules first, then invariants."""
    rules: list[Rule] = [*NATIVE.get(key, ())]
    model = source.model
    if model.is_resource(key) and "DomainResource" in model.ancestry(key):
        rules += invariants.DOMAIN_RESOURCE
    definition = model.root(key)
    if definition is not None:
        rules += invariants.compile_all(source, definition, key)
    return rules


# --- members ------------------------------------------------------------------


def member_handler(source: Rules, owner: str, name: str, member: Member) -> Handler:
    """The handler of one JSON member."""
    element, ref = member
    fhir_name = element.name
    if ref.code == "xhtml":
        return narrative.handler(fhir_name)
    if source.model.is_primitive(ref.code):
        quick, walk = primitive_walk(source, element, ref)
        if element.many:
            return many_primitives(name, fhir_name, ref.code, walk)
        return one_primitive(fhir_name, ref.code, quick, walk)
    walk = complex_walk(source, owner, element, ref)
    return many(fhir_name, ref.code, walk) if element.many else single(fhir_name, ref.code, walk)


def single(name: str, key: str, walk: Walk) -> Handler:
    """One object."""

    def handler(value: Any, obj: Json, path: Path, run: Run) -> None:
        here = (path, name, -1, key)
        if type(value) is dict:
            walk(value, here, run)
        else:
            wrong_kind(run, here, "object", value)

    return handler


def many(name: str, key: str, walk: Walk) -> Handler:
    """An array of objects."""

    def handler(value: Any, obj: Json, path: Path, run: Run) -> None:
        if not is_array(value, (path, name, -1, key), run):
            return
        for index, each in enumerate(value):
            here = (path, name, index, key)
            if type(each) is dict:
                walk(each, here, run)
            else:
                wrong_kind(run, here, "object", each)

    return handler


def is_array(value: Any, path: Path, run: Run) -> bool:
    """Whether the value is an array that may be walked; says what is wrong otherwise."""
    if type(value) is not list:
        wrong_kind(run, path, "array", value)
        return False
    if not value:
        run.say("GW-VAL-007", path)
    elif len(value) > MAX_ARRAY:
        run.say("GW-VAL-050", path, args={"actual": str(len(value)), "limit": str(MAX_ARRAY)})
        return False
    return True


def complex_walk(source: Rules, owner: str, element: Element, ref: TypeRef) -> Walk:
    """Walk an object of a complex type, then what this element adds: binding, targets, its own invariants."""
    if source.model.is_resource(ref.code):
        return inner_resource(contained=element.name == "contained" and owner != "Bundle.entry")
    shape: Walk = source.shape(ref.code)
    extra: list[Rule] = []
    if ref.code == "Reference":
        extra.append(references.target_rule(source, ref.targets))
    if R4 + "SimpleQuantity" in ref.profiles:
        extra.append(datatypes.simple_quantity)
    extra += bindings.rules(source, element, ref.code)
    if "." not in ref.code:
        extra += invariants.compile_all(source, element.definition, ref.code)

    if not extra:
        return shape

    def walk(value: Json, path: Path, run: Run) -> None:
        shape(value, path, run)
        for rule in extra:
            rule(value, path, run)

    return walk


def inner_resource(contained: bool) -> Walk:
    """A resource inside another: `contained`, or the resource of an entry or parameter."""

    def walk(value: Json, path: Path, run: Run) -> None:
        if depth(path) > MAX_DEPTH:
            run.say("GW-VAL-049", path, args={"limit": str(MAX_DEPTH)})
            return
        with run.inside(value, contained):
            run.rules.resource(value, path, run)

    return walk


# --- primitives ---------------------------------------------------------------


_ABSOLUTE: Final = frozenset({"ValueSet.compose.include.system", "ConceptMap.group.source", "ConceptMap.group.target"})
"""Elements of type uri whose definitions say "an absolute URI"."""


def _is_absolute(source: Rules, element: Element) -> bool:
    """Also the canonical URL of a resource itself; a Device's url is where it answers."""
    kind, _, name = element.path.partition(".")
    own = name == "url" and kind != "Device" and source.model.is_resource(kind)
    return own or element.path in _ABSOLUTE


def primitive_walk(source: Rules, element: Element, ref: TypeRef) -> tuple[Fault, Walk]:
    """A quick look (None: nothing more to do), and the whole check of one value of a primitive type."""
    code = ref.code
    fault: Fault = FAULT[code]
    allowed = bindings.finite(source, element)
    slow = bindings.primitive_rule(source, element) if allowed is None else None
    extra = invariants.compile_all(source, element.definition, code)
    if code == "canonical":
        extra = [datatypes.canonical, *extra]
    elif element.name == "id" and code != "id":
        extra = [datatypes.element_id, *extra]
    elif code == "uri" and _is_absolute(source, element):
        extra = [datatypes.own_canonical, *extra]

    def quick(value: Any) -> str | None:
        return None if type(value) is str and value in listed else "look"

    def walk(value: Any, path: Path, run: Run) -> None:
        reason = fault(value)
        if reason is not None:
            said(run, path, code, reason, value)
            return
        if slow is not None:
            slow(value, path, run)
        elif allowed is not None and value not in allowed:
            bindings.say_required(element.definition["binding"], path, run, str(value))
        for rule in extra:
            rule(value, path, run)

    listed = allowed or frozenset()
    if extra or slow is not None:
        return _always, walk
    return (fault if allowed is None else quick), walk


def _always(value: Any) -> str | None:
    return "look"


def one_primitive(name: str, code: str, quick: Fault, walk: Walk) -> Handler:
    """One value."""

    def handler(value: Any, obj: Json, path: Path, run: Run) -> None:
        if quick(value) is not None:
            walk(value, (path, name, -1, code), run)

    return handler


def many_primitives(member: str, name: str, code: str, walk: Walk) -> Handler:
    """An array of values; null only where the companion array has something to say."""
    beside = "_" + member

    def handler(value: Any, obj: Json, path: Path, run: Run) -> None:
        if not is_array(value, (path, name, -1, code), run):
            return
        beside_items = obj.get(beside)
        for index, each in enumerate(value):
            here = (path, name, index, code)
            if each is not None:
                walk(each, here, run)
            elif type(beside_items) is not list or index >= len(beside_items) or beside_items[index] is None:
                wrong_kind(run, here, code, None)

    return handler


def said(run: Run, path: Path, code: str, reason: str, value: Any) -> None:
    """The finding for a primitive's fault."""
    if reason == "kind":
        kind = "boolean" if code == "boolean" else "number" if code in _NUMBERS else "string"
        wrong_kind(run, path, kind, value)
    elif reason == "empty":
        run.say("GW-VAL-007", path)
    else:
        run.say(
            _OF_REASON.get(reason, "GW-VAL-006"), path, args={"value": shown(value), "type": code, "reason": reason}
        )


_OF_REASON: Final = {"zone": "GW-VAL-072", "day": "GW-VAL-073"}
_NUMBERS: Final = frozenset({"integer", "unsignedInt", "positiveInt", "decimal"})


def companion(source: Rules, member: str, about: Member) -> Handler:
    """The `_element` beside a primitive: id and extensions."""
    name, code, many_ = about.element.name, about.type.code, about.element.many
    shape = source.shape("Element")

    def one(value: Any, path: Path, run: Run, has_value: bool) -> None:
        if type(value) is not dict:
            wrong_kind(run, path, "object", value)
            return
        if not value or (not has_value and len(value) == 1 and "id" in value):
            run.say("GW-VAL-007", path)
        shape(value, path, run)

    def single_(value: Any, obj: Json, path: Path, run: Run) -> None:
        one(value, (path, name, -1, code), run, member in obj)

    def many_handler(value: Any, obj: Json, path: Path, run: Run) -> None:
        if not is_array(value, (path, name, -1, code), run):
            return
        values = obj.get(member)
        if type(values) is list and len(values) != len(value):
            run.say(
                "GW-VAL-009", (path, name, -1, code), args={"values": str(len(values)), "companions": str(len(value))}
            )
        for index, each in enumerate(value):
            held = type(values) is list and index < len(values) and values[index] is not None
            if each is not None:
                one(each, (path, name, index, code), run, held)
            elif not held:
                run.say("GW-VAL-007", (path, name, index, code))

    return many_handler if many_ else single_


NATIVE: Final[dict[str, tuple[Rule, ...]]] = {
    "Extension": (extensions.check,),
    "Coding": (datatypes.coding, bindings.coding_known),
    "Identifier": (datatypes.identifier,),
    "Attachment": (datatypes.attachment,),
    **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), (datatypes.quantity,)),
    "Expression": (datatypes.expression,),
    "Narrative": (narrative.check,),
    "SearchParameter": (datatypes.search_parameter,),
    "Bundle": (bundles.check,),
}
