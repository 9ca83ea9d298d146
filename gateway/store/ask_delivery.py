"""Questions about cases, documents, exchanges and what destinations gave us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import BindParameter, and_, bindparam, select

from gateway import flow
from gateway.flow import Thing
from gateway.message import Attempt, Case, Conformity, Document, Exchange, ItemRecord, RegistryEntry
from gateway.store import rows
from gateway.store.order import LIMIT, ONE, word
from gateway.store.reading import Reading
from gateway.store.schema import attempts as _attempt
from gateway.store.schema import cases as _case
from gateway.store.schema import conformities as _conformity
from gateway.store.schema import documents as _document
from gateway.store.schema import exchanges as _exchange
from gateway.store.schema import items as _item
from gateway.store.schema import receipts as _receipt
from gateway.store.schema import registry as _registry

_ID: Final[BindParameter[str]] = bindparam("id")

# --- cases and documents ----------------------------------------

_CASE: Final = select(_case).where(_case.c.id == _ID)
_CASE_ITEMS: Final = (
    select(_item).where(_item.c.case == bindparam("case"), _item.c.gathered.is_not(None)).order_by(_item.c.gathered)
)
_UNDOCUMENTED: Final = select(_case).where(_case.c.owes == ONE).order_by(_case.c.since, _case.c.id).limit(LIMIT)
_OF_SUBJECT: Final = (
    select(_case).where(_case.c.subject == bindparam("subject")).order_by(_case.c.opened_at, _case.c.id).limit(LIMIT)
)
_EXPIRING: Final = (
    select(_case)
    .where(
        _case.c.open == ONE,
        _case.c.expires_at <= bindparam("before"),
        _case.c.state != word("parked"),
    )
    .order_by(_case.c.expires_at)
    .limit(LIMIT)
)
_DOCUMENT: Final = select(_document).where(_document.c.id == _ID)
_DOCUMENTS: Final = (
    select(_document).where(_document.c.case == bindparam("case")).order_by(_document.c.version, _document.c.feed)
)


def case(reading: Reading, id: str) -> Case | None:
    """A case."""
    row = reading.first(_CASE, id=id)
    return rows.case(row) if row else None


def cases_of(reading: Reading, subject: str, limit: int) -> Sequence[Case]:
    """Every case of a subject, oldest first. There is no index for it: it reads all cases."""
    return [rows.case(row) for row in reading.all(_OF_SUBJECT, subject=subject, limit=limit)]


def case_items(reading: Reading, case: str) -> Sequence[ItemRecord]:
    """Gathered items in the order of gathering, with what they were mapped to.

    A damaged one raises: half a case makes no document.
    """
    return [rows.item_content(row, reading.payloads) for row in reading.all(_CASE_ITEMS, case=case)]


def undocumented(reading: Reading, limit: int) -> Sequence[Case]:
    """Complete cases that owe a document, longest first."""
    return [rows.case(row) for row in reading.all(_UNDOCUMENTED, limit=limit)]


def expiring(reading: Reading, before: datetime, limit: int) -> Sequence[Case]:
    """Open or reopened cases whose time limit has passed, longest first."""
    return [rows.case(row) for row in reading.all(_EXPIRING, before=before, limit=limit)]


def document(reading: Reading, id: str) -> Document | None:
    """With bytes and evidence."""
    row = reading.first(_DOCUMENT, id=id)
    return rows.document(row, reading.payloads) if row else None


def documents(reading: Reading, case: str) -> Sequence[Document]:
    """Every document of a case, by version."""
    return [rows.document(row, reading.payloads) for row in reading.all(_DOCUMENTS, case=case)]


# --- exchanges ----------------------------------------

_DUE_HEAD: Final = and_(
    _exchange.c.destination == bindparam("destination"),
    _exchange.c.open == ONE,
    _exchange.c.head == ONE,
    _exchange.c.state == word("due"),
)
_EXCHANGE: Final = select(_exchange).where(_exchange.c.id == _ID)
_OF_CASE: Final = select(_exchange).where(_exchange.c.case == bindparam("case")).order_by(_exchange.c.position)
_OF_DOCUMENT: Final = (
    select(_exchange)
    .where(_exchange.c.document == bindparam("document"), _exchange.c.destination == bindparam("destination"))
    .order_by(_exchange.c.position.desc())
    .limit(ONE)
)
_WAITING_UNDER: Final = (
    select(_exchange)
    .join(
        _receipt,
        and_(
            _receipt.c.destination == _exchange.c.destination,
            _receipt.c.scope == _exchange.c.case,
            _receipt.c.name == bindparam("receipt"),
            _receipt.c.exchange == _exchange.c.id,
        ),
    )
    .where(
        _exchange.c.destination == bindparam("destination"),
        _exchange.c.open == ONE,
        _exchange.c.state.in_([word("awaiting"), word("unknown")]),
        _receipt.c.value == bindparam("value"),
    )
    .order_by(_exchange.c.position)
    .limit(ONE)
)
_RUNNABLE: Final = (
    select(_exchange)
    .where(_DUE_HEAD, _exchange.c.ready_at <= bindparam("now"))
    .order_by(_exchange.c.ready_at, _exchange.c.position)
    .limit(LIMIT)
)
_NEXT_DUE: Final = (
    select(_exchange.c.next_at)
    .where(_DUE_HEAD, _exchange.c.next_at.is_not(None))
    .order_by(_exchange.c.next_at)
    .limit(ONE)
)


def exchange(reading: Reading, id: str) -> Exchange | None:
    """An exchange."""
    row = reading.first(_EXCHANGE, id=id)
    return rows.exchange(row) if row else None


def exchanges_of_case(reading: Reading, case: str) -> Sequence[Exchange]:
    """In order of creation."""
    return [rows.exchange(row) for row in reading.all(_OF_CASE, case=case)]


def find_exchange_by_document(reading: Reading, document: str, destination: str) -> Exchange | None:
    """The last exchange that owed the document to the destination."""
    row = reading.first(_OF_DOCUMENT, document=document, destination=destination)
    return rows.exchange(row) if row else None


def waiting_under(reading: Reading, destination: str, receipt: str, value: str) -> Exchange | None:
    """What waits at the destination under a receipt that it gave: as many look-ups as there are waiting."""
    row = reading.first(_WAITING_UNDER, destination=destination, receipt=receipt, value=value)
    return rows.exchange(row) if row else None


def runnable(reading: Reading, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
    """Heads of keys that are due and ready, the one that has been ready longest first."""
    return [rows.exchange(row) for row in reading.all(_RUNNABLE, destination=destination, now=now, limit=limit)]


def woken(reading: Reading, ids: Sequence[str], now: datetime) -> Sequence[Exchange]:
    """The heads that are due and ready of the keys to which these exchanges belong, finished or not."""
    named, key = _exchange.alias("named"), ("destination", "sender", "subject")
    same = and_(*(named.c[name] == _exchange.c[name] for name in key))
    ready = (_exchange.c.open == ONE, _exchange.c.head == ONE, _exchange.c.state == word("due"))
    asked = select(_exchange).join(named, same).where(named.c.id.in_(ids), *ready, _exchange.c.ready_at <= now)
    return [rows.exchange(row) for row in reading.once(asked.distinct().order_by(_exchange.c.position))]


def next_due(reading: Reading, destination: str) -> datetime | None:
    """The earliest time that a due head waits for."""
    row = reading.first(_NEXT_DUE, destination=destination)
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
    reason: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[Exchange]:
    """For operators: by any of these, oldest first; `after` is the last position seen."""
    terms = [_exchange.c.position > after]
    if state is not None:
        terms.append(_exchange.c.state == state)
        if state not in flow.FINAL[Thing.EXCHANGE]:
            terms.append(_exchange.c.open == ONE)
    if destination is not None:
        terms.append(_exchange.c.destination == destination)
    if programme is not None:
        terms.append(_exchange.c.programme == programme)
    if reason is not None:
        terms.append(_exchange.c.reason == reason)
    if since is not None:
        terms.append(_exchange.c.created_at >= since)
    if until is not None:
        terms.append(_exchange.c.created_at < until)
    found = select(_exchange).where(*terms).order_by(_exchange.c.position).limit(limit)
    return [rows.exchange(row) for row in reading.once(found)]


# --- what came of them ----------------------------------------

_ATTEMPTS: Final = select(_attempt).where(_attempt.c.exchange == bindparam("exchange")).order_by(_attempt.c.number)
_REGISTRY: Final = (
    select(_registry)
    .where(_registry.c.programme == bindparam("programme"))
    .order_by(_registry.c.kind, _registry.c.key, _registry.c.starts)
)
_CONFORMITY: Final = (
    select(_conformity)
    .where(_conformity.c.destination == bindparam("destination"))
    .order_by(_conformity.c.feed.desc())
    .limit(ONE)
)


def attempts(reading: Reading, exchange: str) -> Sequence[Attempt]:
    """Every try, in order."""
    return [rows.attempt(row, reading.payloads) for row in reading.all(_ATTEMPTS, exchange=exchange)]


def receipts(reading: Reading, destination: str, scopes: Sequence[str]) -> Mapping[str, str]:
    """Live receipts by name; the first scope wins."""
    mine = and_(_receipt.c.destination == destination, _receipt.c.scope.in_(scopes), _receipt.c.value != "")
    rank = {scope: place for place, scope in enumerate(reversed(scopes))}
    found = sorted(reading.once(select(_receipt).where(mine)), key=lambda row: rank[row["scope"]])
    return {row["name"]: row["value"] for row in found}


def registry(reading: Reading, programme: str) -> Sequence[RegistryEntry]:
    """Every entry of a programme's reference data."""
    return [rows.registry_entry(row) for row in reading.all(_REGISTRY, programme=programme)]


def conformity(reading: Reading, destination: str) -> Conformity | None:
    """The record that was entered last."""
    row = reading.first(_CONFORMITY, destination=destination)
    return rows.conformity(row) if row else None
