"""Tables made from what was published, as values: which there are, what a resource puts into them, what one may ask.

Between the room that compiles views and measures (`measure`) and the store that keeps the tables and runs the
statements: neither knows the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

from gateway.message import RegistryEntry, StoredResource
from gateway.value import Value

ColumnKind = Literal["text", "integer", "number"]
Row = tuple[Any, ...]

OPEN_DAY = 1_000_000
"""The day of an end that is open; an open beginning is the same, negative."""


class TableColumn(Value, frozen=True, kw_only=True):
    """One column of a table: how it is kept on both databases."""

    name: str
    kind: ColumnKind = "text"


class ViewTable(Value, frozen=True, kw_only=True):
    """The table of a view: rows of the current versions of the resources of one type and programme.

    `columns` are the view's own; the store adds `resource_id`, `row_no`, `sender`, `document`, `published_at` and
    `received_at`. Another `digest` makes the store build the table anew.
    """

    name: str
    programme: str
    resource: str
    columns: tuple[TableColumn, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    digest: str


class RegistryTable(Value, frozen=True, kw_only=True):
    """The table of one kind of reference data of one programme; empty names stand for all of them."""

    name: str
    programme: str
    kind: str
    columns: tuple[TableColumn, ...]
    digest: str


class FilledTable(Value, frozen=True, kw_only=True):
    """A table whose rows come from files or arithmetic. `rows` is asked when it is filled."""

    name: str
    columns: tuple[TableColumn, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    digest: str
    rows: Callable[[], Iterable[Row]]


class Made(Value, frozen=True, kw_only=True):
    """The rows of one resource by table, and the tables whose view could make none of it, with the code of why."""

    rows: Mapping[str, Sequence[Row]]
    faults: Mapping[str, str] = {}


class Views(Protocol):
    """Every table of an installation. Pure: the same resource makes the same rows; `digest` is over all of them."""

    digest: str
    tables: Sequence[ViewTable]
    registries: Sequence[RegistryTable]
    filled: Sequence[FilledTable]

    def made(self, resource: StoredResource) -> Made | None:
        """Its rows in each table that wants its type; None where no table does."""
        ...

    def entered(self, entry: RegistryEntry) -> Mapping[str, Row]:
        """Its row in each registry table that wants its kind."""
        ...


class Statement(Value, frozen=True, kw_only=True):
    """A measure's SELECT: its name for errors, its text with `:name` parameters, and the programme it is asked for."""

    name: str
    programme: str
    sql: str


class Answered(Value, frozen=True, kw_only=True):
    """What a statement found, and the feed number that it rests on."""

    columns: tuple[str, ...]
    rows: Sequence[Row]
    feed: int


class KeptFinding(Value, frozen=True, kw_only=True):
    """A finding of a measure. Days are days since 1970-01-01; `cleared_day` is set when it is not so any more.

    `data` are the further columns of the measure: they fill its texts and may identify somebody.
    """

    id: str
    programme: str
    measure: str
    code: str
    subject: str
    place: str = ""
    due_day: int
    found_day: int
    cleared_day: int | None = None
    data: Mapping[str, Any] = {}
