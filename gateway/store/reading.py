"""One read: a snapshot of the database and the way to the payloads. Nothing here can write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog
from sqlalchemy import Connection, Select

from gateway.errors import Broken
from gateway.store.payload import Payloads
from gateway.store.statements import Hand

T = TypeVar("T")
Columns = dict[str, Any]

log = structlog.get_logger("gateway.store")


class Reading(NamedTuple):
    """What the questions of `ask_*.py` are asked of."""

    connection: Connection
    payloads: Payloads
    hand: Hand

    def all(self, question: Select[Any], **values: Any) -> list[Columns]:
        """Every row by column key, for a question that is a constant of its module."""
        return self.hand.rows(question, values)

    def first(self, question: Select[Any], **values: Any) -> Columns | None:
        """The first row, or None."""
        found = self.hand.rows(question, values)
        return found[0] if found else None

    def once(self, question: Select[Any]) -> list[Columns]:
        """Every row, for a question that was put together for this time."""
        keys = [str(column.key) for column in question.selected_columns]
        return [dict(zip(keys, row, strict=True)) for row in self.connection.execute(question)]


def whole(rows: Iterable[Columns], make: Callable[[Columns], T], key: Callable[[Columns], object]) -> Sequence[T]:
    """Values of a queue, in order. One whose bytes are damaged is logged, and holds back what has the same key.

    It stays in its state, where it is counted and ages; the rest of the queue goes on.
    """
    made: list[T] = []
    damaged: set[object] = set()
    for row in rows:
        if key(row) in damaged:
            continue
        try:
            made.append(make(row))
        except Broken as error:
            log.error("damaged", id=row["id"], code=error.code)
            damaged.add(key(row))
    return made
