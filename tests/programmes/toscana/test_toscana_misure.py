"""Reports of the programme beside the month: volumes, use of classes, closed agendas, the page that is published."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pytest
from test_toscana_mese import Counted, keep, mapped, opened, reference_data
from toscana_lab import HERE, ROOT, taken
from toscana_lab import options as declared
from toscana_mese import NOW, month

from gateway import measuring, store, workers
from gateway.clock import FixedClock
from gateway.formats import media
from gateway.formats.periods import Period
from gateway.settings import Settings

YEAR = Period("2026", date(2026, 1, 1), date(2026, 12, 31))
QUARTER = Period("2026-Q1", date(2026, 1, 1), date(2026, 3, 31))
OF = month(4, 300)


@pytest.fixture
async def counted(tmp_path: Path) -> AsyncIterator[Counted]:
    async with store.open("", tmp_path, FixedClock(NOW.astimezone(UTC))) as ledger:
        yield await opened(ledger, OF, everything=False)


async def test_volumes_are_told_by_contact_and_channel(counted: Counted) -> None:
    """R33, R62: every delivery of the year once, first contacts apart from later ones, by the plan's channel."""
    lines = (await counted.report("volumi", YEAR)).lines
    done = [o for r in OF.requests for o in r.offers if o.delivered and o.delivered.year == 2026]
    assert sum(line.numerator or 0 for line in lines) == len(done) > 50
    assert {line.grain[2] for line in lines} == {"primo", "successivo"}
    assert {"diretta", "privata", "-"} <= {line.grain[3] for line in lines}


async def test_classes_are_counted_by_prescriber_and_by_stay(counted: Counted) -> None:
    """R51, R64: each first contact of the quarter under its prescriber, each planned stay under its class."""
    lines = (await counted.report("classi-per-prescrittore", QUARTER)).lines
    firsts = [r for r in OF.requests if r.contact_kind == "primo" and QUARTER.first <= r.contact.date() <= QUARTER.last]
    assert sum(line.numerator or 0 for line in lines) == len(firsts)
    assert all(line.grain[1].startswith("d-") for line in lines)
    ((stay, _),) = taken((HERE / "samples" / "adt-a03-dh.hl7").read_bytes(), media.HL7V2, **declared())
    await keep(counted.ledger, stay.resources)
    found = (await counted.report("classi-ricovero", QUARTER)).lines
    assert [(line.grain, line.numerator) for line in found] == [(("101", "B"), 1)]


async def test_an_agenda_without_a_free_place_is_closed(counted: Counted) -> None:
    """R54: of the two agendas of the sample one has a free place in the next ninety days."""
    sample = (HERE / "samples" / "agende.csv").read_bytes()
    before = {line.grain: line for line in (await counted.report("agende-chiuse", january())).lines}
    await keep(counted.ledger, mapped(sample, reference_data()))
    after = {line.grain: line for line in (await counted.report("agende-chiuse", january())).lines}
    one, two = before.get(("101",)), after["101",]
    closed, everything = (one.numerator or 0, one.denominator or 0) if one else (0, 0)
    assert (two.numerator, two.denominator) == (closed + 1, everything + 2)


def january() -> Period:
    return Period("2026-01", date(2026, 1, 1), date(2026, 1, 31))


async def told(counted: Counted, **asked: Any) -> str:
    settings = Settings(home=str(ROOT), programmes=("toscana",))
    made = measuring.Reporting(settings, counted.ledger, FixedClock(NOW.astimezone(UTC)))
    await measuring.use(settings, workers.load_programmes(settings), counted.ledger, (made,))
    parts = [line["part"] async for line in made(asked) if "part" in line]
    return b"".join(base64.b64decode(each) for each in parts).decode("utf-8-sig")


async def test_a_page_in_italian_has_charts(counted: Counted) -> None:
    """R58: aggregate only, in Italian, with what was excluded and why; no person in it."""
    page = await told(counted, measure=["offerta-b", "offerta-p", "sospensioni"], period="2026-03", format="html")
    assert '<html lang="it"' in page
    assert "<svg" in page
    assert "Classe B: prima disponibilità offerta entro il termine" in page
    assert "contatti successivi e controlli (R24)" in page
    assert "nessun limite configurato (X5)" in page
    assert "p-1" not in page
    table = await told(counted, measure=["offerta-p"], period="2026-03", format="csv")
    assert "excluded_senza_limite" in table.splitlines()[0]
    report = await told(counted, measure=["offerta-p"], period="2026-03")
    assert '"MeasureReport"' in report
