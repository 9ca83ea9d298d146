"""Running measures: one SELECT each, over the tables of views, on a connection that can do nothing else.

A statement is first prepared on an empty database of its own, where an authorizer says what it may touch: the tables
of views, calendars and registries, a list of functions, nothing that writes. What passed runs on SQLite under the
same authorizer with `query_only`, and on PostgreSQL in a read-only transaction.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, create_engine, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json
from gateway.formats.views import Answered, KeptFinding, Statement, Views
from gateway.store import engine, schema, view_tables
from gateway.store.asking import Asker
from gateway.store.group import Group
from gateway.store.writer import Writer

T = TypeVar("T")

SECONDS: Final = 900.0
"""How long one statement may run."""
MOST: Final = 500_000
"""Rows that one statement may answer; a report that is longer is not one."""
THREADS: Final = 2

_FUNCTIONS: Final = frozenset(
    {
        "abs", "avg", "coalesce", "count", "cume_dist", "dense_rank", "first_value", "lag", "last_value", "lead",
        "length", "like", "lower", "ltrim", "max", "min", "nth_value", "ntile", "nullif", "percent_rank", "rank",
        "replace", "round", "row_number", "rtrim", "substr", "sum", "trim", "upper",
    }
)  # fmt: skip
"""What a measure may call; each means the same on both databases."""

_BEGINS: Final = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_OPAQUE: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_PARAMETER: Final = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")
_READABLE: Final = re.compile(r"(?:v_|calendar_day_)\w+")


def bare(sql: str) -> str:
    """The statement without its strings and comments."""
    return _OPAQUE.sub(" ", sql)


def parameters_of(sql: str) -> frozenset[str]:
    """The names that are bound in it."""
    return frozenset(_PARAMETER.findall(bare(sql)))


class _Fence:
    """SQLite's authorizer (sqlite.org, sqlite3_set_authorizer): it remembers the first thing that it refused."""

    def __init__(self) -> None:
        self.refused = ""

    def __call__(
        self, action: int, first: str | None, second: str | None, _base: str | None, inside: str | None
    ) -> int:
        if self._allowed(action, first or "", second or "", inside or ""):
            return sqlite3.SQLITE_OK
        self.refused = self.refused or f"{first or second or action}"
        return sqlite3.SQLITE_DENY

    @staticmethod
    def _allowed(action: int, first: str, second: str, inside: str) -> bool:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return True
        if action == sqlite3.SQLITE_FUNCTION:
            return second.lower() in _FUNCTIONS or inside in view_tables.LEDGER_VIEWS
        if action == sqlite3.SQLITE_READ:
            own = _READABLE.fullmatch(first) is not None or inside in view_tables.LEDGER_VIEWS
            return own or not _is_table(first)
        return False


def _is_table(name: str) -> bool:
    return name in schema.metadata.tables or name.startswith(("sqlite_", "pragma_"))


class Checking:
    """Statements prepared on an empty database with the tables of these views; nothing else is needed."""

    def __init__(self, views: Views) -> None:
        self._views, self._made = views, threading.Lock()
        self._empty: _Empty | None = None
        self._passed: set[str] = set()

    async def check(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of its result; `Misconfigured` GW-MEASURE-003 for what is no reading SELECT over the views."""
        return await asyncio.to_thread(self._check, statement, parameters)

    def _check(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        with self._made:
            self._empty = self._empty or _Empty(self._views)
            columns = self._empty.columns(statement, parameters)
            self._passed.add(statement.sql)
            return columns

    def passed(self, statement: Statement) -> bool:
        """Whether it was looked at and found good."""
        return statement.sql in self._passed


class _Empty:
    """The empty database."""

    def __init__(self, views: Views) -> None:
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with self._engine.begin() as connection:
            schema.metadata.create_all(connection)
            view_tables.fixed(connection)
            for each in views.tables:
                view_tables.of_view(each).create(connection)
            for registry in views.registries:
                view_tables.of_registry(registry).create(connection)
            for filled in views.filled:
                view_tables.of_filled(filled).create(connection)

    def columns(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of its result. Raises `Misconfigured` GW-MEASURE-003 for what it must not or cannot do."""
        if not _BEGINS.match(statement.sql) or ";" in bare(statement.sql).rstrip().rstrip(";"):
            raise Misconfigured("GW-MEASURE-003", file=statement.name, detail="sql: one SELECT is needed")
        unbound = sorted(parameters_of(statement.sql) - set(parameters))
        if unbound:
            raise Misconfigured("GW-MEASURE-003", file=statement.name, detail=f"sql: :{unbound[0]} is no parameter")
        with self._engine.connect() as connection, fenced(connection) as fence:
            try:
                found = connection.execute(text(statement.sql.rstrip().rstrip(";")), dict(parameters))
                names = tuple(found.keys())
                found.close()
                return names
            except SQLAlchemyError as error:
                why = f"sql: {fence.refused} is not for measures" if fence.refused else f"sql: {_reason(error)}"
                raise Misconfigured("GW-MEASURE-003", file=statement.name, detail=why) from None


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0][:200]


@contextmanager
def fenced(connection: Connection) -> Iterator[_Fence]:
    """Between these two nothing but reading views goes through (SQLite)."""
    fence = _Fence()
    raw: Any = connection.connection.dbapi_connection
    raw.set_authorizer(fence)
    try:
        yield fence
    finally:
        raw.set_authorizer(None)


def _number(value: Any) -> Any:
    """PostgreSQL's numeric as SQLite has it; floats without the noise that depends on the order of adding."""
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    return round(value, 9) if isinstance(value, float) else value


class Measuring:
    """What room measure asks of the ledger (`gateway.ports.MeasureStore`)."""

    def __init__(self, url: URL, writer: Writer, ask: Asker) -> None:
        self._writer, self._ask = writer, ask
        self._embedded = engine.dialect(url) == "sqlite"
        self._engine = engine.measurer(url, SECONDS)
        self._threads = ThreadPoolExecutor(THREADS, "ledger-measure")
        self._checking: Checking | None = None

    def use(self, views: Views) -> None:
        """Check statements against these tables from now on."""
        self._checking = Checking(views)

    def stop(self) -> None:
        """Close, after what runs has ended."""
        self._threads.shutdown()
        self._engine.dispose()

    async def check(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of its result; `Misconfigured` GW-MEASURE-003 for what is no reading SELECT over the views."""
        if self._checking is None:
            raise Misconfigured("GW-MEASURE-003", file=statement.name, detail="there are no views")
        return await self._checking.check(statement, parameters)

    async def answer(self, statement: Statement, parameters: Mapping[str, Any]) -> Answered:
        """Run it on one snapshot. Raises `GatewayError` GW-MEASURE-006 where it fails, takes or answers too much."""
        if self._checking is None or not self._checking.passed(statement):
            await self.check(statement, parameters)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._answer, statement, dict(parameters))

    def _answer(self, statement: Statement, parameters: Mapping[str, Any]) -> Answered:
        sql = text(statement.sql.rstrip().rstrip(";"))
        try:
            with self._engine.connect() as connection, connection.begin():
                feed = connection.execute(select(schema.feed.c.number)).scalar_one()
                with self._bounded(connection):
                    found = connection.execute(sql, {name: parameters[name] for name in sql._bindparams})
                    rows = found.fetchmany(MOST + 1)
                    names = tuple(found.keys())
        except OperationalError as error:
            raise GatewayError("GW-MEASURE-006", measure=statement.name, detail=type(error.orig).__name__) from None
        except DBAPIError as error:  # the text of the database's error names columns, never values
            raise GatewayError("GW-MEASURE-006", measure=statement.name, detail=type(error.orig).__name__) from None
        if len(rows) > MOST:
            raise GatewayError("GW-MEASURE-006", measure=statement.name, detail=f"more than {MOST} lines")
        return Answered(columns=names, rows=[tuple(_number(cell) for cell in row) for row in rows], feed=feed)

    @contextmanager
    def _bounded(self, connection: Connection) -> Iterator[None]:
        if not self._embedded:
            yield
            return
        raw: Any = connection.connection.dbapi_connection
        ends = time.monotonic() + SECONDS
        raw.set_progress_handler(lambda: int(time.monotonic() > ends), 1_000_000)
        try:
            with fenced(connection):
                yield
        finally:
            raw.set_progress_handler(None, 0)

    async def _read(self, question: Callable[[Connection], T]) -> T:
        """Not behind a statement that runs for minutes: operators and metrics ask here."""
        return await self._ask.alone(lambda reading: question(reading.connection))

    # --- findings ----------------------------------------

    async def keep_findings(
        self, programme: str, measure: str, window: tuple[int, int], found: Sequence[KeptFinding], day: int
    ) -> Sequence[KeptFinding]:
        """Keep what was found; what the window held and is not found any more is cleared. Those that are new."""
        return await self._writer.submit(lambda group: _keep(group, programme, measure, window, found, day))

    async def findings(
        self, programme: str, measure: str = "", window: tuple[int, int] | None = None, limit: int = 10_000
    ) -> Sequence[KeptFinding]:
        """Kept findings that were not cleared, by due day; of those found from the window's first to its last day."""
        table = view_tables.findings
        asked = select(table).where(table.c.programme == programme, table.c.cleared_day.is_(None))
        if measure:
            asked = asked.where(table.c.measure == measure)
        if window is not None:
            asked = asked.where(table.c.found_day.between(*window))
        asked = asked.order_by(table.c.due_day, table.c.id).limit(limit)
        return await self._read(lambda connection: [_finding(row) for row in connection.execute(asked).mappings()])

    async def finding_counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """(programme, measure) -> how many findings are open, and the due day of the oldest."""
        return await self._read(_counts)

    async def view_faults(self) -> Mapping[str, int]:
        """View table -> how many resources it can make no rows of."""
        return await self._read(_faults)

    # --- marks ----------------------------------------

    async def mark(self, programme: str, name: str) -> int | None:
        """The last day that was looked at under this name."""
        table = view_tables.marks
        asked = select(table.c.day).where(table.c.programme == programme, table.c.name == name)
        return await self._read(lambda connection: connection.execute(asked).scalar())

    async def set_mark(self, programme: str, name: str, day: int) -> None:
        """Remember it; a mark never goes back."""
        await self._writer.submit(lambda group: _mark(group, programme, name, day))


def _keep(
    group: Group, programme: str, measure: str, window: tuple[int, int], found: Sequence[KeptFinding], day: int
) -> Sequence[KeptFinding]:
    table, connection = view_tables.findings, group.connection
    mine = (table.c.programme == programme, table.c.measure == measure, table.c.due_day.between(*window))
    known = {
        row.id: row.cleared_day for row in connection.execute(select(table.c.id, table.c.cleared_day).where(*mine))
    }
    new = list({each.id: each for each in found if each.id not in known}.values())
    present = {each.id for each in found}
    if new:
        connection.execute(insert(table), [_row(each) for each in new])
    for id, cleared in known.items():
        if (id in present) is not (cleared is None):
            value = None if id in present else day
            connection.execute(update(table).where(table.c.id == id).values(cleared_day=value))
    return new


def _row(of: KeptFinding) -> dict[str, Any]:
    names = ("id", "programme", "measure", "code", "subject", "place", "due_day", "found_day", "cleared_day")
    return {name: getattr(of, name) for name in names} | {"data": json.write(of.data).decode()}


def _finding(row: Mapping[Any, Any]) -> KeptFinding:
    return KeptFinding(**{**row, "data": json.read(row["data"].encode())})


def _counts(connection: Connection) -> Mapping[tuple[str, str], tuple[int, int]]:
    table = view_tables.findings
    asked = select(table.c.programme, table.c.measure, func.count(), func.min(table.c.due_day))
    asked = asked.where(table.c.cleared_day.is_(None)).group_by(table.c.programme, table.c.measure)
    return {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(asked)}


def _faults(connection: Connection) -> Mapping[str, int]:
    table = view_tables.faults
    asked = select(table.c.name, func.count()).group_by(table.c.name)
    return {row[0]: row[1] for row in connection.execute(asked)}


def _mark(group: Group, programme: str, name: str, day: int) -> None:
    table = view_tables.marks
    statement = engine.upsert(group.connection, table).values(programme=programme, name=name, day=day)
    newer = table.c.day < statement.excluded.day
    group.connection.execute(
        statement.on_conflict_do_update(
            index_elements=["programme", "name"], set_={"day": statement.excluded.day}, where=newer
        )
    )
