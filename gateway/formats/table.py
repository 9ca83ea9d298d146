"""Tables: CSV, TSV and XLSX as one kind of source. Sheets have rows, rows have cells under column names.

Paths:

    classe             the column of this row; asked of a whole table, the column of every row
    #3                 the third column, whatever its name
    Visite!classe      the column in every row of the sheet Visite
    *   Visite!*       for `each`: the rows of the first sheet, of the sheet Visite
    'a!b'!'#c'         names that contain ! or begin with # stand in single quotes

Column and sheet names are compared after `text.fold`: a keyboard's ye and kaf, case and spaces make no difference.
Rows are counted as a spreadsheet shows them, from 1, with the heading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from gateway.errors import Misconfigured, Unreadable, finding
from gateway.formats.source import Datum, Scalar
from gateway.formats.text import fold
from gateway.message import Finding, Place

Kind = Literal["text", "number", "boolean", "date", "time", "duration", "error", "empty"]


class Cell(msgspec.Struct, frozen=True, gc=False):
    """One cell of a workbook. `value` is empty for an empty cell; dates and times are ISO 8601 text."""

    value: Scalar
    kind: Kind = "text"


class TablePath(msgspec.Struct, frozen=True):
    """`column` is folded; empty with `position` 0 means whole rows. `sheet` is folded, empty for "this one"."""

    text: str
    sheet: str = ""
    column: str = ""
    position: int = 0

    @property
    def rows(self) -> bool:
        return not self.column and not self.position


_PATH: Final = re.compile(r"(?:('(?:[^']|'')+'|[^'!]+)!)?('(?:[^']|'')+'|[^'!]+)?")


def _name(text: str | None) -> str:
    if text and text[0] == "'":
        return text[1:-1].replace("''", "'")
    return (text or "").strip()


@lru_cache(maxsize=8192)
def compile(path: str) -> TablePath:
    """The path, or `Misconfigured` (GW-FMT-040) that quotes it."""
    found = _PATH.fullmatch(path.strip())
    if found is None or not path.strip():
        raise Misconfigured("GW-FMT-040", path=path, notation="a table")
    sheet, column = fold(_name(found[1])), found[2] or ""
    if column in ("", "*"):
        return TablePath(path, sheet)
    if column[0] == "#":
        if not column[1:].isascii() or not column[1:].isdigit() or int(column[1:]) == 0:
            raise Misconfigured("GW-FMT-040", path=path, notation="a table")
        return TablePath(path, sheet, position=int(column[1:]))
    return TablePath(path, sheet, fold(_name(column)))


class Heading:
    """The column names of one sheet. `columns` maps a folded name to its index from 0."""

    __slots__ = ("_found", "columns", "folded", "labels", "names", "row", "sheet")

    def __init__(self, sheet: str, row: int, names: Sequence[str]) -> None:
        self.sheet, self.row, self.folded = sheet, row, fold(sheet)
        self.names = tuple(name.strip() for name in names)
        self.labels = tuple(name or f"#{index}" for index, name in enumerate(self.names, 1))
        self.columns: dict[str, int] = {}
        self._found: dict[str, int] = {}
        for index, name in enumerate(self.names):
            key = fold(name)
            if key and key in self.columns:
                place = Place(notation="table", path=_at(sheet, row, name))
                raise Unreadable("GW-FMT-052", place, detail=name[:60])
            if key:
                self.columns[key] = index
        if not self.columns:
            raise Unreadable("GW-FMT-052", Place(notation="table", path=_at(sheet, row, "")), detail="-")

    def index(self, path: TablePath) -> int:
        """The index of the column, -1 where the sheet has none of that name."""
        return path.position - 1 if path.position else self.columns.get(path.column, -1)

    def cell(self, path: TablePath) -> int:
        """The index of the column that the path asks of a row, -1 where it asks for none of this sheet."""
        index = self._found.get(path.text)
        if index is None:
            elsewhere = path.rows or (path.sheet and path.sheet != self.folded)
            index = self._found[path.text] = -1 if elsewhere else self.index(path)
        return index

    def label(self, index: int) -> str:
        """How the column is called; columns without a name are called by their position."""
        return self.labels[index] if index < len(self.labels) else f"#{index + 1}"


def _at(sheet: str, row: int, column: str) -> str:
    path = f"sheet {sheet} row {row}" if sheet else f"row {row}"
    return f"{path} column {column}" if column else path


class Row:
    """One row. `number` counts from 1 with the heading; `findings` are about its form, for example a lost quote."""

    __slots__ = ("cells", "findings", "first", "heading", "kinds", "number")
    notation: Final = "table"

    def __init__(
        self,
        heading: Heading,
        number: int,
        first: int,
        cells: Sequence[Scalar],
        kinds: Mapping[int, Kind] | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        self.heading, self.number, self.first, self.cells = heading, number, first, cells
        self.kinds = kinds or {}
        self.findings = findings

    def moved(self, first: int) -> Row:
        """The same row with its leaves numbered from `first`."""
        return type(self)(self.heading, self.number, first, self.cells, self.kinds, self.findings)

    @property
    def size(self) -> int:
        return len(self.cells)

    @property
    def here(self) -> Place:
        return self.place_of(-1)

    def place_of(self, key: int) -> Place:
        column = self.heading.label(key) if key >= 0 else ""
        return Place(notation="table", path=_at(self.heading.sheet, self.number, column))

    def kind(self, index: int) -> Kind:
        """What the workbook says the cell is; everything in a CSV is text."""
        return self.kinds.get(index, "text" if self.cells[index] != "" else "empty")

    def get(self, path: TablePath) -> Sequence[Datum]:
        index, cells = self.heading.cell(path), self.cells
        if 0 <= index < len(cells):
            value = cells[index]
            return (Datum(value, self.first + index, self, index),) if value != "" else ()
        if path.rows and (not path.sheet or path.sheet == self.heading.folded):
            return list(self.leaves())
        return ()

    def each(self, path: TablePath) -> Sequence[Row]:
        if path.sheet and path.sheet != self.heading.folded:
            return ()
        return (self,) if path.rows or self.get(path) else ()

    def leaves(self, seen: bytearray | None = None) -> Iterator[Datum]:
        for index, value in enumerate(self.cells):
            if value != "" and (seen is None or not seen[index]):
                yield Datum(value, self.first + index, self, index)


class Sheet:
    """One sheet. Iterating reads rows from the input each time, holding one at a time."""

    __slots__ = ("_rows", "first", "heading", "name")

    def __init__(self, name: str, heading: Heading, first: int, rows: Callable[[], Iterable[Row]]) -> None:
        self.name, self.heading, self.first, self._rows = name, heading, first, rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())


class Table:
    """A CSV, a TSV or a workbook as a whole. As a `Source` it keeps its rows; to stream, iterate over `rows()`.

    `encoding` and `delimiter` tell what a CSV was read as; `findings` are about the table, rows have their own.
    """

    notation: Final = "table"
    first: Final = 0

    def __init__(
        self, sheets: Sequence[Sheet], encoding: str = "", delimiter: str = "", findings: tuple[Finding, ...] = ()
    ) -> None:
        self.sheets = tuple(sheets)
        self.encoding, self.delimiter, self.findings = encoding, delimiter, findings
        self._kept: list[list[Row]] | None = None

    def rows(self) -> Iterator[Row]:
        """Every row of every sheet, one at a time."""
        for sheet in self.sheets:
            yield from sheet

    def _all(self) -> list[list[Row]]:
        if self._kept is None:
            self._kept = [list(sheet) for sheet in self.sheets]
        return self._kept

    @property
    def size(self) -> int:
        last = next((rows[-1] for rows in reversed(self._all()) if rows), None)
        return last.first + last.size if last else 0

    @property
    def here(self) -> Place:
        return Place(notation="table", path=_at(self.sheets[0].name if self.sheets else "", 1, ""))

    def _named(self, path: TablePath) -> Iterator[list[Row]]:
        for number, (sheet, rows) in enumerate(zip(self.sheets, self._all(), strict=True)):
            if path.sheet == fold(sheet.name) or (not path.sheet and (number == 0 or not path.rows)):
                yield rows

    def get(self, path: TablePath) -> Sequence[Datum]:
        return [
            datum
            for rows in self._named(path)
            for row in rows
            for datum in row.get(TablePath(path.text, "", path.column, path.position))
        ]

    def each(self, path: TablePath) -> Sequence[Row]:
        return [row for rows in self._named(path) for row in rows if path.rows or row.get(path)]

    def leaves(self, seen: bytearray | None = None) -> Iterator[Datum]:
        for rows in self._all():
            for row in rows:
                yield from row.leaves(None if seen is None else seen[row.first : row.first + row.size])


def wrong_width(heading: Heading, number: int, actual: int) -> Finding:
    """The finding for a row with more cells than the heading names, or fewer."""
    place = Place(notation="table", path=_at(heading.sheet, number, ""))
    return finding("GW-FMT-050", place, actual=str(actual), expected=str(len(heading.names)))
