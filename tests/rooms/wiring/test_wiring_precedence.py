"""Acknowledging goes before mapping, gathering and publishing, and cannot starve them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest

from gateway.errors import StorageFailed
from gateway.message import Committed, Step
from gateway.precedence import PATIENCE, Precedence
from gateway.receive.acceptance import Arrival
from gateway.receive.door import Door, Rendered, Verdict
from gateway.settings import Sender

AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


async def test_other_work_begins_at_once_while_nobody_arrives() -> None:
    """A quiet door costs nothing, not even a turn of the loop."""
    waiting = Precedence().after_arrivals()
    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_other_work_waits_until_the_last_of_the_arrivals_is_kept() -> None:
    """Two are being kept; the first that is done lets nobody past the second."""
    precedence = Precedence()
    first, second = precedence.arrival(), precedence.arrival()
    first.__enter__()
    second.__enter__()
    work = asyncio.create_task(precedence.after_arrivals())
    await asyncio.sleep(0)
    first.__exit__(None, None, None)
    await asyncio.sleep(0)
    assert not work.done()
    second.__exit__(None, None, None)
    await asyncio.wait_for(work, PATIENCE / 2)


async def test_a_door_that_is_never_quiet_slows_other_work_and_does_not_stop_it() -> None:
    """Under a flood something is mapped and delivered every tenth of a second."""
    precedence, began = Precedence(), time.monotonic()
    with precedence.arrival():
        for _ in range(3):
            await precedence.after_arrivals()
    assert 2 * PATIENCE < time.monotonic() - began < 30 * PATIENCE


class Slow:
    """A store as far as the door needs it here: a commit takes its time, or fails."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.committing = fails, asyncio.Event()

    async def commit(self, step: Step) -> Committed:
        self.committing.set()
        await asyncio.sleep(0.02)
        if self.fails:
            raise StorageFailed
        return Committed(feed=1)


class Plain:
    """The shortest answer."""

    media_type = "text/plain"

    def __call__(self, verdict: Verdict) -> Rendered:
        return Rendered(self.media_type, b"kept")


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return 0.0


@pytest.mark.parametrize("fails", [False, True])
async def test_an_arrival_goes_first_until_it_is_kept_or_could_not_be(fails: bool) -> None:
    """A disk that fails must not leave the door counted as busy for ever."""

    async def unsettled(id: str, seconds: float) -> None:
        return None

    precedence, store = Precedence(), Slow(fails)
    door = Door(store, unsettled, Still(), ("p",), 0.0, arrival=precedence.arrival)  # type: ignore[arg-type]
    arrival = Arrival(
        sender=Sender(id="s", programmes=("p",)),
        programme="p",
        channel="http",
        content_type="application/json",
        body=b"{}",
        received_at=AT,
        language="en",
    )
    received = asyncio.create_task(door.receive(arrival, Plain()))
    await store.committing.wait()
    work = asyncio.create_task(precedence.after_arrivals())
    await asyncio.sleep(0)
    assert not work.done()
    await asyncio.wait([received])
    assert isinstance(received.exception(), StorageFailed) is fails
    await asyncio.wait_for(work, PATIENCE / 2)
