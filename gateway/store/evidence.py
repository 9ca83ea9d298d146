"""What never changes once it was written, and what a destination or an operator gave us to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from gateway.errors import Broken
from gateway.formats.search import IndexRow
from gateway.message import Attempt, Conformity, Document, Pause, Receipt, RegistryEntry, Step, StoredResource
from gateway.store import rows, schema, search_write, view_write
from gateway.store.engine import upsert
from gateway.store.group import Group
from gateway.store.view_write import Viewed

_ENDS: Final = (
    "ended_at",
    "outcome",
    "status",
    "codes",
    "reply",
    "reply_digest",
    "reply_size",
    "reply_kept",
)


def made(step: Step) -> Iterator[Document]:
    """The documents of the step."""
    return (write for write in step.writes if isinstance(write, Document))


def documents(group: Group, feed: int, step: Step) -> None:
    """Document, evidence, and which submissions contributed."""
    for document in made(step):
        row = rows.document_row(document, group.payloads) | {"feed": feed}
        group.hand.insert(schema.documents, [row])
        lines = [{"submission": id, "document": document.id} for id in dict.fromkeys(document.submissions)]
        if lines:
            group.hand.insert(schema.lineage, lines)


Found = Mapping[int, Sequence[IndexRow]] | None
"""What can be searched in the resources of a step, by their place; None where nobody looked."""


def others(group: Group, feed: int, step: Step, found: Found = None, viewed: Viewed | None = None) -> None:
    """Attempts, receipts, conformity records, reference data and resources of the step."""
    versions: list[StoredResource] = []
    entries: list[RegistryEntry] = []
    for write in step.writes:
        match write:
            case Attempt():
                _attempt(group, write)
            case Receipt():
                _receipt(group, write)
            case Conformity():
                row = rows.plain(write, schema.conformities) | {"feed": feed}
                group.hand.insert(schema.conformities, [row])
            case Pause():
                row = {"destination": write.destination, "paused": int(write.paused), "at": write.at, "feed": feed}
                group.hand.insert(schema.pauses, [row])
            case RegistryEntry():
                _registry(group, feed, write)
                entries.append(write)
            case StoredResource():
                versions.append(write)
            case _:
                pass
    view_write.registry(group, entries, viewed.views if viewed else None)
    _resources(group, feed, step, versions, found, viewed)


def _attempt(group: Group, attempt: Attempt) -> None:
    """Its beginning, then its end. The request on disk is never another one."""
    table = schema.attempts

    def ended() -> Any:
        statement = upsert(group.connection, table)
        return statement.on_conflict_do_update(
            index_elements=["id"],
            set_={name: statement.excluded[name] for name in _ENDS},
            where=table.c.request_digest == statement.excluded.request_digest,
        ).returning(table.c.id)

    row = rows.attempt_row(attempt, group.payloads)
    if group.hand.one("attempt", ended, row, tuple(row)) is None:
        raise Broken("GW-STORE-006", what="request")


def _receipt(group: Group, receipt: Receipt) -> None:
    def kept() -> Any:
        statement = upsert(group.connection, schema.receipts)
        changed = {name: statement.excluded[name] for name in ("value", "exchange", "at")}
        return statement.on_conflict_do_update(index_elements=["destination", "scope", "name"], set_=changed)

    row = rows.plain(receipt, schema.receipts)
    group.hand.run("receipt", kept, row, tuple(row))


def _registry(group: Group, feed: int, entry: RegistryEntry) -> None:
    def kept() -> Any:
        statement = upsert(group.connection, schema.registry)
        changed = {name: statement.excluded[name] for name in ("valid_to", "data", "data_digest", "feed")}
        return statement.on_conflict_do_update(index_elements=["programme", "kind", "key", "starts"], set_=changed)

    row = rows.registry_row(entry) | {"feed": feed}
    group.hand.run("registry", kept, row, tuple(row))


def _newest() -> Any:
    table = schema.resources
    mine = (table.c.type == bindparam("type"), table.c.id == bindparam("id"))
    return select(func.max(table.c.version)).where(*mine)


def _resources(
    group: Group, feed: int, step: Step, versions: Iterable[StoredResource], found: Found, viewed: Viewed | None
) -> None:
    """Each as a new version of itself."""
    table = schema.resources
    latest: dict[tuple[str, str], int] = {}
    lines = []
    for place, resource in enumerate(versions):
        key = (resource.type, resource.id)
        if key not in latest:
            (newest,) = group.hand.one("newest", _newest, {"type": resource.type, "id": resource.id})
            latest[key] = newest or 0
        latest[key] += 1
        row = rows.resource_row(resource, group.payloads)
        lines.append(row | {"version": latest[key], "feed": feed, "place": place, "at": step.at})
    if lines:
        group.hand.insert(table, lines)
        search_write.resources(group, feed, step, lines, found)
        view_write.resources(group, feed, step, lines, viewed)
