"""Fourteen certificate faults over live sockets, in both directions: a server that we call, a client that calls us.

The certificates are those of test_sign_faults.py, made for the present, because OpenSSL reads the machine's clock.
Nothing here is simulated: our own outbound client against a TLS server, and our own listener against a TLS client.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from test_sign_faults import DAY, FAULTS, World

from gateway.clock import SystemClock
from gateway.handshake import PeerTrust, guard, read_chain
from gateway.kept import SubmissionStatus
from gateway.network import Outbound, tls_context
from gateway.ports import NotSent
from gateway.receive.http import make_app
from gateway.receive.server import HttpServer
from gateway.settings import Http, Peer, Sender, Settings, Tls
from gateway.sign.dev_ca import Authority, name, pem
from gateway.sign.revocation import Held, Known
from gateway.sign.trust import Trust

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
LIVE: dict[str, Callable[[World], None]] = {fault: change for fault, (change, _) in FAULTS.items()}


class Live(World):
    """A world of the present, whose certificates can be shown on a socket."""

    @property
    def ekus(self) -> Any:
        return super().ekus if self.purpose == "tls-server" else CLIENT

    def files(self, folder: Path) -> tuple[Path, Path]:
        """Leaf, chain and key as PEM."""
        paths = folder / "peer.pem", folder / "peer.key"
        paths[0].write_bytes(b"".join(pem(c) for c in (self.leaf, *self.chain)))
        paths[1].unlink(missing_ok=True)  # a key is never written over
        self.handle.save(paths[1])
        return paths

    def show(self, context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL would not even show a weak key
        context.load_cert_chain(*(self.weak(folder) or self.files(folder)))
        return context

    def weak(self, folder: Path) -> tuple[Path, Path] | None:
        """Where the fault is the key, a key that fits it."""
        public = self.leaf.public_key()
        if not isinstance(public, rsa.RSAPublicKey):
            return None
        key = rsa.generate_private_key(65537, 1024)
        leaf = self.root.certify(key.public_key(), name("Test peer"), self.now, ekus=self.ekus, hosts=("localhost",))
        private = serialization.PrivateFormat.PKCS8
        paths = folder / "weak.pem", folder / "weak.key"
        paths[0].write_bytes(pem(leaf))
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
        self.leaf = leaf
        return paths


def world(purpose: Any) -> Live:
    now = datetime.now(UTC).replace(microsecond=0)
    return Live(now, purpose, Authority.create("Test root", now))


# --- outbound: a server that we call ----------------------------------------


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTPS server; its port, and what it was sent."""
    got: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                got.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], got
    finally:
        server.close()
        await asyncio.wait(tasks, timeout=2) if tasks else None
        for task in tasks:
            task.cancel()


def outbound(live: Live, port: int, folder: Path, told: list[str] | None = None) -> Outbound:
    ca = folder / "ca.pem"
    ca.write_bytes(live.root.pem)
    trust = PeerTrust(live.trust, SystemClock())
    peer = Peer(origin=f"https://localhost:{port}", ca=str(ca))
    return Outbound({"p": peer}, lambda p: guard(tls_context(p), trust, (told or []).append))


async def get(network: Outbound, port: int) -> str:
    """ "taken", or the code."""
    try:
        reply = await network.request("p", "GET", f"https://localhost:{port}/", {}, b"", 10)
    except NotSent as error:
        return str(error.args[0])
    return "taken" if reply.status == 200 else str(reply.status)


def _other_host(live: World) -> None:
    live.use(live.issue(live.root, hosts=("central.invalid",)))


@pytest.mark.parametrize("fault", LIVE)
async def test_a_server_with_a_faulty_certificate_is_sent_nothing(fault: str, tmp_path: Path) -> None:
    """Not one byte leaves, and the attempt keeps the code that says which fault it was."""
    live, change = world("tls-server"), LIVE[fault] if fault != "wrong name" else _other_host
    async with serving(live.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path)) as (port, got):
        network = outbound(live, port, tmp_path)
        assert await get(network, port) == "taken"
        await network.aclose()
    change(live)
    async with serving(live.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path)) as (port, got):
        network = outbound(live, port, tmp_path)
        assert await get(network, port) == FAULTS[fault][1]
        assert got == []
        await network.aclose()


async def test_an_intermediate_that_the_server_sends_is_used_and_checked(tmp_path: Path) -> None:
    """The chain comes from the handshake itself; without the intermediate's list nothing is sent."""
    live = world("tls-server")
    between = live.root.intermediate("Test intermediate", live.now)
    live.use(live.issue(between))
    async with serving(live.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path)) as (port, _):
        network = outbound(live, port, tmp_path)
        assert await get(network, port) == "GW-SIGN-015"
        live.crls.append(between.crl(live.now))
        network = outbound(live, port, tmp_path)
        assert await get(network, port) == "taken"
        await network.aclose()


async def test_a_connection_that_lives_is_asked_about_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked while requests flow: the next request is not sent on the connection that is open."""
    monkeypatch.setattr("gateway.handshake.AGAIN_SECONDS", 0.0)
    live = world("tls-server")
    lists = Lists(live.root.crl(live.now))
    trust = PeerTrust(Trust("tls-server", [live.root.certificate], lists), SystemClock())
    (tmp_path / "ca.pem").write_bytes(live.root.pem)
    async with serving(live.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path)) as (port, got):
        peer = Peer(origin=f"https://localhost:{port}", ca=str(tmp_path / "ca.pem"))
        network = Outbound({"p": peer}, lambda p: guard(tls_context(p), trust))
        assert [await get(network, port) for _ in range(3)] == ["taken"] * 3
        live.root.revoke(live.leaf, live.now - DAY)
        lists.now = Held([live.root.crl(live.now)])
        assert await get(network, port) == "GW-SIGN-012"
        assert len(got) == 3
        await network.aclose()


class Lists:
    """A revocation list that is exchanged while connections live."""

    def __init__(self, crl: bytes) -> None:
        self.now = Held([crl])

    def known(self) -> Known:
        return self.now.known()


async def test_a_rotated_anchor_and_certificate_hold_from_the_next_connection_on(tmp_path: Path) -> None:
    """Both authorities are anchors during the overlap, then only the new one; the process goes on."""
    live, now = world("tls-server"), datetime.now(UTC)
    fresh = Authority.create("Test root two", now)
    new = fresh.server("Test peer", now)
    both = Trust(
        "tls-server",
        [live.root.certificate, fresh.certificate],
        Held([live.root.crl(now), fresh.crl(now)]),
    )
    ca = tmp_path / "ca.pem"
    ca.write_bytes(live.root.pem)
    trust = PeerTrust(both, SystemClock())
    context = live.show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path)
    async with serving(context) as (port, got):
        peer = Peer(origin=f"https://localhost:{port}", ca=str(ca))
        network = Outbound({"p": peer}, lambda p: guard(tls_context(p), trust))
        assert await get(network, port) == "taken"
        ca.write_bytes(live.root.pem + fresh.pem)  # the overlap
        assert await get(network, port) == "taken"
        (tmp_path / "new.pem").write_bytes(pem(new.certificate))
        new.save(tmp_path / "new.key")
        context.load_cert_chain(tmp_path / "new.pem", tmp_path / "new.key")
        ca.write_bytes(fresh.pem + live.root.pem)
        assert await get(network, port) == "taken"
        assert len(got) == 3
        ca.write_bytes(live.root.pem)  # a step back: the new certificate has no anchor now
        assert await get(network, port) == "GW-SIGN-019"
        await network.aclose()


# --- inbound: a client that calls us ----------------------------------------


class Turned:
    """The door, as far as a caller who only asks needs it."""

    async def turn_away(self, host: str, error: Any) -> None:
        """Nothing is kept here."""


class Store:
    """A store that has one submission of the sender."""

    async def submission_status(self, id: str, first: int = 0, limit: int = 1000) -> SubmissionStatus:
        at = datetime.now(UTC)
        return SubmissionStatus(id=id, sender="one", programme="p", state="received", received_at=at, settled=False)


LET_IN = "let in"
INBOUND = {fault: code for fault, (_, code) in FAULTS.items()} | {
    "wrong name": "GW-RECEIVE-015",  # a client is named by its sender's entry, and nobody has that name
    "rotated": "GW-RECEIVE-015",  # what is pinned is the sender's fingerprint
}


class Listener:
    """Our HTTPS listener with client certificates, asking the rules of a world."""

    def __init__(self, live: Live, folder: Path, subjects: tuple[str, ...] = ()) -> None:
        self.told: list[str] = []
        self._folder, self._live = folder, live
        made = live.root.server("localhost", live.now)
        (folder / "ca.pem").write_bytes(live.root.pem)
        (folder / "server.pem").write_bytes(pem(made.certificate))
        (folder / "server.key").unlink(missing_ok=True)
        made.save(folder / "server.key")
        tls = Tls(
            certificate=str(folder / "server.pem"), key=str(folder / "server.key"), client_ca=str(folder / "ca.pem")
        )
        http = Http(port=0, tls=tls)
        leaf = live.leaf.fingerprint(hashes.SHA256()).hex()
        self.senders = [Sender(id="one", programmes=("p",), certificates=(leaf,), subjects=subjects)]
        self.lists = Lists(b"")
        self.lists.now = Held(live.crls, live.ocsps)
        self.trust = PeerTrust(Trust("tls-client", [live.root.certificate], self.lists), SystemClock())
        settings = Settings(http=http, sender=tuple(self.senders))
        app = make_app(
            settings,
            Store(),  # type: ignore[arg-type]
            Turned(),  # type: ignore[arg-type]
            SystemClock(),
            still=self.trust.still,
        )
        self.server = HttpServer(app, http, partial(guard, trust=self.trust, told=self.told.append))

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=self._folder / "ca.pem")
        self._live.show(context, self._folder)
        return await asyncio.open_connection("127.0.0.1", self.server.port, ssl=context, server_hostname="localhost")

    async def ask(self) -> str:
        """The code of the answer, or of the refused handshake."""
        try:
            reader, writer = await self.connect()
            return await one(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return self.told[-1]


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """One request on an open connection; the code of its answer."""
    writer.write(b"GET /submissions/none HTTP/1.1\r\nhost: localhost\r\naccept: application/fhir+json\r\n\r\n")
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE).group(1))  # type: ignore[union-attr]
    body = await reader.readexactly(length)
    if head.startswith(b"HTTP/1.1 200 "):
        return LET_IN
    return re.search(rb"GW-[A-Z]+-\d{3}", body).group().decode()  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", LIVE)
async def test_a_client_with_a_faulty_certificate_is_not_let_in(fault: str, tmp_path: Path) -> None:
    """The sender is configured with exactly that certificate, and still nobody gets in with it."""
    live = world("tls-client")
    async with Listener(live, tmp_path) as listener:
        assert await listener.ask() == LET_IN
    before = live.leaf
    if fault == "rotated":
        live.use(live.issue(live.root))  # a new one that the sender's entry does not have
        after, live.leaf = live.leaf, before
    elif fault == "wrong name":
        live.use(live.root.issue(name("Test other"), "p256", live.now, ekus=CLIENT))
        after, live.leaf = live.leaf, before
    else:
        LIVE[fault](live)
        live.weak(tmp_path)
        after = live.leaf
    async with Listener(live, tmp_path) as listener:
        live.leaf = after
        assert await listener.ask() == INBOUND[fault]


async def test_a_client_that_is_revoked_while_connected_is_refused_at_its_next_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections outlive what was known when they began."""
    monkeypatch.setattr("gateway.handshake.AGAIN_SECONDS", 0.0)
    live = world("tls-client")
    async with Listener(live, tmp_path) as listener:
        reader, writer = await listener.connect()
        assert await one(reader, writer) == LET_IN
        live.root.revoke(live.leaf, live.now - timedelta(minutes=1))
        listener.lists.now = Held([live.root.crl(live.now)])
        assert await one(reader, writer) == "GW-SIGN-012"
        writer.close()
        assert await listener.ask() == "GW-SIGN-012"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_clients_chain_is_read_from_its_handshake(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """What we rely on in ssl: the message callback sees the client's Certificate message in both versions."""
    live = world("tls-client")
    between = live.root.intermediate("Test intermediate", live.now)
    live.use(live.issue(between))
    live.crls.append(between.crl(live.now))
    async with Listener(live, tmp_path) as listener:
        context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        context.maximum_version = version
        live.show(context, tmp_path)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", listener.server.port, ssl=context, server_hostname="localhost"
        )
        assert await one(reader, writer) == LET_IN
        writer.close()


def test_a_certificate_message_that_cannot_be_read_shows_nobody() -> None:
    """Truncated at every place, it never raises and never shows more than there is."""
    ders = [b"a" * 300, b"b" * 20]
    for version, context, rest in ((ssl.TLSVersion.TLSv1_2, b"", b""), (ssl.TLSVersion.TLSv1_3, b"\0", b"\0\0")):
        entries = b"".join(len(d).to_bytes(3, "big") + d + rest for d in ders)
        body = context + len(entries).to_bytes(3, "big") + entries
        message = b"\x0b" + len(body).to_bytes(3, "big") + body
        assert read_chain(message, version) == tuple(ders)
        for cut in range(len(message)):
            assert set(read_chain(message[:cut], version)) <= set()
