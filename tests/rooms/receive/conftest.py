"""Fixtures of room receive; what they are made of stands in receive_peers.py."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from receive_peers import OTHER_TOKEN, PROGRAMME, TOKEN, Certificates, Findings, House, ScriptedStore, digest

from gateway.settings import MllpSource, Sender
from gateway.sign.dev_ca import Authority, name, pem


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """One authority, a foreign one, and a client certificate for each thing that can be wrong with one."""
    folder, now = tmp_path_factory.mktemp("certificates"), datetime.now(UTC)
    ours, foreign = Authority.create("Test authority", now), Authority.create("Test authority", now)
    made = Certificates(folder, ours)
    client = {"usage": "tls", "ekus": (Eku.CLIENT_AUTH,)}
    issued = {
        "server": ours.server("localhost", now),
        "good": ours.client("Test Sender-One", now),
        "other": ours.client("Test Sender-Two", now),
        "rotated": ours.client("Test Sender-Rotating", now),
        "stranger": ours.client("Test Stranger", now),
        "revoked": ours.client("Test Sender-Revoked", now),
        "foreign": foreign.client("Test Sender-One", now),
        "expired": ours.issue(name("Expired"), "p256", now, end=now - timedelta(minutes=5), **client),
        "early": ours.issue(name("Early"), "p256", now, start=now + timedelta(days=1), **client),
        "purpose": ours.issue(name("Purpose"), "p256", now, usage="tls", ekus=(Eku.SERVER_AUTH,)),
    }
    for who, handle in issued.items():
        (folder / f"{who}.pem").write_bytes(pem(handle.certificate))
        handle.save(folder / f"{who}.key")
        der = ssl.PEM_cert_to_DER_cert(pem(handle.certificate).decode())
        made.fingerprints[who] = hashlib.sha256(der).hexdigest()
    (folder / "ca.pem").write_bytes(ours.pem)
    (folder / "empty.crl").write_bytes(ours.crl(now))
    ours.revoke(issued["revoked"].certificate, now)
    (folder / "revoked.crl").write_bytes(ours.crl(now))
    (folder / "stale.crl").write_bytes(ours.crl(now - timedelta(days=30), valid=timedelta(days=1)))
    return made


@pytest.fixture
def senders(certificates: Certificates) -> tuple[Sender, ...]:
    """Two tenants of one programme; the first is also known on MLLP."""
    return (
        Sender(
            id="one",
            programmes=(PROGRAMME,),
            certificates=(certificates.fingerprints["good"], certificates.fingerprints["expired"]),
            token_sha256=(digest(TOKEN),),
            mllp=(MllpSource(application="HIS", facility="WARD"),),
        ),
        Sender(
            id="two",
            programmes=(PROGRAMME, "second"),
            language="it",
            certificates=(certificates.fingerprints["other"],),
            subjects=(name("Test Sender-Rotating").rfc4514_string(),),
            token_sha256=(digest(OTHER_TOKEN),),
            mllp=(MllpSource(application="LAB"),),
        ),
    )


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def findings(store: ScriptedStore) -> Findings:
    return Findings(store)


@pytest.fixture
async def house(store: ScriptedStore, findings: Findings, senders: tuple[Sender, ...]) -> AsyncIterator[House]:
    made = House(store, findings, senders)
    yield made
    for each in made.running:
        await each.stop()
