"""Rows of views, written in the commit that publishes the resource version; and tables made or filled anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import MetaData, Table, bindparam, delete, func, insert, inspect, select, update
from sqlalchemy.schema import DropTable

from gateway.formats.views import FilledTable, Made, RegistryTable, Row, Views, ViewTable
from gateway.message import Document, RegistryEntry, Step, StoredResource
from gateway.store import rows as kept_rows
from gateway.store import schema, view_tables
from gateway.store import search_tables as tables
from gateway.store.group import PLACES, Group
from gateway.store.order import LIMIT, ZERO
from gateway.store.schema import EPOCH
from gateway.store.search_tables import OPEN

Columns = dict[str, Any]
AnyTable = ViewTable | RegistryTable | FilledTable
_CHUNK: Final = 2_000


class Viewed(NamedTuple):
    """What a step puts into tables, worked out before the writer is asked; `rules` are those it was made by."""

    views: Views
    made: Sequence[Made | None]  # of the resources of the step, in their order

    @property
    def rules(self) -> str:
        return self.views.digest


class _Line(NamedTuple):
    """One resource version that is to stand in the tables."""

    id: str
    sender: str
    document: str | None
    published: datetime
    received: int | None
    fresh: bool  # nothing of it can be there yet


def _seconds(at: datetime) -> int:
    return int((at - EPOCH).total_seconds() // 1)


def viewed(views: Views, step: Step) -> Viewed:
    """The rows of the step's resources."""
    found = [views.made(each) for each in step.writes if isinstance(each, StoredResource)]
    return Viewed(views, found)


# --- in the commit ----------------------------------------


def _rules() -> Any:
    return select(view_tables.state.c.rules).where(view_tables.state.c.id == bindparam("id"))


def _received() -> Any:
    table = schema.submissions
    return select(table.c.received_at).where(table.c.id == bindparam("id"))


def _present(group: Group) -> str | None:
    """By which rules the tables stand; None where there are none."""
    row = group.hand.one("view rules", _rules, {"id": 1})
    return None if row is None else str(row[0])


def resources(group: Group, feed: int, step: Step, lines: Sequence[Columns], found: Viewed | None) -> None:
    """The rows of the versions that were just written; `lines` are those of `resources`, in their order."""
    present = _present(group)
    if present is None:
        return
    if found is None or found.rules != present:
        positions = [{"position": feed * PLACES + place} for place in range(len(lines))]
        group.hand.insert(view_tables.missed, positions)
        return
    last = {(line["type"], line["id"]): place for place, line in enumerate(lines)}
    received = _received_by_document(group, step)
    by_name = {table.name: table for table in found.views.tables}
    for (_, id), place in last.items():
        made, line = found.made[place], lines[place]
        if made is not None:
            document = line["document"]
            known = received.get(document) if document is not None else None
            _write(
                group, by_name, made, _Line(id, line["sender"], document, step.at, known, fresh=line["version"] == 1)
            )


def _received_by_document(group: Group, step: Step) -> Mapping[str, int]:
    """When the last of the submissions behind each document of the step was received."""
    found: dict[str, int] = {}
    for write in step.writes:
        if isinstance(write, Document) and write.submissions:
            times = [group.hand.one("received", _received, {"id": id}) for id in write.submissions]
            micro = max((row[0] for row in times if row is not None), default=None)
            if micro is not None:
                found[write.id] = micro // 1_000_000
    return found


def _write(group: Group, by_name: Mapping[str, ViewTable], made: Made, line: _Line) -> None:
    for name, rows in made.rows.items():
        table = view_tables.of_view(by_name[name])
        if not line.fresh:
            _remove(group, table, "resource_id", line.id)
        if rows:
            group.hand.insert(table, _full(by_name[name], rows, line))
        _fault(group, name, line, made.faults.get(name))


def _full(table: ViewTable, rows: Sequence[Row], line: _Line) -> list[Columns]:
    names = [column.name for column in table.columns]
    common = {
        "resource_id": line.id,
        "sender": line.sender,
        "document": line.document,
        "published_at": _seconds(line.published),
        "received_at": line.received,
    }
    return [common | {"row_no": number} | dict(zip(names, row, strict=True)) for number, row in enumerate(rows)]


def _remove(group: Group, table: Table, column: str, value: str) -> int:
    def build() -> Any:
        return delete(table).where(table.c[column] == bindparam("value", type_=table.c[column].type))

    return group.hand.run(f"remove from {table.name} {column}", build, {"value": value})


def _fault(group: Group, name: str, line: _Line, code: str | None) -> None:
    """A resource of which a view can make no rows is remembered until a version or a rule comes that works."""
    table = view_tables.faults
    if not line.fresh:
        where = (table.c.name == bindparam("is_name"), table.c.resource_id == bindparam("is_id"))
        group.hand.run("no view fault", lambda: delete(table).where(*where), {"is_name": name, "is_id": line.id})
    if code is not None:
        group.hand.insert(table, [{"name": name, "resource_id": line.id, "code": code, "at": line.published}])


# --- reference data ----------------------------------------


def registry(group: Group, entries: Sequence[RegistryEntry], views: Views | None) -> None:
    """The rows of reference data that was just written; by other rules the tables are filled anew at the next start."""
    present = _present(group) if entries else None
    if present is None:
        return
    if views is None or views.digest != present:
        statement = update(view_tables.known).where(view_tables.known.c.name.like("v_%registry%")).values(done=0)
        group.connection.execute(statement)
        return
    for entry in entries:
        _enter(group, views, entry, fresh=False)


def _enter(group: Group, views: Views, entry: RegistryEntry, *, fresh: bool) -> None:
    by_name = {table.name: table for table in views.registries}
    key = "\n".join((entry.programme, entry.kind, entry.key, entry.valid_from or ""))
    for name, row in views.entered(entry).items():
        table = view_tables.of_registry(by_name[name])
        if not fresh:
            _remove(group, table, "entry", key)
        names = [column.name for column in by_name[name].columns]
        group.hand.insert(table, [{"entry": key} | dict(zip(names, row, strict=True))])


# --- made anew ----------------------------------------


def begin(group: Group, views: Views) -> int:
    """Tables as these rules want them: gone ones dropped, changed ones new and empty. How many are to be filled."""
    connection = group.connection
    known = {row.name: row.digest for row in connection.execute(select(view_tables.known))}
    every: list[AnyTable] = [*views.tables, *views.registries, *views.filled]
    wanted = {each.name: each for each in every}
    for name, digest in known.items():
        if name not in wanted or wanted[name].digest != digest:
            _forget(group, name)
    for name, each in wanted.items():
        if known.get(name) != each.digest:
            if inspect(connection).has_table(name):
                _drop(group, name)
            _table(each).create(connection)
            row = {"name": name, "digest": each.digest, "position": 0, "done": 0}
            connection.execute(insert(view_tables.known), row)
    connection.execute(delete(view_tables.state))
    if wanted:
        connection.execute(insert(view_tables.state), {"id": 1, "rules": views.digest})
    return int(connection.execute(select(func.count()).where(view_tables.known.c.done == 0)).scalar_one())


def _table(of: AnyTable) -> Table:
    if isinstance(of, ViewTable):
        return view_tables.of_view(of)
    return view_tables.of_registry(of) if isinstance(of, RegistryTable) else view_tables.of_filled(of)


def _forget(group: Group, name: str) -> None:
    if inspect(group.connection).has_table(name):
        _drop(group, name)
    for table in (view_tables.known, view_tables.faults):
        group.connection.execute(delete(table).where(table.c.name == name))


def _drop(group: Group, name: str) -> None:
    group.connection.execute(DropTable(Table(name, MetaData())))


def fill(group: Group, views: Views, limit: int) -> int:
    """Put something of what is there into tables that lack it; how many versions were looked at, 0 when all is done."""
    waiting = {
        row.name: row.position
        for row in group.connection.execute(select(view_tables.known).where(view_tables.known.c.done == 0))
    }
    at_once: list[FilledTable | RegistryTable] = [*views.filled, *views.registries]
    for each in at_once:
        if each.name in waiting:
            _fill_at_once(group, views, each)
            return 1
    mine = [table for table in views.tables if table.name in waiting]
    if mine:
        first = min(mine, key=lambda table: (table.programme, table.resource, waiting[table.name]))
        alike = (first.programme, first.resource, waiting[first.name])
        together = [each for each in mine if (each.programme, each.resource, waiting[each.name]) == alike]
        return _fill_views(group, views, together, waiting[first.name], limit)
    return _catch_up(group, views, limit)


def catch_up(group: Group, views: Views, limit: int) -> int:
    """`fill`, where the tables stand by these rules; 0 when there is nothing to do or they do not."""
    return fill(group, views, limit) if _present(group) == views.digest else 0


def _done(group: Group, names: Iterable[str], position: int, done: int) -> None:
    for name in names:
        group.hand.update(view_tables.known, {"name": name}, {"position": position, "done": done})


def _fill_at_once(group: Group, views: Views, table: FilledTable | RegistryTable) -> None:
    made = _table(table)
    group.connection.execute(delete(made))
    if isinstance(table, FilledTable):
        names = [column.name for column in table.columns]
        rows = iter(table.rows())
        while part := list(islice(rows, _CHUNK)):
            group.hand.insert_all(made, names, part)
    else:
        names = ["entry", *(column.name for column in table.columns)]
        where = (
            [schema.registry.c.programme == table.programme, schema.registry.c.kind == table.kind] if table.kind else []
        )
        for line in group.connection.execute(select(schema.registry).where(*where)).mappings().all():
            entry = kept_rows.registry_entry(dict(line))
            key = "\n".join((entry.programme, entry.kind, entry.key, entry.valid_from or ""))
            row = views.entered(entry)[table.name]
            group.hand.insert(made, [dict(zip(names, (key, *row), strict=True))])
    _done(group, [table.name], 0, 1)


def _current() -> Any:
    table, kept = tables.versions, schema.resources
    same = (kept.c.type == table.c.type) & (kept.c.id == table.c.id) & (kept.c.version == table.c.version)
    asked = select(table.c.position.label("at_position"), table.c.until.label("until"), kept).join(kept, same)
    return asked.order_by(table.c.position).limit(LIMIT)


def _of_type() -> Any:
    table = tables.versions
    where = (table.c.type == bindparam("of_type"), table.c.programme == bindparam("of_programme"))
    return _current().where(*where, table.c.position > bindparam("after"), table.c.deleted == ZERO)


def _was_missed() -> Any:
    return _current().join(view_tables.missed, view_tables.missed.c.position == tables.versions.c.position)


_OF_TYPE: Final = _of_type()
_WAS_MISSED: Final = _was_missed()


def _fill_views(group: Group, views: Views, wanted: Sequence[ViewTable], after: int, limit: int) -> int:
    first = wanted[0]
    asked = {"of_type": first.resource, "of_programme": first.programme, "after": after, "limit": limit}
    lines = group.hand.rows(_OF_TYPE, asked)
    for line in lines:
        _again(group, views, line, {each.name for each in wanted})
    names = [each.name for each in wanted]
    _done(group, names, lines[-1]["at_position"] if lines else after, int(len(lines) < limit))
    return max(1, len(lines))


def _again(group: Group, views: Views, line: Columns, names: set[str] | None) -> None:
    """Write the rows of one kept version, if it is the current one; `names` bounds the tables."""
    if line["until"] != OPEN:
        return
    body = group.payloads.read(line, "body", f"{line['type']}/{line['id']}") or b""
    fields = {n: line[n] for n in ("type", "id", "programme", "sender", "document")}
    made = views.made(StoredResource(**fields, body=body, deleted=bool(line["deleted"])))
    if made is None:
        return
    rows = {name: each for name, each in made.rows.items() if names is None or name in names}
    received = _received_of(group, line["document"])
    of = _Line(line["id"], line["sender"], line["document"], line["at"], received, fresh=False)
    by_name = {table.name: table for table in views.tables}
    _write(group, by_name, Made(rows=rows, faults=made.faults), of)


def _behind() -> Any:
    lineage, submissions = schema.lineage, schema.submissions
    asked = select(func.max(submissions.c.received_at)).join(lineage, lineage.c.submission == submissions.c.id)
    return asked.where(lineage.c.document == bindparam("document"))


def _received_of(group: Group, document: str | None) -> int | None:
    row = group.hand.one("behind", _behind, {"document": document}) if document is not None else None
    return None if row is None or row[0] is None else row[0] // 1_000_000


def _catch_up(group: Group, views: Views, limit: int) -> int:
    """What was written by other rules, or none."""
    lines = group.hand.rows(_WAS_MISSED, {"limit": limit})
    for line in lines:
        _again(group, views, line, None)
        position = {"position": line["at_position"]}
        table = view_tables.missed
        where = table.c.position == bindparam("position")
        group.hand.run("no more missed", lambda: delete(table).where(where), position)  # noqa: B023
    return len(lines)
