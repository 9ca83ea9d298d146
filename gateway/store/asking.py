"""Small questions in groups: while a thread answers some, the next ones collect, and share one snapshot.

A message needs a dozen reads on its way, each of them shorter than the switch of threads and the transaction around it.
So what waits is answered together: one hop, one snapshot that is not older than any of the questions. What may read
much (a search, an export, a whole trace) is asked by itself and holds nobody up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from gateway.errors import Broken, GatewayError, StorageFailed
from gateway.store.engine import READERS
from gateway.store.payload import Payloads
from gateway.store.reading import Reading
from gateway.store.statements import Hand, Statements

P = ParamSpec("P")
T = TypeVar("T")
Question = Callable[[Reading], Any]

MOST: Final = 64
"""Questions on one snapshot, at most."""

_QUESTION_FAILS: Final = (GatewayError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError)


class _Waiting(NamedTuple):
    question: Question
    future: asyncio.Future[Any]


class _Answer(NamedTuple):
    value: Any = None
    error: BaseException | None = None


class Asker:
    """The reading threads. `together` of them answer groups; the others one question at a time."""

    def __init__(self, engine: Engine, payloads: Payloads, together: int) -> None:
        self._engine, self._payloads, self._free = engine, payloads, together
        self._groups = ThreadPoolExecutor(together, "ledger-groups")
        self._alone = ThreadPoolExecutor(READERS - together, "ledger-reader")
        self._statements = Statements()
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Let what is being answered end."""
        self._groups.shutdown()
        self._alone.shutdown()

    async def alone(self, question: Callable[Concatenate[Reading, P], T], *args: P.args, **named: P.kwargs) -> T:
        """The question on a snapshot of its own."""

        def asked() -> T:
            made: T = self._by_itself(lambda reading: question(reading, *args, **named))
            return made

        return await asyncio.get_running_loop().run_in_executor(self._alone, asked)

    async def soon(self, question: Callable[Concatenate[Reading, P], T], *args: P.args, **named: P.kwargs) -> T:
        """The question on the next snapshot, with whatever else waits for one."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(lambda reading: question(reading, *args, **named), future))
        if self._free:
            self._free -= 1
            task = asyncio.create_task(self._run(), name="ledger-groups")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group = [each for each in self._waiting[:MOST] if not each.future.done()]
                del self._waiting[:MOST]
                running = loop.run_in_executor(self._groups, self._together, [each.question for each in group])
                await asyncio.wait([running])
                error = running.exception()
                answers = [_Answer(error=error)] * len(group) if error is not None else running.result()
                for waiting, answer in zip(group, answers, strict=True):
                    _tell(waiting.future, answer)
        finally:
            self._free += 1

    # --- in a reading thread ----------------------------------------

    def _together(self, questions: Sequence[Question]) -> Sequence[_Answer]:
        try:
            with self._engine.connect() as connection, connection.begin():
                reading = Reading(connection, self._payloads, Hand(connection, self._statements))
                return [_answered(question, reading) for question in questions]
        except DatabaseError:  # the snapshot is gone, and nobody knows whose fault it was
            return [self._tried(question) for question in questions]

    def _tried(self, question: Question) -> _Answer:
        try:
            return _Answer(self._by_itself(question))
        except _QUESTION_FAILS as error:
            return _Answer(error=error)

    def _by_itself(self, question: Question) -> Any:
        try:
            with self._engine.connect() as connection, connection.begin():
                return question(Reading(connection, self._payloads, Hand(connection, self._statements)))
        except OperationalError:
            raise StorageFailed("GW-STORE-011") from None
        except DatabaseError:
            raise Broken("GW-STORE-003", reference="ledger") from None


def _answered(question: Question, reading: Reading) -> _Answer:
    try:
        return _Answer(question(reading))
    except _QUESTION_FAILS as error:
        return _Answer(error=error)


def _tell(future: asyncio.Future[Any], answer: _Answer) -> None:
    if future.done():
        return
    if answer.error is not None:
        future.set_exception(answer.error)
    else:
        future.set_result(answer.value)
