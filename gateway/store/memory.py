"""What was seen before, until it expires: token ids (RFC 7523 section 3, `jti`), nonces."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete

from gateway.store import schema
from gateway.store.engine import upsert
from gateway.store.group import Group
from gateway.store.payload import sha256


def remember(group: Group, kind: str, value: str, expires: datetime, now: datetime) -> bool:
    """Whether the value is new. It is kept as a digest, and forgotten after `expires`."""
    table = schema.seen
    row = {"kind": kind, "value_digest": sha256(value.encode()), "expires": expires}
    statement = upsert(group.connection, table)
    again = statement.on_conflict_do_update(
        index_elements=["kind", "value_digest"],
        set_={"expires": statement.excluded.expires},
        where=table.c.expires <= now,
    ).returning(table.c.kind)
    return group.connection.execute(again, row).first() is not None


def forget(group: Group, now: datetime) -> int:
    """Drop what has expired; returns how many."""
    return int(group.connection.execute(delete(schema.seen).where(schema.seen.c.expires <= now)).rowcount)
