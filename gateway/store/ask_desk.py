"""Questions of operators: what is paused, how long the queues are, what was parked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Select, Table, bindparam, func, select

from gateway.kept import Parked, Queue
from gateway.store import schema
from gateway.store.order import LIMIT, ONE, word
from gateway.store.reading import Reading

_exchange, _pause, _journal = schema.exchanges, schema.pauses, schema.journal

_LAST: Final = select(func.max(_pause.c.feed)).group_by(_pause.c.destination)
_PAUSED: Final = select(_pause.c.destination).where(_pause.c.feed.in_(_LAST), _pause.c.paused == ONE)
_QUEUES: Final = (
    select(
        _exchange.c.destination,
        _exchange.c.programme,
        _exchange.c.state,
        func.count().label("count"),
        func.min(_exchange.c.since, type_=_exchange.c.since.type).label("since"),
    )
    .where(_exchange.c.open == ONE)
    .group_by(_exchange.c.destination, _exchange.c.programme, _exchange.c.state)
    .order_by(_exchange.c.destination, _exchange.c.programme, _exchange.c.state)
)


def _parked(table: Table) -> Select[tuple[str, str, str, object]]:
    waiting = (table.c.open == ONE, table.c.state == word("parked"))
    names = (table.c.id, table.c.programme, table.c.sender, table.c.since)
    return select(*names).where(*waiting).order_by(table.c.since).limit(LIMIT)


_PARKED: Final = {
    "submission": _parked(schema.submissions),
    "item": _parked(schema.items),
    "case": _parked(schema.cases),
}
_WHY: Final = (
    select(_journal.c.reason)
    .where(_journal.c.id == bindparam("id"), _journal.c.thing == bindparam("thing"))
    .order_by(_journal.c.feed.desc(), _journal.c.place.desc())
    .limit(ONE)
)


def paused(reading: Reading) -> frozenset[str]:
    """Destinations whose last record says paused."""
    return frozenset(row["destination"] for row in reading.all(_PAUSED))


def queues(reading: Reading) -> Sequence[Queue]:
    """Open exchanges by destination, programme and state."""
    return [Queue(**row) for row in reading.all(_QUEUES)]


def parked(reading: Reading, limit: int) -> Sequence[Parked]:
    """What was parked before it became an exchange, longest first."""
    found = []
    for thing, question in _PARKED.items():
        for row in reading.all(question, limit=limit):
            why = reading.first(_WHY, id=row["id"], thing=thing)
            found.append(Parked(thing=thing, reason=why["reason"] if why else None, **row))
    return sorted(found, key=lambda each: each.since)[:limit]
