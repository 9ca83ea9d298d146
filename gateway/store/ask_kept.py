"""Questions about resources, the audit trail, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import and_, bindparam, select

from gateway import flow
from gateway.flow import Thing
from gateway.formats import json
from gateway.kept import KeptAudit, KeptResource
from gateway.message import AuditRecord
from gateway.store import chain, rows, schema
from gateway.store.order import LIMIT, ONE
from gateway.store.reading import Columns, Reading

_resource: Final = schema.resources
_OF_ONE: Final = and_(_resource.c.type == bindparam("type"), _resource.c.id == bindparam("id"))
_HISTORY: Final = select(_resource).where(_OF_ONE).order_by(_resource.c.version.desc()).limit(LIMIT)
_VERSION: Final = select(_resource).where(_OF_ONE, _resource.c.version == bindparam("version"))
_CHANGES: Final = (
    select(_resource)
    .where(_resource.c.feed > bindparam("since"))
    .order_by(_resource.c.feed, _resource.c.place)
    .limit(LIMIT)
)
_REST: Final = (
    select(_resource)
    .where(_resource.c.feed == bindparam("feed"), _resource.c.place > bindparam("place"))
    .order_by(_resource.c.place)
)


def resource(reading: Reading, type: str, id: str) -> KeptResource | None:
    """The newest version, which may say that it is deleted."""
    found = resource_history(reading, type, id, 1)
    return found[0] if found else None


def resource_history(reading: Reading, type: str, id: str, limit: int = 100) -> Sequence[KeptResource]:
    """Versions, newest first."""
    return [rows.resource(row, reading.payloads) for row in reading.all(_HISTORY, type=type, id=id, limit=limit)]


def resource_version(reading: Reading, type: str, id: str, version: int) -> KeptResource | None:
    """One version."""
    row = reading.first(_VERSION, type=type, id=id, version=version)
    return rows.resource(row, reading.payloads) if row else None


def changes(reading: Reading, since_feed: int, limit: int) -> Sequence[KeptResource]:
    """Versions with a greater feed number, in feed order. The versions of one feed number are never torn apart."""
    found = reading.all(_CHANGES, since=since_feed, limit=limit)
    if len(found) == limit:
        found += reading.all(_REST, feed=found[-1]["feed"], place=found[-1]["place"])
    return [rows.resource(row, reading.payloads) for row in found]


_FEED: Final = select(schema.feed.c.number)


def feed(reading: Reading) -> int:
    """The last number given."""
    (row,) = reading.all(_FEED)
    return int(row["number"])


# --- audit ----------------------------------------


_audit: Final = schema.audit
_EVENTS: Final = (
    select(_audit).where(_audit.c.feed > bindparam("since")).order_by(_audit.c.feed, _audit.c.number).limit(LIMIT)
)
_EVENT: Final = select(_audit).where(_audit.c.writer == bindparam("writer"), _audit.c.number == bindparam("number"))


def _kept_audit(row: Columns) -> KeptAudit:
    names = ("writer", "number", "feed", "digest", "hash")
    record = msgspec.convert(json.read(bytes(row["record"])), AuditRecord)
    return KeptAudit(**{name: row[name] for name in names}, record=record)


def audit_events(reading: Reading, since_feed: int = 0, limit: int = 100) -> Sequence[KeptAudit]:
    """Events with a greater feed number, in feed order."""
    return [_kept_audit(row) for row in reading.all(_EVENTS, since=since_feed, limit=limit)]


def audit_event(reading: Reading, id: str) -> KeptAudit | None:
    """The event of that permanent name ("writer-number")."""
    writer, _, number = id.partition("-")
    if not (writer.isdecimal() and number.isdecimal() and len(id) < 30):
        return None
    row = reading.first(_EVENT, writer=int(writer), number=int(number))
    return _kept_audit(row) if row else None


def audit_chain_intact(reading: Reading) -> bool:
    """See `chain.intact`."""
    return chain.intact(reading.connection)


# --- how much ----------------------------------------


_TALLIES: Final = select(schema.tallies)
_OLDEST: Final = {
    thing: select(table.c.since)
    .where(table.c.open == ONE, table.c.state == bindparam("state"))
    .order_by(table.c.since)
    .limit(ONE)
    for thing, table in schema.TABLES.items()
}


def counts(reading: Reading) -> Mapping[str, Mapping[str, tuple[int, datetime | None]]]:
    """From the tallies that every commit keeps; the age of the oldest from one index entry per waiting state."""
    found: dict[str, dict[str, tuple[int, datetime | None]]] = {str(thing): {} for thing in Thing}
    for row in reading.all(_TALLIES):
        oldest = None
        thing = Thing(row["thing"])
        if row["number"] and row["state"] in flow.waiting(thing):
            first = reading.first(_OLDEST[thing], state=row["state"])
            oldest = first["since"] if first else None
        found[row["thing"]][row["state"]] = (row["number"], oldest)
    return found
