"""Rounds while the gateway runs: fetching revocation information, and announcing ends of certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography.x509 import ocsp
from test_sign_refresh import Answer, Scripted

from gateway.clock import FixedClock
from gateway.desk.metrics import Metrics
from gateway.errors import Misconfigured
from gateway.network import Outbound
from gateway.ports import NotSent
from gateway.settings import Key, Peer, RevocationSource, Settings
from gateway.sign.dev_ca import Authority, Manifest, name, pem
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Folder
from gateway.sign.trust import Trust
from gateway.sign.watch import Watch, ends, summary

DAY = timedelta(days=1)
LIST = RevocationSource(name="root", peer="lists", url="http://127.0.0.1:1/root.crl", seconds=600)


def settings(made: Manifest, folder: Path, **more: object) -> Settings:
    return Settings(
        trust={"signer": str(made.ca), "revocation": str(folder)},
        key={"evidence": Key(certificate=str(made.evidence.certificate), key=str(made.evidence.key))},
        **more,  # type: ignore[arg-type]
    )


async def test_each_warning_is_logged_once_as_its_day_passes(made: Manifest, now: datetime, tmp_path: Path) -> None:
    """60, 30, 14, 7 and 1 days: the certificate lives for 30, its authority for 300."""
    clock = FixedClock(now)
    watch = Watch(settings(made, tmp_path), Scripted(), clock)
    said = []
    for _ in range(32 * 24):
        with structlog.testing.capture_logs() as logs:
            await watch.look()
        said += [(each["certificate"], each["days"]) for each in logs if each["event"] == "certificate_ends"]
        clock.advance(timedelta(hours=1))
    assert said == [("key.evidence", days) for days in (30, 14, 7, 1)]
    assert watch.days["key.evidence"] < 0 < watch.days["trust.signer"]


async def test_days_left_are_on_the_metrics_page_and_in_the_summary(
    made: Manifest, now: datetime, tmp_path: Path
) -> None:
    """What a log said once is shown for as long as it holds."""
    clock = FixedClock(now)
    watch, metrics = Watch(settings(made, tmp_path), Scripted(), clock), Metrics(clock)
    metrics.certificates(watch.days)
    await watch.look()
    page = metrics.page({})
    assert b'gateway_certificate_days{certificate="key.evidence"} 30.0' in page
    assert summary(settings(made, tmp_path), now + timedelta(hours=1)) == {"ends-within-30": ("key.evidence",)}
    assert summary(settings(made, tmp_path), now + 29 * DAY)["ends-within-7"] == ("key.evidence",)
    assert summary(settings(made, tmp_path), now + 31 * DAY)["ended"] == ("key.evidence",)
    assert [each.name for each in ends(settings(made, tmp_path), now)] == ["key.evidence", "trust.signer"]


async def test_a_list_is_fetched_kept_and_asked_for_again_in_time(
    made: Manifest, now: datetime, tmp_path: Path
) -> None:
    """At once, then each `seconds`, and each minute once half of its life is over; it survives on disk."""
    root = Authority.create("Test root", now)
    clock, folder = FixedClock(now), tmp_path / "lists"
    folder.mkdir()
    (tmp_path / "root.pem").write_bytes(root.pem)
    source = RevocationSource(
        name="root", peer="lists", url="http://127.0.0.1:1/root.crl", seconds=600, anchors=str(tmp_path / "root.pem")
    )
    network = Scripted(*(Answer(200, root.crl(now + timedelta(seconds=n), valid=DAY)) for n in range(9)))
    watch = Watch(settings(made, folder, revocation=(source,)), network, clock)
    assert await watch.look() == {"root": "fresh"}
    assert await watch.look() == {}
    clock.advance(timedelta(seconds=600))
    assert await watch.look() == {"root": "fresh"}
    clock.advance(timedelta(hours=13))
    network.answers = [NotSent("GW-NET-001"), *network.answers]
    assert await watch.look() == {"root": "unreachable"}  # what is held stays, and grows stale by itself
    clock.advance(timedelta(seconds=61))
    assert await watch.look() == {"root": "fresh"}
    leaf = root.issue(name("Test Signer"), "p256", now)
    again = Trust("document", [root.certificate], Folder(folder))  # as after a restart
    assert again.problem(leaf.certificate, (), now) is None
    assert again.problem(leaf.certificate, (), now + 2 * DAY) == "GW-SIGN-014"


async def test_a_list_comes_over_a_real_socket_from_the_configured_address_only(
    made: Manifest, now: datetime, tmp_path: Path
) -> None:
    """An address that leaves the peer's origin is not asked, whatever stands in the settings of the source."""
    asked: list[bytes] = []
    body = (made.revocation / "root.crl").read_bytes()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    network = Outbound({"lists": Peer(origin=f"http://127.0.0.1:{port}", plaintext=True)})
    folder = tmp_path / "lists"
    folder.mkdir()
    sources = tuple(
        RevocationSource(name=n, peer="lists", url=f"http://127.0.0.1:{p}/root.crl")
        for n, p in (("ours", port), ("elsewhere", port + 1))
    )
    watch = Watch(settings(made, folder, revocation=sources), network, FixedClock(now))
    assert await watch.look() == {"ours": "fresh", "elsewhere": "unreachable"}
    assert len(asked) == 1
    server.close()
    await network.aclose()


class Responder(Scripted):
    """Answers each question about the authority's certificates."""

    def __init__(self, root: Authority, now: datetime) -> None:
        super().__init__()
        self.root, self.now, self.serials = root, now, list[int]()

    async def request(
        self, peer: str, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Answer:
        asked = ocsp.load_der_ocsp_request(body)
        self.serials.append(asked.serial_number)
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=asked.issuer_name_hash,
            issuer_key_hash=asked.issuer_key_hash,
            serial_number=asked.serial_number,
            algorithm=asked.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=self.now,
            next_update=self.now + DAY,
            revocation_time=None,
            revocation_reason=None,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, self.root.certificate)
        from cryptography.hazmat.primitives.serialization import Encoding

        return Answer(200, self.root.handle.respond(builder).public_bytes(Encoding.DER))


async def test_a_responder_is_asked_about_ours_and_about_live_peers(now: datetime, tmp_path: Path) -> None:
    """The status of a peer that was refused for unknown status is known at its next handshake."""
    root = Authority.create("Test root", now)
    (tmp_path / "root.pem").write_bytes(root.pem)
    ours, peer = root.issue(name("Test Signer"), "p256", now), root.client("Test peer", now)
    (tmp_path / "ours.pem").write_bytes(pem(ours.certificate))
    ours.save(tmp_path / "ours.key")
    made = Settings(
        trust={"tls-client": str(tmp_path / "root.pem"), "revocation": str(tmp_path / "lists")},
        key={"one": Key(certificate=str(tmp_path / "ours.pem"), key=str(tmp_path / "ours.key"))},
        revocation=(RevocationSource(name="responder", kind="ocsp", peer="p", url="http://127.0.0.1:1/"),),
    )
    (tmp_path / "lists").mkdir()
    network = Responder(root, now)
    watch = Watch(made, network, FixedClock(now), lambda: [(peer.certificate,)])
    trust = Trust("tls-client", [root.certificate], Folder(tmp_path / "lists"))
    assert trust.problem(peer.certificate, (), now) == "GW-SIGN-015"
    assert set((await watch.look()).values()) == {"fresh"}
    assert network.serials == [ours.certificate.serial_number, peer.certificate.serial_number]
    assert trust.problem(peer.certificate, (), now) is None


def test_sources_without_a_folder_are_an_error_at_the_start(made: Manifest, now: datetime) -> None:
    """Not at the first fetch, when nobody looks."""
    without = Settings(revocation=(LIST,))
    with pytest.raises(Misconfigured):
        Watch(without, Scripted(), FixedClock(now))


def test_a_source_s_name_is_a_plain_name() -> None:
    """It becomes a file name."""
    with pytest.raises(ValueError, match="letters"):
        RevocationSource(name="../x", peer="p", url="u")


def test_the_handle_s_own_certificate_counts_without_its_key(ec_handle: KeyHandle, tmp_path: Path) -> None:
    """Looking at ends opens no private key that stands in a file of its own."""
    (tmp_path / "c.pem").write_bytes(pem(ec_handle.certificate))
    made = Settings(key={"k": Key(certificate=str(tmp_path / "c.pem"), key=str(tmp_path / "absent.key"))})
    assert [each.name for each in ends(made, ec_handle.not_after)] == ["key.k"]
