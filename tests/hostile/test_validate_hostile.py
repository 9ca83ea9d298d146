"""The validator against resources that want to hurt: bounded, with findings, without a traceback.

Invariant of the fuzzing below: `validate` returns findings for whatever is in the resource; it raises nothing.
"""

# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import mend, text
from gateway.formats import json
from gateway.message import LANGUAGES
from gateway.validate import Rulebook, load, outcome

BOOK: Rulebook = load()


def quickly(resource: Any, seconds: float = 10.0) -> list[str]:
    start = time.perf_counter()
    found = BOOK.validate(resource)
    assert time.perf_counter() - start < seconds
    assert len(found) <= 1_000
    return [each.code for each in found]


def nested_extension(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"url": "http://x.invalid/e", "valueString": "x"}
    for _ in range(depth):
        made = {"url": "http://x.invalid/e", "extension": [made]}
    return {"resourceType": "Patient", "extension": [made]}


def nested_bundle(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Bundle", "type": "collection"}
    for _ in range(depth):
        made = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": "urn:x:y", "resource": made}]}
    return made


@pytest.mark.parametrize("depth", [10, 60, 190, 5_000])
def test_deep_nesting_is_a_finding(depth: int) -> None:
    """A value that is already in memory may be deeper than the reader would have let in."""
    assert quickly(nested_extension(depth))
    assert quickly(nested_bundle(depth)) is not None


def test_deep_bytes_are_a_finding() -> None:
    """The same through the reader."""
    assert quickly(b"[" * 100_000) == ["GW-CORE-004"]
    assert quickly(b'{"resourceType":"Patient","a":' * 100_000) == ["GW-CORE-004"]


def test_a_million_items_are_a_finding() -> None:
    """An array past the limit is named and left alone."""
    patient = {"resourceType": "Patient", "name": [{"family": "x"}] * 1_000_000}
    assert "GW-VAL-050" in quickly(patient)


def test_a_million_wrong_things_are_a_thousand_findings() -> None:
    """Findings are bounded too, and the last one says so."""
    patient = {"resourceType": "Patient", **{f"x{at}": 1 for at in range(200_000)}}
    assert quickly(patient)[-1] == "GW-VAL-057"


@pytest.mark.parametrize(
    "value",
    [
        "a" * 1_000_000,
        "a " * 500_000,
        "a\t" * 500_000,
        "1" * 1_000_000,
        "urn:oid:1" + ".1" * 500_000,
        "A" * 999_999 + "!",
    ],
    ids=["a", "spaces", "tabs", "digits", "oid", "base64"],
)
@pytest.mark.parametrize(
    "kind", ["Code", "Id", "Uri", "Oid", "Uuid", "Base64Binary", "DateTime", "Time", "String", "Markdown"]
)
def test_no_pattern_runs_wild(kind: str, value: str) -> None:
    """Every pattern is linear: a megabyte that almost fits is judged in a moment."""
    quickly({"resourceType": "Parameters", "parameter": [{"name": "x", "value" + kind: value}]}, 3.0)


@pytest.mark.parametrize(
    "div",
    [
        "<div" + " a" * 100_000 + ">", "<div>" * 100_000, '<div xmlns="http://www.w3.org/1999/xhtml">' + "<p>" * 50_000,
        '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><div xmlns="http://www.w3.org/1999/xhtml">&b;</div>',
        '<!DOCTYPE d SYSTEM "file:///etc/passwd"><div/>', "\x00", "<", "&" * 100_000, "]]>",
    ],
    ids=["attributes", "open", "deep", "entities", "external", "nul", "lt", "amp", "cdata"],
)  # fmt: skip
def test_hostile_narrative_is_a_finding(div: str) -> None:
    """Narrative is XML from outside inside JSON from outside."""
    assert quickly({"resourceType": "Patient", "text": {"status": "generated", "div": div}})


@pytest.mark.parametrize(
    "resource",
    [
        None, 1, "x", [], {}, {"resourceType": None}, {"resourceType": 1}, {"resourceType": []}, {"resourceType": "Resource"},
        {"resourceType": "DomainResource"}, {"resourceType": "HumanName"}, {"resourceType": "patient"}, {"resourceType": "Patient.contact"},
        {"resourceType": "../x"}, {"resourceType": ""},
    ],
)  # fmt: skip
def test_what_is_no_resource_is_one_finding(resource: Any) -> None:
    """Not a traceback, and not silence."""
    assert quickly(resource) == ["GW-VAL-001"]


def test_a_profile_that_leads_back_to_itself_ends() -> None:
    """Definitions are input too."""
    url = "http://x.invalid/p"
    rows = [
        {"path": "Patient"},
        {"path": "Patient.link", "min": 0},
        {"path": "Patient.link.other", "type": [{"code": "Reference", "targetProfile": [url]}]},
    ]
    definition = {
        "resourceType": "StructureDefinition", "url": url, "type": "Patient", "derivation": "constraint",
        "baseDefinition": url, "differential": {"element": rows},
    }  # fmt: skip
    patient = {
        "resourceType": "Patient", "contained": [{"resourceType": "Patient", "id": "a", "link": [{"other": {"reference": "#a"}, "type": "seealso"}]}],
        "link": [{"other": {"reference": "#a"}, "type": "seealso"}],
    }  # fmt: skip
    assert BOOK.validate(patient, (url,), (definition,)) is not None


_NAMES = st.sampled_from(
    ["resourceType", "id", "meta", "text", "div", "status", "contained", "extension", "url", "valueString", "name", "family", "given", "_given", "_family",
     "reference", "entry", "resource", "fullUrl", "type", "coding", "system", "code", "value", "period", "start", "end", "identifier", "profile", "item"]
)  # fmt: skip
_LEAVES = st.none() | st.booleans() | st.integers() | st.sampled_from(
    ["Patient", "Bundle", "Observation", "Composition", "document", "collection", "#x", "#", "Patient/x", "urn:uuid:x", "2024", "", " ", "x", "http://hl7.org/fhir/StructureDefinition/patient-birthPlace"]
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6), max_leaves=30
)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(["Patient", "Bundle", "Observation", "Composition", "Parameters", "Questionnaire"]),
    st.dictionaries(_NAMES, _TREES, max_size=8),
)
def test_fuzzing_never_raises(kind: str, members: dict[str, Any]) -> None:
    """See the invariant at the top of this file. What was found can be said in every language."""
    found = BOOK.validate({**members, "resourceType": kind})
    for each in found:
        for language in LANGUAGES:
            assert text(each, language)
            mend(each, language)
    assert json.write(outcome(found[:5]))


_JUNK = st.sampled_from(
    [
        None,
        1,
        -1,
        "x",
        [],
        {},
        ["x"],
        [{}],
        [None],
        {"a": 1},
        True,
        "Patient.x.y",
        "*",
        "http://hl7.org/fhir/StructureDefinition/Patient",
    ]
)
_DEFINITION = {
    "resourceType": "StructureDefinition", "url": "http://x.invalid/p", "type": "Patient", "derivation": "constraint",
    "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
    "differential": {"element": [
        {"id": "Patient", "path": "Patient", "constraint": [{"key": "t", "severity": "error", "human": "x", "expression": "name.exists()"}]},
        {"id": "Patient.identifier", "path": "Patient.identifier", "slicing": {"discriminator": [{"type": "value", "path": "system"}], "rules": "open"}},
        {"id": "Patient.identifier:a", "path": "Patient.identifier", "sliceName": "a", "min": 1, "max": "1"},
        {"id": "Patient.identifier:a.system", "path": "Patient.identifier.system", "fixedUri": "http://x.invalid/a", "maxLength": 9},
        {"id": "Patient.maritalStatus", "path": "Patient.maritalStatus", "binding": {"strength": "required", "valueSet": "http://x.invalid/vs"}},
        {"id": "Patient.managingOrganization", "path": "Patient.managingOrganization", "type": [{"code": "Reference", "targetProfile": ["http://x.invalid/p"]}]},
    ]},
}  # fmt: skip
_VALUES = {
    "resourceType": "ValueSet", "url": "http://x.invalid/vs",
    "compose": {"include": [{"system": "http://x.invalid/cs", "filter": [{"property": "concept", "op": "is-a", "value": "a"}]}], "exclude": [{"valueSet": ["http://x.invalid/vs"]}]},
}  # fmt: skip
_SYSTEM = {
    "resourceType": "CodeSystem",
    "url": "http://x.invalid/cs",
    "content": "complete",
    "concept": [{"code": "a", "concept": [{"code": "b"}]}],
}
_PATIENT = {
    "resourceType": "Patient", "identifier": [{"system": "http://x.invalid/a"}], "managingOrganization": {"reference": "#"},
    "maritalStatus": {"coding": [{"system": "http://x.invalid/cs", "code": "b"}]},
}  # fmt: skip


def _spots(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in inner for found in [(*way, key), *_spots(each, (*way, key))]]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_broken_definition_is_a_finding(data: st.DataObject) -> None:
    """Whatever stands in a profile, value set or code system: findings, no traceback."""
    definitions: list[Any] = copy.deepcopy([_DEFINITION, _VALUES, _SYSTEM])
    which = data.draw(st.integers(0, 2))
    *steps, last = data.draw(st.sampled_from(_spots(definitions[which])))
    holder = definitions[which]
    for step in steps:
        holder = holder[step]
    holder[last] = data.draw(_JUNK)
    assert BOOK.validate(_PATIENT, ("http://x.invalid/p",), definitions) is not None
