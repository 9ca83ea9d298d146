"""The official FHIRPath tests for R4, the invariants of R4 and the expressions of its search parameters.

The record of what passes is `fhirpath_baseline.json`; it may only grow. A test that disagrees has one line of reason
there. `GATEWAY_TEST_DATA` (or `../shared/data`) holds the official tests; the rest runs on the pack of the project.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.fhirpath import Environment, FhirPathError, Node, StructureModel, Temporal, compile, node  # noqa: A004
from gateway.fhirpath.values import as_text, plain
from gateway.formats import json as lossless
from gateway.validate.model import Model, PathTypes
from gateway.validate.pack import core

HOME = Path(__file__).parents[2]
DATA = Path(os.environ.get("GATEWAY_TEST_DATA", HOME.parent / "shared" / "data"))
SUITE = DATA / "fhirpath"
BASELINE = Path(__file__).with_name("fhirpath_baseline.json")
R4 = "http://hl7.org/fhir/StructureDefinition/"

needs_suite = pytest.mark.skipif(not SUITE.is_dir(), reason="the official FHIRPath tests are not here")


@cache
def types() -> PathTypes:
    return PathTypes(Model(core(HOME)))


@cache
def definitions(kind: str) -> list[dict[str, Any]]:
    pack = core(HOME)
    return [found for url in pack.urls(kind) if (found := pack.find(kind, url)) is not None]


def environment() -> Environment:
    def conforms(resource: Any, url: str) -> bool | None:
        return url == R4 + resource["resourceType"] if url.startswith(R4) else None

    return Environment(
        now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), conforms_to=conforms, trace=lambda name, items: None
    )


def shown(item: Any) -> str | None:
    value = plain(item)
    if isinstance(value, Node):
        return f"<{value.kind.name}>"
    mark = {"Time": "@T"}.get(value.kind, "@") if isinstance(value, Temporal) else ""
    return f"{mark}{as_text(value)}"


def outcome(test: dict[str, Any]) -> tuple[bool, str]:
    """Whether the engine agrees with the test, and what it said."""
    focus: Any = {}
    if test["input"]:
        focus = lossless.read((SUITE / "inputs" / test["input"].replace(".xml", ".json")).read_bytes())
    try:
        compiled = compile(test["expr"], types(), focus.get("resourceType"), strict=test["mode"] == "strict")
        found = [shown(item) for item in compiled.nodes(focus, environment())]
    except FhirPathError as error:
        return bool(test["invalid"]), str(error)
    if test["invalid"]:
        return False, f"not refused: {found}"
    wanted = [value for _, value in test["out"]]
    if test["ordered"] == "false":
        return sorted(map(str, wanted)) == sorted(map(str, found)), str(found)
    return wanted == found, str(found)


def cases() -> list[dict[str, Any]]:
    return json.loads((SUITE / "tests.json").read_text(encoding="utf-8")) if SUITE.is_dir() else []


def key(test: dict[str, Any]) -> str:
    return f"{test['group']}/{test['name']}"


def baseline() -> dict[str, Any]:
    return (
        json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {"passing": [], "disagreements": {}}
    )


@needs_suite
@pytest.mark.parametrize("test", cases(), ids=key)
def test_official_expression(test: dict[str, Any]) -> None:
    """What once passed passes; what never did has a reason written down."""
    agreed, said = outcome(test)
    known = baseline()
    if key(test) in known["passing"]:
        assert agreed, f"{test['expr']!r} gave {said}, wanted {test['out']} {test['invalid'] or ''}"
    else:
        assert not agreed, "it passes now: record it in fhirpath_baseline.json"
        assert key(test) in known["disagreements"], f"no reason is written down: {said}"


@needs_suite
def test_at_least_99_percent_of_the_official_tests_pass() -> None:
    """The goal of the project is 95 %; this is what has been reached and is not given up."""
    known = {key(test) for test in cases()}
    assert len(known & set(baseline()["passing"])) >= 0.99 * len(known)


def constraints() -> dict[tuple[str, str], str]:
    """Every invariant of the base types: (expression, type of the element) -> key."""
    # The pack leaves out the two that stand on nearly every element, because the validator checks them itself.
    found = {
        ("hasValue() or (children().count() > id.count())", "Meta"): "ele-1",
        ("extension.exists() != value.exists()", "Extension"): "ext-1",
    }
    for structure in definitions("StructureDefinition"):
        for element in (structure.get("snapshot") or {}).get("element", ()):
            for rule in element.get("constraint", ()):
                if "expression" in rule:
                    found.setdefault((rule["expression"], _focus_type(element)), rule["key"])
    return found


def _focus_type(element: dict[str, Any]) -> str:
    path: str = element["path"]
    if types().elements(path) is not None:
        return path
    code = str((element.get("type") or [{"code": "Element"}])[0]["code"])
    return code if ":" not in code else "string"


def test_all_invariants_of_r4_compile_and_evaluate() -> None:
    """203 expressions; each is also evaluated, on an element that holds nothing."""
    found = constraints()
    assert len({expression for expression, _ in found}) >= 203
    env = environment()
    for (expression, type_name), name in found.items():
        compiled = compile(expression, types(), type_name)
        empty: Any = "" if types().is_primitive(type_name) else {}
        try:
            answer = compiled.boolean(node(empty, type_name, types()), env)
        except FhirPathError as error:
            pytest.fail(f"{name} on {type_name}: {error}")
        assert answer in (True, False, None)


def test_all_search_parameters_of_r4_compile() -> None:
    """Search reads the same expressions."""
    expressions = {found["expression"] for found in definitions("SearchParameter") if found.get("expression")}
    assert len(expressions) > 1_000
    for expression in expressions:
        compile(expression, types())


@pytest.mark.skipif(not (DATA / "sql-on-fhir").is_dir(), reason="the SQL on FHIR tests are not here")
def test_all_paths_of_the_view_tests_compile() -> None:
    """Views are made of these; only paths that a test expects to be refused are."""
    for file in sorted((DATA / "sql-on-fhir").glob("*.json")):
        for case in json.loads(file.read_text(encoding="utf-8"))["tests"]:
            if case.get("expectError"):
                continue
            for path in _paths(case["view"]):
                compile(path, types())


def _paths(view: Any) -> list[str]:
    if isinstance(view, list):
        return [path for part in view for path in _paths(part)]
    if not isinstance(view, dict):
        return []
    own = [view[name] for name in ("path", "forEach", "forEachOrNull") if isinstance(view.get(name), str)]
    return own + [path for part in view.values() for path in _paths(part)]


def test_two_readers_of_the_definitions_agree_on_the_elements() -> None:
    """The validator's view of the types and the engine's own reader were written apart; they must say the same."""
    own = StructureModel(definitions("StructureDefinition"))
    for structure in definitions("StructureDefinition"):
        name = structure["type"]
        if structure.get("derivation") != "constraint" and not types().is_primitive(name):
            assert dict(own.elements(name) or {}) == dict(types().elements(name) or {}), name
