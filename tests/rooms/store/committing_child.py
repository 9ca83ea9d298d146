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


async def main(url: str, data: str) -> None:
    async with store.open(url, Path(data), SystemClock()) as ledger:

        async def endless(start: int) -> None:
            for n in range(start, int(os.environ.get("COMMITTING_CHILD_STEPS", "100000")), 4):
                try:
                    done = await ledger.commit(accepted(f"s{n}", body=f"s{n} ".encode() * 500))
                    os.write(1, f"s{n} {done.feed}\n".encode())
                except StorageFailed:
                    os.write(1, f"s{n} failed\n".encode())

        await asyncio.gather(*(endless(n) for n in range(4)))


asyncio.run(main(*sys.argv[1:]))
