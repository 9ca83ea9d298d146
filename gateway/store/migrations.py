"""Forward-only numbered steps from an empty database to the present tables.

A step never changes once it was released; a mistake is mended by the next one. Step 1 makes the tables as
`schema.py` has them; a later change of `schema.py` comes with a step here that brings older databases to the same
shape, and a fresh database starts at the last number. A database that is newer than this program is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, func, insert, inspect, select

from gateway.errors import Misconfigured
from gateway.store import schema, search_tables, search_write, standing_tables, view_tables


class Migration(NamedTuple):
    """One step. `apply` runs inside the transaction that records it."""

    number: int
    name: str
    apply: Callable[[Connection], None]


def _first(connection: Connection) -> None:
    schema.metadata.create_all(connection)
    view_tables.fixed(connection)
    connection.execute(insert(schema.feed), {"id": 1, "number": 0})


def _operations(connection: Connection) -> None:
    schema.pauses.create(connection, checkfirst=True)
    connection.exec_driver_sql("DROP INDEX IF EXISTS submissions_ended")
    for each in schema.submissions.indexes:
        if each.name in ("submissions_ended", "submissions_forgotten"):
            each.create(connection, checkfirst=True)


def _standing(connection: Connection) -> None:
    for table in standing_tables.TABLES:
        table.create(connection, checkfirst=True)


def _owing(connection: Connection) -> None:
    for each in schema.cases.indexes:
        if each.name == "cases_owing":
            each.create(connection, checkfirst=True)


def _in_order(connection: Connection) -> None:
    for each in search_tables.versions.indexes:
        if each.name == "search_versions_order":
            each.create(connection, checkfirst=True)


MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(1, "the ledger", _first),
    Migration(2, "search", search_write.fill),
    Migration(3, "pauses, retention of metadata", _operations),
    Migration(4, "exports, subscriptions", _standing),
    Migration(5, "views and measures", view_tables.fixed),
    Migration(6, "documents in the order of their subject", _owing),
    Migration(7, "types in the order of the feed", _in_order),
)

_LOCK: Final = 0x6C6564676572  # one migrating process at a time on PostgreSQL


def migrate(connection: Connection, at: datetime, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database of an open transaction to the last step; returns how many steps were taken."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    if not inspect(connection).has_table(schema.migrations.name):
        steps[0].apply(connection)
        taken = steps  # a fresh database already has the last shape
    else:
        present = connection.execute(select(func.max(schema.migrations.c.number))).scalar_one()
        if present > steps[-1].number:
            raise Misconfigured("GW-STORE-005", found=str(present), known=str(steps[-1].number))
        taken = [step for step in steps if step.number > present]
        for step in taken:
            step.apply(connection)
    for step in taken:
        connection.execute(insert(schema.migrations), {"number": step.number, "name": step.name, "at": at})
    return len(taken)
