"""The worker processes, from the parent's side.

One socket pair to each worker, read and written by the event loop itself: no thread stands between a call and its
result. A frame is its length and a pickle, there of a call, back of what became of it; an empty one says that the
worker has loaded its rules. A worker has one call at a time, and what waits, waits here: so a worker that dies (out of
memory, killed) fails only the call that it held. Another takes its place, and the call is tried once more, one such
after the other, in a process of its own: what dies there as well fails with `WorkerDied`.

What a worker does stands in `workers.py`, which this file does not import: the parent can start its workers first
and load its own rooms while they load their rules.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

import structlog

from gateway.errors import Broken
from gateway.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
_log = structlog.get_logger()

_SPAWN: Final = multiprocessing.get_context("spawn")
_LENGTH: Final = struct.Struct("!Q")
_CHUNK: Final = 256 * 1024

AGAIN_SECONDS: Final = 5.0
"""After so long another worker is tried in the place of one that died of loading its rules."""

END_SECONDS: Final = 1.0
"""So long workers have to end by themselves; then they are killed, which costs nothing: what they do is repeated."""


def _pickled(value: object) -> bytes:
    return bytes(ForkingPickler.dumps(value))


class WorkerDied(Broken):
    """A worker process ended while it held our call, twice, the second time alone."""

    default = "GW-WORK-002"


class _Suspect(Exception):
    """The worker that held the call has ended. It may be the call's doing."""


# --- inside a worker process -------------------------------------------------------------------------


class _Ending:
    """How a piece of work ended: with `fault`, or without. Nothing is swallowed: the parent raises it again."""

    fault: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, fault: BaseException | None, __: TracebackType | None) -> bool:
        self.fault = fault if isinstance(fault, Exception) else None
        return self.fault is not None


def _outcome(asked: bytes) -> bytes:
    """The pickle of (result, None), or of (None, what was raised)."""
    with _Ending() as ending:
        call, args, kwargs = ForkingPickler.loads(asked)
        return _pickled((call(*args, **kwargs), None))
    with _Ending() as telling:  # not every exception survives the way
        told = _pickled((None, ending.fault))
        ForkingPickler.loads(told)
    if telling.fault is None:
        return told
    return _pickled((None, RuntimeError(type(ending.fault).__name__)))


def _frame(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _work(parent: socket.socket, settings: Settings, id_key: bytes) -> None:
    """A worker's life: load the rules, then call after call until the parent's end is closed."""
    from gateway import workers

    workers.begin(settings, id_key)
    try:
        parent.sendall(_frame(b""))
        with parent.makefile("rb") as calls:
            while head := calls.read(_LENGTH.size):
                parent.sendall(_frame(_outcome(calls.read(*_LENGTH.unpack(head)))))
    except OSError:
        return  # the parent has left


# --- in the parent -----------------------------------------------------------------------------------


class _Call:
    """A call on its way: what is sent, and who waits for what comes back."""

    __slots__ = ("body", "future")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def suspect(self) -> None:
        """Tell that the worker which held it has ended."""
        if not self.future.done():
            self.future.set_exception(_Suspect())

    def cancel(self) -> None:
        """Nobody will do it any more; a loop that is closed has nobody who waits."""
        if not self.future.get_loop().is_closed():
            self.future.cancel()


class _Worker:
    """A worker process and our end of its socket. `call` is what it holds; `begun` and `ended` never turn back."""

    def __init__(self, settings: Settings, id_key: bytes, changed: Callable[[_Worker], None]) -> None:
        self.call: _Call | None = None
        self.begun = self.ended = False
        self._changed = changed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._read, self._unsent = bytearray(), memoryview(b"")
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            self._process = _SPAWN.Process(target=_work, args=(theirs, settings, id_key), daemon=True)
            self._process.start()

    @property
    def free(self) -> bool:
        """Whether it can be given a call now."""
        return self.begun and self.call is None and not self.ended

    def use(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be read and written by this loop from now on."""
        self._leave()
        if not self.ended:
            self._loop = loop
            loop.add_reader(self._socket, self._readable)
            if self._unsent:
                loop.add_writer(self._socket, self._writable)

    def _leave(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
        self._loop = None

    def hold(self, call: _Call) -> None:
        """Send it the call; it must hold none. One that still loads its rules does it afterwards."""
        self.call, self._unsent = call, memoryview(_frame(call.body))
        self._send()
        if self._unsent and self._loop is not None:
            self._loop.add_writer(self._socket, self._writable)

    def _send(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = memoryview(b"")  # it has ended, which is read in its turn

    def _writable(self) -> None:
        self._send()
        if not self._unsent and self._loop is not None:
            self._loop.remove_writer(self._socket)

    def _readable(self) -> None:
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""  # it ended with something from us unread
        self._read += chunk
        if not chunk:
            self.end()
        elif (told := self._told()) is None:
            return
        elif told:
            self._answer(told)
        else:
            self.begun = True
        self._changed(self)

    def _told(self) -> bytearray | None:
        """The frame, once it is whole. There is never more than one: it says that it has begun, then holds one call."""
        if len(self._read) < _LENGTH.size:
            return None
        end = _LENGTH.size + _LENGTH.unpack_from(self._read)[0]
        if len(self._read) < end:
            return None
        told, self._read = self._read[_LENGTH.size : end], self._read[end:]
        return told

    def _answer(self, told: bytearray) -> None:
        call, self.call = self.call, None
        if call is None or call.future.done():
            return
        with _Ending() as reading:
            value, fault = ForkingPickler.loads(told)
        if reading.fault is not None or fault is not None:
            call.future.set_exception(reading.fault or fault)
        else:
            call.future.set_result(value)

    def end(self) -> None:
        """Close our end, upon which the process ends when it has done what it holds."""
        if not self.ended:
            self._leave()
            self._socket.close()
            self.ended = True

    def gone(self) -> bool:
        """Whether the process has ended too; then nothing is left of it."""
        return self._process.exitcode is not None

    def wait(self, until: float) -> None:
        """Wait for the process until that time (monotonic), then kill it."""
        self._process.join(max(0.0, until - time.monotonic()))
        if not self.gone():
            self._process.kill()
            self._process.join()


class Pool:
    """`settings.workers` processes that map, validate and sign. They begin at once; `start` waits for them.

    It belongs to the event loop that uses it, and moves to another when that one is used.
    """

    def __init__(self, settings: Settings, id_key: bytes) -> None:
        self._settings, self._id_key = settings, id_key
        self.size = max(1, settings.workers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[_Call] = deque()
        self._listening: list[asyncio.Event] = []
        self._alone: _Worker | None = None
        self._one_at_a_time, self._suspects = asyncio.Lock(), 0
        self._former: list[_Worker] = []
        self._workers = [self._make(settings) for _ in range(self.size)]
        self._again: asyncio.TimerHandle | None = None
        self._stopped = False

    def _make(self, settings: Settings) -> _Worker:
        made = _Worker(settings, self._id_key, self._changed)
        if self._loop is not None:
            made.use(self._loop)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def start(self) -> None:
        """Wait until every worker has loaded its rules, so that a broken rule set stops the start."""
        self._attach()
        await self._loaded(self._workers)

    async def replace(self, settings: Settings) -> None:
        """Workers with the rules of `settings` take over; calls under way end where they began.

        `WorkerDied` where the new ones do not start: then nothing has changed.
        """
        self._attach()
        fresh = [self._make(settings) for _ in range(self.size)]
        try:
            await self._loaded(fresh)
            self._workers, fresh = fresh, self._workers
            self._settings = settings
        finally:
            self._former += fresh
            self._clear()
        self._hand_out()

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The call's result from a worker; `WorkerDied` if no worker survives it."""
        if self._stopped:
            raise WorkerDied
        self._attach()
        if not self._workers:
            self._fill()
        body = _pickled((call, args, kwargs))
        asked = _Call(body)
        self._waiting.append(asked)
        self._hand_out()
        try:
            return cast("R", await asked.future)
        except _Suspect:
            self._suspects += 1
        try:
            async with self._one_at_a_time:
                return cast("R", await self._by_itself(body))
        finally:
            self._suspects -= 1
            if not self._suspects:
                self._dismiss()

    async def _by_itself(self, body: bytes) -> Any:
        if self._stopped:
            raise WorkerDied
        if self._alone is not None and (self._alone.ended or self._alone.call is not None):
            self._dismiss()  # it died while it held nothing, or still does what nobody waits for any more
        if self._alone is None:
            self._alone = self._make(self._settings)
        asked = _Call(body)
        self._alone.hold(asked)
        try:
            return await asked.future
        except _Suspect:
            self._alone = None
            raise WorkerDied from None

    def _dismiss(self) -> None:
        if self._alone is not None:
            self._alone.end()
            self._former.append(self._alone)
            self._alone = None

    async def trouble(self) -> str | None:
        """None while the workers work, else a code: they died, or are still loading their rules."""
        self._attach()
        if not self._workers and not self._stopped:
            self._fill()
        well = len(self._workers) == self.size and all(each.begun for each in self._workers)
        return None if well else WorkerDied.default

    def stop(self) -> None:
        """End the workers, within `END_SECONDS`; what they had under way is repeated at the next start."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
        every = self._every()
        for call in [*self._waiting, *(each.call for each in every if each.call is not None)]:
            call.cancel()
        for each in every:
            each.end()
        until = time.monotonic() + END_SECONDS
        for each in every:
            each.wait(until)
        self._workers, self._former, self._alone = [], [], None

    # --- what happens to workers ---------------------------------------------------------------------

    def _attach(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            for each in self._every():
                each.use(loop)

    def _every(self) -> list[_Worker]:
        return [*self._workers, *self._former, *([] if self._alone is None else [self._alone])]

    async def _loaded(self, workers: Sequence[_Worker]) -> None:
        changed = asyncio.Event()
        self._listening.append(changed)
        try:
            while not all(each.begun or each.ended for each in workers):
                changed.clear()
                await changed.wait()
        finally:
            self._listening.remove(changed)
        if any(each.ended for each in workers):
            raise WorkerDied("GW-WORK-003")

    def _changed(self, worker: _Worker) -> None:
        """It has begun, has answered, or has ended."""
        if worker.ended:
            self._lost(worker)
        self._clear()
        self._hand_out()
        for each in self._listening:
            each.set()

    def _hand_out(self) -> None:
        for each in self._workers:
            while self._waiting and each.free:
                call = self._waiting.popleft()
                if not call.future.done():
                    each.hold(call)

    def _lost(self, worker: _Worker) -> None:
        if worker.call is not None:
            worker.call.suspect()
        if worker not in self._former:
            self._former.append(worker)
        if worker not in self._workers:
            return
        _log.error("worker_died", workers=self.size)
        self._workers = [each for each in self._workers if each is not worker]
        if worker.begun:
            self._fill()
            return
        self._fill_later()
        if not self._workers:  # with these rules nobody begins: nothing waits for ever
            for call in self._waiting:
                call.suspect()
            self._waiting.clear()

    def _fill(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        try:
            while len(self._workers) < self.size:
                self._workers.append(self._make(self._settings))
        except OSError:  # the machine gives no more processes now
            _log.error("worker_not_started", workers=self.size)
            self._fill_later()

    def _fill_later(self) -> None:
        if self._again is None and self._loop is not None:
            self._again = self._loop.call_later(AGAIN_SECONDS, self._fill)

    def _clear(self) -> None:
        """Former workers end when they hold nothing any more, and are forgotten when they are gone."""
        for each in self._former:
            if each.call is None:
                each.end()
        self._former = [each for each in self._former if not (each.ended and each.gone())]
