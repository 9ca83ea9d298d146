"""Subscriptions as somebody would write them who means harm: refused with an outcome, never a defect."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "pull"))
from pull_endpoint import SCOPES, topical
from pull_house import DEFINITIONS, NOW, ONE, House

from gateway import store
from gateway.clock import FixedClock
from gateway.settings import Endpoint, Peer, Repository

URL = "https://repository.example/notify"
PEER = {ONE: Peer(origin="https://repository.example")}
ENTRY = (Repository(sender=ONE, scopes=SCOPES, endpoint=(Endpoint(url=URL, peer=ONE),)),)

scalars = st.none() | st.booleans() | st.integers(-5, 10**18) | st.text(max_size=30) | st.just("a" * 5000)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)  # fmt: skip  # noqa: E501
places = st.sampled_from(
    ("reason", "criteria", "channel", "status", "end", "_criteria", "meta", "id", "channel.type", "channel.endpoint",
     "channel.payload", "channel._payload", "channel.header", "channel.extension", "error"),
)  # fmt: skip


def spoiled(place: str, value: Any) -> Any:
    made = topical(URL, "urn:gateway:topic:Patient")
    outer, _, inner = place.partition(".")
    if inner:
        made[outer][inner] = value
    else:
        made[outer] = value
    return made


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(st.tuples(places, anything), min_size=25, max_size=25))
async def test_what_is_no_subscription_is_refused(tmp_path_factory: Any, changes: list[tuple[str, Any]]) -> None:
    """Whatever stands in an element, the answer is 201 or an OperationOutcome; what was kept can be shown."""
    clock = FixedClock(NOW)
    async with store.open("", tmp_path_factory.mktemp("hostile"), clock, DEFINITIONS) as ledger:
        house = House(ledger, clock, repository=ENTRY, peers=PEER, subscriptions=1000)
        for place, value in changes:
            answer = await house.ask("Subscription", method="POST", json=spoiled(place, value))
            assert answer.status_code in (201, 400, 422), (place, value, answer.text)
            if answer.status_code == 201:
                id = answer.json()["id"]
                for path in (f"Subscription/{id}", f"Subscription/{id}/$status", f"Subscription/{id}/$events"):
                    assert (await house.ask(path)).status_code == 200
                    assert (await house.ask(path, headers={"accept": "application/fhir+xml"})).status_code == 200


BODIES = (b"", b"[]", b"null", b'"x"', b"{", b'{"resourceType":"Patient"}', b"<x/>", b"\xff", b"[" * 5000)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_what_cannot_be_read_is_said(tmp_path: Path, body: bytes) -> None:
    """JSON or XML that is none, or is something else; and more than is read."""
    clock = FixedClock(NOW)
    async with store.open("", tmp_path, clock, DEFINITIONS) as ledger:
        house = House(ledger, clock, repository=ENTRY, peers=PEER)
        for kind in ("application/fhir+json", "application/fhir+xml", "text/plain"):
            headers = {"content-type": kind}
            answer = await house.ask("Subscription", method="POST", content=body, headers=headers)
            assert answer.status_code in (400, 415, 422), answer.text
            assert answer.json()["resourceType"] == "OperationOutcome"
        headers = {"content-type": "application/fhir+json"}
        large = await house.ask("Subscription", method="POST", content=b"{" + b" " * 10**6, headers=headers)
        assert large.status_code in (400, 413)
