"""The loop of schedules and of findings: what ended is reported once, what fell due is found on its day.

One process does it at a time (`leads`). A report's case, document and exchanges are one commit with ids that follow
from what it is about, so whatever was made before a crash is not made again. The mark of a schedule moves when a period
is done; a fault of one schedule or measure is logged with its code, tried again in the next round, and stops no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final

import structlog

from gateway import steps, workers
from gateway.clock import Clock, came
from gateway.errors import GatewayError, Misconfigured, StaleState, StorageFailed
from gateway.formats import periods
from gateway.formats.calendars import zone
from gateway.formats.periods import Period
from gateway.gather import documents, schedules
from gateway.gather.cases import duration
from gateway.measure import fhir, words
from gateway.measure.measures import Catalogue, Measure
from gateway.measure.reports import Evaluator, Report, of_unit, units
from gateway.message import Case, Json, Step
from gateway.pool import Pool
from gateway.programme import Programme, SchedulePlan
from gateway.sign import evidence
from gateway.store import Ledger

_log = structlog.get_logger()
SECONDS: Final = 20.0
_FINDINGS: Final = "findings"


class Scheduling:
    """The rounds of one process."""

    def __init__(
        self, ledger: Ledger, pool: Pool, clock: Clock, committed: Callable[[Step], None], key: Callable[[], bytes]
    ) -> None:
        self._ledger, self._pool, self._clock, self._committed, self._key = ledger, pool, clock, committed, key
        self._evaluator: Evaluator | None = None
        self._failing: dict[tuple[str, str], datetime] = {}
        self._stopping = asyncio.Event()

    def use(self, made: Catalogue) -> None:
        """Report by these measures and programmes from now on."""
        self._evaluator = Evaluator(made, self._ledger.measures)

    def stop(self) -> None:
        """End after what is being done."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            try:
                if await self._ledger.leads("schedules"):
                    await self.round()
            except StorageFailed as fault:
                _log.error("schedules_failed", code=fault.code)
            await came(self._stopping, SECONDS)

    async def round(self) -> int:
        """Do what is due now; how many documents were made."""
        if self._evaluator is None:
            return 0
        await self._ledger.catch_up_views()
        made = 0
        for programme in self._evaluator.catalogue.programmes.values():
            await self._guarded(programme.name, _FINDINGS, self._find(self._evaluator, programme))
            for plan in programme.schedule:
                made += await self._guarded(programme.name, plan.name, self._report(self._evaluator, programme, plan))
        return made

    def failing(self) -> Iterator[Json]:
        """Schedules that could not do what is due, as lines of `status`."""
        for (programme, name), since in self._failing.items():
            age = (self._clock.now() - since).total_seconds()
            line = {"thing": "schedule", "state": f"{programme}/{name} fails", "count": 1, "waiting": True}
            yield {**line, "oldest_seconds": age}

    async def _guarded(self, programme: str, name: str, work: Awaitable[int]) -> int:
        try:
            made = await work
            self._failing.pop((programme, name), None)
            return made
        except StorageFailed:
            raise
        except GatewayError as fault:
            self._failing.setdefault((programme, name), self._clock.now())
            _log.error("schedule_failed", programme=programme, topic=name, code=fault.code)
            return 0

    # --- findings ----------------------------------------

    async def _find(self, evaluator: Evaluator, programme: Programme) -> int:
        """Once a local day: what fell due since the last time, and what is not so any more."""
        measures = [each for each in evaluator.catalogue.of(programme.name) if each.kind == "findings"]
        if not measures:
            return 0
        now = self._clock.now()
        settled = now - duration(programme.calendar.evaluate_after)
        today = settled.astimezone(zone(programme.timezone)).date()
        mark = await self._ledger.measures.mark(programme.name, _FINDINGS)
        if mark is not None and mark >= periods.number(today):
            return 0
        for measure in measures:
            await self._find_by(evaluator, measure, today, mark, now)
        await self._ledger.measures.set_mark(programme.name, _FINDINGS, periods.number(today))
        return 0

    async def _find_by(
        self, evaluator: Evaluator, measure: Measure, today: date, mark: int | None, now: datetime
    ) -> None:
        last = periods.number(today)
        first = min(last - measure.lookback + 1, last if mark is None else mark + 1)
        window = Period("", periods.of_number(first), today)
        report = await evaluator.report(measure, window, now)
        store = self._ledger.measures
        new = await store.keep_findings(measure.programme, measure.name, (first, last), report.findings, last)
        if new:
            _log.info("findings", programme=measure.programme, topic=measure.name, count=len(new))

    # --- reports ----------------------------------------

    async def _report(self, evaluator: Evaluator, programme: Programme, plan: SchedulePlan) -> int:
        store, now = self._ledger.measures, self._clock.now()
        name = f"schedule/{plan.name}"
        mark = await store.mark(programme.name, name)
        if mark is None:
            mark = schedules.first_mark(programme, plan, now)
            await store.set_mark(programme.name, name, mark)
        made = 0
        for period in schedules.due(programme, plan, mark, now):
            if self._stopping.is_set():
                break
            made += await self._period(evaluator, programme, plan, period)
            await store.set_mark(programme.name, name, period.to_day)
        return made

    async def _period(self, evaluator: Evaluator, programme: Programme, plan: SchedulePlan, period: Period) -> int:
        now = self._clock.now()
        reports = [
            await evaluator.report(evaluator.catalogue.one(programme.name, name), period, now) for name in plan.measures
        ]
        if not plan.unit:
            silent = all(each.measure.kind == "findings" and not each.findings for each in reports)
            return 0 if silent else await self._publish(programme, plan, period, "", reports)
        made = 0
        for unit in sorted(set().union(*(units(each, plan.unit) for each in reports))):
            mine = [of_unit(each, plan.unit, unit) for each in reports]
            made += await self._publish(programme, plan, period, unit, mine)
        if made:
            _log.info("reported", programme=programme.name, topic=plan.name, count=made)
        return made

    async def _publish(
        self, programme: Programme, plan: SchedulePlan, period: Period, unit: str, reports: Sequence[Report]
    ) -> int:
        """One document, unless it was made before."""
        at = self._clock.now()
        case = schedules.case_of(programme, plan, period, unit, self._key(), at)
        if await self._ledger.case(case.id) is not None:
            return 0
        body = documents.of_resources(programme, case, self._resources(programme, plan, case, reports), at)
        derived = programme.document_plan(plan.kind).derived
        body, proof = await self._pool.run(workers.seal, programme.name, body, derived, at)
        made = steps.document(programme, case, (), body, proof, at)
        provenance = evidence.provenance(proof, made.id, f"Binary/{made.id}", made.digest, programme.canonical)
        step = steps.publish_report(programme, case, made, provenance, at)
        try:
            await self._ledger.commit(step)
        except StaleState:
            return 0  # another process was quicker
        self._committed(step)
        return 1

    def _resources(
        self, programme: Programme, plan: SchedulePlan, case: Case, reports: Sequence[Report]
    ) -> Sequence[Json]:
        language = programme.language
        found: dict[str, Json] = {}
        if programme.document_plan(plan.kind).bundle == "document":
            title = (
                f"{words.word('report', language)} – {getattr(programme.title, language)} – {reports[0].period.label}"
            )
            first = fhir.composition(case.id, plan.kind, title, reports, programme.canonical, language)
            found["Composition"] = first
        for report in reports:
            for each in fhir.resources_of(report, language):
                found[f"{each['resourceType']}/{each['id']}"] = each
        return list(found.values())


def check(programmes: Mapping[str, Programme], catalogue: Catalogue) -> None:
    """Every schedule can be made: its document, its periods, its measures, its unit. Raises `Misconfigured`."""
    for programme in programmes.values():
        schedules.check(programme)
        for plan in programme.schedule:
            measures = [catalogue.one(programme.name, name) for name in plan.measures]
            if plan.unit and not any(plan.unit in each.grain or each.kind == "findings" for each in measures):
                detail = f"no measure has the grain {plan.unit}"
                raise Misconfigured("GW-MEASURE-007", name=plan.name, programme=programme.name, detail=detail)
