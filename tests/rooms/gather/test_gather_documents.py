"""Documents and routes: the same items give the same bytes, and the right destinations."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.formats import json
from gateway.gather import documents, routes
from gateway.message import Case, CaseRef, Exchange, ItemRecord, ItemResult, Json
from gateway.programme import CasePlan, Completion, DocumentPlan, Programme, Route, Title

AT = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)


def programme(bundle: str = "collection", *route: Route) -> Programme:
    return Programme(
        name="p",
        title=Title(en="p", fa="p", it="p", zh="p"),
        language="en",
        timezone="Asia/Tehran",
        intake=(),
        case=(CasePlan(kind="stay", complete=Completion(parts=((),))),),
        document=(DocumentPlan(kind="stay", bundle=bundle, event="urn:event|bill"),),
        route=route,
    )


CASE = Case(id="c1", programme="p", sender="h1", subject="s1", kind="stay", state="complete", opened_at=AT, version=1)


def item(number: int, *resources: Json) -> ItemRecord:
    result = ItemResult(
        index=0, label="m", subject="s1", case=CaseRef(kind="stay", id="c1"), resources=resources, parts=("x",)
    )
    return ItemRecord(id=f"i{number}", submission="m", sender="h1", programme="p", state="gathered", result=result)


def test_two_messages_about_one_patient_make_one_patient() -> None:
    """The later message replaces what it brings and leaves what it does not know."""
    one = {"resourceType": "Patient", "id": "a", "identifier": [{"value": "1"}], "gender": "male", "address": [{}]}
    two = {"resourceType": "Patient", "id": "a", "identifier": [{"value": "2"}], "gender": "female"}
    bundle = json.read(documents.assemble(programme(), CASE, [item(1, one), item(2, two)], AT))
    assert [e["resource"] for e in bundle["entry"]] == [
        {**two, "identifier": [{"value": "1"}, {"value": "2"}], "address": [{}]}
    ]


def test_the_same_items_give_the_same_bytes() -> None:
    """A crash between building and committing must not make a second, different document."""
    items = [item(1, {"resourceType": "Patient", "id": "a"})]
    first = documents.assemble(programme(), CASE, items, AT)
    assert first == documents.assemble(programme(), CASE, items, AT)
    assert b'"fullUrl":"https://gateway.invalid/fhir/Patient/a"' in first


def test_a_message_bundle_begins_with_its_header() -> None:
    """FHIR R4 messaging: the first entry is the MessageHeader, and its focus is what follows."""
    bundle = json.read(
        documents.assemble(programme("message"), CASE, [item(1, {"resourceType": "Patient", "id": "a"})], AT)
    )
    header = bundle["entry"][0]["resource"]
    assert header["resourceType"] == "MessageHeader"
    assert header["eventCoding"] == {"system": "urn:event", "code": "bill"}
    assert header["focus"] == [{"reference": "Patient/a"}]


def test_a_route_is_open_on_its_days_in_the_programme_s_own_time_zone() -> None:
    """22:30 UTC on 1 March is 2 March in Tehran: the withdrawal date is judged there (A-13)."""
    last = Route(kind="stay", destination="old", valid_to="2026-03-01")
    first = Route(kind="stay", destination="new", valid_from="2026-03-02")
    other = Route(kind="other", destination="elsewhere")
    assert routes.destinations(programme("collection", last, first, other), "stay", {}, AT) == ("new",)


def test_only_what_never_left_is_overtaken() -> None:
    """What may have arrived stays owed or unknown; only due and held exchanges give way to a newer version."""

    def exchange(state: str, destination: str = "d") -> Exchange:
        return Exchange(
            id=state,
            document="o",
            destination=destination,
            programme="p",
            sender="h1",
            subject="s1",
            case="c1",
            state=state,
        )

    older = [exchange(s) for s in ("due", "held", "in_flight", "unknown", "delivered", "parked")]
    assert {e.id for e, _ in routes.overtake([*older, exchange("due", "other")], "d")} == {"due", "held"}


def test_what_is_derived_from_the_whole_adds_and_never_changes() -> None:
    """A derived element beside what an item brought; a derived resource behind what the items brought."""
    patient = {"resourceType": "Patient", "id": "a", "gender": "female"}
    body = documents.assemble(programme(), CASE, [item(1, patient)], AT)
    claim = {"resourceType": "Claim", "id": "c", "status": "active"}
    more = {"resources": [{"resourceType": "Patient", "id": "a", "gender": "male", "active": True}, claim]}
    bundle = json.read(documents.with_derived(programme(), body, json.write(more)))
    assert [each["resource"] for each in bundle["entry"]] == [{**patient, "active": True}, claim]
    assert bundle["id"] == json.read(body)["id"]
