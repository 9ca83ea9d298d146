"""The one writer: a thread that commits what is waiting in groups, and answers only after COMMIT returned.

While one group is being synced the next one collects, so the cost of a sync is shared by as many steps as happened
to wait for it. Each step has its own savepoint: one that fails is undone alone. When the database itself fails
(disk full, I/O error, connection lost) every step of the group fails, nothing is acknowledged, and the connection
is thrown away; the next group opens another one and first proves that everything acknowledged is still there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, PendingRollbackError, StatementError

from gateway.clock import Clock
from gateway.errors import Broken, GatewayError, StaleState, StorageFailed
from gateway.flow import IllegalStep
from gateway.store import identity
from gateway.store.group import Group, Identity, Marks
from gateway.store.payload import Payloads
from gateway.store.statements import Statements

T = TypeVar("T")
Job = Callable[[Group], Any]

GROUP: Final = 128
"""Steps in one commit, at most."""

WAITING: Final = 10_000
"""Steps that may wait for the writer; the next one is told that the store is busy, so memory stays bounded."""

_STEP_FAILS: Final = (GatewayError, IllegalStep, ValueError, TypeError, LookupError, ArithmeticError, AssertionError)
_FOREIGN_KEY: Final = frozenset({"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"})
_UNFIT: Final = ("22", "42", "54")
"""PostgreSQL's classes of errors that lie in the values of one step: data, syntax of a value, limits."""

log = structlog.get_logger("gateway.store")


class Outcome(NamedTuple, Generic[T]):
    """What became of one job: a result, or why not."""

    result: T | None
    error: BaseException | None


class _Waiting(NamedTuple):
    job: Job
    future: asyncio.Future[Any]


def _translated(error: DBAPIError | StatementError) -> GatewayError | None:
    """What a database error means for its step; None where the whole group has failed."""
    if isinstance(error, IntegrityError):
        state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None)
        if state in _FOREIGN_KEY:
            return Broken("GW-STORE-008", thing="a record that another one names")
        return StaleState(thing="a new record")
    state = getattr(error.orig, "sqlstate", None) or ""
    if isinstance(error, DataError) or not isinstance(error, DBAPIError) or state.startswith(_UNFIT):
        return Broken("GW-STORE-009")
    return None


def _tried(group: Group, job: Job) -> Outcome[Any]:
    """The job inside its savepoint."""
    saved = group.saved()
    group.hand.plain("SAVEPOINT step")
    try:
        result = job(group)
        group.hand.plain("RELEASE SAVEPOINT step")
    except _STEP_FAILS as error:
        failed: BaseException = error
    except StatementError as error:
        translated = _translated(error)
        if translated is None:
            raise
        failed = translated
    else:
        return Outcome(result, None)
    group.hand.plain("ROLLBACK TO SAVEPOINT step")
    group.hand.plain("RELEASE SAVEPOINT step")
    group.restore(saved)
    return Outcome(None, failed)


class Writer:
    """Everything between `submit` and the synced disk. `failed` is called in the writer thread after a failure."""

    def __init__(self, engine: Engine, payloads: Payloads, clock: Clock, failed: Callable[[], None]) -> None:
        self._engine, self._payloads, self._clock, self._failed = engine, payloads, clock, failed
        self._thread = ThreadPoolExecutor(1, "ledger-writer")
        self._connection: Connection | None = None
        self._identity: Identity | None = None
        self._floor: Marks | None = None
        self._statements = Statements()
        self._waiting: list[_Waiting] = []
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def identity(self) -> Identity:
        """Who this writer is, once it has begun."""
        assert self._identity is not None
        return self._identity

    async def start(self) -> None:
        """Open the connection and take a place among the writers."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._opened)

    async def stop(self) -> None:
        """Commit what is waiting, then close. Again is harmless."""
        if self._closed:
            return
        self._closed = True
        while self._pump is not None and not self._pump.done():
            await asyncio.wait([self._pump])
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def submit(self, job: Callable[[Group], T]) -> T:
        """Run the job in the next group; returns after its transaction is synced, raises if it is not."""
        if self._closed or len(self._waiting) >= WAITING:
            raise StorageFailed("GW-STORE-010")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, future))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run(), name="ledger-writer")
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [each for each in self._waiting[:GROUP] if not each.future.done()]
            del self._waiting[:GROUP]
            running = loop.run_in_executor(self._thread, self._group, [each.job for each in batch])
            await asyncio.wait([running])
            error = running.exception()
            outcomes = [Outcome(None, error)] * len(batch) if error is not None else running.result()
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _tell(waiting.future, outcome)

    # --- in the writer thread ----------------------------------------

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._identity = identity.taken(self._connection, self._identity)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _group(self, jobs: Sequence[Job]) -> Sequence[Outcome[Any]]:
        """One transaction. Nothing is returned before COMMIT has."""
        done = False
        try:
            outcomes = self._committed(jobs)
            done = True
            return outcomes
        except (DBAPIError, PendingRollbackError) as error:
            log.error("store_failed", steps=len(jobs), kind=type(getattr(error, "orig", error)).__name__)
            raise StorageFailed("GW-STORE-004") from None
        finally:
            if not done:
                self._drop()

    def _begun(self) -> tuple[RootTransaction, Group]:
        """A transaction that holds the feed. A connection that died while idle is replaced: nothing was done yet."""
        fresh = self._connection is None
        try:
            connection = self._opened()
            transaction = connection.begin()
            return transaction, Group(connection, self._statements, self.identity, self._payloads, self._floor)
        except (DBAPIError, PendingRollbackError):
            if fresh:
                raise
            self._drop()
            return self._begun()

    def _committed(self, jobs: Sequence[Job]) -> Sequence[Outcome[Any]]:
        transaction, group = self._begun()
        with transaction:
            outcomes = [_tried(group, job) for job in jobs]
            group.close(self._clock.now())
        self._floor = group.marks
        return outcomes

    def _drop(self) -> None:
        """After a failure nothing of the old connection is trusted."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        self._failed()


def _tell(future: asyncio.Future[Any], outcome: Outcome[Any]) -> None:
    if future.done():
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.result)
