"""What is not simply due: held exchanges to let go, unknown ones to reconcile, awaited outcomes to ask for, orphans.

Run by a lane at intervals and whenever the gate opens or closes. Only reconciliation moves what may have arrived.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from gateway.deliver import decide, steps
from gateway.deliver.decide import Next
from gateway.deliver.lane import Lane
from gateway.errors import GatewayError, StaleState
from gateway.flow import AFTER_CRASH
from gateway.message import Attempt, Exchange, Outcome
from gateway.ports import MaybeSent, NotSent

_log = structlog.get_logger("deliver")

BATCH: Final = 100
LOOK: Final = 1000  # unknown and awaiting ones looked at in one round
OWN_DEFECT: Final = "GW-CORE-001"
ASK_CEILING: Final = 300.0
DEFAULT_RECONCILE: Final = "5"
DEFAULT_AWAITING: Final = "86400"


class Tending:
    """The memory of one lane's tending: when to ask again. Losing it costs an earlier question, nothing else."""

    def __init__(self) -> None:
        self._again: dict[str, tuple[float, int]] = {}

    async def __call__(self, lane: Lane) -> None:
        """One round over everything that waits for something else than its turn."""
        try:
            if lane.tools.sole_owner or lane.broken or lane.doubtful:
                await self._adopt(lane)
            if lane.closed is None:
                await self._let_go(lane)
                await self._ask(lane)
        except StaleState:
            lane.wake()  # an operator was quicker: look again

    async def _let_go(self, lane: Lane) -> None:
        held = await lane.tools.store.in_state(lane.destination.id, "held", BATCH)
        ours = [each for each in held if decide.ours_to_lift(each)]
        if ours:
            await lane.commit(steps.moves(ours, Next("due"), lane.tools.clock.now(), "let_go"))
            lane.tend_at = 0.0  # there may be more than one batch
            lane.wake()

    async def _adopt(self, lane: Lane) -> None:
        for state in AFTER_CRASH:
            before = set(lane.running)
            for exchange in await lane.tools.store.in_state(lane.destination.id, state, BATCH):
                if exchange.id in before or exchange.id in lane.running or not self._ours(lane, exchange):
                    continue
                to = Next(AFTER_CRASH[state], None, decide.MAY_HAVE if state == "in_flight" else None)
                if state == "claimed" and exchange.id in lane.broken:
                    to = Next("parked", None, OWN_DEFECT)
                lane.broken.discard(exchange.id)
                lane.doubtful.discard(exchange.id)
                with contextlib.suppress(StaleState):  # it lives after all, here or in another process
                    await lane.commit(steps.move(exchange, to, lane.tools.clock.now(), "adopt"))

    def _ours(self, lane: Lane, exchange: Exchange) -> bool:
        """Where others claim as well, only what this lane itself let fall; the rest is `Store.recover`'s."""
        return lane.tools.sole_owner or exchange.id in lane.broken or exchange.id in lane.doubtful

    async def _ask(self, lane: Lane) -> None:
        store, id = lane.tools.store, lane.destination.id
        unknown = [e for e in await store.in_state(id, "unknown", LOOK) if e.reason != decide.FOR_A_PERSON]
        awaiting = list(await store.in_state(id, "awaiting", LOOK))
        known = {each.id for each in (*unknown, *awaiting)}
        self._again = {key: value for key, value in self._again.items() if key in known}
        for exchange in (*unknown, *awaiting):
            if lane.free() <= 0:
                lane.tend_at = 0.0
                return
            if exchange.id not in lane.running and self._time_to_ask(lane, exchange):
                work = self._reconcile if exchange.state == "unknown" else self._poll
                lane.start(exchange.id, work(lane, exchange))

    def _time_to_ask(self, lane: Lane, exchange: Exchange) -> bool:
        return lane.tools.clock.monotonic() >= self._again.get(exchange.id, (0.0, 0))[0]

    def _later(self, lane: Lane, exchange: Exchange, seconds: float | None = None) -> None:
        asked = self._again.get(exchange.id, (0.0, 0))[1] + 1
        wait = min(ASK_CEILING, lane.destination.retry.first * 2 ** min(asked, 16)) if seconds is None else seconds
        self._again[exchange.id] = (lane.tools.clock.monotonic() + wait, asked)
        lane.tend_at = min(lane.tend_at, lane.tools.clock.monotonic() + wait)

    def _option(self, lane: Lane, name: str, default: str) -> float:
        return float(lane.destination.options.get(name, default))

    async def _reconcile(self, lane: Lane, exchange: Exchange) -> None:
        attempts = await lane.tools.store.attempts(exchange.id)
        # Only a question asked after the request can no longer be under way gives an answer worth having.
        settled = self._option(lane, "reconcile_seconds", DEFAULT_RECONCILE)
        if attempts and (wait := self._age_left(lane, attempts[-1], settled)) > 0:
            self._later(lane, exchange, wait)
            return
        answer = None
        if attempts and lane.destination.on_unknown == "reconcile":
            try:
                answer = await lane.wire.reconcile(exchange, attempts[-1])
                lane.answered()
            except (NotSent, MaybeSent):
                lane.judge(Outcome(state="due"))
                self._later(lane, exchange)
                return
            except GatewayError as fault:  # a key that has ended, settings: the question cannot be put together now
                self._cannot_ask(lane, exchange, fault)
                return
        await self._conclude(lane, exchange, attempts, decide.unclear(answer, lane.destination))

    def _cannot_ask(self, lane: Lane, exchange: Exchange, fault: GatewayError) -> None:
        _log.warning("cannot_ask", exchange=exchange.id, destination=exchange.destination, code=fault.code)
        self._later(lane, exchange)

    def _age_left(self, lane: Lane, attempt: Attempt, seconds: float) -> float:
        left = attempt.started_at + timedelta(seconds=seconds) - lane.tools.clock.now()
        return min(left.total_seconds(), seconds)  # a clock that was set back must not stretch it

    async def _conclude(
        self, lane: Lane, exchange: Exchange, attempts: Sequence[Attempt], verdict: Outcome | None
    ) -> None:
        if verdict is None:
            await lane.insist(steps.note(exchange, decide.FOR_A_PERSON, lane.tools.clock.now()))
        elif attempts:
            await lane.settle(exchange, attempts[-1], verdict, "reconcile")
        else:  # in flight without an attempt on disk: nothing can have left
            await lane.insist(steps.move(exchange, Next("due"), lane.tools.clock.now(), "reconcile"))

    async def _poll(self, lane: Lane, exchange: Exchange) -> None:
        attempts = await lane.tools.store.attempts(exchange.id)
        try:
            answer = await lane.wire.reconcile(exchange, attempts[-1]) if attempts else None
        except (NotSent, MaybeSent):
            self._later(lane, exchange)
            return
        except GatewayError as fault:
            self._cannot_ask(lane, exchange, fault)
            return
        if answer is not None and answer.state not in ("awaiting", "unknown"):
            # What was taken and then failed at the destination is not simply due: reconciliation decides.
            verdict = answer if answer.state != "due" else Outcome(state="unknown", codes=answer.codes)
            await lane.settle(exchange, attempts[-1], verdict, "poll")
        elif (
            attempts
            and self._age_left(lane, attempts[-1], self._option(lane, "awaiting_seconds", DEFAULT_AWAITING)) > 0
        ):
            self._later(lane, exchange)
        else:
            to = Next("parked", None, decide.TOO_LONG)
            await lane.insist(steps.move(exchange, to, lane.tools.clock.now(), "poll"))
