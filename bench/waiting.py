"""Measures of waiting times over many requests: `python bench/waiting.py [REQUESTS]`.

Rows of the views are put into an SQLite ledger directly (the time of mapping is measured by bench/map.py); then every
measure of the programme is evaluated, and one day more (1 in 300 of the requests) is committed, with its rows.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "programmes" / "toscana")]

import toscana_mese  # noqa: E402
from toscana_risorse import resources  # noqa: E402

from gateway import measuring, store, workers  # noqa: E402
from gateway.clock import FixedClock  # noqa: E402
from gateway.formats import json, media  # noqa: E402
from gateway.formats.periods import Period  # noqa: E402
from gateway.map import registry  # noqa: E402
from gateway.measure.reports import Evaluator  # noqa: E402
from gateway.message import Step, StoredResource  # noqa: E402
from gateway.settings import Settings  # noqa: E402

NOW: Final = datetime(2026, 7, 20, 8, 0, tzinfo=UTC)
EPOCH: Final = date(1970, 1, 1).toordinal()
FIRST: Final = date(2025, 7, 1).toordinal() - EPOCH
DAYS: Final = 270
MARCH: Final = Period("2026-03", date(2026, 3, 1), date(2026, 3, 31))
ONE_DAY: Final = Period("2026-03-17", date(2026, 3, 17), date(2026, 3, 17))
HALF: Final = Period("2026-H1", date(2026, 1, 1), date(2026, 6, 30))
Row = dict[str, Any]


def moment(name: str, day: int, second: int) -> Row:
    at = day * 86400 + second
    text = datetime.fromtimestamp(at, UTC).isoformat()
    return {name: text, f"{name}_day": day, f"{name}_at": at}


def rows(count: int) -> Iterator[tuple[str, Row]]:
    """Nine months of requests, with their offers, refusals and deliveries."""
    dice = random.Random(1)
    services = toscana_mese.SERVICES
    for number in range(count):
        voce, code, discipline, level, b, d = services[dice.randrange(len(services))]
        day, second = FIRST + dice.randrange(DAYS), 30000 + dice.randrange(20000)
        cls = dice.choices("UBDP", (8, 25, 45, 22))[0]
        first = dice.random() < 0.7
        days = {"U": 3, "B": b, "D": d, "P": 0}[cls] if first and voce else 0
        company = dice.choices(("101", "102", "103"), (70, 20, 10))[0]
        patient, request = f"p{dice.randrange(count // 5 + 1)}", f"r{number}"
        limit = moment("termine", day + days, 80000) if days else {}
        regime = dice.choices((None, "SSN", "ALPI"), (50, 38, 12))[0]
        common = {"azienda": company, "paziente": patient, "regime": regime, "codice": code, "resource_id": request}
        yield "richiesta", {
            **common, **limit, **moment("contatto", day, second), **moment("prescritta", day - dice.randrange(9), 0),
            "nre": f"0900A{number:010}", "classe": cls, "tipo": "primo" if first else "successivo", "derivato": 0,
            "disciplina": discipline or None, "voce": voce or None, "livello": level or None, "screening": 0,
            "riacutizzazione": 0, "quesito": 1, "residenza": company, "prescrittore": f"d{number % 500}",
        }  # fmt: skip
        for turn in range(dice.choices((0, 1, 2), (5, 70, 25))[0]):
            start, booking = day + dice.randrange(0, 80), f"a{number}-{turn}"
            state = dice.choices(("booked", "cancelled", "noshow", "fulfilled", "proposed"), (15, 8, 6, 55, 16))[0]
            structure = dice.choice(toscana_mese.STRUCTURES)
            yield "appuntamento", {
                **common, **limit, **moment("creato", day, second), **moment("inizio", start, 36000), "canale": "cup",
                "resource_id": booking, "richiesta": request, "struttura": structure, "stato": state,
                **(moment("disdetta", start - dice.randrange(4), 30000) if state == "cancelled" else {}),
            }  # fmt: skip
            if state == "proposed":
                yield "risposta", {"resource_id": f"{booking}r", "appuntamento": booking, "stato": "declined"}
            if state == "fulfilled":
                yield "erogazione", {
                    **common, **moment("inizio", start, 36000), "resource_id": f"{booking}e", "richiesta": request,
                    "appuntamento": booking, "struttura": structure, "disciplina": discipline or None,
                }  # fmt: skip


def fill(path: Path, count: int) -> int:
    """Put the rows into the tables; gives how many."""
    db = sqlite3.connect(path)
    known: dict[str, list[str]] = {}
    waiting: dict[str, list[Sequence[Any]]] = {}
    total = 0

    def flush(name: str) -> None:
        marks = ", ".join("?" for _ in known[name])
        db.executemany(f"INSERT INTO v_toscana_{name} ({', '.join(known[name])}) VALUES ({marks})", waiting.pop(name))

    for name, row in rows(count):
        if name not in known:
            known[name] = [column[1] for column in db.execute(f"PRAGMA table_info(v_toscana_{name})")]
        row |= {"row_no": 0, "sender": "cup", "published_at": 0}
        waiting.setdefault(name, []).append([row.get(column) for column in known[name]])
        total += 1
        if len(waiting[name]) >= 20000:
            flush(name)
    for name in list(waiting):
        flush(name)
    db.commit()
    db.close()
    return total


async def run(count: int, folder: Path) -> None:
    settings = Settings(home=str(ROOT), programmes=("toscana",))
    entries, _ = registry.read(toscana_mese.reference().encode(), media.CSV, "toscana")
    async with store.open("", folder, FixedClock(NOW)) as ledger:
        await measuring.use(settings, workers.load_programmes(settings), ledger)
        await ledger.commit(Step(name="registry", at=NOW, writes=entries))
    begun = time.perf_counter()
    made = fill(folder / "ledger.db", count)
    print(f"{count} requests, {made} rows put in: {time.perf_counter() - begun:.1f} s")
    async with store.open("", folder, FixedClock(NOW)) as ledger:
        programmes = workers.load_programmes(settings)
        views = measuring.views(settings, programmes)
        catalogue = await measuring.use(settings, programmes, ledger)
        evaluator = Evaluator(catalogue, ledger.measures)
        total = busy = 0.0
        for measure in catalogue.of("toscana"):
            begun, used = time.perf_counter(), time.process_time()
            report = await evaluator.report(measure, HALF if measure.period in ("half-year", "year") else MARCH, NOW)
            spent, used = time.perf_counter() - begun, time.process_time() - used
            total, busy = total + spent, busy + used
            found = len(report.lines) or len(report.findings)
            print(f"  {measure.name:28} {spent:7.2f} s, {used:6.2f} s of processor  {found} lines")
        print(f"all {len(catalogue.of('toscana'))} measures: {total:.1f} s, {busy:.1f} s of processor")
        kept = tuple(map(new, resources(toscana_mese.month(3, max(100, count // 300)))))
        begun = time.perf_counter()
        found = [views.made(each) for each in kept]
        print(f"one day more: rows of {len(found)} resources made in {time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        await ledger.commit(Step(name="publish", at=NOW, writes=kept))
        print(f"  committed whole, versions, search and rows: {time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        for name in ("offerta-b", "ex-ante", "ex-post", "risarcimenti"):
            await evaluator.report(catalogue.one("toscana", name), ONE_DAY, NOW)
        print(f"  four measures of that day: {time.perf_counter() - begun:.2f} s")


def new(resource: Any) -> StoredResource:
    """A resource that was not there before."""
    body = json.write(resource)
    return StoredResource(
        type=resource["resourceType"], id=f"{resource['id']}-new", programme="toscana", sender="cup", body=body
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(count, Path(folder)))


if __name__ == "__main__":
    main()
