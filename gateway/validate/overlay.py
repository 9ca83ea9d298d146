"""Profiles compiled to closures: only what a profile adds, run after the base type's own walk.

FHIR R4 5.1 and 1.13: cardinality, types and their profiles, fixed and pattern, bindings, lengths and limits, target
profiles and aggregation, invariants, slices; the children of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.message import Json
from gateway.validate import bindings, invariants, narrative, references
from gateway.validate.equality import fits_pattern, same
from gateway.validate.limits import beyond
from gateway.validate.model import RESOURCES, Element, TypeRef
from gateway.validate.run import Path, Run, errors, shown
from gateway.validate.slicing import Gather, Item, ItemCheck, Slices, conforms, default_slicing, gatherer
from gateway.validate.spec import Spec

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules

ObjectCheck = Callable[[Json, Path, Run], None]


class Profile:
    """One profile (or extension definition), ready to be run on a value of its type."""

    def __init__(self, source: Rules, definition: Json, spec: Spec, part: str | None = None) -> None:
        self.definition = definition
        self.url = str(definition.get("url"))
        self.type = part or str(definition.get("type"))
        self.spec = spec
        self.source = source
        self._checks: list[ObjectCheck] | None = None
        self.modifier: bool | None = _is_modifier(definition) if self.type == "Extension" else None
        self.sub_urls = _sub_urls(spec) if self.type == "Extension" else frozenset()

    def __call__(self, value: Json, path: Path, run: Run) -> None:
        mark = (id(value), self.url)
        if mark in run.busy:
            run.assumed += 1
            return  # a profile that leads back to itself: true while it is being looked at
        run.busy.add(mark)
        run.met.add(mark)
        try:
            if self._checks is None:
                self._checks = self._compile()
            for check in self._checks:
                check(value, path, run)
        finally:
            run.busy.discard(mark)

    def _compile(self) -> list[ObjectCheck]:
        checks = children_checks(self.source, self.spec, self.type)
        checks += invariants.compile_all(self.source, {"constraint": self.spec.constraints}, self.type)
        if self.sub_urls:
            checks.append(self._sub_extensions)
        return checks

    def _sub_extensions(self, value: Json, path: Path, run: Run) -> None:
        inner = value.get("extension")
        for index, each in enumerate(inner if type(inner) is list else ()):
            url = each.get("url") if type(each) is dict else None
            if type(url) is str and ":" not in url and url not in self.sub_urls:
                run.say("GW-VAL-030", (path, "extension", index, "Extension"), args={"url": shown(url)})


def _is_modifier(definition: Json) -> bool | None:
    for row in ((definition.get("snapshot") or definition.get("differential")) or {}).get("element", ()):
        if row.get("path") == "Extension":
            return bool(row["isModifier"]) if "isModifier" in row else False
    return None


def _sub_urls(spec: Spec) -> frozenset[str]:
    child = spec.children.get("extension")
    slices = child.slices.values() if child is not None else ()
    fixed = (each.children["url"].values.get("fixed") for each in slices if "url" in each.children)
    return frozenset(str(each[1]) for each in fixed if each is not None)


def children_checks(source: Rules, spec: Spec, key: str) -> list[ObjectCheck]:
    """The checks of everything below a Spec on an object of type `key`."""
    made: list[ObjectCheck] = []
    elements = source.model.elements(key)
    for name, child in spec.children.items():
        element = elements.get(name)
        if element is not None:
            made.append(element_check(source, child, element))
    return made


def element_check(source: Rules, spec: Spec, element: Element) -> ObjectCheck:
    """Count the items of an element, then look at each, then at the slices."""
    gather: Gather = gatherer(source, element)
    low, high = spec.min or 0, -1 if spec.max is None else spec.max
    checks = item_checks(source, spec, element)
    slices = _slices(source, spec, element)
    name, label, key = element.name, spec.label, element.types[0].code if element.types else "Element"

    def check(obj: Json, path: Path, run: Run) -> None:
        items = gather(obj)
        if len(items) < low:
            run.say("GW-VAL-003", path, args={"element": label, "min": str(low), "found": str(len(items))})
        elif 0 <= high < len(items):
            run.say(
                "GW-VAL-004", (path, name, -1, key), args={"element": label, "max": str(high), "found": str(len(items))}
            )
        for item in items:
            here = (path, name, item.at, item.code)
            for each in checks:
                each(item, here, run)
        if slices is not None:
            slices(items, (path, name, -1, key), run)

    return check


def _slices(source: Rules, spec: Spec, element: Element) -> Slices | None:
    if not spec.slices:
        return None
    slicing = spec.slicing if spec.slicing and spec.slicing.get("discriminator") else None
    slicing = slicing or default_slicing(element) or spec.slicing or {}
    if spec.slicing is not None and "rules" in spec.slicing:
        slicing = slicing | {"rules": spec.slicing["rules"]}
    checks = {name: _slice_checks(source, each, element) for name, each in spec.slices.items()}
    return Slices(source, spec, slicing, checks)


def _slice_checks(source: Rules, spec: Spec, element: Element) -> list[ItemCheck]:
    made = item_checks(source, spec, element)
    if spec.slices:  # re-slicing: the items of this slice, one by one, among its own slices
        inner = _slices(source, spec, element)
        if inner is not None:
            made.append(lambda item, path, run: inner([item], (path[0], path[1], -1, path[3]), run))
    return made


# --- one item -------------------------------------------------------------------


def item_checks(source: Rules, spec: Spec, element: Element) -> list[ItemCheck]:
    """Everything that is asked of each item of an element."""
    made: list[ItemCheck] = []
    if spec.types is not None:
        made += _types(source, spec, element)
    for how, test, code in (("fixed", same, "GW-VAL-035"), ("pattern", fits_pattern, "GW-VAL-036")):
        if how in spec.values:
            made.append(_valued(spec.values[how][1], test, code))
    for how, code in (("minValue", "GW-VAL-046"), ("maxValue", "GW-VAL-047")):
        if how in spec.values:
            made.append(_limit(how, spec.values[how], code))
    if spec.max_length is not None:
        made.append(_length(spec.max_length))
    if spec.must_have_value:
        made.append(_has_value)
    if "_no" in spec.languages:
        made.append(_no_languages)
    if spec.binding is not None:
        made.append(_binding(source, spec.binding, element.choice and len(element.types) > 1))
    if spec.constraints:
        made.append(_constraints(source, spec.constraints))
    if spec.children:
        made.append(_children(source, spec))
    return made


def _children(source: Rules, spec: Spec) -> ItemCheck:
    compiled: dict[str, list[ObjectCheck]] = {}

    def check(item: Item, path: Path, run: Run) -> None:
        holder = item.value if type(item.value) is dict else item.extra
        if type(holder) is not dict:
            holder = {}
        key = item.code if item.code in compiled or source.model.known(item.code) else "Element"
        if key not in compiled:
            compiled[key] = children_checks(source, spec, key)
        if source.model.is_concrete_resource(key):
            with run.inside(holder, path[1] == "contained"):
                _all(compiled[key], holder, path, run)
        else:
            _all(compiled[key], holder, path, run)

    return check


def _all(checks: list[ObjectCheck], holder: Json, path: Path, run: Run) -> None:
    for each in checks:
        each(holder, path, run)


def _types(source: Rules, spec: Spec, element: Element) -> list[ItemCheck]:
    refs = spec.types or ()
    made: list[ItemCheck] = []
    codes = frozenset(ref.code for ref in refs)
    open_ended = not element.choice and not source.model.is_resource(element.types[0].code if element.types else "")
    if not open_ended and not codes & RESOURCES:
        made.append(_type_allowed(codes))
    if any(ref.profiles for ref in refs):
        made.append(_profiled(refs))
    if any(ref.targets for ref in refs):
        made.append(_targets(source, tuple(url for ref in refs for url in ref.targets)))
    aggregation = frozenset(each for ref in refs for each in ref.aggregation)
    if aggregation:
        made.append(_aggregation(aggregation))
    return made


def _type_allowed(codes: frozenset[str]) -> ItemCheck:
    def check(item: Item, path: Path, run: Run) -> None:
        if item.code not in codes:
            run.say("GW-VAL-037", path, args={"type": item.code, "allowed": ", ".join(sorted(codes))})

    return check


def _profiled(refs: tuple[TypeRef, ...]) -> ItemCheck:
    by_code: dict[str, tuple[str, ...]] = {}
    for ref in refs:
        by_code[ref.code] = (*by_code.get(ref.code, ()), *ref.profiles) if ref.profiles else ()

    def check(item: Item, path: Path, run: Run) -> None:
        urls = by_code.get(item.code) or by_code.get("Resource") or by_code.get("DomainResource") or ()
        if not urls or type(item.value) is not dict:
            return
        if item.code == "Extension" and item.value.get("url") in urls:
            return  # the extension's own definition has been run where it was met
        if len(urls) == 1:
            run.rules.whole(item.value, item.code, urls[0], path, run)
        elif not any(conforms(url, item, path, run) for url in urls):
            run.say("GW-VAL-038", path, args={"profiles": ", ".join(urls)})

    return check


def _targets(source: Rules, urls: tuple[str, ...]) -> ItemCheck:
    made: list[Any] = []

    def check(item: Item, path: Path, run: Run) -> None:
        if type(item.value) is not dict or item.code != "Reference":
            return
        if not made:
            made.append(references.target_types(source.model, urls, source))
        allowed = made[0]
        if allowed is None:
            return
        said = run.probe(lambda: references.check(item.value, allowed, path, run))
        run.findings += [each for each in said if each.code == "GW-VAL-017"]
        target = references.resolve(run, item.value.get("reference"))
        if errors(said) or target is None:
            return
        kind = str(target.get("resourceType"))
        profiles = allowed.get(kind) or ()
        if profiles and not any(conforms(url, Item(target, kind, -1, None), path, run) for url in profiles):
            run.say(
                "GW-VAL-048", path, args={"reference": shown(item.value["reference"]), "profiles": ", ".join(profiles)}
            )

    return check


def _aggregation(allowed: frozenset[str]) -> ItemCheck:
    def check(item: Item, path: Path, run: Run) -> None:
        reference = item.value.get("reference") if type(item.value) is dict else None
        if type(reference) is not str:
            return
        if reference.startswith("#"):
            found = "contained"
        else:
            found = "bundled" if references.resolve(run, reference) is not None else "referenced"
        if found not in allowed and not (found == "bundled" and "referenced" in allowed):
            run.say("GW-VAL-051", path, args={"found": found, "allowed": ", ".join(sorted(allowed))})

    return check


def _valued(expected: Any, test: Callable[[Any, Any], bool], code: str) -> ItemCheck:
    text = shown(expected) if not isinstance(expected, dict | list) else _compact(expected)

    def check(item: Item, path: Path, run: Run) -> None:
        if not test(expected, item.value):
            run.say(code, path, args={"expected": text, "found": _compact(item.value)})

    return check


def _compact(value: Any) -> str:
    if isinstance(value, dict):
        return shown(", ".join(f"{name}={_compact(inner)}" for name, inner in value.items()))
    if isinstance(value, list):
        return shown("; ".join(_compact(inner) for inner in value))
    return shown(value)


def _limit(how: str, limit: tuple[str, Any], code: str) -> ItemCheck:
    def check(item: Item, path: Path, run: Run) -> None:
        if beyond(how, limit, item.value):
            run.say(code, path, args={"limit": _compact(limit[1]), "found": _compact(item.value)})

    return check


def _length(limit: int) -> ItemCheck:
    def check(item: Item, path: Path, run: Run) -> None:
        if type(item.value) is str and len(item.value) > limit:
            run.say("GW-VAL-052", path, args={"limit": str(limit), "found": str(len(item.value))})

    return check


def _has_value(item: Item, path: Path, run: Run) -> None:
    if item.value is None:
        run.say("GW-VAL-053", path)


def _no_languages(item: Item, path: Path, run: Run) -> None:
    div = item.value.get("div") if type(item.value) is dict else None
    found = narrative.language_sections(div) if type(div) is str else []
    if found:
        run.say("GW-VAL-040", path, args={"detail": "language sections " + shown(", ".join(found))})


def _binding(source: Rules, binding: Json, choice: bool) -> ItemCheck:
    """A binding. On a choice of types it is meant for the coded ones; a quantity's unit is then only advised."""
    compiled: dict[str, list[bindings.Rule]] = {}

    def check(item: Item, path: Path, run: Run) -> None:
        if item.value is None:
            return
        if item.code not in compiled:
            fitting = bindings.on_choice(source, binding, item.code) if choice else binding
            compiled[item.code] = bindings.of_binding(source, fitting, item.code)
        for rule in compiled[item.code]:
            rule(item.value, path, run)

    return check


def _constraints(source: Rules, constraints: list[Json]) -> ItemCheck:
    compiled: dict[str, list[invariants.Rule]] = {}

    def check(item: Item, path: Path, run: Run) -> None:
        if item.code not in compiled:
            compiled[item.code] = invariants.compile_all(source, {"constraint": constraints}, item.code)
        value = item.value if item.extra is None else Primitive(item.value, item.extra)
        for rule in compiled[item.code]:
            rule(value, path, run)

    return check


class Primitive:
    """A primitive value together with its `_name` object, for expressions that look at both."""

    __slots__ = ("extra", "value")

    def __init__(self, value: Any, extra: Any) -> None:
        self.value = value
        self.extra = extra
