"""A gateway that dies at an ordered commit; put before the gateway's own command line.

    python fated_gateway.py "before:itemise:2" python -m gateway serve --config gateway.toml

Orders are WHEN:STEP:NUMBER, with commas between. `before` and `after` mean the commit of the NUMBER-th step of that
name (`recover` counts as one). Before a commit the process lives on for a moment, so that an answer that was not made
to wait for the disk gets out. With `poison` for WHEN, every worker that gets a submission with STEP in its bytes dies.
The product knows nothing of this.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

HOLD = 0.15


def die() -> None:
    """As a power switch would: nothing of this process runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


class Fate:
    """Counts the commits of one step, and dies at the ordered one."""

    def __init__(self, order: str) -> None:
        self.when, self.step, number = order.split(":")
        self.left = int(number)

    def met(self, name: str) -> bool:
        """Whether this is the one."""
        if name == self.step:
            self.left -= 1
        return name == self.step and self.left == 0


def fated(fate: Fate) -> None:
    """Put the points around every commit of the ledger."""
    from gateway.store import Ledger

    commit, recover = Ledger.commit, Ledger.recover

    async def passing(name: str, work: Any) -> Any:
        met = fate.met(name)
        if met and fate.when == "before":
            await asyncio.sleep(HOLD)
            die()
        done = await work()
        if met:
            die()
        return done

    async def commits(self: Ledger, step: Any) -> Any:
        return await passing(step.name, lambda: commit(self, step))

    async def recovers(self: Ledger) -> Any:
        return await passing("recover", lambda: recover(self))

    Ledger.commit, Ledger.recover = commits, recovers  # type: ignore[method-assign]


def poisoned(mark: bytes) -> None:
    """In a worker: die of every submission with these bytes in it."""
    from gateway import workers

    take = workers.take

    def dying(submission: Any, *asked: Any) -> Any:
        if mark in submission.body:
            die()
        return take(submission, *asked)

    workers.take = dying


def main(orders: list[str], command: list[str]) -> int:
    from gateway import cli

    for order in orders:
        if not order.startswith("poison"):
            fated(Fate(order))
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split(","), sys.argv[sys.argv.index("gateway") + 1 :]))
if __name__ == "__mp_main__":  # a worker process, which imports what its parent ran
    for each in sys.argv[1].split(","):
        if each.startswith("poison"):
            poisoned(each.split(":")[1].encode())
