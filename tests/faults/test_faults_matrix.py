"""Many machines, and each kind of them dies at any moment: what receives, what works, the broker, the database.

The oracle judges afterwards: 0 lost, 0 falsely delivered, order kept, no repeat that is not on record.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from oracle import ROOT, Pushed, push_until_acknowledged, stay_messages, violations
from store_servers import Server, _programs
from test_faults_cluster import Nats, _server

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.errors import GatewayError

pytestmark = [pytest.mark.needs("postgresql")]

REFERENCE_SECONDS = 4  # until every process has read the reference data that was just entered
MOST_STAYS = 400


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Server]:
    """A server for this test alone: others would not like what happens to it."""
    programs = _programs()
    assert programs is not None
    with tempfile.TemporaryDirectory(prefix="gateway-postgresql-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the account that it runs under must be able to get in
        (Path(folder) / "pg").mkdir()
        server = Server(programs, Path(folder) / "pg")
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Nats]:
    """The same for the broker."""
    with _server(tmp_path) as made:
        yield made


def start_again(server: Server, seconds: float = 60) -> None:
    """After SIGKILL of the postmaster its sessions end when they notice; until then the data are locked."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            server.start()
            return
        except psycopg.OperationalError:
            server.stop()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Machines:
    """A site of one process that receives and two that work, on a database and, where wanted, a broker."""

    def __init__(self, site: Site, postgres: Server, broker: Nats | None, chance: random.Random) -> None:
        self.site, self.postgres, self.broker, self.chance = site, postgres, broker, chance
        self.workers: list[asyncio.subprocess.Process] = []
        self.died: Counter[str] = Counter()

    async def start(self) -> None:
        await self.site.start()
        await self.site.prepare(registry(ROOT))
        self.workers = [await self.site.start_worker() for _ in range(2)]
        await asyncio.sleep(REFERENCE_SECONDS)

    async def _away(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.0, 2.0))

    async def worker(self) -> None:
        """A machine that works is gone; another comes."""
        gone = self.workers.pop(self.chance.randrange(len(self.workers)))
        gone.kill()
        await gone.wait()
        await self._away()
        self.workers.append(await self.site.start_worker())

    async def receiver(self) -> None:
        """The machine that receives, gathers and works."""
        await self.site.kill()
        await self._away()
        await self.site.start()

    async def nats(self) -> None:
        """The broker loses everything."""
        assert self.broker is not None
        self.broker.kill()
        await self._away()
        self.broker.start(f"js-{sum(self.died.values())}")

    async def database(self) -> None:
        """The postmaster by SIGKILL, its sessions with it; what was synced is there afterwards."""
        self.postgres.stop(signal.SIGKILL)
        await self._away()
        await asyncio.to_thread(start_again, self.postgres)

    async def die(self, kinds: list[str], deaths: int) -> None:
        """So many deaths, each kind in turn in a random order, at random moments."""
        acts: dict[str, Callable[[], Awaitable[None]]] = {
            "worker": self.worker,
            "receiver": self.receiver,
            "nats": self.nats,
            "database": self.database,
        }
        order = [kinds[number % len(kinds)] for number in range(deaths)]
        self.chance.shuffle(order)
        for kind in order:
            await asyncio.sleep(self.chance.uniform(0.3, 2.5))
            await acts[kind]()
            self.died[kind] += 1

    async def stop(self) -> list[int | None]:
        """In order; the exit codes, none of which may be other than 0."""
        for each in self.workers:
            if each.returncode is None:
                each.terminate()
        ended = [await each.wait() for each in self.workers]
        return [*ended, await self.site.stop()]


async def push_while(site: Site, patients: int, pushed: Pushed, enough: asyncio.Event, pause: float) -> None:
    """Each patient's stays in order, one after the other and so far apart, until it is enough."""

    async def one(patient: int) -> None:
        for stay in range(MOST_STAYS):
            if enough.is_set():
                return
            for body in stay_messages(patient, stay):
                await push_until_acknowledged(site, body, pushed)
            pushed.acknowledged[patient].append(stay)
            await asyncio.sleep(pause)

    await asyncio.gather(*(one(patient) for patient in range(patients)))


async def matrix(
    folder: Path,
    postgres: Server,
    broker: Nats | None,
    kinds: list[str],
    deaths: int,
    seed: int,
    patients: int = 6,
    pause: float = 0.2,
    settle: float = 240,
) -> Pushed:
    """Push, let machines die, let everything settle, stop, and let the oracle judge."""
    pushed, enough = Pushed(), asyncio.Event()
    extra = f'[cluster]\nnats = "{broker.cluster.nats}"\n' if broker else ""
    plan = Plan(
        home=ROOT,
        workers=1,
        plain_mllp=True,
        answer_within=0,
        on_unknown="resend",
        database=postgres.url,
        extra=extra,
        environment={"PYTHONDONTWRITEBYTECODE": ""},
    )
    async with Site(folder, plan) as site:
        machines = Machines(site, postgres, broker, random.Random(seed))
        await machines.start()
        pushing = asyncio.create_task(push_while(site, patients, pushed, enough, pause))
        await machines.die(kinds, deaths)
        enough.set()
        await asyncio.wait_for(pushing, 120)
        try:
            assert await site.quiet(settle), await site.ask("status")
        except GatewayError:
            pytest.fail(f"it ended of its own accord: {await site.ended(5)}; see {site.log_path}")
        assert set(await machines.stop()) == {0}, "a process ended of its own accord"
        assert sum(machines.died.values()) == deaths
        assert not pushed.negative
        assert pushed.messages >= 2 * patients
        assert await violations(site, pushed) == []
    return pushed


@pytest.mark.long
async def test_a_database_that_is_killed_in_full_flight_costs_nothing(tmp_path: Path, postgres: Server) -> None:
    """`gateway serve` and two `gateway work` outlive it, refuse meanwhile, and go on by themselves when it is back."""
    await matrix(tmp_path, postgres, None, ["database"], deaths=3, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", [7, 11])
async def test_every_kind_of_machine_may_die_at_any_moment(
    tmp_path: Path, postgres: Server, broker: Nats, seed: int
) -> None:
    """Two deaths of each of four kinds."""
    await matrix(tmp_path, postgres, broker, ["worker", "receiver", "nats", "database"], deaths=8, seed=seed)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(100, 110))
async def test_machines_die_all_the_time(tmp_path: Path, postgres: Server, broker: Nats, seed: int) -> None:
    """Ten seeds of forty deaths, some four minutes each; so much is pushed as two cores can carry meanwhile."""
    kinds = ["worker", "receiver", "nats", "database"]
    await matrix(tmp_path, postgres, broker, kinds, 40, seed, patients=10, pause=1.0, settle=900)
