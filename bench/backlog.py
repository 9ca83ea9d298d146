"""A destination that is down while work arrives for two hours.

    python -m bench.backlog [--backlog 144000] [--seconds 60] [--drain 3600]

One ledger, one dispatcher, two destinations; work arrives for both at 20 a second. First both work; then one is down
and has the whole backlog; then it drains (at most `--drain` seconds are watched) while further work arrives. Of the one
that always works, the time from routing to arrival is measured; of the other, that it drains in order, how fast, and
what the process holds in memory. Destinations answer at once and in this process; the ledger and lanes are measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "rooms" / "deliver"))

from deliver_world import Scripted, destination, document, exchange, tools

from bench.deliver import floor
from gateway import store
from gateway.clock import SystemClock
from gateway.deliver.dispatcher import Dispatcher
from gateway.flow import NEW, Room, Thing
from gateway.message import Attempt, AuditRecord, Exchange, Move, Outcome, Step
from gateway.ports import NotSent
from gateway.settings import Retry

PER_SUBJECT = 10
BODY = b"x" * 2000


@dataclass
class Quick(Scripted):
    """Takes everything; notes when."""

    due: dict[str, float] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)

    async def send(self, attempt: Attempt) -> Outcome:
        self.took.append(time.perf_counter() - self.due.pop(attempt.exchange))
        return self.default


@dataclass
class Switched(Scripted):
    """Nobody listens until it is switched on; then it checks that each subject's numbers only rise."""

    up: bool = False
    tries: int = 0
    arrived: int = 0
    disorder: int = 0
    last: dict[int, int] = field(default_factory=dict)
    subjects: int = 1

    async def send(self, attempt: Attempt) -> Outcome:
        self.tries += 1
        if not self.up:
            raise NotSent("GW-NET-001")
        number = int(attempt.exchange[1:])
        self.disorder += self.last.get(number % self.subjects, -1) >= number
        self.last[number % self.subjects] = number
        self.arrived += 1
        return self.default


def resident() -> float:
    """MiB of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


async def route(ledger: store.Ledger, made: Sequence[Exchange]) -> None:
    """What gathering commits."""
    at = datetime.now(UTC)
    documents = [document(each.document, BODY, each.subject, each.case) for each in made]
    moves = tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm=NEW, to="due", room=Room.GATHER) for e in made)
    audit = AuditRecord(type="rest", action="C", outcome="0", agent="hospital", entities=("document/x",), at=at)
    await ledger.commit(Step(name="route", at=at, moves=moves, writes=(*documents, *made), audit=(audit,)))


class Scene:
    """The ledger and the two destinations."""

    def __init__(self, ledger: store.Ledger, backlog: int, rate: float) -> None:
        self.ledger, self.backlog, self.rate = ledger, backlog, rate
        self.quick, self.dead = Quick(), Switched(subjects=backlog // PER_SUBJECT)
        retry = Retry(budget=100_000, ceiling=60.0)
        places = [destination("dead", retry=retry, concurrency=16), destination("d", retry=retry)]
        self.dispatcher = Dispatcher(
            places, {"dead": self.dead, "d": self.quick}, tools(ledger, sweep_seconds=1.0, tend_seconds=5.0)
        )
        self.number, self.further, self.filled = 0, 0, False

    async def one(self) -> None:
        """A piece of work for the destination that works, and one for the other."""
        id, self.number = f"q{self.number}", self.number + 1
        self.quick.due[id] = time.perf_counter()
        further, self.further = self.further, self.further + 1
        made = [exchange(id, "d", subject=id)]
        made.append(exchange(f"b{further}", "dead", subject=f"s{further % self.dead.subjects}"))
        await route(self.ledger, made)
        for each in made:
            self.dispatcher.wake(each.destination)

    async def paced(self, seconds: float) -> list[float]:
        """Work at the rate; how long each took to the destination that works."""
        self.quick.took = []
        until, next_at = time.perf_counter() + seconds, time.perf_counter()
        async with asyncio.TaskGroup() as group:
            while (now := time.perf_counter()) < until and not self.drained():
                group.create_task(self.one())
                next_at += 1 / self.rate
                await asyncio.sleep(max(0.0, next_at - now))
        while self.quick.due:
            await asyncio.sleep(0.01)
        return sorted(self.quick.took)

    def drained(self) -> bool:
        """Whether the backlog was there and is gone, but for what has only just come."""
        return self.dead.up and self.filled and self.dead.arrived >= self.further - 20

    async def fill(self) -> float:
        """The backlog, as fast as it goes; seconds."""
        began = time.perf_counter()
        last = self.further + self.backlog
        for start in range(self.further, last, 500):
            numbers = range(start, min(start + 500, last))
            await route(self.ledger, [exchange(f"b{n}", "dead", subject=f"s{n % self.dead.subjects}") for n in numbers])
            self.dispatcher.wake("dead")
        self.further, self.filled = last, True
        return time.perf_counter() - began


@asynccontextmanager
async def scene(folder: Path, backlog: int, rate: float) -> AsyncIterator[Scene]:
    """Everything runs."""
    async with store.open("", folder / "data", SystemClock()) as ledger:
        made = Scene(ledger, backlog, rate)
        task = asyncio.create_task(made.dispatcher.run())
        try:
            yield made
        finally:
            await made.dispatcher.stop(5)
            await task


def said(title: str, took: Sequence[float], more: str = "") -> float:
    """A row; p99 in ms."""
    p50, p99 = (1000 * took[len(took) * share // 100] for share in (50, 99))
    print(f"{title:34}{len(took):8d}{p50:9.1f}{p99:9.1f}{resident():10.0f}  {more}", flush=True)
    return p99


async def main(backlog: int, seconds: float, rate: float, drain: float) -> None:
    """The table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        print(f"backlog {backlog}, arrival {rate:.0f}/s, floor {floor(folder, 500):.0f} synced inserts/s")
        print(f"{'':34}{'works: n':>8}{'p50 ms':>9}{'p99 ms':>9}{'MiB':>10}")
        async with scene(folder, backlog, rate) as now:
            now.dead.up = True
            await now.paced(5)
            before = said("both work", await now.paced(seconds))
            now.dead.up = False
            took = await now.fill()
            rest = f"{backlog / took:.0f}/s, {now.dead.tries - now.dead.arrived} tries"
            print(f"{'one is down, filled':34}{'':26}{resident():10.0f}  {rest}", flush=True)
            beside = said("beside the backlog", await now.paced(seconds), f"{now.dead.tries - now.dead.arrived} tries")
            print(f"p99 moved by {100 * (beside / before - 1):+.0f} %")
            now.dead.up = True
            began, arrived = time.perf_counter(), now.dead.arrived
            waits = await now.paced(drain)
            drained = (now.dead.arrived - arrived) / (time.perf_counter() - began)
            told = f"drained {drained:.0f}/s = {drained / rate:.1f} x arrival in {time.perf_counter() - began:.0f} s"
            said("while it drains", waits, f"{told}, {now.dead.disorder} out of order")
            print(f"arrived {now.dead.arrived} of {now.further}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backlog", type=int, default=144_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--drain", type=float, default=3600.0)
    given = parser.parse_args()
    asyncio.run(main(given.backlog, given.seconds, given.rate, given.drain))
