"""Fixtures of the delivery tests: a signer made for the session, and the ledger in memory or on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from deliver_world import Memory, TestSigner

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


@pytest.fixture(params=["memory", "sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """The scripted ledger and the real one: what is promised holds on both."""
    if request.param == "memory":
        yield Memory()
        return
    async with store.open("", tmp_path / "data", SystemClock()) as opened:
        yield opened
