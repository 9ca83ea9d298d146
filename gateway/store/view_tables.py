"""The tables of views: some that are always there, and one for each view, made from its declaration.

`view_tables` knows which there are, by the digest of what declares them; a table whose digest is another one is
dropped, made anew and filled from the resources. `view_state.rules` is the digest of all: whoever writes resources
by other rules (or none) leaves their positions in `view_missed`, and whoever knows the rules catches up.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
)

from gateway.formats.views import ColumnKind, FilledTable, RegistryTable, TableColumn, ViewTable
from gateway.store.schema import Instant, metadata
from gateway.store.search_tables import _Binary as Exact

_TYPES: Final[dict[ColumnKind, Any]] = {"text": Exact, "integer": BigInteger(), "number": Double()}

state: Final = Table(
    "view_state",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("rules", String(64), nullable=False),
)
known: Final = Table(
    "view_tables",
    metadata,
    Column("name", Text, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("position", BigInteger, nullable=False),  # of the last version that was looked at
    Column("done", SmallInteger, nullable=False),
)
missed: Final = Table(
    "view_missed",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
)
faults: Final = Table(
    "view_faults",
    metadata,
    Column("name", Text, primary_key=True),
    Column("resource_id", Text, primary_key=True),
    Column("code", Text, nullable=False),
    Column("at", Instant, nullable=False),
)
findings: Final = Table(
    "measure_findings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("programme", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("due_day", BigInteger, nullable=False),
    Column("found_day", BigInteger, nullable=False),
    Column("cleared_day", BigInteger),
    Column("data", Text, nullable=False),
    Index("measure_findings_due", "programme", "measure", "due_day"),
)
marks: Final = Table(
    "measure_marks",
    metadata,
    Column("programme", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("day", BigInteger, nullable=False),  # the last one that was looked at
)

FIXED: Final = (state, known, missed, faults, findings, marks)

_OWN: Final = ("resource_id", "row_no", "sender", "document", "published_at", "received_at")


def _column(of: TableColumn) -> Column[Any]:
    return Column(of.name, _TYPES[of.kind])


def _indexes(name: str, declared: Iterable[tuple[str, ...]]) -> list[Index]:
    return [Index(f"{name}_i{number}", *columns) for number, columns in enumerate(declared)]


@lru_cache(maxsize=1024)
def of_view(table: ViewTable) -> Table:
    """The table of a view."""
    return Table(
        table.name,
        MetaData(),
        Column("resource_id", Exact, primary_key=True),
        Column("row_no", Integer, primary_key=True, autoincrement=False),
        Column("sender", Exact, nullable=False),
        Column("document", Exact),
        Column("published_at", BigInteger, nullable=False),
        Column("received_at", BigInteger),
        *(_column(each) for each in table.columns),
        *_indexes(table.name, table.indexes),
        sqlite_with_rowid=True,
    )


@lru_cache(maxsize=1024)
def of_registry(table: RegistryTable) -> Table:
    """The table of reference data; `entry` is its place in the registry."""
    columns = [_column(each) for each in table.columns]
    return Table(table.name, MetaData(), Column("entry", Exact, primary_key=True), *columns)


def of_filled(table: FilledTable) -> Table:
    """The table of a file or a calendar."""
    return Table(
        table.name,
        MetaData(),
        *(_column(each) for each in table.columns),
        *_indexes(table.name, table.indexes),
    )


# --- views of the ledger itself ----------------------------------------

_LEDGER: Final = {
    "v_document": """
        SELECT d.programme AS programme, d.id AS document, d.case_id AS case_id, c.kind AS kind, d.version AS version,
               d.subject AS subject, c.sender AS sender, d.made_at / 1000000 AS made_at, d.profile AS profile,
               (SELECT MAX(s.received_at) / 1000000 FROM lineage l JOIN submissions s ON s.id = l.submission
                WHERE l.document = d.id) AS received_at
        FROM documents d LEFT JOIN cases c ON c.id = d.case_id""",
    "v_delivery": """
        SELECT e.programme AS programme, e.sender AS sender, e.destination AS destination, e.document AS document,
               e.case_id AS case_id, e.subject AS subject, e.state AS state, e.tries AS tries,
               e.created_at / 1000000 AS created_at,
               CASE WHEN e.state = 'delivered' THEN e.since / 1000000 END AS delivered_at,
               (SELECT MAX(s.received_at) / 1000000 FROM lineage l JOIN submissions s ON s.id = l.submission
                WHERE l.document = e.document) AS received_at
        FROM exchanges e""",
    "v_item": """
        SELECT i.programme AS programme, i.sender AS sender, i.submission AS submission, i.id AS item,
               i.state AS state, s.received_at / 1000000 AS received_at, s.message_type AS message_type,
               s.channel AS channel
        FROM items i JOIN submissions s ON s.id = i.submission""",
}
LEDGER_VIEWS: Final = frozenset(_LEDGER)
_LINEAGE: Final = "CREATE INDEX IF NOT EXISTS lineage_document ON lineage (document)"


def fixed(connection: Connection) -> None:
    """Migration: what is there without any view."""
    for table in FIXED:
        table.create(connection, checkfirst=True)
    connection.exec_driver_sql(_LINEAGE)
    for name, select in _LEDGER.items():
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {select}")
