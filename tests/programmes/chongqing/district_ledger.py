"""The way of a district through the product: mapped, checked, kept with its views, and asked by measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from district import KEYS, District

from gateway import map as mapping
from gateway import measuring, programme, store, validate
from gateway.clock import FixedClock
from gateway.formats import media
from gateway.formats.periods import Period
from gateway.measure.reports import Evaluator
from gateway.message import Context, Finding, ItemRecord, ItemResult, RegistryEntry, Step, StoredResource, Submission
from gateway.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
NAME = "chongqing"
NOW = datetime(2021, 7, 1, 2, 0, tzinfo=UTC)
BENIGN = {"GW-FMT-104", "GW-MAP-024"}
"""A region that was renamed, and what was filled in by default: said to the sender, and no fault."""


def submission(body: bytes, media_type: str = media.JSON, sender: str = "test-township") -> Submission:
    return Submission(
        id=hashlib.sha256(body).hexdigest()[:16], sender=sender, programme=NAME, received_at=NOW, channel="http",
        media_type=media_type, body=body, digest=hashlib.sha256(body).hexdigest(),
    )  # fmt: skip


def context(sender: str = "test-township", now: datetime = NOW, **more: Any) -> Context:
    return Context(digest="c", now=now, sender=sender, programme=NAME, id_key=b"a key for tests", **more)


@dataclass
class Taken:
    """What became of the rows: kept items, and every finding as (code, sheet, key of the record)."""

    kept: list[ItemResult] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    findings: list[tuple[str, str]] = field(default_factory=list)


class House:
    """The compiled rules of the programme."""

    def __init__(self) -> None:
        self.programme = programme.load(ROOT, NAME)
        self.mapper = mapping.load(ROOT, [self.programme])
        policy = validate.Policy(best_practice=False, undecided=False)
        self.rules = validate.load(ROOT, [self.programme], policy=policy)

    def items(self, given: Submission, known: Context) -> list[tuple[ItemResult, tuple[Finding, ...]]]:
        """Each item with everything that was found."""
        made = []
        for result in self.mapper.take_apart(given, known):
            found = result.findings if result.refused else (*result.findings, *self.rules.findings(result, known))
            made.append((result, found))
        return made

    def take(self, district: District) -> Taken:
        """Every sheet as JSON, in the order in which a township fills them in."""
        taken = Taken()
        for sheet, rows in district.rows.items():
            body = json.dumps({sheet: rows}, ensure_ascii=False).encode()
            keys = list(dict.fromkeys(row[KEYS[sheet]] for row in rows)) if sheet in GROUPED else None
            for number, (result, found) in enumerate(self.items(submission(body), context())):
                key = keys[number] if keys else rows[number][KEYS[sheet]]
                taken.findings += [(each.code, key) for each in found if each.code not in BENIGN]
                if any(each.severity == "error" for each in found):
                    taken.refused.add((sheet, key))
                else:
                    taken.kept.append(result)
        return taken


GROUPED = {"成员", "联系人", "台账"}


def stored(result: ItemResult) -> list[StoredResource]:
    return [
        StoredResource(type=each["resourceType"], id=each["id"], programme=NAME, sender="test-township",
                       body=json.dumps(each, ensure_ascii=False, default=float).encode())
        for each in result.resources
    ]  # fmt: skip


class Asked:
    """A ledger that holds the district, and its measures."""

    def __init__(self, ledger: store.Ledger, evaluator: Evaluator) -> None:
        self.ledger, self.evaluator = ledger, evaluator

    @classmethod
    async def over(cls, ledger: store.Ledger, house: House, kept: Sequence[ItemResult], district: District) -> Asked:
        settings = Settings(home=str(ROOT), programmes=(NAME,))
        catalogue = await measuring.use(settings, {NAME: house.programme}, ledger)
        entries = [
            RegistryEntry(kind="person-reference", key=row["key"], programme=NAME,
                          data={k: v for k, v in row.items() if k != "key"})
            for row in district.reference
        ]  # fmt: skip
        await ledger.commit(Step(name="registry", at=NOW, writes=tuple(entries)))
        for first in range(0, len(kept), 400):
            writes = tuple(each for result in kept[first : first + 400] for each in stored(result))
            await ledger.commit(Step(name="publish", at=NOW, writes=writes))
        return cls(ledger, Evaluator(catalogue, ledger.measures))

    async def lines(self, name: str, first: date, last: date) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Grain without the district -> numerator and denominator (or value and denominator), then further columns."""
        measure = self.evaluator.catalogue.one(NAME, name)
        report = await self.evaluator.report(measure, Period("p", first, last), NOW)
        made = {}
        for line in report.lines:
            key = tuple(
                v for n, v in zip(measure.grain, line.grain, strict=True) if n not in ("district", "definition")
            )
            figures = (line.value if measure.kind == "duration" else line.numerator, line.denominator)
            made[key] = (*figures, *line.excluded.values(), *line.further.values())
        return made

    async def findings(self, name: str, first: date, last: date) -> list[tuple[str, str]]:
        """(code, subject) of each finding."""
        measure = self.evaluator.catalogue.one(NAME, name)
        report = await self.evaluator.report(measure, Period("p", first, last), NOW)
        return [(each.code, each.subject) for each in report.findings]


__all__ = [
    "BENIGN",
    "NAME",
    "NOW",
    "ROOT",
    "Asked",
    "FixedClock",
    "House",
    "ItemRecord",
    "Taken",
    "context",
    "stored",
    "submission",
]
