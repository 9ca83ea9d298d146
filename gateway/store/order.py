"""Whose turn it is. The head of a key is its earliest open thing; only heads are ever handed out.

The mark `head` is kept by the same commit that opens or ends a thing, so that looking for work reads heads only,
however long the queues behind them are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, literal_column, select, update

from gateway.store import schema

ONE: Final[ColumnElement[int]] = literal_column("1")
"""Written out, not bound: SQLite uses a partial index only where its condition stands in the statement."""


def word(value: str) -> ColumnElement[str]:
    """A state of ours written out, for the same reason."""
    assert value.replace("_", "").isalpha()
    return literal_column(f"'{value}'")


KEYS: Final[Mapping[Table, tuple[str, ...]]] = {
    schema.exchanges: ("destination", "sender", "subject"),
    schema.answers: ("sender",),
}


def _of_key(table: Table, row: Mapping[Any, Any]) -> ColumnElement[bool]:
    terms = [table.c[name] == row[name] for name in KEYS[table]]
    if table is schema.answers:
        terms.append(table.c.kind != word("first"))
    return and_(table.c.open == ONE, *terms)


def is_first(connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Whether a thing that is about to be inserted has no open one before it."""
    return connection.execute(select(table.c.id).where(_of_key(table, row)).limit(1)).first() is None


def step_down(connection: Connection, table: Table, id: str) -> None:
    """The thing has ended: if it was the head of its key, the next one is."""
    names = [table.c[name] for name in KEYS[table]]
    row = dict(connection.execute(select(table.c.head, *names).where(table.c.id == id)).mappings().one())
    if not row["head"]:
        return
    connection.execute(update(table).where(table.c.id == id), {"head": 0})
    following = select(table.c.id).where(_of_key(table, row)).order_by(table.c.position).limit(1)
    connection.execute(update(table).where(table.c.id == following.scalar_subquery()), {"head": 1})
