"""Bulk data: kick-off, manifest, files, `_since`, delete."""

from __future__ import annotations

import pytest
from pull_house import House, patient, request

from gateway.formats import json
from gateway.pull import export, export_files

PREFER = {"prefer": "respond-async"}


async def exported(house: House, path: str) -> dict[str, list[str]]:
    """Ids by type of a whole export."""
    started = await house.ask(path, headers=PREFER)
    assert started.status_code == 202, started.text
    manifest = await house.get(started.headers["content-location"])
    assert manifest["requiresAccessToken"] is True
    found: dict[str, list[str]] = {}
    for each in manifest["output"]:
        answer = await house.ask(each["url"])
        assert answer.headers["content-type"].startswith("application/fhir+ndjson")
        lines = [json.read(line) for line in answer.content.splitlines()]
        assert len(lines) == each["count"]
        assert {line["resourceType"] for line in lines} == {each["type"]}
        found.setdefault(each["type"], []).extend(line["id"] for line in lines)
    return found


async def test_an_export_is_complete_and_in_parts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every current resource once, however the files are cut."""
    monkeypatch.setattr(export, "FILE", 7)
    monkeypatch.setattr(export_files, "PAGE", 3)
    await house.put_all([patient(f"p{n}") for n in range(20)])
    await house.put(*[request(f"r{n}", f"p{n}") for n in range(5)], {"resourceType": "Location", "id": "l1"})
    await house.put(patient("p3"), deleted=True)
    started = await house.ask("$export", headers=PREFER)
    manifest = await house.get(started.headers["content-location"])
    assert [e["count"] for e in manifest["output"] if e["type"] == "Patient"] == [7, 7, 5]
    found = await exported(house, "$export")
    assert sorted(found["Patient"]) == sorted(f"p{n}" for n in range(20) if n != 3)
    assert found["ServiceRequest"] == [f"r{n}" for n in range(5)]
    assert set(await exported(house, "Patient/$export")) == {"Patient", "ServiceRequest"}
    assert set(await exported(house, "Group/first/$export")) == {"Patient", "ServiceRequest"}
    assert set(await exported(house, "$export?_type=Location")) == {"Location"}
    assert await exported(house, "$export?_type=Patient&_typeFilter=Patient%3F_id%3Dp1") == {"Patient": ["p1"]}


async def test_since_follows_the_manifest(house: House) -> None:
    """transactionTime of one export is `_since` of the next: nothing lies between."""
    await house.put(patient("a"))
    started = await house.ask("$export", headers=PREFER)
    manifest = await house.get(started.headers["content-location"])
    await house.put(patient("b"))
    assert [e["type"] for e in manifest["output"]] == ["Patient"]
    found = await exported(house, f"$export?_since={manifest['transactionTime']}")
    assert "b" in found["Patient"]
    later = await house.get(started.headers["content-location"])
    assert later["output"][0]["count"] == 1


async def test_a_deleted_export_is_gone(house: House) -> None:
    """And its files with it."""
    await house.put(patient("a"))
    job = (await house.ask("$export", headers=PREFER)).headers["content-location"]
    file = (await house.get(job))["output"][0]["url"]
    assert (await house.ask(job, method="DELETE")).status_code == 202
    assert (await house.ask(job)).status_code == 404
    assert (await house.ask(file)).status_code == 404


async def test_what_an_export_cannot_do_is_said(home: House) -> None:
    """Never a different export than was asked for."""
    assert (await home.ask("$export")).status_code == 400
    for query in ("_type=Nonsense", "_outputFormat=csv", "_typeFilter=Patient%3Fx%3D1", "shoe=1", "_since=yesterday"):
        assert (await home.ask(f"$export?{query}", headers=PREFER)).status_code in (400, 406), query
