"""The worker processes: what comes back, what a death costs, and that none outlives its parent."""

from __future__ import annotations

import asyncio
import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.pool import END_SECONDS, Pool, WorkerDied
from gateway.settings import Key, Settings
from gateway.sign import dev_ca

ROOT = Path(__file__).parents[3]
AT = datetime(2026, 11, 1, tzinfo=UTC)
LONG = 60.0


class Odd(Exception):
    """It cannot be made from what it says of itself, so it does not survive between processes."""

    def __init__(self, *, needed: str) -> None:
        super().__init__(needed)


def odd() -> None:
    """Fail with what cannot be sent."""
    raise Odd(needed="a word")


def lines(path: str) -> int:
    """Count the calls, then fail as a call does that kills its worker."""
    with Path(path).open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("keys")
    handle = dev_ca.Authority.create("Test authority", AT).client("Test Evidence", AT)
    (folder / "e.pem").write_bytes(dev_ca.pem(handle.certificate))
    handle.save(folder / "e.key")
    key = Key(certificate=str(folder / "e.pem"), key=str(folder / "e.key"), purpose="evidence")
    return Settings(home=str(ROOT), data=str(folder), programmes=(), key={"e": key}, workers=2)


@pytest.fixture(scope="module")
def pool(settings: Settings) -> Iterator[Pool]:
    """One pool for all these tests, each of which has an event loop of its own."""
    with Pool(settings, b"a key for tests") as made:
        yield made


def broken(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, programmes=("nowhere",))


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def pids(pool: Pool) -> set[int]:
    """The processes of all workers, which are asked at the same time."""
    await pool.start()
    return set(await asyncio.gather(*(pool.run(_slow_pid) for _ in range(pool.size))))


def _slow_pid() -> int:
    time.sleep(0.2)
    return os.getpid()


# --- what comes back --------------------------------------------------------------------------------


async def test_results_of_any_size_come_back(pool: Pool) -> None:
    """A part of a table is megabytes, in both directions, far beyond what a socket takes at once."""
    await pool.start()
    many = [pool.run(len, bytes(n)) for n in (0, 1, 70_000, 9_000_000)]
    assert await asyncio.gather(*many) == [0, 1, 70_000, 9_000_000]
    assert [len(await pool.run(bytes, n)) for n in (0, 1, 70_000, 9_000_000)] == [0, 1, 70_000, 9_000_000]


async def test_what_a_call_raises_is_raised_here(pool: Pool) -> None:
    """The caller judges a fault by its class; what cannot be sent is told by its name and ends nobody."""
    await pool.start()
    before = await pids(pool)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        await pool.run(operator.truediv, 1, 0)
    with pytest.raises(TypeError, match="pickle"):
        await pool.run(threading.Lock)
    with pytest.raises(RuntimeError, match="Odd"):
        await pool.run(odd)
    assert await pids(pool) == before


async def test_calls_are_done_side_by_side_and_in_turn(pool: Pool) -> None:
    """Each worker has one call; what waits goes to whoever is free first."""
    await pool.start()
    began = time.monotonic()
    order: list[int] = []

    async def one(number: int) -> None:
        await pool.run(time.sleep, 0.1)
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(6)))
    assert 0.3 <= time.monotonic() - began < 0.55
    assert [sorted(order[at : at + 2]) for at in (0, 2, 4)] == [[0, 1], [2, 3], [4, 5]]


async def test_a_cancelled_call_does_not_disturb_the_next(pool: Pool) -> None:
    """Its worker does it to the end, and the result goes nowhere."""
    await pool.start()
    gone = [asyncio.create_task(pool.run(time.sleep, 0.2)) for _ in range(5)]
    await asyncio.sleep(0.05)
    for each in gone:
        each.cancel()
    assert await pool.run(operator.add, 1, 2) == 3
    assert await asyncio.gather(*gone, return_exceptions=True) != [None] * 5


async def test_workers_stand_back_behind_the_parent(pool: Pool) -> None:
    """Acknowledging comes before mapping."""
    await pool.start()
    theirs = await pool.run(os.getpriority, os.PRIO_PROCESS, 0)
    assert theirs == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)


# --- what a death costs -----------------------------------------------------------------------------


async def test_a_call_that_kills_is_tried_twice_and_costs_no_other(pool: Pool, tmp_path: Path) -> None:
    """The second time alone. The other worker stays, with what it holds; what waited is done."""
    before = await pids(pool)
    held = asyncio.create_task(pool.run(_slow_pid))
    fatal = asyncio.create_task(pool.run(lines, str(tmp_path / "calls")))
    others = asyncio.gather(*(pool.run(os.getpid) for _ in range(20)))
    assert await held in before
    assert set(await others) & before
    with pytest.raises(WorkerDied) as caught:
        await fatal
    assert caught.value.code == "GW-WORK-002"
    assert (tmp_path / "calls").read_text() == "xx"
    after = await pids(pool)
    assert len(after) == pool.size
    assert len(after & before) == pool.size - 1


async def test_what_a_killed_worker_held_is_done_again(pool: Pool, tmp_path: Path) -> None:
    """Most who are killed are innocent: the memory was full, or an operator erred."""
    await pool.start()
    notes = [tmp_path / str(number) for number in range(pool.size)]
    held = [asyncio.create_task(pool.run(_note_and_wait, str(each))) for each in notes]
    await until(lambda: all(each.exists() and each.read_text() for each in notes))
    first = {int(each.read_text()) for each in notes}
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    again = set(await asyncio.gather(*held))
    assert len(first) == pool.size
    assert len(again) == 1, "one after the other, in a process of their own"
    assert not again & first


def _note_and_wait(path: str) -> int:
    """Wait for ever at the first call, and not at the second."""
    with Path(path).open("a") as file:
        first = not file.tell()
        file.write("" if not first else str(os.getpid()))
    if first:
        time.sleep(LONG)
    return os.getpid()


async def test_dead_workers_are_said_until_others_have_loaded(pool: Pool) -> None:
    """Readiness turns, and turns back by itself."""
    before = await pids(pool)
    assert await pool.trouble() is None
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not any(map(alive, before)))
    await asyncio.sleep(0.01)
    assert await pool.trouble() == "GW-WORK-002"
    end = time.monotonic() + 20
    while await pool.trouble() is not None:
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    assert not await pids(pool) & before


async def test_rules_that_do_not_load_stop_the_start_and_hold_up_nobody(settings: Settings) -> None:
    """A call that comes nevertheless fails instead of waiting for ever."""
    with Pool(broken(settings), b"a key for tests") as pool:
        with pytest.raises(WorkerDied) as caught:
            await pool.start()
        assert caught.value.code == "GW-WORK-003"
        with pytest.raises(WorkerDied):
            await asyncio.wait_for(pool.run(os.getpid), 20)


# --- other rules ------------------------------------------------------------------------------------


async def test_workers_with_other_rules_take_over(settings: Settings) -> None:
    """What is under way ends where it began; then those who did it end."""
    with Pool(settings, b"a key for tests") as pool:
        before = await pids(pool)
        held = asyncio.create_task(pool.run(_sleep_and_tell, 2.0))
        await asyncio.sleep(0)
        await pool.replace(settings)
        after = await pids(pool)
        assert not after & before
        assert await held in before
        await until(lambda: not any(map(alive, before)))


def _sleep_and_tell(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


async def test_rules_that_do_not_load_change_nothing(pool: Pool, settings: Settings) -> None:
    """The former workers go on, and none of the others stays."""
    before = await pids(pool)
    with pytest.raises(WorkerDied) as caught:
        await pool.replace(broken(settings))
    assert caught.value.code == "GW-WORK-003"
    assert await pids(pool) == before
    assert await pool.trouble() is None


# --- the end ----------------------------------------------------------------------------------------


async def test_a_stop_waits_for_no_call(settings: Settings) -> None:
    """What was under way is repeated at the next start."""
    pool = Pool(settings, b"a key for tests")
    found = await pids(pool)
    under_way = [asyncio.create_task(pool.run(time.sleep, LONG)) for _ in range(5)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    pool.stop()
    assert time.monotonic() - began < END_SECONDS + 1
    assert not any(map(alive, found))
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*under_way, return_exceptions=True))
    with pytest.raises(WorkerDied):
        await pool.run(os.getpid)


async def test_a_machine_without_room_for_a_process_gets_it_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process table is full, calls wait and nothing is lost."""
    monkeypatch.setattr("gateway.pool.AGAIN_SECONDS", 0.3)
    with Pool(settings, b"a key for tests") as pool:
        before = await pids(pool)
        make, tries = pool._make, []

        def full(wanted: Settings) -> Any:
            tries.append(1)
            if len(tries) < 3:
                raise BlockingIOError("no process")
            return make(wanted)

        monkeypatch.setattr(pool, "_make", full)
        held = [asyncio.create_task(pool.run(time.sleep, LONG)) for _ in range(pool.size)]
        waiting = [asyncio.create_task(pool.run(os.getpid)) for _ in range(5)]
        await asyncio.sleep(0.05)
        for each in held:
            each.cancel()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert not set(await asyncio.gather(*waiting)) & before
        assert len(await pids(pool)) == pool.size


_PARENT = """
import asyncio, os, pickle, sys, time
from gateway.pool import Pool
from gateway.settings import Settings

async def main():
    with Pool(pickle.loads(bytes.fromhex(sys.argv[1])), b"a key for tests") as pool:
        await pool.start()
        asyncio.create_task(pool.run(time.sleep, 60.0))
        await asyncio.sleep(0.1)
        print(*(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()), flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_workers_end_with_a_parent_that_is_killed(settings: Settings, tmp_path: Path) -> None:
    """The one that works as well as the one that waits: both would hold keys and people's data."""
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    command = (sys.executable, str(script), pickle.dumps(settings).hex())
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as it:
        assert it.stdout is not None
        children = [int(each) for each in (await asyncio.to_thread(it.stdout.readline)).split()]
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == 2
        it.send_signal(signal.SIGKILL)
    await until(lambda: not any(map(alive, workers)))
