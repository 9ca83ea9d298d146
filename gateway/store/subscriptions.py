"""Subscriptions as they are kept, and the questions that find their events.

A subscription follows the feed by a cursor. Its events are numbered in the commit that moves the cursor, so none is
missed and none is numbered twice, whichever process was at it; what the endpoint took is one number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, delete, func, insert, select, update

from gateway.errors import StaleState
from gateway.formats import json
from gateway.formats.search import AnyOf, Scope
from gateway.formats.standing import Backlog, Candidate, Columns, Event, Subscribed
from gateway.kept import KeptResource
from gateway.message import AuditRecord
from gateway.store import schema, search_ask
from gateway.store import search_tables as tables
from gateway.store.calls import Calls
from gateway.store.group import PLACES, Group
from gateway.store.order import ZERO
from gateway.store.reading import Reading
from gateway.store.search_terms import Terms, in_scope
from gateway.store.standing_tables import events, subscriptions

_v: Final = tables.versions
_MATCHED: Final = frozenset({"cursor", "events"})
"""Columns that only finding events writes."""


def _row(made: Subscribed) -> Columns:
    found = {name: getattr(made, name) for name in made.__struct_fields__}
    return found | {"resource": json.write(made.resource).decode()}


def _value(row: Any) -> Subscribed:
    found = dict(zip(subscriptions.c.keys(), row, strict=True))
    return Subscribed(**found | {"resource": json.read(found["resource"].encode())})


def _audit(group: Group, audit: Sequence[AuditRecord]) -> None:
    if audit:
        group.next_feed()
        group.audit(audit)


def create(group: Group, made: Subscribed, most: int, audit: Sequence[AuditRecord]) -> bool:
    """False where the repository has as many already."""
    mine = select(func.count()).select_from(subscriptions).where(subscriptions.c.repository == made.repository)
    if group.connection.execute(mine).scalar_one() >= most:
        return False
    group.connection.execute(insert(subscriptions), _row(made))
    _audit(group, audit)
    return True


def change(group: Group, made: Subscribed, audit: Sequence[AuditRecord]) -> None:
    """The subscription is as given from now on; `StaleState` where somebody else was first."""
    mine = (subscriptions.c.id == made.id, subscriptions.c.revision == made.revision)
    row = {name: each for name, each in _row(made).items() if name not in _MATCHED} | {"revision": made.revision + 1}
    if group.connection.execute(update(subscriptions).where(*mine).values(row)).rowcount != 1:
        raise StaleState(thing=f"subscription/{made.id}")
    _audit(group, audit)


def remove(group: Group, id: str, audit: Sequence[AuditRecord]) -> None:
    """The subscription and its events."""
    group.connection.execute(delete(events).where(events.c.subscription == id))
    group.connection.execute(delete(subscriptions).where(subscriptions.c.id == id))
    _audit(group, audit)


def found(group: Group, before: Subscribed, cursor: int, made: Sequence[Event]) -> None:
    """Events of the versions up to `cursor`, in one commit with it."""
    mine = (subscriptions.c.id == before.id, subscriptions.c.cursor == before.cursor)
    moved = update(subscriptions).where(*mine, subscriptions.c.events == before.events)
    moved = moved.values(cursor=cursor, events=before.events + len(made))
    if group.connection.execute(moved).rowcount != 1:
        raise StaleState(thing=f"subscription/{before.id}")
    lines = [{name: getattr(each, name) for name in each.__struct_fields__} for each in made]
    if lines:
        group.connection.execute(insert(events), [line | {"subscription": before.id} for line in lines])


def forget(group: Group, before: datetime) -> int:
    """Drop what endpoints took before that time."""
    taken = select(subscriptions.c.delivered).where(subscriptions.c.id == events.c.subscription).scalar_subquery()
    old = delete(events).where(events.c.at < before, events.c.number <= taken)
    return int(group.connection.execute(old).rowcount)


# --- asking ----------------------------------------

_ONE: Final = select(subscriptions).where(subscriptions.c.id == bindparam("id"))


def one(reading: Reading, id: str) -> Subscribed | None:
    """The subscription, whoever's it is."""
    row = reading.connection.execute(_ONE, {"id": id}).first()
    return None if row is None else _value(row)


def every(reading: Reading, repository: str | None) -> Sequence[Subscribed]:
    """All, or those of one repository, in the order of their ids."""
    asked = select(subscriptions).order_by(subscriptions.c.id)
    if repository is not None:
        asked = asked.where(subscriptions.c.repository == repository)
    return [_value(row) for row in reading.connection.execute(asked)]


def owed(reading: Reading, id: str, first: int, last: int, limit: int) -> Sequence[Event]:
    """Events between two numbers, inclusive."""
    names = [events.c[name] for name in Event.__struct_fields__]
    mine = (events.c.subscription == id, events.c.number >= first, events.c.number <= last)
    asked = select(*names).where(*mine).order_by(events.c.number).limit(limit)
    return [Event(**row._mapping) for row in reading.connection.execute(asked)]


def end(reading: Reading) -> int:
    """The last position that is committed and indexed: what is not indexed could not be matched."""
    feed = reading.connection.execute(select(schema.feed.c.number)).scalar_one()
    waits = select(func.min(_v.c.position)).where(_v.c.indexed == ZERO)
    first = reading.connection.execute(waits).scalar()
    last = int(feed + 1) * PLACES - 1
    return last if first is None else min(last, int(first) - 1)


def candidates(reading: Reading, scope: Scope, types: Sequence[str], after: int, limit: int) -> Sequence[Candidate]:
    """Versions behind a position that may be seen, in the order of the feed."""
    before = _v.alias()
    followed = and_(before.c.type == _v.c.type, before.c.id == _v.c.id, before.c.until == _v.c.position)
    names = ("position", "type", "id", "version", "deleted", "at")
    asked = select(*(_v.c[name] for name in names), before.c.position.label("previous"))
    asked = asked.select_from(_v).outerjoin(before, followed)
    mine = (_v.c.type.in_(types), _v.c.position > after, in_scope(_v, scope))
    lines = reading.once(asked.where(*mine).order_by(_v.c.position).limit(limit))
    return [Candidate(**line | {"deleted": bool(line["deleted"])}) for line in lines]


def fitting(reading: Reading, positions: Sequence[int], where: Sequence[AnyOf], scope: Scope) -> frozenset[int]:
    """Those of the versions of which every condition holds, as things stand now."""
    if not positions or not where:
        return frozenset(positions)
    feed = reading.connection.execute(select(schema.feed.c.number)).scalar_one()
    terms = Terms(scope, feed)
    asked = select(_v.c.position).where(_v.c.position.in_(positions), *(terms.holds(each, _v) for each in where))
    with search_ask.bounded(reading, 10.0):
        return frozenset(reading.connection.execute(asked).scalars())


def versions(reading: Reading, positions: Sequence[int], scope: Scope) -> Mapping[int, KeptResource]:
    """Those of the versions that may be seen."""
    seen = select(_v.c.position).where(_v.c.position.in_(positions), in_scope(_v, scope, False))
    return search_ask.bodies(reading, reading.connection.execute(seen).scalars().all())


def backlog(reading: Reading) -> Sequence[Backlog]:
    """By repository and status: how many, what they are owed, since when."""
    waiting = subscriptions.c.events - subscriptions.c.delivered
    first = and_(events.c.subscription == subscriptions.c.id, events.c.number == subscriptions.c.delivered + 1)
    asked = (
        select(
            subscriptions.c.repository,
            subscriptions.c.status,
            func.count().label("count"),
            func.sum(waiting).label("waiting"),
            func.min(subscriptions.c.since, type_=subscriptions.c.since.type).label("since"),
            func.min(events.c.at, type_=events.c.at.type).label("oldest"),
        )
        .select_from(subscriptions)
        .outerjoin(events, first)
        .group_by(subscriptions.c.repository, subscriptions.c.status)
        .order_by(subscriptions.c.repository, subscriptions.c.status)
    )
    return [Backlog(**line | {"waiting": int(line["waiting"])}) for line in reading.once(asked)]


class SubscriptionCalls(Calls):
    """`gateway.formats.standing.Subscriptions` over a ledger."""

    async def create(self, made: Subscribed, most: int, audit: Sequence[AuditRecord]) -> bool:
        return await self.submit(lambda group: create(group, made, most, audit))

    async def one(self, id: str) -> Subscribed | None:
        return await self.ask(one, id)

    async def every(self, repository: str | None = None) -> Sequence[Subscribed]:
        return await self.ask(every, repository)

    async def change(self, made: Subscribed, audit: Sequence[AuditRecord] = ()) -> None:
        await self.submit(lambda group: change(group, made, audit))

    async def delete(self, id: str, audit: Sequence[AuditRecord]) -> None:
        await self.submit(lambda group: remove(group, id, audit))

    async def found(self, before: Subscribed, cursor: int, events: Sequence[Event]) -> None:
        await self.submit(lambda group: found(group, before, cursor, events))

    async def events(self, id: str, first: int, last: int, limit: int) -> Sequence[Event]:
        return await self.ask(owed, id, first, last, limit)

    async def forget(self, before: datetime) -> int:
        return await self.submit(lambda group: forget(group, before))

    async def candidates(self, scope: Scope, types: Sequence[str], after: int, limit: int) -> Sequence[Candidate]:
        return await self.ask(candidates, scope, types, after, limit)

    async def end(self) -> int:
        return await self.ask(end)

    async def fitting(self, positions: Sequence[int], where: Sequence[AnyOf], scope: Scope) -> frozenset[int]:
        return await self.ask(fitting, positions, where, scope)

    async def versions(self, positions: Sequence[int], scope: Scope) -> Mapping[int, KeptResource]:
        return await self.ask(versions, positions, scope)

    async def backlog(self) -> Sequence[Backlog]:
        return await self.ask(backlog)
