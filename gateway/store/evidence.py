"""What never changes once it was written, and what a destination or an operator gave us to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from sqlalchemy import func, insert, select

from gateway.errors import Broken
from gateway.message import Attempt, Conformity, Document, Receipt, RegistryEntry, Step, StoredResource
from gateway.store import rows, schema
from gateway.store.engine import upsert
from gateway.store.group import Group

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
        group.connection.execute(insert(schema.documents), row)
        lines = [{"submission": id, "document": document.id} for id in dict.fromkeys(document.submissions)]
        if lines:
            group.connection.execute(insert(schema.lineage), lines)


def others(group: Group, feed: int, step: Step) -> None:
    """Attempts, receipts, conformity records, reference data and resources of the step."""
    versions: list[StoredResource] = []
    for write in step.writes:
        match write:
            case Attempt():
                _attempt(group, write)
            case Receipt():
                _receipt(group, write)
            case Conformity():
                row = rows.plain(write, schema.conformities) | {"feed": feed}
                group.connection.execute(insert(schema.conformities), row)
            case RegistryEntry():
                _registry(group, feed, write)
            case StoredResource():
                versions.append(write)
            case _:
                pass
    _resources(group, feed, step, versions)


def _attempt(group: Group, attempt: Attempt) -> None:
    """Its beginning, then its end. The request on disk is never another one."""
    table = schema.attempts
    statement = upsert(group.connection, table)
    ended = statement.on_conflict_do_update(
        index_elements=["id"],
        set_={name: statement.excluded[name] for name in _ENDS},
        where=table.c.request_digest == statement.excluded.request_digest,
    ).returning(table.c.id)
    row = rows.attempt_row(attempt, group.payloads)
    if group.connection.execute(ended, row).first() is None:
        raise Broken("GW-STORE-006", what="request")


def _receipt(group: Group, receipt: Receipt) -> None:
    statement = upsert(group.connection, schema.receipts)
    changed = {name: statement.excluded[name] for name in ("value", "exchange", "at")}
    kept = statement.on_conflict_do_update(index_elements=["destination", "scope", "name"], set_=changed)
    group.connection.execute(kept, rows.plain(receipt, schema.receipts))


def _registry(group: Group, feed: int, entry: RegistryEntry) -> None:
    statement = upsert(group.connection, schema.registry)
    changed = {name: statement.excluded[name] for name in ("valid_to", "data", "data_digest", "feed")}
    kept = statement.on_conflict_do_update(index_elements=["programme", "kind", "key", "starts"], set_=changed)
    group.connection.execute(kept, rows.registry_row(entry) | {"feed": feed})


def _resources(group: Group, feed: int, step: Step, versions: Iterable[StoredResource]) -> None:
    """Each as a new version of itself."""
    table = schema.resources
    latest: dict[tuple[str, str], int] = {}
    lines = []
    for place, resource in enumerate(versions):
        key = (resource.type, resource.id)
        if key not in latest:
            newest = select(func.max(table.c.version)).where(table.c.type == resource.type, table.c.id == resource.id)
            latest[key] = group.connection.execute(newest).scalar() or 0
        latest[key] += 1
        row = rows.resource_row(resource, group.payloads)
        lines.append(row | {"version": latest[key], "feed": feed, "place": place, "at": step.at})
    if lines:
        group.connection.execute(insert(table), lines)
