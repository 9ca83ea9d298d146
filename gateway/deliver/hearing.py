"""What destinations tell us of their own accord: the outcome of an exchange that was taken and not yet decided.

`take` answers only after the outcome is committed, with the attempt it belongs to, so that a positive answer means
that it is on disk. Who may tell what: the option `told_by` of a destination is the id of a [[sender]] entry, whose
certificate or token the HTTP listener has checked; without it nobody may. What is told again, or of an exchange for
which nothing waits, changes nothing. Polling stays: what was told is believed at once, what was not is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from gateway.deliver import decide, steps
from gateway.deliver.lane import Tools
from gateway.errors import NotAllowed, StaleState
from gateway.message import Exchange, Outcome
from gateway.ports import Heard, Told, Wire
from gateway.ports import Hearing as CanHear
from gateway.settings import Destination

UNKNOWN: Final = "GW-DELIVER-037"
_log = structlog.get_logger("deliver")


class Hearing:
    """The ear of every destination that may tell us something."""

    def __init__(self, destinations: Iterable[Destination], wires: Mapping[str, Wire], tools: Tools) -> None:
        self._places = {each.id: each for each in destinations}
        self._wires, self._tools = wires, tools

    async def take(self, destination: str, caller: str, headers: Mapping[str, str], body: bytes) -> Told:
        """What is answered to what was told, after it is durable.

        `NotAllowed` where the caller may not tell this destination's outcomes (which looks like a destination that
        is not there), `Refused` where it cannot be read, `StorageFailed` where it could not be kept.
        """
        place, wire = self._places.get(destination), self._wires.get(destination)
        ear: object = wire
        allowed = place is not None and caller and place.options.get("told_by", "") == caller
        if place is None or wire is None or not allowed or not isinstance(ear, CanHear):
            raise NotAllowed("GW-RECEIVE-010")
        heard = ear.hear(headers, body)
        exchange = await self._tools.store.waiting_under(destination, heard.receipt, heard.value)
        if exchange is None:
            if not heard.unknown:
                raise NotAllowed(UNKNOWN)
            return Told(404, heard.media_type, heard.unknown)
        if heard.outcome.state not in ("awaiting", "unknown"):
            await self._settle(place, wire, exchange, heard)
        return Told(heard.status, heard.media_type, heard.body)

    async def _settle(self, place: Destination, wire: Wire, exchange: Exchange, heard: Heard) -> None:
        tools, now = self._tools, self._tools.clock.now()
        attempts = await tools.store.attempts(exchange.id)
        outcome = _settled(heard.outcome, exchange)
        to = decide.after(outcome, exchange.tries, place.retry, now, tools.chance())
        extra = await tools.on_outcome(exchange, outcome)
        step = steps.settle(exchange, attempts[-1], outcome, to, now, wire.subject_receipts, extra, "told")
        try:
            await tools.store.commit(step)
        except StaleState:  # polling, another process or the same news was quicker: it is decided
            _log.info("told_late", exchange=exchange.id, destination=exchange.destination)
            return
        tools.on_commit(step)


def _settled(outcome: Outcome, exchange: Exchange) -> Outcome:
    """What was taken and then failed at the destination is not simply due: only reconciliation sends it again."""
    if outcome.state == "due" and exchange.state == "awaiting":
        return Outcome(state="unknown", codes=outcome.codes, reply=outcome.reply)
    return outcome
