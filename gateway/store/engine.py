"""Connections: what is asked of SQLite and of PostgreSQL before the first statement.

SQLite: write-ahead log, `synchronous=FULL` (a commit that returned is synced), `BEGIN IMMEDIATE` for the writer,
`auto_vacuum=INCREMENTAL` set before the first table, foreign keys, a busy timeout (sqlite.org: pragma.html,
wal.html). PostgreSQL: `synchronous_commit=on`, and a server with `fsync=off` is refused, because there an
acknowledgement would mean nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, cast

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.errors import Misconfigured

Dialect = Literal["sqlite", "postgresql"]

BUSY_SECONDS: Final = 30
READERS: Final = 4
TOGETHER: Final[dict[Dialect, int]] = {"sqlite": 1, "postgresql": 2}
"""How many of the reading threads answer small questions in groups; a server's answers take a way, so two."""

_SQLITE_BOTH: Final = (f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}", "PRAGMA foreign_keys=ON")
_SQLITE_WRITER: Final = (
    "PRAGMA auto_vacuum=INCREMENTAL",  # first: it can only be set while there is no table
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=4000",  # 16 MB: a message writes some 180 pages, and each checkpoint syncs twice
    "PRAGMA cache_size=-16384",  # 16 MiB: with SQLite's own 2 a publishing commit reads its indexes again and again
    "PRAGMA journal_size_limit=67108864",
)
_SQLITE_READER: Final = ("PRAGMA query_only=ON", "PRAGMA cache_size=-8192")
_SQLITE_MEASURER: Final = ("PRAGMA temp_store=FILE", "PRAGMA cache_size=-65536")
_POSTGRES_WRITER: Final = (
    "SET synchronous_commit = on",
    "SET lock_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",  # a stuck process must not hold the feed for ever
    "SET tcp_keepalives_idle = 5",  # how soon a dead machine's claims are free again
    "SET tcp_keepalives_interval = 2",
    "SET tcp_keepalives_count = 3",
)
_POSTGRES_READER: Final = ("SET statement_timeout = '60s'",)


def address(url: str, data: Path) -> URL:
    """The database behind the setting; empty means SQLite in the data folder."""
    try:
        made = make_url(url) if url else URL.create("sqlite", database=str(data / "ledger.db"))
    except ArgumentError:
        raise Misconfigured("GW-STORE-002", detail="the address cannot be read") from None
    if made.drivername in {"postgresql", "postgresql+psycopg"}:
        return made.set(drivername="postgresql+psycopg")
    if made.drivername != "sqlite" or not made.database:
        raise Misconfigured("GW-STORE-002", detail=f"{made.drivername} is neither sqlite nor postgresql")
    return made


def dialect(url: URL) -> Dialect:
    """Which of the two."""
    return "sqlite" if url.drivername == "sqlite" else "postgresql"


def _on_connect(engine: Engine, statements: tuple[str, ...]) -> None:
    def prepare(raw: Any, _record: object) -> None:
        if engine.dialect.name == "sqlite":
            raw.isolation_level = None  # we begin transactions ourselves
        else:
            raw.autocommit = True
        cursor = raw.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        if engine.dialect.name != "sqlite":
            raw.autocommit = False

    event.listen(engine, "connect", prepare)


def _on_begin(engine: Engine, statement: str) -> None:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)


def writer(url: URL) -> Engine:
    """The engine behind the one writer thread: one connection, made anew after a failure."""
    options: dict[str, Any] = {"poolclass": NullPool}
    if dialect(url) == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False, "cached_statements": 512}, **options)
        _on_connect(engine, (*_SQLITE_BOTH, *_SQLITE_WRITER))
        _on_begin(engine, "BEGIN IMMEDIATE")
    else:
        engine = create_engine(url, isolation_level="READ COMMITTED", **options)
        _on_connect(engine, _POSTGRES_WRITER)
    return engine


def reader(url: URL) -> Engine:
    """The engine behind the reading threads: each read sees one snapshot and can write nothing."""
    options: dict[str, Any] = {"poolclass": QueuePool, "pool_size": READERS, "max_overflow": 0}
    if dialect(url) == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        _on_connect(engine, (*_SQLITE_BOTH, *_SQLITE_READER))
        _on_begin(engine, "BEGIN")
    else:
        engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True, **options).execution_options(
            postgresql_readonly=True
        )
        _on_connect(engine, _POSTGRES_READER)
    return engine


def measurer(url: URL, seconds: float) -> Engine:
    """The engine for measures: reads that may take long, beside the others, sorting on disk where there is much."""
    options: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 2, "max_overflow": 0}
    if dialect(url) == "sqlite":
        engine = create_engine(url, connect_args={"check_same_thread": False}, **options)
        _on_connect(engine, (*_SQLITE_BOTH, *_SQLITE_READER, *_SQLITE_MEASURER))
        _on_begin(engine, "BEGIN")
    else:
        engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True, **options).execution_options(
            postgresql_readonly=True
        )
        _on_connect(engine, (f"SET statement_timeout = '{int(seconds)}s'", "SET jit = off"))
    return engine


def refuse_unsynced(connection: Connection) -> None:
    """A server that does not sync cannot be the truth."""
    if connection.exec_driver_sql("SHOW fsync").scalar_one() != "on":
        raise Misconfigured("GW-STORE-002", detail="the PostgreSQL server runs with fsync=off")


def upsert(connection: Connection, table: Table) -> sqlite.Insert:
    """`INSERT … ON CONFLICT` in the words of this database; both dialects have the same methods."""
    if connection.dialect.name == "postgresql":
        return cast("sqlite.Insert", postgresql.insert(table))
    return sqlite.insert(table)
