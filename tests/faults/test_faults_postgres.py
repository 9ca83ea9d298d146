"""Several processes on one PostgreSQL ledger: nothing is lost, order holds, one of them may die at any moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from oracle import ROOT, Pushed, push_stays, violations
from store_servers import Where

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site

pytestmark = [pytest.mark.needs("postgresql"), pytest.mark.slow]


def plan(cluster: Where) -> Plan:
    return Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, on_unknown="resend", database=cluster.url)


async def test_the_whole_gateway_works_on_postgresql(tmp_path: Path, cluster: Where) -> None:
    """The same site, the same promises, another database."""
    pushed = Pushed()
    async with Site(tmp_path, plan(cluster)) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        await push_stays(site, 5, 2, pushed)
        assert await site.quiet(60), await site.ask("status")
        assert await site.stop() == 0
        assert not pushed.negative
        assert await violations(site, pushed) == []


async def test_a_worker_process_that_is_killed_costs_nothing(tmp_path: Path, cluster: Where) -> None:
    """One receives and two work beside it; one of them dies by SIGKILL: the others take over what it held."""
    pushed = Pushed()
    async with Site(tmp_path, plan(cluster)) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        workers = [await site.start_worker() for _ in range(2)]
        await asyncio.sleep(4)  # until every process has read the reference data that was just entered
        pushing = asyncio.create_task(push_stays(site, 10, 6, pushed))
        await asyncio.sleep(2)
        workers[0].kill()
        await pushing
        assert await site.quiet(90), await site.ask("status")
        workers[1].terminate()
        assert await workers[1].wait() == 0
        assert await site.stop() == 0
        assert pushed.messages == 10 * 6 * 2
        assert await violations(site, pushed) == []
