"""Telling, in the log, how far a long piece of work is."""

from __future__ import annotations

from typing import Final

import structlog

from gateway.clock import Clock

_log = structlog.get_logger("gateway.store")
EVERY: Final = 5.0


class Progress:
    """A count that is logged every few seconds; short work logs nothing."""

    def __init__(self, what: str, waiting: int, clock: Clock) -> None:
        self._what, self._waiting, self._clock = what, waiting, clock
        self._count, self._told = 0, clock.monotonic()
        self._spoke = False

    def add(self, count: int) -> None:
        """So much more was done."""
        self._count += count
        now = self._clock.monotonic()
        if now - self._told > EVERY:
            self._told, self._spoke = now, True
            _log.info("filling", kind=self._what, number=self._waiting, count=self._count)

    def done(self) -> None:
        """It is done."""
        if self._spoke:
            _log.info("filled", kind=self._what, number=self._waiting, count=self._count)
