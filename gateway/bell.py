"""Wake those who wait for a step. A missed ring costs a poll interval, never a message: the ledger is the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.flow import Thing
from gateway.message import Step


class Bell:
    """Topics are "thing:state" ("item:valid"), and "submission/<id>" for one submission's waiters."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self._waiting: dict[str, int] = {}

    def ring(self, topics: Iterable[str]) -> None:
        """Wake everybody who waits for one of the topics now."""
        for topic in topics:
            event = self._events.get(topic)
            if event is not None:
                event.set()

    def ring_for(self, step: Step) -> None:
        """Wake whom a committed step concerns."""
        self.ring({f"{move.thing}:{move.to}" for move in step.moves})
        self.ring(f"submission/{move.id}" for move in step.moves if move.thing is Thing.SUBMISSION)

    def awaited(self, topic: str) -> bool:
        """Whether somebody waits for the topic at this moment."""
        return self._waiting.get(topic, 0) > 0

    async def wait(self, topic: str, seconds: float) -> bool:
        """Wait for a ring, at most so long; True when it rang."""
        event = self._events.setdefault(topic, asyncio.Event())
        self._waiting[topic] = self._waiting.get(topic, 0) + 1
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
                return True
        except TimeoutError:
            return False
        finally:
            self._waiting[topic] -= 1
            if self._waiting[topic] == 0:
                del self._waiting[topic]
                if "/" in topic:
                    self._events.pop(topic, None)
            event.clear()
