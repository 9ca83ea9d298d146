"""`kill -9` at random moments: nothing acknowledged is lost, order holds, repeats are only what was in flight."""

from __future__ import annotations

from pathlib import Path

import pytest
from oracle import ROOT, Pushed, kill_at_random, push_stays, violations

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.errors import GatewayError


async def scenario(folder: Path, kills: int, patients: int, stays: int, seed: int, plan: Plan) -> list[str]:
    """Push while killing, restart, let everything settle, stop, and compare the partners' logs with the ledger."""
    import asyncio

    pushed = Pushed()
    async with Site(folder, plan) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        pushing = asyncio.create_task(push_stays(site, patients, stays, pushed))
        done = await kill_at_random(site, pushed, kills, seed)
        await pushing
        assert done == kills
        try:
            assert await site.quiet(120), await site.ask("status")
        except GatewayError:
            pytest.fail(f"it ended of its own accord: {await site.ended(5)}; see {site.log_path}")
        assert await site.stop() == 0
        assert pushed.messages == patients * stays * 2
        assert not pushed.negative
        return await violations(site, pushed)


@pytest.mark.long
async def test_twenty_kills_during_five_hundred_messages_lose_nothing(tmp_path: Path) -> None:
    """After restart none is missing, per-patient order holds, at most one repeat for each exchange in flight."""
    cached = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONFAULTHANDLER": "1",
    }  # twenty starts should not compile the same files twenty times
    plan = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, on_unknown="resend", environment=cached)
    assert await scenario(tmp_path, kills=20, patients=25, stays=10, seed=20, plan=plan) == []
