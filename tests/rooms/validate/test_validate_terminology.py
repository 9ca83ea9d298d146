"""Value sets, code systems and concept maps with what is at hand."""

# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

from typing import Any

import pytest

from gateway.message import Json
from gateway.validate import HOME
from gateway.validate.pack import core
from gateway.validate.terminology import Terminology

CS = "https://test.invalid/cs"
SYSTEM: Json = {
    "resourceType": "CodeSystem",
    "url": CS,
    "content": "complete",
    "caseSensitive": False,
    "property": [{"code": "kind", "type": "code"}],
    "concept": [
        {
            "code": "a",
            "display": "Alpha",
            "property": [{"code": "kind", "valueCode": "x"}],
            "concept": [{"code": "a1", "concept": [{"code": "a11"}]}, {"code": "a2"}],
        },
        {"code": "b", "property": [{"code": "kind", "valueCode": "y"}, {"code": "child", "valueCode": "a11"}]},
    ],
}
MAP: Json = {
    "resourceType": "ConceptMap",
    "url": "https://test.invalid/map",
    "group": [
        {
            "source": CS,
            "target": "https://test.invalid/other",
            "element": [
                {
                    "code": "a",
                    "target": [{"code": "A", "equivalence": "equal"}, {"code": "AA", "equivalence": "wider"}],
                },
                {"code": "b", "target": [{"equivalence": "unmatched"}]},
            ],
            "unmapped": {"mode": "fixed", "code": "U"},
        }
    ],
}


def made(compose: Json, **more: Any) -> Terminology:
    value_set = {"resourceType": "ValueSet", "url": "https://test.invalid/vs", "compose": compose, **more}
    imported = {
        "resourceType": "ValueSet",
        "url": "https://test.invalid/imported",
        "compose": {"include": [{"system": CS, "concept": [{"code": "a1"}, {"code": "b"}]}]},
    }
    return Terminology(core(HOME).over([SYSTEM, MAP, value_set, imported]))


def rule(op: str, value: str, name: str = "concept") -> Json:
    return {"include": [{"system": CS, "filter": [{"property": name, "op": op, "value": value}]}]}


@pytest.mark.parametrize(
    ("compose", "codes"),
    [
        ({"include": [{"system": CS}]}, "a a1 a11 a2 b"),
        ({"include": [{"system": CS, "concept": [{"code": "a"}]}]}, "a"),
        (rule("is-a", "a"), "a a1 a11 a2"),
        (rule("is-a", "b"), "a11 b"),
        (rule("descendent-of", "a"), "a1 a11 a2"),
        (rule("is-not-a", "a"), "b"),
        (rule("generalizes", "a1"), "a a1"),
        (rule("in", "a, b"), "a b"),
        (rule("not-in", "a,b"), "a1 a11 a2"),
        (rule("=", "x", "kind"), "a"),
        (rule("in", "x,y", "kind"), "a b"),
        (rule("exists", "true", "kind"), "a b"),
        (rule("exists", "false", "kind"), "a1 a11 a2"),
        ({"include": [{"valueSet": ["https://test.invalid/imported"]}]}, "a1 b"),
        ({"include": [{"system": CS, "filter": [{"property": "concept", "op": "is-a", "value": "a"}], "valueSet": ["https://test.invalid/imported"]}]}, "a1"),
        ({"include": [{"system": CS}], "exclude": [{"system": CS, "concept": [{"code": "b"}]}]}, "a a1 a11 a2"),
        ({"include": [{"system": CS}], "exclude": [{"valueSet": ["https://test.invalid/imported"]}]}, "a a11 a2"),
    ],
)  # fmt: skip
def test_a_compose_has_exactly_its_codes(compose: Json, codes: str) -> None:
    """FHIR R4 4.9.8: includes are joined, filters and imports within one include are met together."""
    terminology = made(compose)
    expansion = terminology.expand("https://test.invalid/vs")
    assert expansion == {(CS, code) for code in codes.split()}
    for code in ("a", "a1", "a11", "a2", "b", "zz"):
        assert terminology.member("https://test.invalid/vs", CS, code) == ("yes" if code in codes.split() else "no")
    assert terminology.member("https://test.invalid/vs", "https://test.invalid/none", "a") == "no"


def test_what_cannot_be_decided_is_said_so() -> None:
    """No content, no answer: neither yes nor no."""
    snomed = {"system": "http://snomed.info/sct", "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}
    terminology = made({"include": [snomed, {"system": CS, "concept": [{"code": "a"}]}]})
    ask = terminology.member
    assert ask("https://test.invalid/vs", "http://snomed.info/sct", "2") == "cannot"
    assert ask("https://test.invalid/vs", CS, "a") == "yes"
    assert ask("https://test.invalid/vs", CS, "b") == "no"
    assert ask("https://test.invalid/unknown", CS, "a") == "cannot"
    assert terminology.expand("https://test.invalid/vs") is None
    assert terminology.finite("https://test.invalid/vs") is None


def test_an_exclusion_that_cannot_be_decided_leaves_it_undecided() -> None:
    """What may have been excluded is not in for sure."""
    snomed = {"system": "http://snomed.info/sct"}
    terminology = made({"include": [{**snomed, "concept": [{"code": "1"}]}], "exclude": [snomed]})
    assert terminology.member("https://test.invalid/vs", "http://snomed.info/sct", "1") == "cannot"


def test_an_expansion_is_used_where_there_is_no_compose() -> None:
    """Some value sets travel expanded."""
    contains = [{"abstract": True, "system": CS, "code": "g", "contains": [{"system": CS, "code": "a"}]}]
    terminology = made({}, expansion={"contains": contains})
    answers = [terminology.member("https://test.invalid/vs", CS, code) for code in ("a", "g", "b")]
    assert answers == ["yes", "no", "no"]


@pytest.mark.parametrize(
    ("value_set", "code", "answer"),
    [
        ("all-languages", "fa-IR", "yes"), ("all-languages", "x y", "no"), ("mimetypes", "text/plain; charset=utf-8", "yes"), ("mimetypes", "text plain", "no"),
        ("administrative-gender|4.0.1", "male", "yes"), ("administrative-gender", "Male", "no"), ("resource-types", "Patient", "yes"),
    ],
)  # fmt: skip
def test_core_value_sets(value_set: str, code: str, answer: str) -> None:
    """With a version or without; languages and media types by their syntax."""
    terminology = Terminology(core(HOME))
    assert terminology.member("http://hl7.org/fhir/ValueSet/" + value_set, None, code) == answer


def test_every_required_binding_is_decided_or_known_to_be_undecidable() -> None:
    """The list of what R4 itself leaves to others is short and does not grow unseen."""
    terminology = Terminology(core(HOME))
    bound = set()
    for url in terminology.pack.urls("StructureDefinition"):
        definition = terminology.pack.find("StructureDefinition", url)
        assert definition is not None
        for row in definition["snapshot"]["element"]:
            binding = row.get("binding", {})
            if binding.get("strength") == "required" and "valueSet" in binding:
                bound.add(binding["valueSet"].partition("|")[0])
    undecided = {url.rpartition("/")[2] for url in bound if terminology.finite(url) is None}
    assert undecided <= {"mimetypes", "ucum-units", "currencies", "timezones", "LL379-9", "all-languages"}


def test_case_and_hierarchy_of_a_code_system() -> None:
    """A system that does not tell cases apart finds the code as it writes it."""
    system = made({}).system(CS)
    assert system is not None
    assert (system.find("A11"), system.find("zz")) == ("a11", None)
    assert system.above("a11") == {"a1", "a", "b"}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a", [("A", "equal"), ("AA", "wider")]),
        ("b", []),
        ("zz", [("U", "equivalent")]),
    ],
)
def test_a_concept_map_translates(code: str, expected: list[tuple[str, str]]) -> None:
    """Mapped, explicitly without a target, and not mentioned are three different things."""
    found = made({}).translate("https://test.invalid/map", CS, code)
    assert [each[1:] for each in found] == expected
    assert made({}).translate("https://test.invalid/none", CS, code) == ()
