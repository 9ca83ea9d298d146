"""The worker processes, from the parent's side.

A worker that dies (out of memory, killed) breaks the whole standard pool; the pool is then made anew and the call
that was under way fails with `WorkerDied`, so that its message can be tried once more and then parked instead of
killing workers for ever.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

import structlog

from gateway import workers
from gateway.errors import Broken
from gateway.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger()


class WorkerDied(Broken):
    """A worker process ended while it held our call."""

    default = "GW-WORK-002"


class Pool:
    """`settings.workers` processes that map, validate and sign."""

    def __init__(self, settings: Settings, id_key: bytes) -> None:
        self._settings, self._id_key = settings, id_key
        self._executor = self._make()
        self.size = max(1, settings.workers)

    def _make(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max(1, self._settings.workers),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=workers.begin,
            initargs=(self._settings, self._id_key),
        )

    async def start(self) -> None:
        """Wait until every worker has loaded its rules, so that a broken rule set stops the start."""
        try:
            await asyncio.gather(*(self.run(workers.ready) for _ in range(self.size)))
        except WorkerDied:
            raise WorkerDied("GW-WORK-003") from None

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The call's result from a worker; `WorkerDied` if the worker did not survive it."""
        executor = self._executor
        try:
            return await asyncio.wrap_future(executor.submit(call, *args, **kwargs))
        except BrokenProcessPool:
            if self._executor is executor:
                _log.error("worker_died", workers=self.size)
                self._executor = self._make()
            raise WorkerDied from None

    def stop(self) -> None:
        """End the workers; what they had under way is repeated at the next start."""
        self._executor.shutdown(wait=True, cancel_futures=True)
