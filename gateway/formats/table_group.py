"""Rows that belong together: of one sheet or of several, joined by the values of key columns.

A group is a `Source` like a table: a column gives the values of all its rows, `Sheet!column` those of one sheet's,
`*` and `Sheet!*` are its rows. Rows come in the order of the input, wherever they stand. The whole table is held in
memory while it is grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from gateway.errors import TooLarge
from gateway.formats.source import Datum
from gateway.formats.table import Row, Table, TablePath
from gateway.formats.text import fold
from gateway.message import Place

MAX_ROWS: Final = 200_000


class RowGroup:
    """The rows of one key, by sheet. Its leaves are numbered anew from 0."""

    notation: Final = "table"
    first: Final = 0

    def __init__(self, rows: Sequence[Row], sheets: Sequence[str]) -> None:
        self._sheets = tuple(sheets)  # folded; the first is meant where a path names none
        self.rows: list[Row] = []
        self.size = 0
        for row in rows:
            self.rows.append(row.moved(self.size))
            self.size += len(row.cells)

    @property
    def here(self) -> Place:
        return self.rows[0].here

    def _named(self, path: TablePath) -> Iterator[Row]:
        for row in self.rows:
            sheet = row.heading.folded
            if path.sheet == sheet or (not path.sheet and (sheet == self._sheets[0] or not path.rows)):
                yield row

    def get(self, path: TablePath) -> Sequence[Datum]:
        return [datum for row in self._named(path) for datum in row.get(path)]

    def each(self, path: TablePath) -> Sequence[Row]:
        return [row for row in self._named(path) if path.rows or row.get(path)]

    def leaves(self, seen: bytearray | None = None) -> Iterator[Datum]:
        for row in self.rows:
            yield from row.leaves(None if seen is None else seen[row.first : row.first + row.size])

    def repeats(self, seen: bytearray) -> Iterator[tuple[Datum, Datum]]:
        """What nobody read because another row, which was read, says the same under the same column name."""
        told: dict[tuple[str, object], Datum] = {}
        for row in self.rows:
            for datum in row.leaves():
                if seen[datum.leaf]:
                    told.setdefault((fold(row.heading.label(datum.key)), datum.value), datum)
        for datum in self.leaves(seen):
            name = fold(datum.origin.heading.label(datum.key))  # type: ignore[attr-defined]
            if (name, datum.value) in told:
                yield datum, told[name, datum.value]


def grouped(table: Table, keys: Callable[[Row], Sequence[str]]) -> Iterable[RowGroup]:
    """The groups in the order of their first rows, by the values that `keys` gives for a row.

    A row with an empty value is a group of its own. Raises `TooLarge` past 200,000 rows.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    sheets = [fold(sheet.name) for sheet in table.sheets]
    for count, row in enumerate(table.rows()):
        if count >= MAX_ROWS:
            raise TooLarge("GW-CORE-004", what="rows", actual="more", limit=str(MAX_ROWS))
        if all(cell == "" for cell in row.cells):
            continue
        values = keys(row)
        alone = () if all(values) else (row.heading.sheet, str(row.number))
        found.setdefault((*values, *alone), []).append(row)
    return (RowGroup(rows, sheets) for rows in found.values())
