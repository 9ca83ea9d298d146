"""What is fetched instead of pushed enters by the same door, once, and is put away with its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from gateway.collecting import Collector
from gateway.errors import Misconfigured, PeerFailed, StorageFailed
from gateway.message import Submission
from gateway.network import Outbound
from gateway.receive.acceptance import Arrival
from gateway.receive.door import Rendered, Renderer, Verdict
from gateway.settings import Peer, Settings, parse
from gateway.simulate.ditas import TESTER, Ditas
from gateway.simulate.server import Running

TOML = """
[peer.hub]
origin = "http://127.0.0.1:1"
plaintext = true
[[sender]]
id = "hub"
programmes = ["p"]
[[collect]]
name = "answers"
sender = "hub"
{where}
"""


@dataclass
class Door:
    """Remembers what was handed in; refuses what begins with `bad`."""

    arrivals: list[Arrival] = field(default_factory=list)
    failing: bool = False

    async def receive(self, arrival: Arrival, render: Renderer, wait: bool = True) -> Rendered:
        if self.failing:
            raise StorageFailed
        self.arrivals.append(arrival)
        kept = Submission(
            id=f"s-{len(self.arrivals)}", sender="hub", programme="p", received_at=arrival.received_at, channel="file",
            media_type="application/xml", body=arrival.body, digest="",
        )  # fmt: skip
        return render(Verdict(submission=kept, fate="refused" if arrival.body.startswith(b"bad") else "follows"))


@dataclass
class Network:
    """Answers in turn."""

    replies: list[tuple[int, bytes]]
    asked: list[dict[str, str]] = field(default_factory=list)

    async def request(self, peer: str, method: str, url: str, headers: Any, body: bytes, timeout: float) -> Any:
        self.asked.append(dict(headers))
        status, content = self.replies.pop(0)
        return type("Reply", (), {"status": status, "headers": {}, "body": content})()


def settings(where: str, base: Path) -> Settings:
    return parse(TOML.format(where=where), base)


def collector(made: Settings, door: Door, network: Any = None) -> Collector:
    return Collector(made, None, door, network, SystemClock())  # type: ignore[arg-type]


def put(folder: Path, name: str, body: bytes, age: float = 60) -> None:
    (folder / name).write_bytes(body)
    os.utime(folder / name, (time.time() - age, time.time() - age))


def names(folder: Path) -> Sequence[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_whole_files_are_taken_oldest_first_and_put_away_with_their_answers(tmp_path: Path) -> None:
    """What is still being written, hidden or unfinished is left alone."""
    put(tmp_path, "b.xml", b"second", 60)
    put(tmp_path, "a.xml", b"bad first", 90)
    put(tmp_path, "young.xml", b"x", 0)
    put(tmp_path, ".hidden", b"x")
    put(tmp_path, "c.partial", b"x")
    made, door = settings('folder = "."', tmp_path), Door()
    assert await collector(made, door).round(made.collect[0]) == 2
    assert [(each.body, each.key) for each in door.arrivals] == [
        (b"bad first", "answers/a.xml"),
        (b"second", "answers/b.xml"),
    ]
    assert names(tmp_path) == [".hidden", "c.partial", "done", "refused", "young.xml"]
    assert names(tmp_path / "refused") == ["a.xml", "a.xml.answer.json"]
    assert (tmp_path / "done" / "b.xml").read_bytes() == b"second"


async def test_a_file_stays_where_the_disk_did_not_take_it(tmp_path: Path) -> None:
    """What was not kept is not put away."""
    put(tmp_path, "a.xml", b"x")
    made = settings('folder = "."', tmp_path)
    with pytest.raises(StorageFailed):
        await collector(made, Door(failing=True)).round(made.collect[0])
    assert names(tmp_path) == ["a.xml"]


async def test_a_name_that_comes_again_keeps_both(tmp_path: Path) -> None:
    """Systems that always write `export.xml` are common."""
    made, door = settings('folder = "."', tmp_path), Door()
    for body in (b"one", b"two"):
        put(tmp_path, "export.xml", body)
        await collector(made, door).round(made.collect[0])
    assert {(tmp_path / "done" / name).read_bytes() for name in ("export.xml", "export-1.xml")} == {b"one", b"two"}


async def test_a_url_is_asked_and_its_body_is_named_by_its_bytes(tmp_path: Path) -> None:
    """The same bytes again have the same name, by which the door knows them; nothing there is nothing done."""
    where = 'url = "http://127.0.0.1:1/x"\npeer = "hub"\n[collect.headers]\npid = "0123"'
    made, door = settings(where, tmp_path), Door()
    network = Network([(204, b""), (404, b"no"), (200, b"<a/>"), (200, b"<a/>"), (200, b"<b/>")])
    one = collector(made, door, network)
    assert [await one.round(made.collect[0]) for _ in range(5)] == [0, 0, 1, 1, 1]
    keys = [each.key for each in door.arrivals]
    assert keys[0] == keys[1] != keys[2]
    assert network.asked[0] == {"pid": "0123"}


async def test_a_url_that_fails_is_a_peer_s_fault(tmp_path: Path) -> None:
    """It is asked again next time, and nothing enters."""
    made, door = settings('url = "http://127.0.0.1:1/x"\npeer = "hub"', tmp_path), Door()
    with pytest.raises(PeerFailed):
        await collector(made, door, Network([(500, b"oops")])).round(made.collect[0])
    assert door.arrivals == []


@pytest.mark.parametrize(
    "where", ["", 'folder = "."\nurl = "http://x"', 'url = "http://x"', 'folder = "."\nsender = "nobody"']
)
def test_settings_that_cannot_work_stop_the_start(where: str, tmp_path: Path) -> None:
    """A folder or a URL with its peer, under a sender that exists."""
    with pytest.raises(Misconfigured):
        text = TOML.format(where=where)
        if "nobody" in where:
            text = text.replace('sender = "hub"\n', "", 1)
        collector(parse(text, tmp_path), Door())


async def test_insurers_answers_are_asked_for_with_the_account_s_token(tmp_path: Path) -> None:
    """By the same token as deliveries; each answer once, until there is none."""
    ready = tmp_path / "ready"
    ready.mkdir()
    (ready / "1.xml").write_bytes(b"<a/>")
    (ready / "2.xml").write_bytes(b"<b/>")
    for name, value in (("secret", TESTER["secret"]), ("password", TESTER["password"])):
        (tmp_path / name).write_text(value)
    stand_in = Ditas(reimbursements=ready)
    async with Running(stand_in) as server:
        where = f"""
url = "{server.url}/api/client/apim/v1/sepas/gwSepasHospital/InsurerReimbursement"
peer = "hub"
headers = {{pid = "{"0" * 24}"}}
[collect.options]
token_url = "{server.url}/oauth/token"
client_id = "tester"
client_secret = "secret"
username = "tester"
user_password = "password"
"""
        made, door = settings(where, tmp_path), Door()
        network = Outbound({"hub": Peer(origin=server.url, plaintext=True)})
        one = collector(made, door, network)
        assert [await one.round(made.collect[0]) for _ in range(3)] == [1, 1, 0]
        stand_in.expire()
        with pytest.raises(PeerFailed):
            await one.round(made.collect[0])
        assert await one.round(made.collect[0]) == 0, "a refused token is not used again"
        await network.aclose()
    assert [each.body for each in door.arrivals] == [b"<a/>", b"<b/>"]
    assert stand_in.logins == ["password", "password"] or stand_in.logins == ["password", "refresh_token"]
