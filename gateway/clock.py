"""Injected time. Nothing else in the gateway asks the operating system what time it is."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What rooms are given when they need time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; the only base for timeouts."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


async def came(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so many seconds of real time; whether it came. Loops rest on this between rounds."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


class FixedClock:
    """A clock that a test or a replay sets by hand."""

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("a clock needs an aware datetime")
        self._at = at
        self._monotonic = 0.0

    def now(self) -> datetime:
        """The instant that was set last."""
        return self._at

    def monotonic(self) -> float:
        """Seconds moved by `advance` since the start."""
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Move the wall clock, forwards or backwards; the monotonic clock only moves forwards."""
        self._at += by
        self._monotonic += max(0.0, by.total_seconds())
