"""Questions about resources, the audit trail, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import and_, func, select

from gateway import flow
from gateway.flow import Thing
from gateway.formats import json
from gateway.message import AuditRecord, KeptAudit, KeptResource
from gateway.store import chain, rows, schema
from gateway.store.order import ONE
from gateway.store.reading import Columns, Reading


def resource(reading: Reading, type: str, id: str) -> KeptResource | None:
    """The newest version, which may say that it is deleted."""
    found = resource_history(reading, type, id, 1)
    return found[0] if found else None


def resource_history(reading: Reading, type: str, id: str, limit: int = 100) -> Sequence[KeptResource]:
    """Versions, newest first."""
    table = schema.resources
    mine = and_(table.c.type == type, table.c.id == id)
    found = select(table).where(mine).order_by(table.c.version.desc()).limit(limit)
    return [rows.resource(row, reading.payloads) for row in reading.all(found)]


def resource_version(reading: Reading, type: str, id: str, version: int) -> KeptResource | None:
    """One version."""
    table = schema.resources
    row = reading.first(select(table).where(table.c.type == type, table.c.id == id, table.c.version == version))
    return rows.resource(row, reading.payloads) if row else None


def changes(reading: Reading, since_feed: int, limit: int) -> Sequence[KeptResource]:
    """Versions with a greater feed number, in feed order. The versions of one feed number are never torn apart."""
    table = schema.resources
    found = reading.all(
        select(table).where(table.c.feed > since_feed).order_by(table.c.feed, table.c.place).limit(limit)
    )
    if len(found) == limit:
        last = found[-1]
        rest = and_(table.c.feed == last["feed"], table.c.place > last["place"])
        found += reading.all(select(table).where(rest).order_by(table.c.place))
    return [rows.resource(row, reading.payloads) for row in found]


def feed(reading: Reading) -> int:
    """The last number given."""
    return int(reading.connection.execute(select(schema.feed.c.number)).scalar_one())


# --- audit ----------------------------------------


def _kept_audit(row: Columns) -> KeptAudit:
    names = ("writer", "number", "feed", "digest", "hash")
    record = msgspec.convert(json.read(bytes(row["record"])), AuditRecord)
    return KeptAudit(**{name: row[name] for name in names}, record=record)


def audit_events(reading: Reading, since_feed: int = 0, limit: int = 100) -> Sequence[KeptAudit]:
    """Events with a greater feed number, in feed order."""
    table = schema.audit
    found = select(table).where(table.c.feed > since_feed).order_by(table.c.feed, table.c.number).limit(limit)
    return [_kept_audit(row) for row in reading.all(found)]


def audit_event(reading: Reading, id: str) -> KeptAudit | None:
    """The event of that permanent name ("writer-number")."""
    writer, _, number = id.partition("-")
    if not (writer.isdecimal() and number.isdecimal() and len(id) < 30):
        return None
    table = schema.audit
    row = reading.first(select(table).where(table.c.writer == int(writer), table.c.number == int(number)))
    return _kept_audit(row) if row else None


def audit_chain_intact(reading: Reading) -> bool:
    """See `chain.intact`."""
    return chain.intact(reading.connection)


# --- how much ----------------------------------------


def counts(reading: Reading) -> Mapping[str, Mapping[str, tuple[int, datetime | None]]]:
    """From the tallies that every commit keeps; the age of the oldest from one index entry per waiting state."""
    found: dict[str, dict[str, tuple[int, datetime | None]]] = {str(thing): {} for thing in Thing}
    for row in reading.all(select(schema.tallies)):
        oldest = None
        thing = Thing(row["thing"])
        if row["number"] and row["state"] in flow.waiting(thing):
            table = schema.TABLES[thing]
            oldest = reading.connection.execute(
                select(func.min(table.c.since)).where(table.c.open == ONE, table.c.state == row["state"])
            ).scalar()
        found[row["thing"]][row["state"]] = (row["number"], oldest)
    return found
