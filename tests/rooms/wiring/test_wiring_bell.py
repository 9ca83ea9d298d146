"""Wake-ups: a ring that comes between asking the ledger and waiting is not lost."""

from __future__ import annotations

import asyncio

from gateway.bell import Bell
from gateway.clock import SystemClock
from gateway.flow import NEW, Room, Thing
from gateway.message import Move, Step


async def test_a_ring_between_the_question_and_the_wait_is_heard() -> None:
    """The loop forgets, asks, and waits; a commit during the question must not cost a poll interval."""
    bell = Bell()
    with bell.listen("item:valid") as ear:
        ear.forget()
        bell.ring(("item:valid",))  # while the ledger is asked
        async with asyncio.timeout(0.5):
            assert await ear.wait(10)


async def test_every_listener_of_a_topic_is_woken_and_no_other() -> None:
    """Two waiters for one submission are two people waiting for one answer."""
    bell = Bell()
    with bell.listen("a") as one, bell.listen("a") as two, bell.listen("b") as other:
        bell.ring(("a",))
        assert await one.wait(1)
        assert await two.wait(1)
        assert not await other.wait(0.01)


async def test_a_step_rings_its_states_and_its_submission() -> None:
    """What a commit changed is what wakes."""
    bell = Bell()
    move = Move(thing=Thing.SUBMISSION, id="s1", frm=NEW, to="received", room=Room.RECEIVE)
    with bell.listen("submission:received") as state, bell.listen("submission/s1") as own:
        bell.ring_for(Step(name="keep", at=SystemClock().now(), moves=(move,)))
        assert await state.wait(1)
        assert await own.wait(1)


def test_nobody_waits_when_nobody_listens() -> None:
    """Whether a later answer is owed depends on this."""
    bell = Bell()
    assert not bell.awaited("submission/s1")
    with bell.listen("submission/s1"):
        assert bell.awaited("submission/s1")  # noqa: PGH005 - not a mock
    assert not bell.awaited("submission/s1")
