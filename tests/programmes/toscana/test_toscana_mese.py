"""A seeded month of a fictitious company: every measure equals a plain count written separately from it.

The short run sends the month as a CUP would, through the mappings; the long one (50,000 requests) puts the same kind of
resources into the ledger directly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pytest
import toscana_conto as conto
from toscana_lab import ROOT, Context, engine, submitted, table
from toscana_mese import FIRST, LAST, NOW, Month, month, operation_row, pathway_row, reference, rows, suspension_row
from toscana_risorse import resources

from gateway import measuring, store, workers
from gateway.clock import FixedClock
from gateway.formats import json, media
from gateway.formats.periods import Period
from gateway.map import registry
from gateway.measure.reports import Evaluator, Report
from gateway.message import RegistryEntry, Step, StoredResource
from gateway.settings import Settings
from gateway.store import Ledger

MARCH = Period("2026-03", FIRST, LAST)
HALF = Period("2026-H1", date(2026, 1, 1), date(2026, 6, 30))
CHUNK = 2000


class Counted:
    """A ledger with the month in it, and its measures."""

    def __init__(self, ledger: Ledger, evaluator: Evaluator) -> None:
        self.ledger, self.evaluator = ledger, evaluator

    async def report(self, name: str, period: Period = MARCH) -> Report:
        measure = self.evaluator.catalogue.one("toscana", name)
        return await self.evaluator.report(measure, period, NOW.astimezone(UTC))

    async def table(self, name: str, period: Period = MARCH) -> conto.Table:
        made: conto.Table = {}
        for line in (await self.report(name, period)).lines:
            found = Counter({"numerator": line.numerator, "denominator": line.denominator or 0, **line.excluded})
            made[line.grain] = Counter({key: value for key, value in found.items() if value})
        return made


def reference_data() -> tuple[RegistryEntry, ...]:
    entries, wrong = registry.read(reference().encode(), media.CSV, "toscana")
    assert not wrong
    return entries


def mapped(body: bytes, entries: Sequence[RegistryEntry]) -> list[Any]:
    """The resources of a table; nothing of it may be refused."""
    grouped: dict[str, dict[str, tuple[RegistryEntry, ...]]] = {}
    for each in entries:
        grouped.setdefault(each.kind, {})[each.key] = (*grouped.get(each.kind, {}).get(each.key, ()), each)
    context = Context(digest="c", now=NOW, sender="cup", programme="toscana", id_key=b"k", registry=grouped)
    made: list[Any] = []
    for result in engine().take_apart(submitted(body, media.CSV), context):
        assert not result.refused, result.findings
        made += result.resources
    return made


def through_the_door(of: Month, entries: Sequence[RegistryEntry], everything: bool) -> list[Any]:
    made = mapped(table([row for each in of.requests for row in rows(each)]), entries) if everything else []
    for lines in (
        map(pathway_row, of.pathways),
        map(operation_row, of.operations),
        map(suspension_row, of.suspensions),
    ):
        written = list(lines)
        heading = ";".join(written[0])
        made += mapped("\n".join([heading, *(";".join(row.values()) for row in written)]).encode(), entries)
    return made


async def keep(ledger: Ledger, found: Iterable[Any]) -> None:
    latest: dict[tuple[str, str], Any] = {}
    for each in found:  # of several versions in one commit the last is the current one
        latest[each["resourceType"], each["id"]] = each
    kept = [
        StoredResource(type=kind, id=id, programme="toscana", sender="cup", body=json.write(body))
        for (kind, id), body in latest.items()
    ]
    for start in range(0, len(kept), CHUNK):
        await ledger.commit(Step(name="publish", at=NOW.astimezone(UTC), writes=tuple(kept[start : start + CHUNK])))


async def opened(ledger: Ledger, of: Month, everything: bool) -> Counted:
    settings = Settings(home=str(ROOT), programmes=("toscana",))
    catalogue = await measuring.use(settings, workers.load_programmes(settings), ledger)
    entries = reference_data()
    await ledger.commit(Step(name="registry", at=NOW.astimezone(UTC), writes=entries))
    await keep(ledger, through_the_door(of, entries, everything))
    if not everything:
        await keep(ledger, resources(of))
    return Counted(ledger, Evaluator(catalogue, ledger.measures))


def plain(of: conto.Table) -> conto.Table:
    return {grain: Counter({key: value for key, value in line.items() if value}) for grain, line in of.items()}


async def hold(counted: Counted, of: Month) -> None:
    """Every measure beside its plain count."""
    expected = {
        **{f"offerta-{cls.lower()}": conto.offers_made(of, cls) for cls in "UBDP"},
        "ex-ante": conto.ex_ante(of),
        "ex-post": conto.ex_post(of),
        "pdt-fase-1": conto.pathway_phase(of, 1),
        "pdt-fase-2": conto.pathway_phase(of, 2),
        "interventi-90": conto.operations(of),
        "accuratezza": conto.accuracy(of),
        "alpi-prestazione": conto.intramoenia(of, by_service=True),
        "alpi-struttura": conto.intramoenia(of, by_service=False),
        "mancate-presentazioni": conto.missed(of),
        "uso-cup": conto.cup_use(of),
        "richieste-senza-offerta": conto.no_offer(of),
        "completezza": conto.completeness(of, "cup"),
    }
    for name, wanted in expected.items():
        assert wanted, name
        assert await counted.table(name) == plain(wanted), name
    suspended = conto.suspended(of, HALF.first, HALF.last, HALF.last)
    assert await counted.table("sospensioni", HALF) == plain(suspended)
    assert sum(line["denominator"] for line in expected["offerta-b"].values()) > 10
    await hold_findings(counted, of)


def day_of(number: int) -> date:
    return date.fromordinal(date(1970, 1, 1).toordinal() + number)


async def hold_findings(counted: Counted, of: Month) -> None:
    """Rights and duties: the same persons, the same days, and nobody else."""
    candidates = (await counted.report("risarcimenti")).findings
    assert Counter(day_of(f.due_day) for f in candidates) == Counter(day for _, day in conto.compensations(of))
    assert len(candidates) > 0
    duties = (await counted.report("quote-disdetta")).findings
    assert Counter(f.code for f in duties) == Counter(code for _, code in conto.duties(of))
    reports = (await counted.report("referti-non-ritirati")).findings
    assert Counter((f.place, day_of(f.due_day)) for f in reports) == conto.uncollected(of)


async def test_a_month_through_the_mappings_counts_as_it_should(tmp_path: Path) -> None:
    """2,000 requests with their offers, as a CUP sends them."""
    of = month(9, 2000)
    async with store.open("", tmp_path, FixedClock(NOW.astimezone(UTC))) as ledger:
        await hold(await opened(ledger, of, everything=True), of)


@pytest.mark.long
async def test_a_month_of_fifty_thousand_requests_counts_as_it_should(tmp_path: Path) -> None:
    """The size of a large company."""
    of = month(10, 50_000)
    async with store.open("", tmp_path, FixedClock(NOW.astimezone(UTC))) as ledger:
        await hold(await opened(ledger, of, everything=False), of)
