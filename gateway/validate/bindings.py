"""Bindings: codes against value sets (FHIR R4 4.1.5, terminologies; binding strength).

required: an error. extensible: a warning, since another code is allowed where none of the set fits. A maximum value
set turns an extensible or preferred binding into a limit. A code that a complete, known system does not have is an
error wherever it stands. What cannot be decided here is said as information.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.message import Json
from gateway.validate.model import Element
from gateway.validate.pack import split_canonical
from gateway.validate.run import Path, Run, shown

if TYPE_CHECKING:
    from gateway.validate.rulebook import Rules
    from gateway.validate.terminology import Answer

Rule = Callable[[Any, Path, Run], None]
MAX_SET: Final = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
BOUND: Final = frozenset({"code", "Coding", "CodeableConcept", "Quantity", "string", "uri", "url", "canonical"})
_PUBLISHED_ON: Final = "http://terminology.hl7.org/"
_UNITS: Final = "http://unitsofmeasure.org"
_CODED: Final = frozenset({"code", "Coding", "CodeableConcept"})
_QUANTITIES: Final = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


def strengths(binding: Json) -> list[tuple[str, str]]:
    """(strength, value set) pairs that have to be checked."""
    found: list[tuple[str, str]] = []
    if binding.get("strength") in ("required", "extensible") and "valueSet" in binding:
        found.append((binding["strength"], binding["valueSet"]))
    for extension in binding.get("extension", ()):
        if extension.get("url") == MAX_SET:
            value = extension.get("valueCanonical") or extension.get("valueUri")
            if value:
                found.append(("maximum", value))
    return found


def finite(source: Rules, element: Element) -> frozenset[str] | None:
    """The codes of a required binding of a `code` element, where they can all be listed here."""
    binding = element.definition.get("binding", {})
    if binding.get("strength") != "required" or "valueSet" not in binding or len(element.types) != 1:
        return None
    if element.types[0].code != "code":
        return None
    return source.terminology.finite(binding["valueSet"])


def primitive_rule(source: Rules, element: Element) -> Rule | None:
    """The binding check of a primitive element whose codes cannot be listed."""
    made = rules(source, element, element.types[0].code) if element.types else []
    return made[0] if made else None


def rules(source: Rules, element: Element, type_code: str) -> list[Rule]:
    """The binding checks of an element of that type."""
    return of_binding(source, element.definition.get("binding", {}), type_code)


def of_binding(source: Rules, binding: Json, type_code: str) -> list[Rule]:
    """The checks that a binding asks for on a value of that type."""
    check = _CHECKS.get(type_code)
    if check is None:
        return []
    return [_rule(check, strength, value_set) for strength, value_set in strengths(binding)]


def on_choice(source: Rules, binding: Json, type_code: str) -> Json:
    """What a binding on a choice element asks of one of its types; a set of units is about quantities only."""
    if type_code in _CODED and source.terminology.systems_of(str(binding.get("valueSet"))) == {_UNITS}:
        return {}
    if type_code in _CODED or binding.get("strength") != "required":
        return binding if type_code in _CODED | _QUANTITIES else {}
    return binding | {"strength": "extensible"} if type_code in _QUANTITIES else {}


def _rule(check: Callable[[str, str, Any, Path, Run], None], strength: str, value_set: str) -> Rule:
    def rule(value: Any, path: Path, run: Run) -> None:
        check(strength, value_set, value, path, run)

    return rule


def say_required(binding: Json, path: Path, run: Run, value: str) -> None:
    """GW-VAL-010: not in a required value set."""
    run.say("GW-VAL-010", path, args={"value": shown(value), "set": split_canonical(binding["valueSet"])[0]})


def _verdict(strength: str, value_set: str, answer: Answer, value: str, path: Path, run: Run) -> None:
    url = split_canonical(value_set)[0]
    if answer == "cannot":
        if run.policy.undecided:
            run.say("GW-VAL-011", path, args={"value": shown(value), "set": url})
    elif answer == "no":
        code = "GW-VAL-012" if strength == "extensible" else "GW-VAL-010"
        run.say(code, path, args={"value": shown(value), "set": url})


def _code(strength: str, value_set: str, value: Any, path: Path, run: Run) -> None:
    if type(value) is str:
        _verdict(strength, value_set, run.rules.terminology.member(value_set, None, value), value, path, run)


def answer_coding(value_set: str, value: Json, run: Run) -> Answer:
    """Whether a Coding is in a value set; without a system it means nothing, so it is not."""
    system, code = value.get("system"), value.get("code")
    if type(system) is not str or type(code) is not str:
        return "no"
    return run.rules.terminology.member(value_set, system, code)


def _named(value: Json) -> str:
    return f"{value.get('system', '')}#{value.get('code', '')}"


def _coding(strength: str, value_set: str, value: Any, path: Path, run: Run) -> None:
    if "code" in value or strength == "required":
        _verdict(strength, value_set, answer_coding(value_set, value, run), _named(value), path, run)


def _concept(strength: str, value_set: str, value: Any, path: Path, run: Run) -> None:
    codings = value.get("coding")
    held = [each for each in codings if type(each) is dict] if type(codings) is list else []
    if not held:
        if strength == "required":
            _verdict(strength, value_set, "no", shown(value.get("text", "")), path, run)
        return
    answers = [answer_coding(value_set, each, run) for each in held]
    answer: Answer = "yes" if "yes" in answers else "cannot" if "cannot" in answers else "no"
    _verdict(strength, value_set, answer, ", ".join(_named(each) for each in held), path, run)


def _quantity(strength: str, value_set: str, value: Any, path: Path, run: Run) -> None:
    if "code" in value or strength == "required":
        _verdict(strength, value_set, answer_coding(value_set, value, run), _named(value), path, run)


_CHECKS: Final = {
    "code": _code,
    "string": _code,
    "uri": _code,
    "url": _code,
    "canonical": _code,
    "Coding": _coding,
    "CodeableConcept": _concept,
} | dict.fromkeys(_QUANTITIES, _quantity)


def coding_known(value: Any, path: Path, run: Run) -> None:
    """A code must exist in its system, where the system's whole content is here; its display is compared."""
    system, code = value.get("system"), value.get("code")
    if type(system) is not str or type(code) is not str:
        return
    terminology = run.rules.terminology
    held = terminology.system(system)
    if held is None:
        return
    found = held.find(code)
    if found is None:
        if held.complete:
            # THO goes on publishing versions of its code systems; those of R4 itself are closed.
            later = system.startswith(_PUBLISHED_ON) and value.get("version") != held.version
            args = {"value": shown(code), "system": system}
            run.say("GW-VAL-013", path, severity="warning" if later else None, args=args)
        return
    display, expected = value.get("display"), held.display.get(found)
    if type(display) is not str or expected is None or _translated(display, run):
        return
    if not _same(display, expected, held.other_displays[found]):
        run.say("GW-VAL-014", path, args={"value": shown(display), "expected": expected})


def _translated(display: str, run: Run) -> bool:
    """A display in another language than the code system's is a translation, not a mistake."""
    language = run.resource.get("language")
    return not display.isascii() or (type(language) is str and not language.startswith("en"))


def _same(display: str, expected: str, others: list[str]) -> bool:
    squeezed = " ".join(display.split()).casefold()
    return any(squeezed == " ".join(each.split()).casefold() for each in (expected, *others))
