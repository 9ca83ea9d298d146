"""What expressions ask of their surroundings, and that they ask nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gateway.fhirpath import Environment, FhirPathError, StructureModel, compile, node  # noqa: A004

PATIENT = {"resourceType": "Patient", "id": "p1", "managingOrganization": {"reference": "Organization/7"}}
BUNDLE = {"resourceType": "Bundle", "entry": [{"fullUrl": "urn:1", "resource": PATIENT}]}


def test_the_clock_is_the_recorded_one(types: StructureModel) -> None:
    """The same input at the same recorded instant gives the same answer, for ever."""
    env = Environment(now=datetime(2020, 2, 29, 23, 59, 58, 123456, tzinfo=UTC))
    assert [str(item) for item in compile("now()", types)(PATIENT, env)] == ["2020-02-29T23:59:58.123Z"]
    assert [str(item) for item in compile("today() - 1 year", types)(PATIENT, env)] == ["2019-02-28"]
    assert [str(item) for item in compile("timeOfDay()", types)(PATIENT, env)] == ["23:59:58.123"]


def test_resolve_types_what_it_is_given(types: StructureModel) -> None:
    """A resolved resource is navigated by its own type."""
    asked: list[str] = []

    def resolve(reference: str) -> Any:
        asked.append(reference)
        return {"resourceType": "Patient", "gender": "other"} if reference == "Organization/7" else None

    env = Environment(resolve=resolve)
    assert compile("managingOrganization.resolve().gender is code", types)(PATIENT, env) == [True]
    assert compile("'nowhere'.resolve()", types)(PATIENT, env) == []
    assert asked == ["Organization/7", "nowhere"]
    assert compile("managingOrganization.resolve()", types)(PATIENT) == []


def test_resource_and_root_resource_are_the_focus_unless_said_otherwise(types: StructureModel) -> None:
    """Inside a contained resource they differ, and the caller says so."""
    assert compile("%resource.id = 'p1' and %rootResource.id = 'p1' and %context.id = 'p1'", types)(PATIENT) == [True]
    env = Environment(resource=PATIENT, root_resource=BUNDLE)
    assert compile("%resource.id", types)({"reference": "#x"}, env) == ["p1"]
    assert compile("%rootResource.entry.fullUrl", types)({"reference": "#x"}, env) == ["urn:1"]


def test_variables_and_lookup_bring_plain_values(types: StructureModel) -> None:
    """Tables of a programme are asked by plain keys; an empty key finds nothing and asks nobody."""
    asked: list[tuple[Any, ...]] = []

    def lookup(*keys: Any) -> Any:
        asked.append(keys)
        return {"tariff": Decimal("12.50")} if keys == ("tariffs", "A1", "2020-01-01") else None

    env = Environment(variables={"code": "A1"}, lookup=lookup)
    assert compile("lookup('tariffs', %code, @2020-01-01).tariff > 12", types)(PATIENT, env) == [True]
    assert compile("lookup('tariffs', 'B').exists()", types)(PATIENT, env) == [False]
    assert compile("lookup('tariffs', contained.id)", types)(PATIENT, env) == []
    assert len(asked) == 2
    with pytest.raises(FhirPathError):
        compile("lookup('tariffs', 'B')", types)(PATIENT)


def test_undecided_answers_are_empty_not_false(types: StructureModel) -> None:
    """A value set without content must never make data invalid by itself."""
    env = Environment(member_of=lambda value, url: {"urn:in": True, "urn:out": False}.get(url))
    for url, wanted in (("urn:in", [True]), ("urn:out", [False]), ("urn:unknown", [])):
        assert compile(f"id.memberOf('{url}')", types)(PATIENT, env) == wanted
    assert compile("id.memberOf('urn:in')", types)(PATIENT) == []


def test_an_unknown_profile_is_an_error_of_the_expression(types: StructureModel) -> None:
    """conformsTo of a profile that nobody has is a mistake in the expression, not a property of the data."""
    env = Environment(conforms_to=lambda resource, url: resource["id"] == "p1" if url == "urn:p" else None)
    assert compile("conformsTo('urn:p')", types)(PATIENT, env) == [True]
    with pytest.raises(FhirPathError):
        compile("conformsTo('urn:other')", types)(PATIENT, env)


def test_trace_hands_over_plain_values_and_changes_nothing(types: StructureModel) -> None:
    """Tracing is for the caller's eyes; without a listener it does nothing."""
    heard: list[tuple[str, list[Any]]] = []
    env = Environment(trace=lambda name, items: heard.append((name, items)))
    assert compile("id.trace('ids')", types)(PATIENT, env) == compile("id.trace('ids')", types)(PATIENT) == ["p1"]
    assert heard == [("ids", ["p1"])]


def test_a_typed_node_says_what_its_json_cannot(types: StructureModel) -> None:
    """The validator hands over a primitive with its type and the object beside it."""
    focus = node("1974-12-25", "date", types, {"extension": [{"url": "urn:x", "valueString": "y"}]})
    assert compile("$this < @1980 and extension.exists() and hasValue()", types).boolean(focus) is True
    assert compile("hasValue()", types).boolean(node(None, "date", types, {"id": "a"})) is False
