"""Bulk exports as they are kept: what was asked, which files there are, how much of them was sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import BigInteger, and_, delete, insert, literal, select, update

from gateway.errors import Broken
from gateway.formats import json
from gateway.formats.search import Scope, Search
from gateway.formats.standing import Columns, Export, Line
from gateway.store import rows, schema, search_ask
from gateway.store import search_tables as tables
from gateway.store.calls import Calls
from gateway.store.group import PLACES, Group
from gateway.store.reading import Reading
from gateway.store.search_terms import in_scope
from gateway.store.standing_tables import exports

log: Final = structlog.get_logger("gateway.store")
_JSON: Final = ("job", "place", "files", "problems")
_v, _kept = tables.versions, schema.resources
_SAME: Final = (_kept.c.type == _v.c.type, _kept.c.id == _v.c.id, _kept.c.version == _v.c.version)


def _row(export: Export) -> Columns:
    found = {name: getattr(export, name) for name in export.__struct_fields__}
    return found | {name: json.write(msgspec.to_builtins(found[name])).decode() for name in _JSON}


def _value(row: Any) -> Export:
    found = dict(row._mapping)
    read = {name: json.read(found[name].encode()) for name in _JSON}
    read |= {name: tuple(read[name]) for name in ("files", "problems")}
    return Export(**found | read)


def begin(group: Group, export: Export) -> None:
    """Keep a new one; forget those that expired a while ago."""
    group.connection.execute(delete(exports).where(exports.c.expires < export.at - (export.expires - export.at)))
    group.connection.execute(insert(exports), _row(export))


def save(group: Group, export: Export) -> bool:
    """False where somebody else changed it since it was read."""
    mine = (exports.c.id == export.id, exports.c.revision == export.revision)
    row = {name: each for name, each in _row(export).items() if not name.startswith("sent_")}
    changed = update(exports).where(*mine).values(row | {"revision": export.revision + 1})
    return group.connection.execute(changed).rowcount == 1


def sent(group: Group, id: str, lines: int, size: int) -> None:
    """One file more was sent to its end."""
    more = {"sent_files": 1, "sent_lines": lines, "sent_bytes": size}
    added = {name: exports.c[name] + number for name, number in more.items()}
    group.connection.execute(update(exports).where(exports.c.id == id).values(added))


def one(reading: Reading, id: str) -> Export | None:
    """The export, whoever's it is."""
    row = reading.connection.execute(select(exports).where(exports.c.id == id)).first()
    return None if row is None else _value(row)


def every(reading: Reading, now: datetime) -> Sequence[Export]:
    """All that have not expired, oldest first."""
    asked = select(exports).where(exports.c.expires > now).order_by(exports.c.at)
    return [_value(row) for row in reading.connection.execute(asked)]


def sizes(reading: Reading, asked: Search) -> Sequence[tuple[int, int]]:
    """Position and bytes of the next matches, in the order of the feed."""
    with search_ask.bounded(reading, asked.seconds):
        found = search_ask.page(reading, asked).subquery()
        size = select(found.c.position, _kept.c.body_size).join_from(found, _v, found.c.position == _v.c.position)
        size = size.join(_kept, and_(*_SAME)).order_by(found.c.position)
        return [(int(position), int(number or 0)) for position, number in reading.connection.execute(size)]


def lines(reading: Reading, asked: Search) -> Sequence[Line]:
    """A page of resources; one whose bytes are damaged does not take the others with it."""
    with search_ask.bounded(reading, asked.seconds):
        positions = reading.connection.execute(search_ask.page(reading, asked)).scalars().all()
    asked_rows = select(_kept, _v.c.position.label("at_position")).join(_v, and_(*_SAME))
    found = reading.once(asked_rows.where(_v.c.position.in_(positions)).order_by(_v.c.position)) if positions else []
    return [_line(reading, row) for row in found]


def _line(reading: Reading, row: Columns) -> Line:
    try:
        kept = rows.resource(row, reading.payloads)
    except Broken as error:
        log.error("damaged", id=f"{row['type']}/{row['id']}", code=error.code)
        kept = None
    return Line(position=row["at_position"], type=row["type"], id=row["id"], version=row["version"], resource=kept)


def deleted(
    reading: Reading, scope: Scope, type: str, feed: int, changed_after: int, after: int, limit: int
) -> Sequence[tuple[int, str]]:
    """Position and id of what was deleted behind a position and stayed so up to the feed number."""
    end = literal((feed + 1) * PLACES, BigInteger)
    mine = (_v.c.type == type, in_scope(_v, scope), _v.c.deleted == 1, _v.c.position < end, _v.c.until >= end)
    asked = select(_v.c.position, _v.c.id).where(*mine, _v.c.position > max(changed_after, after))
    found = reading.connection.execute(asked.order_by(_v.c.position).limit(limit))
    return [(int(position), str(id)) for position, id in found]


class ExportCalls(Calls):
    """`gateway.formats.standing.Exports` over a ledger."""

    async def begin(self, export: Export) -> None:
        await self.submit(lambda group: begin(group, export))

    async def one(self, id: str) -> Export | None:
        return await self.ask(one, id)

    async def every(self) -> Sequence[Export]:
        return await self.ask(every, self.clock.now())

    async def save(self, export: Export) -> bool:
        return await self.submit(lambda group: save(group, export))

    async def sent(self, id: str, lines: int, size: int) -> None:
        await self.submit(lambda group: sent(group, id, lines, size))

    async def sizes(self, asked: Search) -> Sequence[tuple[int, int]]:
        return await self.ask(sizes, asked)

    async def lines(self, asked: Search) -> Sequence[Line]:
        return await self.ask(lines, asked)

    async def deleted(
        self, scope: Scope, type: str, feed: int, changed_after: int, after: int, limit: int
    ) -> Sequence[tuple[int, str]]:
        return await self.ask(deleted, scope, type, feed, changed_after, after, limit)
