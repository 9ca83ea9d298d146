"""A ledger that cannot be read or written for a while in the midst of a delivery: nothing parked, nothing forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from deliver_world import Memory, Scripted, destination, exchange, routed, running, tools, until
from msgspec.structs import replace

from gateway.deliver import steps
from gateway.deliver.dispatcher import Dispatcher
from gateway.errors import StaleState, StorageFailed
from gateway.message import Exchange, Outcome


class Unreadable(Memory):
    """So many readings of one kind fail."""

    def __init__(self, question: str, times: int) -> None:
        super().__init__()
        self.question, self.times = question, times

    def _asked(self, question: str) -> None:
        if question == self.question and self.times > 0:
            self.times -= 1
            raise StorageFailed("GW-STORE-011")

    async def document(self, id: str) -> Any:
        self._asked("document")
        return await super().document(id)

    async def receipts(self, destination: str, scopes: Any) -> Any:
        self._asked("receipts")
        return await super().receipts(destination, scopes)

    async def attempts(self, exchange: str) -> Any:
        self._asked("attempts")
        return await super().attempts(exchange)


@pytest.mark.parametrize("sole_owner", [True, False])
@pytest.mark.parametrize("question", ["document", "receipts", "attempts"])
async def test_a_ledger_that_cannot_be_read_is_no_defect_of_the_exchange(question: str, sole_owner: bool) -> None:
    """A database that is restarted must leave nothing behind that only a person can release."""
    memory, wire = Unreadable(question, 3), Scripted()
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(4))))
    async with running(Dispatcher([destination()], {"d": wire}, tools(memory, sole_owner=sole_owner))):
        await until(lambda: set(memory.states().values()) == {"delivered"}, 30)
    assert memory.times == 0
    assert sorted(wire.order) == ["e0", "e1", "e2", "e3"], "none left twice"
    assert not [move for step in memory.steps for move in step.moves if move.to == "parked"]


async def test_an_answer_is_not_forgotten_because_the_ledger_cannot_be_read(memory: Memory) -> None:
    """What was sent was answered: asking who is to be told of it may be repeated, sending may not."""
    asked: list[str] = []

    async def tell(exchange: Exchange, outcome: Outcome) -> steps.Extra:
        asked.append(outcome.state)
        if len(asked) < 3:
            raise StorageFailed("GW-STORE-011")
        return steps.NOTHING

    wire = Scripted()
    await memory.commit(routed(exchange("e1")))
    async with running(Dispatcher([destination()], {"d": wire}, tools(memory, on_outcome=tell))):
        await until(lambda: memory.states() == {"e1": "delivered"}, 30)
    assert wire.order == ["e1"]
    assert asked == ["delivered"] * 3


async def test_a_commit_that_broke_and_was_stored_after_all_is_found_again(memory: Memory) -> None:
    """The bytes did not leave, but the ledger says that they may have: it is asked, and goes on by itself."""
    wire = Scripted(reconciled={"e1": [Outcome(state="due")]})
    await memory.commit(routed(exchange("e1")))
    commit, broke = memory.commit, []

    async def breaking(step: Any) -> Any:
        if step.name.endswith("leave") and len(broke) < 2:
            broke.append(step)
            if len(broke) == 1:
                await commit(step)
                raise StorageFailed
            raise StaleState(thing="exchange/e1")
        return await commit(step)

    memory.commit = breaking  # type: ignore[method-assign]
    place = replace(destination(), on_unknown="reconcile")
    async with running(Dispatcher([place], {"d": wire}, tools(memory, sole_owner=False))):
        await until(lambda: memory.states() == {"e1": "delivered"}, 30)
    assert len(broke) == 2
    assert wire.order == ["e1"]
