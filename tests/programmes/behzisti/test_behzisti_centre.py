"""A centre of fifty clients over fourteen months: each planted fault on its day, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import date
from pathlib import Path

import behzisti_lab as lab
import pytest
from behzisti_centre import Centre, as_json, j

from gateway import store
from gateway.clock import FixedClock
from gateway.formats import media
from gateway.formats.periods import Period
from gateway.measure.reports import Evaluator

EPOCH = date(1970, 1, 1).toordinal()
Found = set[tuple[str, str, str]]


async def evaluated(centre: Centre, folder: Path) -> AsyncIterator[Evaluator]:
    """Measures over everything that the centre sent, month by month."""
    results = [each for month in centre.months for each in lab.taken(as_json(centre.workbook(month)), media.JSON)]
    faults = [(f.code, f.place) for each in results for f in each.findings if f.severity == "error"]
    assert faults == []
    async with store.open("", folder, FixedClock(lab.AT)) as ledger:
        made = await lab.evaluator(ledger)
        await lab.keep(ledger, lab.published(results))
        yield made


async def found(made: Evaluator, period: Period, now: object, among: Collection[str] = ()) -> Found:
    """Every finding of every measure, or of those that have one of these codes."""
    out: Found = set()
    for measure in made.catalogue.of(lab.NAME):
        if measure.kind == "findings" and (not among or set(among) & measure.finding.keys()):
            report = await made.report(measure, period, now)  # type: ignore[arg-type]
            out |= {(f.code, f.subject, j(date.fromordinal(f.due_day + EPOCH))) for f in report.findings}
    return out


@pytest.mark.long
async def test_every_planted_fault_is_found_on_its_day_and_nothing_else(tmp_path: Path) -> None:
    """Fourteen months with the leap day of 1399 and Nowruz: what falls due is found the night after, not before."""
    centre = Centre()
    planted = {(code, subject, j(day)) for code, subject, day in centre.planted}
    assert len({code for code, _, _ in planted}) >= 27
    async for made in evaluated(centre, tmp_path):
        whole = await found(made, Period("all", centre.begin, centre.finish), lab.night_after(centre.finish))
        assert whole == planted
        for day in sorted({day for _, _, day in centre.planted}):
            on_the_day = {each for each in planted if each[2] == j(day)}
            one, among = Period("day", day, day), {code for code, _, _ in on_the_day}
            assert await found(made, one, lab.evening_of(day), among) == set(), "the day had not ended"
            assert await found(made, one, lab.night_after(day), among) == on_the_day


async def test_a_small_centre_without_faults_is_told_nothing(tmp_path: Path) -> None:
    """Seven months of three clients across Nowruz: a rule that cries wolf is not read twice."""
    centre = Centre(clients=3, start=(1399, 11), count=6, faults=False)
    async for made in evaluated(centre, tmp_path):
        assert await found(made, Period("all", centre.begin, centre.finish), lab.night_after(centre.finish)) == set()


def test_the_generator_is_seeded() -> None:
    """The same seed gives the same centre; another one another."""
    month = (1399, 8)
    assert Centre().workbook(month) == Centre().workbook(month)
    assert Centre().workbook(month) != Centre(seed=1).workbook(month)
