"""Questions about submissions, their items and the answers owed for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, exists, or_, select

from gateway import flow
from gateway.flow import Thing
from gateway.message import Answer, Exchange, ItemRecord, ItemStatus, JournalEntry, Submission, SubmissionStatus
from gateway.store import rows, schema
from gateway.store.order import ONE, word
from gateway.store.reading import Reading, whole

_ACCEPTED = frozenset({"valid", "gathered"})


def submission(reading: Reading, id: str) -> Submission | None:
    """With its bytes."""
    row = reading.first(select(schema.submissions).where(schema.submissions.c.id == id))
    return rows.submission(row, reading.payloads) if row else None


def earlier(reading: Reading, sender: str, control_id: str) -> Sequence[Submission]:
    """Under the same control id, newest first, at most 10, without bytes."""
    table = schema.submissions
    columns = [column for column in table.c if column.key != "body"]
    same = and_(table.c.sender == sender, table.c.control_id == control_id, table.c.control_id.is_not(None))
    found = reading.all(select(*columns).where(same).order_by(table.c.sequence.desc()).limit(10))
    return [rows.submission_without_body(row) for row in found]


def received(reading: Reading, limit: int) -> Sequence[Submission]:
    """Still to be taken apart, oldest first."""
    table = schema.submissions
    found = select(table).where(table.c.state == word("received")).order_by(table.c.feed).limit(limit)
    return whole(reading.all(found), lambda row: rows.submission(row, reading.payloads), lambda row: row["id"])


def items(reading: Reading, submission: str) -> Sequence[ItemRecord]:
    """The items of a submission, in their order."""
    table = schema.items
    found = select(table).where(table.c.submission == submission).order_by(table.c.position)
    return [rows.item(row, reading.payloads) for row in reading.all(found)]


def gatherable(reading: Reading, limit: int) -> Sequence[ItemRecord]:
    """Valid items in the order of acceptance, none that something earlier holds back.

    An earlier submission of the sender that was not taken apart holds everything of the sender, because nobody
    knows yet whose it is; an earlier item of the same subject that is not valid holds that subject alone.
    """
    item, before = schema.items, schema.items.alias("before")
    submission = schema.submissions
    untaken = exists().where(
        submission.c.sender == item.c.sender,
        submission.c.state == word("received"),
        submission.c.sequence < item.c.sequence,
    )
    behind = exists().where(
        before.c.sender == item.c.sender,
        before.c.subject == item.c.subject,
        before.c.open == ONE,
        before.c.position < item.c.position,
        before.c.state != word("valid"),
    )
    found = select(item).where(item.c.state == word("valid"), ~untaken, ~behind).order_by(item.c.position).limit(limit)
    return whole(
        reading.all(found), lambda row: rows.item(row, reading.payloads), lambda row: (row["sender"], row["subject"])
    )


def submission_status(reading: Reading, id: str) -> SubmissionStatus | None:
    """As its sender sees it."""
    table = schema.submissions
    columns = (table.c.id, table.c.sender, table.c.programme, table.c.state, table.c.received_at, table.c.language)
    row = reading.first(select(*columns).where(table.c.id == id))
    if row is None:
        return None
    records = items(reading, id)
    owed = _exchanges(reading, id)
    statuses = tuple(
        ItemStatus(
            id=record.id,
            label=record.result.label,
            state=record.state,
            findings=record.result.findings,
            exchanges=tuple(each for each in owed if record.case is not None and each.case == record.case),
        )
        for record in records
    )
    known = all(each.findings or each.state in _ACCEPTED or each.state == "refused" for each in statuses)
    settled = row["state"] in flow.FINAL[Thing.SUBMISSION] and known
    return SubmissionStatus(**row, settled=settled, items=statuses)


def _exchanges(reading: Reading, submission: str) -> Sequence[Exchange]:
    exchange, lineage = schema.exchanges, schema.lineage
    found = (
        select(exchange)
        .join(lineage, lineage.c.document == exchange.c.document)
        .where(lineage.c.submission == submission)
        .order_by(exchange.c.position)
    )
    return [rows.exchange(row) for row in reading.all(found)]


def first_answer(reading: Reading, submission: str) -> Answer | None:
    """The acknowledgement that was given, or is owed."""
    table = schema.answers
    found = select(table).where(table.c.submission == submission, table.c.kind == "first").order_by(table.c.position)
    row = reading.first(found)
    return rows.answer(row, reading.payloads) if row else None


def answers(reading: Reading, submission: str) -> Sequence[Answer]:
    """Every answer of a submission, in order."""
    table = schema.answers
    found = select(table).where(table.c.submission == submission).order_by(table.c.position)
    return [rows.answer(row, reading.payloads) for row in reading.all(found)]


def answers_due(reading: Reading, now: datetime, limit: int) -> Sequence[Answer]:
    """The first owed one of each sender, whose time has come."""
    table = schema.answers
    ready = and_(table.c.open == ONE, table.c.head == ONE, table.c.ready_at <= now)
    timely = or_(table.c.next_at.is_(None), table.c.next_at <= now)
    found = select(table).where(ready, timely).order_by(table.c.ready_at, table.c.position).limit(limit)
    return whole(reading.all(found), lambda row: rows.answer(row, reading.payloads), lambda row: row["id"])


def journal(reading: Reading, submission: str) -> Sequence[JournalEntry]:
    """Every state change of the submission and of all that came of it, in feed order."""
    item, lineage, exchange, answer = schema.items, schema.lineage, schema.exchanges, schema.answers
    line = schema.journal
    documents = select(lineage.c.document).where(lineage.c.submission == submission)
    things = {
        Thing.ITEM: select(item.c.id).where(item.c.submission == submission),
        Thing.CASE: select(item.c.case).where(item.c.submission == submission, item.c.case.is_not(None)),
        Thing.EXCHANGE: select(exchange.c.id).where(exchange.c.document.in_(documents)),
        Thing.ANSWER: select(answer.c.id).where(answer.c.submission == submission),
    }
    parts = [and_(line.c.thing == str(Thing.SUBMISSION), line.c.id == submission)]
    parts += [and_(line.c.thing == str(thing), line.c.id.in_(ids)) for thing, ids in things.items()]
    found = [row for part in parts for row in reading.all(select(line).where(part))]
    return [rows.journal_entry(row) for row in sorted(found, key=lambda row: (row["feed"], row["place"]))]
