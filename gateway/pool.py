"""The worker processes, from the parent's side.

A worker that dies (out of memory, killed) breaks the whole standard pool, and every call that was under way fails
with it, whoever was to blame. So the pool is made anew and each of these calls is tried once more, one after the
other in a process of its own: what dies there as well fails with `WorkerDied`, and the others go on.

What a worker does stands in `workers.py`, which this file does not import: the parent can start its workers first
and load its own rooms while they load their rules.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Final, ParamSpec, Self, TypeVar

import structlog

from gateway.errors import Broken
from gateway.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger()


PROBE_SECONDS: Final = 0.5


class WorkerDied(Broken):
    """A worker process ended while it held our call, twice, the second time alone."""

    default = "GW-WORK-002"


def _begin(settings: Settings, id_key: bytes) -> None:
    from gateway import workers

    workers.begin(settings, id_key)


def _ready() -> bool:
    """Only a worker that has loaded its rules can answer."""
    return True


class Pool:
    """`settings.workers` processes that map, validate and sign. They begin at once; `start` waits for them."""

    def __init__(self, settings: Settings, id_key: bytes) -> None:
        self._settings, self._id_key = settings, id_key
        self.size = max(1, settings.workers)
        self._executor = self._make(self.size, settings)
        self._alone: ProcessPoolExecutor | None = None
        self._probe: asyncio.Future[bool] | None = None
        self._one_at_a_time, self._suspects = asyncio.Lock(), 0
        self._begun: list[Future[bool]] = [self._executor.submit(_ready) for _ in range(self.size)]

    def _make(self, size: int, settings: Settings) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            size,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(settings, self._id_key),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Wait until every worker has loaded its rules, so that a broken rule set stops the start."""
        try:
            await asyncio.gather(*(asyncio.wrap_future(each) for each in self._begun))
        except BrokenProcessPool:
            raise WorkerDied("GW-WORK-003") from None

    async def replace(self, settings: Settings) -> None:
        """Workers with the rules of `settings` take over; calls under way end where they began.

        `WorkerDied` where the new ones do not start: then nothing has changed.
        """
        fresh = self._make(self.size, settings)
        begun = [fresh.submit(_ready) for _ in range(self.size)]
        try:
            await asyncio.gather(*(asyncio.wrap_future(each) for each in begun))
        except BrokenProcessPool:
            fresh.shutdown(wait=False)
            raise WorkerDied("GW-WORK-003") from None
        former, self._executor = self._executor, fresh
        self._settings, self._probe, self._begun = settings, None, begun
        former.shutdown(wait=False)  # what it still holds is done first

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The call's result from a worker; `WorkerDied` if no worker survives it."""
        executor = self._executor
        try:
            return await asyncio.wrap_future(executor.submit(call, *args, **kwargs))
        except BrokenProcessPool:
            if self._executor is executor:
                self._renewed()
        self._suspects += 1
        try:
            async with self._one_at_a_time:
                return await self._by_itself(call, *args, **kwargs)
        finally:
            self._suspects -= 1
            if self._alone is not None and not self._suspects:
                self._alone.shutdown(wait=False)
                self._alone = None

    async def _by_itself(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._alone is None:
            self._alone = self._make(1, self._settings)
        try:
            return await asyncio.wrap_future(self._alone.submit(call, *args, **kwargs))
        except BrokenProcessPool:
            self._alone = None
            raise WorkerDied from None

    async def trouble(self) -> str | None:
        """None while the workers work, else a code: they died, or are still loading their rules."""
        if self._probe is None or self._probe.done():
            try:
                self._probe = asyncio.wrap_future(self._executor.submit(_ready))
            except BrokenProcessPool:
                return self._renewed()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await asyncio.shield(self._probe)
        except TimeoutError:  # busy, which is well; or loading, which is not yet
            return None if all(each.done() for each in self._begun) else WorkerDied.default
        except BrokenProcessPool:
            return self._renewed()
        return None

    def _renewed(self) -> str:
        _log.error("worker_died", workers=self.size)
        self._executor, self._probe = self._make(self.size, self._settings), None
        self._begun = [self._executor.submit(_ready) for _ in range(self.size)]
        return WorkerDied.default

    def stop(self) -> None:
        """End the workers; what they had under way is repeated at the next start."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._alone is not None:
            self._alone.shutdown(wait=True, cancel_futures=True)
