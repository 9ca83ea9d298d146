"""The dispatcher with a broker keeps what the embedded one promises, whatever the broker does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from deliver_world import QUICK, Scripted, destination, exchange, routed, running, tools, until

from gateway import store
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.jetstream import JetStreamDispatcher, shard
from gateway.message import Outcome
from gateway.ports import BrokerAway


class Scattering:
    """A broker in memory that loses, repeats and reorders numbers, and goes away, as it is told."""

    def __init__(self, lose: float = 0.0, repeat: float = 0.0) -> None:
        self.chance = random.Random(7)
        self.lose, self.repeat = lose, repeat
        self.connected = True
        self.kept: list[str] = []
        self.told = 0

    async def wake(self, shard: int, exchange: str) -> None:
        if not self.connected:
            raise BrokerAway
        self.told += 1
        if self.chance.random() >= self.lose:
            self.kept += [exchange] * (2 if self.chance.random() < self.repeat else 1)

    async def next(self, limit: int, seconds: float) -> Sequence[str]:
        if not self.connected:
            raise BrokerAway
        await asyncio.sleep(0.01)
        self.chance.shuffle(self.kept)
        found, self.kept = self.kept[:limit], self.kept[limit:]
        return found

    async def aclose(self) -> None:
        return None


Make = Callable[[Scripted, Any], Any]


def embedded(wire: Scripted, ledger: Any) -> Dispatcher:
    return Dispatcher([destination(concurrency=4)], {"d": wire}, tools(ledger))


def clustered(broker: Scattering) -> Make:
    def make(wire: Scripted, ledger: Any) -> JetStreamDispatcher:
        return JetStreamDispatcher([destination(concurrency=4)], {"d": wire}, tools(ledger), broker, 0.05)

    return make


BOTH: dict[str, Callable[[], Make]] = {
    "embedded": lambda: embedded,
    "broker": lambda: clustered(Scattering()),
    "broker that loses half": lambda: clustered(Scattering(lose=0.5)),
    "broker that repeats": lambda: clustered(Scattering(repeat=0.7)),
}


@pytest.fixture(params=BOTH)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr("gateway.deliver.jetstream.AGAIN_SECONDS", 0.2)
    return BOTH[request.param]()


async def settled(ledger: store.Ledger, count: int) -> None:
    async with asyncio.timeout(20):
        while len(await ledger.exchanges("delivered", limit=1000)) < count:
            await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
async def truth(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    """A real ledger: the fenced claim is its promise."""
    from gateway.clock import SystemClock

    url = request.getfixturevalue("cluster").url if request.param == "postgresql" else ""
    async with store.open(url, tmp_path / "data", SystemClock()) as opened:
        yield opened


async def test_everything_arrives_once_and_in_order(make: Make, truth: store.Ledger) -> None:
    """Per subject in order, nothing lost, nothing twice, with tries that fail in between."""
    made = [exchange(f"e{n}", subject=f"s{n % 5}", case=f"c{n}") for n in range(40)]
    await truth.commit(routed(*made))
    wire = Scripted(answers={f"e{n}": [Outcome(state="due")] for n in range(0, 40, 7)})
    async with running(make(wire, truth)):
        await settled(truth, 40)
    arrived = [id for n, id in enumerate(wire.order) if id not in wire.order[n + 1 :]]
    for subject in range(5):
        assert [id for id in arrived if int(id[1:]) % 5 == subject] == [f"e{n}" for n in range(subject, 40, 5)]
    assert len(wire.sent) == 40 + 6


async def test_two_on_one_ledger_send_each_once(make: Make, truth: store.Ledger) -> None:
    """Both may be woken for the same key: the claim in the ledger lets one of them go on."""
    if make is embedded:
        pytest.skip("the embedded dispatcher is the only one of its ledger")
    await truth.commit(routed(*(exchange(f"e{n}", subject=f"s{n % 5}", case=f"c{n}") for n in range(30))))
    one, two = Scripted(), Scripted()
    async with running(make(one, truth)), running(make(two, truth)):
        await settled(truth, 30)
    assert sorted([*one.order, *two.order]) == sorted(f"e{n}" for n in range(30))


async def test_a_broker_that_goes_away_stops_nobody(truth: store.Ledger) -> None:
    """Then every lane looks for itself, and what it was told before is not missed."""
    broker = Scattering()
    wire = Scripted()
    dispatcher = clustered(broker)(wire, truth)
    async with running(dispatcher):
        await truth.commit(routed(exchange("e1")))
        await settled(truth, 1)
        broker.connected = False
        broker.kept.clear()
        step = routed(exchange("e2"), exchange("e3", subject="s-2"))
        await truth.commit(step)
        dispatcher.committed(step)
        await settled(truth, 3)
        broker.connected = True
        step = routed(exchange("e4"))
        await truth.commit(step)
        dispatcher.committed(step)
        await settled(truth, 4)
    assert sorted(wire.order) == ["e1", "e2", "e3", "e4"]


async def test_a_wake_is_enough_without_a_sweep(truth: store.Ledger) -> None:
    """The broker saves the wait for the sweep: also the next one of a key follows at once."""
    broker, wire = Scattering(), Scripted()
    lanes = tools(truth, on_commit=lambda step: dispatcher.committed(step))
    dispatcher = JetStreamDispatcher([destination(retry=QUICK)], {"d": wire}, lanes, broker, 60.0)
    async with running(dispatcher):
        await asyncio.sleep(0.2)
        step = routed(*(exchange(f"e{n}") for n in range(5)))
        await truth.commit(step)
        dispatcher.committed(step)
        await until(lambda: len(wire.sent) == 5, 5, "woken")
    assert wire.order == [f"e{n}" for n in range(5)]


def test_a_key_has_one_shard() -> None:
    """Whatever its exchanges are called; different keys spread."""
    assert shard(exchange("a")) == shard(exchange("b"))
    assert len({shard(exchange("a", subject=f"s{n}")) for n in range(200)}) == 16
