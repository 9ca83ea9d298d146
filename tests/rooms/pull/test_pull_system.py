"""Searches of the whole system, and includes that go on: what they find, what bounds them, what they do not show."""

from __future__ import annotations

import pytest
from pull_house import ONE, House, patient, request

from gateway.pull import search
from gateway.settings import Repository


async def filled(house: House) -> None:
    tag = {"tag": [{"system": "urn:t", "code": "x"}]}
    await house.put(patient("a", meta=tag), request("r1", "a"))
    await house.put(patient("b"), request("r2", "b", meta=tag), {"resourceType": "Location", "id": "l1"})
    await house.put(patient("z", meta=tag), programme="second")


def found(page: dict, mode: str = "match") -> list[str]:
    return [
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in page.get("entry", ())
        if e["search"]["mode"] == mode
    ]


async def test_several_types_are_searched_at_once(house: House) -> None:
    """With the parameters that all have; each page goes on where the last one ended; nobody else's are there."""
    await filled(house)
    assert found(await house.get("?_type=Patient,ServiceRequest&_tag=urn:t%7Cx")) == ["Patient/a", "ServiceRequest/r2"]
    assert found(await house.get("?_tag:not=x&_type=Patient,Location")) == ["Patient/b", "Location/l1"]
    assert (await house.get("?_id=a,r2,z"))["total"] == 2
    everything = ["Patient/a", "ServiceRequest/r1", "Patient/b", "ServiceRequest/r2", "Location/l1"]
    seen, address = [], "?_count=2"
    while address:
        page = await house.get(address)
        assert page["total"] == 5
        seen += found(page)
        address = next((each["url"] for each in page["link"] if each["relation"] == "next"), "")
    assert seen == everything
    assert found(await house.get("?_sort=-_lastUpdated"))[-2:] == everything[:2]
    posted = await house.ask("_search", method="POST", data={"_type": "Location"})
    assert found(posted.json()) == ["Location/l1"]


async def test_what_not_all_types_have_is_named(home: House) -> None:
    """A parameter of one type is left out and named, or an error; an unknown type is an error."""
    await filled(home)
    page = await home.get("?_type=Patient&family=x")
    assert page["entry"][-1]["search"]["mode"] == "outcome"
    strict = {"headers": {"prefer": "handling=strict"}}
    assert (await home.ask("?_type=Patient&family=x", **strict)).status_code == 400
    assert (await home.ask("?_type=Nothing")).status_code == 400
    assert (await home.ask("?_sort=family&_type=Patient", **strict)).status_code == 400
    only = House(home.ledger, home.clock, repository=(Repository(sender=ONE, scopes=("system/Location.rs",)),))
    assert found(await only.get("?_id=a,l1")) == ["Location/l1"]
    assert (await only.ask("?_type=Patient")).status_code == 403


async def test_includes_go_on_until_nothing_is_new(house: House) -> None:
    """Each level of a chain of references, forwards and backwards, once; a circle ends."""

    def place(id: str, above: str) -> dict:
        return {"resourceType": "Location", "id": id, "partOf": {"reference": f"Location/{above}"}}

    await house.put(place("l1", "l2"), place("l2", "l3"), place("l3", "l1"), place("l4", "l1"))
    once = await house.get("Location?_id=l1&_include=Location:partof")
    assert found(once, "include") == ["Location/l2"]
    on = await house.get("Location?_id=l1&_include:iterate=Location:partof")
    assert found(on, "include") == ["Location/l2", "Location/l3"]
    back = await house.get("Location?_id=l2&_revinclude:iterate=Location:partof")
    assert set(found(back, "include")) == {"Location/l1", "Location/l3", "Location/l4"}
    await house.put({**request("r", "a"), "subject": {"reference": "Location/l4"}}, patient("a"))
    both = await house.get("ServiceRequest?_id=r&_include=ServiceRequest:subject&_include:iterate=Location:partof")
    assert set(found(both, "include")) == {"Location/l4", "Location/l1", "Location/l2", "Location/l3"}


async def test_includes_are_bounded_and_stay_in_scope(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long chain is refused rather than cut silently; a link through another's resource is not followed."""
    places = [
        {"resourceType": "Location", "id": f"c{n}", "partOf": {"reference": f"Location/c{n + 1}"}} for n in range(15)
    ]
    await home.put(*places)
    long = await home.ask("Location?_id=c0&_include:iterate=Location:partof")
    assert long.status_code == 400
    assert long.json()["issue"][0]["code"] == "too-costly"
    await home.put({**places[5], "id": "theirs", "partOf": {"reference": "Location/c14"}}, programme="second")
    await home.put({**places[5], "id": "mine", "partOf": {"reference": "Location/theirs"}})
    page = await home.get("Location?_id=mine&_include:iterate=Location:partof&_revinclude:iterate=Location:partof")
    assert found(page, "include") == []
    monkeypatch.setattr(search, "MAX_INCLUDED", 3)
    assert (await home.ask("Location?_id=c10&_include:iterate=Location:partof")).status_code == 400
