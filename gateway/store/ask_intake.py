"""Questions about submissions, their items and the answers owed for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, BindParameter, Integer, and_, bindparam, exists, func, or_, select

from gateway import flow
from gateway.flow import Thing
from gateway.kept import JOURNAL_LINES, STATUS_ITEMS, ItemStatus, JournalEntry, SubmissionStatus
from gateway.message import Answer, Exchange, ItemRecord, Submission
from gateway.store import rows
from gateway.store.order import LIMIT, ONE, word
from gateway.store.reading import Reading, whole
from gateway.store.schema import answers as _answer
from gateway.store.schema import exchanges as _exchange
from gateway.store.schema import items as _item
from gateway.store.schema import journal as _line
from gateway.store.schema import lineage as _lineage
from gateway.store.schema import submissions as _submission

_ACCEPTED: Final = frozenset({"valid", "gathered", "refused"})
_MINE: Final[BindParameter[str]] = bindparam("submission")
_FIRST: Final[BindParameter[int]] = bindparam("first", type_=Integer())
START: Final = (0, -1)
"""Before the first line."""

# --- submissions ----------------------------------------

_SUBMISSION: Final = select(_submission).where(_submission.c.id == bindparam("id"))
_EARLIER: Final = (
    select(*(column for column in _submission.c if column.key != "body"))
    .where(
        _submission.c.sender == bindparam("sender"),
        _submission.c.control_id == bindparam("control_id"),
        _submission.c.control_id.is_not(None),
    )
    .order_by(_submission.c.sequence.desc())
    .limit(LIMIT)
)
_RECEIVED: Final = (
    select(_submission).where(_submission.c.state == word("received")).order_by(_submission.c.feed).limit(LIMIT)
)


def submission(reading: Reading, id: str) -> Submission | None:
    """With its bytes."""
    row = reading.first(_SUBMISSION, id=id)
    return rows.submission(row, reading.payloads) if row else None


def earlier(reading: Reading, sender: str, control_id: str) -> Sequence[Submission]:
    """Under the same control id, newest first, at most 10, without bytes."""
    found = reading.all(_EARLIER, sender=sender, control_id=control_id, limit=10)
    return [rows.submission_without_body(row) for row in found]


def received(reading: Reading, limit: int) -> Sequence[Submission]:
    """Still to be taken apart, oldest first."""
    found = reading.all(_RECEIVED, limit=limit)
    return whole(found, lambda row: rows.submission(row, reading.payloads), lambda row: row["id"])


# --- items ----------------------------------------

_before = _item.alias("before")
_ITEMS: Final = select(_item).where(_item.c.submission == _MINE).order_by(_item.c.position)
_PAGE: Final = _ITEMS.limit(LIMIT).offset(_FIRST)
_COUNTS: Final = (
    select(_item.c.state, func.count().label("count")).where(_item.c.submission == _MINE).group_by(_item.c.state)
)
_SO_FAR: Final = select(func.count().label("count")).select_from(_item).where(_item.c.submission == _MINE)
_UNTAKEN: Final = exists().where(
    _submission.c.sender == _item.c.sender,
    _submission.c.state == word("received"),
    _submission.c.sequence < _item.c.sequence,
)
_BEHIND: Final = exists().where(
    _before.c.sender == _item.c.sender,
    _before.c.subject == _item.c.subject,
    _before.c.open == ONE,
    _before.c.position < _item.c.position,
    _before.c.state != word("valid"),
)
_GATHERABLE: Final = (
    select(_item).where(_item.c.state == word("valid"), ~_UNTAKEN, ~_BEHIND).order_by(_item.c.position).limit(LIMIT)
)


def items(reading: Reading, submission: str, first: int = 0, limit: int | None = None) -> Sequence[ItemRecord]:
    """The items of a submission, in their order: all of them, or so many from a number on."""
    if limit is None:
        found = reading.all(_ITEMS, submission=submission)
    else:
        found = reading.all(_PAGE, submission=submission, first=first, limit=limit)
    return [rows.item(row, reading.payloads) for row in found]


def items_so_far(reading: Reading, submission: str) -> int:
    """How many of them there are."""
    row = reading.first(_SO_FAR, submission=submission)
    return int(row["count"]) if row else 0


def gatherable(reading: Reading, limit: int) -> Sequence[ItemRecord]:
    """Valid items in the order of acceptance, none that something earlier holds back; only the heads of their results.

    An earlier submission of the sender that was not taken apart holds everything of the sender, because nobody
    knows yet whose it is; an earlier item of the same subject that is not valid holds that subject alone.
    """
    found = reading.all(_GATHERABLE, limit=limit)
    return whole(found, lambda row: rows.item_head(row, reading.payloads), lambda row: (row["sender"], row["subject"]))


# --- status ----------------------------------------

_STATUS: Final = select(
    _submission.c.id,
    _submission.c.sender,
    _submission.c.programme,
    _submission.c.state,
    _submission.c.received_at,
    _submission.c.language,
).where(_submission.c.id == bindparam("id"))
_shown = (
    select(_item.c.case).where(_item.c.submission == _MINE).order_by(_item.c.position).limit(LIMIT).offset(_FIRST)
).subquery("shown")
_OWED: Final = (
    select(_exchange)
    .join(_lineage, _lineage.c.document == _exchange.c.document)
    .where(_lineage.c.submission == _MINE, _exchange.c.case.in_(select(_shown.c.case)))
    .order_by(_exchange.c.position)
)


_NOT_ACCEPTED: Final = (
    select(_item)
    .where(
        _item.c.submission == _MINE,
        _item.c.state.not_in([word(each) for each in sorted(_ACCEPTED)]),
        _item.c.position > bindparam("after", type_=BigInteger()),
    )
    .order_by(_item.c.position)
    .limit(LIMIT)
)


def _all_told(reading: Reading, submission: str) -> bool:
    """Whether every item that was not accepted has findings; one whose bytes are damaged shows none."""
    after = -1
    while found := reading.all(_NOT_ACCEPTED, submission=submission, after=after, limit=STATUS_ITEMS):
        records = whole(found, lambda row: rows.item(row, reading.payloads), lambda row: row["id"])
        if len(records) < len(found) or not all(each.result.findings for each in records):
            return False
        after = found[-1]["position"]
    return True


def submission_status(reading: Reading, id: str, first: int = 0, limit: int = STATUS_ITEMS) -> SubmissionStatus | None:
    """As its sender sees it, with the items from a number on. `settled` speaks of all items, shown or not."""
    row = reading.first(_STATUS, id=id)
    if row is None:
        return None
    counts = {each["state"]: each["count"] for each in reading.all(_COUNTS, submission=id)}
    records = items(reading, id, first, limit)
    owed: dict[str, list[Exchange]] = {}
    for each in reading.all(_OWED, submission=id, first=first, limit=limit):
        exchange = rows.exchange(each)
        owed.setdefault(exchange.case, []).append(exchange)
    statuses = tuple(
        ItemStatus(
            id=record.id,
            label=record.result.label,
            state=record.state,
            findings=record.result.findings,
            exchanges=tuple(owed.get(record.case or "", ())),
        )
        for record in records
    )
    ended = row["state"] in flow.FINAL[Thing.SUBMISSION]
    settled = ended and (counts.keys() <= _ACCEPTED or _all_told(reading, id))
    return SubmissionStatus(**row, settled=settled, items=statuses, counts=counts, first=first)


# --- answers ----------------------------------------

_ANSWERS: Final = select(_answer).where(_answer.c.submission == _MINE).order_by(_answer.c.position)
_FIRST_ANSWER: Final = _ANSWERS.where(_answer.c.kind == word("first")).limit(ONE)
_ANSWERS_DUE: Final = (
    select(_answer)
    .where(
        _answer.c.open == ONE,
        _answer.c.head == ONE,
        _answer.c.ready_at <= bindparam("now"),
        or_(_answer.c.next_at.is_(None), _answer.c.next_at <= bindparam("now")),
    )
    .order_by(_answer.c.ready_at, _answer.c.position)
    .limit(LIMIT)
)


def first_answer(reading: Reading, submission: str) -> Answer | None:
    """The acknowledgement that was given, or is owed."""
    row = reading.first(_FIRST_ANSWER, submission=submission)
    return rows.answer(row, reading.payloads) if row else None


def answers(reading: Reading, submission: str) -> Sequence[Answer]:
    """Every answer of a submission, in order."""
    return [rows.answer(row, reading.payloads) for row in reading.all(_ANSWERS, submission=submission)]


def answers_due(reading: Reading, now: datetime, limit: int) -> Sequence[Answer]:
    """The first owed one of each sender, whose time has come."""
    found = reading.all(_ANSWERS_DUE, now=now, limit=limit)
    return whole(found, lambda row: rows.answer(row, reading.payloads), lambda row: row["id"])


# --- journal ----------------------------------------

_THINGS: Final = {
    Thing.ITEM: select(_item.c.id).where(_item.c.submission == _MINE),
    Thing.CASE: select(_item.c.case).where(_item.c.submission == _MINE, _item.c.case.is_not(None)),
    Thing.EXCHANGE: select(_exchange.c.id).where(
        _exchange.c.document.in_(select(_lineage.c.document).where(_lineage.c.submission == _MINE))
    ),
    Thing.ANSWER: select(_answer.c.id).where(_answer.c.submission == _MINE),
}
_FEED: Final[BindParameter[int]] = bindparam("feed", type_=Integer())
_PLACE: Final[BindParameter[int]] = bindparam("place", type_=Integer())
_AFTER: Final = or_(_line.c.feed > _FEED, and_(_line.c.feed == _FEED, _line.c.place > _PLACE))
_LINES: Final = select(_line).where(_AFTER).order_by(_line.c.feed, _line.c.place).limit(LIMIT)
_JOURNAL: Final = (
    _LINES.where(_line.c.thing == word(str(Thing.SUBMISSION)), _line.c.id == _MINE),
    *(_LINES.where(_line.c.thing == word(str(thing)), _line.c.id.in_(ids)) for thing, ids in _THINGS.items()),
)


def journal(
    reading: Reading, submission: str, after: tuple[int, int] = START, limit: int = JOURNAL_LINES
) -> Sequence[JournalEntry]:
    """State changes of the submission and of all that came of it, in feed order: so many after (feed, place)."""
    given = {"submission": submission, "feed": after[0], "place": after[1], "limit": limit}
    found = [row for part in _JOURNAL for row in reading.all(part, **given)]
    return [rows.journal_entry(row) for row in sorted(found, key=lambda row: (row["feed"], row["place"]))[:limit]]
