"""What may be forgotten, and how: bytes apart from what is known about them, and never anything that is not final."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, bindparam, exists, select

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
_ENDED: Final = (
    select(_submission.c.id)
    .where(
        _submission.c.open == ZERO,
        _submission.c.body_kept != word("gone"),
        _submission.c.programme == bindparam("programme"),
        _submission.c.since < bindparam("before"),
        *(~needed for needed in _STILL_NEEDED),
    )
    .order_by(_submission.c.since)
    .limit(LIMIT)
)
_SENT: Final = (
    select(_attempt.c.id, _attempt.c.request_kept, _attempt.c.reply_kept)
    .join(_exchange, _exchange.c.id == _attempt.c.exchange)
    .join(_lineage, _lineage.c.document == _exchange.c.document)
    .where(_lineage.c.submission == bindparam("submission"), _exchange.c.since < bindparam("before"))
)


def forget(group: Group, programme: str, before: datetime, limit: int) -> int:
    """Drop the bytes of submissions that ended, and of the attempts of their exchanges; how many submissions."""
    ended = group.hand.rows(_ENDED, {"programme": programme, "before": before, "limit": limit})
    for row in ended:
        for sent in group.hand.rows(_SENT, {"submission": row["id"], "before": before}):
            for name in ("request", "reply"):
                if sent[f"{name}_kept"] is not None:
                    _drop(group, _attempt, sent["id"], name)
        _drop(group, _submission, row["id"], "body")
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
