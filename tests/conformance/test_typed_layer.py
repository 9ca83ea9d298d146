"""fhir.resources (R4B models) beside our validator, on the resources that we author ourselves.

The two know different things. Where both know a rule they have to agree; where only ours does, the row says so, and
the typed layer's silence is stated too, so that nobody takes it for a validator.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from gateway.audit import events, render
from gateway.errors import codes, finding
from gateway.formats import json
from gateway.message import LANGUAGES, Evidence, Json
from gateway.receive import answers
from gateway.sign import evidence
from gateway.validate import Policy, Rulebook, load
from gateway.validate.outcome import outcome

AT = datetime(2026, 11, 21, 8, 0, 0, 7, tzinfo=UTC)
PROOF = Evidence(jws="e30..c2ln", algorithm="RS256", certificate_digest="00" * 32, signed_at=AT)
SAMPLES = {str: "name-1", int: 3, datetime: AT}
KNOWN = {"interaction": "search-type", "outcome": "0", "type": "Patient", "entities": ["exchange/e1"]}


def audit_events() -> Iterator[Json]:
    for name, make in inspect.getmembers(events, inspect.isfunction):
        if not name.startswith("_") and make.__module__ == events.__name__:
            about = inspect.signature(make, eval_str=True).parameters.items()
            given = {key: KNOWN.get(key, SAMPLES.get(each.annotation, ["name-1"])) for key, each in about}
            yield render.document(make(**given), "1-7", "gateway-test")


def outcomes() -> Iterator[Json]:
    every = [finding(code, location="Patient.name[0]") for code in codes()]
    for language in LANGUAGES:
        yield outcome(every, language)
        yield outcome((), language)
        yield json.read(answers.outcome(every[:20], language))


@cache
def authored() -> list[Json]:
    proof = evidence.provenance(PROOF, "p1", "Binary/d1", "ab" * 32, "https://gateway.invalid")
    return [*audit_events(), *outcomes(), proof]


def accepted_by_models(resource: Json) -> bool:
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(json.read(json.write(resource)))
    except ValidationError:
        return False
    return True


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return load(policy=Policy(best_practice=False))


def test_both_accept_all_that_we_author(book: Rulebook) -> None:
    """What goes out under our own name is valid by two judges."""
    made = authored()
    assert {each["resourceType"] for each in made} == {"AuditEvent", "OperationOutcome", "Provenance"}
    for each in made:
        assert accepted_by_models(each)
        assert [found for found in book.validate(each) if found.severity == "error"] == []


BROKEN: list[tuple[str, str, Any, bool]] = [
    # resource, member, new value (... takes it away), whether the typed layer sees it too
    ("OperationOutcome", "issue", ..., True),
    ("OperationOutcome", "issue", {}, True),
    ("OperationOutcome", "issue", [], False),
    ("OperationOutcome", "nonsense", 1, True),
    ("OperationOutcome", "language", 5, True),
    ("AuditEvent", "type", ..., True),
    ("AuditEvent", "recorded", ..., True),
    ("AuditEvent", "recorded", "yesterday", True),
    ("AuditEvent", "agent", ..., True),
    ("AuditEvent", "source", ..., True),
    ("AuditEvent", "action", "Z", False),
    ("AuditEvent", "outcome", "9", False),
    ("AuditEvent", "agent", [{"requestor": "true"}], False),
    ("AuditEvent", "entity", [{"name": "x", "query": "dGVzdA=="}], False),
    ("Provenance", "target", ..., True),
    ("Provenance", "recorded", ..., True),
    ("Provenance", "agent", ..., True),
    ("Provenance", "agent", [{"who": 1}], True),
    ("Provenance", "occurredDateTime", "2026-13-01", True),
    ("Provenance", "signature", [{"when": "2026-11-21T08:00:00Z"}], True),
    ("Provenance", "target", [{"reference": "a b"}], False),
]


@pytest.mark.parametrize(("kind", "member", "value", "seen"), BROKEN, ids=lambda v: str(v)[:30])
def test_what_is_broken_is_refused(book: Rulebook, kind: str, member: str, value: Any, seen: bool) -> None:
    """We refuse whatever the typed layer refuses, and what it does not know as well."""
    made = dict(next(each for each in authored() if each["resourceType"] == kind))
    if value is ...:
        del made[member]
    else:
        made[member] = value
    assert any(found.severity == "error" for found in book.validate(made))
    assert accepted_by_models(made) is not seen
