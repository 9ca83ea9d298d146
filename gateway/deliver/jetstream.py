"""The dispatcher for several machines: a broker says who looks, the ledger decides who may.

Each process tells the broker which exchanges became due or ended, by hash shard of their key; the broker gives each
number to one process. That one asks the ledger for the runnable head of the key and offers it to its lane, whose claim
is fenced by the ledger. One process at a time sweeps: it publishes what is runnable and was not published lately, so
whatever the broker loses costs a sweep. While the broker is away every lane looks for itself.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import structlog

from gateway.clock import came
from gateway.deliver.dispatcher import GRACE, Dispatcher
from gateway.deliver.lane import LaneStatus, Tools
from gateway.errors import GatewayError
from gateway.flow import FINAL, Thing
from gateway.message import Exchange, Step
from gateway.ports import Broker, BrokerAway, Wire
from gateway.settings import Destination

SHARDS: Final = 16
OFFERED: Final = 1000
"""Offers that one lane keeps; what is beyond is dropped and swept up again."""

AGAIN_SECONDS: Final = 5.0
"""A sweep publishes the same head again only after this."""

LOOK_SECONDS: Final = 1.0
AWAY_SECONDS: Final = 0.5
_log = structlog.get_logger("deliver")


def shard(exchange: Exchange) -> int:
    """The hash shard of an exchange's key."""
    key = "\0".join((exchange.destination, exchange.sender, exchange.subject))
    return zlib.crc32(key.encode()) % SHARDS


class JetStreamDispatcher:
    """Delivery to every configured destination, together with other processes. Same promises as `Dispatcher`."""

    def __init__(
        self,
        destinations: Iterable[Destination],
        wires: Mapping[str, Wire],
        tools: Tools,
        broker: Broker,
        sweep_seconds: float = 0.5,
    ) -> None:
        self._broker, self._tools, self._sweep_seconds = broker, tools, sweep_seconds
        places = list(destinations)
        self._offers: dict[str, OrderedDict[str, Exchange]] = {each.id: OrderedDict() for each in places}
        self._published: OrderedDict[str, float] = OrderedDict()
        self._to_wake: OrderedDict[str, int] = OrderedDict()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        # Copies of the tools with our heads; the rest of a lane does not know that there is a broker.
        given = {name: getattr(tools, name) for name in Tools.__dataclass_fields__}
        self._lanes = Dispatcher(places, wires, Tools(**(given | {"heads": self._heads, "sole_owner": False})))

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.run(), name="lanes")
            for once in (self._listen, self._tell, self._sweep):
                group.create_task(self._until_stopped(once), name=once.__name__)

    async def stop(self, grace: float = GRACE) -> None:
        """As `Dispatcher.stop`."""
        self._stopping.set()
        self._news.set()
        await self._lanes.stop(grace)

    def wake(self, destination: str | None = None) -> None:
        """As `Dispatcher.wake`."""
        self._lanes.wake(destination)

    def status(self) -> Mapping[str, LaneStatus]:
        """As `Dispatcher.status`."""
        return self._lanes.status()

    def committed(self, step: Step) -> None:
        """Tell the broker which exchanges became due, and which ended and let the next of their key come."""
        ends = {move.id: move.to for move in step.moves if move.thing is Thing.EXCHANGE}
        for each in step.writes:
            if isinstance(each, Exchange) and self._wakes(ends.get(each.id), each):
                self._to_wake[each.id] = shard(each)
        while len(self._to_wake) > OFFERED:
            self._to_wake.popitem(last=False)
        self._news.set()

    def _wakes(self, state: str | None, exchange: Exchange) -> bool:
        return state in FINAL[Thing.EXCHANGE] or (state == "due" and exchange.next_at is None)

    # --- the lanes' view ----------------------------------------

    async def _heads(self, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
        """What was offered to this process; while the broker is away, what the ledger has."""
        if not self._broker.connected:
            return await self._tools.store.runnable(destination, now, limit)
        offers = self._offers[destination]
        return [offers.popitem(last=False)[1] for _ in range(min(limit, len(offers)))]

    # --- the loops ----------------------------------------

    async def _until_stopped(self, once: object) -> None:
        assert callable(once)
        while not self._stopping.is_set():
            try:
                await once()
            except BrokerAway:
                self._lanes.wake()
                await asyncio.sleep(AWAY_SECONDS)
            except GatewayError as fault:
                _log.error("dispatch_failed", code=fault.code)
                await asyncio.sleep(AWAY_SECONDS)

    async def _listen(self) -> None:
        numbers = await self._broker.next(50, LOOK_SECONDS)
        if not numbers:
            return
        for head in await self._tools.store.woken(list(numbers), self._tools.clock.now()):
            offers = self._offers.get(head.destination)
            if offers is not None and len(offers) < OFFERED:
                offers[head.id] = head
                self._lanes.wake(head.destination)

    async def _tell(self) -> None:
        await self._news.wait()
        self._news.clear()
        while self._to_wake:
            id, number = self._to_wake.popitem(last=False)
            await self._broker.wake(number, id)

    async def _sweep(self) -> None:
        if await self._tools.store.leads("sweep"):
            for destination in self._offers:
                now = self._tools.clock.now()
                for head in await self._tools.store.runnable(destination, now, OFFERED):
                    await self._publish(head)
        await came(self._stopping, self._sweep_seconds)

    async def _publish(self, head: Exchange) -> None:
        now = self._tools.clock.monotonic()
        if now - self._published.get(head.id, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return
        await self._broker.wake(shard(head), head.id)
        self._published[head.id] = now
        self._published.move_to_end(head.id)
        while len(self._published) > OFFERED * max(1, len(self._offers)):
            self._published.popitem(last=False)
