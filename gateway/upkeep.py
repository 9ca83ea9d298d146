"""What is looked after at intervals: pauses that ended, what dead processes left, what is kept no longer.

Each round asks the ledger; losing one costs an interval. A storage failure ends a round, not the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from gateway.clock import Clock, came
from gateway.desk import pauses
from gateway.errors import GatewayError
from gateway.message import Step
from gateway.ports import Store
from gateway.settings import Retention, Settings

_log = structlog.get_logger()

RELEASE_SECONDS: Final = 5.0
RECOVER_SECONDS: Final = 3.0
RETAIN_SECONDS: Final = 3600.0
BREATH: Final = 0.05
"""Between two batches of retention, so that it never stands in the way of the work."""


class Upkeep:
    """The rounds of one process. `shared` says that other processes work on the same ledger."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Clock,
        committed: Callable[[Step], None],
        refresh: Callable[[], None],
        shared: bool,
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._committed, self._refresh, self._shared = committed, refresh, shared
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(RELEASE_SECONDS, self.release))
            group.create_task(self._every(RETAIN_SECONDS, self.retain))
            if self._shared:
                group.create_task(self._every(RECOVER_SECONDS, self.recover))

    def stop(self) -> None:
        """End every loop after what it is doing."""
        self._stopping.set()

    async def _every(self, seconds: float, once: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await once()
            except GatewayError as fault:
                _log.error("upkeep_failed", kind=once.__name__, code=fault.code)
            await came(self._stopping, seconds)

    # --- the rounds ----------------------------------------

    async def release(self) -> None:
        """Let go what a pause held that is over."""
        ids = [each.id for each in self._settings.destination]
        await pauses.release(self._store, ids, self._clock, self._committed)

    async def recover(self) -> None:
        """What a process held that is gone is due again, or unknown where it may have left.

        Another process may also have read in new reference data: the next submission reads it anew.
        """
        self._refresh()
        for id in await self._store.recover():
            _log.warning("unknown_after_crash", exchange=id)

    async def retain(self) -> None:
        """Forget what the settings say is kept no longer, in small steps, and give the disk its room back."""
        forgot = 0
        for rule in self._settings.retention:
            forgot += await self._forget(rule)
        if forgot:
            _log.info("forgot", count=forgot)
            while not self._stopping.is_set() and await self._store.tidy():
                await came(self._stopping, BREATH)

    async def _forget(self, rule: Retention) -> int:
        store, now, total = self._store, self._clock.now(), 0
        for state, days in (("itemised", rule.payload_days), ("refused", rule.refused_days or rule.payload_days)):
            if days:
                before = now - timedelta(days=days)
                total += await self._repeat(partial(store.forget, rule.programme, before, state=state))
        if rule.metadata_days:
            before = now - timedelta(days=rule.metadata_days)
            total += await self._repeat(partial(store.forget_metadata, rule.programme, before))
        return total

    async def _repeat(self, batch: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while not self._stopping.is_set() and (count := await batch()):
            total += count
            await came(self._stopping, BREATH)
        return total
