"""Questions about cases, documents, exchanges and what destinations gave us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, select

from gateway import flow
from gateway.flow import Thing
from gateway.message import Attempt, Case, Conformity, Document, Exchange, ItemRecord, RegistryEntry
from gateway.store import rows, schema
from gateway.store.order import ONE, word
from gateway.store.reading import Columns, Reading

# --- cases and documents ----------------------------------------


def case(reading: Reading, id: str) -> Case | None:
    """A case."""
    row = reading.first(select(schema.cases).where(schema.cases.c.id == id))
    return rows.case(row) if row else None


def case_items(reading: Reading, case: str) -> Sequence[ItemRecord]:
    """Gathered items in the order of gathering. A damaged one raises: half a case makes no document."""
    table = schema.items
    mine = and_(table.c.case == case, table.c.gathered.is_not(None))
    found = reading.all(select(table).where(mine).order_by(table.c.gathered))
    return [rows.item(row, reading.payloads) for row in found]


def undocumented(reading: Reading, limit: int) -> Sequence[Case]:
    """Complete cases that owe a document, longest first."""
    table = schema.cases
    found = select(table).where(table.c.owes == ONE).order_by(table.c.since, table.c.id).limit(limit)
    return [rows.case(row) for row in reading.all(found)]


def expiring(reading: Reading, before: datetime, limit: int) -> Sequence[Case]:
    """Waiting cases whose time limit has passed, longest first."""
    table = schema.cases
    late = and_(table.c.open == ONE, table.c.expires_at <= before)
    found = select(table).where(late).order_by(table.c.expires_at).limit(limit)
    return [rows.case(row) for row in reading.all(found)]


def document(reading: Reading, id: str) -> Document | None:
    """With bytes and evidence."""
    row = reading.first(select(schema.documents).where(schema.documents.c.id == id))
    return rows.document(row, reading.payloads) if row else None


def documents(reading: Reading, case: str) -> Sequence[Document]:
    """Every document of a case, by version."""
    table = schema.documents
    found = select(table).where(table.c.case == case).order_by(table.c.version, table.c.feed)
    return [rows.document(row, reading.payloads) for row in reading.all(found)]


# --- exchanges ----------------------------------------


def _exchange_rows(found: Sequence[Columns]) -> Sequence[Exchange]:
    return [rows.exchange(row) for row in found]


def exchange(reading: Reading, id: str) -> Exchange | None:
    """An exchange."""
    row = reading.first(select(schema.exchanges).where(schema.exchanges.c.id == id))
    return rows.exchange(row) if row else None


def exchanges_of_case(reading: Reading, case: str) -> Sequence[Exchange]:
    """In order of creation."""
    table = schema.exchanges
    return _exchange_rows(reading.all(select(table).where(table.c.case == case).order_by(table.c.position)))


def find_exchange_by_document(reading: Reading, document: str, destination: str) -> Exchange | None:
    """The last exchange that owed the document to the destination."""
    table = schema.exchanges
    same = and_(table.c.document == document, table.c.destination == destination)
    row = reading.first(select(table).where(same).order_by(table.c.position.desc()))
    return rows.exchange(row) if row else None


def runnable(reading: Reading, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
    """Heads of keys that are due and ready, the one that has been ready longest first."""
    table = schema.exchanges
    due = and_(table.c.destination == destination, *_due_head(), table.c.ready_at <= now)
    found = select(table).where(due).order_by(table.c.ready_at, table.c.position).limit(limit)
    return _exchange_rows(reading.all(found))


def _due_head() -> tuple[ColumnElement[bool], ...]:
    table = schema.exchanges
    return (table.c.open == ONE, table.c.head == ONE, table.c.state == word("due"))


def next_due(reading: Reading, destination: str) -> datetime | None:
    """The earliest time that a due head waits for."""
    table = schema.exchanges
    timed = and_(table.c.destination == destination, *_due_head(), table.c.next_at.is_not(None))
    row = reading.first(select(table.c.next_at).where(timed).order_by(table.c.next_at))
    return row["next_at"] if row else None


def in_state(reading: Reading, destination: str, state: str, limit: int) -> Sequence[Exchange]:
    """Exchanges of a destination in a state, oldest first."""
    return exchanges(reading, state=state, destination=destination, limit=limit)


def exchanges(
    reading: Reading,
    state: str | None = None,
    destination: str | None = None,
    programme: str | None = None,
    limit: int = 100,
    after: int = 0,
) -> Sequence[Exchange]:
    """For operators: by any of the three, oldest first; `after` is the last position seen."""
    table = schema.exchanges
    terms = [table.c.position > after]
    if state is not None:
        terms.append(table.c.state == state)
        if state not in flow.FINAL[Thing.EXCHANGE]:
            terms.append(table.c.open == ONE)
    if destination is not None:
        terms.append(table.c.destination == destination)
    if programme is not None:
        terms.append(table.c.programme == programme)
    return _exchange_rows(reading.all(select(table).where(*terms).order_by(table.c.position).limit(limit)))


def attempts(reading: Reading, exchange: str) -> Sequence[Attempt]:
    """Every try, in order."""
    table = schema.attempts
    found = select(table).where(table.c.exchange == exchange).order_by(table.c.number)
    return [rows.attempt(row, reading.payloads) for row in reading.all(found)]


# --- what we were given ----------------------------------------


def receipts(reading: Reading, destination: str, scopes: Sequence[str]) -> Mapping[str, str]:
    """Live receipts by name; the first scope wins."""
    table = schema.receipts
    mine = and_(table.c.destination == destination, table.c.scope.in_(scopes), table.c.value != "")
    rank = {scope: place for place, scope in enumerate(reversed(scopes))}
    found = sorted(reading.all(select(table).where(mine)), key=lambda row: rank[row["scope"]])
    return {row["name"]: row["value"] for row in found}


def registry(reading: Reading, programme: str) -> Sequence[RegistryEntry]:
    """Every entry of a programme's reference data."""
    table = schema.registry
    found = select(table).where(table.c.programme == programme).order_by(table.c.kind, table.c.key, table.c.starts)
    return [rows.registry_entry(row) for row in reading.all(found)]


def conformity(reading: Reading, destination: str) -> Conformity | None:
    """The record that was entered last."""
    table = schema.conformities
    row = reading.first(select(table).where(table.c.destination == destination).order_by(table.c.feed.desc()))
    return rows.conformity(row) if row else None
