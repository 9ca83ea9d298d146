"""How many documents a second one process delivers over loopback, from a synced SQLite ledger to a stand-in.

    python -m bench.deliver [COUNT]

The stand-in runs in a process of its own and does not sync its log. Beside each figure stands the floor: as many bare
commits of one row, one after the other, on the same disk in the same run.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from gateway import store
from gateway.clock import SystemClock
from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.lane import Tools
from gateway.flow import NEW, Room, Thing
from gateway.formats import json
from gateway.message import AuditRecord, Move, Step
from gateway.network import Outbound
from gateway.settings import Destination

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "rooms" / "deliver"))

SERVE = """
import asyncio, sys
from pathlib import Path
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.standins import STAND_INS
from gateway.simulate.server import Running
async def main(name, log, ca):
    more = {"ca": Path(ca)} if ca else {}
    running = Running(STAND_INS[name](ArrivalLog(Path(log), sync=False), **more))
    print(running.url, flush=True)
    await running.forever()
asyncio.run(main(*sys.argv[1:4]))
"""


from deliver_world import FACILITY, SYSTEM, TestSigner, bill, document, exchange, fhir_message, peer  # noqa: E402


class Open:
    async def closed(self, destination: str, now: datetime) -> str | None:
        return None


def place(name: str, url: str, concurrency: int) -> Destination:
    common: dict[str, Any] = {"id": "d", "peer": "peer", "programme": "p", "concurrency": concurrency}
    if name == "sepas":
        more = {"protocol": "sepas-soap", "system_id": SYSTEM, "signer": "raw-rsa-sha256", "body": "b"}
        return Destination(url=f"{url}/BillPatient", options={"facility_id": FACILITY}, **common, **more)
    return Destination(url=f"{url}/m", protocol="fhir-rest", **common)


async def seed(ledger: Any, count: int, subjects: int) -> None:
    at = datetime.now(UTC)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        made = [exchange(f"e{n}", subject=f"s{n % subjects}", case=f"c{n}") for n in numbers]
        bodies = [fhir_message(each.id, record=f"9{each.id[1:]}", note="x" * 4000) for each in made]
        documents = [document(e.document, body, e.subject, e.case) for e, body in zip(made, bodies, strict=True)]
        moves = tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm=NEW, to="due", room=Room.GATHER) for e in made)
        audit = AuditRecord(type="rest", action="C", outcome="0", agent="a", entities=("document/x",), at=at)
        await ledger.commit(Step(name="route", at=at, moves=moves, writes=(*documents, *made), audit=(audit,)))


def floor(folder: Path, count: int) -> float:
    """Bare synced inserts a second."""
    db = sqlite3.connect(folder / "floor.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE t (b BLOB)")
    began = time.perf_counter()
    for _ in range(count):
        db.execute("INSERT INTO t VALUES (?)", (b"x" * 4000,))
    return count / (time.perf_counter() - began)


async def run(name: str, count: int, subjects: int, concurrency: int, folder: Path) -> Mapping[str, float]:
    signer = TestSigner()
    ca = folder / "ca.pem"
    ca.write_bytes(signer.ca_pem)
    command = [sys.executable, "-c", SERVE, name, str(folder / f"{name}.jsonl"), str(ca) if name == "sepas" else ""]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        network, where = Outbound({"peer": peer(url)}), place(name, url, concurrency)
        async with store.open("", folder / f"data-{name}-{concurrency}", SystemClock()) as ledger:
            await seed(ledger, count, subjects)
            seconds: list[float] = []
            wrong: set[str] = set()
            done = asyncio.Event()

            def observe(destination: str, state: str, took: float) -> None:
                seconds.append(took)
                wrong.update([state] if state != "delivered" else [])
                if len(seconds) == count or wrong:
                    done.set()

            tools = Tools(ledger, Open(), SystemClock(), random.random, observe=observe)
            wire = wires.make(where, network, signer, bill)
            dispatcher = Dispatcher([where], {"d": wire}, tools)
            cpu, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            task = asyncio.create_task(dispatcher.run())
            await asyncio.wait_for(done.wait(), 120)
            await dispatcher.stop(5)
            took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
            await task
            if wrong:
                raise SystemExit(f"not everything was delivered: {wrong}")
        await network.aclose()
    finally:
        server.terminate()
        server.wait(5)
    seconds.sort()
    spent = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return {
        "rate": count / took,
        "cpu": 1000 * spent / count,
        "p50": 1000 * seconds[len(seconds) // 2],
        "p99": 1000 * seconds[len(seconds) * 99 // 100],
    }


async def main(count: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        base = floor(folder, count)
        print(f"{count} documents of {len(fhir_message(note='x' * 4000))} bytes; floor: {base:.0f} synced inserts/s")
        print("to      concurrency  delivered/s  of floor  CPU ms each  wire p50 ms  wire p99 ms")
        for to, concurrency in (("cart", 1), ("cart", 8), ("cart", 32), ("sepas", 8)):
            got = await run(to, count, count // 5, concurrency, folder)
            row = f"{to:7} {concurrency:11d}  {got['rate']:11.0f}  {got['rate'] / base:8.2f}  {got['cpu']:11.2f}"
            print(f"{row}  {got['p50']:11.1f}  {got['p99']:11.1f}", flush=True)


if __name__ == "__main__":
    json.write({})  # load the encoder before anything is timed
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
