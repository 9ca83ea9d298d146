"""Events: every visible step has one, each is a valid AuditEvent, and none can carry a name."""

from __future__ import annotations

import gzip
import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit import codes, events, render
from gateway.errors import Broken
from gateway.message import AuditRecord

AT = datetime(2026, 11, 21, 8, 0, 0, 7, tzinfo=UTC)
NAME = "بیمار آزمایشی"
PACK = Path(__file__).parents[3] / "profiles" / "r4" / "codesystems.json.gz"

BUILDERS = [
    each
    for name, each in inspect.getmembers(events, inspect.isfunction)
    if not name.startswith("_") and each.__module__ == events.__name__
]


def _arguments(builder: Callable[..., AuditRecord]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, parameter in inspect.signature(builder, eval_str=True).parameters.items():
        if name == "interaction":
            made[name] = "search-type"
        elif name == "outcome":
            made[name] = "0"
        elif name == "type":
            made[name] = "Patient"
        elif name == "entities":
            made[name] = ["exchange/e1"]
        else:
            made[name] = {str: f"{name}-1", int: 3, datetime: AT}.get(parameter.annotation, [f"{name}-1"])
    return made


@pytest.mark.parametrize("builder", BUILDERS, ids=lambda each: each.__name__)
def test_every_step_renders_as_a_valid_audit_event(builder: Callable[..., AuditRecord]) -> None:
    """Type, subtype, action, outcome, agent, source and time are there; ids are found again."""
    record = builder(**_arguments(builder))
    assert record.at == AT
    document = render.document(record, "1-7", "gateway-test")
    again = AuditEvent(**document)
    assert (again.id, again.outcome, again.action) == ("1-7", record.outcome, record.action)
    assert again.recorded == AT
    assert document["type"]["code"] == record.type
    assert document["subtype"][0]["code"] == record.subtype
    assert sum(agent["requestor"] for agent in document["agent"]) == 1
    text = json.dumps(document, ensure_ascii=False)
    for entity in record.entities:
        assert entity.split("/")[1] in text
    for value in record.detail.values():
        assert value in text
    assert record.agent in text


def test_every_code_is_in_its_system() -> None:
    """Against the code systems of FHIR R4 as published."""
    pack = json.loads(gzip.decompress(PACK.read_bytes()))
    known: dict[str, set[str]] = {}

    def collect(system: str, concepts: list[dict[str, Any]]) -> None:
        for concept in concepts:
            known.setdefault(system, set()).add(concept["code"])
            collect(system, concept.get("concept", []))

    for resource in pack.values():
        if isinstance(resource, dict) and "concept" in resource:
            collect(resource["url"], resource.get("concept", []))
    for code, (system, _) in codes._KNOWN.items():
        assert code in known[system], (system, code)


def test_a_code_of_nobody_is_a_defect() -> None:
    """A typing error does not end up in the trail."""
    with pytest.raises(Broken, match="GW-AUDIT-002"):
        codes.coding("110999")


_FREE = [
    (builder, name)
    for builder in BUILDERS
    for name, parameter in inspect.signature(builder, eval_str=True).parameters.items()
    if parameter.annotation is str
    and (builder, name) != (events.operator_acted, "reason")
    and name not in {"sender", "operator", "reader", "agent", "destination", "type", "repository"}
]


@pytest.mark.parametrize(("builder", "name"), _FREE, ids=lambda each: getattr(each, "__name__", each))
def test_no_field_takes_a_name(builder: Callable[..., AuditRecord], name: str) -> None:
    """Promise 10: text that could be somebody's name does not fit any id, code or digest field."""
    for text in (NAME, "Test Patient-One", "Rossi\nMario"):
        with pytest.raises(Broken, match="GW-AUDIT-001"):
            builder(**_arguments(builder) | {name: text})


def test_an_operator_gives_a_reason_in_one_line() -> None:
    """His own words are kept; line breaks and control characters, which could forge a line of a listing, are not."""
    record = events.operator_acted("operator", "drop", ["exchange/e1"], AT, "Sent by hand, agreed with the centre")
    assert record.detail == {"act": "drop", "reason": "Sent by hand, agreed with the centre"}
    for reason in ("a\nb", "x" * 301):
        with pytest.raises(Broken, match="GW-AUDIT-001"):
            events.operator_acted("operator", "drop", ["exchange/e1"], AT, reason)


def test_a_sentence_of_a_destination_is_left_out_and_stops_nothing() -> None:
    """What a peer calls a code may identify somebody; the rejection itself is still recorded."""
    record = events.exchange_rejected("e1", "d1", "centre", ["E-12", f"unknown patient {NAME}", NAME], AT)
    assert record.detail == {"code1": "E-12", "code2": events.NOT_A_CODE}


@given(found=st.lists(st.text(max_size=300), max_size=300))
def test_any_codes_of_a_peer_make_a_bounded_event(found: list[str]) -> None:
    """Hostile answers neither fail the step nor blow up the trail."""
    record = events.exchange_rejected("e1", "d1", "centre", found, AT)
    assert len(record.detail) <= 200
    assert all(len(value) <= 200 and value.isascii() for value in record.detail.values())


def test_who_gave_and_who_got_is_told_for_what_crossed_the_border() -> None:
    """Import and export name both sides by the DICOM roles."""
    taken = render.document(events.submission_accepted("s1", "hospital", "p", "mllp", "0" * 64, AT), "1-1", "gw")
    sent = render.document(events.exchange_sent("e1", "d1", "centre", "a1", "0" * 64, AT), "1-2", "gw")

    def roles(document: dict[str, Any]) -> dict[str, str]:
        return {each["type"]["coding"][0]["code"]: each["who"]["identifier"]["value"] for each in document["agent"]}

    assert roles(taken) == {codes.SOURCE_ROLE: "hospital", codes.DESTINATION_ROLE: "gw"}
    assert roles(sent) == {codes.SOURCE_ROLE: "gw", codes.DESTINATION_ROLE: "centre"}


def test_a_fhir_resource_is_referred_to_and_ours_are_identified() -> None:
    """`Patient/x` is a reference that a reader can follow; `submission/x` is an identifier."""
    read = render.document(events.resource_read("Patient", "x", "reader", AT, version=2), "1-1")
    assert read["entity"][0]["what"] == {"reference": "Patient/x"}
    assert read["subtype"][0]["code"] == "vread"
    own = render.document(events.case_expired("c1", "hospital", AT), "1-1", system="https://example.org")
    assert own["entity"][0]["what"] == {"identifier": {"system": "https://example.org/case", "value": "c1"}}
