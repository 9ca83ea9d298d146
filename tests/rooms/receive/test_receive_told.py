"""What destinations tell us over HTTP: who is known, what is bounded, and that a yes means that it is on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from receive_peers import TOKEN, House, ScriptedStore, client

from gateway.errors import NotAllowed, Refused, StorageFailed
from gateway.ports import Told
from gateway.receive import told
from gateway.receive.http import make_app
from gateway.receive.server import HttpServer
from gateway.settings import Http, Sender, Settings


class Ear:
    """What stands behind the route: notes what it was told, and answers or fails as scripted."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, bytes]] = []
        self.fault: Exception | None = None

    async def take(self, destination: str, caller: str, headers: Mapping[str, str], body: bytes) -> Told:
        self.heard.append((destination, caller, body))
        if self.fault is not None:
            raise self.fault
        return Told(200, "application/json", b"{}")


@pytest.fixture
async def listening() -> AsyncIterator[tuple[HttpServer, Ear]]:
    import hashlib

    sender = Sender(
        id="ministry", programmes=(), role="repository", token_sha256=(hashlib.sha256(TOKEN.encode()).hexdigest(),)
    )
    ear, house = Ear(), House(ScriptedStore(), None, (sender,))
    http = Http(host="127.0.0.1", port=0, max_body=1000)
    settings = Settings(http=http, sender=house.senders)
    app = make_app(settings, house.store, house.door(), house.clock, more=lambda front: told.router(front, ear.take))
    server = HttpServer(app, http)
    await server.start()
    yield server, ear
    await server.stop()


@pytest.mark.parametrize("path", ["/told/fse", "/told/fse/v1/workflow/status"])
async def test_who_is_known_is_heard_under_its_own_name(listening: tuple[HttpServer, Ear], path: str) -> None:
    """A protocol may put its own path behind ours."""
    server, ear = listening
    async with client(server) as http:
        reply = await http.post(path, content=b"event")
    assert (reply.status_code, reply.content) == (200, b"{}")
    assert ear.heard == [("fse", "ministry", b"event")]


@pytest.mark.parametrize("given", [None, "another-token"])
async def test_strangers_are_not_even_read(listening: tuple[HttpServer, Ear], given: str | None) -> None:
    """The caller is known before the body is looked at."""
    server, ear = listening
    async with client(server, given) as http:
        assert (await http.post("/told/fse", content=b"event")).status_code in (401, 403)
    assert not ear.heard


async def test_a_body_past_the_limit_is_refused(listening: tuple[HttpServer, Ear]) -> None:
    """Like any other."""
    server, ear = listening
    async with client(server) as http:
        assert (await http.post("/told/fse", content=b"x" * 2000)).status_code == 413
    assert not ear.heard


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (NotAllowed("GW-RECEIVE-010"), 404),
        (NotAllowed("GW-DELIVER-037"), 404),
        (Refused("GW-DELIVER-038", detail="x"), 400),
        (StorageFailed(), 500),
    ],
)
async def test_nothing_is_acknowledged_that_was_not_kept(
    listening: tuple[HttpServer, Ear], fault: Exception, status: int
) -> None:
    """A disk that is full, a reader that refuses, an exchange that is not there: never a 2xx."""
    server, ear = listening
    ear.fault = fault
    async with client(server) as http:
        found = (await http.post("/told/fse", content=b"event")).status_code
    assert found == status or (status == 500 and found >= 500)


async def test_only_post_is_there(listening: tuple[HttpServer, Ear]) -> None:
    """Nothing can be asked at this address."""
    server: Any = listening[0]
    async with client(server) as http:
        assert (await http.get("/told/fse")).status_code in (404, 405)
