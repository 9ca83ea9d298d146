"""Bulk data: kick-off, manifest, files, `_since`, delete."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pull_house import TWO, House, patient, request

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


async def manifest_of(house: House, job: str) -> dict:
    """The manifest, however often one has to look."""
    for _ in range(500):
        answer = await house.ask(job)
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code == 202
        assert answer.headers["x-progress"]
    raise AssertionError("the export does not become ready")


async def test_progress_goes_on_in_another_process(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look finds a part; a gateway that was killed and started again goes on there, and nothing is twice."""
    monkeypatch.setattr(export, "FILE", 4)
    monkeypatch.setattr(export, "LOOK_SECONDS", 0.0)
    await house.put_all([patient(f"p{n}") for n in range(10)])
    job = (await house.ask("$export?_type=Patient,Location", headers=PREFER)).headers["content-location"]
    first = await house.ask(job)
    assert (first.status_code, first.headers["x-progress"]) == (202, "0 of 2 types, 4 resources in 1 files")
    assert first.headers["retry-after"] == "1"
    again = House(house.ledger, house.clock)  # another process over the same ledger
    await house.put(patient("late"))
    manifest = await manifest_of(again, job)
    assert [each["count"] for each in manifest["output"]] == [4, 4, 2]
    lines = [line for each in manifest["output"] for line in (await again.ask(each["url"])).text.splitlines()]
    assert sorted(json.read(line.encode())["id"] for line in lines) == sorted(f"p{n}" for n in range(10))
    (kept,) = await house.ledger.exports.every()
    assert (kept.state, kept.sent_files, kept.sent_lines) == ("ready", 3, 10)
    assert kept.sent_bytes == sum(len(line) + 1 for line in lines)


async def test_files_are_bounded_by_bytes(home: House) -> None:
    """Large resources make more files, one alone is always let through."""
    small = House(home.ledger, home.clock, export_file_bytes=5_000)
    await small.put(*[patient(f"p{n}", "x" * 2_000) for n in range(5)], patient("huge", "x" * 20_000))
    job = (await small.ask("$export", headers=PREFER)).headers["content-location"]
    assert [each["count"] for each in (await manifest_of(small, job))["output"]] == [2, 2, 1, 1]


async def test_filters_of_one_type_are_alternatives(house: House) -> None:
    """Several searches of one type find what any of them finds; a comma inside a search is the search's."""
    await house.put(*[patient(f"p{n}", f"Family{n}") for n in range(6)], request("r", "p1"))
    one, two = "Patient%3Ffamily%3DFamily1", "Patient%3F_id%3Dp2%2Cp3"
    for query in (f"_typeFilter={one}&_typeFilter={two}", f"_typeFilter={one}%2C{two}"):
        found = await exported(house, f"$export?_type=Patient&{query}")
        assert sorted(found["Patient"]) == ["p1", "p2", "p3"]
    assert set(await exported(house, f"$export?_typeFilter={one}")) == {"Patient", "ServiceRequest"}


async def test_what_was_deleted_since_is_told(house: House) -> None:
    """As transactions that delete, only with `_since`, and only what is gone."""
    await house.put(patient("a"), patient("b"), patient("c"))
    job = (await house.ask("$export", headers=PREFER)).headers["content-location"]
    before = await manifest_of(house, job)
    assert "deleted" not in before
    await house.put(patient("a"), deleted=True)
    await house.put(patient("b"), deleted=True)
    await house.put(patient("b"))
    await house.put(patient("z"), programme="second")
    await house.put(patient("z"), programme="second", deleted=True)
    since = before["transactionTime"].replace("+", "%2B")
    job = (await house.ask(f"$export?_since={since}", headers=PREFER)).headers["content-location"]
    manifest = await manifest_of(house, job)
    (file,) = manifest["deleted"]
    bundles = [json.read(line.encode()) for line in (await house.ask(file["url"])).text.splitlines()]
    assert [entry["request"] for each in bundles for entry in each["entry"]] == [
        {"method": "DELETE", "url": "Patient/a"}
    ]
    assert bundles[0]["type"] == "transaction"


async def test_lenient_clients_are_told_what_was_left_out(home: House) -> None:
    """In the error file, as OperationOutcomes; strict ones get the error at once."""
    await home.put(patient("a"))
    query = "$export?includeAssociatedData=x&_typeFilter=Patient%3Fshoe%3D1&_type=Patient"
    assert (await home.ask(query, headers=PREFER)).status_code == 400
    lenient = {"prefer": "respond-async, handling=lenient"}
    job = (await home.ask(query, headers=lenient)).headers["content-location"]
    manifest = await manifest_of(home, job)
    (file,) = manifest["error"]
    outcomes = [json.read(line.encode()) for line in (await home.ask(file["url"])).text.splitlines()]
    assert [(each["resourceType"], each["issue"][0]["severity"]) for each in outcomes] == [
        ("OperationOutcome", "warning")
    ] * 2
    assert manifest["output"][0]["count"] == 1


async def test_what_cannot_be_read_is_never_left_out_silently(home: House, tmp_path: Path) -> None:
    """Damaged bytes end the transfer; the next time the file is whole without them, and the error file names them."""
    await home.put(patient("a"), patient("broken", "y" * 2_000_000), patient("c"))
    (blob,) = [each for each in (tmp_path / "data" / "blobs").rglob("*") if each.is_file()]
    blob.chmod(0o600)
    blob.write_bytes(b"{}")
    job = (await home.ask("$export?_type=Patient", headers=PREFER)).headers["content-location"]
    file = (await manifest_of(home, job))["output"][0]
    assert file["count"] == 3
    with pytest.raises(RuntimeError, match="already started"):  # the server cuts the connection
        await home.ask(file["url"])
    manifest = await manifest_of(home, job)
    assert manifest["output"][0]["count"] == 2
    lines = (await home.ask(manifest["output"][0]["url"])).text.splitlines()
    assert [json.read(line.encode())["id"] for line in lines] == ["a", "c"]
    (outcome,) = (await home.ask(manifest["error"][0]["url"])).text.splitlines()
    assert "Patient/broken" in outcome


async def test_files_belong_to_whom_they_were_made_for(house: House) -> None:
    """Status, files, error file and deletion: another repository's are not there, a guessed one neither."""
    await house.put(patient("a"))
    await house.put(patient("a"), deleted=True)
    job = (await house.ask("$export?_since=2000", headers=PREFER)).headers["content-location"]
    manifest = await manifest_of(house, job)
    files = [each["url"] for each in manifest["output"] + manifest["deleted"]]
    nothing = (await house.ask("Patient/nobody", TWO)).content
    for path in (job, *files, f"{files[0].rpartition('/')[0]}/errors"):
        answer = await house.ask(path, TWO)
        assert (answer.status_code, answer.content) == (404, nothing), path
    assert (await house.ask(job, TWO, method="DELETE")).status_code == 404
    for guessed in ("export/x", "export-file/x/0", f"export-file/{job.rpartition('/')[2]}/99", files[0] + "x"):
        assert (await house.ask(guessed)).status_code == 404
    house.clock.advance(timedelta(hours=25))
    assert (await house.ask(job)).status_code == 404
