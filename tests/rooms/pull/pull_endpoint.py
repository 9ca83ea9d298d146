"""A subscriber's endpoint on a real socket: it keeps what it was sent and answers as it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from pull_house import ONE, House

from gateway import pull
from gateway.formats import json
from gateway.message import Json
from gateway.network import Outbound
from gateway.pull import wanted
from gateway.settings import Endpoint as Allowed
from gateway.settings import Peer, Repository

SCOPES = ("system/*.rs", "system/Subscription.cruds")


class Got(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str:
        return str(value(self.status, "type"))

    @property
    def status(self) -> Json:
        found: Json = json.read(self.body)["entry"][0]["resource"]
        return found

    @property
    def numbers(self) -> list[int]:
        return numbers(json.read(self.body))

    @property
    def entries(self) -> list[Json]:
        found: list[Json] = json.read(self.body)["entry"][1:]
        return found


def value(parameters: Json, name: str) -> Any:
    """The value of a parameter of a status."""
    for each in parameters["parameter"]:
        if each["name"] == name:
            return next(found for key, found in each.items() if key.startswith("value"))
    return None


def numbers(bundle: Json) -> list[int]:
    """The event numbers of a notification."""
    events = [e for e in bundle["entry"][0]["resource"]["parameter"] if e["name"] == "notification-event"]
    return [int(p["valueString"]) for e in events for p in e["part"] if p["name"] == "event-number"]


class Endpoint:
    """Answers 200; what stands in `answers` comes first. `hold` keeps requests waiting while it is clear."""

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answers: list[int] = []
        self.always = 200
        self.hold = asyncio.Event()
        self.hold.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/notify"
        self.peer = Peer(origin=f"http://127.0.0.1:{self.port}", plaintext=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {k.lower(): v.strip() for k, _, v in (each.partition(":") for each in head[1:] if each)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            await self.hold.wait()
            status = self.answers.pop(0) if self.answers else self.always
            self.got.append(Got(method, path, headers, body))
            location = "location: http://127.0.0.1:1/elsewhere\r\n" if status == 307 else ""
            writer.write(f"HTTP/1.1 {status} x\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def events(self) -> list[Got]:
        """What was not a handshake or a heartbeat."""
        return [each for each in self.got if each.kind == "event-notification"]

    def numbers(self) -> list[int]:
        """All event numbers in the order in which they came."""
        return [n for each in self.events() for n in each.numbers]


def of(endpoint: Endpoint, sender: str = ONE, **more: Any) -> Repository:
    """The entry of a repository that may be notified there."""
    allowed = (Allowed(url=endpoint.url, peer=sender, private=True),)
    return Repository(sender=sender, **({"scopes": SCOPES, "endpoint": allowed} | more))


class Subscribing(House):
    """A pulling side with a network, and a notifier that is driven by hand."""

    def start(self, peers: dict[str, Peer]) -> None:
        self.network = Outbound(peers)
        self.notifier = pull.Notifier(self.api, self.network, self.ledger.share, chance=lambda: 1.0)

    async def until_quiet(self) -> None:
        """Until there is nothing to do at this moment."""
        quiet = 0
        for _ in range(500):
            busy = await self.notifier.round()
            quiet = 0 if busy or self.notifier._tending else quiet + 1
            if quiet > 1:
                return
        raise AssertionError("the notifier does not come to rest")

    async def stop(self) -> None:
        await self.notifier.stop()
        await self.network.aclose()


def over(house: House, *endpoints: tuple[str, Endpoint], **settings: Any) -> Subscribing:
    """The same ledger, with these endpoints allowed."""
    peers = settings.pop("peers", {who: endpoint.peer for who, endpoint in endpoints})
    entries = settings.pop("repository", tuple(of(endpoint, who) for who, endpoint in endpoints))
    made = Subscribing(house.ledger, house.clock, repository=entries, peers=peers, **settings)
    made.start(peers)
    return made


def topical(url: str, topic: str, content: str = "id-only", filters: Sequence[str] = (), **channel: Any) -> Json:
    """A Subscription of the backport guide."""
    names = [each for each in channel if each.startswith("backport")]
    extensions = [
        {"url": wanted.GUIDE + each.replace("_", "-"), "valueUnsignedInt": channel.pop(each)} for each in names
    ]
    made: Json = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "a test",
        "criteria": topic,
        "channel": {
            "type": "rest-hook",
            "endpoint": url,
            "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": wanted.CONTENT, "valueCode": content}]},
            **({"extension": extensions} if extensions else {}),
            **channel,
        },
    }
    if filters:
        made["_criteria"] = {"extension": [{"url": wanted.FILTER, "valueString": each} for each in filters]}
    return made


async def subscribed(house: House, resource: Json, who: str = ONE) -> Json:
    """Created; the answer."""
    answer = await house.ask("Subscription", who, method="POST", json=resource)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    assert answer.headers["location"].endswith(f"Subscription/{found['id']}/_history/1")
    return found
