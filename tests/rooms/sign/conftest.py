from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.sign import dev_ca
from gateway.sign.dev_ca import Authority, Manifest, name
from gateway.sign.keys import KeyHandle
from gateway.sign.revocation import Held
from gateway.sign.trust import Trust

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create("Test root", NOW)


@pytest.fixture(scope="session")
def rsa_handle(authority: Authority) -> KeyHandle:
    return authority.issue(name("Test Signer-One", unit="FACILITY-1", title="SYSTEM-1"), "rsa2048", NOW)


@pytest.fixture(scope="session")
def ec_handle(authority: Authority) -> KeyHandle:
    return authority.issue(name("Test Signer-Two"), "p256", NOW)


@pytest.fixture(scope="session")
def document_trust(authority: Authority) -> Trust:
    return Trust("document", [authority.certificate], Held([authority.crl(NOW)]))


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    return dev_ca.make(tmp_path / "ca", ["one", "two"], ["central"], now=NOW)
