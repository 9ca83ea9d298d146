"""A whole pulling side on a real ledger: two repositories of two programmes, people who are invented and look it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from gateway import pull, store
from gateway.audit import events
from gateway.clock import FixedClock
from gateway.errors import NotAllowed
from gateway.formats import json
from gateway.message import Document, Evidence, Json, Step, StoredResource
from gateway.settings import Pull, Repository, Sender
from gateway.sign import jws

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC)
KEY = b"a key of a test, 32 bytes long.."
HOST = "http://gateway.test/fhir"
ONE, TWO = "north", "south"
PROGRAMMES = {ONE: "first", TWO: "second"}
DEFINITIONS = pull.load(ROOT, ("toscana",))

SENDERS = tuple(Sender(id=id, programmes=(programme,), role="repository") for id, programme in PROGRAMMES.items())


def by_certificate(scope: Mapping[str, Any]) -> Sender | None:
    """Tests name the caller in a header, where a server has the certificate of the connection."""
    name = dict(scope["headers"]).get(b"x-test-certificate", b"").decode()
    if not name:
        return None
    for each in SENDERS:
        if each.id == name:
            return each
    raise NotAllowed("GW-PULL-001")


def verify(token: str, key: Any, algorithm: str) -> tuple[Mapping[str, Any], bytes]:
    return jws.verify(token, key, algorithm, understood=(), max_payload=64 * 1024)  # type: ignore[arg-type]


class House:
    """The application and a client of it."""

    def __init__(self, ledger: store.Ledger, clock: FixedClock, **settings: Any) -> None:
        self.ledger, self.clock = ledger, clock
        settings = {"per_minute": 10**6, "search_seconds": 20.0} | settings
        entries = settings.pop("repository", tuple(Repository(sender=id) for id in PROGRAMMES))
        peers = settings.pop("peers", {})
        topics = settings.pop("topics", ())
        self.api = pull.make_api(
            Pull(base=settings.pop("base", HOST), repository=entries, **settings),
            SENDERS,
            ledger,
            DEFINITIONS,
            clock,
            events,
            KEY,
            by_certificate,
            verify,
            peers,
            topics,
        )
        self.app = pull.make_app(self.api)
        mounted = Starlette(routes=pull.routes("/fhir", self.app))
        transport = httpx.ASGITransport(mounted)  # a defect raises here
        self.client = httpx.AsyncClient(transport=transport, base_url=HOST)

    async def ask(self, path: str, who: str | None = ONE, method: str = "GET", **more: Any) -> httpx.Response:
        headers = {"accept": "application/fhir+json"} | dict(more.pop("headers", {}))
        if who is not None:
            headers["x-test-certificate"] = who
        url = path if path.startswith("http") else f"{HOST}/{path}"
        return await self.client.request(method, url, headers=headers, **more)

    async def get(self, path: str, who: str | None = ONE, **more: Any) -> Json:
        answer = await self.ask(path, who, **more)
        assert answer.status_code == 200, (answer.status_code, answer.text[:600])
        found: Json = answer.json()
        return found

    async def ids(self, path: str, who: str = ONE) -> list[str]:
        """The ids of all matches of a search, over all pages."""
        found: list[str] = []
        page = await self.get(path, who)
        for _ in range(1000):
            found += [e["resource"]["id"] for e in page.get("entry", ()) if e["search"]["mode"] == "match"]
            following = [each["url"] for each in page["link"] if each["relation"] == "next"]
            if not following:
                return found
            page = await self.get(following[0], who)
        raise AssertionError("paging does not end")

    async def put(
        self,
        *resources: Json,
        programme: str = "first",
        sender: str = "clinic",
        document: str | None = None,
        deleted: bool = False,
    ) -> int:
        """One commit, as publishing a document makes it."""
        self.clock.advance(timedelta(milliseconds=1))
        writes = tuple(
            StoredResource(
                type=each["resourceType"],
                id=each["id"],
                programme=programme,
                sender=sender,
                body=json.write(each),
                document=document,
                deleted=deleted,
            )
            for each in resources
        )
        return (await self.ledger.commit(Step(name="test", at=self.clock.now(), writes=writes))).feed

    async def put_all(self, resources: Sequence[Json], programme: str = "first", size: int = 200) -> None:
        for start in range(0, len(resources), size):
            await self.put(*resources[start : start + size], programme=programme)

    async def document(self, id: str, body: bytes, programme: str = "first") -> None:
        """A signed document; the evidence is not looked at here."""
        evidence = Evidence(jws="e30..c2ln", algorithm="ES256", certificate_digest="0" * 64, signed_at=NOW)
        made = Document(
            id=id, case=f"case-{id}", version=1, programme=programme, subject="subject", made_at=NOW, body=body,
            digest=store.payload.sha256(body), evidence=evidence, submissions=(),
        )  # fmt: skip
        await self.ledger.commit(Step(name="test", at=self.clock.now(), writes=(made,)))


_numbers = itertools.count(1)


def patient(id: str, family: str = "Patient-One", **more: Any) -> Json:
    return {
        "resourceType": "Patient",
        "id": id,
        "identifier": [{"system": "urn:test:person", "value": f"n-{id}"}],
        "name": [{"family": family, "given": ["Test"]}],
        "birthDate": "1980-02-03",
    } | more


def request(id: str, subject: str, **more: Any) -> Json:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{subject}"},
        "authoredOn": "2026-03-04T10:00:00+01:00",
    } | more


async def settle() -> None:
    await asyncio.sleep(0)
