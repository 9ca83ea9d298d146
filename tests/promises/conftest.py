"""A running site for promises that are about the whole: real processes, sockets, certificates, stand-ins."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "faults"))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site with a started gateway and the invented reference data."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made
