"""Two repositories × every route × own, the other's, nothing, guessed: what is not yours is not there."""

from __future__ import annotations

import pytest
from pull_house import ONE, TWO, House, patient, request

from gateway.settings import Repository

OTHERS = "secretfamily"
"""Stands in everything of the other programme, and in no answer."""


async def filled(house: House) -> None:
    await house.put(patient("a"), request("r1", "a"), document="d1")
    await house.document("d1", b'{"resourceType":"Bundle","id":"own"}')
    other = f'{{"resourceType":"Bundle","id":"{OTHERS}"}}'.encode()
    await house.document("d2", other, programme="second")
    theirs = patient("b", OTHERS, identifier=[{"system": "urn:test:person", "value": OTHERS}])
    note = [{"text": OTHERS}]
    await house.put(
        theirs, request("r2", "b", note=note), request("r3", "a", note=note), programme="second", document="d2"
    )


SEARCHES = (
    "Patient",
    f"Patient?family={OTHERS}",
    f"Patient?identifier={OTHERS}",
    "Patient?_id=a,b",
    "Patient?_has:ServiceRequest:subject:_id=r3",
    "Patient?_revinclude=ServiceRequest:subject",
    "Patient?family:missing=false",
    "Patient?_document=Binary/d2",
    "Patient?_lastUpdated=ge2000",
    "Patient?_sort=-family&_count=1",
    "ServiceRequest",
    f"ServiceRequest?subject:Patient.family={OTHERS}",
    "ServiceRequest?subject=Patient/b",
    "ServiceRequest?_include=ServiceRequest:subject",
    "ServiceRequest?_include=*",
    "?_type=Patient,ServiceRequest",
    "?_id=a,b,r2,r3",
    "?_tag:missing=true",
    "?_document=Binary/d2",
    "?_lastUpdated=ge2000&_sort=-_id",
    "ServiceRequest?_include:iterate=ServiceRequest:subject&_revinclude:iterate=ServiceRequest:subject",
    "Subscription",
    "Subscription/$status",
    "_history",
    "Patient/_history",
    "_history?_since=2000-01-01",
    "Patient/a/_history",
    "Patient/a/$everything",
    "Patient/a",
    "Patient/a/_history/1",
)
REFUSED = (
    "Patient/b",
    "Patient/b/_history",
    "Patient/b/_history/1",
    "Patient/b/$everything",
    "ServiceRequest/r3",
    "Binary/d2",
    "Binary/d2.jws",
    "Bundle/d2",
    "Subscription/b",
    "Subscription/b/$status",
    "Subscription/b/$events",
    "export/b",
    "export-file/b/0",
    "Patient/a/_history/2",
)
GUESSED = (
    "Patient/nobody",
    "Patient/nobody/_history",
    "Patient/%2e%2e",
    "Patient/a'--",
    "Binary/zzz",
    "Patient/" + "x" * 65,
)


async def test_own_things_and_no_trace_of_others(house: House) -> None:
    """Neither content nor count nor existence: not by search, chain, reverse chain, include or history."""
    await filled(house)
    for path in SEARCHES:
        answer = await house.ask(path)
        assert answer.status_code == 200, path
        body = answer.json()
        told = str(body.get("entry")) + str(body.get("total"))
        assert OTHERS not in told, path
        for each in body.get("entry", ()):
            assert each.get("resource", {}).get("id") not in ("b", "r2", "r3"), path
    assert (await house.get(f"Patient?family={OTHERS}"))["total"] == 0
    assert (await house.get("Patient?_has:ServiceRequest:subject:_id=r3"))["total"] == 0


async def test_another_s_is_answered_like_nothing(house: House) -> None:
    """The answers for what is another's and for what never was are the same, byte for byte."""
    await filled(house)
    nothing = {}
    for path in GUESSED:
        answer = await house.ask(path)
        assert answer.status_code == 404, path
        nothing[path] = answer.content
    for path in REFUSED:
        answer = await house.ask(path)
        assert answer.status_code == 404, path
        assert answer.content == nothing["Patient/nobody"], path


@pytest.mark.parametrize("who", [None, "stranger"])
async def test_nobody_sees_nothing(home: House, who: str | None) -> None:
    """Without a known credential every route but the two public ones is 401."""
    await filled(home)
    for path in (*SEARCHES, *REFUSED, *GUESSED, "$export", "Patient/$export", "Group/first/$export", "export/x"):
        answer = await home.ask(path, who, headers={"prefer": "respond-async"})
        assert answer.status_code == 401, path
        assert OTHERS not in answer.text
    assert (await home.ask("metadata", who)).status_code == 200


async def test_cursors_and_exports_are_personal(house: House) -> None:
    """What one repository was given to come back with is nothing in the hand of the other."""
    await filled(house)
    await house.put(patient("c"))
    page = await house.get("Patient?_count=1")
    following = next(each["url"] for each in page["link"] if each["relation"] == "next")
    assert (await house.ask(following, TWO)).status_code == 400
    history = await house.get("_history?_count=1")
    assert (await house.ask(history["link"][1]["url"], TWO)).status_code == 400
    prefer = {"prefer": "respond-async"}
    job = (await house.ask("$export", headers=prefer)).headers["content-location"]
    assert (await house.ask(job, TWO)).status_code == 404
    file = (await house.get(job))["output"][0]["url"]
    assert (await house.ask(file, TWO)).status_code == 404
    assert (await house.ask("Group/second/$export", headers=prefer)).status_code == 404
    assert OTHERS not in (await house.ask(file)).text


async def test_senders_days_and_scopes_narrow(home: House) -> None:
    """An entry may name senders, days and scopes; each is a wall of its own."""
    await home.put(patient("a"), sender="clinic")
    await home.put(patient("b"), sender="ward")
    only = House(home.ledger, home.clock, repository=(Repository(sender=ONE, senders=("ward",)),))
    assert await only.ids("Patient") == ["b"]
    assert (await only.ask("Patient/a")).status_code == 404
    over = House(home.ledger, home.clock, repository=(Repository(sender=ONE, valid_to="2026-11-20"),))
    assert (await over.ask("Patient")).status_code == 403
    scoped = House(home.ledger, home.clock, repository=(Repository(sender=ONE, scopes=("system/ServiceRequest.rs",)),))
    assert (await scoped.ask("Patient")).status_code == 403
    assert (await scoped.ask("_history")).status_code == 403
    await home.put(request("r1", "a"))
    page = await scoped.get("ServiceRequest?_include=ServiceRequest:subject")
    assert [each["resource"]["id"] for each in page["entry"]] == ["r1"]


async def test_too_many_requests_wait(home: House) -> None:
    """One repository cannot take the gateway for itself."""
    slow = House(home.ledger, home.clock, per_minute=3)
    assert [(await slow.ask("Patient")).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert (await slow.ask("Patient", TWO)).status_code == 200
