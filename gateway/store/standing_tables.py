"""What repositories leave standing: exports, subscriptions, and the events that a subscription is owed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from gateway.store.schema import Instant, metadata

exports: Final = Table(
    "exports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("expires", Instant, nullable=False),
    Column("state", String(12), nullable=False),
    Column("job", Text, nullable=False),  # JSON, as are the next three
    Column("place", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("problems", Text, nullable=False),
    Column("sent_files", Integer, nullable=False),
    Column("sent_lines", BigInteger, nullable=False),
    Column("sent_bytes", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Index("exports_expires", "expires"),
)

subscriptions: Final = Table(
    "subscriptions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("base", Text, nullable=False),
    Column("resource", Text, nullable=False),  # JSON
    Column("status", String(12), nullable=False),
    Column("since", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("cursor_position", BigInteger, key="cursor", nullable=False),
    Column("version", Integer, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", Instant),
    Column("sent_at", Instant),
    Column("error", Text),
    Column("revision", Integer, nullable=False),
    Index("subscriptions_repository", "repository"),
)

events: Final = Table(
    "subscription_events",
    metadata,
    Column("subscription", ForeignKey("subscriptions.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("method", String(8), nullable=False),
    Column("at", Instant, nullable=False),
)

TABLES: Final = (exports, subscriptions, events)
