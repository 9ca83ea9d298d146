"""Wake those who wait for a step. A missed ring costs a poll interval, never a message: the ledger is the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gateway.clock import came
from gateway.flow import Thing
from gateway.message import Step


class Ear:
    """One listener. It hears what rings from the moment it exists, also while nobody waits on it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def hear(self) -> None:
        """Remember a ring."""
        self._event.set()

    def forget(self) -> None:
        """Forget earlier rings: call it before asking the ledger, so that no ring falls between."""
        self._event.clear()

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring since `forget`, at most so long; True when it rang."""
        return await came(self._event, seconds)


class Bell:
    """Topics are "thing:state" ("item:valid"), and "submission/<id>" for one submission's waiters."""

    def __init__(self) -> None:
        self._ears: dict[str, set[Ear]] = {}

    def ring(self, topics: Iterable[str]) -> None:
        """Wake everybody who listens to one of the topics."""
        for topic in topics:
            for ear in self._ears.get(topic, ()):
                ear.hear()

    def ring_for(self, step: Step) -> None:
        """Wake whom a committed step concerns."""
        self.ring({f"{move.thing}:{move.to}" for move in step.moves})
        self.ring(f"submission/{move.id}" for move in step.moves if move.thing is Thing.SUBMISSION)

    def awaited(self, topic: str) -> bool:
        """Whether somebody listens to the topic at this moment."""
        return topic in self._ears

    @contextmanager
    def listen(self, topic: str) -> Iterator[Ear]:
        """An ear for the topic."""
        ear = Ear()
        self._ears.setdefault(topic, set()).add(ear)
        try:
            yield ear
        finally:
            self._ears[topic].discard(ear)
            if not self._ears[topic]:
                del self._ears[topic]
