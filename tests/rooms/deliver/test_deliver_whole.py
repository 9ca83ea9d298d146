"""Everything real at once: the national mapping, the signing room's key, mutual TLS, the real ledger, the strict
stand-in. Each of them is tested alone; this is where they meet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from deliver_world import FACILITY, SYSTEM, destination, exchange, routed, running, tools

from gateway import programme, store
from gateway.clock import SystemClock
from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.formats import json
from gateway.map import engine
from gateway.network import Outbound
from gateway.settings import Key, Peer
from gateway.sign import dev_ca, keys
from gateway.sign.raw import RawSigner
from gateway.simulate import arrivals
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import Running, Tls

ROOT = Path(__file__).parents[3]


def bundle(sample: str) -> bytes:
    """The resources of a sample as one document."""
    read = json.read((ROOT / "mappings/sepas/samples" / sample).read_bytes())
    items = read if isinstance(read, list) else read["items"]
    resources: list[Any] = [resource for item in items for resource in item["resources"]]
    entries = [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources]
    return json.write({"resourceType": "Bundle", "id": "b", "type": "collection", "entry": entries})


async def test_a_mapped_stay_is_signed_delivered_over_mutual_tls_and_verified_there(tmp_path: Path) -> None:
    """The receiver verifies our signature over the composition as it arrived, and we keep its UIDs."""
    mapper = engine.load(ROOT, [programme.load(ROOT, "sepas")])
    body = bundle("adt-a03.expected.json")
    facility = _facility(mapper.render(json.read(body), "sepas/patient-bill", {}))
    made = dev_ca.make(tmp_path / "ca", facility=facility, system_id=SYSTEM)
    client, server = made.clients["sender"], made.destinations["destination"]
    signer = RawSigner(keys.open_key(Key(certificate=str(made.signer.certificate), key=str(made.signer.key))))
    log = tmp_path / "arrivals.jsonl"
    stand_in = Sepas(ArrivalLog(log), ca=made.ca, facilities=[facility])
    async with Running(stand_in, tls=Tls(server.certificate, server.key, made.ca)) as running_server:
        peer = Peer(
            origin=running_server.url, ca=str(made.ca), certificate=str(client.certificate), key=str(client.key)
        )
        network = Outbound({"peer": peer})
        place = destination(
            url=f"{running_server.url}/BillPatient/BillPatientPort",
            protocol="sepas-soap",
            system_id=SYSTEM,
            signer="raw-rsa-sha256",
            body="sepas/patient-bill",
        )
        async with store.open("", tmp_path / "data", SystemClock()) as ledger:
            await ledger.commit(routed(exchange("e1"), body=body))
            wire = wires.make(place, network, signer, mapper.render)
            async with running(Dispatcher([place], {"d": wire}, tools(ledger))):
                await _until_final(ledger, "e1")
            found = await ledger.exchange("e1")
            assert found.state == "delivered", await ledger.attempts("e1")
            receipts = await ledger.receipts("d", ["c-1", "s-1"])
        await network.aclose()
    assert set(receipts) >= {"PatientUID", "CompositionUID"}
    verdict = next(line["verdict"] for line in arrivals.read(log) if "verdict" in line)
    assert (verdict["result"], verdict["signature"], verdict["kept"]) == ("created", "verified", True)


def _facility(message: bytes) -> str:
    """The facility that the sample's registry gives, so that the token can be bound to it."""
    text = message.decode()
    start = text.index("HealthCareFacilityID")
    at = text.index(":ID>" if ":ID>" in text else "<ID>", start) + 4
    return text[at : text.index("<", at)] or FACILITY


async def _until_final(ledger: Any, id: str) -> None:
    async with asyncio.timeout(15):
        while (await ledger.exchange(id)).state not in ("delivered", "rejected", "parked", "unknown"):
            await asyncio.sleep(0.02)
