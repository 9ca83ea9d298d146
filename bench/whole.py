"""The whole path: pushed over MLLP, mapped, validated, gathered, signed, delivered to two stand-ins.

    python -m bench.whole [--stays N] [--postgresql] [--processes N]

A stay is two messages (ADT^A03, DFT^P03), one signed document and two exchanges. The gateway is a process of its own
with its workers; stand-ins and senders share this process, so on a small machine the rates are a lower bound. The
CPU figure is the gateway's alone (all its processes, and PostgreSQL's beside it), so it holds on a busy machine too.
Beside the rates stands the floor of the same run: bare synced inserts of one row, one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.deliver import floor
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site, frame

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "faults"), str(ROOT / "tests" / "rooms" / "store")]

from oracle import stay_messages  # noqa: E402
from store_servers import Server, _programs  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid: int, alone: bool = False) -> float:
    """Seconds of CPU that a process (alone, or with its living descendants) has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK + sum(cpu(int(child)) for child in children if not alone)


class Connection:
    """One MLLP connection of a sender."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def push(self, body: bytes) -> float:
        """Seconds until the acknowledgement, which is positive."""
        began = time.perf_counter()
        self._writer.write(frame(body))
        answer = await self._reader.readuntil(b"\x1c\x0d")
        assert b"MSA|AA" in answer or b"MSA|CA" in answer, answer[:200]
        return time.perf_counter() - began


def percentiles(seconds: list[float]) -> str:
    """p50 and p99 in ms."""
    ordered = sorted(seconds)
    return f"{1000 * ordered[len(ordered) // 2]:8.1f}{1000 * ordered[len(ordered) * 99 // 100]:9.1f}"


async def flat_out(site: Site, first: int, stays: int, at_once: int) -> list[float]:
    """Every patient's messages in order over so many connections; how long each acknowledgement took."""
    waits: list[float] = []
    patients = iter(range(first, first + stays))

    async def sender() -> None:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", site.mllp_port))
        for patient in patients:
            waits.extend([await connection.push(body) for body in stay_messages(patient, 0)])

    await asyncio.gather(*(sender() for _ in range(at_once)))
    return waits


async def paced(site: Site, first: int, stays: int, rate: float) -> list[float]:
    """Stays at a rate of so many messages a second; how long each acknowledgement took."""
    waits: list[float] = []
    idle = [Connection(*await asyncio.open_connection("127.0.0.1", site.mllp_port)) for _ in range(16)]

    async def one(patient: int) -> None:
        connection = idle.pop()
        waits.extend([await connection.push(body) for body in stay_messages(patient, 0)])
        idle.append(connection)

    async with asyncio.TaskGroup() as group:
        for patient in range(first, first + stays):
            group.create_task(one(patient))
            await asyncio.sleep(2 / rate)
    return waits


@contextmanager
def database(wanted: bool, folder: Path) -> Iterator[tuple[str, int]]:
    """The address and the process id of a private PostgreSQL, or of nothing."""
    programs = _programs()
    if not wanted or programs is None:
        yield "", 0
        return
    (folder / "pg").mkdir()
    server = Server(programs, folder / "pg")
    folder.chmod(0o755)
    try:
        server.make()
        server.start()
        assert server.process is not None
        yield server.url, server.process.pid
    finally:
        server.stop()


async def measure(folder: Path, stays: int, url: str, postgres: int, processes: int) -> None:
    """One row of the table."""
    base = floor(folder, 500)
    plan = Plan(home=ROOT, workers=2, plain_mllp=True, answer_within=0, database=url, log_level="warning")
    async with Site(folder / "site", plan) as site:
        own = [await site.start()]
        await site.prepare(registry(ROOT))
        own += [(await site.start_worker()).pid for _ in range(processes - 1)]
        await flat_out(site, 0, 5, 5)
        assert await site.quiet(60)

        def spent() -> tuple[float, float, float]:
            parents = sum(cpu(pid, alone=True) for pid in own)
            return sum(cpu(pid) for pid in own), parents, cpu(postgres) if postgres else 0.0

        before, began = spent(), time.perf_counter()
        waits = await flat_out(site, 100, stays, 20)
        accepted = len(waits) / (time.perf_counter() - began)
        assert await site.quiet(600), await site.ask("status")
        whole = len(waits) / (time.perf_counter() - began)
        after = spent()
        calm = await paced(site, 100 + stays, 60, 20)
        assert await site.quiet(60)
        each = [1000 * (b - a) / len(waits) for a, b in zip(before, after, strict=True)]
        name = f"PostgreSQL, {processes} processes" if url else "SQLite, 1 process"
        print(f"{name:26}{base:9.0f}{accepted:10.0f}{accepted / base:8.2f}{whole:9.0f}{whole / base:8.2f}", end="")
        print(f"{each[0]:10.1f}{each[1]:9.1f}{each[2]:7.1f}{percentiles(waits)} {percentiles(calm)}", flush=True)


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stays", type=int, default=200)
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    print(f"{given.stays * 2} messages; floor in synced inserts/s, rates in messages/s, CPU and latencies in ms")
    head = f"{'':26}{'floor':>9}{'accepted':>10}{'ratio':>8}{'whole':>9}{'ratio':>8}{'CPU each':>10}{'parents':>9}"
    print(f"{head}{'PG':>7}{'ack p50':>8}{'p99':>9}{'20/s p50':>9}{'p99':>9}")
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        with database(given.postgresql, folder) as (url, pid):
            asyncio.run(measure(folder, given.stays, url, pid, given.processes))


if __name__ == "__main__":
    main()
