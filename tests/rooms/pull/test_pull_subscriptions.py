"""Subscriptions: what is found, in which order it is told, what happens when nobody listens, and who may have them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pull_endpoint import Endpoint, numbers, of, over, subscribed, topical, value
from pull_house import ONE, TWO, House, patient, request

from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.pull import wanted
from gateway.settings import Endpoint as Allowed
from gateway.settings import Peer, Repository

PATIENTS = "urn:gateway:topic:Patient"
REQUESTS = "urn:gateway:topic:ServiceRequest"


async def test_a_topic_is_told_in_order_after_a_handshake(house: House) -> None:
    """requested, handshake, active; then numbered events, in the order of the feed; $status, $events, delete."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint))
        await home.put(patient("before"))
        made = await subscribed(home, topical(endpoint.url, PATIENTS, header=["Authorization: Bearer secret"]))
        assert made["status"] == "requested"
        assert made["channel"]["header"] == ["Authorization: ***"]
        await home.until_quiet()
        assert [each.kind for each in endpoint.got] == ["handshake"]
        assert endpoint.got[0].headers["authorization"] == "Bearer secret"
        assert (await home.get(f"Subscription/{made['id']}"))["status"] == "active"
        await home.put(patient("a"), request("r", "a"))
        await home.put(patient("b"), patient("a", "Changed"))
        await home.put(patient("b"), deleted=True)
        await home.put(patient("z"), programme="second")
        await home.until_quiet()
        assert endpoint.numbers() == [1, 2, 3, 4]
        first = endpoint.events()[0]
        assert (value(first.status, "status"), value(first.status, "events-since-subscription-start")) == (
            "active",
            "1",
        )
        assert value(first.status, "topic") == PATIENTS
        assert value(first.status, "subscription")["reference"].endswith(f"Subscription/{made['id']}")
        (entry,) = first.entries
        assert entry["fullUrl"].endswith("/Patient/a")
        assert "resource" not in entry
        told = [(each.entries[0]["request"]["method"], each.entries[0]["request"]["url"]) for each in endpoint.events()]
        assert told == [("POST", "Patient"), ("POST", "Patient"), ("PUT", "Patient/a"), ("DELETE", "Patient/b")]
        status = (await home.get(f"Subscription/{made['id']}/$status"))["entry"][0]["resource"]
        assert (value(status, "type"), value(status, "events-since-subscription-start")) == ("query-status", "4")
        again = await home.get(
            f"Subscription/{made['id']}/$events?eventsSinceNumber=2&eventsUntilNumber=3&content=full-resource"
        )
        assert numbers(again) == [2, 3]
        assert [each["resource"]["id"] for each in again["entry"][1:]] == ["b", "a"]
        assert (await home.ask(f"Subscription/{made['id']}", method="DELETE")).status_code == 204
        await home.put(patient("c"))
        await home.until_quiet()
        assert endpoint.numbers() == [1, 2, 3, 4]
        assert (await home.ask(f"Subscription/{made['id']}")).status_code == 404
        await home.stop()


@pytest.mark.parametrize("content", ["empty", "id-only", "full-resource"])
async def test_content_is_what_was_asked_for(home: House, content: str) -> None:
    """Nothing, ids, or the exact version of each event, several at once where the subscriber takes them."""
    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        await subscribed(side, topical(endpoint.url, PATIENTS, content, backport_max_count=10))
        await side.until_quiet()
        await side.put(patient("a"))
        await side.put(patient("a", "Later"))
        await side.until_quiet()
        (got,) = endpoint.events()
        assert got.numbers == [1, 2]
        names = [each.get("resource", {}).get("name", [{}])[0].get("family") for each in got.entries]
        expected = {"empty": [], "id-only": [None, None], "full-resource": ["Patient-One", "Later"]}
        assert names == expected[content]
        parts = [p["name"] for e in got.status["parameter"] if e["name"] == "notification-event" for p in e["part"]]
        assert ("focus" in parts) == (content != "empty")
        await side.stop()


async def test_filters_are_searches_and_all_of_them_hold(house: House) -> None:
    """Modifiers, chains, deletions by what was there; a filter on one type leaves the others alone."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint))
        filters = ("ServiceRequest?status=active", "ServiceRequest?subject:Patient.family=Patient-One")
        await subscribed(
            home, topical(endpoint.url, "urn:gateway:topic:any", "id-only", filters, backport_max_count=99)
        )
        await home.until_quiet()
        await home.put(patient("a"), patient("b", "Other"))
        await home.put(request("r1", "a"), request("r2", "b"), request("r3", "a", status="draft"))
        await home.put(request("r3", "a", status="active"))
        await home.put(request("r1", "a"), deleted=True)
        await home.until_quiet()
        told = [each["fullUrl"].rpartition("fhir/")[2] for got in endpoint.events() for each in got.entries]
        assert told == [
            "Patient/a", "Patient/b", "ServiceRequest/r1", "ServiceRequest/r3", "ServiceRequest/r1"
        ]  # fmt: skip
        await home.stop()


async def test_the_plain_form_updates_the_endpoint(house: House) -> None:
    """R4: a criteria that is a search; PUT of each match at [endpoint]/Type/id, or an empty POST; no handshake."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint))
        plain = topical(endpoint.url, "ServiceRequest?status=active&subject=Patient/a")
        plain["channel"].pop("_payload")
        await subscribed(home, plain)
        bare = json.read(json.write(plain))
        bare["channel"].pop("payload")
        await subscribed(home, bare | {"criteria": "Patient?family=other"})
        await home.until_quiet()
        assert endpoint.got == []
        await home.put(request("r1", "a"), request("r2", "b"), patient("x", "Other"))
        await home.put(request("r1", "a", status="completed"))
        await home.put(request("r1", "a"), deleted=True)
        await home.until_quiet()
        told = sorted((each.method, each.path, json.read(each.body or b"{}").get("id")) for each in endpoint.got)
        assert told == [("POST", "/notify", None), ("PUT", "/notify/ServiceRequest/r1", "r1")]
        await home.stop()


async def test_xml_is_told_to_who_wants_it(home: House) -> None:
    """The payload's media type is that of the notification; a Subscription may come as XML too."""
    from gateway.formats import fhirxml

    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        resource = topical(endpoint.url, PATIENTS, "full-resource", payload="application/fhir+xml")
        model = side.api.definitions.model
        headers = {"content-type": "application/fhir+xml"}
        body = fhirxml.write(resource, model)
        answer = await side.ask("Subscription", method="POST", content=body, headers=headers)
        assert answer.status_code == 201, answer.text
        await side.until_quiet()
        await side.put(patient("a"))
        await side.until_quiet()
        assert {each.headers["content-type"] for each in endpoint.got} == {"application/fhir+xml"}
        bundle = fhirxml.read(endpoint.got[-1].body, model)
        assert bundle["entry"][1]["resource"]["id"] == "a"
        await side.stop()


# --- when nobody listens ----------------------------------------


async def test_what_is_not_taken_is_kept_in_order_and_parked_in_the_end(house: House) -> None:
    """Refusals and redirects are no yes; nothing overtakes; parked is counted, and nothing of it is lost."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint), notify_tries=4)
        made = await subscribed(home, topical(endpoint.url, PATIENTS))
        await home.until_quiet()
        endpoint.answers = [503, 307]
        await home.put(patient("a"))
        for _ in range(3):
            await home.put(patient("b"))
            await home.until_quiet()
            home.clock.advance(timedelta(seconds=60))
        assert endpoint.numbers() == [1, 1, 1, 2, 3, 4]
        endpoint.always = 500
        await home.put(patient("c"))
        for _ in range(6):
            await home.until_quiet()
            home.clock.advance(timedelta(seconds=1000))
        found = await home.get(f"Subscription/{made['id']}")
        assert found["status"] == "error"
        assert "parked" in found["error"]
        assert endpoint.numbers()[6:] == [5, 5, 5, 5]
        await home.put(patient("d"))
        await home.until_quiet()
        (line,) = await home.ledger.subscriptions.backlog()
        assert (line.repository, line.status, line.count, line.waiting) == (ONE, "error", 1, 2)
        assert line.oldest is not None
        endpoint.always, endpoint.got = 200, []
        caught_up = await home.get(f"Subscription/{made['id']}/$events?eventsSinceNumber=5")
        assert numbers(caught_up) == [5, 6]
        found["status"] = "requested"
        assert (await home.ask(f"Subscription/{made['id']}", method="PUT", json=found)).status_code == 200
        await home.until_quiet()
        assert [each.kind for each in endpoint.got] == ["handshake", "event-notification", "event-notification"]
        assert endpoint.numbers() == [5, 6]
        await home.stop()


async def test_a_process_that_dies_tells_again_under_the_same_number(home: House) -> None:
    """Between the endpoint's yes and ours to ourselves anything may happen: the number says that it is the same."""
    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        await subscribed(side, topical(endpoint.url, PATIENTS))
        await side.until_quiet()
        endpoint.hold.clear()
        await side.put(patient("a"))
        await side.notifier.round()
        await side.stop()
        endpoint.hold.set()
        again = over(home, (ONE, endpoint))
        await again.put(patient("b"))
        await again.until_quiet()
        assert endpoint.numbers()[-2:] == [1, 2]
        assert set(endpoint.numbers()) == {1, 2}
        await again.stop()


async def test_a_slow_endpoint_delays_no_other(home: House) -> None:
    """While one keeps its request waiting, the other has heard everything."""
    async with Endpoint() as slow, Endpoint() as quick:
        side = over(home, (ONE, slow), (TWO, quick))
        await subscribed(side, topical(slow.url, PATIENTS), ONE)
        await subscribed(side, topical(quick.url, PATIENTS), TWO)
        await side.until_quiet()
        slow.hold.clear()
        await side.put(patient("a"))
        for n in range(5):
            await side.put(patient(f"b{n}"), programme="second")
        for _ in range(20):
            await side.notifier.round()
        assert quick.numbers() == [1, 2, 3, 4, 5]
        assert slow.numbers() == []
        slow.hold.set()
        await side.until_quiet()
        assert slow.numbers() == [1]
        await side.stop()


async def test_silence_is_broken_by_heartbeats_and_ended_by_the_end(home: House) -> None:
    """A heartbeat after each quiet period, none without one; after its end nothing is told."""
    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        ends = (side.clock.now() + timedelta(hours=1)).isoformat()
        made = await subscribed(side, topical(endpoint.url, PATIENTS, backport_heartbeat_period=60) | {"end": ends})
        for _ in range(3):
            await side.until_quiet()
            side.clock.advance(timedelta(seconds=61))
        await side.put(patient("a"))
        await side.until_quiet()
        kinds = [each.kind for each in endpoint.got]
        assert kinds == ["handshake", "heartbeat", "heartbeat", "event-notification"]
        side.clock.advance(timedelta(hours=1))
        await side.put(patient("b"))
        await side.until_quiet()
        assert len(endpoint.got) == 4
        assert (await side.get(f"Subscription/{made['id']}"))["status"] == "off"
        await side.stop()


# --- several processes, and a writer ----------------------------------------


async def test_two_processes_tell_each_event_once(house: House) -> None:
    """While a writer is running: every version has one number, and every number was told, in order."""
    async with Endpoint() as endpoint:
        sides = [over(house, (ONE, endpoint)) for _ in range(2)]
        await subscribed(sides[0], topical(endpoint.url, PATIENTS, backport_max_count=5))
        for side in sides:
            await side.until_quiet()
        writing = asyncio.create_task(_write(house))
        while not writing.done():
            await asyncio.gather(*(side.notifier.round() for side in sides))
        for side in sides:
            await side.until_quiet()
        told = endpoint.numbers()
        assert list(dict.fromkeys(told)) == list(range(1, 61))
        ids = {each["fullUrl"].rpartition("/")[2] for got in endpoint.events() for each in got.entries}
        assert ids == {f"w{n}" for n in range(60)}
        for side in sides:
            await side.stop()


async def _write(house: House) -> None:
    for n in range(60):
        await house.put(patient(f"w{n}"))


# --- who may have them ----------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:{port}/notify",
        "http://127.0.0.1:{port}/notifyother",
        "http://127.0.0.1:{port}/notify/../admin",
        "http://127.0.0.1:{port}/notify/%2e%2e/admin",
        "http://127.0.0.1:{port}/notify/%252e%252e/admin",
        "http://127.0.0.1:{port}/other",
        "https://127.0.0.1:{port}/notify",
        "http://user@127.0.0.1:{port}/notify",
        "http://127.0.0.1:1/notify",
        "http://[::1]:{port}/notify",
        "http://0x7f000001:{port}/notify",
        "file:///etc/hostname",
        "http://127.0.0.1:{port}/notify?x=1",
        "http://127.0.0.1:{port}/notify#x",
        "http://127.0.0.1:{port}\\@elsewhere/notify",
        "",
    ],
)
async def test_only_endpoints_of_the_settings_are_called(home: House, url: str) -> None:
    """An address that is not on the list is refused, however it is written; nothing is called to find out."""
    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        asked = topical(url.replace("{port}", str(endpoint.port)), PATIENTS)
        answer = await side.ask("Subscription", method="POST", json=asked)
        assert answer.status_code == 422, answer.text
        await side.until_quiet()
        assert endpoint.got == []
        await side.stop()


async def test_a_private_address_must_be_said(home: House) -> None:
    """An operator's slip does not open our own network, nor an address of another peer."""
    peer = Peer(origin="http://127.0.0.1:9", plaintext=True)
    for allowed, peers in (
        (Allowed(url="http://127.0.0.1:9/x", peer=ONE), {ONE: peer}),
        (Allowed(url="http://127.0.0.1:8/x", peer=ONE, private=True), {ONE: peer}),
        (Allowed(url="http://127.0.0.1:9/x", peer="nobody", private=True), {ONE: peer}),
    ):
        with pytest.raises(Misconfigured):
            House(home.ledger, home.clock, repository=(Repository(sender=ONE, endpoint=(allowed,)),), peers=peers)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": ""},
        {"criteria": "urn:gateway:topic:Nothing"},
        {"criteria": "Patient?shoe=1"},
        {"criteria": "Patient?_include=Patient:organization"},
        {"criteria": "Nothing?x=1"},
        {"end": "yesterday"},
        {"status": "entered"},
        {"channel": {"type": "email", "endpoint": "mailto:x"}},
        {"header": ["Host: elsewhere"]},
        {"header": ["X: a\r\nHost: b"]},
        {"header": ["nothing"]},
        {"payload": "text/plain"},
        {"_criteria": {"extension": [{"url": wanted.FILTER, "valueString": "Patient?shoe=1"}]}},
    ],
)
async def test_what_cannot_be_kept_is_refused(home: House, change: dict[str, Any]) -> None:
    """Never a different subscription than was asked for."""
    async with Endpoint() as endpoint:
        side = over(home, (ONE, endpoint))
        asked = topical(endpoint.url, PATIENTS)
        inner = {name: change.pop(name) for name in list(change) if name in ("header", "payload")}
        asked = asked | change
        asked["channel"] = asked["channel"] | inner
        answer = await side.ask("Subscription", method="POST", json=asked)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["resourceType"] == "OperationOutcome"
        await side.stop()


async def test_nobody_else_s_subscription_is_there(house: House) -> None:
    """Another repository's is answered like nothing, by every route; without the scope nothing is created."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint), (TWO, endpoint))
        id = (await subscribed(home, topical(endpoint.url, PATIENTS)))["id"]
        nothing = (await home.ask("Subscription/nobody", TWO)).content
        body = {"json": topical(endpoint.url, PATIENTS) | {"id": id}}
        for path, method, more in (
            (f"Subscription/{id}", "GET", {}), (f"Subscription/{id}", "DELETE", {}),
            (f"Subscription/{id}", "PUT", body), (f"Subscription/{id}/$status", "GET", {}),
            (f"Subscription/{id}/$events", "GET", {}),
        ):  # fmt: skip
            answer = await home.ask(path, TWO, method=method, **more)
            assert (answer.status_code, answer.content) == (404, nothing), path
        assert (await home.get("Subscription", TWO))["total"] == 0
        assert "entry" not in await home.get(f"Subscription/$status?id={id}", TWO)
        assert (await home.get("Subscription?status=requested"))["total"] == 1
        plain = House(house.ledger, house.clock)
        asked = topical(endpoint.url, PATIENTS)
        assert (await plain.ask("Subscription", method="POST", json=asked)).status_code == 403
        limited = over(house, (ONE, endpoint), subscriptions=1)
        assert (await limited.ask("Subscription", method="POST", json=asked)).status_code == 422
        await home.stop()
        await limited.stop()


async def test_who_may_see_nothing_today_is_told_nothing(house: House) -> None:
    """After the last day nothing leaves; the events wait, and what may not be seen any more keeps only its number."""
    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint))
        made = await subscribed(home, topical(endpoint.url, PATIENTS, "full-resource"))
        await home.until_quiet()
        over_today = over(house, repository=(of(endpoint, ONE, valid_to="2026-11-20"),), peers={ONE: endpoint.peer})
        over_today.start({ONE: endpoint.peer})
        await home.put(patient("a"), sender="clinic")
        await home.put(patient("b"), sender="ward")
        await over_today.until_quiet()
        assert endpoint.numbers() == []
        endpoint.always = 503
        await home.until_quiet()
        home.clock.advance(timedelta(hours=1))
        endpoint.always = 200
        narrowed = over(house, repository=(of(endpoint, ONE, senders=("ward",)),), peers={ONE: endpoint.peer})
        narrowed.start({ONE: endpoint.peer})
        await narrowed.until_quiet()
        last = endpoint.events()[-2:]
        assert [each.numbers for each in last] == [[1], [2]]
        assert [[e["resource"]["id"] for e in each.entries] for each in last] == [[], ["b"]]
        events = await narrowed.get(f"Subscription/{made['id']}/$events?content=full-resource")
        assert [each["resource"]["id"] for each in events["entry"][1:]] == ["b"]
        for side in (home, over_today, narrowed):
            await side.stop()


# --- topics of a programme ----------------------------------------

DISCHARGE = {
    "resourceType": "SubscriptionTopic",
    "url": "https://example.org/topics/finished",
    "resourceTrigger": [
        {
            "resource": "Encounter",
            "supportedInteraction": ["create", "update"],
            "queryCriteria": {
                "previous": "status:not=finished",
                "current": "status=finished",
                "resultForCreate": "test-passes",
                "requireBoth": True,
            },
        }
    ],
    "canFilterBy": [{"resource": "Encounter", "filterParameter": "class"}],
}


async def test_a_programme_s_topic_looks_at_both_versions(house: House) -> None:
    """An event is the change into a state, not each version in it; only its filters may be used."""

    def stay(id: str, status: str, kind: str = "IMP") -> dict[str, Any]:
        return {"resourceType": "Encounter", "id": id, "status": status, "class": {"code": kind}}

    async with Endpoint() as endpoint:
        home = over(house, (ONE, endpoint), topics=(DISCHARGE,))
        url = str(DISCHARGE["url"])
        await subscribed(home, topical(endpoint.url, f"{url}|1.0", "id-only", ("Encounter?class=IMP",)))
        wrong = topical(endpoint.url, url, "id-only", ("Encounter?status=finished",))
        assert (await home.ask("Subscription", method="POST", json=wrong)).status_code == 400
        await home.until_quiet()
        await home.put(stay("e1", "planned"), stay("e2", "finished"), stay("e3", "finished", "AMB"))
        await home.put(stay("e1", "finished"))
        await home.put(stay("e1", "finished"), stay("e2", "finished"))
        await home.until_quiet()
        told = [each["fullUrl"].rpartition("/")[2] for got in endpoint.events() for each in got.entries]
        assert told == ["e2", "e1"]
        await home.stop()


@pytest.mark.parametrize(
    "broken",
    [
        {"resourceType": "SubscriptionTopic"},
        DISCHARGE | {"resourceTrigger": [{"resource": "Nothing"}]},
        DISCHARGE | {"resourceTrigger": [{"resource": "Encounter", "fhirPathCriteria": "true"}]},
        DISCHARGE | {"resourceTrigger": [{"resource": "Encounter", "queryCriteria": {"current": "shoe=1"}}]},
    ],
)
async def test_a_topic_that_cannot_be_watched_stops_the_start(home: House, broken: dict[str, Any]) -> None:
    """Better no gateway than one that tells something else."""
    with pytest.raises(Misconfigured):
        House(home.ledger, home.clock, topics=(broken,))
