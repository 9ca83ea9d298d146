"""A route's condition is FHIRPath on the document; anything but true is no."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from gateway.gather import routes
from gateway.programme import CasePlan, Completion, DocumentPlan, Programme, Route, Title
from gateway.settings import Destination, RouteWindow, Settings

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


def test_an_installation_owes_nothing_to_a_place_that_it_lacks() -> None:
    """An exchange that no lane would ever carry waits where nobody looks."""
    given = (Route(kind="stay", destination="a"), Route(kind="stay", destination="b", optional=True))
    settings = Settings(destination=(Destination(id="x", programme="p", protocol="signed-rest", peer="x"),))
    assert [each.destination for each in routes.installed(given, "p", settings)] == ["a"]


def test_an_installation_closes_a_route_on_its_own_day() -> None:
    """The day on which a system is withdrawn is told by an authority, not by a release of this software."""
    given = (Route(kind="stay", destination="a", valid_from="2020-01-01"), Route(kind="stay", destination="b"))
    settings = Settings(route=(RouteWindow(programme="p", destination="a", valid_to="2026-02-28"),))
    found = routes.installed(given, "p", settings)
    assert [(each.destination, each.valid_from, each.valid_to) for each in found] == [
        ("a", "2020-01-01", "2026-02-28"),
        ("b", None, None),
    ]
    closed = msgspec.structs.replace(programme(""), route=found)
    assert routes.destinations(closed, "stay", {}, AT) == ("b",)
