"""The tables of the ledger, in SQLAlchemy Core, the same on SQLite and PostgreSQL.

Instants are whole microseconds since 1970 in UTC, so that they sort and index alike on both. Every row of bytes
carries its SHA-256. `open` is 1 while something is still owed (`flow.waiting`): what is open is indexed by partial
indexes, so that looking for work costs the same however much was finished before. `since` is when the present
state began.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from gateway.flow import Thing
from gateway.formats import json

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since the epoch without rounding."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Microseconds; a naive datetime is a defect and raises."""
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """The same instant, in UTC."""
        return None if value is None else EPOCH + value * _MICROSECOND


class Words(TypeDecorator[tuple[str, ...]]):
    """A tuple of strings, kept as a JSON array."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """The array as text."""
        return None if value is None else json.write(list(value)).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """The tuple again."""
        return None if value is None else tuple(json.reread(value.encode()))


metadata: Final = MetaData()


def _payload(name: str) -> tuple[Column[Any], ...]:
    """Bytes with digest and size; `<name>_kept` is `row`, `file` (data/blobs), `gone` or `past` (by retention)."""
    return (
        Column(name, LargeBinary),
        Column(f"{name}_digest", String(64)),
        Column(f"{name}_size", BigInteger),
        Column(f"{name}_kept", String(4)),
    )


def _state() -> tuple[Column[Any], ...]:
    return (
        Column("state", String(16), nullable=False),
        Column("open", SmallInteger, nullable=False),
        Column("since", Instant, nullable=False),
        Column("feed", BigInteger, nullable=False),
    )


def _partial(where: str | None) -> dict[str, Any]:
    return {} if where is None else {"sqlite_where": text(where), "postgresql_where": text(where)}


def _index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, **_partial(where))


submissions: Final = Table(
    "submissions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("sender", Text, nullable=False),
    Column("programme", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("channel", String(8), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("charset", Text),
    Column("control_id", Text),
    Column("language", String(2), nullable=False),
    Column("message_type", Text),
    *_state(),
    *_payload("body"),
    _index("submissions_sequence", "sender", "sequence", unique=True),
    _index("submissions_control", "sender", "control_id", "sequence", where="control_id IS NOT NULL"),
    _index("submissions_received", "feed", where="state = 'received'"),
    _index("submissions_held", "sender", "sequence", where="state = 'received'"),
    _index("submissions_open", "state", "since", where="open = 1"),
    _index("submissions_ended", "programme", "since", where="open = 0 AND body_kept IN ('row', 'file')"),
    _index("submissions_forgotten", "programme", "since", where="body_kept = 'gone'"),
)

cases: Final = Table(
    "cases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("programme", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("version", Integer, nullable=False),
    Column("parts", Words, nullable=False),
    Column("expires_at", Instant),
    Column("owes", SmallInteger, nullable=False, server_default="0"),  # 1: this version has no document yet
    *_state(),
    _index("cases_open", "state", "since", where="open = 1"),
    _index("cases_expiring", "expires_at", where="open = 1"),
    _index("cases_undocumented", "since", "id", where="owes = 1"),
    _index("cases_owing", "sender", "subject", "since", where="owes = 1"),
)

items: Final = Table(
    "items",
    metadata,
    Column("id", Text, primary_key=True),
    Column("submission", ForeignKey("submissions.id"), nullable=False),
    Column("sender", Text, nullable=False),
    Column("programme", Text, nullable=False),
    Column("subject", Text),
    Column("case_id", Text, key="case"),
    Column("sequence", BigInteger, nullable=False),  # of its submission
    Column("position", BigInteger, nullable=False),  # of its submission, then its place inside it
    Column("gathered", BigInteger),  # order of gathering
    *_state(),
    *_payload("result"),
    _index("items_submission", "submission"),
    _index("items_case", "case", "gathered", where="case_id IS NOT NULL"),
    _index("items_valid", "position", where="state = 'valid'"),
    _index("items_subject", "sender", "subject", "position", where="open = 1"),
    _index("items_open", "state", "since", where="open = 1"),
)

documents: Final = Table(
    "documents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("case_id", Text, key="case", nullable=False),
    Column("version", Integer, nullable=False),
    Column("programme", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("profile", Text, nullable=False),
    Column("jws", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("certificate_digest", String(64), nullable=False),
    Column("signed_at", Instant, nullable=False),
    Column("submissions", Words, nullable=False),
    Column("feed", BigInteger, nullable=False),
    *_payload("body"),
    _index("documents_case", "case", "version"),
)

lineage: Final = Table(
    "lineage",
    metadata,
    Column("submission", ForeignKey("submissions.id"), primary_key=True),
    Column("document", ForeignKey("documents.id"), primary_key=True),
)

exchanges: Final = Table(
    "exchanges",
    metadata,
    Column("id", Text, primary_key=True),
    Column("document", ForeignKey("documents.id"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("programme", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("case_id", Text, key="case", nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Instant),
    Column("ready_at", Instant, nullable=False),  # next_at, or since when it could have run
    Column("reason", Text),
    Column("created_at", Instant, nullable=False),
    Column("head", SmallInteger, nullable=False),  # 1: no earlier open exchange of its key
    Column("claimed_by", Text),  # the writer whose worker holds it: only that one may go on
    *_state(),
    _index("exchanges_document", "document"),
    _index("exchanges_case", "case", "position"),
    _index("exchanges_key", "destination", "sender", "subject", "position", where="open = 1"),
    _index(
        "exchanges_runnable", "destination", "ready_at", "position", where="open = 1 AND head = 1 AND state = 'due'"
    ),
    _index("exchanges_timed", "destination", "next_at", where="head = 1 AND state = 'due' AND next_at IS NOT NULL"),
    _index("exchanges_state", "destination", "state", "position", where="open = 1"),
    _index("exchanges_open", "state", "since", where="open = 1"),
    _index("exchanges_position", "position"),
)

attempts: Final = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("exchange", ForeignKey("exchanges.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("transport_id", Text),
    Column("ended_at", Instant),
    Column("outcome", Text),
    Column("status", Integer),
    Column("codes", Words, nullable=False),
    *_payload("request"),
    *_payload("reply"),
    _index("attempts_exchange", "exchange", "number"),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # empty: no longer honoured
    Column("exchange", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

answers: Final = Table(
    "answers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("submission", ForeignKey("submissions.id"), nullable=False),
    Column("sender", Text, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Instant),
    Column("ready_at", Instant, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("head", SmallInteger, nullable=False),  # 1: no earlier open later answer of its sender
    *_state(),
    *_payload("body"),
    _index("answers_submission", "submission"),
    _index("answers_key", "sender", "position", where="open = 1 AND kind <> 'first'"),
    _index("answers_due", "ready_at", "position", where="open = 1 AND head = 1"),
    _index("answers_open", "state", "since", where="open = 1"),
)

conformities: Final = Table(
    "conformities",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("number", Text, nullable=False),
    Column("system_id", Text, nullable=False),
    Column("software_version", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_to", Instant, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("feed", BigInteger, primary_key=True),  # every record is kept; the last one counts
)

pauses: Final = Table(
    "pauses",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("paused", SmallInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("feed", BigInteger, primary_key=True, autoincrement=False),  # the last one counts
)

registry: Final = Table(
    "registry",
    metadata,
    Column("programme", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("starts", Text, primary_key=True),  # valid_from, or empty
    Column("valid_from", Text),
    Column("valid_to", Text),
    Column("data", Text, nullable=False),
    Column("data_digest", String(64), nullable=False),
    Column("feed", BigInteger, nullable=False),
)

resources: Final = Table(
    "resources",
    metadata,
    Column("type", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("feed", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),  # inside its step
    Column("at", Instant, nullable=False),
    Column("programme", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("document", Text),
    Column("deleted", SmallInteger, nullable=False),
    *_payload("body"),
    _index("resources_feed", "feed", "place", unique=True),
    _index("resources_document", "document", where="document IS NOT NULL"),
)

journal: Final = Table(
    "journal",
    metadata,
    Column("feed", BigInteger, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("thing", String(12), nullable=False),
    Column("id", Text, nullable=False),
    Column("frm", String(16), nullable=False),
    Column("to_state", String(16), key="to", nullable=False),
    Column("room", String(12), nullable=False),
    Column("reason", Text),
    _index("journal_thing", "id", "thing"),
)

audit: Final = Table(
    "audit",
    metadata,
    Column("writer", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("feed", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("subtype", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("hash", String(64), nullable=False),  # over the previous hash of the writer and this digest
    _index("audit_feed", "feed", "number"),
)

anchors: Final = Table(
    "anchors",
    metadata,
    Column("feed", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("heads", Text, nullable=False),  # JSON: writer -> [events, hash]
    Column("hash", String(64), nullable=False),  # over the previous anchor's hash and the heads
)

writers: Final = Table(
    "writers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("incarnation", Integer, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

feed: Final = Table(
    "feed",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
)

sequences: Final = Table(
    "sequences",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

tallies: Final = Table(
    "tallies",
    metadata,
    Column("thing", String(12), primary_key=True),
    Column("state", String(16), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

seen: Final = Table(
    "seen",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("value_digest", String(64), primary_key=True),
    Column("expires", Instant, nullable=False),
    _index("seen_expires", "expires"),
)

migrations: Final = Table(
    "migrations",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

PAYLOADS: Final[tuple[tuple[Table, str], ...]] = tuple(
    (table, name.removesuffix("_kept"))
    for table in metadata.sorted_tables
    for name in table.c.keys()  # noqa: SIM118
    if name.endswith("_kept")
)
"""Every column of bytes."""

for _table, _name in PAYLOADS:  # who still needs a file: asked before it is removed
    Index(f"{_table.name}_{_name}_file", _table.c[f"{_name}_digest"], **_partial(f"{_name}_kept = 'file'"))

TABLES: Final[dict[Thing, Table]] = {
    Thing.SUBMISSION: submissions,
    Thing.CASE: cases,
    Thing.ITEM: items,
    Thing.EXCHANGE: exchanges,
    Thing.ANSWER: answers,
}
"""Where each thing that has a state is kept."""
