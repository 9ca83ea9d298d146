"""A route's condition is FHIRPath on the document; anything but true is no."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.gather import routes
from gateway.programme import CasePlan, Completion, DocumentPlan, Programme, Route, Title

AT = datetime(2026, 3, 1, tzinfo=UTC)
CANCER = {
    "resourceType": "Bundle",
    "entry": [{"resource": {"resourceType": "Condition", "code": {"coding": [{"code": "C34.9"}]}}}],
}


def programme(when: str) -> Programme:
    return Programme(
        name="p",
        title=Title(en="p", fa="p", it="p", zh="p"),
        language="en",
        timezone="UTC",
        intake=(),
        case=(CasePlan(kind="stay", complete=Completion(parts=((),))),),
        document=(DocumentPlan(kind="stay"),),
        route=(Route(kind="stay", destination="registry", when=when),),
    )


@pytest.mark.parametrize(
    ("when", "goes"),
    [
        ("", True),
        ("entry.resource.ofType(Condition).code.coding.where(code.startsWith('C')).exists()", True),
        ("entry.resource.ofType(Condition).code.coding.where(code.startsWith('F')).exists()", False),
        ("entry.resource.ofType(Patient).active", False),  # empty is not true
    ],
)
def test_only_true_opens_a_route(when: str, goes: bool) -> None:
    """The cancer registry gets cancer and nothing else (A-35)."""
    assert routes.destinations(programme(when), "stay", CANCER, AT) == (("registry",) if goes else ())
