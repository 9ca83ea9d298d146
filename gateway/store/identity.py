"""Which writer a process is, and whether another one still lives.

On SQLite there is one writer, because one owner holds the folder. On PostgreSQL a writer holds a session lock on
its number; the server drops the lock when the connection dies, so no lease has to run out.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, insert, select, text, update

from gateway.store import schema
from gateway.store.chain import GENESIS
from gateway.store.group import Identity

_CLASS = "hashtext('gateway.writer.' || current_schema())"
_TAKE = text(f"SELECT pg_try_advisory_lock({_CLASS}, :id)")
_DUTY = "hashtext('gateway.duty.' || current_schema())"
_LEAD = text(f"SELECT pg_try_advisory_lock({_DUTY}, hashtext(:duty))")
_RESIGN = text(f"SELECT pg_advisory_unlock({_DUTY}, hashtext(:duty))")
_ALIVE = text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND classid::bigint = (hashtext('gateway.writer.' || current_schema())::bigint & 4294967295)"
)
_GIVE = text(f"SELECT pg_advisory_unlock({_CLASS}, :id)")


def _free(connection: Connection, previous: Identity | None) -> int:
    """A number that nobody holds, now held by this connection; the previous one if possible."""
    if connection.dialect.name == "sqlite":
        return 1

    def candidates() -> Iterator[int]:
        if previous is not None:
            yield previous.id
        highest = connection.execute(select(func.max(schema.writers.c.id))).scalar() or 0
        yield from range(1, highest + 1)
        while True:
            highest += 1
            yield highest

    return next(id for id in candidates() if connection.execute(_TAKE, {"id": id}).scalar_one())


def taken(connection: Connection, previous: Identity | None) -> Identity:
    """Take a place among the writers. After a lost connection the same one, if nobody took it meanwhile."""
    table = schema.writers
    with connection.begin():
        id = _free(connection, previous)
        incarnation = connection.execute(select(table.c.incarnation).where(table.c.id == id)).scalar()
        if previous is not None and (id, incarnation) == (previous.id, previous.incarnation):
            return previous
        if incarnation is None:
            connection.execute(insert(table), {"id": id, "incarnation": 1, "events": 0, "hash": GENESIS})
            return Identity(id, 1)
        connection.execute(update(table).where(table.c.id == id), {"incarnation": incarnation + 1})
        return Identity(id, incarnation + 1)


def leads(connection: Connection, duty: str) -> bool:
    """Take a duty that only one process has at a time, or keep it; the server frees it when the connection ends."""
    if connection.dialect.name == "sqlite":
        return True
    if duty not in connection.info:
        found = connection.execute(_LEAD, {"duty": duty}).scalar_one()
        if not found:
            return False
        connection.info[duty] = True  # of this connection of the driver: it is lost when the lock is
    return True


def give_up(connection: Connection, duty: str) -> None:
    """Let another process have it."""
    if connection.info.pop(duty, None):
        connection.execute(_RESIGN, {"duty": duty})


def alive(connection: Connection) -> int:
    """How many writers there are at this moment, on this ledger."""
    return 1 if connection.dialect.name == "sqlite" else int(connection.execute(_ALIVE).scalar_one())


def dead(connection: Connection, claimed_by: str, own: Identity) -> bool:
    """Whether the worker that wrote `claimed_by` can no longer be at work."""
    id, incarnation = (int(part) for part in claimed_by.split("."))
    if id == own.id:
        return incarnation != own.incarnation
    if connection.dialect.name == "sqlite":
        return True
    present = connection.execute(select(schema.writers.c.incarnation).where(schema.writers.c.id == id)).scalar()
    if present != incarnation:
        return True
    free = bool(connection.execute(_TAKE, {"id": id}).scalar_one())
    if free:
        connection.execute(_GIVE, {"id": id})
    return free


def share(connection: Connection, name: str, parts: int) -> frozenset[int]:
    """Keep, take or give up parts, so that every living writer comes to have about as many as the others."""
    fair = -(-parts // max(1, alive(connection)))
    mine: list[int] = []
    for part in sorted(range(parts), key=lambda part: f"{name}-{part}" not in connection.info):  # what is held, first
        duty = f"{name}-{part}"
        if len(mine) >= fair:
            give_up(connection, duty)
        elif leads(connection, duty):
            mine.append(part)
    return frozenset(mine)
