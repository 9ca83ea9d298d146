"""Invariants: FHIRPath constraints compiled once, and the ones that every resource has, written natively.

A result that is empty counts as failed, as in the reference validator. A constraint that cannot be evaluated here
is said as information, never taken as true or false.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Json
from gateway.validate.quick import HOLDS
from gateway.validate.run import Path, Run, location, shown

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules

Rule = Callable[[Any, Path, Run], None]

NATIVE: Final = frozenset({"ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "ref-1", "txt-1", "txt-2"})
"""Checked elsewhere by hand-written rules: the walk itself, references, narrative."""


ERRATA: Final = {
    "enableWhen.count() > 2 implies enableBehavior.exists()": "enableWhen.count() > 1 implies enableBehavior.exists()"
}
"""Expressions of 4.0.1 that do not say what their own text says (que-12: "more than one enableWhen")."""


def compile_all(source: Rules, definition: Json, key: str) -> list[Rule]:
    """The constraints of an ElementDefinition, on values of type `key`."""
    return [
        rule
        for constraint in definition.get("constraint", ())
        if constraint.get("key") not in NATIVE and (rule := compile_one(source, constraint, key)) is not None
    ]


def compile_one(source: Rules, constraint: Json, key: str) -> Rule | None:
    """One constraint; None where it has no expression."""
    given = constraint.get("expression")
    if not given:
        return None
    expression = ERRATA.get(str(given), str(given))
    name, human = str(constraint.get("key", "?")), str(constraint.get("human", ""))
    is_error = constraint.get("severity") == "error"
    glance = HOLDS.get(expression)

    def rule(value: Any, path: Path, run: Run) -> None:
        if glance is not None and type(value) is dict and glance(value):
            return
        verdict = source.evaluate(expression, key, value, path, run)
        if verdict is True:
            return
        if verdict is None:
            if run.policy.undecided:
                run.say("GW-VAL-016", path, source=name, args={"rule": name, "text": shown(human)})
        elif is_error:
            run.reasons[location(path), name] = expression
            run.say("GW-VAL-015", path, source=name, args={"rule": name, "text": human})
        elif run.policy.best_practice:
            run.say("GW-VAL-015", path, source=name, severity="warning", args={"rule": name, "text": human})

    return rule


# --- DomainResource -----------------------------------------------------------


def _say(rule: str, text: str, path: Path, run: Run) -> None:
    run.say("GW-VAL-015", path, source=rule, args={"rule": rule, "text": text})


def contained_rules(resource: Any, path: Path, run: Run) -> None:
    """dom-2 … dom-5: nothing contained twice, nothing unused, no versions and no labels."""
    contained = resource.get("contained")
    if contained is None:
        return
    inner = [each for each in contained if type(each) is dict] if type(contained) is list else []
    if any("contained" in each for each in inner):
        _say(
            "dom-2",
            "If the resource is contained in another resource, it SHALL NOT contain nested Resources",
            path,
            run,
        )
    metas = [each["meta"] for each in inner if type(each.get("meta")) is dict]
    if any("versionId" in meta or "lastUpdated" in meta for meta in metas):
        _say(
            "dom-4",
            "If a resource is contained in another resource, it SHALL NOT have a meta.versionId or a meta.lastUpdated",
            path,
            run,
        )
    if any("security" in meta for meta in metas):
        _say("dom-5", "If a resource is contained in another resource, it SHALL NOT have a security label", path, run)
    _contained_ids(inner, resource, path, run)


def _contained_ids(inner: list[Json], resource: Json, path: Path, run: Run) -> None:
    used: set[str] | None = None
    seen: set[str] = set()
    for index, each in enumerate(inner):
        here = (path, "contained", index, str(each.get("resourceType")))
        id = each.get("id")
        if type(id) is not str:
            run.say("GW-VAL-044", here)
            continue
        if id in seen:
            run.say("GW-VAL-045", here, args={"id": shown(id)})
        seen.add(id)
        if used is None:
            used = local_references(resource)
        if "#" + id not in used and not refers_to_container(each):
            _say(
                "dom-3",
                "If the resource is contained in another resource, it SHALL be referred to from elsewhere in the "
                "resource or SHALL refer to the containing resource",
                path,
                run,
            )


def local_references(resource: Json) -> set[str]:
    """Every string of the resource that starts with # (reference, canonical, uri and url values)."""
    found: set[str] = set()
    todo: list[Any] = list(resource.values())
    while todo:
        each = todo.pop()
        if type(each) is str:
            if each[:1] == "#":
                found.add(each)
        elif type(each) is list:
            todo.extend(each)
        elif type(each) is dict:
            todo.extend(each.values())
    return found


def refers_to_container(resource: Json) -> bool:
    """Whether the contained resource has a reference `#`."""
    return "#" in local_references(resource)


def narrative_there(resource: Any, path: Path, run: Run) -> None:
    """dom-6: a resource should have narrative (best practice)."""
    if run.policy.best_practice and "text" not in resource and run.container is None:
        text = "A resource should have narrative for robust management"
        run.say("GW-VAL-015", path, source="dom-6", severity="warning", args={"rule": "dom-6", "text": text})


DOMAIN_RESOURCE: Final[list[Rule]] = [contained_rules, narrative_there]
