"""The file drop over SFTP, against a real SSH server on loopback that can fail and lie in every way that one can."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from deliver_world import AT, QUICK, Memory, destination, document, exchange, routed, running, tools, until
from msgspec.structs import replace

from gateway.deliver import judge, wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.errors import Misconfigured
from gateway.message import Attempt, Outcome
from gateway.network import Outbound
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer

HOLD = 6.0  # longer than a test waits, where it waits for that
BODY = b'{"resourceType":"Bundle","note":"' + b"x" * 200_000 + b'"}'


@dataclass
class Mood:
    """What the server does wrong, and what it was asked."""

    full_after: int = 1 << 30  # bytes of a file that the disk takes
    cut_after: int = 1 << 30  # bytes of a file after which the connection is gone
    swallow_after: int = 1 << 30  # bytes of a file after which it says yes and keeps nothing
    rename: str = ""  # refuse | cut | cut-after | hang
    posix: bool = True
    renames: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)


class Shelf(asyncssh.SFTPServer):
    """An SFTP server over a folder."""

    mood: Mood

    def __init__(self, chan: Any, root: Path, mood: Mood) -> None:
        super().__init__(chan, chroot=os.fsencode(root))
        self._chan, self.mood = chan, mood

    def _cut(self) -> None:
        self._chan.get_connection().abort()

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        self.mood.opened.append(path.decode())
        return super().open(path, pflags, attrs)

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        end = offset + len(data)
        if end > self.mood.cut_after:
            self._cut()
            await asyncio.sleep(HOLD)
        if end > self.mood.full_after:
            raise OSError(errno.ENOSPC, "No space left on device")
        if end > self.mood.swallow_after:
            return len(data)
        return super().write(file_obj, offset, data)  # type: ignore[no-any-return]

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._moved(oldpath, newpath, super().rename)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if not self.mood.posix:
            raise asyncssh.SFTPOpUnsupported("no")
        await self._moved(oldpath, newpath, super().posix_rename)

    async def _moved(self, old: bytes, new: bytes, how: Any) -> None:
        self.mood.renames.append((old.decode(), new.decode()))
        if self.mood.rename == "refuse":
            raise asyncssh.SFTPPermissionDenied("not here")
        if self.mood.rename != "cut":
            how(old, new)
        if self.mood.rename in ("cut", "cut-after"):
            self._cut()
        if self.mood.rename:
            await asyncio.sleep(HOLD)


class Door(asyncssh.SSHServer):
    """Lets in who has a key that is authorised; notes who tried, and with what."""

    def __init__(self, mood: Mood) -> None:
        self._mood = mood

    def begin_auth(self, username: str) -> bool:
        self._mood.logins.append(username)
        return True


@dataclass
class Place:
    """A server that runs."""

    root: Path
    mood: Mood
    port: int
    host_key: str
    key: Path

    def peer(self, **more: Any) -> Peer:
        values: dict[str, Any] = {
            "origin": f"sftp://127.0.0.1:{self.port}",
            "user": "gateway",
            "key": str(self.key),
            "host_keys": (self.host_key,),
        }
        return Peer(**(values | more))

    def destination(self, **more: Any) -> Any:
        options = {"reconcile_seconds": "0", **more.pop("options", {})}
        url = f"sftp://127.0.0.1:{self.port}/inbox"
        return destination(url=url, protocol="file-drop", options=options, **more)

    def wire(self, peer: Peer | None = None, timeout: float = 30.0, **more: Any) -> Any:
        network = Outbound({"peer": peer or self.peer()})
        return wires.make(self.destination(**more), network, timeout=timeout)

    def files(self) -> list[str]:
        return sorted(each.name for each in (self.root / "inbox").iterdir())


def public_line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()


@contextlib.asynccontextmanager
async def serving(folder: Path, port: int = 0, host_key: asyncssh.SSHKey | None = None) -> AsyncIterator[Place]:
    root, mood = folder / "root", Mood()
    (root / "inbox").mkdir(parents=True, exist_ok=True)
    host, account = host_key or asyncssh.generate_private_key("ssh-ed25519"), folder / "account_key"
    if not account.exists():
        made = asyncssh.generate_private_key("ssh-ed25519")
        made.write_private_key(account)
        made.write_public_key(folder / "account_key.pub")
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=lambda: Door(mood),
        server_host_keys=[host],
        authorized_client_keys=str(folder / "account_key.pub"),
        sftp_factory=lambda chan: Shelf(chan, root, mood),
    )
    try:
        yield Place(root, mood, server.get_port(), public_line(host), account)
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with serving(tmp_path) as made:
        yield made


def attempt_of(wire: Any, body: bytes = BODY, id: str = "e1") -> Attempt:
    request, transport = wire.render(document(f"doc-{id}", body), exchange(id), {}, 1, AT)
    return Attempt(
        id=f"{id}-1",
        exchange=id,
        number=1,
        started_at=AT,
        request=request,
        request_digest="",
        transport_id=transport,
    )


async def test_a_file_is_written_aside_and_appears_by_a_rename(place: Place) -> None:
    """Whoever lists the folder sees the whole file or none."""
    wire = place.wire()
    assert await wire.send(attempt_of(wire)) == Outcome(state="delivered")
    assert place.files() == ["e1.json"]
    assert (place.root / "inbox" / "e1.json").read_bytes() == BODY
    assert place.mood.renames == [("/inbox/.e1.json.partial", "/inbox/e1.json")]
    assert "/inbox/e1.json" not in place.mood.opened
    assert place.mood.logins == ["gateway"]


async def test_a_signature_is_there_before_what_it_signs(place: Place) -> None:
    """A reader that finds the document must find its signature."""
    wire = place.wire(options={"signature": "evidence"})
    assert (await wire.send(attempt_of(wire))).state == "delivered"
    assert [new for _, new in place.mood.renames] == ["/inbox/e1.json.jws", "/inbox/e1.json"]


async def test_the_same_file_twice_is_one_file(place: Place) -> None:
    """A repeated delivery overwrites its own file, with and without the POSIX rename of OpenSSH."""
    for place.mood.posix in (True, False):
        wire = place.wire()
        for _ in range(2):
            assert (await wire.send(attempt_of(wire))).state == "delivered"
        assert place.files() == ["e1.json"]


async def test_without_posix_rename_a_foreign_file_is_not_overwritten(place: Place) -> None:
    """What stands there under our name and is not ours is left alone, and said."""
    place.mood.posix = False
    (place.root / "inbox" / "e1.json").write_bytes(b"foreign")
    wire = place.wire()
    with pytest.raises(NotSent, match="GW-NET-013"):
        await wire.send(attempt_of(wire))
    assert (place.root / "inbox" / "e1.json").read_bytes() == b"foreign"
    assert place.files() == ["e1.json"]


@pytest.mark.parametrize("kind", ["full_after", "cut_after", "swallow_after"])
async def test_what_breaks_before_the_rename_has_not_arrived(place: Place, kind: str) -> None:
    """Disk full, a connection that is cut mid-file, a disk that keeps less than it says: safe to try again."""
    setattr(place.mood, kind, 100_000)
    wire = place.wire()
    with pytest.raises(NotSent, match="GW-NET-013"):
        await wire.send(attempt_of(wire))
    assert place.mood.renames == []
    assert not (place.root / "inbox" / "e1.json").exists()
    assert kind == "cut_after" or place.files() == [], "what was written aside is taken away"
    setattr(place.mood, kind, 1 << 30)
    assert (await wire.send(attempt_of(wire))).state == "delivered"
    assert place.files() == ["e1.json"]


async def test_a_refused_rename_has_not_arrived(place: Place) -> None:
    """The server's own word that it did not do it."""
    place.mood.rename = "refuse"
    wire = place.wire()
    with pytest.raises(NotSent, match="GW-NET-013"):
        await wire.send(attempt_of(wire))
    assert place.files() == []


@pytest.mark.parametrize(("rename", "there"), [("cut", False), ("cut-after", True)])
async def test_a_rename_without_an_answer_is_unknown_and_the_folder_is_asked(
    place: Place, rename: str, there: bool
) -> None:
    """Nobody knows whether it was done; the folder knows."""
    place.mood.rename = rename
    wire = place.wire()
    attempt = attempt_of(wire)
    with pytest.raises(MaybeSent, match="GW-NET-005"):
        await wire.send(attempt)
    answer = await wire.reconcile(exchange("e1"), attempt)
    assert (answer.state, answer.codes) == (("delivered", (judge.FOUND,)) if there else ("due", (judge.NOT_FOUND,)))


async def test_a_rename_that_hangs_is_unknown_when_the_time_is_up(place: Place) -> None:
    """The clock of the whole attempt is the destination's timeout."""
    place.mood.rename = "hang"
    wire = place.wire(timeout=4.0)
    with pytest.raises(MaybeSent, match="GW-NET-006"):
        await wire.send(attempt_of(wire))


async def test_another_file_under_the_name_stays_unknown(place: Place) -> None:
    """Neither delivered nor safe to send again: a person looks."""
    wire = place.wire()
    attempt = attempt_of(wire)
    (place.root / "inbox" / "e1.json").write_bytes(BODY + b" ")
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "unknown"


async def test_a_server_with_another_host_key_gets_nothing(place: Place) -> None:
    """Not even the name of the account: the pin comes before the login."""
    for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"):
        other = public_line(asyncssh.generate_private_key(kind))
        wire = place.wire(place.peer(host_keys=(other,)))
        with pytest.raises(NotSent, match=r"GW-NET-00[23]"):
            await wire.send(attempt_of(wire))
    assert place.mood.logins == []
    assert place.files() == []


async def test_a_host_key_may_be_rotated_by_naming_both(place: Place) -> None:
    """The old and the new key stand side by side in the settings until the server has changed."""
    other = public_line(asyncssh.generate_private_key("ssh-ed25519"))
    wire = place.wire(place.peer(host_keys=(other, place.host_key)))
    assert (await wire.send(attempt_of(wire))).state == "delivered"


async def test_an_account_that_is_not_let_in_says_so(place: Place, tmp_path: Path) -> None:
    """A stranger's key: nothing is sent, and no password or key of the machine's own account is offered instead."""
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(tmp_path / "stranger")
    wire = place.wire(place.peer(key=str(tmp_path / "stranger")))
    with pytest.raises(NotSent, match="GW-NET-012"):
        await wire.send(attempt_of(wire))
    assert place.files() == []


async def test_a_key_under_a_password_opens_with_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password comes from the environment or a file, as every secret."""
    closed = place.key.with_name("closed")
    asyncssh.read_private_key(place.key).write_private_key(closed, "pkcs8-pem", "test")
    monkeypatch.setenv("TEST_KEY_PASSWORD", "test")
    wire = place.wire(place.peer(key=str(closed), key_password="env:TEST_KEY_PASSWORD"))
    assert (await wire.send(attempt_of(wire))).state == "delivered"
    monkeypatch.setenv("TEST_KEY_PASSWORD", "wrong")
    with pytest.raises(Misconfigured):
        place.wire(place.peer(key=str(closed), key_password="env:TEST_KEY_PASSWORD"))


@pytest.mark.parametrize(
    "changed",
    [{"host_keys": ()}, {"user": ""}, {"key": None}, {"host_keys": ("ssh-ed25519 nonsense",)}, {"key": "/nowhere"}],
)
async def test_settings_that_cannot_work_stop_the_start(place: Place, changed: dict[str, Any]) -> None:
    """Above all a server that nobody has pinned."""
    with pytest.raises(Misconfigured) as caught:
        Outbound({"peer": place.peer(**changed)})
    assert caught.value.code == "GW-NET-010"


async def test_only_the_peer_s_own_server_is_reached(place: Place) -> None:
    """The origin of the settings, exactly; and a TLS peer is no file server."""
    network = Outbound({"peer": place.peer(), "web": Peer(origin="http://127.0.0.1:1", plaintext=True)})
    for peer, url, code in (
        ("peer", f"sftp://127.0.0.1:{place.port + 1}/inbox", "GW-NET-004"),
        ("peer", f"sftp://other.example:{place.port}/inbox", "GW-NET-004"),
        ("web", "http://127.0.0.1:1/inbox", "GW-NET-008"),
    ):
        with pytest.raises(NotSent, match=code):
            await network.put_files(peer, url, [("a", b"b")], ".partial", 5)
    with pytest.raises(NotSent, match="GW-NET-008"):
        await network.request("peer", "GET", f"sftp://127.0.0.1:{place.port}/inbox", {}, b"", 5)


async def test_the_reader_s_receipts_are_read_over_sftp(place: Place) -> None:
    """Until the receipt is there, the exchange awaits it; half a receipt is none."""
    (place.root / "out").mkdir()
    receipts = f"sftp://127.0.0.1:{place.port}/out"
    wire = place.wire(options={"receipts": receipts})
    attempt, told = attempt_of(wire), place.root / "out" / "e1.json.receipt"
    assert (await wire.send(attempt)).state == "awaiting"
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "awaiting"
    told.write_bytes(b'{"status": "ACC')
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "awaiting"
    told.write_bytes(b'{"status": "ACCEPTED"}')
    assert (await wire.reconcile(exchange("e1"), attempt)).state == "delivered"


async def test_a_folder_that_may_not_be_read_leaves_it_unknown(place: Place) -> None:
    """No answer is no answer: it is asked again, never taken for 'not there'."""
    wire = place.wire()
    (place.root / "inbox" / "e1.json").mkdir()
    with pytest.raises(NotSent, match="GW-NET-014"):
        await wire.reconcile(exchange("e1"), attempt_of(wire))


async def test_a_server_that_is_away_and_comes_back_gets_everything_in_order(tmp_path: Path, memory: Memory) -> None:
    """Through the lane: an outage is retried, order by subject holds, nothing is written twice."""
    host = asyncssh.generate_private_key("ssh-ed25519")
    async with serving(tmp_path, host_key=host) as first:
        port = first.port
    await memory.commit(routed(*(exchange(f"e{n}") for n in range(5))))
    place = first.destination(retry=replace(QUICK, first=0.02))
    network = Outbound({"peer": first.peer()})
    async with running(Dispatcher([place], {"d": wires.make(place, network)}, tools(memory))):
        await until(lambda: len(memory.tries["e0"]) >= 2, 60)
        async with serving(tmp_path, port, host) as again:
            await until(lambda: set(memory.states().values()) == {"delivered"}, 60)
            assert [new for _, new in again.mood.renames] == [f"/inbox/e{n}.json" for n in range(5)]
            assert again.files() == [f"e{n}.json" for n in range(5)]
