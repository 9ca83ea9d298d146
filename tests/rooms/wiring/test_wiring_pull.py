"""The running gateway, asked by a repository: what was delivered can be read, searched and proven."""

from __future__ import annotations

import base64
from pathlib import Path

from gateway.clock import SystemClock
from gateway.commands.demo_inputs import GOOD, registry
from gateway.commands.site import Plan, Site
from gateway.formats import json
from gateway.simulate import arrivals, certificates

ROOT = Path(__file__).parents[3]


async def test_a_repository_reads_what_is_its_own_and_proves_the_signature_itself(tmp_path: Path) -> None:
    """Over mutual TLS: search, the Provenance of a document, its exact bytes, and a verification of one's own."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1)) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        for given in GOOD(ROOT)[:2]:
            await site.mllp([given.body])
        assert await site.quiet(30)
        found = json.read((await site.get("evaluator-1", "/fhir/Encounter")).content)
        assert found["total"] == 1
        provenance = json.read((await site.get("evaluator-1", "/fhir/Provenance")).content)["entry"][0]["resource"]
        binary = provenance["target"][0]["reference"]
        answer = await site.get("evaluator-1", f"/fhir/{binary}")
        assert answer.status_code == 200
        assert answer.content in _arrived(site)  # what is pulled is what was delivered, to the byte
        stranger = await site.get("hospital-1", "/fhir/Encounter")
        assert stranger.status_code in {401, 403}
        await site.stop()
        _verify(site, answer.content, provenance)


def _arrived(site: Site) -> list[bytes]:
    return [base64.b64decode(line["body"]) for line in arrivals.read(site.logs["medcare"]) if "body" in line]


def _verify(site: Site, body: bytes, provenance: dict) -> None:
    """As a receiver would: with its own code, from the Provenance and the bytes alone."""
    token = base64.b64decode(provenance["signature"][0]["data"]).decode()
    certificates.verify_detached(token, body, certificates.load_ca(site.ca.ca), SystemClock().now())
