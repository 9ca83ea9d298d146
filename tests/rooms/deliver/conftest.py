"""Fixtures of the delivery tests: a signer made for the session, and the ledger in memory or on disk."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from deliver_world import Memory, TestSigner

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from store_servers import cluster, postgresql  # noqa: F401 - fixtures

from gateway import store
from gateway.clock import SystemClock


@pytest.fixture(scope="session")
def signer() -> TestSigner:
    return TestSigner()


@pytest.fixture
def ca(signer: TestSigner, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(signer.ca_pem)
    return path


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """The scripted ledger and the real ones: what is promised holds on each."""
    if request.param == "memory":
        yield Memory()
        return
    url = request.getfixturevalue("cluster").url if request.param == "postgresql" else ""
    async with store.open(url, tmp_path / "data", SystemClock()) as opened:
        yield opened
