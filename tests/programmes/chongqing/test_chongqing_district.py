"""A district of invented townships: every fault found once, every measure equal to a brute-force computation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import district
import pytest
import pytest_asyncio
from district import KEYS, District
from district_ledger import NOW, Asked, House, Taken
from district_oracle import DAY_MEASURES, PERIOD_MEASURES, Oracle, Period, of

from gateway import store
from gateway.clock import FixedClock

DAYS = (date(2020, 3, 1), date(2020, 9, 20), date(2020, 12, 31), date(2021, 6, 30))
PERIODS = (
    Period(date(2020, 1, 1), date(2020, 12, 31)),
    Period(date(2020, 9, 1), date(2020, 9, 30)),
    Period(date(2020, 10, 1), date(2021, 6, 30)),
)
ELSEWHERE = {"accuracy-accepted", "forwarded-in-time", "spot-check"}
"""Of items and deliveries, which only a whole gateway has (tests of the delivery ask them), and the sample."""


async def _through(
    house: House, made: District, folder: Path, url: str = ""
) -> AsyncIterator[tuple[District, Taken, Asked]]:
    taken = house.take(made)
    async with store.open(url, folder, FixedClock(NOW)) as ledger:
        yield made, taken, await Asked.over(ledger, house, taken.kept, made)


@pytest.fixture(scope="module")
def house() -> House:
    return House()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[District, Taken, Asked]]:
    async for each in _through(house, district.make(20201201, 3, 90, 18), tmp_path_factory.mktemp("small")):
        yield each


def found_once(made: District, taken: Taken, said: list[tuple[str, str]]) -> None:
    """Exactly what was planted, each once: at intake by its record, over time by the subject of the finding."""
    planted = sorted(each for each in made.faults if not each[0].startswith("SF-"))
    assert sorted(taken.findings) == planted
    assert taken.refused == made.refused
    over_time = [(code, key) for code, key in made.faults if code.startswith("SF-")]
    assert sorted(code for code, _ in said) == sorted(code for code, _ in over_time)
    for code, key in over_time:
        (subject,) = (subject for each, subject in said if each == code)
        if key.partition("/")[0] in ("household", "contract", "facility", "problem", "contact"):
            assert subject.startswith(key), code


async def faults_over_time(made: Asked) -> list[tuple[str, str]]:
    whole = (date(2020, 1, 1), date(2021, 6, 30))
    return [*await made.findings("contact-faults", *whole), *await made.findings("service-faults", *whole)]


def close(ours: dict[Any, Any], theirs: dict[Any, Any], what: str) -> None:
    assert ours.keys() == theirs.keys(), what
    for key, figure in ours.items():
        assert len(figure) == len(theirs[key]), what
        for mine, other in zip(figure, theirs[key], strict=True):
            assert mine == other if other is None else mine == pytest.approx(other, abs=1e-6), (what, key)


async def every_measure_agrees(made: District, ours: Asked) -> None:
    oracle = Oracle(made, KEYS)
    for name in DAY_MEASURES:
        for day in DAYS:
            if name != "file-age" or day == DAYS[-1]:
                close(await ours.lines(name, day, day), of(oracle, name)(day), f"{name} {day}")
    for name in PERIOD_MEASURES:
        for period in PERIODS:
            close(await ours.lines(name, period.first, period.last), of(oracle, name)(period), f"{name} {period.first}")


@pytest.mark.asyncio(loop_scope="module")
async def test_each_planted_fault_is_found_once(small: tuple[District, Taken, Asked]) -> None:
    """None missed, none twice, and nothing said of the sound part of the district."""
    made, taken, ours = small
    found_once(made, taken, await faults_over_time(ours))


@pytest.mark.asyncio(loop_scope="module")
async def test_every_measure_equals_brute_force(small: tuple[District, Taken, Asked]) -> None:
    """M1 to M13 on several days and periods, by township, against a computation over the bare rows."""
    made, _, ours = small
    known = {each.name for each in ours.evaluator.catalogue.of("chongqing") if each.kind != "findings"}
    assert known == {*DAY_MEASURES, *PERIOD_MEASURES, *ELSEWHERE}
    await every_measure_agrees(made, ours)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_sample_for_spot_checks_is_reproducible(small: tuple[District, Taken, Asked]) -> None:
    """SF-66: one in fifty active households, the same for everybody who asks; another seed gives others."""
    made, _, ours = small
    active = Oracle(made, KEYS).homes(DAYS[-1])
    drawn = [await ours.lines("spot-check", DAYS[-1], DAYS[-1]) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) in (len(active) // 50, len(active) // 50 + 1)
    assert {(active[number], number) for _, number in drawn[0]} == set(drawn[0])


def test_the_same_seed_gives_the_same_district() -> None:
    """Otherwise a failure could not be shown to anybody."""
    one, two = district.make(7, 2, 80, 6), district.make(7, 2, 80, 6)
    assert one.rows == two.rows
    assert one.rows != district.make(8, 2, 80, 6).rows


@pytest.mark.long
async def test_a_whole_district_agrees(house: House, tmp_path: Path) -> None:
    """12 townships, 2,000 households, 18 months, faults of every kind."""
    async for made, taken, ours in _through(house, district.make(), tmp_path):
        assert len({row["户编号"] for row in made.rows["成员"]}) == 2000
        found_once(made, taken, await faults_over_time(ours))
        await every_measure_agrees(made, ours)


@pytest.mark.long
@pytest.mark.needs("postgresql")
async def test_postgresql_says_the_same(house: House, tmp_path: Path, postgresql: Any) -> None:
    """A measure is one SELECT for both databases."""
    async for made, taken, ours in _through(house, district.make(20201201, 3, 90, 18), tmp_path, postgresql.url):
        found_once(made, taken, await faults_over_time(ours))
        await every_measure_agrees(made, ours)
