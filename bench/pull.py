"""How fast a repository is answered: read, search by identifier, by patient and date, and bulk export.

    python bench/pull.py [resources] [--at FOLDER] [--export N]

Fills a ledger on disk through its own commits, asks the application in-process (no sockets, so what is measured is
ours), and prints requests a second, percentiles and the resident memory. `--at` keeps the ledger in that folder and
uses it again when it is there; `--export` exports only so many of a greater ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "rooms" / "pull"))
from pull_house import NOW, House, patient  # noqa: E402

from gateway import pull, store  # noqa: E402
from gateway.clock import FixedClock  # noqa: E402
from gateway.message import Json  # noqa: E402

DEFINITIONS = pull.load(ROOT, ())


def observation(n: int, people: int) -> Json:
    day = (NOW - timedelta(days=n % 700)).date().isoformat()
    return {
        "resourceType": "Observation",
        "id": f"o{n}",
        "identifier": [{"system": "urn:test:observation", "value": f"obs-{n}"}],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": f"{n % 40}-1"}]},
        "subject": {"reference": f"Patient/p{n % people}"},
        "effectiveDateTime": day,
        "valueQuantity": {"value": n % 200, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"},
    }


def memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB"


async def timed(what: str, number: int, ask: Callable[[int], Awaitable[object]]) -> None:
    """Wall time, and CPU time of the whole process: the latter is what it costs where others use the machine too."""
    taken: list[float] = []
    used: list[float] = []
    begun = time.perf_counter()
    for n in range(number):
        start, cpu = time.perf_counter(), time.process_time()
        await ask(n)
        taken.append((time.perf_counter() - start) * 1000)
        used.append((time.process_time() - cpu) * 1000)
    rate = number / (time.perf_counter() - begun)
    p99, cpu99 = (sorted(each)[int(number * 0.99)] for each in (taken, used))
    half, cpu50 = statistics.median(taken), statistics.median(used)
    wall, busy = f"median {half:6.2f} ms  p99 {p99:6.2f} ms", f"CPU median {cpu50:6.2f} ms  p99 {cpu99:6.2f} ms"
    print(f"{what:<28} {rate:6.0f}/s  {wall}  {busy}", flush=True)


async def exported(house: House, most: int) -> None:
    begun = time.perf_counter()
    started = await house.ask("$export", headers={"prefer": "respond-async"})
    manifest = await house.get(started.headers["content-location"])
    print(f"manifest in {time.perf_counter() - begun:.1f} s")
    begun, lines, size = time.perf_counter(), 0, 0
    for each in manifest["output"]:
        answer = await house.ask(each["url"], headers={"accept-encoding": "identity"})
        lines, size = lines + answer.content.count(b"\n"), size + len(answer.content)
        if most and lines >= most:
            break
    seconds = time.perf_counter() - begun
    print(f"export {lines} resources, {size >> 20} MiB: {lines / seconds:.0f} resources/s, resident {memory()}")


async def filled(house: House, total: int, people: int) -> None:
    begun, there = time.perf_counter(), await house.ledger.feed()
    if there:
        print(f"found a ledger at feed number {there}")
        return
    for start in range(0, people, 1000):
        await house.put(*[patient(f"p{n}") for n in range(start, min(people, start + 1000))])
    for start in range(people, total, 1000):
        await house.put(*[observation(n, people) for n in range(start, min(total, start + 1000))])
    print(f"filled {total} in {time.perf_counter() - begun:.0f} s, resident {memory()}", flush=True)


async def measured(house: House, total: int, people: int, exports: int) -> None:
    chance = random.Random(7)
    pick = [chance.randrange(people, total) for _ in range(1000)]
    await timed("read", 500, lambda n: house.get(f"Observation/o{pick[n]}"))
    await timed("search by identifier", 1000, lambda n: house.get(f"Observation?identifier=obs-{pick[n]}"))
    await timed(
        "the same, with its system",
        1000,
        lambda n: house.get(f"Observation?identifier=urn:test:observation%7Cobs-{pick[-n]}"),
    )
    await timed(
        "search by patient and date",
        300,
        lambda n: house.get(f"Observation?patient=Patient/p{pick[n] % people}&date=ge2026-01"),
    )
    await timed("a page of 50 by status", 50, lambda n: house.get("Observation?status=final&_total=none"))
    await exported(house, exports)


async def main(total: int, folder: Path, exports: int) -> None:
    people = max(100, total // 10)
    clock = FixedClock(NOW)
    async with store.open("", folder, clock, DEFINITIONS) as ledger:
        house = House(ledger, clock, search_seconds=60.0)
        await filled(house, total, people)
        await measured(house, total, people, exports)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("resources", nargs="?", type=int, default=100_000)
    parser.add_argument("--at", type=Path)
    parser.add_argument("--export", type=int, default=0, help="lines to export; 0: all")
    asked = parser.parse_args()
    if asked.at is not None:
        asyncio.run(main(asked.resources, asked.at, asked.export))
    else:
        with tempfile.TemporaryDirectory() as made:
            asyncio.run(main(asked.resources, Path(made), asked.export))
