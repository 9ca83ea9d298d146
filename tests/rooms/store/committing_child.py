"""A process that commits submissions in a loop and reports each one after its commit returned: killed by tests."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
sys.path.insert(0, str(Path(__file__).parent))

import structlog
from ledger_steps import accepted

from gateway import store
from gateway.clock import SystemClock
from gateway.errors import StorageFailed

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for reports

STEPS, CALLERS, REPEATED = (
    int(os.environ.get(f"COMMITTING_CHILD_{name}", otherwise))
    for name, otherwise in (("STEPS", "100000"), ("CALLERS", "4"), ("REPEATED", "500"))
)


async def main(url: str, data: str) -> None:
    async with store.open(url, Path(data), SystemClock()) as ledger:

        async def endless(start: int) -> None:
            for n in range(start, STEPS, CALLERS):
                try:
                    done = await ledger.commit(accepted(f"s{n}", body=f"s{n} ".encode() * REPEATED))
                    os.write(1, f"s{n} {done.feed}\n".encode())
                except StorageFailed:
                    os.write(1, f"s{n} failed\n".encode())

        await asyncio.gather(*(endless(n) for n in range(CALLERS)))


asyncio.run(main(*sys.argv[1:]))
