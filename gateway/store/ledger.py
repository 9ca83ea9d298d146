"""The ledger: the store that rooms are given. It joins the writer thread, the reading threads and the questions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from sqlalchemy.exc import DatabaseError

from gateway.clock import Clock
from gateway.errors import Misconfigured, StorageFailed
from gateway.formats.search import Hit, Indexer, IndexRow, Scope, Search
from gateway.formats.views import Views
from gateway.kept import (
    JOURNAL_LINES,
    STATUS_ITEMS,
    JournalEntry,
    KeptAudit,
    KeptResource,
    Parked,
    Queue,
    SubmissionStatus,
)
from gateway.message import (
    Answer,
    Attempt,
    Case,
    Committed,
    Conformity,
    Document,
    Exchange,
    ItemRecord,
    RegistryEntry,
    Step,
    Submission,
)
from gateway.store import (
    ask_delivery,
    ask_desk,
    ask_intake,
    ask_kept,
    engine,
    identity,
    memory,
    recovery,
    retention,
    search_ask,
    search_write,
    view_write,
)
from gateway.store.apply import apply
from gateway.store.asking import Asker
from gateway.store.exports import ExportCalls
from gateway.store.group import Group
from gateway.store.measuring import Measuring
from gateway.store.migrations import migrate
from gateway.store.owner import Owner
from gateway.store.payload import Payloads
from gateway.store.progress import Progress
from gateway.store.subscriptions import SubscriptionCalls
from gateway.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

VIEW_BATCH = 200
"""Resources that a commit looks at while tables of views are filled."""


class Ledger:
    """`gateway.ports.Store`, and what operators and pulling repositories ask besides.

    Use it as an asynchronous context manager, or call `start` and `stop`. Every method may raise `StorageFailed`
    while the database cannot be reached, and `Broken` GW-STORE-003 where bytes are not those that were written.
    """

    def __init__(
        self, url: str, data: Path, clock: Clock, indexer: Indexer | None = None, views: Views | None = None
    ) -> None:
        self._url = engine.address(url, data)
        self._data, self._clock, self._indexer, self._views = data, clock, indexer, views
        self._embedded = engine.dialect(self._url) == "sqlite"
        self._payloads = Payloads(data / "blobs" if self._embedded else None)
        self._owner = Owner(data)
        self._writing, self._reading = engine.writer(self._url), engine.reader(self._url)
        self._writer = Writer(self._writing, self._payloads, clock, self._reading.dispose)
        self._asker = Asker(self._reading, self._payloads, engine.TOGETHER[engine.dialect(self._url)])
        self._ask, self._soon = self._asker.alone, self._asker.soon
        self.measures = Measuring(self._url, self._writer, self._asker)
        self._forgot: datetime | None = None
        self._trouble: str | None = None
        self.exports = ExportCalls(self._ask, self._submit, clock)
        self.subscriptions = SubscriptionCalls(self._ask, self._submit, clock)

    # --- life ----------------------------------------

    async def start(self) -> None:
        """Own the data folder (SQLite), bring the tables up to date, begin to write. Raises `Misconfigured`."""
        await asyncio.to_thread(self._prepare)
        await self._writer.start()
        if self._indexer is not None:
            await self._index_the_rest(self._indexer)
        if self._views is not None:
            await self.use_views(self._views)

    async def stop(self) -> None:
        """Commit what is waiting, close, give the folder free."""
        await self._writer.stop()
        await asyncio.to_thread(self._asker.stop)
        await asyncio.to_thread(self.measures.stop)
        self._reading.dispose()
        self._owner.release()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _prepare(self) -> None:
        try:
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._embedded:  # readable by its owner alone; log and index take over the mode
                os.close(os.open(str(self._url.database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise Misconfigured("GW-STORE-002", detail=f"{self._data}: {error.strerror}") from None
        if self._embedded:
            self._owner.take()
            self._payloads.remove_parts()
        try:
            with self._writing.begin() as connection:
                if not self._embedded:
                    engine.refuse_unsynced(connection)
                migrate(connection, self._clock.now())
        except DatabaseError as error:
            self._owner.release()
            raise Misconfigured("GW-STORE-002", detail=type(error.orig).__name__) from None
        except Misconfigured:
            self._owner.release()
            raise

    # --- writing ----------------------------------------

    async def commit(self, step: Step) -> Committed:
        """The step in one transaction, synced when this returns.

        Raises `StaleState` if a thing was not in the expected state, `IllegalStep` for a move that is not in the
        tables, `StorageFailed` if it could not be made durable; then nothing of the step was acknowledged.
        """
        if self._payloads.spills(step):
            await asyncio.to_thread(self._payloads.spill, step)
        views = self._views
        if not any(search_write.stored(step)):
            viewed = None if views is None else view_write.Viewed(views, ())
            return await self._submit(lambda group: apply(group, step, None, viewed))
        found, shown = await asyncio.to_thread(self._looked, step, views)
        return await self._submit(lambda group: apply(group, step, found, shown))

    async def trouble(self) -> str | None:
        """None while commits become durable, else the code of why they do not. After a failure it tries one."""
        if self._trouble is not None:
            try:
                await self.remember("probe", "writable", self._clock.now() + timedelta(seconds=1))
            except StorageFailed as fault:
                return fault.code
            self._trouble = None
        return None

    async def _submit(self, job: Callable[[Group], T]) -> T:
        try:
            return await self._writer.submit(job)
        except StorageFailed as fault:
            self._trouble = fault.code
            raise

    def _looked(
        self, step: Step, views: Views | None
    ) -> tuple[Mapping[int, Sequence[IndexRow]] | None, view_write.Viewed | None]:
        """What can be searched in the step's resources, and their rows in views, before the writer is asked."""
        indexer = self._indexer
        found = None if indexer is None else {n: indexer(each) for n, each in enumerate(search_write.stored(step))}
        return found, None if views is None else view_write.viewed(views, step)

    async def _index_the_rest(self, indexer: Indexer) -> None:
        """What was written without an indexer, or with other rules; a few at a time."""
        await self._writer.submit(lambda group: search_write.begin(group, indexer.digest))
        while await self._writer.submit(lambda group: search_write.catch_up(group, indexer, 200)):
            pass

    async def use_views(self, views: Views) -> None:
        """Keep the tables of these views from now on; what is missing in them is filled before this returns."""
        self._views = views
        self.measures.use(views)
        waiting = await self._writer.submit(lambda group: view_write.begin(group, views))
        progress = Progress("views", waiting, self._clock)
        while some := await self._writer.submit(lambda group: view_write.fill(group, views, VIEW_BATCH)):
            progress.add(some)
        progress.done()

    async def catch_up_views(self) -> None:
        """What others published by other rules, or none, since `use_views`; nothing while the tables are others'."""
        if (views := self._views) is not None:
            while await self._writer.submit(lambda group: view_write.catch_up(group, views, VIEW_BATCH)):
                pass

    async def recover(self) -> Sequence[str]:
        """Apply `flow.AFTER_CRASH` to what dead workers held; ids that became unknown. Call at start.

        On PostgreSQL other processes may be at work: only what belongs to none that lives is touched, so it may be
        called again whenever one is missed.
        """
        return await self._writer.submit(lambda group: recovery.recover(group, self._clock.now()))

    async def leads(self, duty: str) -> bool:
        """Whether this process has a duty that only one has at a time; free again when its connection ends."""
        return self._embedded or await self._writer.submit(lambda group: identity.leads(group.connection, duty))

    async def share(self, name: str, parts: int) -> frozenset[int]:
        """This process's fair share of so many parts of the work. No part is in two shares at a time."""
        if self._embedded:
            return frozenset(range(parts))
        return await self._writer.submit(lambda group: identity.share(group.connection, name, parts))

    async def remember(self, kind: str, value: str, expires: datetime) -> bool:
        """False if the value was seen before and has not expired; durable when this returns (token ids)."""
        now = self._clock.now()
        tidy = self._forgot is None or (now - self._forgot).total_seconds() > 60
        if tidy:
            self._forgot = now
            await self._writer.submit(lambda group: memory.forget(group, now))
        return await self._writer.submit(lambda group: memory.remember(group, kind, value, expires, now))

    async def forget(self, programme: str, before: datetime, limit: int = 200, state: str | None = None) -> int:
        """Retention: drop the received and sent bytes of at most `limit` submissions that ended before that time.

        Only where everything that came of them has ended too. Digests, findings, journal, items, documents with
        their evidence, resources and audit stay. Returns how many; call again until 0, then `tidy`.
        """
        return await self._writer.submit(lambda group: retention.forget(group, programme, before, limit, state))

    async def forget_metadata(self, programme: str, before: datetime, limit: int = 200) -> int:
        """Retention: drop journal lines and attempts of submissions whose bytes are gone; repeat until 0."""
        return await self._writer.submit(lambda group: retention.forget_metadata(group, programme, before, limit))

    async def tidy(self, pages: int = 1000) -> int:
        """Remove files that no row names and give so many free pages back (SQLite); returns what is still free."""
        digests = await asyncio.to_thread(lambda: list(self._payloads.files()))
        for start in range(0, len(digests), 100):
            part = digests[start : start + 100]
            await self._writer.submit(lambda group, part=part: retention.sweep(group, part))  # type: ignore[misc]
        return await self._writer.submit(lambda group: retention.shrink(group, pages))

    # --- reading ----------------------------------------

    async def submission(self, id: str) -> Submission | None:
        return await self._soon(ask_intake.submission, id)

    async def submission_status(self, id: str, first: int = 0, limit: int = STATUS_ITEMS) -> SubmissionStatus | None:
        return await self._ask(ask_intake.submission_status, id, first, limit)

    async def earlier(self, sender: str, control_id: str) -> Sequence[Submission]:
        return await self._soon(ask_intake.earlier, sender, control_id)

    async def received(self, limit: int) -> Sequence[Submission]:
        return await self._soon(ask_intake.received, limit)

    async def items(self, submission: str, first: int = 0, limit: int | None = None) -> Sequence[ItemRecord]:
        return await self._ask(ask_intake.items, submission, first, limit)

    async def items_so_far(self, submission: str) -> int:
        """How many items of the submission are kept."""
        return await self._soon(ask_intake.items_so_far, submission)

    async def gatherable(self, limit: int) -> Sequence[ItemRecord]:
        return await self._soon(ask_intake.gatherable, limit)

    async def first_answer(self, submission: str) -> Answer | None:
        return await self._soon(ask_intake.first_answer, submission)

    async def answers(self, submission: str) -> Sequence[Answer]:
        return await self._soon(ask_intake.answers, submission)

    async def answers_due(self, now: datetime, limit: int) -> Sequence[Answer]:
        return await self._soon(ask_intake.answers_due, now, limit)

    async def journal(
        self, submission: str, after: tuple[int, int] = ask_intake.START, limit: int = JOURNAL_LINES
    ) -> Sequence[JournalEntry]:
        return await self._ask(ask_intake.journal, submission, after, limit)

    async def case(self, id: str) -> Case | None:
        return await self._soon(ask_delivery.case, id)

    async def cases_of(self, subject: str, limit: int = 10_000) -> Sequence[Case]:
        return await self._ask(ask_delivery.cases_of, subject, limit)

    async def case_items(self, case: str) -> Sequence[ItemRecord]:
        return await self._soon(ask_delivery.case_items, case)

    async def undocumented(self, limit: int) -> Sequence[Case]:
        return await self._soon(ask_delivery.undocumented, limit)

    async def expiring(self, before: datetime, limit: int) -> Sequence[Case]:
        return await self._soon(ask_delivery.expiring, before, limit)

    async def document(self, id: str) -> Document | None:
        return await self._soon(ask_delivery.document, id)

    async def documents(self, case: str) -> Sequence[Document]:
        return await self._ask(ask_delivery.documents, case)

    async def exchange(self, id: str) -> Exchange | None:
        return await self._soon(ask_delivery.exchange, id)

    async def exchanges_of_case(self, case: str) -> Sequence[Exchange]:
        return await self._soon(ask_delivery.exchanges_of_case, case)

    async def waiting_under(self, destination: str, receipt: str, value: str) -> Exchange | None:
        return await self._soon(ask_delivery.waiting_under, destination, receipt, value)

    async def find_exchange_by_document(self, document: str, destination: str) -> Exchange | None:
        return await self._soon(ask_delivery.find_exchange_by_document, document, destination)

    async def runnable(self, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
        return await self._soon(ask_delivery.runnable, destination, now, limit)

    async def woken(self, ids: Sequence[str], now: datetime) -> Sequence[Exchange]:
        return await self._soon(ask_delivery.woken, ids, now)

    async def next_due(self, destination: str) -> datetime | None:
        return await self._soon(ask_delivery.next_due, destination)

    async def in_state(self, destination: str, state: str, limit: int) -> Sequence[Exchange]:
        return await self._soon(ask_delivery.in_state, destination, state, limit)

    async def exchanges(
        self,
        state: str | None = None,
        destination: str | None = None,
        programme: str | None = None,
        limit: int = 100,
        after: int = 0,
        reason: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[Exchange]:
        wanted = (state, destination, programme, limit, after, reason, since, until)
        return await self._ask(ask_delivery.exchanges, *wanted)

    async def attempts(self, exchange: str) -> Sequence[Attempt]:
        return await self._soon(ask_delivery.attempts, exchange)

    async def receipts(self, destination: str, scopes: Sequence[str]) -> Mapping[str, str]:
        return await self._soon(ask_delivery.receipts, destination, scopes)

    async def registry(self, programme: str) -> Sequence[RegistryEntry]:
        return await self._ask(ask_delivery.registry, programme)

    async def conformity(self, destination: str) -> Conformity | None:
        return await self._soon(ask_delivery.conformity, destination)

    async def paused(self) -> frozenset[str]:
        return await self._soon(ask_desk.paused)

    async def queues(self) -> Sequence[Queue]:
        return await self._ask(ask_desk.queues)

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        return await self._ask(ask_desk.parked, limit)

    async def resource(self, type: str, id: str) -> KeptResource | None:
        return await self._ask(ask_kept.resource, type, id)

    async def resource_history(self, type: str, id: str, limit: int = 100) -> Sequence[KeptResource]:
        return await self._ask(ask_kept.resource_history, type, id, limit)

    async def resource_version(self, type: str, id: str, version: int) -> KeptResource | None:
        return await self._ask(ask_kept.resource_version, type, id, version)

    async def changes(self, since_feed: int, limit: int) -> Sequence[KeptResource]:
        return await self._ask(ask_kept.changes, since_feed, limit)

    async def feed(self) -> int:
        return await self._ask(ask_kept.feed)

    async def audit_events(self, since_feed: int = 0, limit: int = 100) -> Sequence[KeptAudit]:
        return await self._ask(ask_kept.audit_events, since_feed, limit)

    async def audit_event(self, id: str) -> KeptAudit | None:
        return await self._ask(ask_kept.audit_event, id)

    async def audit_chain_intact(self) -> bool:
        return await self._ask(ask_kept.audit_chain_intact)

    async def search(self, asked: Search) -> Sequence[Hit]:
        return await self._ask(search_ask.search, asked)

    async def count_matches(self, asked: Search, most: int) -> int:
        return await self._ask(search_ask.count_matches, asked, most)

    async def current(self, type: str, ids: Sequence[str], scope: Scope, feed: int | None = None) -> list[KeptResource]:
        return await self._ask(search_ask.current, type, ids, scope, feed)

    async def newest(self, type: str, id: str, scope: Scope) -> KeptResource | None:
        return await self._ask(search_ask.newest, type, id, scope)

    async def version(self, type: str, id: str, version: int, scope: Scope) -> KeptResource | None:
        return await self._ask(search_ask.version, type, id, version, scope)

    async def versions(
        self,
        scope: Scope,
        type: str | None = None,
        id: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Sequence[Hit]:
        return await self._ask(search_ask.versions, scope, type, id, after, before, limit, newest_first)

    async def position_since(self, at: datetime) -> int:
        return await self._ask(search_ask.position_since, at)

    async def last_updated(self, scope: Scope, feed: int) -> datetime | None:
        return await self._ask(search_ask.last_updated, scope, feed)

    async def remembered(self, kind: str, value: str) -> bool:
        return await self._ask(search_ask.remembered, kind, value, self._clock.now())

    async def carried(self, document: str, scope: Scope) -> Document | None:
        return await self._ask(search_ask.carried, document, scope)

    async def counts(self) -> Mapping[str, Mapping[str, tuple[int, datetime | None]]]:
        return await self._ask(ask_kept.counts)
