"""A whole gateway whose outcomes come later: CART by the symmetric SPCoop profile, the health record by its event.

Both are brought to `POST /told/{destination}` over HTTP, by who may tell them; what is asked is never answered here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from toscana_lab import HERE, ROOT, entries

from gateway import settings as configuration
from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.commands.site import free_port
from gateway.formats import egov, json, media
from gateway.idkey import id_key
from gateway.message import Step
from gateway.pool import Pool
from gateway.sign import dev_ca
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.fse import Fse
from gateway.simulate.server import Running

TOKENS = {name: f"a token of {name}" for name in ("cup", "region", "ministry")}
SETTINGS = """
home = "{home}"
data = "data"
programmes = ["toscana"]
workers = 2

[http]
port = {port}

[trust]
signer = "{ca}"
revocation = "{revocation}"

[key.evidence]
purpose = "evidence"
certificate = "{evidence.certificate}"
key = "{evidence.key}"

[key.s1]
certificate = "{signer.certificate}"
key = "{signer.key}"

[peer.cart]
origin = "{cart}"
plaintext = true

[peer.fse]
origin = "{fse}"
plaintext = true

[[destination]]
id = "cart"
programme = "toscana"
protocol = "spcoop"
peer = "cart"
url = "{cart}/pd"
body = "toscana/cart-prenotazione"
[destination.options]
office = "AziendaTest"
door = "AziendaTestSPCoopIT"
receiver = "RegioneTest"
service = "Prenotazioni"
action = "invia"
profile = "symmetric"
success = "$.esito = OK"
rejected = "$.esito = KO"
text = "$.descrizione"
told_by = "region"

[[destination]]
id = "fse"
programme = "toscana"
protocol = "fse"
peer = "fse"
url = "{fse}/v1"
signing_key = "s1"
[destination.options]
secure = "fse"
audience = "{audience}"
claims = "toscana/fse-claims"
callback_url = "http://127.0.0.1:{port}/told/fse"
told_by = "ministry"
reconcile_seconds = "3600"
"fse.sub" = "PRVPRV00A01H501X^^^&2.16.840.1.113883.2.9.4.3.2&ISO"
"fse.subject_organization_id" = "090"
"fse.subject_organization" = "Regione di prova"
"fse.locality" = "Prova^^^^^&2.16.840.1.113883.2.9.4.1.1&ISO^^^^090101"
"fse.subject_role" = "AAS"
"fse.purpose_of_use" = "TREATMENT"
"fse.resource_hl7_type" = "('57832-8^^2.16.840.1.113883.6.1')"
"fse.action_id" = "CREATE"
"fse.subject_application_id" = "gateway"
"fse.subject_application_vendor" = "test"
"fse.subject_application_version" = "1"
"""
SENDER = '\n[[sender]]\nid = "{name}"\nrole = "{role}"\nprogrammes = ["toscana"]\ntoken_sha256 = ["{digest}"]\n'
SOAP = "text/xml; charset=utf-8"
AUDIENCE = "https://modipa-val.invalid/govway/rest/in/FSE/gateway/v1"


@dataclass
class Place:
    """What the tests hold on to."""

    gateway: Gateway
    cart: Cart
    fse: Fse
    port: int

    async def post(self, name: str, path: str, body: bytes, kind: str) -> httpx.Response:
        """As one of the senders."""
        headers = {"Authorization": f"Bearer {TOKENS[name]}", "Content-Type": kind}
        async with httpx.AsyncClient(timeout=30, base_url=f"http://127.0.0.1:{self.port}") as client:
            return await client.post(path, content=body, headers=headers)

    async def exchanges(self, destination: str) -> dict[str, str]:
        """Their states by id."""
        found = await self.gateway.ledger.exchanges(destination=destination)
        return {each.id: each.state for each in found}

    async def until(self, destination: str, state: str, count: int) -> list[str]:
        """Wait until so many exchanges with a destination are in that state; their ids."""
        async with asyncio.timeout(30):
            while True:
                states = await self.exchanges(destination)
                reached = [id for id, each in states.items() if each == state]
                if len(reached) >= count:
                    return reached
                await asyncio.sleep(0.05)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Place]:
    """Everything started, and everything ended again."""
    made = dev_ca.make(folder / "ca", senders=("cup",), destinations=("cart",), signer_name="S1#090TEST")
    cart = Cart(ArrivalLog(folder / "cart.jsonl"), dialect="spcoop")
    fse = Fse(ArrivalLog(folder / "fse.jsonl"), ca=made.ca, audience=AUDIENCE, slow=True)
    async with Running(cart) as first, Running(fse) as second:
        port = free_port()
        text = SETTINGS.format(
            home=ROOT, port=port, cart=first.url, fse=second.url, audience=AUDIENCE, ca=made.ca,
            revocation=made.revocation, evidence=made.evidence, signer=made.signer,
        )  # fmt: skip
        for name, token in TOKENS.items():
            role = "sender" if name == "cup" else "repository"
            text += SENDER.format(name=name, role=role, digest=hashlib.sha256(token.encode()).hexdigest())
        settings = configuration.parse(text, folder)
        with Pool(settings, id_key(settings)) as pool:
            async with Gateway(settings, SystemClock(), pool) as gateway:
                await gateway.ledger.commit(Step(name="registry", at=datetime.now(UTC), writes=entries()))
                stopping = asyncio.Event()
                work = asyncio.create_task(gateway.run_until(stopping))
                try:
                    yield Place(gateway, cart, fse, port)
                finally:
                    stopping.set()
                    await work


def prescription(nre: str, person: str) -> bytes:
    sample = (HERE / "samples" / "sistema-ts-json.json").read_bytes()
    return sample.replace(b"0900A4000000022", nre.encode()).replace(b"TSTPNT85C41D612B", person.encode())


async def test_a_booking_waits_until_the_region_brings_its_answer(tmp_path: Path) -> None:
    """The receipt is no delivery: only the answer that names our message ends the exchange, and only the region's."""
    async with site(tmp_path) as place:
        lines = (HERE / "samples" / "prenotazioni.csv").read_bytes().splitlines(keepends=True)
        answer = await place.post("cup", "/submissions/toscana", b"".join(lines[:3]), media.CSV)
        assert answer.status_code in (201, 202), answer.text
        await place.until("cart", "awaiting", 2)
        for arrived, word, state in zip(place.cart.log.arrivals, ("OK", "KO"), ("delivered", "rejected"), strict=True):
            before = await place.exchanges("cart")
            brought = place.cart.spcoop.answer(arrived.body, datetime.now(UTC), word, "su richiesta")
            for name in ("cup", "ministry"):
                assert (await place.post(name, "/told/cart", brought, SOAP)).status_code in (403, 404)
            assert await place.exchanges("cart") == before

            said = await place.post("region", "/told/cart", brought, SOAP)
            assert said.status_code == 200, said.text
            assert egov.parse(said.content).envelope.reference == egov.parse(brought).envelope.id
            after = await place.exchanges("cart")
            assert [after[id] for id in before if after[id] != before[id]] == [state], "durable before we say so"

            assert (await place.post("region", "/told/cart", brought, SOAP)).status_code == 404
            assert await place.exchanges("cart") == after
        assert len(place.cart.log.arrivals) == 2


async def test_a_prescription_waits_until_the_ministry_tells_its_event(tmp_path: Path) -> None:
    """Taken (202) and decided later: the event comes to the callback address that the request named."""
    path = "/told/fse/v1/workflow/status"
    async with site(tmp_path) as place:
        for nre, person in (("0900A4000000031", "TSTPNT85C41D612B"), ("0900A4000000032", "TSTPNT80A01D612O")):
            sent = await place.post("cup", "/submissions/toscana", prescription(nre, person), media.JSON)
            assert sent.status_code in (201, 202), sent.text
        await place.until("fse", "awaiting", 2)
        assert not place.fse.reasons
        told = [each.header("x-callback-url") for each in place.fse.log.arrivals]
        assert told == [f"http://127.0.0.1:{place.port}/told/fse"] * 2
        outcomes = (("SUCCESS", "delivered"), ("BLOCKING_ERROR", "rejected"))
        for workflow, (status, state) in zip(place.fse.workflows, outcomes, strict=True):
            before = await place.exchanges("fse")
            event = place.fse.decide(workflow, status, "motivo")
            another = json.write({**event, "workflowInstanceId": "another"})
            assert (await place.post("ministry", path, another, media.JSON)).status_code in (403, 404)
            assert (await place.post("region", path, json.write(event), media.JSON)).status_code in (403, 404)
            assert await place.exchanges("fse") == before

            assert (await place.post("ministry", path, json.write(event), media.JSON)).status_code == 200
            after = await place.exchanges("fse")
            assert [after[id] for id in before if after[id] != before[id]] == [state]
        assert len(place.fse.log.arrivals) == 2
