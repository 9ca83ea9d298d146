"""`$validate` on the running gateway, and rules that change while messages come in."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.formats import json

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests" / "faults"))
from oracle import stay_messages  # noqa: E402 - the messages of the fault tests

PATIENT: dict[str, Any] = {"resourceType": "Patient", "gender": "female"}
PROFILE = "https://toscana.gateway.invalid/fhir/StructureDefinition/toscana-patient"
KNOWN = {"resourceType": "Patient", "identifier": [{"value": "TSTPNT80A01D612O"}]}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A running site whose rules may be changed."""
    for name in ("mappings", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / "home" / name)
    async with Site(tmp_path, Plan(home=tmp_path / "home", workers=1, plain_mllp=True)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


async def ask(site: Site, path: str, value: Any, sender: str = "hospital-1", **headers: str) -> httpx.Response:
    body = value if isinstance(value, bytes) else json.write(value)
    async with httpx.AsyncClient(verify=site.client_tls(sender), timeout=30) as client:
        url = f"https://127.0.0.1:{site.http_port}{path}"
        return await client.post(url, content=body, headers={"content-type": "application/fhir+json", **headers})


def errors_of(answer: httpx.Response) -> list[tuple[str, list[str]]]:
    found = json.read(answer.content)["issue"]
    return [(each["details"]["coding"][0]["code"], each["expression"]) for each in found if each["severity"] == "error"]


async def reload(site: Site) -> tuple[int, str]:
    """`gateway mappings reload`, as an operator runs it."""
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "mappings", "reload", "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=ROOT,
    )  # fmt: skip
    said, _ = await made.communicate()
    return made.returncode or 0, said.decode()


async def digests(site: Site, answers: list[bytes]) -> list[str]:
    """By which rules the items of these acknowledged messages were made."""
    made = []
    for control_id in (each.split(b"MSA|")[1].split(b"|")[1].strip().decode() for each in answers):
        for line in await site.ask("submissions", sender="hospital-1", control_id=control_id):
            trace = await site.ask("trace", submission=line["submission"]["id"])
            made += [each["item"]["result"]["rules_digest"] for each in trace if "item" in each]
    return made


def counts(lines: list[Any]) -> dict[tuple[str, str], int]:
    """How many things are in each state; findings of measures come with the time, not with what was asked."""
    return {(line["thing"], line["state"]): line["count"] for line in lines if line["thing"] != "finding"}


async def test_the_running_gateway_validates(site: Site) -> None:
    """Anyone who may push can try a resource, with the programme's profiles, and nothing of it is kept."""
    before = await site.ask("status")
    assert errors_of(await ask(site, "/fhir/$validate", PATIENT)) == []
    wrong = await ask(site, "/fhir/Patient/$validate", PATIENT | {"gender": "x"}, **{"accept-language": "fa"})
    assert (wrong.status_code, errors_of(wrong)) == (200, [("GW-VAL-010", ["Patient.gender"])])
    assert wrong.headers["content-language"] == "fa"
    known = await ask(site, f"/fhir/$validate?profile={PROFILE}", PATIENT)
    assert errors_of(known) == [("GW-VAL-003", ["Patient"])]
    assert (await ask(site, "/fhir/$validate", b"{")).status_code == 400
    after = await site.ask("status")
    assert counts(after) == counts(before)
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(site.ca.ca))) as stranger:
        with pytest.raises(httpx.HTTPError):  # no certificate: the connection ends before anything is read
            (await stranger.post(f"https://127.0.0.1:{site.http_port}/fhir/$validate")).raise_for_status()


async def test_validating_does_not_hold_up_the_doors(site: Site) -> None:
    """The work is done in the workers: while they judge a large Bundle, the event loop answers."""
    entry = {"resource": {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}}
    large = {"resourceType": "Bundle", "type": "collection", "entry": [entry] * 20_000}
    judged = asyncio.create_task(ask(site, "/fhir/$validate", large))
    waits = []
    while not judged.done():
        started = asyncio.get_running_loop().time()
        assert (await site.get("hospital-1", "/health/live")).status_code == 200
        waits.append(asyncio.get_running_loop().time() - started)
        await asyncio.sleep(0.05)
    assert judged.result().status_code == 200
    assert len(waits) > 2
    assert max(waits) < 2


async def test_rules_change_while_messages_come_in(site: Site, tmp_path: Path) -> None:
    """Every message arrives once, whatever rules it met, and each item says which; broken rules change nothing."""
    home = tmp_path / "home"
    profile = home / "profiles" / "toscana" / "StructureDefinition-toscana-patient.json"
    whole = profile.read_text(encoding="utf-8")

    async def push(patients: range) -> list[bytes]:
        return [each for patient in patients for each in await site.mllp(stay_messages(patient, 0))]

    pushing = asyncio.create_task(push(range(12)))
    await asyncio.sleep(0.5)
    definition = json.read(whole.encode())
    for each in definition["snapshot"]["element"], definition["differential"]["element"]:
        next(row for row in each if row["path"] == "Patient.identifier")["min"] = 2
    profile.write_bytes(json.write(definition))
    assert errors_of(await ask(site, f"/fhir/$validate?profile={PROFILE}", KNOWN)) == []  # not yet
    code, said = await reload(site)
    assert (code, said.startswith("rules ")) == (0, True), said
    assert errors_of(await ask(site, f"/fhir/$validate?profile={PROFILE}", KNOWN)) == [("GW-VAL-003", ["Patient"])]

    profile.write_text("{", encoding="utf-8")
    mapping = home / "mappings" / "sepas" / "adt.yaml"
    kept = mapping.read_bytes()
    mapping.write_bytes(kept + b"\n  - nonsense: [")
    code, said = await reload(site)
    assert code != 0
    assert "adt.yaml" in said
    mapping.write_bytes(kept)
    code, said = await reload(site)
    assert code != 0, said
    assert errors_of(await ask(site, f"/fhir/$validate?profile={PROFILE}", KNOWN)) == [("GW-VAL-003", ["Patient"])]

    answers = await pushing + await push(range(12, 14))
    assert all(b"MSA|AA" in each or b"MSA|CA" in each for each in answers)
    assert await site.quiet(60)
    states = {(line["thing"], line["state"]): line["count"] for line in await site.ask("status")}
    assert states.get(("submission", "parked"), 0) == states.get(("item", "parked"), 0) == 0
    assert states["exchange", "delivered"] == 14 * 2
    assert states["submission", "itemised"] == len(answers)
    first, last = await digests(site, answers[:1]), await digests(site, answers[-1:])
    assert len({*first, *last}) == 2
    assert len(set(await digests(site, answers))) == 2
