"""What can be searched, written in the commit that writes the resource."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.engine import Connection

from gateway.formats.search import DateRow, IndexRow, Kind, NumberRow, ReferenceRow, StringRow, TokenRow
from gateway.message import Step, StoredResource
from gateway.store import schema
from gateway.store import search_tables as tables
from gateway.store.group import PLACES, Group
from gateway.store.order import LIMIT, ONE, ZERO
from gateway.store.search_tables import OPEN, clip

Columns = dict[str, Any]
Cells = tuple[Any, ...]
Found = Sequence[IndexRow] | None
"""Index rows of one resource; None where nobody has looked yet."""

_CELLS: Final[Mapping[type[Any], tuple[Kind, Callable[[Any], Cells]]]] = {
    TokenRow: ("token", lambda row: (clip(row.system), clip(row.code))),
    StringRow: ("string", lambda row: (clip(row.text), clip(row.exact))),
    ReferenceRow: ("reference", lambda row: (clip(row.id), clip(row.type))),
    DateRow: ("date", lambda row: (row.low, row.high)),
    NumberRow: ("number", lambda row: (row.low, row.high, clip(row.system), clip(row.code))),
}
"""The cells of a row behind position, parameter and place, in the order of its table's columns."""


def _watermark() -> Any:
    table = tables.versions
    return select(table.c.watermark).order_by(table.c.position.desc()).limit(ONE)


def resources(
    group: Group, feed: int, step: Step, lines: Sequence[Columns], found: Mapping[int, Sequence[IndexRow]] | None
) -> None:
    """One row a version and the rows that were found in it; `lines` are those of `resources`, in their order."""
    mark = _latest(group, step.at)
    made: list[Columns] = []
    open_: dict[tuple[str, str], Columns] = {}
    for place, line in enumerate(lines):
        position = feed * PLACES + place
        key = (line["type"], line["id"])
        if key in open_:
            open_[key]["until"] = position
        elif line["version"] > 1:
            before = {"type": line["type"], "id": line["id"], "until": OPEN}
            group.hand.update(tables.versions, before, {"until": position})
        names = ("type", "id", "version", "at", "programme", "sender", "deleted")
        row = {name: line[name] for name in names}
        open_[key] = row | {"position": position, "until": OPEN, "watermark": mark, "indexed": int(found is not None)}
        made.append(open_[key])
    group.hand.insert(tables.versions, made)
    if found is not None:
        rows(group, {feed * PLACES + place: each for place, each in found.items()})


def _latest(group: Group, at: datetime) -> datetime:
    """The watermark with this time: never less than it was."""
    row = group.hand.one("watermark", _watermark, {})
    before = None if row is None else tables.versions.c.watermark.type.process_result_value(row[0], None)  # type: ignore[attr-defined]
    return at if before is None else max(at, before)


def rows(group: Group, found: Mapping[int, Sequence[IndexRow]]) -> None:
    """Index rows by position."""
    by_kind: dict[Kind, list[Cells]] = {}
    for position, each in found.items():
        for place, row in enumerate(dict.fromkeys(each)):
            kind, cells = _CELLS[type(row)]
            by_kind.setdefault(kind, []).append((position, row.parameter, place, *cells(row)))
    for kind, lines in by_kind.items():
        group.hand.insert_all(tables.KINDS[kind], tables.KINDS[kind].c.keys(), lines)


def stored(step: Step) -> Iterable[StoredResource]:
    """The resources of a step, in the order in which they get their places."""
    return (write for write in step.writes if isinstance(write, StoredResource))


# --- catching up ----------------------------------------


def fill(connection: Connection) -> None:
    """Migration: one row for each version that is there already, still to be indexed."""
    for table in tables.TABLES:
        table.create(connection, checkfirst=True)
    kept = schema.resources
    position = kept.c.feed * literal(PLACES) + kept.c.place
    following = func.lead(position).over(partition_by=(kept.c.type, kept.c.id), order_by=kept.c.version)
    mark = func.max(kept.c.at).over(order_by=position)
    names = ("type", "id", "version", "at", "programme", "sender", "deleted")
    asked = select(
        position, *(kept.c[name] for name in names), func.coalesce(following, literal(OPEN)), mark, literal(0)
    )
    columns = ["position", *names, "until", "watermark", "indexed"]
    connection.execute(insert(tables.versions).from_select(columns, asked))


def begin(group: Group, rules: str) -> bool:
    """Whether the present rows were made by these rules; otherwise they are dropped, and all is to be indexed."""
    known = group.connection.execute(select(tables.state.c.rules)).scalar()
    if known == rules:
        return True
    for table in tables.KINDS.values():
        group.connection.execute(table.delete())
    group.connection.execute(update(tables.versions).values(indexed=0).where(tables.versions.c.indexed == ONE))
    group.connection.execute(tables.state.delete())
    group.connection.execute(insert(tables.state), {"id": 1, "rules": rules})
    return False


def _unindexed() -> Any:
    table, kept = tables.versions, schema.resources
    same = (kept.c.type == table.c.type) & (kept.c.id == table.c.id) & (kept.c.version == table.c.version)
    asked = select(table.c.position.label("at_position"), kept).join(kept, same)
    return asked.where(table.c.indexed == ZERO).order_by(table.c.position).limit(LIMIT)


_UNINDEXED: Final = _unindexed()


def catch_up(group: Group, indexer: Callable[[StoredResource], Sequence[IndexRow]], limit: int) -> int:
    """Index at most `limit` versions that nobody has indexed; how many there were."""
    lines = group.hand.rows(_UNINDEXED, {"limit": limit})
    found: dict[int, Sequence[IndexRow]] = {}
    for line in lines:
        body = group.payloads.read(line, "body", f"{line['type']}/{line['id']}") or b""
        names = ("type", "id", "programme", "sender", "document")
        value = StoredResource(**{n: line[n] for n in names}, body=body, deleted=bool(line["deleted"]))
        found[line["at_position"]] = indexer(value)
    rows(group, found)
    for position in found:
        group.hand.update(tables.versions, {"position": position}, {"indexed": 1})
    return len(lines)
