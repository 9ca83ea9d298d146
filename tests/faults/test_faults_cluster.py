"""PostgreSQL and a real NATS server: the broker wakes, the ledger decides, and the broker may lose everything."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oracle import ROOT, Pushed, push_stays, violations
from store_servers import Where

from gateway.broker import JetStream
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site, free_port
from gateway.errors import Misconfigured
from gateway.ports import BrokerAway
from gateway.settings import Cluster

SERVER = Path(sys.executable).with_name("nats-server")
pytestmark = [pytest.mark.needs("postgresql"), pytest.mark.slow]


class Nats:
    """A private server on loopback that can be killed and started again, empty."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, store: str = "js") -> None:
        command = [SERVER, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", self.folder / store]
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("nats-server did not start")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    @property
    def cluster(self) -> Cluster:
        return Cluster(nats=f"nats://127.0.0.1:{self.port}")


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with _server(tmp_path) as made:
        yield made


@contextmanager
def _server(folder: Path) -> Iterator[Nats]:
    made = Nats(folder)
    made.start()
    try:
        yield made
    finally:
        made.kill()


async def test_each_number_is_given_to_one_process(nats: Nats) -> None:
    """Two processes listen; together they hear everything once."""
    one, two = JetStream(nats.cluster, None), JetStream(nats.cluster, None)
    await one.start()
    await two.start()
    try:
        assert await one.next(1, 0.2) == await two.next(1, 0.2) == ()
        for n in range(40):
            await one.wake(n % 16, f"e{n}")
        heard = [await each.next(25, 2) for each in (one, two)]
        assert sorted((*heard[0], *heard[1])) == sorted(f"e{n}" for n in range(40))
    finally:
        await one.aclose()
        await two.aclose()


async def test_a_broker_that_is_gone_or_comes_back_empty_says_so_and_is_used_again(nats: Nats) -> None:
    """Its users fall back to the ledger meanwhile, so the error must be the one that they know."""
    broker = JetStream(nats.cluster, None)
    await broker.start()
    try:
        assert await broker.next(1, 0.2) == ()
        nats.kill()
        for _ in range(100):
            await asyncio.sleep(0.05)
            if not broker.connected:
                break
        with pytest.raises(BrokerAway):
            await broker.wake(1, "lost")
        nats.start("js-empty")
        heard: list[str] = []
        for _ in range(100):
            try:
                heard += await broker.next(10, 0.2)
                await broker.wake(1, "found")
            except BrokerAway:
                await asyncio.sleep(0.1)
            if "found" in heard:
                break
        assert "found" in heard
    finally:
        await broker.aclose()


async def test_a_broker_that_is_not_there_at_start_stops_the_start(tmp_path: Path) -> None:
    """A misspelt address must not look like a broker that is only away."""
    with pytest.raises(Misconfigured):
        await JetStream(Cluster(nats=f"nats://127.0.0.1:{free_port()}"), None).start()


async def test_a_killed_and_emptied_broker_and_a_killed_worker_cost_nothing(
    tmp_path: Path, cluster: Where, nats: Nats
) -> None:
    """Three processes; a worker dies, then the broker dies and comes back empty: 0 lost, order kept."""
    pushed = Pushed()
    plan = Plan(
        home=ROOT,
        workers=1,
        plain_mllp=True,
        answer_within=0,
        on_unknown="resend",
        database=cluster.url,
        extra=f'[cluster]\nnats = "{nats.cluster.nats}"\n',
    )
    async with Site(tmp_path, plan) as site:
        await site.start()
        await site.prepare(registry(ROOT))
        workers = [await site.start_worker() for _ in range(2)]
        await asyncio.sleep(4)  # until every process has read the reference data that was just entered
        pushing = asyncio.create_task(push_stays(site, 10, 6, pushed))
        await asyncio.sleep(2)
        workers[0].kill()
        await asyncio.sleep(1)
        nats.kill()
        await asyncio.sleep(1.5)
        nats.start("js-empty")
        await pushing
        assert await site.quiet(90), await site.ask("status")
        workers[1].terminate()
        assert await workers[1].wait() == 0
        assert await site.stop() == 0
        assert pushed.messages == 10 * 6 * 2
        assert await violations(site, pushed) == []
