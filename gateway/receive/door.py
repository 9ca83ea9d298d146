"""The one way in: keep, then answer. Both listeners hand arrivals to `Door.receive`.

The order is the promise: nothing positive is rendered before `store.commit` has returned (promise 1). The first
answer is kept as it is given, so that the same control id with the same bytes gets the same answer again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final, Literal, Protocol

import msgspec
import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError, StaleState, StorageFailed, finding
from gateway.formats import hl7v2
from gateway.kept import SubmissionStatus
from gateway.message import Answer, Finding, Step, Submission
from gateway.ports import Settled, Store
from gateway.receive import acceptance, ids
from gateway.receive.acceptance import Arrival, Judged

log: Final = structlog.get_logger("gateway.receive")

TURNED_AWAY_SECONDS: Final = 60.0
TURNED_AWAY_HOSTS: Final = 1000

Fate = Literal["refused", "found", "follows", "parked"]
"""refused: nothing of it goes on; found: findings are complete; follows: they come later; parked: ours to look at."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told about a submission: everything a first answer may contain."""

    submission: Submission
    fate: Fate
    findings: tuple[Finding, ...] = ()
    header: hl7v2.Header | None = None
    status: SubmissionStatus | None = None


class Rendered(msgspec.Struct, frozen=True):
    """An answer as it goes out."""

    media_type: str
    body: bytes


class Renderer(Protocol):
    """How a channel puts a verdict into bytes. `media_type` says which recorded answers it can give again."""

    media_type: str

    def __call__(self, verdict: Verdict) -> Rendered: ...


Later = Callable[[Submission, Sequence[Finding]], Sequence[Answer]]
"""Builds the answers owed later (see `callbacks.later`)."""


Latest = tuple[str, str, str | None] | None
"""`Step.latest`."""

MOST_RACES: Final = 10
"""How often another process may take the same control id before us, until we say that we are busy."""


class Door:
    """Accepts arrivals. `committed` is told each step after it is durable, so that workers wake.

    `arrival` is entered while one is being kept (see `precedence.py`).
    """

    def __init__(
        self,
        store: Store,
        settled: Settled,
        clock: Clock,
        programmes: Sequence[str],
        answer_within: float,
        committed: Callable[[Step], None] = lambda step: None,
        later: Later = lambda submission, findings: (),
        arrival: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._store, self._settled, self._clock = store, settled, clock
        self._programmes, self._within, self._committed = tuple(programmes), answer_within, committed
        self._later, self._arrival = later, arrival
        self._turned: set[str] = set()
        self._turned_since = clock.monotonic()
        self._busy: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def receive(self, arrival: Arrival, render: Renderer, wait: bool = True) -> Rendered:
        """Keep the arrival and say what is to be answered.

        `wait=False` answers at once, without waiting for findings. Raises `StorageFailed` (and `Broken`) when
        nothing was kept: then nothing positive may be said.
        """
        judged = acceptance.judge(arrival, self._programmes, ids.new(arrival.received_at))
        wait = wait and self._within > 0
        async with self._one_at_a_time(judged.submission):
            with self._arrival():
                judged, known = await self._kept(judged, arrival, render, wait)
        if isinstance(known, Rendered):
            return known
        told = await self._await(known or judged.submission, judged, wait)
        given = await self._give(told, render)
        if told.fate == "follows" and wait:
            await self._owe_if_settled(told.submission)
        return given

    async def turn_away(self, host: str, error: GatewayError) -> None:
        """Keep an audit event of a caller who was not let in: one an address and minute, of bounded many."""
        now = self._clock.monotonic()
        if now - self._turned_since > TURNED_AWAY_SECONDS:
            self._turned, self._turned_since = set(), now
        log.warning("turned_away", host=host, code=error.code)
        if host in self._turned or len(self._turned) >= TURNED_AWAY_HOSTS:
            return
        self._turned.add(host)
        try:
            await self._commit(acceptance.turned_away(host, error, self._clock.now()))
        except StorageFailed as fault:
            log.error("audit_not_kept", code=fault.code)

    # --- duplicates ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _one_at_a_time(self, submission: Submission) -> AsyncIterator[None]:
        """Two arrivals under one control id are looked at one after the other."""
        if submission.control_id is None:
            yield
            return
        key = (submission.sender, submission.control_id)
        lock, users = self._busy.get(key, (asyncio.Lock(), 0))
        self._busy[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._busy.pop(key)
            if users > 1:
                self._busy[key] = (lock, users - 1)

    async def _kept(
        self, judged: Judged, arrival: Arrival, render: Renderer, wait: bool
    ) -> tuple[Judged, Rendered | Submission | None]:
        """Keep it, or find what it repeats. Another process that took the same control id meanwhile was first.

        Nearly every control id is new, and the commit finds out whether it is; so the first try does not ask before.
        """
        for race in range(MOST_RACES):
            submission, before = judged.submission, list[Submission]()
            if submission.control_id is not None and race:
                before += await self._store.earlier(submission.sender, submission.control_id)
            earlier = await self._earlier(judged, arrival, before)
            if isinstance(earlier, Submission):
                return judged, await self._known(earlier, render)
            try:
                return earlier, await self._keep(earlier, render, wait, _latest(submission, before))
            except StaleState:
                if race:
                    log.info("control_id_taken_meanwhile", submission=submission.id)
        raise StorageFailed("GW-STORE-010")

    async def _earlier(self, judged: Judged, arrival: Arrival, before: Sequence[Submission]) -> Submission | Judged:
        """The earlier submission that this one repeats, or the judgement with what its control id adds to it."""
        submission = judged.submission
        reused = False
        for each in before:
            then = await self._refused_at_the_door(each)
            if acceptance.same(each, submission) and then == judged.refused:
                return each
            reused = reused or not then
        if not reused or judged.refused:
            return judged
        return msgspec.structs.replace(judged, findings=(*judged.findings, acceptance.reused(arrival.sender)))

    async def _refused_at_the_door(self, earlier: Submission) -> bool:
        """What was refused at the door used nothing up: it may come again, mended, under the same control id."""
        status = await self._store.submission_status(earlier.id)
        return status is not None and status.state == "refused" and not status.items

    async def _known(self, earlier: Submission, render: Renderer) -> Rendered | Submission:
        answer = await self._store.first_answer(earlier.id)
        if answer is not None and answer.media_type == render.media_type:
            return Rendered(answer.media_type, answer.body)
        return earlier

    # --- keep and answer ----------------------------------------------------------------------------

    async def _keep(self, judged: Judged, render: Renderer, wait: bool, latest: Latest) -> Rendered | None:
        """Commit. Where the answer is known already it goes into the same commit."""
        now, step = self._clock.now(), acceptance.keep(judged, self._clock.now())
        step = msgspec.structs.replace(step, latest=latest)
        if wait and not judged.refused:
            await self._commit(step)
            return None
        fate: Fate = "refused" if judged.refused else "follows"
        given = render(
            Verdict(submission=judged.submission, fate=fate, findings=_told(judged, fate), header=judged.header)
        )
        answer = acceptance.first_answer(judged.submission, given.media_type, given.body, now)
        await self._commit(acceptance.together(step, acceptance.record(answer, judged.submission, now)))
        return given

    async def _commit(self, step: Step) -> None:
        await self._store.commit(step)
        self._committed(step)

    async def _await(self, submission: Submission, judged: Judged, wait: bool) -> Verdict:
        status = await self._settled(submission.id, self._within) if wait else None
        if status is None:
            status = await self._store.submission_status(submission.id)
        return verdict(submission, judged, status)

    async def _owe_if_settled(self, submission: Submission) -> None:
        """Findings that were committed while we gave up waiting belong to nobody: owe them as a later answer.

        Whoever settled it saw us waiting and owed nothing. Our commit of the first answer came after theirs, so the
        ledger shows it now.
        """
        status = await self._store.submission_status(submission.id)
        if status is None or not status.settled:
            return
        if any(each.kind != "first" for each in await self._store.answers(submission.id)):
            return
        if answers := self._later(submission, _all_findings(status)):
            try:
                await self._commit(acceptance.owe(answers, self._clock.now()))
            except (StaleState, StorageFailed) as error:
                log.info("later_answer_not_owed", submission=submission.id, error=type(error).__name__)

    async def _give(self, verdict: Verdict, render: Renderer) -> Rendered:
        """Keep the answer, then give it. What is accepted stays accepted when the answer cannot be kept."""
        given, now = render(verdict), self._clock.now()
        answer = acceptance.first_answer(verdict.submission, given.media_type, given.body, now)
        try:
            await self._commit(acceptance.record(answer, verdict.submission, now))
        except StaleState:
            before = await self._store.first_answer(verdict.submission.id)
            if before is not None and before.media_type == given.media_type:
                return Rendered(before.media_type, before.body)
        except StorageFailed:
            log.error("answer_not_kept", submission=verdict.submission.id)
        return given


def _latest(submission: Submission, before: Sequence[Submission]) -> Latest:
    """What the decision to keep it rests on."""
    if submission.control_id is None:
        return None
    return submission.sender, submission.control_id, before[0].id if before else None


def verdict(submission: Submission, judged: Judged, status: SubmissionStatus | None) -> Verdict:
    """What the sender is told, from the status that the ledger gives (None: not settled in time)."""
    fate: Fate = "follows"
    found: tuple[Finding, ...] = ()
    if status is not None and status.settled:
        found = _all_findings(status)
        every = status.state == "refused" or status.counts.keys() == {"refused"}
        fate = "refused" if every else "found"
    elif status is not None and status.state == "parked":
        fate = "parked"
    door = tuple(each for each in judged.findings if each not in found)
    told = msgspec.structs.replace(judged, findings=(*door, *found))
    return Verdict(submission=submission, fate=fate, findings=_told(told, fate), header=judged.header, status=status)


def _all_findings(status: SubmissionStatus) -> tuple[Finding, ...]:
    return status.findings + tuple(each for item in status.items for each in item.findings)


_SAID: Final = {"found": "GW-RECEIVE-022", "follows": "GW-RECEIVE-021", "parked": "GW-RECEIVE-030"}


def _told(judged: Judged, fate: Fate) -> tuple[Finding, ...]:
    """The findings, and one that says outright that all is well, or that more is to come."""
    if fate == "refused" or (fate == "found" and judged.findings):
        return judged.findings
    return (*judged.findings, finding(_SAID[fate]))
