"""Values to rows and back. What a value is called in `message.py`, its column is called in `schema.py`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Row, Table

from gateway.formats import json
from gateway.kept import JournalEntry, KeptResource
from gateway.message import (
    Answer,
    Attempt,
    Case,
    CaseRef,
    Conformity,
    Document,
    Evidence,
    Exchange,
    ItemRecord,
    ItemResult,
    Json,
    Receipt,
    RegistryEntry,
    StoredResource,
    Submission,
)
from gateway.store import schema
from gateway.store.payload import Payloads, sha256
from gateway.value import Value

V = TypeVar("V", bound=Value)
Columns = dict[str, Any]

_EVIDENCE: Final = ("jws", "algorithm", "certificate_digest", "signed_at")


@cache
def _plain(kind: type[Value], table: Table) -> tuple[str, ...]:
    """Names that the value and the table share, apart from payloads."""
    return tuple(name for name in kind.__struct_fields__ if name in table.c and f"{name}_kept" not in table.c)


def plain(value: Value, table: Table) -> Columns:
    """The columns that hold the value's own fields as they are."""
    return {name: getattr(value, name) for name in _plain(type(value), table)}


def mapping(row: Row[Any], table: Table) -> Columns:
    """A whole row of one table by column key."""
    return dict(zip(table.c.keys(), row, strict=True))


def _value(kind: type[V], row: Mapping[str, Any], table: Table, **more: Any) -> V:
    return kind(**{name: row[name] for name in _plain(kind, table)}, **more)


# --- to rows ----------------------------------------


def submission_row(value: Submission, payloads: Payloads) -> Columns:
    """Without state, sequence and feed, which the commit assigns."""
    return plain(value, schema.submissions) | payloads.columns("body", value.body, value.digest)


def item_row(value: ItemRecord, payloads: Payloads) -> Columns:
    """The result as JSON, decimals with their digits."""
    return plain(value, schema.items) | {"subject": value.result.subject} | result_columns(value, payloads)


def result_columns(value: ItemRecord, payloads: Payloads) -> Columns:
    """The payload columns of an item's result."""
    body = json.write(value.result)
    return payloads.columns("result", body)


def document_row(value: Document, payloads: Payloads) -> Columns:
    """Document and evidence in one row: neither ever changes."""
    evidence = {name: getattr(value.evidence, name) for name in _EVIDENCE}
    return plain(value, schema.documents) | evidence | payloads.columns("body", value.body, value.digest)


def attempt_row(value: Attempt, payloads: Payloads) -> Columns:
    """Request and reply with their digests."""
    return (
        plain(value, schema.attempts)
        | payloads.columns("request", value.request, value.request_digest)
        | payloads.columns("reply", value.reply)
    )


def answer_row(value: Answer, payloads: Payloads) -> Columns:
    """Without position, which the commit assigns."""
    return plain(value, schema.answers) | payloads.columns("body", value.body)


def registry_row(value: RegistryEntry) -> Columns:
    """The open beginning is an empty string in the key, because a key has no nulls."""
    data = json.write(value.data)
    return plain(value, schema.registry) | {
        "starts": value.valid_from or "",
        "data": data.decode(),
        "data_digest": sha256(data),
    }


def resource_row(value: StoredResource, payloads: Payloads) -> Columns:
    """Without version, feed and place, which the commit assigns."""
    return plain(value, schema.resources) | {"deleted": int(value.deleted)} | payloads.columns("body", value.body)


# --- from rows ----------------------------------------


def submission(row: Columns, payloads: Payloads) -> Submission:
    """With its bytes, verified."""
    body = payloads.read(row, "body", f"submission/{row['id']}")
    return _value(Submission, row, schema.submissions, body=body or b"", digest=row["body_digest"])


def submission_without_body(row: Columns) -> Submission:
    """The same, the bytes left out."""
    return _value(Submission, row, schema.submissions, body=b"", digest=row["body_digest"])


class _Head(msgspec.Struct):
    """Of an item's result: whose it is and what it brings. What is not named is passed over and never built."""

    index: int
    label: str
    subject: str | None = None
    case: CaseRef | None = None
    parts: tuple[str, ...] = ()


class _Content(_Head):
    """And what it was mapped to."""

    resources: tuple[Json, ...] = ()


_RESULT: Final = json.reader_of(ItemResult)
_HEAD: Final = json.reader_of(_Head)
_CONTENT: Final = json.reader_of(_Content)


def item(row: Columns, payloads: Payloads) -> ItemRecord:
    """With its result, verified."""
    return _item(row, _RESULT(_written(row, payloads)))


def item_head(row: Columns, payloads: Payloads) -> ItemRecord:
    """Without resources, lineage, loss and findings: building them costs ten times the rest. The bytes are verified."""
    return _item(row, ItemResult(**msgspec.structs.asdict(_HEAD(_written(row, payloads)))))


def item_content(row: Columns, payloads: Payloads) -> ItemRecord:
    """Without lineage, loss and findings. The bytes are verified."""
    return _item(row, ItemResult(**msgspec.structs.asdict(_CONTENT(_written(row, payloads)))))


def _written(row: Columns, payloads: Payloads) -> bytes:
    return payloads.read(row, "result", f"item/{row['id']}") or b""


def _item(row: Columns, result: ItemResult) -> ItemRecord:
    return _value(ItemRecord, row, schema.items, result=result)


def case(row: Columns) -> Case:
    """A case."""
    return _value(Case, row, schema.cases)


def document(row: Columns, payloads: Payloads) -> Document:
    """With bytes and evidence."""
    body = payloads.read(row, "body", f"document/{row['id']}")
    evidence = Evidence(**{name: row[name] for name in _EVIDENCE})
    return _value(Document, row, schema.documents, body=body or b"", digest=row["body_digest"], evidence=evidence)


def exchange(row: Columns) -> Exchange:
    """An exchange."""
    return _value(Exchange, row, schema.exchanges)


def attempt(row: Columns, payloads: Payloads) -> Attempt:
    """With the bytes of both directions."""
    owner = f"attempt/{row['id']}"
    return _value(
        Attempt,
        row,
        schema.attempts,
        request=payloads.read(row, "request", owner) or b"",
        reply=payloads.read(row, "reply", owner),
    )


def answer(row: Columns, payloads: Payloads) -> Answer:
    """With its bytes."""
    return _value(Answer, row, schema.answers, body=payloads.read(row, "body", f"answer/{row['id']}") or b"")


def receipt(row: Columns) -> Receipt:
    """A receipt."""
    return _value(Receipt, row, schema.receipts)


def conformity(row: Columns) -> Conformity:
    """A conformity record."""
    return _value(Conformity, row, schema.conformities)


def registry_entry(row: Columns) -> RegistryEntry:
    """An entry of the reference data."""
    names = ("kind", "key", "programme", "valid_from", "valid_to")
    return RegistryEntry(**{name: row[name] for name in names}, data=json.read(row["data"].encode()))


def resource(row: Columns, payloads: Payloads) -> KeptResource:
    """One kept version, verified."""
    owner = f"{row['type']}/{row['id']}"
    names = ("type", "id", "version", "feed", "at", "programme", "sender", "document")
    return KeptResource(
        **{name: row[name] for name in names},
        deleted=bool(row["deleted"]),
        body=payloads.read(row, "body", owner) or b"",
        digest=row["body_digest"],
    )


def journal_entry(row: Columns) -> JournalEntry:
    """One line of the trace."""
    return _value(JournalEntry, row, schema.journal)
