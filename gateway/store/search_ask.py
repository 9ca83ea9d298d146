"""Questions of repositories that pull: searches, histories, single versions; all of them within a scope."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, exists, func, literal, or_, select, text
from sqlalchemy.exc import OperationalError

from gateway.errors import TooLarge
from gateway.formats.search import AnyOf, HasId, Hit, Order, Scope, Search
from gateway.kept import KeptResource
from gateway.message import Document
from gateway.store import rows, schema
from gateway.store import search_tables as tables
from gateway.store.ask_delivery import document
from gateway.store.group import PLACES
from gateway.store.payload import sha256
from gateway.store.reading import Reading
from gateway.store.search_terms import FEW, Terms, as_it_stood, in_scope, of_type

_kept: Final = schema.resources
_v: Final = tables.versions
_STEPS: Final = 20_000  # virtual machine instructions of SQLite between two looks at the clock
_SAME: Final = and_(_kept.c.type == _v.c.type, _kept.c.id == _v.c.id, _kept.c.version == _v.c.version)


@contextmanager
def bounded(reading: Reading, seconds: float) -> Iterator[None]:
    """At most so long; then `TooLarge`. No search may read everything that there is."""
    deadline = time.monotonic() + seconds
    raw: Any = reading.connection.connection.dbapi_connection
    embedded = reading.connection.dialect.name == "sqlite"
    if embedded:
        raw.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    else:
        reading.connection.execute(text(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}"))
    try:
        yield
    except OperationalError:
        if time.monotonic() < deadline - 0.05:
            raise
        raise TooLarge("GW-CORE-004", what="search seconds", actual="more", limit=f"{seconds:g}") from None
    finally:
        if embedded:
            raw.set_progress_handler(None, 0)


# --- search ----------------------------------------


class _Sorting:
    """The order of a search: one expression a criterion, then the position."""

    def __init__(self, sort: Sequence[Order]) -> None:
        self.sort = sort
        self.columns = [_value(each) for each in sort]

    def by(self) -> Iterator[ColumnElement[Any]]:
        for order, column in zip(self.sort, self.columns, strict=True):
            yield case((column.is_(None), 1), else_=0)
            yield column.desc() if order.descending else column.asc()
        yield _v.c.position.asc()

    def beyond(self, after: tuple[Any, ...]) -> ColumnElement[bool]:
        """What follows a key: equal so far and then greater, for each criterion in turn."""
        *values, position = after
        found: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for order, column, value in zip(self.sort, self.columns, values, strict=True):
            if value is None:
                equal.append(column.is_(None))
                continue
            further = column < value if order.descending else column > value
            found.append(and_(*equal, or_(further, column.is_(None))))
            equal.append(column == value)
        found.append(and_(*equal, _v.c.position > position))
        return or_(*found)


_SORTED: Final[dict[str, Any]] = {
    "token": tables.tokens.c.code,
    "string": tables.strings.c.text,
    "reference": tables.references.c.target,
    "date": tables.dates.c.low,
    "number": tables.numbers.c.low,
}


def _value(order: Order) -> Any:
    """The least value of a version, or the greatest where the order descends."""
    if order.parameter == "_id":
        return _v.c.id
    if order.parameter == "_lastUpdated":
        return _v.c.at.cast(BigInteger)
    table = tables.KINDS[order.kind]
    column = table.c.high if order.descending and order.kind in ("date", "number") else _SORTED[order.kind]
    picked = func.max(column) if order.descending else func.min(column)
    mine = (table.c.position == _v.c.position, table.c.parameter == order.parameter)
    return select(picked).where(*mine).correlate(_v).scalar_subquery()


def _matching(reading: Reading, asked: Search) -> list[ColumnElement[bool]]:
    """The conditions of a search, the rarest one first and as a set."""
    terms = Terms(asked.scope, asked.feed)
    first = _rarest(reading, terms, asked.where)
    known = any(isinstance(term, HasId) for condition in asked.where for term in condition.terms)
    found = [
        of_type(_v, asked.type, first is None, asked.types),
        as_it_stood(_v, asked.feed, first is None),
        in_scope(_v, asked.scope, first is None and not known),
    ]
    if asked.either:
        found.append(or_(*(and_(*(terms.holds(each, _v) for each in where)) for where in asked.either)))
    if asked.changed_after:
        found.append(_v.c.position > asked.changed_after)
    for condition in asked.where:
        if condition is first:
            starts = terms.starts(condition)
            assert starts is not None
            found.insert(0, _v.c.position.in_(starts))
        else:
            found.append(terms.holds(condition, _v))
    return found


def _rarest(reading: Reading, terms: Terms, where: Sequence[AnyOf]) -> AnyOf | None:
    best, least = None, FEW
    for condition in where:
        starts = terms.starts(condition)
        if starts is None:
            continue
        some = starts.limit(least + 1).subquery()
        count = reading.connection.execute(select(func.count()).select_from(some)).scalar_one()
        if count <= least:
            best, least = condition, count
        if least < 20:
            break
    return best


def page(reading: Reading, asked: Search) -> Select[Any]:
    """The statement of one page: positions in the asked order, then what they are ordered by."""
    sorting = _Sorting(asked.sort)
    found = _matching(reading, asked)
    if asked.after is not None:
        found.append(sorting.beyond(asked.after))
    names = [column.label(f"key{place}") for place, column in enumerate(sorting.columns)]
    return select(_v.c.position, *names).where(*found).order_by(*sorting.by()).limit(asked.limit)


def search(reading: Reading, asked: Search) -> Sequence[Hit]:
    """One page, in the asked order."""
    with bounded(reading, asked.seconds):
        lines = reading.connection.execute(page(reading, asked)).all()
    kept = bodies(reading, [line.position for line in lines])
    return [Hit(resource=kept[line[0]], key=(*line[1:], line[0])) for line in lines]


def count_matches(reading: Reading, asked: Search, most: int) -> int:
    """How many there are; counting stops at `most`."""
    with bounded(reading, asked.seconds):
        some = select(_v.c.position).where(*_matching(reading, asked)).limit(most).subquery()
        return int(reading.connection.execute(select(func.count()).select_from(some)).scalar_one())


def remembered(reading: Reading, kind: str, value: str, now: datetime) -> bool:
    """Whether the value was seen and has not expired."""
    seen = schema.seen
    mine = (seen.c.kind == kind, seen.c.value_digest == sha256(value.encode()), seen.c.expires > now)
    return reading.connection.execute(select(seen.c.kind).where(*mine)).first() is not None


def bodies(reading: Reading, positions: Sequence[int]) -> dict[int, KeptResource]:
    """The resources at these positions."""
    if not positions:
        return {}
    asked = select(_kept, _v.c.position.label("at_position")).join(_v, _SAME).where(_v.c.position.in_(positions))
    return {line["at_position"]: rows.resource(line, reading.payloads) for line in reading.once(asked)}


# --- single resources ----------------------------------------


def current(
    reading: Reading, type: str, ids: Sequence[str], scope: Scope, feed: int | None = None
) -> list[KeptResource]:
    """Those of the ids that may be seen and are not deleted, as they stood at the feed number."""
    if feed is None:
        feed = reading.connection.execute(select(schema.feed.c.number)).scalar_one()
    seen = (_v.c.type == type, _v.c.id.in_(ids), as_it_stood(_v, feed), in_scope(_v, scope, False))
    positions = reading.connection.execute(select(_v.c.position).where(*seen).order_by(_v.c.position)).scalars().all()
    kept = bodies(reading, positions)
    return [kept[each] for each in positions]


def _one(reading: Reading, asked: Select[Any]) -> KeptResource | None:
    position = reading.connection.execute(asked).scalar()
    return None if position is None else bodies(reading, [position])[position]


def newest(reading: Reading, type: str, id: str, scope: Scope) -> KeptResource | None:
    """The newest version if it is in scope; it may say that it is deleted."""
    mine = (_v.c.type == type, _v.c.id == id, _v.c.until == tables.OPEN, in_scope(_v, scope, False))
    return _one(reading, select(_v.c.position).where(*mine))


def version(reading: Reading, type: str, id: str, number: int, scope: Scope) -> KeptResource | None:
    """One version, if it is in scope."""
    mine = (_v.c.type == type, _v.c.id == id, _v.c.version == number, in_scope(_v, scope, False))
    return _one(reading, select(_v.c.position).where(*mine))


# --- history ----------------------------------------


def versions(
    reading: Reading,
    scope: Scope,
    type: str | None = None,
    id: str | None = None,
    after: int = 0,
    before: int | None = None,
    limit: int = 50,
    newest_first: bool = True,
) -> Sequence[Hit]:
    """Versions between two positions (exclusive), in the order of the feed or against it."""
    seen = [in_scope(_v, scope, id is None), _v.c.position > after]
    seen += [] if type is None else [_v.c.type == type]
    seen += [] if id is None else [_v.c.id == id]
    seen += [] if before is None else [_v.c.position < before]
    order = _v.c.position.desc() if newest_first else _v.c.position.asc()
    with bounded(reading, 10.0):
        asked = select(_v.c.position).where(*seen).order_by(order).limit(limit)
        positions = reading.connection.execute(asked).scalars().all()
    kept = bodies(reading, positions)
    return [Hit(resource=kept[each], key=(each,)) for each in positions]


def position_since(reading: Reading, at: datetime) -> int:
    """The position just before the first version of that time or later; without one, the end of the feed."""
    first = select(_v.c.position).where(_v.c.watermark >= at).order_by(_v.c.watermark, _v.c.position).limit(1)
    found = reading.connection.execute(first).scalar()
    if found is None:
        feed = reading.connection.execute(select(schema.feed.c.number)).scalar_one()
        return int(feed + 1) * PLACES - 1
    return int(found) - 1


def last_updated(reading: Reading, scope: Scope, feed: int) -> datetime | None:
    """The latest time of any version in scope up to the feed number."""
    end = literal((feed + 1) * PLACES, BigInteger)
    asked = select(_v.c.watermark).where(in_scope(_v, scope), _v.c.position < end)
    found: datetime | None = reading.connection.execute(asked.order_by(_v.c.position.desc()).limit(1)).scalar()
    return found


def carried(reading: Reading, id: str, scope: Scope) -> Document | None:
    """The document, if a version that it carried is in scope. What is shared does not show what it came in."""
    scope = msgspec.structs.replace(scope, shares=())
    theirs = select(_v.c.position).join(_kept, _SAME).where(_kept.c.document == id, in_scope(_v, scope, False))
    if reading.connection.execute(select(exists(theirs))).scalar():
        return document(reading, id)
    return None
