"""The loops that carry a submission through the rooms: take apart, gather, publish, pass time limits.

The ledger is the only memory. Each loop asks it for what is to be done, does it, and commits one step; after a crash
the same question gives the same work. Mapping runs in parallel; gathering commits per subject in the order that the
store hands out. A fault of ours parks the thing that met it, with a reference, and the loop goes on: this file
holds the gateway's only broad `except`.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import structlog

from gateway import steps, taking, workers
from gateway.bell import Bell
from gateway.clock import Clock
from gateway.errors import StaleState, StorageFailed
from gateway.gather import documents
from gateway.message import Answer, Case, Finding, ItemRecord, Step, Submission
from gateway.pool import Pool
from gateway.ports import Store
from gateway.programme import Programme
from gateway.receive import preview
from gateway.settings import Sender, Settings
from gateway.sign import evidence

_log = structlog.get_logger()
_IDLE: Final = 1.0
_LIMITS: Final = 5.0
_PAGE: Final = 500
_STORAGE_PAUSE: Final = 1.0
_STOP: Final = "stop"
PARTS: Final = 32
"""Into so many parts the received submissions are divided between processes."""

SHARE_SECONDS: Final = 2.0
MOST: Final = 500

Later = Callable[[Submission, Sequence[Finding]], Sequence[Answer]]
"""Builds the answers that are owed later for findings that came after the first answer."""


async def at_once() -> None:
    """Nobody goes first."""


class Work:
    """One process's share of the work. It asks `first` before each piece of it (see `precedence.py`)."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        pool: Pool,
        clock: Clock,
        bell: Bell,
        programmes: Mapping[str, Programme],
        later: Later,
        committed: Callable[[Step], None],
        first: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._settings, self._store, self._pool = settings, store, pool
        self._clock, self._bell, self._programmes = clock, bell, programmes
        self._later, self._committed, self._first = later, committed, first
        self._senders: dict[str, Sender] = {sender.id: sender for sender in settings.sender}
        self._folder = Path(settings.data) / "registry"
        self._registry: dict[str, str] = {}
        self._taking: dict[str, asyncio.Task[None]] = {}
        self._share: frozenset[int] = frozenset()
        self._share_until = 0.0
        self._stopping = False

    async def run(self) -> None:
        """Work until `stop`; a storage failure pauses, anything else that is ours parks."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop("submission:received", self.take_apart))
            group.create_task(self._loop("item:valid", self._alone(self.gather)))
            group.create_task(self._loop("case:complete", self._alone(self.publish)))
            group.create_task(self._loop(_STOP, self._alone(self.pass_limits), _LIMITS))

    def _alone(self, once: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """Cases are put together by one process at a time: each item sees what the one before it left."""

        async def led() -> bool:
            return await self._store.leads("gather") and await once()

        return led

    def stop(self) -> None:
        """Let every loop end after what it is doing."""
        self._stopping = True
        self._bell.ring(("submission:received", "item:valid", "case:complete", _STOP))

    def use(self, programmes: Mapping[str, Programme]) -> None:
        """Gather by these from now on."""
        self._programmes = programmes

    def registry_changed(self) -> None:
        """Read the reference data anew for the next submission."""
        self._registry.clear()

    async def _loop(self, topic: str, once: Callable[[], Awaitable[bool]], idle: float = _IDLE) -> None:
        with self._bell.listen(topic) as ear:
            while not self._stopping:
                ear.forget()
                await self._first()
                try:
                    busy = await once()
                except StorageFailed:
                    _log.error("storage_failed", topic=topic)
                    await asyncio.sleep(_STORAGE_PAUSE)
                    continue
                if not busy:
                    await ear.wait(idle)

    async def _commit(self, step: Step) -> None:
        await self._store.commit(step)
        self._committed(step)

    async def _guard(self, work: Coroutine[Any, Any, None], park: Callable[[str], Step], id: str) -> None:
        """The worker loop's broad `except`: whatever goes wrong with one thing parks that thing."""
        try:
            await work
        except (StorageFailed, StaleState):
            raise
        except Exception as fault:  # noqa: BLE001 - the one place: it parks
            await self._park(park, id, type(fault).__name__)

    async def _park(self, park: Callable[[str], Step], id: str, kind: str) -> None:
        reference = secrets.token_hex(6)
        # The message of the exception could quote the input, so only its kind is logged.
        _log.error("parked", id=id, kind=kind, reference=reference)
        await self._commit(park(reference))

    # --- map and validate ------------------------------------------------------------------------

    async def take_apart(self) -> bool:
        """Hand received submissions to the workers; True when there was something to hand out."""
        room = self._pool.size * 3 - len(self._taking)
        if room <= 0:
            await asyncio.wait(self._taking.values(), return_when=asyncio.FIRST_COMPLETED)
            return True
        share = await self._shared()
        wanted = (room + len(self._taking)) * PARTS // max(1, len(share))
        mine = (s for s in await self._store.received(min(wanted, MOST)) if zlib.crc32(s.id.encode()) % PARTS in share)
        fresh = [each for each in mine if each.id not in self._taking][:room]
        for submission in fresh:
            task = asyncio.create_task(self._take(submission))
            self._taking[submission.id] = task
            task.add_done_callback(partial(self._taken, submission.id))
        return bool(fresh)

    async def _shared(self) -> frozenset[int]:
        """The parts of what was received that this process maps, asked anew every other second."""
        now = self._clock.monotonic()
        if now >= self._share_until:
            self._share, self._share_until = await self._store.share("map", PARTS), now + SHARE_SECONDS
        return self._share

    def _taken(self, id: str, task: asyncio.Task[None]) -> None:
        self._taking.pop(id, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.warning("take_apart_failed", submission=id, kind=type(fault).__name__)

    async def _take(self, submission: Submission) -> None:
        await self._guard(
            self._examine(submission),
            lambda reference: steps.park_submission(submission, reference, self._clock.now()),
            submission.id,
        )

    async def preview(self, submission: Submission) -> preview.Preview:
        """What would become of an input that is not kept: its first items."""
        part = await self._pool.run(workers.peek, submission, await self._ask(submission), preview.SHOWN)
        return preview.Preview([each.result for each in part.items], not part.last)

    async def _ask(self, submission: Submission) -> workers.Ask:
        sender = self._senders.get(submission.sender)
        return workers.Ask(
            self._clock.now(),
            await self._registry_of(submission.programme),
            str(self._folder),
            sender.options if sender else {},
        )

    async def _examine(self, submission: Submission) -> None:
        sender, ask = self._senders.get(submission.sender), await self._ask(submission)
        await self._itemise(submission, ask, sender is not None and sender.rows == "all_or_nothing")

    async def _itemise(self, submission: Submission, ask: workers.Ask, together: bool) -> None:
        """Keep the items part by part; what an earlier run of this process kept is not made again."""
        tally = taking.Tally()
        first = await self._store.items_so_far(submission.id)
        if first:
            await self._told(submission.id, first, tally)
        refused: Sequence[str] | None = None
        async for part in taking.parts(self._pool, submission, ask, first):
            examined: Sequence[workers.Examined] = part.items
            if together:
                if refused is None and (first or not part.last):
                    refused = await taking.refusals(self._pool, submission, ask)
                examined = steps.all_or_nothing(examined, refused or ())
            earlier, at = tally.taken, self._clock.now()
            tally.add(examined)
            if part.last:
                answers = self._answers(submission, tally.findings())
                await self._commit(steps.itemise(submission, examined, at, answers, earlier))
            else:
                await self._commit(steps.itemise_part(submission, examined, at))

    async def _told(self, submission: str, kept: int, tally: taking.Tally) -> None:
        """What an earlier run of this process found, read page by page."""
        for start in range(0, kept, _PAGE):
            for item in await self._store.items(submission, start, _PAGE):
                tally.taken = steps.Taken(tally.taken.items + 1, tally.taken.refused + (item.state == "refused"))
                tally.tell(item.result.findings)

    def _answers(self, submission: Submission, findings: Sequence[Finding]) -> Sequence[Answer]:
        """What the sender is told later: nothing when the first answer is still waiting for these findings."""
        if self._bell.awaited(f"submission/{submission.id}"):
            return ()
        return self._later(submission, findings)

    async def _registry_of(self, programme: str) -> str:
        if programme not in self._registry:
            entries = await self._store.registry(programme)
            self._registry[programme] = workers.write_registry(self._folder, entries)
        return self._registry[programme]

    # --- gather ----------------------------------------------------------------------------------

    async def gather(self) -> bool:
        """Let valid items join their cases: subjects in parallel, each subject in sequence."""
        items = await self._store.gatherable(200)
        order = sorted(enumerate(items), key=lambda pair: (pair[1].sender, str(pair[1].result.subject), pair[0]))
        subjects = [
            [item for _, item in group]
            for _, group in groupby(order, key=lambda pair: (pair[1].sender, pair[1].result.subject))
        ]
        await asyncio.gather(*(self._gather_subject(each) for each in subjects))
        return bool(items)

    async def _gather_subject(self, items: Sequence[ItemRecord]) -> None:
        for item in items:
            try:
                await self._guard(self._join(item), partial(self._park_item, item), item.id)
            except StaleState:
                return  # somebody else took a step of this case: ask the ledger again

    def _park_item(self, item: ItemRecord, _reference: str) -> Step:
        return steps.park_item(item, self._clock.now())

    async def _join(self, item: ItemRecord) -> None:
        assert item.result.case is not None
        case = await self._store.case(item.result.case.id)
        step = steps.gather(self._programmes[item.programme], case, item, self._clock.now())
        await self._commit(step)

    # --- publish ---------------------------------------------------------------------------------

    async def publish(self) -> bool:
        """Build, sign and route the document of every complete case version that has none, each subject in order."""
        due = await self._store.undocumented(50)
        subjects: dict[tuple[str, str], list[Case]] = {}
        for case in due:
            subjects.setdefault((case.sender, case.subject), []).append(case)
        await asyncio.gather(*(self._publish_subject(each) for each in subjects.values()))
        return bool(due)

    async def _publish_subject(self, due: Sequence[Case]) -> None:
        """One after the other: an exchange takes its place in the order of its subject when it is made."""
        for case in due:
            await self._first()
            try:
                await self._guard(self._publish(case), partial(self._park_case, case), case.id)
            except StaleState:
                _log.info("publish_again", case=case.id)
                return  # the later ones wait for it

    def _park_case(self, case: Case, reference: str) -> Step:
        return steps.park_case(case, reference, self._clock.now())

    async def _publish(self, case: Case) -> None:
        programme, at = self._programmes[case.programme], self._clock.now()
        items = await self._store.case_items(case.id)
        body = documents.assemble(programme, case, items, at)
        derived = programme.document_plan(case.kind).derived
        body, proof = await self._pool.run(workers.seal, programme.name, body, derived, at)
        made = steps.document(programme, case, items, body, proof, at)
        provenance = evidence.provenance(proof, made.id, f"Binary/{made.id}", made.digest, programme.canonical)
        older = await self._store.exchanges_of_case(case.id)
        await self._commit(steps.publish(programme, case, made, provenance, older, at))

    # --- time ------------------------------------------------------------------------------------

    async def pass_limits(self) -> bool:
        """Expire, or complete, the cases whose time is up; their sender is told what was missing."""
        now = self._clock.now()
        late = await self._store.expiring(now, 100)
        for case in late:
            programme = self._programmes[case.programme]
            answers = await self._late_answers(programme, case)
            try:
                await self._commit(steps.pass_limit(programme, case, now, answers))
            except StaleState:
                _log.info("limit_overtaken", case=case.id)
        return bool(late)

    async def _late_answers(self, programme: Programme, case: Case) -> Sequence[Answer]:
        items = await self._store.case_items(case.id)
        if not items:
            return ()
        submission = await self._store.submission(items[-1].submission)
        return self._later(submission, (steps.missing_parts(programme, case),)) if submission else ()
