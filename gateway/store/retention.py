"""What may be forgotten, and how: bytes apart from what is known about them, and never anything that is not final."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, exists, select

from gateway.store import schema
from gateway.store.group import Group
from gateway.store.order import LIMIT, ONE, ZERO, word

_submission, _item, _answer = schema.submissions, schema.items, schema.answers
_lineage, _exchange, _attempt, _case = schema.lineage, schema.exchanges, schema.attempts, schema.cases

_STILL_NEEDED: Final = (
    exists().where(_item.c.submission == _submission.c.id, _item.c.open == ONE),
    exists().where(_answer.c.submission == _submission.c.id, _answer.c.open == ONE),
    exists().where(
        _item.c.submission == _submission.c.id,
        _case.c.id == _item.c.case,
        (_case.c.open == ONE) | (_case.c.owes == ONE),
    ),
    exists().where(
        _lineage.c.submission == _submission.c.id,
        _exchange.c.document == _lineage.c.document,
        _exchange.c.open == ONE,
    ),
)


def _ended(*more: ColumnElement[bool]) -> Select[tuple[str]]:
    """Submissions of a programme that ended before a time, and from which nothing unfinished came."""
    mine = (_submission.c.programme == bindparam("programme"), _submission.c.since < bindparam("before"))
    ended = (_submission.c.open == ZERO, *mine, *more, *(~needed for needed in _STILL_NEEDED))
    return select(_submission.c.id).where(*ended).order_by(_submission.c.since).limit(LIMIT)


_KEPT: Final = _submission.c.body_kept.in_((word("row"), word("file")))
_WITH_BYTES: Final = {
    None: _ended(_KEPT),
    "refused": _ended(_KEPT, _submission.c.state == word("refused")),
    "itemised": _ended(_KEPT, _submission.c.state == word("itemised")),
}
_WITHOUT_BYTES: Final = _ended(_submission.c.body_kept == word("gone"))
_SENT: Final = (
    select(_attempt.c.id, _attempt.c.request_kept, _attempt.c.reply_kept)
    .join(_exchange, _exchange.c.id == _attempt.c.exchange)
    .join(_lineage, _lineage.c.document == _exchange.c.document)
    .where(_lineage.c.submission == bindparam("submission"), _exchange.c.since < bindparam("before"))
)

_EXCHANGES: Final = (
    select(_exchange.c.id)
    .join(_lineage, _lineage.c.document == _exchange.c.document)
    .where(
        _lineage.c.submission == bindparam("submission"),
        _exchange.c.open == ZERO,
        _exchange.c.since < bindparam("before"),
    )
)
_ITEMS: Final = select(_item.c.id).where(_item.c.submission == bindparam("submission"))
_ANSWERS: Final = select(_answer.c.id).where(_answer.c.submission == bindparam("submission"))
_OF_EXCHANGE: Final = delete(_attempt).where(_attempt.c.exchange == bindparam("id"))
_LINES: Final = delete(schema.journal).where(schema.journal.c.id == bindparam("id"))


def forget(group: Group, programme: str, before: datetime, limit: int, state: str | None = None) -> int:
    """Drop the bytes of submissions that ended (in `state`), and of their exchanges' attempts; how many submissions."""
    ended = group.hand.rows(_WITH_BYTES[state], {"programme": programme, "before": before, "limit": limit})
    for row in ended:
        for sent in group.hand.rows(_SENT, {"submission": row["id"], "before": before}):
            for name in ("request", "reply"):
                if sent[f"{name}_kept"] is not None:
                    _drop(group, _attempt, sent["id"], name)
        _drop(group, _submission, row["id"], "body")
    return len(ended)


def forget_metadata(group: Group, programme: str, before: datetime, limit: int) -> int:
    """Drop journal lines and attempts of submissions whose bytes are gone; how many submissions.

    An exchange to which a later submission contributed as well keeps its own until that one's time has come.
    """
    ended = group.hand.rows(_WITHOUT_BYTES, {"programme": programme, "before": before, "limit": limit})
    for row in ended:
        mine = {"submission": row["id"], "before": before}
        for exchange in group.hand.rows(_EXCHANGES, mine):
            group.hand.run("forget attempts", lambda: _OF_EXCHANGE, exchange)
            group.hand.run("forget journal", lambda: _LINES, exchange)
        for thing in (*group.hand.rows(_ITEMS, mine), *group.hand.rows(_ANSWERS, mine), row):
            group.hand.run("forget journal", lambda: _LINES, thing)
        group.hand.update(_submission, {"id": row["id"]}, {"body_kept": "past"})
    return len(ended)


def _drop(group: Group, table: Table, id: str, name: str) -> None:
    """Digest and size stay: what it was can still be proved to whoever has the bytes."""
    group.hand.update(table, {"id": id}, {name: None, f"{name}_kept": "gone"})


def _named(table: Table, name: str) -> Any:
    digest = table.c[f"{name}_digest"]
    return select(digest).where(digest == bindparam("digest"), table.c[f"{name}_kept"] == word("file"))


_NAMED: Final = tuple(_named(table, name).limit(ONE) for table, name in schema.PAYLOADS)


def sweep(group: Group, digests: Sequence[str]) -> None:
    """Remove files that no row names.

    This runs in the writer thread: what was committed is seen here, and what comes later finds the file missing
    when its row is made and writes it again (`Payloads.columns`).
    """
    for digest in digests:
        if not any(group.hand.rows(named, {"digest": digest}) for named in _NAMED):
            group.payloads.remove(digest)


def shrink(group: Group, pages: int) -> int:
    """Give free pages back to the file system a few at a time, so that nobody waits; PostgreSQL does it by itself."""
    if group.postgresql:
        return 0
    free = _free_pages(group)
    for _ in range(min(pages, free)):  # the driver takes one page a statement, whatever number it is given
        group.hand.plain("PRAGMA incremental_vacuum(1)")
    return max(0, free - pages)


def _free_pages(group: Group) -> int:
    return int(group.connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
