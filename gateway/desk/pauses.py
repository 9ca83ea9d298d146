"""A person stops delivery to a destination, and lets it go on.

The word is in the ledger, so it survives a restart and counts in every process. While it stands, the lanes hold what
would be due, with a code of the desk that no lane lifts; after it, only `release` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import msgspec

from gateway.clock import Clock
from gateway.errors import StaleState
from gateway.flow import Room, Thing
from gateway.message import AuditRecord, Conformity, Exchange, Move, Pause, Step
from gateway.ports import Gate, Store

PAUSED: Final = "GW-DESK-010"
REMEMBER: Final = 1.0
"""Seconds for which an answer is believed without asking again: of the ledger, which another process may have changed,
and of the gate behind, whose certificate check costs more than a delivery and would be made for each one."""

BATCH: Final = 500


class PausableGate:
    """`ports.Gate`: closed by a pause, else as the gate behind it says."""

    def __init__(self, inner: Gate, store: Store, clock: Clock) -> None:
        self._inner, self._store, self._clock = inner, store, clock
        self._paused: frozenset[str] = frozenset()
        self._until = 0.0
        self._behind: dict[str, tuple[float, str | None]] = {}

    async def closed(self, destination: str, now: datetime) -> str | None:
        """None when open, else the permanent code of the first reason."""
        if self._clock.monotonic() >= self._until:
            self._paused = await self._store.paused()
            self._until = self._clock.monotonic() + REMEMBER
        if destination in self._paused:
            return PAUSED
        until, code = self._behind.get(destination, (0.0, None))
        if self._clock.monotonic() >= until:
            code = await self._inner.closed(destination, now)
            self._behind[destination] = (self._clock.monotonic() + REMEMBER, code)
        return code

    def forget(self) -> None:
        """Ask anew at the next question: an operator has acted."""
        self._until = 0.0
        self._behind.clear()

    def committed(self, step: Step) -> None:
        """A pause or an exchange certificate that was entered counts at once."""
        if any(isinstance(write, Pause | Conformity) for write in step.writes):
            self.forget()


def released(exchanges: Iterable[Exchange], at: datetime) -> Step:
    """held -> due for exchanges of one destination that a pause held."""
    found = list(exchanges)
    event = AuditRecord(
        type="110100",  # DICOM PS3.16 CID 400: Application Activity
        action="E",
        outcome="0",
        agent=found[0].destination,
        entities=tuple(f"exchange/{each.id}" for each in found),
        at=at,
        detail={"step": "release", "code": PAUSED},
    )
    return Step(
        name="desk.release",
        at=at,
        moves=tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm="held", to="due", room=Room.DESK) for e in found),
        writes=tuple(msgspec.structs.replace(e, state="due", next_at=None, reason=None) for e in found),
        audit=(event,),
    )


async def release(store: Store, destinations: Iterable[str], clock: Clock, done: Callable[[Step], None]) -> int:
    """Let go what a pause held where no pause stands any more; how many.

    Run at intervals as well as after `resume`: a lane may hold one more with the word that it heard before, and
    the process may end between the word and the deed.
    """
    paused, count = await store.paused(), 0
    for destination in destinations:
        while destination not in paused:
            held = await store.exchanges(state="held", destination=destination, limit=BATCH, reason=PAUSED)
            if not held:
                break
            step = released(held, clock.now())
            try:
                await store.commit(step)
            except StaleState:
                break  # the next round finds what is left
            done(step)
            count += len(held)
    return count
