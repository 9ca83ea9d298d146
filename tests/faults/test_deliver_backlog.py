"""A destination that is down while thousands wait for it: others are not delayed, memory does not follow the backlog,
and when it is back everything arrives in order (promises 4, 11, 12)."""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "deliver"))

from deliver_world import QUICK, Scripted, destination, document, exchange, running, tools, until
from msgspec.structs import replace

from gateway import store
from gateway.clock import SystemClock
from gateway.deliver.dispatcher import Dispatcher
from gateway.flow import NEW, Room, Thing
from gateway.message import Attempt, AuditRecord, Exchange, Move, Outcome, Step
from gateway.ports import NotSent

BACKLOG, SUBJECTS, PROMPT = 4000, 800, 60


class Switched(Scripted):
    """Nobody listens until it is switched on; a large message, so that held ones would be seen in memory."""

    up = False

    async def send(self, attempt: Attempt) -> Outcome:
        if not self.up:
            raise NotSent("GW-NET-001")
        return await super().send(attempt)


async def route(ledger: Any, made: list[Exchange], body: bytes) -> None:
    at = datetime.now(UTC)
    documents = [document(each.document, body, each.subject, each.case) for each in made]
    moves = tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm=NEW, to="due", room=Room.GATHER) for e in made)
    audit = AuditRecord(type="rest", action="C", outcome="0", agent="hospital", entities=("document/x",), at=at)
    await ledger.commit(Step(name="route", at=at, moves=moves, writes=(*documents, *made), audit=(audit,)))


async def prompt(ledger: Any, dispatcher: Dispatcher, wire: Scripted, name: str) -> float:
    """Median seconds from routing to arrival at the destination that works, one at a time."""
    took = []
    for number in range(PROMPT):
        began, before = time.perf_counter(), len(wire.sent)
        await route(ledger, [exchange(f"{name}{number}", "d", subject=f"q{number}")], b"{}")
        dispatcher.wake("d")
        await until(lambda before=before: len(wire.sent) > before, 5)  # type: ignore[misc]
        took.append(time.perf_counter() - began)
    return statistics.median(took)


@pytest.mark.slow
async def test_a_dead_destination_with_a_backlog_is_felt_by_nobody(tmp_path: Path) -> None:
    """The figures of the full load are measured in bench/; here it is shown that they do not follow the backlog."""
    dead, quick = Switched(), Scripted()
    retry = replace(QUICK, first=0.05, ceiling=1.0, budget=10_000, breaker_after=5, breaker_seconds=0.3)
    places = [destination("dead", retry=retry, concurrency=8), destination("d")]
    async with store.open("", tmp_path / "data", SystemClock()) as ledger:
        dispatcher = Dispatcher(places, {"dead": dead, "d": quick}, tools(ledger))
        async with running(dispatcher):
            alone = await prompt(ledger, dispatcher, quick, "alone")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for start in range(0, BACKLOG, 200):
                made = [exchange(f"b{n}", "dead", subject=f"s{n % SUBJECTS}") for n in range(start, start + 200)]
                await route(ledger, made, b"x" * 20_000)
            beside = await prompt(ledger, dispatcher, quick, "beside")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert len(dead.sent) == 0
            dead.up = True
            await until(lambda: len(dead.sent) == BACKLOG, 120)
            await asyncio.sleep(0.1)
    assert beside < 3 * alone + 0.02, f"{alone * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside a backlog"
    assert grown < 64 * 1024, f"{grown} KiB more for a backlog of {BACKLOG * 20} KB"
    for subject in range(0, SUBJECTS, 50):
        mine = [int(id[1:]) for id in dead.order if int(id[1:]) % SUBJECTS == subject]
        assert mine == sorted(mine)
        assert len(mine) == BACKLOG // SUBJECTS
