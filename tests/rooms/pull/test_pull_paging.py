"""Pages and histories while data arrives: nothing missed, nothing twice."""

from __future__ import annotations

import asyncio

from pull_house import House, patient

from gateway.formats import json


async def written(house: House, stop: asyncio.Event, start: int) -> int:
    """A writer that does not pause: new patients, and new versions of old ones."""
    number = start
    while not stop.is_set():
        await house.put(patient(f"w{number}"), patient(f"p{number % 30}", f"Patient-{number}"))
        number += 1
        await asyncio.sleep(0)
    return number


async def test_a_search_is_one_picture(house: House) -> None:
    """All pages show what there was when the search began, in the versions of that moment."""
    await house.put_all([patient(f"p{n}") for n in range(30)])
    stop = asyncio.Event()
    writer = asyncio.create_task(written(house, stop, 0))
    for _ in range(5):
        before = await house.ledger.feed()
        first = await house.get("Patient?_count=7")
        found = await house.ids(first["link"][0]["url"])
        assert len(found) == len(set(found))
        assert {f"p{n}" for n in range(30)} <= set(found)
        assert before <= await house.ledger.feed()
    stop.set()
    assert await writer > 5


async def test_a_followed_history_misses_nothing(house: House) -> None:
    """`next` and then `monitor`, again and again: every version once, in the order of the commits."""
    stop = asyncio.Event()
    writer = asyncio.create_task(written(house, stop, 0))
    seen: list[tuple[str, str]] = []
    url = "_history?_sort=_lastUpdated&_count=9"
    for turn in range(60):
        page = await house.get(url)
        seen += [(e["resource"]["id"], e["resource"]["meta"]["versionId"]) for e in page.get("entry", ())]
        link = page["link"][1]
        url = link["url"]
        if turn == 30:
            stop.set()
            total = await writer
        if turn > 30 and link["relation"] == "monitor" and not page.get("entry"):
            break
    else:
        raise AssertionError("the writer was never caught up with")
    assert len(seen) == len(set(seen)) == 2 * total


async def test_since_finds_everything_committed_after(house: House) -> None:
    """A version that is committed later is found by `_since`, though its time is earlier than one seen before."""
    await house.put(patient("early"))
    await house.put(patient("late"))
    page = await house.get("_history")
    told = page["meta"]["lastUpdated"]
    clock = house.clock.now()
    body = json.write(patient("straggler"))
    from datetime import timedelta

    from gateway.message import Step, StoredResource

    late = StoredResource(type="Patient", id="straggler", programme="first", sender="clinic", body=body)
    await house.ledger.commit(Step(name="test", at=clock - timedelta(seconds=50), writes=(late,)))
    again = await house.get(f"_history?_since={told.replace('+', '%2B')}")
    assert [each["resource"]["id"] for each in again["entry"]] == ["straggler", "late"]


async def test_instance_and_type_histories(house: House) -> None:
    """Newest first, each version once, pages in between."""
    for n in range(7):
        await house.put(patient("a", f"Patient-{n}"))
    found: list[str] = []
    url = "Patient/a/_history?_count=3"
    for _ in range(3):
        page = await house.get(url)
        found += [each["resource"]["meta"]["versionId"] for each in page["entry"]]
        url = page["link"][1]["url"]
    assert found == ["7", "6", "5", "4", "3", "2", "1"]
    assert len((await house.get("Patient/_history"))["entry"]) == 7
    assert (await house.ask("Patient/none/_history")).status_code == 404


async def test_what_was_written_without_an_index_is_found_later(house: House) -> None:
    """A ledger that was used before, or with other parameters, is indexed when it is opened."""
    from gateway.store import search_write

    await house.put_all([patient(f"p{n}") for n in range(5)])
    await house.ledger._writer.submit(lambda group: search_write.begin(group, "other rules"))
    assert await house.ids("Patient?family=patient") == []
    assert house.ledger._indexer is not None
    await house.ledger._index_the_rest(house.ledger._indexer)
    assert len(await house.ids("Patient?family=patient")) == 5
