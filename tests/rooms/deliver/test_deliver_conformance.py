"""What every engine promises alike: SQLite with lanes of its own, PostgreSQL with the sweep, PostgreSQL with a broker.

One suite for all: where an engine needs another test, it keeps another promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from deliver_world import QUICK, OpenGate, Scripted, destination, exchange, routed, running, tools
from msgspec.structs import replace
from test_deliver_jetstream import Scattering

from gateway import store
from gateway.clock import SystemClock
from gateway.deliver import decide
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.jetstream import JetStreamDispatcher
from gateway.errors import Misconfigured, StorageFailed
from gateway.message import Attempt, Document, Exchange, Outcome, Step
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Destination

DUE = Outcome(state="due", codes=("GW-DELIVER-007",))
LOST = MaybeSent("GW-NET-006")
SECONDS = 30.0  # generous: the machine may be busy


@dataclass
class Engine:
    """A ledger, and how exchanges are found in it."""

    url: str
    data: Path
    broker: Scattering | None
    ledger: Any = None

    def run(
        self, wires: Mapping[str, Any] | Any, *places: Destination, **more: Any
    ) -> AbstractAsyncContextManager[Any]:
        wires = wires if isinstance(wires, Mapping) else {"d": wires}
        given = tools(self.ledger, **({"sole_owner": not self.url} | more))
        chosen = places or (destination(concurrency=4),)
        if self.broker is None:
            return running(Dispatcher(chosen, wires, given))
        return running(JetStreamDispatcher(chosen, wires, given, self.broker, 0.05))

    async def route(self, *made: Exchange) -> None:
        await self.ledger.commit(routed(*made))

    async def states(self, *ids: str) -> list[str]:
        return [(await self.ledger.exchange(id)).state for id in ids]

    async def settle(self, *ids: str, into: str = "delivered") -> None:
        async with asyncio.timeout(SECONDS):
            while set(await self.states(*ids)) != {into}:
                await asyncio.sleep(0.02)


NEEDS = pytest.mark.needs("postgresql")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=NEEDS), pytest.param("broker", marks=NEEDS)])
async def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Engine]:
    monkeypatch.setattr("gateway.deliver.jetstream.AGAIN_SECONDS", 0.2)
    url = "" if request.param == "sqlite" else request.getfixturevalue("cluster").url
    made = Engine(url, tmp_path / "data", Scattering(lose=0.3, repeat=0.3) if request.param == "broker" else None)
    async with store.open(url, made.data, SystemClock()) as made.ledger:
        yield made


def numbered(count: int, subjects: int) -> list[Exchange]:
    return [exchange(f"e{n}", subject=f"s{n % subjects}", case=f"c{n}") for n in range(count)]


async def test_a_key_is_served_in_order_while_its_head_fails(engine: Engine) -> None:
    await engine.route(*(exchange(f"e{n}") for n in range(5)))
    wire = Scripted(answers={"e0": [DUE, NotSent("GW-NET-001"), DUE], "e3": [DUE]})
    async with engine.run(wire):
        await engine.settle(*(f"e{n}" for n in range(5)))
    assert wire.order == ["e0"] * 4 + ["e1", "e2", "e3", "e3", "e4"]


async def test_keys_are_served_side_by_side_and_never_more_than_allowed(engine: Engine) -> None:
    busy, most = 0, 0

    class Busy(Scripted):
        async def send(self, attempt: Attempt) -> Outcome:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.1)
            busy -= 1
            return await super().send(attempt)

    await engine.route(*numbered(16, 16))
    wire = Busy()
    async with engine.run(wire, destination(concurrency=3)):
        await engine.settle(*(f"e{n}" for n in range(16)))
    assert most == 3
    assert len(wire.sent) == 16


async def test_what_is_parked_holds_its_own_key_and_no_other(engine: Engine) -> None:
    await engine.route(exchange("bad", subject="s-bad"), exchange("behind", subject="s-bad"), *numbered(6, 6))
    wire = Scripted(answers={"bad": [Outcome(state="parked", codes=("GW-DELIVER-008",))]})
    async with engine.run(wire):
        await engine.settle(*(f"e{n}" for n in range(6)))
        await engine.settle("bad", into="parked")
        assert await engine.states("behind") == ["due"]
    assert "behind" not in wire.order


async def test_a_rejection_ends_and_lets_the_next_go(engine: Engine) -> None:
    await engine.route(exchange("e1"), exchange("e2"))
    wire = Scripted(answers={"e1": [Outcome(state="rejected", codes=("GW-DELIVER-001",))]})
    async with engine.run(wire):
        await engine.settle("e2")
    assert await engine.states("e1") == ["rejected"]
    assert wire.order == ["e1", "e2"]


async def test_what_cannot_be_rendered_is_parked_with_its_reason(engine: Engine) -> None:
    class Picky(Scripted):
        def render(self, document: Document, exchange: Exchange, *more: Any) -> tuple[bytes, str | None]:
            if exchange.id == "bad":
                raise Misconfigured(detail="this one")
            return super().render(document, exchange, *more)

    await engine.route(exchange("bad", subject="s-bad"), exchange("good", subject="s-good"))
    async with engine.run(Picky()):
        await engine.settle("good")
        await engine.settle("bad", into="parked")
    assert (await engine.ledger.exchange("bad")).reason == "GW-DELIVER-012"


async def test_a_lost_answer_is_asked_for_and_nothing_is_repeated(engine: Engine) -> None:
    wire = Scripted(answers={"e1": [LOST]}, reconciled={"e1": [Outcome(state="delivered")]})
    await engine.route(exchange("e1"), exchange("e2"))
    async with engine.run(wire):
        await engine.settle("e1", "e2")
    assert wire.order == ["e1", "e2"]


async def test_what_did_not_arrive_is_sent_again_before_what_follows(engine: Engine) -> None:
    wire = Scripted(answers={"e1": [LOST]}, reconciled={"e1": [Outcome(state="due")]})
    await engine.route(exchange("e1"), exchange("e2"))
    async with engine.run(wire):
        await engine.settle("e1", "e2")
    assert wire.order == ["e1", "e1", "e2"]


async def test_where_nobody_can_be_asked_a_person_is(engine: Engine) -> None:
    wire = Scripted(answers={"e1": [LOST]})
    await engine.route(exchange("e1"), exchange("e2"))
    async with engine.run(wire):
        async with asyncio.timeout(SECONDS):
            while (await engine.ledger.exchange("e1")).reason != decide.FOR_A_PERSON:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        assert await engine.states("e1", "e2") == ["unknown", "due"]
    assert wire.order == ["e1"]


async def test_sending_again_without_knowing_is_chosen_and_recorded(engine: Engine) -> None:
    wire = Scripted(answers={"e1": [LOST]})
    await engine.route(exchange("e1"))
    async with engine.run(wire, destination(after_reconcile="resend")):
        await engine.settle("e1")
    tries = await engine.ledger.attempts("e1")
    assert wire.order == ["e1", "e1"]
    assert decide.SENT_AGAIN in tries[0].codes


async def test_tries_end_with_the_budget(engine: Engine) -> None:
    wire = Scripted(default=DUE)
    await engine.route(exchange("e1"))
    async with engine.run(wire, destination(retry=replace(QUICK, budget=3))):
        await engine.settle("e1", into="parked")
    assert wire.order == ["e1"] * 3
    assert [each.number for each in await engine.ledger.attempts("e1")] == [1, 2, 3]


async def test_a_closed_gate_holds_and_lets_go(engine: Engine) -> None:
    gate, wire = OpenGate("GW-SIGN-030"), Scripted()
    await engine.route(*numbered(5, 5))
    async with engine.run(wire, gate=gate):
        await engine.settle(*(f"e{n}" for n in range(5)), into="held")
        assert wire.sent == []
        gate.code = None
        await engine.settle(*(f"e{n}" for n in range(5)))
    assert len(wire.sent) == 5


async def test_what_was_accepted_is_asked_for_until_its_outcome_comes(engine: Engine) -> None:
    later: list[Any] = [None, Outcome(state="awaiting"), Outcome(state="delivered")]
    wire = Scripted(answers={"e1": [Outcome(state="awaiting")]}, reconciled={"e1": later})
    await engine.route(exchange("e1"), exchange("e2"))
    async with engine.run(wire):
        await engine.settle("e1", "e2")
    assert wire.order == ["e1", "e2"]


async def test_receipts_reach_the_next_of_the_subject(engine: Engine) -> None:
    given = Outcome(state="delivered", receipts={"PatientUID": "p-1", "CompositionUID": "c-1"})
    wire = Scripted(answers={"e1": [given]})
    await engine.route(exchange("e1", case="c-1"), exchange("e2", case="c-2"))
    async with engine.run(wire):
        await engine.settle("e1", "e2")
    assert wire.receipts_seen == [{}, {"PatientUID": "p-1"}]


async def test_bytes_are_on_disk_before_they_leave(engine: Engine) -> None:
    on_disk: list[bytes] = []

    class Looking(Scripted):
        async def send(self, attempt: Attempt) -> Outcome:
            on_disk.extend(each.request for each in await engine.ledger.attempts(attempt.exchange))
            on_disk.append((await engine.ledger.exchange(attempt.exchange)).state.encode())
            return await super().send(attempt)

    await engine.route(exchange("e1"))
    async with engine.run(Looking()):
        await engine.settle("e1")
    assert on_disk == [b"e1#1", b"in_flight"]


@pytest.mark.parametrize("step", ["deliver.claim", "deliver.leave", "deliver.settle"])
async def test_a_commit_that_fails_for_a_while_loses_and_repeats_nothing(
    engine: Engine, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, left = engine.ledger.commit, [3]

    async def failing(asked: Step) -> Any:
        if asked.name == step and left[0]:
            left[0] -= 1
            raise StorageFailed
        return await commit(asked)

    monkeypatch.setattr(engine.ledger, "commit", failing)
    await engine.route(*numbered(4, 2))
    wire = Scripted()
    async with engine.run(wire):
        await engine.settle(*(f"e{n}" for n in range(4)))
    assert left == [0]
    assert sorted(wire.order) == ["e0", "e1", "e2", "e3"]


async def test_a_slow_destination_delays_no_other(engine: Engine) -> None:
    slow, prompt = Scripted(seconds=SECONDS), Scripted()
    await engine.route(exchange("s1", "slow"), *numbered(10, 10))
    async with engine.run({"slow": slow, "d": prompt}, destination("slow"), destination("d")):
        await engine.settle(*(f"e{n}" for n in range(10)))
        assert (await engine.states("s1"))[0] != "delivered"


async def test_what_was_on_its_way_when_a_process_ended_is_asked_for_by_the_next(engine: Engine) -> None:
    """Claimed is safe to try again, in flight is not. SQLite has one owner: there the ledger goes on as it is."""
    await engine.route(*numbered(6, 3))
    slow = Scripted(seconds=SECONDS)
    async with (
        store.open(engine.url, engine.data, SystemClock()) if engine.url else nullcontext(engine.ledger) as dying
    ):
        lanes = Dispatcher([destination(concurrency=2)], {"d": slow}, tools(dying, sole_owner=not engine.url))
        task = asyncio.create_task(lanes.run())
        async with asyncio.timeout(SECONDS):
            while len(slow.sent) < 2:
                await asyncio.sleep(0.02)
        await lanes.stop(0.0)
        await task
    there = {id: [Outcome(state="delivered")] for id in slow.order}
    wire = Scripted(reconciled=dict(there))
    await engine.ledger.recover()
    async with engine.run(wire):
        await engine.settle(*(f"e{n}" for n in range(6)))
    assert sorted([*slow.order, *wire.order]) == sorted(f"e{n}" for n in range(6)), "none twice, none missing"
