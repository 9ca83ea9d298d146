"""Agendas of a CUP, as the mapping tags them, are seen across their Area Vasta by the rule of the manual; no others."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pull_house import NOW, ONE, House
from test_pull_sharing import REPOSITORIES, seen

from gateway import map as mapping
from gateway import programme
from gateway.formats import media
from gateway.map import registry
from gateway.message import Context, Json, RegistryEntry, Step, Submission
from gateway.settings import Share

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "mappings" / "toscana" / "samples"
TAG = "_tag=https://toscana.gateway.invalid/fhir/CodeSystem/area-vasta|AV-TEST"
RULE = Share(
    programme="second", to=(ONE,), when=(f"Schedule?{TAG}", f"Slot?{TAG}"), registry="organisation", by="area_vasta"
)  # fmt: skip


def agendas() -> list[Json]:
    """The sample: an ultrasound and a resonance of the lists, and the same rows as mammography, which is not shared."""
    body = (SAMPLES / "agende.csv").read_bytes()
    body += (
        body.split(b"\n", 1)[1].replace(b"AG-", b"MAM-").replace(b"88.71.4", b"87.37.1").replace(b"88.91.1", b"87.37.1")
    )
    entries, _ = registry.read((SAMPLES / "registry.csv").read_bytes(), media.CSV, "toscana")
    known = {"organisation": {e.key: (e,) for e in entries if e.kind == "organisation"}}
    context = Context(digest="c", now=NOW, sender="near", programme="toscana", id_key=b"k", registry=known)
    sent = Submission(
        id="s", sender="near", programme="toscana", received_at=NOW, channel="http", media_type=media.CSV, body=body,
        digest=hashlib.sha256(body).hexdigest(),
    )  # fmt: skip
    results = mapping.load(ROOT, [programme.load(ROOT, "toscana")]).take_apart(sent, context)
    return [r for each in results for r in each.resources if r["resourceType"] in ("Schedule", "Slot")]


async def test_the_agendas_of_the_plan_are_seen_across_the_area(house: House) -> None:
    """Two agendas and their two places; none of a kind that the plan does not name, none after the area has changed."""
    await house.document("d2", b'{"resourceType":"Bundle"}', programme="second")
    made = agendas()
    await house.put(*made, programme="second", sender="near", document="d2")
    entries = tuple(
        RegistryEntry(kind="organisation", key=key, programme="second", data={"area_vasta": "AV-TEST"})
        for key in (ONE, "near")
    )
    await house.ledger.commit(Step(name="test", at=house.clock.now(), writes=entries))
    sharing = House(house.ledger, house.clock, repository=REPOSITORIES, share=(RULE,))
    tagged = {r["id"] for r in made if "tag" in r["meta"]}
    assert await seen(sharing) == tagged
    assert len(tagged) == len(made) / 2 == 4
