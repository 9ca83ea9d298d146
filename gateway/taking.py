"""Submissions taken apart, in parts: a table of a hundred thousand rows is never in memory as results.

Each part is one call to a worker and one commit. The submission stays `received` until its last part is kept, so after
a crash it is taken up again behind the items that are there: their ids follow from their numbers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from gateway import steps, workers
from gateway.errors import finding
from gateway.message import Finding, Submission
from gateway.pool import Pool
from gateway.workers import Ask, Examined, Part

ITEMS: Final = 250
"""In one part: some megabytes between the processes, and a commit that holds nobody up."""

TOLD: Final = 500
"""Findings that are told later; the status of the submission has all of them."""


async def parts(pool: Pool, submission: Submission, ask: Ask, first: int = 0) -> AsyncIterator[Part]:
    """The parts from the item numbered `first`. The bytes go only to workers that have not begun with them."""
    part: Part = await pool.run(workers.take, submission, ask, first, ITEMS)
    yield part
    while not part.last:
        first += len(part.items)
        found = await pool.run(workers.take_on, submission.id, ask, first, ITEMS)
        part = await pool.run(workers.take, submission, ask, first, ITEMS) if found is None else found
        yield part


async def refusals(pool: Pool, submission: Submission, ask: Ask) -> Sequence[str]:
    """The labels of the first items that are refused, at least one where there is any."""
    async for part in parts(pool, submission, ask):
        if found := [each.result.label for each in part.items if each.refused_by]:
            return found
    return ()


class Tally:
    """What was itemised so far: counts, and the findings that the sender is told later."""

    def __init__(self) -> None:
        self.taken = steps.NOTHING_YET
        self._errors: list[Finding] = []
        self._others: list[Finding] = []
        self._more = 0

    def add(self, examined: Sequence[Examined]) -> None:
        """Count a part."""
        refused = sum(1 for each in examined if each.refused_by)
        self.taken = steps.Taken(self.taken.items + len(examined), self.taken.refused + refused)
        for each in examined:
            self.tell(each.result.findings)

    def tell(self, found: Sequence[Finding]) -> None:
        """Remember findings, errors before others, as many as can be told."""
        for each in found:
            kept = self._errors if each.severity == "error" else self._others
            if len(kept) < TOLD:
                kept.append(each)
            else:
                self._more += 1

    def findings(self) -> Sequence[Finding]:
        """What is told, and how much is not."""
        if not self._more:
            return (*self._errors, *self._others)
        return (*self._errors, *self._others, finding("GW-RECEIVE-031", count=str(self._more)))
