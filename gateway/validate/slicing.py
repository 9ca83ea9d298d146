"""Slicing: which slice does an item belong to, and is each slice there as often as it must be?

FHIR R4 5.1.0.13-14: discriminators by value, pattern, exists, type and profile, on paths that may go through
`resolve()`, `extension(url)` and `ofType()`; open, closed and openAtEnd; ordered; slices of slices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.message import Json
from gateway.validate import references
from gateway.validate.bindings import answer_coding
from gateway.validate.equality import fits_pattern, same
from gateway.validate.model import Element, capital
from gateway.validate.pack import R4, split_canonical
from gateway.validate.run import Path, Run, shown
from gateway.validate.spec import Spec

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules


class Item(NamedTuple):
    """One value of an element: JSON value, type, position in its list (-1: none), and the `_name` object if any."""

    value: Any
    code: str
    at: int
    extra: Any


ItemCheck = Callable[[Item, Path, Run], None]
Match = Callable[[Item, Path, Run], bool]
Gather = Callable[[Json], list[Item]]

_STEP: Final = re.compile(r"\$this|resolve\(\)|extension\('([^']*)'\)|ofType\(([\w.]+)\)|(\w+)(?:\[x\])?|\.")
_DEFAULT: Final[Json] = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
_BY_TYPE: Final[Json] = {"discriminator": [{"type": "type", "path": "$this"}], "rules": "open"}


def steps_of(path: str) -> list[tuple[str, str]]:
    """A discriminator path as (kind, argument) steps."""
    found: list[tuple[str, str]] = []
    for match in _STEP.finditer(path.replace('"', "'")):
        text = match[0]
        if text == "resolve()":
            found.append(("resolve", ""))
        elif match[1] is not None:
            found.append(("extension", match[1]))
        elif match[2] is not None:
            found.append(("ofType", match[2]))
        elif match[3] is not None:
            found.append(("child", match[3]))
    return found


# --- what an item has -----------------------------------------------------------


def gatherer(source: Rules, element: Element) -> Gather:
    """A function from an object to the items of one of its elements."""
    members = {name: m.type.code for name, m in _members(source, element).items()}
    first = element.name

    def plain(obj: Json) -> list[Item]:
        if first in obj or "_" + first in obj:
            return _items(obj.get(first), obj.get("_" + first), members[first])
        return []

    def choice(obj: Json) -> list[Item]:
        for name in obj:
            bare = name.removeprefix("_")
            if bare in members:
                return _items(obj.get(bare), obj.get("_" + bare), members[bare])
        return []

    return choice if element.choice else plain


def _members(source: Rules, element: Element) -> Any:
    key = element.path.rpartition(".")[0]
    return {name: m for name, m in source.model.members(key).items() if m.element.name == element.name}


def _items(value: Any, extra: Any, code: str) -> list[Item]:
    if type(value) is list or (value is None and type(extra) is list):
        values = value if type(value) is list else []
        extras = extra if type(extra) is list else []
        size = max(len(values), len(extras))
        pairs = ((_nth(values, at), _nth(extras, at), at) for at in range(size))
        return [Item(v, _code(v, code), at, x) for v, x, at in pairs if v is not None or x is not None]
    return [Item(value, _code(value, code), -1, extra)]


def _nth(values: Sequence[Any], at: int) -> Any:
    return values[at] if at < len(values) else None


def _code(value: Any, code: str) -> str:
    if type(value) is dict and type(value.get("resourceType")) is str:
        return str(value["resourceType"])
    return code


def follow(source: Rules, item: Item, steps: list[tuple[str, str]], run: Run) -> list[Item]:
    """The items that a discriminator path leads to."""
    here = [item]
    for kind, argument in steps:
        found: list[Item] = []
        for each in here:
            found += _follow(source, each, kind, argument, run)
        here = found
    return here


def _follow(source: Rules, item: Item, kind: str, argument: str, run: Run) -> list[Item]:
    holder = item.value if type(item.value) is dict else item.extra
    if kind == "ofType":
        return [item] if item.code == argument else []
    if type(holder) is not dict:
        return []
    if kind == "resolve":
        target = references.resolve(run, holder.get("reference"))
        return [Item(target, str(target.get("resourceType")), -1, None)] if target is not None else []
    if kind == "extension":
        held = holder.get("extension")
        inner = held if type(held) is list else []
        return [Item(e, "Extension", -1, None) for e in inner if type(e) is dict and e.get("url") == argument]
    key = item.code if type(item.value) is dict else "Element"
    element = source.model.elements(key).get(argument)
    if element is None:
        member = source.model.members(key).get(argument)
        return _items(holder.get(argument), holder.get("_" + argument), member.type.code) if member else []
    return source.gather(key, element)(holder)


# --- what a slice asks ------------------------------------------------------------


def targets(source: Rules, specs: list[Spec], steps: list[tuple[str, str]]) -> list[Spec | Json]:
    """What a slice says at a discriminator path: Specs, or plain values cut out of a fixed or pattern value."""
    here: list[Spec | Json] = list(specs)
    for kind, argument in steps:
        found: list[Spec | Json] = []
        for each in here:
            found += _inside_value(each, argument) if isinstance(each, dict) else _inside(source, each, kind, argument)
        here = found
    return here


def _inside_value(value: Json, name: str) -> list[Spec | Json]:
    inner = value["value"].get(name) if type(value["value"]) is dict else None
    parts = inner if type(inner) is list else [] if inner is None else [inner]
    return [{"how": value["how"], "value": each} for each in parts]


def _inside(source: Rules, spec: Spec, kind: str, argument: str) -> list[Spec | Json]:
    found: list[Spec | Json] = []
    if kind == "ofType":
        cut = next((s for name, s in spec.slices.items() if name.endswith(capital(argument))), None)
        return [cut or spec]
    if kind == "child":
        found += _child_specs(spec, argument)
        for how in ("fixed", "pattern"):
            if how in spec.values:
                found += _inside_value({"how": how, "value": spec.values[how][1]}, argument)
    elif kind == "extension":
        found += [each for each in _extension_slices(source, spec) if _url_of(source, each) == argument]
    for ref in spec.types or ():
        for profile in ref.targets if kind == "resolve" else ref.profiles:
            root = source.spec(profile)
            if root is None and kind == "resolve":
                found.append(Spec("", split_canonical(profile)[0].removeprefix(R4)))
            elif root is not None:
                found += [root] if kind == "resolve" else _inside(source, root, kind, argument)
    return found


def _child_specs(spec: Spec, name: str) -> list[Spec | Json]:
    child = spec.children.get(name)
    if child is None:
        return []
    return [child, *child.slices.values()] if child.slices else [child]


def _extension_slices(source: Rules, spec: Spec) -> list[Spec]:
    child = spec.children.get("extension")
    return list(child.slices.values()) if child is not None else []


def _url_of(source: Rules, spec: Spec) -> str | None:
    url = spec.children.get("url")
    if url is not None and "fixed" in url.values:
        return str(url.values["fixed"][1])
    for ref in spec.types or ():
        for profile in ref.profiles:
            return profile.partition("|")[0]
    return None


# --- discriminators ---------------------------------------------------------------


def matcher(source: Rules, spec: Spec, slicing: Json, unsliced: Spec) -> Match | None:
    """Whether an item belongs to a slice: every discriminator must agree. None where the slice says nothing."""
    made: list[Match] = []
    for each in slicing.get("discriminator", ()):
        one = _discriminator(source, spec, str(each.get("type")), str(each.get("path", "$this")), unsliced)
        if one is not None:
            made.append(one)
    if not made:
        return None

    def match(item: Item, path: Path, run: Run) -> bool:
        return all(one(item, path, run) for one in made)

    return match


def _discriminator(source: Rules, spec: Spec, kind: str, path: str, unsliced: Spec) -> Match | None:
    steps = steps_of(path)
    if kind in ("value", "pattern"):
        return _by_value(source, spec, steps)
    if kind == "exists":
        return _by_existence(source, spec, steps)
    if kind == "type":
        return _by_type(source, spec, steps)
    if kind == "profile":
        return _by_profile(source, spec, steps)
    return None


def _by_value(source: Rules, spec: Spec, steps: list[tuple[str, str]]) -> Match | None:
    tests: list[Callable[[Any, Run], bool]] = []
    for each in targets(source, [spec], steps):
        if isinstance(each, dict):
            tests.append(_value_test(each["how"], each["value"]))
            continue
        tests += [_value_test(how, each.values[how][1]) for how in ("fixed", "pattern") if how in each.values]
        tests += [_value_test("pattern", part) for part in _partial(each)]
        if each.binding is not None and each.binding.get("strength") == "required" and not each.values:
            tests.append(_binding_test(str(each.binding.get("valueSet"))))
    if not tests and steps == [("child", "url")] and (url := _url_of(source, spec)) is not None:
        tests.append(_value_test("fixed", url))  # an extension by its profile, which need not be known here
    if not tests:
        return None

    def match(item: Item, path: Path, run: Run) -> bool:
        found = follow(source, item, steps, run)
        return any(all(test(each.value, run) for test in tests) for each in found)

    return match


def _partial(spec: Spec) -> list[Any]:
    """Fixed and pattern values below the element, put together as one pattern."""
    made = _as_pattern(spec)
    return [made] if made is not None else []


def _as_pattern(spec: Spec) -> Any:
    found: Json = {}
    for name, child in spec.children.items():
        for how in ("fixed", "pattern"):
            if how in child.values:
                found[name] = child.values[how][1]
        if name not in found and (inner := _as_pattern(child)) is not None:
            found[name] = inner
    return found or None


def _value_test(how: str, expected: Any) -> Callable[[Any, Run], bool]:
    compare = same if how == "fixed" else fits_pattern

    def test(value: Any, run: Run) -> bool:
        if type(value) is list:
            return any(compare(expected, each) for each in value)
        return compare(expected, value)

    return test


def _binding_test(value_set: str) -> Callable[[Any, Run], bool]:
    def test(value: Any, run: Run) -> bool:
        if type(value) is str:
            return run.rules.terminology.member(value_set, None, value) == "yes"
        if type(value) is not dict:
            return False
        codings = value.get("coding", [value])
        return any(type(each) is dict and answer_coding(value_set, each, run) == "yes" for each in codings)

    return test


def _by_existence(source: Rules, spec: Spec, steps: list[tuple[str, str]]) -> Match | None:
    found = [each for each in targets(source, [spec], steps) if isinstance(each, Spec)]
    if any(each.max == 0 for each in found):
        return lambda item, path, run: not follow(source, item, steps, run)
    if any(each.min for each in found):
        return lambda item, path, run: bool(follow(source, item, steps, run))
    return None


def _by_type(source: Rules, spec: Spec, steps: list[tuple[str, str]]) -> Match | None:
    codes: set[str] = set()
    for each in targets(source, [spec], steps):
        if isinstance(each, Spec):
            codes |= {ref.code for ref in each.types or ()}
            if not each.types and (cut := each.label.rpartition(":")[2]).startswith(each.name):
                codes |= {
                    cut[len(each.name) :],
                    cut[len(each.name) : len(each.name) + 1].lower() + cut[len(each.name) + 1 :],
                }
            codes |= {each.label} if "." not in each.label and ":" not in each.label else set()
    codes -= {"", "Resource", "DomainResource", "Reference"} if steps and steps[-1][0] == "resolve" else {""}
    if not codes:
        return None

    def match(item: Item, path: Path, run: Run) -> bool:
        return any(each.code in codes for each in follow(source, item, steps, run))

    return match


def _by_profile(source: Rules, spec: Spec, steps: list[tuple[str, str]]) -> Match | None:
    through = bool(steps) and steps[-1][0] == "resolve"
    specs = targets(source, [spec], steps[:-1] if through else steps)
    urls = [
        url
        for each in specs
        if isinstance(each, Spec)
        for ref in each.types or ()
        for url in (ref.targets if through else ref.profiles)
    ]
    if not urls:
        return None

    def match(item: Item, path: Path, run: Run) -> bool:
        found = follow(source, item, steps, run)
        return any(conforms(url, each, path, run) for each in found for url in urls)

    return match


def conforms(url: str, item: Item, path: Path, run: Run) -> bool:
    """Whether a value keeps a profile (or is of a core type); an unknown profile is never kept."""
    profile = run.rules.profile(url)
    if profile is None:
        return url.rpartition("/")[2] == item.code and run.rules.model.known(item.code)
    if profile.type != item.code and profile.type not in run.rules.model.ancestry(item.code):
        return False
    if type(item.value) is not dict:
        return True
    return run.keeps(item.value, url, lambda: run.rules.whole(item.value, item.code, url, path, run))


def only_url(source: Rules, spec: Spec) -> str | None:
    """The url that is all that a slice of extensions asks for; None where it asks for more, or for something else."""
    wanted: set[Any] = set()
    for each in targets(source, [spec], [("child", "url")]):
        if isinstance(each, dict):
            wanted.add(each["value"] if type(each["value"]) is str else None)
        elif each.children or (each.binding is not None and not each.values):
            return None
        else:
            fixed = (each.values[how][1] for how in ("fixed", "pattern") if how in each.values)
            wanted |= {value if type(value) is str else None for value in fixed}
    if not wanted:
        return _url_of(source, spec)
    return wanted.pop() if len(wanted) == 1 else None


# --- the check ----------------------------------------------------------------------


def default_slicing(element: Element) -> Json | None:
    """What holds where a profile names slices without saying how they are told apart."""
    if element.name in ("extension", "modifierExtension"):
        return _DEFAULT
    return _BY_TYPE if element.choice else None


class Slices:
    """The slices of one element, compiled."""

    def __init__(self, source: Rules, spec: Spec, slicing: Json, checks: dict[str, list[ItemCheck]]) -> None:
        self.label = spec.label
        self.rules = slicing.get("rules", "open")
        self.ordered = slicing.get("ordered") is True
        self.order = list(spec.slices)
        self.specs = spec.slices
        self.checks = checks
        self.matchers = {name: matcher(source, each, slicing, spec) for name, each in spec.slices.items()}
        self.by_url = self._urls(source, slicing)

    def _urls(self, source: Rules, slicing: Json) -> dict[str, str] | None:
        """url -> slice, where that decides: one look in place of each extension against each slice."""
        if [(each.get("type"), each.get("path")) for each in slicing.get("discriminator", ())] != [("value", "url")]:
            return None
        found: dict[str, str] = {}
        for name in self.order:
            if self.matchers[name] is not None:
                url = only_url(source, self.specs[name])
                if url is None:
                    return None
                found.setdefault(url, name)
        return found

    def sort(self, items: list[Item], path: Path, run: Run) -> list[str | None]:
        """The slice of each item."""
        found: list[str | None] = []
        by_url = self.by_url
        for item in items:
            if by_url is not None and item.code == "Extension" and type(item.value) is dict:
                url = item.value.get("url")
                if type(url) is str:
                    found.append(by_url.get(url))
                    continue
            here = (path[0], path[1], item.at, item.code)
            found.append(
                next((n for n in self.order if (m := self.matchers[n]) is not None and m(item, here, run)), None)
            )
        return found

    def __call__(self, items: list[Item], path: Path, run: Run) -> None:
        """`path` is that of the element without an index; counts are said on what holds it."""
        sorted_ = self.sort(items, path, run)
        self._closed(items, sorted_, path, run)
        self._count(sorted_, path, run)
        for item, name in zip(items, sorted_, strict=True):
            if name is not None:
                here = (path[0], path[1], item.at, item.code)
                for check in self.checks[name]:
                    check(item, here, run)

    def _count(self, sorted_: list[str | None], path: Path, run: Run) -> None:
        for name, spec in self.specs.items():
            if self.matchers[name] is None:
                continue
            count = sorted_.count(name)
            args = {"slice": f"{self.label}:{name}", "found": str(count)}
            if spec.min is not None and count < spec.min:
                run.say("GW-VAL-031", path[0], args=args | {"min": str(spec.min)})
            if spec.max is not None and 0 <= spec.max < count:
                run.say("GW-VAL-032", path[0], args=args | {"max": str(spec.max)})

    def _closed(self, items: list[Item], sorted_: list[str | None], path: Path, run: Run) -> None:
        last = -1
        seen_loose = False
        for item, name in zip(items, sorted_, strict=True):
            here = (path[0], path[1], item.at, item.code)
            if name is None:
                seen_loose = True
                if self.rules == "closed":
                    run.say("GW-VAL-033", here, args={"element": shown(self.label)})
                continue
            if self.rules == "openAtEnd" and seen_loose:
                run.say("GW-VAL-034", here, args={"element": shown(self.label)})
            at = self.order.index(name)
            if self.ordered and at < last:
                run.say("GW-VAL-034", here, args={"element": shown(self.label)})
            last = max(last, at)
