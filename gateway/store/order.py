"""Whose turn it is. The head of a key is its earliest open thing; only heads are ever handed out.

The mark `head` is kept by the same commit that opens or ends a thing, so that looking for work reads heads only,
however long the queues behind them are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, Table, and_, bindparam, literal_column, select

from gateway.store import schema
from gateway.store.statements import Hand

ZERO: Final[ColumnElement[int]] = literal_column("0")
ONE: Final[ColumnElement[int]] = literal_column("1")
"""Written out, not bound: SQLite uses a partial index only where its condition stands in the statement."""

LIMIT: Final = bindparam("limit", type_=Integer())
"""How many at most."""


def word(value: str) -> ColumnElement[str]:
    """A state of ours written out, for the same reason."""
    assert value.replace("_", "").isalpha()
    return literal_column(f"'{value}'")


KEYS: Final[Mapping[Table, tuple[str, ...]]] = {
    schema.exchanges: ("destination", "sender", "subject"),
    schema.answers: ("sender",),
}


def _of_key(table: Table) -> ColumnElement[bool]:
    terms = [table.c[name] == bindparam(name) for name in KEYS[table]]
    if table is schema.answers:
        terms.append(table.c.kind != word("first"))
    return and_(table.c.open == ONE, *terms)


def _first(table: Table) -> Select[tuple[str]]:
    """The earliest open thing of a key."""
    return select(table.c.id).where(_of_key(table)).order_by(table.c.position).limit(ONE)


def is_first(hand: Hand, table: Table, row: Mapping[str, Any]) -> bool:
    """Whether a thing that is about to be inserted has no open one before it."""
    key = {name: row[name] for name in KEYS[table]}
    return hand.one(f"first {table.name}", lambda: _first(table), key) is None


def _head_and_key(table: Table) -> Select[Any]:
    return select(table.c.head, *(table.c[name] for name in KEYS[table])).where(table.c.id == bindparam("id"))


def step_down(hand: Hand, table: Table, id: str) -> None:
    """The thing has ended: if it was the head of its key, the next one is."""
    head, *key = hand.one(f"key {table.name}", lambda: _head_and_key(table), {"id": id})
    if not head:
        return
    hand.update(table, {"id": id}, {"head": 0})
    following = hand.one(f"first {table.name}", lambda: _first(table), dict(zip(KEYS[table], key, strict=True)))
    if following is not None:
        hand.update(table, {"id": following[0]}, {"head": 1})
