"""The audit chain: every event hashes over the one before it, per writer; anchors tie the writers together.

A changed event breaks its digest, a removed or inserted one breaks the next hash, a cut tail disagrees with the
head that the writer keeps, and the head disagrees with the last anchor. Somebody who may rewrite the whole
database can rewrite all of it: keep an anchor's hash elsewhere to prove even that (RFC 9162 has the same limit).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select

from gateway.formats import json
from gateway.store import schema
from gateway.store.payload import sha256

GENESIS: Final = "0" * 64
ANCHOR_EVERY: Final = 1000
"""Audit events of a writer between two anchors."""


def link(previous: str, digest: str) -> str:
    """The next hash of a chain."""
    return hashlib.sha256(f"{previous}{digest}".encode()).hexdigest()


def anchor(connection: Connection, feed: int, at: datetime) -> None:
    """Write down where every writer's chain stands, hashed over the anchor before."""
    rows = connection.execute(select(schema.writers).order_by(schema.writers.c.id))
    heads = json.write([[row.id, row.events, row.hash] for row in rows]).decode()
    last = select(schema.anchors.c.hash).order_by(schema.anchors.c.feed.desc()).limit(1)
    previous = connection.execute(last).scalar() or GENESIS
    row = {"feed": feed, "at": at, "heads": heads, "hash": link(previous, sha256(heads.encode()))}
    connection.execute(insert(schema.anchors), row)


def _follow(connection: Connection, writer: int, marks: dict[int, str]) -> tuple[int, str] | None:
    """Recompute one writer's chain: (events, hash), or None where it breaks. `marks` are hashes to meet."""
    number, hash_ = 0, GENESIS
    columns = schema.audit.c
    rows = connection.execution_options(yield_per=1000).execute(
        select(columns.number, columns.record, columns.digest, columns.hash)
        .where(columns.writer == writer)
        .order_by(columns.number)
    )
    for row in rows:
        number += 1
        hash_ = link(hash_, row.digest)
        if (row.number, row.hash, row.digest) != (number, hash_, sha256(bytes(row.record))):
            return None
        if marks.get(number, hash_) != hash_:
            return None
    return number, hash_


def _anchored(anchors: list[Row[Any]]) -> dict[int, dict[int, str]] | None:
    """writer -> event number -> hash, as the anchors have it; None where an anchor was changed."""
    marks: dict[int, dict[int, str]] = {}
    previous = GENESIS
    for row in anchors:
        if row.hash != link(previous, sha256(row.heads.encode())):
            return None
        previous = row.hash
        for writer, events, hash_ in json.read(row.heads.encode()):
            marks.setdefault(writer, {})[events] = hash_
    return marks


def intact(connection: Connection) -> bool:
    """Whether every event, every chain and every anchor is as it was written. Reads all of them."""
    marks = _anchored(list(connection.execute(select(schema.anchors).order_by(schema.anchors.c.feed))))
    if marks is None:
        return False
    writers = {row.id: row for row in connection.execute(select(schema.writers))}
    if marks.keys() - writers.keys():
        return False
    for id, row in writers.items():
        wanted = marks.get(id, {})
        if _follow(connection, id, wanted) != (row.events, row.hash) or max(wanted, default=0) > row.events:
            return False
    return True
