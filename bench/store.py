"""How fast the ledger commits, beside a bare synced SQLite insert: `python bench/store.py [--steps N] [--stored N]`.

Printed as one table. The ratio is what counts: it hardly depends on the disk. `stored` fills the ledger first, to
show that a commit and a look for work cost the same however much was done before.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway import store
from gateway.audit import events
from gateway.clock import SystemClock
from gateway.flow import NEW, Room, Thing
from gateway.message import Answer, Document, Evidence, Exchange, Move, Step, Submission

BODY = b"x" * 5000
AT = datetime(2026, 1, 1, tzinfo=UTC)
EVIDENCE = Evidence(jws="a..b", algorithm="ES256", certificate_digest="0" * 64, signed_at=AT)


def accept(n: int) -> Step:
    """A submission of 5 kB with its acknowledgement and its audit event."""
    id, body = f"s{n}", BODY + str(n).encode()
    digest = hashlib.sha256(body).hexdigest()
    answer = Answer(
        id=f"a{n}",
        submission=id,
        sender=f"h{n % 50}",
        kind="first",
        state="given",
        body=b"MSA|CA",
        media_type="text/plain",
        created_at=AT,
    )
    submission = Submission(
        id=id,
        sender=f"h{n % 50}",
        programme="p",
        received_at=AT,
        channel="mllp",
        media_type="x-application/hl7-v2+er7",
        body=body,
        digest=digest,
        control_id=f"c{n}",
    )
    return Step(
        name="accept",
        at=AT,
        moves=(
            Move(thing=Thing.SUBMISSION, id=id, frm=NEW, to="received", room=Room.RECEIVE),
            Move(thing=Thing.ANSWER, id=answer.id, frm=NEW, to="given", room=Room.RECEIVE),
        ),
        writes=(submission, answer),
        audit=(events.submission_accepted(id, f"h{n % 50}", "p", "mllp", digest, AT),),
    )


def route(n: int) -> Step:
    """A document of 5 kB owed to one destination; ten exchanges a subject."""
    body = BODY + str(n).encode()
    document = Document(
        id=f"d{n}",
        case=f"k{n}",
        version=1,
        programme="p",
        subject=f"p{n // 10}",
        made_at=AT,
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
        evidence=EVIDENCE,
        submissions=(),
    )
    owed = Exchange(
        id=f"e{n}",
        document=document.id,
        destination="centre",
        programme="p",
        sender="h",
        subject=document.subject,
        case=document.case,
        state="due",
    )
    return Step(
        name="route",
        at=AT,
        moves=(Move(thing=Thing.EXCHANGE, id=owed.id, frm=NEW, to="due", room=Room.GATHER),),
        writes=(document, owed),
    )


async def rate(count: int, at_once: int, work: Callable[[int], Awaitable[object]]) -> tuple[float, float, float, float]:
    """Per second, p50 and p99 in ms, CPU ms each, with so many callers that each wait for their answer."""
    waits: list[float] = []
    numbers = iter(range(count))

    async def caller() -> None:
        for n in numbers:
            begun = time.perf_counter()
            await work(n)
            waits.append(time.perf_counter() - begun)

    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    waits.sort()
    return count / took, waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000, cpu / count * 1000


def bare(folder: Path, count: int) -> float:
    """One synced insert a transaction, nothing else: the floor."""
    raw = sqlite3.connect(folder / "bare.db", isolation_level=None)
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")
    raw.execute("CREATE TABLE t (id TEXT PRIMARY KEY, body BLOB)")
    begun = time.perf_counter()
    for n in range(count):
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO t VALUES (?, ?)", (f"s{n}", BODY))
        raw.execute("COMMIT")
    took = time.perf_counter() - begun
    raw.close()
    return count / took


async def fill(ledger: store.Ledger, count: int) -> None:
    """So many finished and waiting things before the clock starts."""
    for first in range(0, count, 1000):
        await asyncio.gather(*(ledger.commit(route(n)) for n in range(first, min(first + 1000, count))))


async def main(url: str, steps: int, stored: int) -> None:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = bare(folder, steps)
        print(f"{'':34}{'per s':>8}{'ratio':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms':>9}")
        print(f"{'bare synced insert, one caller':34}{floor:8.0f}{1:8.2f}{1000 / floor:9.2f}")
        async with store.open(url, folder / "data", SystemClock()) as ledger:
            await fill(ledger, stored)
            later = AT + timedelta(days=1)
            offset = 10_000_000
            asked: list[tuple[str, int, int, Callable[[int], Awaitable[object]]]] = [
                ("accept, 1 caller", steps // 4, 1, lambda n: ledger.commit(accept(n))),
                ("accept, 20 callers", steps, 20, lambda n: ledger.commit(accept(offset + n))),
                ("accept, 100 callers", steps, 100, lambda n: ledger.commit(accept(2 * offset + n))),
                ("route, 100 callers", steps, 100, lambda n: ledger.commit(route(3 * offset + n))),
                ("runnable, limit 10", steps // 4, 1, lambda n: ledger.runnable("centre", later, 10)),
                ("gatherable, limit 100", steps // 4, 1, lambda n: ledger.gatherable(100)),
                ("counts", steps // 4, 1, lambda n: ledger.counts()),
            ]
            for title, count, at_once, work in asked:
                per_second, p50, p99, cpu = await rate(count, at_once, work)
                print(f"{title:34}{per_second:8.0f}{per_second / floor:8.2f}{p50:9.2f}{p99:9.2f}{cpu:9.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="", help="postgresql://…; empty: SQLite")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--stored", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(main(given.url, given.steps, given.stored))
