"""The only way out: TLS with the peer's own anchors and pins, exact origin, limits, and what had left when it broke."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from parrot import Close, Drip, Parrot, Read, Send, Wait, http

from gateway.errors import Misconfigured, codes
from gateway.network import Outbound, Reply, fingerprints, origin_of
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer

OK = http(200, b"{}", "application/json")


class Authority:
    """A throw-away authority that issues for 127.0.0.1."""

    def __init__(self, folder: Path, name: str = "Throw-away test authority") -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._issue(self.name, self.key.public_key(), ca=True)
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _issue(self, subject: x509.Name, key: Any, ca: bool = False, days: int = 2, host: str = "127.0.0.1") -> Any:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=5)).not_valid_after(now + timedelta(days=days))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
        builder = builder.add_extension(usage, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(key)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(own, critical=False).add_extension(above, critical=False)
        if not ca:
            names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pair(self, name: str, **more: Any) -> tuple[Path, Path, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), **more)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = serialization.PrivateFormat.PKCS8
        paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))
        return *paths, certificate

    def server(self, name: str = "server", client_ca: Path | None = None, **more: Any) -> ssl.SSLContext:
        certificate, key, _ = self.pair(name, **more)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def ask(peer: Peer, url: str = "", body: bytes = b"x", timeout: float = 5.0) -> Reply:
    network = Outbound({"p": peer})
    try:
        return await network.request("p", "POST", url or f"{peer.origin}/a", {"X-Test": "1"}, body, timeout)
    finally:
        await network.aclose()


def plain(parrot: Parrot, **more: Any) -> Peer:
    return Peer(origin=parrot.url, plaintext=True, **more)


# --- trust ----------------------------------------


async def test_the_peers_own_authority_is_trusted_and_no_other(authority: Authority, tmp_path: Path) -> None:
    """A peer with a certificate of another authority of the same name is not the peer."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with Parrot([Read(), Send(OK), Close()], authority.server()) as parrot:
        assert (await ask(Peer(origin=parrot.url, ca=str(authority.ca)))).status == 200
        with pytest.raises(NotSent, match="GW-NET-002"):
            await ask(Peer(origin=parrot.url, ca=str(other.ca)))
        assert len(parrot.received) == 1


@pytest.mark.parametrize("more", [{"days": -1}, {"host": "127.0.0.2"}], ids=["expired", "other name"])
async def test_certificates_that_are_not_good_send_nothing(authority: Authority, more: dict[str, Any]) -> None:
    """Not one byte goes to somebody who cannot prove who he is."""
    async with Parrot([Read(), Send(OK), Close()], authority.server(**more)) as parrot:
        with pytest.raises(NotSent, match="GW-NET-002"):
            await ask(Peer(origin=parrot.url, ca=str(authority.ca)))
        assert parrot.received == []


async def test_tls_below_1_2_is_refused(authority: Authority) -> None:
    """Old protocol versions are broken."""
    context = authority.server()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Parrot([Read(), Send(OK), Close()], context) as parrot:
        with pytest.raises(NotSent, match="GW-NET-002"):
            await ask(Peer(origin=parrot.url, ca=str(authority.ca)))


@pytest.mark.parametrize("which", ["certificate", "key"])
async def test_a_pin_on_certificate_or_key_lets_the_peer_through(authority: Authority, which: str) -> None:
    """Pins may be written with colons or capitals, as tools print them."""
    certificate, key, made = authority.pair("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    der = made.public_bytes(serialization.Encoding.DER)
    digest = made.fingerprint(hashes.SHA256()).hex()
    pin = digest if which == "certificate" else next(iter(fingerprints(der) - {digest}))
    pretty = ":".join(pin.upper()[n : n + 2] for n in range(0, 64, 2))
    async with Parrot([Read(), Send(OK), Close()], context) as parrot:
        assert (await ask(Peer(origin=parrot.url, ca=str(authority.ca), pins=(pretty,)))).status == 200


async def test_a_changed_certificate_sends_nothing(authority: Authority) -> None:
    """The lie of the changed certificate: valid, of the right authority, and not the one that was agreed."""
    async with Parrot([Read(), Send(OK), Close()], authority.server()) as parrot:
        peer = Peer(origin=parrot.url, ca=str(authority.ca), pins=("0" * 64,))
        with pytest.raises(NotSent, match="GW-NET-003"):
            await ask(peer)
        with pytest.raises(NotSent, match="GW-NET-003"):
            network = Outbound({"p": Peer(origin=f"mllp://127.0.0.1:{parrot.port}", ca=peer.ca, pins=peer.pins)})
            await network.mllp("p", "127.0.0.1", parrot.port, b"\x0bx\x1c\r", 5)
        assert parrot.received == []


async def test_our_certificate_is_shown_and_a_refusal_of_it_means_not_sent(authority: Authority) -> None:
    """In TLS 1.2 the handshake itself fails, before any byte of ours."""
    certificate, key, _ = authority.pair("client")
    context = authority.server(client_ca=authority.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with Parrot([Read(), Send(OK), Close()], context) as parrot:
        mine = Peer(origin=parrot.url, ca=str(authority.ca), certificate=str(certificate), key=str(key))
        assert (await ask(mine)).status == 200
        with pytest.raises(NotSent, match="GW-NET-002"):
            await ask(Peer(origin=parrot.url, ca=str(authority.ca)))
        assert len(parrot.received) == 1


async def test_a_refusal_of_our_certificate_in_tls_1_3_is_told_from_a_lost_answer(authority: Authority) -> None:
    """TLS 1.3 tells us after our first bytes; the alert proves that the peer has read none of them."""
    context, listener = authority.server(client_ca=authority.ca), socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
            with contextlib.suppress(ssl.SSLError):
                wrapped.do_handshake()
            while socket.socket.recv(wrapped, 65536):  # so that no reset swallows the alert
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    with listener, pytest.raises(NotSent, match="GW-NET-002"):
        await ask(Peer(origin=f"https://127.0.0.1:{listener.getsockname()[1]}", ca=str(authority.ca)))
    await asyncio.to_thread(thread.join, 5)


# --- where to ----------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/a",
        "http://127.0.0.1:{port}0/a",
        "http://127.0.0.1/a",
        "http://localhost:{port}/a",
        "http://user:secret@127.0.0.1:{port}/a",
        "http://127.0.0.1:{port}@elsewhere.invalid/a",
        "//127.0.0.1:{port}/a",
        "http://127.0.0.1:99999/a",
        "file:///etc/hostname",
        "",
    ],
)
async def test_only_the_configured_origin_is_spoken_to(url: str) -> None:
    """A template with a hole in it must not send a patient's data to somebody else."""
    async with Parrot([Read(), Send(OK), Close()]) as parrot:
        network = Outbound({"p": plain(parrot)})
        with pytest.raises(NotSent, match="GW-NET-004"):
            await network.request("p", "POST", url.format(port=parrot.port), {}, b"x", 5)
        await network.aclose()
        assert parrot.connections == 0


def test_the_origin_of_a_url_is_compared_in_one_form() -> None:
    """Default ports and letter case do not make another origin."""
    assert origin_of("https://Example.INVALID/a") == origin_of("https://example.invalid:443") != ""


async def test_an_unknown_peer_is_not_spoken_to() -> None:
    """Nothing leaves for whom the settings do not name."""
    with pytest.raises(NotSent, match="GW-NET-008"):
        await Outbound({}).request("p", "POST", "http://127.0.0.1:1/", {}, b"", 1)


@pytest.mark.parametrize(
    "peer",
    [
        Peer(origin="http://192.0.2.1:80", plaintext=True),
        Peer(origin="http://127.0.0.1:80"),
        Peer(origin="mllp://192.0.2.1:2575", plaintext=True),
        Peer(origin="ftp://127.0.0.1:21"),
        Peer(origin="https://127.0.0.1:443/path"),
        Peer(origin="https://127.0.0.1", ca="/nonexistent.pem"),
        Peer(origin=""),
    ],
)
def test_peers_that_cannot_be_right_stop_the_start(peer: Peer) -> None:
    """Plaintext beyond loopback, or an origin that is none, is a mistake to be found before the first message."""
    with pytest.raises(Misconfigured, match="GW-NET-010"):
        Outbound({"p": peer})


async def test_cookies_are_not_kept() -> None:
    """A session that a peer starts would tie messages together that have nothing to do with each other."""
    said = http(200, b"", "text/plain", "Set-Cookie: session=abc; Path=/")
    async with Parrot([Read(), Send(said), Read(), Send(said), Wait(1)]) as parrot:
        network = Outbound({"p": plain(parrot)})
        for _ in range(2):
            await network.request("p", "POST", f"{parrot.url}/a", {}, b"x", 5)
        await network.aclose()
        assert b"cookie" not in parrot.received[1].lower()


# --- what had left ----------------------------------------


async def test_nobody_listening_means_not_sent() -> None:
    """Safe to try again."""
    async with Parrot([]) as parrot:
        port = parrot.port
    with pytest.raises(NotSent, match="GW-NET-001"):
        await ask(Peer(origin=f"http://127.0.0.1:{port}", plaintext=True))
    with pytest.raises(NotSent, match="GW-NET-001"):
        network = Outbound({"p": Peer(origin=f"mllp://127.0.0.1:{port}", plaintext=True)})
        await network.mllp("p", "127.0.0.1", port, b"\x0bx\x1c\r", 5)


async def test_a_name_that_does_not_resolve_means_not_sent() -> None:
    """A failure of DNS is a failure before the first byte."""
    with pytest.raises(NotSent, match="GW-NET-001"):
        await ask(Peer(origin="https://no-such-host.invalid", connect_seconds=3), timeout=5)


async def test_a_handshake_that_never_ends_means_not_sent(authority: Authority) -> None:
    """Half-open peers accept the connection and then say nothing."""
    async with Parrot([Wait(5)]) as parrot:
        peer = Peer(origin=f"https://127.0.0.1:{parrot.port}", ca=str(authority.ca), connect_seconds=0.3)
        with pytest.raises(NotSent):
            await ask(peer)


@pytest.mark.parametrize(
    ("commands", "code"),
    [
        ([Read(), Wait(5)], "GW-NET-006"),
        ([Read(), Close()], "GW-NET-005"),
        ([Read(), Send(OK[:-1]), Close()], "GW-NET-005"),
        ([Read(), Drip(OK, 0.05)], "GW-NET-006"),
        ([Read(), Send(http(200, b"x" * 2000, "text/plain"))], "GW-NET-007"),
        ([Read(), Send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000)], "GW-NET-005"),
    ],
    ids=["silence", "closed", "cut", "dripping", "too large", "endless headers"],
)
async def test_whatever_breaks_after_bytes_left_may_have_arrived(commands: Any, code: str) -> None:
    """Only the one word is safe: maybe."""
    async with Parrot(commands) as parrot:
        with pytest.raises(MaybeSent, match=code):
            await ask(plain(parrot, first_byte_seconds=0.5, total_seconds=0.8, max_response=1000))


async def test_the_callers_time_limit_counts_when_it_is_shorter() -> None:
    """The whole never takes longer than both limits, on the monotonic clock."""
    async with Parrot([Read(), Drip(OK, 0.2)]) as parrot:
        began = time.monotonic()
        with pytest.raises(MaybeSent, match="GW-NET-006"):
            await ask(plain(parrot), timeout=0.5)
        assert time.monotonic() - began < 1.0


async def test_a_peer_that_does_not_read_is_given_up(authority: Authority) -> None:
    """A full window must not hold a connection for ever."""
    async with Parrot([Wait(10)]) as parrot:
        with pytest.raises(MaybeSent, match="GW-NET-006"):
            await ask(plain(parrot, write_seconds=0.3), body=b"x" * 50_000_000)


async def test_a_cancelled_request_is_cancelled() -> None:
    """Stopping must not be mistaken for a failure of the peer."""
    async with Parrot([Read(), Wait(5)]) as parrot:
        task = asyncio.create_task(ask(plain(parrot)))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_mllp_gives_back_one_frame() -> None:
    """Split, joined and followed by others: the answer is the first frame."""
    frame = b"\x0bMSH|^~\\&|\rMSA|AA|1\r\x1c\r"
    async with Parrot([Read(mllp=True), Drip(frame, 0.001), Send(frame), Wait(1)]) as parrot:
        network = Outbound({"p": Peer(origin=f"mllp://127.0.0.1:{parrot.port}", plaintext=True)})
        assert await network.mllp("p", "127.0.0.1", parrot.port, b"\x0bx\x1c\r", 5) == frame


async def test_mllp_over_tls(authority: Authority) -> None:
    """MLLP leaves this machine only inside TLS."""
    frame = b"\x0bok\x1c\r"
    async with Parrot([Read(mllp=True), Send(frame), Wait(1)], authority.server()) as parrot:
        network = Outbound({"p": Peer(origin=f"mllp://127.0.0.1:{parrot.port}", ca=str(authority.ca))})
        assert await network.mllp("p", "127.0.0.1", parrot.port, b"\x0bx\x1c\r", 5) == frame


def test_every_code_of_the_network_is_in_the_table() -> None:
    """A code that nobody can look up helps nobody."""
    source = Path(Outbound.__module__.replace(".", "/") + ".py")
    text = (Path(__file__).parents[3] / source).read_text()
    used = set(re.findall(r"GW-NET-\d{3}", text))
    assert used
    assert used <= set(codes())


@pytest.mark.parametrize("surplus", [b"x", OK, b"\r\n"], ids=["a byte", "an answer", "an empty line"])
async def test_a_connection_that_says_more_than_its_answer_is_not_used_again(surplus: bytes) -> None:
    """What is left over would be read as the answer to the next request."""
    async with Parrot([[Read(), Send(OK + surplus), Read(), Wait(2)], [Read(), Send(OK), Wait(2)]]) as parrot:
        network = Outbound({"p": plain(parrot)})
        for _ in range(2):
            assert (await network.request("p", "POST", f"{parrot.url}/a", {}, b"x", 2)).body == b"{}"
        await network.aclose()
        assert parrot.connections == 2


async def test_a_connection_that_says_just_its_answer_is_used_again(authority: Authority) -> None:
    """A handshake for each message would cost more than the message."""
    for context in (None, authority.server()):
        async with Parrot([Read(), Send(OK), Read(), Drip(OK, 0.001), Wait(2)], context) as parrot:
            ca = str(authority.ca) if context else None
            network = Outbound({"p": Peer(origin=parrot.url, ca=ca, plaintext=context is None)})
            for _ in range(2):
                assert (await network.request("p", "POST", f"{parrot.url}/a", {}, b"x", 2)).body == b"{}"
            await network.aclose()
            assert parrot.connections == 1


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X": "نام"}, {"X Y": "a"}, {"": "a"}])
async def test_what_cannot_be_written_as_http_is_not_sent(headers: dict[str, str]) -> None:
    """A header that would forge another, or that no header can hold, ends before the first byte."""
    async with Parrot([Read(), Send(OK), Close()]) as parrot:
        network = Outbound({"p": plain(parrot)})
        with pytest.raises(NotSent, match="GW-NET-011"):
            await network.request("p", "POST", f"{parrot.url}/a", headers, b"x", 2)
        await network.aclose()
        assert parrot.received == []
