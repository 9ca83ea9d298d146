"""kill -9 of the delivering process before and after each of its steps, judged by the repository's own log.

The repository lives in another process than what is killed, writes every arrival down first, and is asked afterwards:
is anything missing, did order hold, was anything sent again that need not have been (promises 2, 3, 4).
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from deliver_child import EACH, SUBJECTS, ids

from gateway.simulate import arrivals
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.server import Running

CHILD = Path(__file__).with_name("deliver_child.py")
POINTS = [f"{when}-{what}" for what in ("claim", "leave", "send", "settle", "recover") for when in ("before", "after")]


async def deliver(data: Path, url: str, mode: str, kill: str = "", after: float | None = None) -> int:
    """Run the process to its end; the exit status, negative for a signal. `after` seconds it is killed."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(CHILD), str(data), url, mode, kill)
    try:
        async with asyncio.timeout(60 if after is None else after):
            return await process.wait()
    except TimeoutError:
        process.kill()
        code = await process.wait()
        assert after is not None, "it did not finish"
        return code


def order_of(log: Path) -> list[str]:
    """Exchange ids in the order of arrival, repetitions included."""
    lines = [line for line in arrivals.read(log) if "verdict" not in line]
    return [dict(line["headers"])["idempotency-key"] for line in lines]


def check(log: Path, kills: int, concurrency: int = 4, repeats: int | None = None) -> None:
    arrived = order_of(log)
    assert set(arrived) == set(ids()), "something is missing, or nobody knows it"
    for subject in range(SUBJECTS):
        mine = [id for id in arrived if id.startswith(f"s{subject}-")]
        firsts = list(dict.fromkeys(mine))
        assert firsts == [f"s{subject}-{n}" for n in range(EACH)], "order is broken"
        assert mine == sorted(mine), "an earlier one came again after a later one"
    again = sum(Counter(arrived).values()) - len(ids())
    assert again <= (kills * concurrency if repeats is None else repeats), f"{again} repetitions after {kills} kills"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reconcile", "resend"])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_each_step_nothing_is_lost_and_order_holds(tmp_path: Path, point: str, mode: str) -> None:
    """Where the destination can be asked, not even one message comes twice."""
    log = tmp_path / "arrivals.jsonl"
    number = 1 if "recover" in point else 7
    async with Running(Cart(ArrivalLog(log))) as server:
        assert await deliver(tmp_path / "data", server.url, mode, f"{point}:{number}") == -signal.SIGKILL
        assert await deliver(tmp_path / "data", server.url, mode) == 0
    check(log, kills=1, repeats=0 if mode == "reconcile" else None)


@pytest.mark.slow
async def test_killed_during_reconciliation_and_recovery_as_well(tmp_path: Path) -> None:
    """A crash while the last crash is being cleared up is the one that nobody tries."""
    log = tmp_path / "arrivals.jsonl"
    kills: Sequence[str] = (
        "after-send:5",
        "after-recover:1",
        "before-reconcile:1",
        "after-reconcile:1",
        "after-leave:3",
    )
    async with Running(Cart(ArrivalLog(log))) as server:
        for kill in kills:
            assert await deliver(tmp_path / "data", server.url, "reconcile", kill) == -signal.SIGKILL
        assert await deliver(tmp_path / "data", server.url, "reconcile") == 0
    check(log, kills=len(kills), repeats=0)


@pytest.mark.slow
async def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Uniform times, a fixed seed: moments between the named steps count too."""
    chance, log, kills = random.Random(20261121), tmp_path / "arrivals.jsonl", 0
    async with Running(Cart(ArrivalLog(log))) as server:
        for attempt in range(8):
            # On a quick machine all is done within the first span, so it begins short and grows.
            after = 0.3 * (1 + attempt / 2) + 0.4 * chance.random()
            code = await deliver(tmp_path / "data", server.url, "resend", after=after)
            kills += code == -signal.SIGKILL
            if code == 0:
                break
        assert await deliver(tmp_path / "data", server.url, "resend") == 0
    assert kills
    check(log, kills=kills)
