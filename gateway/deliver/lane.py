"""One destination's lane: it starts heads of keys, never two of one key, and never waits for another lane.

The life of one exchange is `_deliver`: claim, render, commit the bytes, send, judge, commit the outcome. What
stands between a crash and a wrong word is the order of these five, so they are written one after the other here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import structlog

from gateway.clock import Clock, came
from gateway.deliver import decide, steps
from gateway.deliver.decide import Breaker, Next
from gateway.errors import Broken, GatewayError, StaleState, StorageFailed
from gateway.message import Attempt, Document, Exchange, Outcome, Step
from gateway.ports import Gate, MaybeSent, NotSent, Store, Wire
from gateway.settings import Destination

_log = structlog.get_logger("deliver")

CANNOT_RENDER: Final = "GW-DELIVER-012"
NOT_OURS: Final = "GW-DELIVER-005"
REMEMBERED: Final = 4096  # receipts of the last deliveries, to know an answer that belongs to another message
STORAGE_PAUSE: Final = 0.5
CATCHING_UP: Final = 2
"""How many exchanges of a lane that has fallen behind are in our own hands at once; those under way do not count. A
destination that is back after hours must not make the others wait while its backlog drains."""
COMPANY_SECONDS: Final = 2.0
"""How long after its last delivery another destination is still one that would wait."""

T = TypeVar("T")
OnOutcome = Callable[[Exchange, Outcome], Awaitable[steps.Extra]]
"""Asked before an outcome is committed; what it returns goes into the same commit."""


Heads = Callable[[str, datetime, int], Awaitable[Sequence[Exchange]]]
"""Heads of keys that are due at a destination, now, at most so many (`Store.runnable`)."""


async def nothing_more(exchange: Exchange, outcome: Outcome) -> steps.Extra:
    """Nobody is owed anything beside the outcome itself."""
    return steps.NOTHING


@dataclass(frozen=True)
class Tools:
    """What every lane is given. `chance` is uniform on [0, 1); `observe` takes (destination, state, seconds)."""

    store: Store
    gate: Gate
    clock: Clock
    chance: Callable[[], float]
    on_outcome: OnOutcome = nothing_more
    on_commit: Callable[[Step], None] = lambda step: None
    observe: Callable[[str, str, float], None] = lambda destination, state, seconds: None
    sweep_seconds: float = 1.0
    tend_seconds: float = 5.0
    heads: Heads | None = None  # where runnable heads come from; None: the ledger is asked
    delivering: dict[str, float] = field(default_factory=dict)  # when each destination's last delivery began
    sole_owner: bool = True  # nobody else claims from this ledger, so what is claimed and not running is an orphan


@dataclass
class LaneStatus:
    """What an operator sees of a lane."""

    destination: str
    running: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    closed: str | None = None
    last_code: str | None = None


class Lane:
    """Delivery to one destination."""

    def __init__(self, destination: Destination, wire: Wire, tools: Tools) -> None:
        self.destination, self.wire, self.tools = destination, wire, tools
        self.breaker, self.closed, self.last_code = Breaker(), None, None  # type: Breaker, str | None, str | None
        self.running: dict[str, asyncio.Task[None]] = {}
        self.broken: set[str] = set()  # met a defect of ours: parked instead of tried again
        self.doubtful: set[str] = set()  # claimed, perhaps: the disk did not say
        self.tend_at = 0.0
        self._quiet = decide.quiet_hours(destination.quiet_hours)
        self._heads: deque[Exchange] = deque()
        self._behind, self._few = False, asyncio.Semaphore(CATCHING_UP)  # behind: more wait than were asked for
        self._seen: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._ring = asyncio.Event()
        self._stopping = False
        # Rendering may wait for a token or a security module, so each lane has a hand of its own.
        self._hand = ThreadPoolExecutor(1, thread_name_prefix=f"render-{destination.id}")

    # --- from outside -----------------------------------------------------------------------

    def wake(self) -> None:
        """Something may have become due."""
        self._ring.set()

    def status(self) -> LaneStatus:
        """A snapshot."""
        return LaneStatus(self.destination.id, len(self.running), self.breaker, self.closed, self.last_code)

    async def stop(self, grace: float) -> None:
        """Start nothing more, let what is on its way end within `grace` seconds; the rest is found at next start."""
        self._stopping = True
        self._ring.set()
        tasks = list(self.running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._hand.shutdown(wait=False, cancel_futures=True)

    # --- the loop -----------------------------------------------------------------------

    async def run(self, tend: Callable[[Lane], Awaitable[None]]) -> None:
        """Work until `stop`. `tend` looks after what is not simply due: held, unknown, awaiting, orphaned."""
        while not self._stopping:
            self._ring.clear()
            now = self.tools.clock.now()
            try:
                await self._round(now, tend)
                pause = await self._pause(now)
            except GatewayError as fault:  # the disk, or an operator who was quicker: look again in a moment
                _log.error("round_failed", destination=self.destination.id, code=fault.code)
                pause = STORAGE_PAUSE
            await came(self._ring, pause)

    async def _round(self, now: datetime, tend: Callable[[Lane], Awaitable[None]]) -> None:
        quiet = decide.quiet_now(self._quiet, now)
        was, self.closed = (
            self.closed,
            decide.QUIET if quiet else await self.tools.gate.closed(self.destination.id, now),
        )
        if self.tools.clock.monotonic() >= self.tend_at or was != self.closed:
            self.tend_at = self.tools.clock.monotonic() + self.tools.tend_seconds
            await tend(self)
        if self.closed is None:
            await self._start(now)
        else:
            await self._hold(now, self.closed)

    async def _hold(self, now: datetime, code: str) -> None:
        self._heads.clear()
        heads = await self._runnable(now, 100)
        waiting = [each for each in heads if each.id not in self.running]
        if waiting:
            await self.commit(steps.moves(waiting, Next("held", None, code), now, "hold"))
            self._ring.set()

    def free(self) -> int:
        """How many exchanges may start now."""
        room = self.destination.concurrency - len(self.running)
        return decide.allowance(self.breaker, self.tools.clock.monotonic(), room, len(self.running))

    async def _runnable(self, now: datetime, limit: int) -> Sequence[Exchange]:
        return await (self.tools.heads or self.tools.store.runnable)(self.destination.id, now, limit)

    async def _start(self, now: datetime) -> None:
        room = self.free()
        if room > len(self._heads):
            ask = len(self.running) + 3 * self.destination.concurrency
            self._heads = deque(await self._runnable(now, ask))
            self._behind = len(self._heads) >= ask
        while room > 0 and self._heads:
            head = self._heads.popleft()
            if head.id not in self.running:
                self.start(head.id, self._deliver(head))
                room -= 1

    def start(self, id: str, work: Coroutine[Any, Any, None]) -> None:
        """Run the work of one exchange; its end wakes the lane. Nothing starts once the lane is stopping."""
        if self._stopping:
            work.close()
            return
        task = asyncio.create_task(work, name=f"deliver-{id}")
        self.running[id] = task
        task.add_done_callback(lambda done: self._ended(id, done))

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        self.running.pop(id, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            # Only the kind: the text of an exception could quote what it met.
            _log.error("delivery_broke", exchange=id, destination=self.destination.id, kind=type(fault).__name__)
            # A ledger that could not be read is no defect of the exchange: it is looked at again.
            (self.doubtful if isinstance(fault, StorageFailed) else self.broken).add(id)
            self.tend_at = 0.0
        self._ring.set()

    async def _pause(self, now: datetime) -> float:
        tools = self.tools
        if self.breaker.open_until is not None:
            return max(0.01, min(tools.sweep_seconds, self.breaker.open_until - tools.clock.monotonic()))
        if self.running or self.closed is not None:
            return tools.sweep_seconds
        due = await tools.store.next_due(self.destination.id)
        if due is None or due <= now:  # what was due has just been looked at
            return tools.sweep_seconds
        return min(tools.sweep_seconds, max(0.0, (due - tools.clock.now()).total_seconds()))

    # --- one exchange -----------------------------------------------------------------------

    def _in_hand(self) -> AbstractAsyncContextManager[None]:
        """Around our own part of an exchange: one of few where this lane has fallen behind and others are at work."""
        return self._few if self._behind and self._in_company() else nullcontext()

    def _in_company(self) -> bool:
        late = self.tools.clock.monotonic() - COMPANY_SECONDS
        return any(at > late for id, at in self.tools.delivering.items() if id != self.destination.id)

    async def _deliver(self, exchange: Exchange) -> None:
        self.tools.delivering[self.destination.id] = self.tools.clock.monotonic()
        async with self._in_hand():
            ready = await self._prepare(exchange)
        if ready is None:
            return
        flying, attempt = ready
        began = self.tools.clock.monotonic()
        outcome = self._known(flying, await self._send(attempt))
        self.tools.observe(self.destination.id, outcome.state, self.tools.clock.monotonic() - began)
        async with self._in_hand():
            await self.settle(flying, attempt, outcome)

    async def _prepare(self, exchange: Exchange) -> tuple[Exchange, Attempt] | None:
        """Claimed, rendered, and its bytes on disk: it may leave. None where it may not."""
        claimed = await self._claim(exchange)
        if claimed is None:
            return None
        attempt = await self._render(claimed)
        if attempt is None:
            return None
        step, flying = steps.leave(claimed, attempt, attempt.started_at)
        if not await self.insist(step):
            # Nothing left us: somebody else has it, or a commit that broke was stored after all.
            self.doubtful.add(exchange.id)
            return None
        return flying, attempt

    async def _claim(self, exchange: Exchange) -> Exchange | None:
        step, claimed = steps.claim(exchange, self.tools.clock.now())
        try:
            await self.commit(step)
        except StaleState:
            self._heads.clear()  # somebody moved it meanwhile: look again
            return None
        except StorageFailed:
            self.doubtful.add(exchange.id)
            await asyncio.sleep(STORAGE_PAUSE)
            return None
        return claimed

    async def _render(self, claimed: Exchange) -> Attempt | None:
        """The bytes of this try, or None after the exchange was parked because it cannot be rendered."""
        store, now = self.tools.store, self.tools.clock.now()
        document, given, before = await asyncio.gather(  # answered together, from one snapshot
            store.document(claimed.document),
            store.receipts(self.destination.id, (claimed.case, claimed.subject)),
            store.attempts(claimed.id),
        )
        receipts = {name: value for name, value in given.items() if value}
        # An operator's replay starts the tries anew, so that there is a budget; attempts on record keep theirs.
        number = max(claimed.tries, *(each.number + 1 for each in before), 1)
        try:
            if document is None:
                raise Broken(reference=claimed.id)
            request, transport_id = await self._by_hand(document, claimed, receipts, number, now)
        except GatewayError as fault:
            await self._park(claimed, fault)
            return None
        return Attempt(
            id=f"{claimed.id}-{number}",
            exchange=claimed.id,
            number=number,
            started_at=self.tools.clock.now(),
            request=request,
            request_digest=hashlib.sha256(request).hexdigest(),
            transport_id=transport_id,
        )

    async def _by_hand(
        self, document: Document, exchange: Exchange, receipts: dict[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hand, self.wire.render, document, exchange, receipts, number, now)

    async def _park(self, exchange: Exchange, fault: GatewayError) -> None:
        outcome = Outcome(state="parked", codes=(CANNOT_RENDER, fault.code), findings=(fault.finding(),))
        extra = await self._extra(exchange, outcome)
        to = Next("parked", None, CANNOT_RENDER)
        _log.warning("parked", exchange=exchange.id, destination=self.destination.id, code=fault.code)
        await self.insist(steps.move(exchange, to, self.tools.clock.now(), "park", extra))

    async def _send(self, attempt: Attempt) -> Outcome:
        """The answer, judged; anything that went wrong on the way is an answer too, never an exception."""
        try:
            return await self.wire.send(attempt)
        except NotSent as fault:
            return Outcome(state="due", codes=_codes(fault))
        except MaybeSent as fault:
            return Outcome(state="unknown", codes=_codes(fault) or (decide.MAY_HAVE,))
        except GatewayError as fault:  # the answer could not be judged, so nobody knows
            return Outcome(state="unknown", codes=(fault.code,))

    def _known(self, exchange: Exchange, outcome: Outcome) -> Outcome:
        """An answer that repeats the unique receipt of another case is about another message: unknown."""
        mine = [(name, outcome.receipts[name]) for name in self.wire.unique_receipts & outcome.receipts.keys()]
        if any(self._seen.get(each, exchange.case) != exchange.case for each in mine):
            return Outcome(state="unknown", codes=(NOT_OURS,), status=outcome.status, reply=outcome.reply)
        for each in mine:
            self._seen[each] = exchange.case
            self._seen.move_to_end(each)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return outcome

    async def settle(self, exchange: Exchange, attempt: Attempt, outcome: Outcome, name: str = "settle") -> None:
        """Commit what an answer leads to, with its receipts and whatever others want in the same commit."""
        tools, now = self.tools, self.tools.clock.now()
        to = decide.after(outcome, exchange.tries, self.destination.retry, now, tools.chance())
        extra = await self._extra(exchange, outcome if to.state == outcome.state else _spent(outcome, to))
        if name == "settle":
            self.judge(outcome)
        step = steps.settle(exchange, attempt, outcome, to, now, self.wire.subject_receipts, extra, name)
        await self.insist(step)
        if to.state != "delivered":
            _log.info("not_delivered", exchange=exchange.id, destination=exchange.destination, state=to.state)

    def judge(self, outcome: Outcome) -> None:
        """Tell the circuit breaker."""
        broke = outcome.state == "unknown" or (outcome.state == "due" and not outcome.forget)
        if broke:
            self.breaker = decide.failed(self.breaker, self.destination.retry, self.tools.clock.monotonic())
        else:
            self.breaker = decide.answered(self.breaker)
        self.last_code = outcome.codes[0] if outcome.codes else None
        if outcome.state in ("unknown", "awaiting"):
            self.tend_at = min(self.tend_at, self.tools.clock.monotonic() + self.tools.sweep_seconds)

    def answered(self) -> None:
        """The destination answered a question, whatever it said: it is there."""
        self.breaker = decide.answered(self.breaker)

    # --- commits -----------------------------------------------------------------------

    async def commit(self, step: Step) -> None:
        """Commit once."""
        await self.tools.store.commit(step)
        self.tools.on_commit(step)

    async def insist(self, step: Step) -> bool:
        """Commit until the disk takes it; False where the ledger has moved on without us."""
        try:
            await self._until_stored(step.name, lambda: self.commit(step))
        except StaleState:
            _log.warning("stale", step=step.name, destination=self.destination.id)
            return False
        return True

    async def _extra(self, exchange: Exchange, outcome: Outcome) -> steps.Extra:
        """What others want in the commit of an outcome: an answer must not be forgotten because they cannot read."""
        return await self._until_stored("outcome", lambda: self.tools.on_outcome(exchange, outcome))

    async def _until_stored(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        pause = 0.05
        while True:
            try:
                return await work()
            except StorageFailed:
                _log.error("storage_failed", step=name, destination=self.destination.id)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)


def _codes(fault: Exception) -> tuple[str, ...]:
    return tuple(str(each) for each in fault.args[:1] if str(each).startswith("GW-"))


def _spent(outcome: Outcome, to: Next) -> Outcome:
    codes = (to.reason or decide.BUDGET, *outcome.codes)
    return Outcome(state="parked", codes=codes, findings=outcome.findings, status=outcome.status)
