"""The programme over what a centre sends: mapped, merged by case as documents are, published, measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from gateway import map as mapping
from gateway import programme, store
from gateway.formats import json
from gateway.formats.calendars import zone
from gateway.gather import documents
from gateway.measure import definitions, measures, reports
from gateway.measure.calendar import number
from gateway.message import Context, ItemResult, Json, Step, StoredResource, Submission
from gateway.programme import Programme

HOME = Path(__file__).parents[3]
NAME = "behzisti"
SENDER = "centre-1"
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
TEHRAN = zone("Asia/Tehran")


@cache
def data() -> Programme:
    return programme.load(HOME, NAME)


@cache
def engine() -> mapping.Engine:
    return mapping.load(HOME, [data()])


def context(now: datetime = AT, registry: Any = None) -> Context:
    return Context(digest="c", now=now, sender=SENDER, programme=NAME, id_key=b"k", registry=registry or {})


def taken(body: bytes, media_type: str) -> tuple[ItemResult, ...]:
    """What mapping makes of a file."""
    given = Submission(
        id="s", sender=SENDER, programme=NAME, received_at=AT, channel="file", media_type=media_type, body=body,
        digest=hashlib.sha256(body).hexdigest(),
    )  # fmt: skip
    return engine().take_apart(given, context())


def published(results: Iterable[ItemResult]) -> list[Json]:
    """The last version of each resource, merged by case as documents are."""
    cases: dict[str, list[Json]] = {}
    for result in results:
        assert result.case is not None, result.findings
        cases.setdefault(result.case.id, []).extend(result.resources)
    last: dict[tuple[str, str], Json] = {}
    for resources in cases.values():
        for each in documents.merge(resources):
            last[each["resourceType"], each["id"]] = each
    return list(last.values())


def step(resources: Iterable[Json], at: datetime = AT) -> Step:
    writes = tuple(
        StoredResource(type=each["resourceType"], id=each["id"], programme=NAME, sender=SENDER, body=json.write(each))
        for each in resources
    )
    return Step(name="publish", at=at, writes=writes)


async def keep(ledger: store.Ledger, resources: list[Json]) -> None:
    for start in range(0, len(resources), 1000):
        await ledger.commit(step(resources[start : start + 1000]))


async def evaluator(ledger: store.Ledger, **settings: Any) -> reports.Evaluator:
    """Measures over that ledger, its tables made."""
    from gateway import measuring
    from gateway.settings import Settings

    given = Settings(home=str(HOME), programmes=(NAME,), **settings)
    catalogue = await measuring.use(given, {NAME: data()}, ledger)
    return reports.Evaluator(catalogue, ledger.measures)


def period(start: date, end: date) -> Any:
    from gateway.formats import periods

    return periods.Period(first=start, last=end, label="test") if hasattr(periods, "Period") else None


def night_after(day: date) -> datetime:
    """Five past one in the night after the day, where the findings of the day are looked for."""
    return datetime(day.year, day.month, day.day, tzinfo=TEHRAN) + timedelta(days=1, hours=1, minutes=5)


def evening_of(day: date) -> datetime:
    """A minute before the day ends."""
    return datetime(day.year, day.month, day.day, 23, 59, tzinfo=TEHRAN)


__all__ = ["definitions", "measures", "number"]
