"""Acknowledging goes first: a process that receives, maps and delivers has one loop, and a sender waits at the door.

Whoever begins a piece of other work asks `after_arrivals` before. While somebody's message is being kept it waits,
and never longer than `PATIENCE`: a door that is never quiet slows the rest down and cannot stop it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.clock import came

PATIENCE: Final = 0.1
"""Seconds that other work waits at most for a quiet moment at the door."""


class Precedence:
    """What the doors and the other work of one process share."""

    def __init__(self) -> None:
        self._arriving = 0
        self._nobody = asyncio.Event()
        self._nobody.set()

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """Around the keeping of one message, from its last byte to its commit."""
        self._arriving += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._arriving -= 1
            if not self._arriving:
                self._nobody.set()

    async def after_arrivals(self) -> None:
        """Come back when nobody waits at the door, or patience is over."""
        if self._arriving:
            await came(self._nobody, PATIENCE)
