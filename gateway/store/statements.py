"""The writer's statements: built with SQLAlchemy Core, compiled once, then given straight to the driver.

A commit is a handful of small statements. Building, hashing and wrapping each of them anew costs five times what
the database itself takes, so the text and the conversion of parameters are kept per shape. Errors of the driver are
raised as SQLAlchemy raises them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, bindparam, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

Columns = Mapping[str, Any]


TOGETHER: Final = 64
"""Rows in one insert, at most: 64 rows of 20 columns stay well below the parameters that SQLite takes."""


class Prepared:
    """The text of one statement, and how its parameters become what the driver takes."""

    def __init__(self, connection: Connection, statement: Any, keys: Iterable[str] | None = None) -> None:
        dialect = connection.dialect
        compiled = statement.compile(dialect=dialect, column_keys=None if keys is None else list(keys))
        assert isinstance(compiled, SQLCompiler)
        self.text = compiled.string
        self.names: Sequence[str] | None = compiled.positiontup if compiled.positional else None
        self.fixed = {key: value for key, value in compiled.params.items() if value is not None}
        found = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        self.processors = {name: each for name, each in found.items() if each is not None}
        self.taken = tuple(compiled.binds)
        self.columns: tuple[tuple[str, Any], ...] = ()
        if isinstance(statement, Select):
            self.columns = tuple(
                (str(column.key), column.type.dialect_impl(dialect).result_processor(dialect, None))
                for column in statement.selected_columns
            )

    def parameters(self, values: Columns) -> Any:
        """A tuple for drivers that count, a dict for drivers that name."""
        row = {name: values[name] if name in values else self.fixed.get(name) for name in self.taken}
        for name, process in self.processors.items():
            row[name] = process(row[name])
        return row if self.names is None else [row[name] for name in self.names]

    def read(self, row: Sequence[Any]) -> dict[str, Any]:
        """A row of the driver by column key."""
        pairs = zip(self.columns, row, strict=True)
        return {name: value if process is None else process(value) for (name, process), value in pairs}


class Statements:
    """What was prepared for one database. Harmless to share: two threads may make the same one."""

    def __init__(self) -> None:
        self._prepared: dict[Hashable, Prepared] = {}
        self._repeated: dict[tuple[Hashable, int], str] = {}

    def repeated(self, key: Hashable, prepared: Prepared, times: int) -> str:
        """The text of an insert of one row, for so many rows."""
        text = self._repeated.get((key, times))
        if text is None:
            head, values, row = prepared.text.rpartition(" VALUES ")
            text = self._repeated[key, times] = head + values + ", ".join([row] * times)
        return text

    def get(
        self, connection: Connection, key: Hashable, build: Callable[[], Any], names: Iterable[str] | None
    ) -> Prepared:
        """The prepared statement under the key, made when it is asked for the first time."""
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = Prepared(connection, build(), names)
        return found


class Hand:
    """The driver's cursor on an open transaction."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection, self._statements = connection, statements
        self._errors: Final[Any] = connection.dialect.loaded_dbapi
        self._cursor: Final[Any] = connection.connection.cursor()

    def plain(self, text: str) -> None:
        """A statement without parameters."""
        self._execute(text, ())

    def insert(self, table: Table, rows: Sequence[Columns]) -> None:
        """Rows of one shape."""
        names = tuple(rows[0])
        key = ("insert", table.name, names)
        prepared = self._statements.get(self.connection, key, lambda: insert(table), names)
        if len(rows) == 1:
            self._execute(prepared.text, prepared.parameters(rows[0]))
        else:
            self._all(key, prepared, [prepared.parameters(row) for row in rows])

    def insert_all(self, table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Many rows whose cells stand in the order of `names` and are what the driver takes as they are."""
        key = ("insert", table.name, tuple(names))
        prepared = self._statements.get(self.connection, key, lambda: insert(table), names)
        if prepared.names is None or prepared.processors or tuple(prepared.names) != tuple(names):
            rows = [prepared.parameters(dict(zip(names, row, strict=True))) for row in rows]
        self._all(key, prepared, rows)

    def update(self, table: Table, where: Columns, values: Columns) -> int:
        """Change the rows in which every column of `where` has that value; returns how many there were."""
        key = ("update", table.name, tuple(where), tuple(values))

        def build() -> Any:
            conditions = [table.c[name] == bindparam(f"is_{name}", type_=table.c[name].type) for name in where]
            return update(table).where(*conditions)

        prepared = self._statements.get(self.connection, key, build, tuple(values))
        self._execute(prepared.text, prepared.parameters({f"is_{name}": where[name] for name in where} | dict(values)))
        return int(self._cursor.rowcount)

    def run(self, key: str, build: Callable[[], Any], values: Columns, names: Iterable[str] | None = None) -> int:
        """Any other statement of one shape; returns how many rows it touched."""
        prepared = self._statements.get(self.connection, key, build, names)
        self._execute(prepared.text, prepared.parameters(values))
        return int(self._cursor.rowcount)

    def one(self, key: str, build: Callable[[], Any], values: Columns, names: Iterable[str] | None = None) -> Any:
        """Its first row as the driver gives it, or None."""
        self.run(key, build, values, names)
        found = self._cursor.fetchall()
        return found[0] if found else None

    def rows(self, question: Select[Any], values: Columns) -> list[dict[str, Any]]:
        """Every row by column key, in Python's types. The question must be a constant: it is kept."""
        prepared = self._statements.get(self.connection, question, lambda: question, None)
        self._execute(prepared.text, prepared.parameters(values))
        return [prepared.read(row) for row in self._cursor.fetchall()]

    def _execute(self, text: str, parameters: Any) -> None:
        try:
            self._cursor.execute(text, parameters)
        except self._errors.Error as error:
            raise self._wrapped(text, error) from None

    def _all(self, key: Hashable, prepared: Prepared, rows: Sequence[Any]) -> None:
        """Rows of one table in as few calls as possible.

        SQLite's driver gives the interpreter up and takes it back at every row of `executemany`, and each time another
        thread may keep it for milliseconds; several rows in one statement cost one such turn. Sizes are powers of two,
        so that there are few statements to prepare. PostgreSQL's driver sends `executemany` as one pipeline.
        """
        if prepared.names is None:
            self._many(prepared.text, rows)
            return
        first = 0
        while first < len(rows):
            size = min(TOGETHER, 1 << (len(rows) - first).bit_length() - 1)
            text = self._statements.repeated(key, prepared, size)
            self._execute(text, [cell for row in rows[first : first + size] for cell in row])
            first += size

    def _many(self, text: str, parameters: Sequence[Any]) -> None:
        try:
            self._cursor.executemany(text, parameters)
        except self._errors.Error as error:
            raise self._wrapped(text, error) from None

    def _wrapped(self, text: str, error: Exception) -> BaseException:
        """As SQLAlchemy wraps it, without the parameters: they may identify somebody."""
        return DBAPIError.instance(text, None, error, self._errors.Error, dialect=self.connection.dialect)
