"""The tables that are searched. They are made from `resources` and can be made from it again.

`search_versions` has one narrow row a version: position (feed number and place, so it orders all versions of all
resources), and `until`, the position of the version that followed. "As things stood at feed number n" is therefore a
condition on two columns, and paging sees one picture while data arrives. The other tables hold what was found in a
version by its position; they never change. `watermark` is the latest time of any version so far: it never falls, so
the first position of a time is found by its index.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, SmallInteger, String, Table, Text, text
from sqlalchemy.dialects import postgresql

from gateway.formats.search import Kind
from gateway.store.schema import Instant, metadata

_Binary: Final = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that compares by code points on both databases: prefixes are ranges."""

OPEN: Final = 2**62
"""`until` of a version that nothing has followed."""

versions: Final = Table(
    "search_versions",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("type", _Binary, nullable=False),
    Column("id", _Binary, nullable=False),
    Column("version", Integer, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("watermark", Instant, nullable=False),
    Column("programme", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("deleted", SmallInteger, nullable=False),
    Column("indexed", SmallInteger, nullable=False),
    Index("search_versions_thing", "type", "id", "position"),
    Index("search_versions_type", "type", "programme", "position"),
    Index("search_versions_order", "type", "position"),
    Index("search_versions_programme", "programme", "position"),
    Index("search_versions_at", "type", "at", "position"),
    Index("search_versions_watermark", "watermark", "position"),
    Index(
        "search_versions_unindexed",
        "position",
        sqlite_where=text("indexed = 0"),
        postgresql_where=text("indexed = 0"),
    ),
)


def _found(name: str, *columns: Column[Any], indexes: tuple[tuple[str, ...], ...]) -> Table:
    """Rows of one kind: by position (what a version has) and by value (which versions have it)."""
    return Table(
        name,
        metadata,
        Column("position", BigInteger, primary_key=True),
        Column("parameter", Text, primary_key=True),
        Column("place", Integer, primary_key=True),
        *columns,
        *(Index(f"{name}_{each[0]}", "parameter", *each, "position") for each in indexes),
        sqlite_with_rowid=False,
    )


tokens: Final = _found(
    "search_tokens",
    Column("system", _Binary, nullable=False),
    Column("code", _Binary, nullable=False),
    indexes=(("code", "system"), ("system", "code")),
)
strings: Final = _found(
    "search_strings",
    Column("text", _Binary, nullable=False),
    Column("exact", _Binary, nullable=False),
    indexes=(("text",),),
)
references: Final = _found(
    "search_references",
    Column("target", _Binary, nullable=False),
    Column("target_type", _Binary, nullable=False),
    indexes=(("target", "target_type"),),
)
dates: Final = _found(
    "search_dates",
    Column("low", BigInteger, nullable=False),
    Column("high", BigInteger, nullable=False),
    indexes=(("low", "high"), ("high",)),
)
numbers: Final = _found(
    "search_numbers",
    Column("low", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("system", _Binary, nullable=False),
    Column("code", _Binary, nullable=False),
    indexes=(("low", "high"), ("high",)),
)

state: Final = Table(
    "search_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("rules", String(64), nullable=False),
)

KINDS: Final[dict[Kind, Table]] = {
    "token": tokens,
    "string": strings,
    "reference": references,
    "date": dates,
    "number": numbers,
}
"""Where each kind of row is kept."""

TABLES: Final = (versions, *KINDS.values(), state)

_CLIPPED: Final = 600


def clip(value: str) -> str:
    """The value as it is indexed: databases bound the length of a key, and PostgreSQL keeps no NUL."""
    return value.replace("\0", "")[:_CLIPPED]
