"""Extensions: known or unknown, and where they may stand (FHIR R4 2.26; StructureDefinition.context 5.3.4).

A known extension is checked against its definition like any profile, and must stand in one of the contexts that its
definition names: an element (by path or by type), inside another extension, or what a FHIRPath selects. An
extension that nobody here knows is judged by policy; an unknown modifier extension is always an error, because it
may change the meaning of what holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from gateway.message import Json, Severity
from gateway.validate.model import Model
from gateway.validate.run import Path, Run, shown

_THEIRS: Final = re.compile(r"http://hl7\.org/fhir/StructureDefinition/[^/]+$")
_EXAMPLE: Final = re.compile(r"https?://(?:[\w-]+\.)*example\.(?:org|com|net)/")
"""Extensions that are nobody's mistake to use: HL7 publishes new ones in its own space apart from the release, and
the example domains (RFC 2606) are for examples. They are said, as warnings."""
_WIDER_THAN_SAID: Final = frozenset(
    f"http://hl7.org/fhir/StructureDefinition/structuredefinition-{name}"
    for name in ("wg", "fmm", "standards-status", "normative-version", "fhir-type")
)
"""Errata of 4.0.1: their contexts name StructureDefinition, and the specification itself uses them on every kind of
definition and on elements; HL7 has widened them since."""
_RELATIVE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ALIAS: Final = re.compile(r"\[x\]|(?<=\.value)[A-Z]\w*")


def check(value: Any, path: Path, run: Run) -> None:
    """ext-1, and everything that the extension's own definition says."""
    has_value = next((name for name in value if name.startswith(("value", "_value"))), None)
    if ("extension" in value) == (has_value is not None):
        run.say("GW-VAL-023", path, source="ext-1")
        if has_value is None:
            return
    url = value.get("url")
    if type(url) is not str or not url:
        return
    if "|" in url:
        run.say("GW-VAL-026", path, args={"url": shown(url)})
        return
    if not _RELATIVE.match(url):
        if path[0] is None or path[0][3] != "Extension":
            _unknown(url, path, run)
        return
    profile = run.rules.profile(url)
    if profile is None or profile.type != "Extension":
        _unknown(url, path, run)
        return
    if profile.modifier is not None and profile.modifier != (path[1] == "modifierExtension"):
        run.say("GW-VAL-028", path, args={"url": shown(url), "member": path[1]})
    if not allowed_here(profile.definition, path, run):
        run.say("GW-VAL-025", path, args={"url": shown(url), "element": ", ".join(sorted(element_names(path, run)))})
    _context_invariants(profile.definition, path, run)
    profile(value, path, run)


def _unknown(url: str, path: Path, run: Run) -> None:
    if path[1] == "modifierExtension":
        run.say("GW-VAL-027", path, args={"url": shown(url)})
    elif run.policy.unknown_extension is not None:
        lenient = (
            _THEIRS.match(url) or (run.policy.examples and _EXAMPLE.match(url))
        ) and run.policy.unknown_extension == "error"
        severity: Severity = "warning" if lenient else run.policy.unknown_extension
        run.say("GW-VAL-024", path, severity=severity, args={"url": shown(url)})


# --- context ------------------------------------------------------------------


def allowed_here(definition: Json, path: Path, run: Run) -> bool:
    """Whether one of the definition's contexts fits; a definition without context says nothing."""
    contexts = definition.get("context")
    if not contexts or path[0] is None or definition.get("url") in _WIDER_THAN_SAID:
        return True
    names: set[str] | None = None
    for each in contexts:
        kind, expression = each.get("type"), str(each.get("expression", ""))
        if kind == "element":
            if names is None:
                names = element_names(path, run)
            if _ALIAS.sub("", expression.removeprefix("http://hl7.org/fhir/StructureDefinition/")) in names:
                return True
            if expression in ("*", "Resource") and expression == "*":
                return True
            if _in_profile(expression, path, run):
                return True
        elif kind == "extension":
            if _inside_extension(expression, path, run):
                return True
        elif kind == "fhirpath" and run.rules.selects(expression, path, run):
            return True
    return False


def _in_profile(expression: str, path: Path, run: Run) -> bool:
    """`http://profile#Element.path`: the element, where the resource claims that profile."""
    url, _, element = expression.partition("#")
    if ":" not in url:
        return False
    meta = run.resource.get("meta")
    claimed = meta.get("profile", ()) if type(meta) is dict else ()
    names = element_names(path, run)
    return url in claimed and (not element or element in names)


def _inside_extension(expression: str, path: Path, run: Run) -> bool:
    url, _, inner = expression.partition("#")
    for up in _upwards(path[0]):
        if up[3] == "Extension":
            held = value_at(up, run)
            if type(held) is dict and held.get("url") in (url, inner or url):
                return True
        elif run.rules.model.is_resource(up[3]):
            return False
    return False


def element_names(path: Path, run: Run) -> set[str]:
    """Every name that a context may use for the element that holds the extension at `path`.

    The element's type and what it specialises ("Address", "Element"), and its path from each type that it stands
    in, up to the resource ("Patient.address", "HumanName.period").
    """
    model: Model = run.rules.model
    holder: Path = path[0]
    names = set(model.ancestry(holder[3]))
    if holder[3] in _PRIMITIVE_ELEMENT:
        names.add("Element")
    tail = ""
    for each in _upwards(holder):
        up = each[0]
        if up is None or model.is_concrete_resource(each[3]):
            break
        tail = f".{each[1]}{tail}"
        names |= {root + tail for root in ([up[3]] if "." in up[3] else model.ancestry(up[3]))}
    return names


_PRIMITIVE_ELEMENT: Final = frozenset({"boolean", "code", "string"})


def _upwards(path: Path) -> Iterator[Path]:
    each: Path | None = path
    while each is not None:
        yield each
        each = each[0]


def value_at(path: Path, run: Run, companion: bool = False) -> Any:
    """The JSON value at a path, from the root on; choices by whichever member is there.

    With `companion`, the `_name` object of a primitive that the path ends at.
    """
    steps = list(_upwards(path))[::-1][1:]
    value: Any = run.root
    for at, (_, name, index, key) in enumerate(steps):
        if type(value) is not dict:
            return None
        if name not in value:
            size = len(name)
            bare = (n.removeprefix("_") for n in value)
            name = next((n for n in bare if n.startswith(name) and n[size : size + 1].isupper()), name)
        if companion and at == len(steps) - 1 and run.rules.model.is_primitive(key):
            name = "_" + name
        value = value.get(name)
        if index >= 0:
            value = value[index] if type(value) is list and index < len(value) else None
    return value


def _context_invariants(definition: Json, path: Path, run: Run) -> None:
    """contextInvariant: FHIRPath on the element that holds the extension."""
    for expression in definition.get("contextInvariant", ()):
        holder: Path = path[0]
        if run.rules.holds(expression, holder, run) is False:
            run.say("GW-VAL-029", path, args={"expression": shown(expression)})
