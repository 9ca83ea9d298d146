"""Terminology with what is at hand: is this code in that value set, and what does it translate to?

The answer has three states (FHIR R4 4.9.8 says how a compose is read): yes, no, and **cannot decide**, where the
content of the code system is not here (SNOMED CT, LOINC, UCUM, ICD) and the value set is not a plain list. "Cannot
decide" is never turned into yes or no; a terminology service may be hooked in to settle it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from gateway.formats import valueset
from gateway.message import Json
from gateway.validate.pack import Pack, split_canonical

Answer = Literal["yes", "no", "cannot"]
Service = Callable[[str, str | None, str], Answer]
"""(value set, system, code) -> answer. Pure rooms get one that only looks at what was fetched before."""

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_MEDIA: Final = re.compile(r"xml|json|ttl|[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+*-]+(?:\s*;.*)?")
_SYNTAX: Final[Mapping[str, re.Pattern[str]]] = {"urn:ietf:bcp:47": _LANGUAGE, "urn:ietf:bcp:13": _MEDIA}
MAX_DEPTH: Final = 20
_KEPT: Final = 20_000


def _no_service(value_set: str, system: str | None, code: str) -> Answer:
    return "cannot"


class CodeSystem:
    """A code system whose content is here: its codes, displays, parents and properties."""

    def __init__(self, definition: Json) -> None:
        self.url = definition["url"]
        self.version = definition.get("version")
        self.complete = definition.get("content") == "complete"
        self.sensitive = definition.get("caseSensitive", True) is not False
        self.display: dict[str, str | None] = {}
        self.other_displays: dict[str, list[str]] = {}
        self.parents: dict[str, set[str]] = {}
        self.properties: dict[str, list[tuple[str, str]]] = {}
        stack = [(each, None) for each in definition.get("concept", ())]
        while stack:
            concept, parent = stack.pop()
            self._add(concept, parent)
            stack.extend((inner, concept["code"]) for inner in concept.get("concept", ()))

    def _add(self, concept: Json, parent: str | None) -> None:
        code = concept["code"]
        self.display[code] = concept.get("display")
        self.other_displays[code] = [d["value"] for d in concept.get("designation", ()) if "value" in d]
        if parent is not None:
            self.parents.setdefault(code, set()).add(parent)
        for each in concept.get("property", ()):
            value = next(
                (str(v).lower() if isinstance(v, bool) else str(v) for k, v in each.items() if k != "code"), ""
            )
            if each["code"] == "child":
                self.parents.setdefault(value, set()).add(code)
            elif each["code"] in ("parent", "subsumedBy"):
                self.parents.setdefault(code, set()).add(value)
            else:
                self.properties.setdefault(code, []).append((each["code"], value))

    def find(self, code: str) -> str | None:
        """The code as the system writes it."""
        if code in self.display:
            return code
        if not self.sensitive:
            lowered = code.lower()
            return next((each for each in self.display if each.lower() == lowered), None)
        return None

    def above(self, code: str) -> set[str]:
        """Every code that subsumes this one, without itself."""
        found: set[str] = set()
        todo = list(self.parents.get(code, ()))
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo.extend(self.parents.get(each, ()))
        return found

    def passes(self, code: str, rule: Json) -> Answer:
        """Whether a code passes a filter (FHIR R4 filter-operator)."""
        name, op, value = rule.get("property", ""), rule.get("op", ""), str(rule.get("value", ""))
        if name in ("concept", "code", "parent", "child") and op in _HIERARCHY:
            return _yes(_HIERARCHY[op](self, code, value))
        if name == "parent" and op == "=":
            return _yes(value in self.parents.get(code, ()))
        if name == "child" and op == "exists":
            return _yes((code in {p for ps in self.parents.values() for p in ps}) == (value == "true"))
        held = [v for n, v in self.properties.get(code, ()) if n == name]
        if name in ("code", "display"):
            held = [code] if name == "code" else [self.display.get(code) or ""]
        check = _PROPERTY.get(op)
        return "cannot" if check is None else _yes(check(held, value))


def _yes(flag: bool) -> Answer:
    return "yes" if flag else "no"


_HIERARCHY: Final[Mapping[str, Callable[[CodeSystem, str, str], bool]]] = {
    "is-a": lambda system, code, value: code == value or value in system.above(code),
    "descendent-of": lambda system, code, value: value in system.above(code),
    "is-not-a": lambda system, code, value: not (code == value or value in system.above(code)),
    "generalizes": lambda system, code, value: code == value or code in system.above(value),
    "in": lambda system, code, value: code in [each.strip() for each in value.split(",")],
    "not-in": lambda system, code, value: code not in [each.strip() for each in value.split(",")],
}
_PROPERTY: Final[Mapping[str, Callable[[list[str], str], bool]]] = {
    "=": lambda held, value: value in held,
    "in": lambda held, value: bool(set(held) & {each.strip() for each in value.split(",")}),
    "not-in": lambda held, value: not set(held) & {each.strip() for each in value.split(",")},
    "exists": lambda held, value: bool(held) == (value == "true"),
}


class Terminology:
    """Membership, display and translation over a pack. Systems and finite value sets are made once."""

    def __init__(self, pack: Pack, service: Service = _no_service) -> None:
        self.pack = pack
        self.service = service
        self._systems: dict[str, CodeSystem | None] = {}
        self._answers: dict[tuple[str, str | None, str], Answer] = {}
        self._finite: dict[str, frozenset[str] | None] = {}

    # --- code systems --------------------------------------------------------

    def system(self, url: str) -> CodeSystem | None:
        """The code system, if its content is here."""
        if url not in self._systems:
            if len(self._systems) > _KEPT:
                self._systems.clear()
            found = self.pack.find("CodeSystem", url)
            held = found is not None and bool(found.get("concept")) and found.get("content") != "supplement"
            self._systems[url] = CodeSystem(found) if found is not None and held else None
        return self._systems[url]

    def code_in_system(self, url: str, code: str) -> Answer:
        """Whether the system has the code."""
        system = self.system(url)
        if system is None:
            syntax = _SYNTAX.get(url)
            return "cannot" if syntax is None else _yes(bool(syntax.fullmatch(code)))
        if system.find(code) is not None:
            return "yes"
        return "no" if system.complete else "cannot"

    # --- value sets ----------------------------------------------------------

    def member(self, value_set: str, system: str | None, code: str) -> Answer:
        """Whether the value set has the code; with no system (a `code` element) in whatever system has it."""
        asked = (value_set, system, code)
        answer = self._answers.get(asked)
        if answer is None:
            answer = self._member(value_set, system, code, 0)
            if len(self._answers) < _KEPT:
                self._answers[asked] = answer
        return self.service(value_set, system, code) if answer == "cannot" else answer

    def _member(self, value_set: str, system: str | None, code: str, level: int) -> Answer:
        definition = self.pack.find("ValueSet", value_set)
        if definition is None or level > MAX_DEPTH:
            return self._implicit(value_set, system, code)
        compose = definition.get("compose")
        if not compose or not compose.get("include"):
            return self._expanded(definition, system, code)
        answer = _any(self._included(each, system, code, level) for each in compose["include"])
        if answer == "no":
            return "no"
        out = _any(self._included(each, system, code, level) for each in compose.get("exclude", ()))
        if out == "yes":
            return "no"
        return "cannot" if out == "cannot" else answer

    def _implicit(self, value_set: str, system: str | None, code: str) -> Answer:
        """A value set "all codes of the system", named after its code system."""
        url = value_set.removesuffix("?fhir_vs")
        if url != value_set and system in (None, url):
            return self.code_in_system(url, code)
        return "cannot"

    @staticmethod
    def _expanded(definition: Json, system: str | None, code: str) -> Answer:
        todo = list(definition.get("expansion", {}).get("contains", ()))
        if not todo:
            return "cannot"
        while todo:
            each = todo.pop()
            if each.get("code") == code and system in (None, each.get("system")) and not each.get("abstract"):
                return "yes"
            todo.extend(each.get("contains", ()))
        return "no"

    def _included(self, part: Json, system: str | None, code: str, level: int) -> Answer:
        answers: list[Answer] = [
            self._member(each, system, code, level + 1) for each in part.get("valueSet", ())
        ]  # all of them must have it
        if "system" in part:
            answers.append(self._of_system(part, system, code))
        if not answers:
            return "no"
        return "no" if "no" in answers else "cannot" if "cannot" in answers else "yes"

    def _of_system(self, part: Json, system: str | None, code: str) -> Answer:
        url = part["system"]
        if system is not None and split_canonical(system)[0] != split_canonical(url)[0]:
            return "no"
        if "concept" in part:
            return _yes(any(each.get("code") == code for each in part["concept"]))
        if "filter" not in part:
            return self.code_in_system(url, code)
        held = self.system(url)
        if held is None:
            told = valueset.passes(code, part["filter"])
            return "cannot" if told is None else _yes(told)
        found = held.find(code)
        if found is None:
            return "no" if held.complete else "cannot"
        answers = [held.passes(found, rule) for rule in part["filter"]]
        return "no" if "no" in answers else "cannot" if "cannot" in answers else "yes"

    def systems_of(self, value_set: str, level: int = 0) -> set[str]:
        """Every system that the value set draws from."""
        definition = self.pack.find("ValueSet", value_set)
        found: set[str] = set()
        if definition is None or level > MAX_DEPTH:
            return found
        for part in definition.get("compose", {}).get("include", ()):
            if "system" in part:
                found.add(part["system"])
            for each in part.get("valueSet", ()):
                found |= self.systems_of(each, level + 1)
        return found

    # --- expansion and translation ----------------------------------------------

    def expand(self, value_set: str) -> frozenset[tuple[str, str]] | None:
        """Every (system, code) of the value set, or None where that cannot be decided here."""
        definition = self.pack.find("ValueSet", value_set)
        if definition is None:
            return None
        found: set[tuple[str, str]] = set()
        for system in self.systems_of(value_set):
            codes = self._candidates(definition, system)
            if codes is None:
                return None
            for code in codes:
                answer = self._member(value_set, system, code, 0)
                if answer == "cannot":
                    return None
                if answer == "yes":
                    found.add((system, code))
        return frozenset(found)

    def _candidates(self, definition: Json, system: str, level: int = 0) -> set[str] | None:
        held = self.system(system)
        if held is not None and held.complete:
            return set(held.display)
        found: set[str] = set()
        for part in definition.get("compose", {}).get("include", ()):
            if part.get("system") == system and "concept" in part:
                found |= {each["code"] for each in part["concept"]}
            elif part.get("system") == system:
                return None
            for each in part.get("valueSet", ()):
                inner = self.pack.find("ValueSet", each)
                more = None if inner is None or level > MAX_DEPTH else self._candidates(inner, system, level + 1)
                if more is None:
                    return None
                found |= more
        return found

    def finite(self, value_set: str) -> frozenset[str] | None:
        """The codes of the value set whatever their system, for `code` elements; None if that is not decidable."""
        if value_set not in self._finite:
            found = self.expand(value_set)
            self._finite[value_set] = None if found is None else frozenset(code for _, code in found)
        return self._finite[value_set]

    def translate(self, concept_map: str, system: str | None, code: str) -> tuple[tuple[str, str, str], ...]:
        """(target system, code, equivalence) for each target of a ConceptMap; empty where there is none."""
        definition = self.pack.find("ConceptMap", concept_map)
        if definition is None:
            return ()
        return tuple(_translated(definition, system, code))


def _translated(definition: Json, system: str | None, code: str) -> Iterator[tuple[str, str, str]]:
    for group in definition.get("group", ()):
        if system not in (None, group.get("source")):
            continue
        target, hits = group.get("target", ""), 0
        for element in group.get("element", ()):
            if element.get("code") == code:
                for each in element.get("target", ()):
                    hits += 1
                    if "code" in each:
                        yield target, each["code"], each.get("equivalence", "relatedto")
        unmapped = group.get("unmapped")
        if not hits and unmapped:
            if unmapped.get("mode") == "provided":
                yield target, code, "equal"
            elif unmapped.get("mode") == "fixed" and "code" in unmapped:
                yield target, unmapped["code"], "equivalent"


def _any(answers: Iterator[Answer]) -> Answer:
    undecided = False
    for each in answers:
        if each == "yes":
            return "yes"
        undecided = undecided or each == "cannot"
    return "cannot" if undecided else "no"
