"""An awaited outcome that is told: found by its receipt in every ledger, durable before it is acknowledged, once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from deliver_world import QUICK, Scripted, destination, exchange, routed, running, tools

from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.hearing import Hearing
from gateway.errors import NotAllowed, StorageFailed
from gateway.message import Outcome
from gateway.ports import Heard


@dataclass
class Telling(Scripted):
    """A wire that waits for everything, and hears `VALUE STATE`."""

    def hear(self, headers: Mapping[str, str], body: bytes) -> Heard:
        value, _, state = body.decode().partition(" ")
        outcome = Outcome(state=state, codes=("GW-DELIVER-006",) if state == "rejected" else (), reply=body)  # type: ignore[arg-type]
        return Heard("ticket", value, outcome, 200, "text/plain", b"taken")


async def state_of(ledger: Any, id: str) -> str:
    found = await ledger.exchange(id)
    return str(found.state)


async def waiting(ledger: Any, *ids: str) -> Hearing:
    """Exchanges that were taken, each under a ticket of its own."""
    answers = {id: [Outcome(state="awaiting", receipts={"ticket": f"ticket-{id}"})] for id in ids}
    wire = Telling(answers=answers)  # type: ignore[arg-type]
    where = destination(options={"told_by": "peer", "awaiting_seconds": "1000"}, retry=QUICK)
    many = [exchange(id, subject=f"s-{id}", case=f"c-{id}") for id in ids]
    await ledger.commit(routed(*many))
    async with running(Dispatcher([where], {"d": wire}, tools(ledger))):
        async with asyncio.timeout(10):
            while [await state_of(ledger, id) for id in ids] != ["awaiting"] * len(ids):
                await asyncio.sleep(0.01)
    return Hearing([where], {"d": wire}, tools(ledger))


@pytest.mark.parametrize("state", ["delivered", "rejected", "parked"])
async def test_what_is_told_ends_the_exchange_that_waits_under_the_receipt(ledger: Any, state: str) -> None:
    """That one and no other; the answer is given after the commit."""
    hearing = await waiting(ledger, "e1", "e2")
    assert (await ledger.waiting_under("d", "ticket", "ticket-e2")).id == "e2"
    assert await ledger.waiting_under("d", "ticket", "ticket-e3") is None
    assert await ledger.waiting_under("other", "ticket", "ticket-e2") is None
    back = await hearing.take("d", "peer", {}, f"ticket-e2 {state}".encode())
    assert back.body == b"taken"
    assert await state_of(ledger, "e2") == state
    assert await state_of(ledger, "e1") == "awaiting"
    last = (await ledger.attempts("e2"))[-1]
    assert last.reply == f"ticket-e2 {state}".encode()
    assert last.outcome == state


async def test_told_again_nothing_waits(ledger: Any) -> None:
    """A repeat is no second outcome, whatever it says."""
    hearing = await waiting(ledger, "e1")
    await hearing.take("d", "peer", {}, b"ticket-e1 delivered")
    with pytest.raises(NotAllowed):
        await hearing.take("d", "peer", {}, b"ticket-e1 rejected")
    assert await state_of(ledger, "e1") == "delivered"


async def test_told_by_many_at_once_one_counts(ledger: Any) -> None:
    """Two callbacks and a poll may meet: the ledger takes one of them."""
    hearing = await waiting(ledger, "e1")
    words = [b"ticket-e1 delivered", b"ticket-e1 rejected"] * 4
    await asyncio.gather(*(hearing.take("d", "peer", {}, each) for each in words), return_exceptions=True)
    assert await state_of(ledger, "e1") in ("delivered", "rejected")
    assert (await ledger.attempts("e1"))[-1].outcome == await state_of(ledger, "e1")


async def test_what_failed_after_it_was_taken_is_not_simply_sent_again(ledger: Any) -> None:
    """Only reconciliation sends it again: the first may have had its effect."""
    hearing = await waiting(ledger, "e1")
    await hearing.take("d", "peer", {}, b"ticket-e1 due")
    assert await state_of(ledger, "e1") == "unknown"


async def test_a_disk_that_is_full_acknowledges_nothing(memory: Any) -> None:
    """The peer keeps its news and tells it again."""
    hearing = await waiting(memory, "e1")
    memory.failing = lambda step: True
    with pytest.raises(StorageFailed):
        await hearing.take("d", "peer", {}, b"ticket-e1 delivered")
    memory.failing = lambda step: False
    await hearing.take("d", "peer", {}, b"ticket-e1 delivered")
    assert memory.states()["e1"] == "delivered"


async def test_a_destination_that_names_nobody_hears_nobody(memory: Any) -> None:
    """Without `told_by`, not even a caller without a name."""
    wire = Telling()
    hearing = Hearing([destination()], {"d": wire}, tools(memory))
    for caller in ("", "peer"):
        with pytest.raises(NotAllowed):
            await hearing.take("d", caller, {}, b"ticket-e1 delivered")
