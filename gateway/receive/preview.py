"""What a sender may look at beside a submission's status: its table marked, and an input converted without being kept.

GET  /submissions/{id}/workbook   the table that was sent as XLSX, faulty cells marked and commented
POST /convert/{programme}         what would become of an input: nothing of it is kept, that it was asked is
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from gateway.errors import Refused
from gateway.formats import media, table_write
from gateway.kept import SubmissionStatus
from gateway.message import AuditRecord, Finding, ItemResult, Json, Language, Place, Step, Submission
from gateway.receive import answers
from gateway.receive.acceptance import REST


class Preview(NamedTuple):
    """The first items that an input would become; `more` if there are others."""

    items: Sequence[ItemResult]
    more: bool


Previewer = Callable[[Submission], Awaitable[Preview]]
"""Maps and validates as the workers do, and keeps nothing."""

SHOWN: Final = 100
"""Items of one preview."""


# --- tables back ----------------------------------------------------------------------------------


def marked(submission: Submission, status: SubmissionStatus, language: Language) -> bytes:
    """The workbook. Raises `Refused` where there is none (no table), none yet, or none any more."""
    if media.FORMAT.get(submission.media_type) != "table":
        raise Refused("GW-RECEIVE-032")
    if not status.settled:
        raise Refused("GW-RECEIVE-033")
    if not submission.body:
        raise Refused("GW-RECEIVE-034")
    found = [*status.findings]
    for item in status.items:
        found += at_rows(item.label, item.findings)
    return table_write.returned(submission.body, submission.media_type, submission.charset or "", found, language)


def at_rows(label: str, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of a row; those that name no place stand at the row."""
    for each in findings:
        place = each.place or Place(notation="table", path=label)
        yield each if each.place is not None else msgspec.structs.replace(each, place=place)


# --- conversion -----------------------------------------------------------------------------------


def converted(preview: Preview, language: Language) -> Json:
    """Items with their verdict, resources, lineage, loss report and findings, for the person who writes the sender."""
    return {"items": [_item(each, language) for each in preview.items], "more": preview.more}


def _item(result: ItemResult, language: Language) -> Json:
    return {
        "label": result.label,
        "verdict": "refused" if result.refused else "accepted",
        "mapping": result.mapping,
        "case": {"kind": result.case.kind, "id": result.case.id} if result.case else None,
        "parts": list(result.parts),
        "resources": list(result.resources),
        "findings": [answers.finding_json(each, language) for each in result.findings],
        "lineage": answers.elements_json(result.lineage),
        "loss": answers.loss_json(result.loss),
    }


def asked(submission: Submission, items: int, at: datetime) -> Step:
    """The commit that keeps who converted how much of what programme's input: a digest, and nothing of the input."""
    event = AuditRecord(
        type=REST,
        subtype="operation",
        action="E",
        outcome="0",
        agent=submission.sender,
        entities=(),
        at=at,
        detail={
            "operation": "convert",
            "programme": submission.programme,
            "digest": hashlib.sha256(submission.body).hexdigest(),
            "items": str(items),
        },
    )
    return Step(name="convert", at=at, audit=(event,))
