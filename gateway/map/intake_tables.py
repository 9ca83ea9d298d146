"""Tables taken apart: a row an item, rows of one key an item, or the sheets of one workbook read by several mappings.

An intake without `sheets` reads the whole table, as before. Intakes with `sheets` share a workbook: each reads the
sheets that it names, in the order of the intakes. A CSV has no sheet's name; `tells` says which column tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gateway.errors import Refused, finding
from gateway.formats import media, table, table_many
from gateway.formats.source import Source
from gateway.formats.table import Heading, Row, Sheet, Table
from gateway.formats.table_group import grouped
from gateway.formats.text import fold
from gateway.map.functions import said
from gateway.map.mapping import CompiledMapping
from gateway.map.reading import Test
from gateway.map.run import Run
from gateway.message import Finding, Place, Submission
from gateway.programme import Intake


class Taker(NamedTuple):
    """One intake of a programme with its compiled mapping; `fits` judges JSON, XML and FHIR inputs."""

    intake: Intake
    mapping: CompiledMapping
    fits: Test | None = None
    split: Callable[[Run, Source], Sequence[Source]] | None = None


class Piece(NamedTuple):
    """One item before it is mapped. Without a mapping it is refused for its findings."""

    label: str
    mapping: CompiledMapping | None
    source: Source | None
    findings: tuple[Finding, ...] = ()


RunOf = Callable[[Source], Run]
"""A run over a part of the input, for what has to be read before there are items."""


def read(submission: Submission) -> Table:
    """The table of the submission, whatever clothes it came in. Raises `Unreadable` or `TooLarge`."""
    kind = submission.media_type.split(";")[0].strip().lower()
    return table_many.read(submission.body, kind, submission.charset or "")


def pieces(found: Table, takers: Sequence[Taker], run_of: RunOf) -> Iterator[Piece]:
    """The items of a table. Raises `Refused` where no intake can read it."""
    divided = [taker for taker in takers if taker.intake.sheets]
    whole = [taker for taker in takers if not taker.intake.sheets]
    named = _named(found, divided)
    if any(_own(named, taker) for taker in divided):
        yield from _by_sheets(named, divided, run_of)
    elif whole:
        yield from _whole(found, whole, run_of)
    else:
        wanted = ", ".join(dict.fromkeys(name for taker in divided for name in taker.intake.sheets))
        raise Refused("GW-MAP-026", found.here, sheets=wanted)


def is_table(submission: Submission) -> bool:
    """Whether the submission is a table, or JSON that is written like one."""
    kind = submission.media_type.split(";")[0].strip().lower()
    return media.FORMAT.get(kind) == "table" or kind == media.JSON


# --- one mapping for the whole table ----------------------------------------


def _whole(found: Table, takers: Sequence[Taker], run_of: RunOf) -> Iterator[Piece]:
    taker = _for_columns(found, takers)
    made = False
    for piece in _items(found, taker, run_of, found.findings):
        made = True
        yield piece
    if not made and not any(True for _ in found.rows()):
        raise Refused("GW-MAP-023", found.here)


def _for_columns(found: Table, takers: Sequence[Taker]) -> Taker:
    """The first intake whose column is there; its mapping's unconditional columns must all be there."""
    if not found.sheets:
        raise Refused("GW-MAP-023")
    heading = found.sheets[0].heading
    for taker in takers:
        if not taker.intake.when or heading.index(table.compile(taker.intake.when)) >= 0:
            _must_have(found, taker.mapping)
            return taker
    raise Refused("GW-MAP-015", found.here, columns=", ".join(taker.intake.when for taker in takers))


def _must_have(found: Table, mapping: CompiledMapping) -> None:
    missing = _missing(found, mapping)
    if missing:
        raise Refused("GW-MAP-015", found.here, columns=", ".join(missing))


def _missing(found: Table, mapping: CompiledMapping) -> list[str]:
    """Columns that must be there and are not: keys of groups in every sheet, what is required in one of them."""
    sheets = found.sheets if mapping.group else found.sheets[:1]
    keys = [key.text for key in mapping.group if any(sheet.heading.index(key) < 0 for sheet in sheets)]
    paths = [table.compile(each.path) for each in mapping.required if each.when is None and each.parts is None]
    return keys + [path.text for path in paths if all(sheet.heading.index(path) < 0 for sheet in sheets)]


def _items(found: Table, taker: Taker, run_of: RunOf, noted: tuple[Finding, ...]) -> Iterator[Piece]:
    if taker.mapping.group:
        for group in grouped(found, _keys(taker.mapping, run_of)):
            ofrows = tuple(each for row in group.rows for each in row.findings)
            yield Piece(group.here.path, taker.mapping, group, (*noted, *ofrows))
            noted = ()
        return
    for row in found.rows():
        if all(cell == "" for cell in row.cells):
            continue
        yield Piece(row.here.path, taker.mapping, row, (*noted, *row.findings))
        noted = ()


def _keys(mapping: CompiledMapping, run_of: RunOf) -> Callable[[Row], Sequence[str]]:
    """The values that join a row with others; empty where the row has none, or one that cannot be read."""

    def of(row: Row) -> Sequence[str]:
        values = []
        for path, read_key in zip(mapping.group, mapping.group_reads, strict=True):
            if read_key is None:
                data = row.get(path)
                values.append(fold(str(data[0].value)) if data else "")
            else:
                got = read_key(run_of(row), row)
                values.append(fold(said(got)) if got is not None else "")
        return values

    return of


# --- several mappings, each with its sheets ----------------------------------------


def _named(found: Table, takers: Sequence[Taker]) -> Table:
    """A single table without a name gets that of the sheet that its columns tell."""
    if len(found.sheets) != 1 or found.sheets[0].name:
        return found
    sheet = found.sheets[0]
    for taker in takers:
        for column, name in taker.intake.tells.items():
            if sheet.heading.index(table.compile(column)) >= 0:
                heading = Heading(name, sheet.heading.row, sheet.heading.names)

                def rows(heading: Heading = heading) -> Iterator[Row]:
                    for row in sheet:
                        yield Row(heading, row.number, row.first, row.cells, row.kinds, row.findings)

                return Table([Sheet(name, heading, sheet.first, rows)], found.encoding, found.delimiter, found.findings)
    return found


def _own(found: Table, taker: Taker) -> list[Sheet]:
    wanted = {fold(name) for name in taker.intake.sheets}
    return [sheet for sheet in found.sheets if fold(sheet.name) in wanted]


def _by_sheets(found: Table, takers: Sequence[Taker], run_of: RunOf) -> Iterator[Piece]:
    parts = [(taker, Table(own)) for taker in takers if (own := _own(found, taker))]
    for taker, part in parts:
        _must_have(part, taker.mapping)
    read_by = {fold(sheet.name) for _, part in parts for sheet in part.sheets}
    stray = tuple(_not_read(sheet) for sheet in found.sheets if fold(sheet.name) not in read_by)
    noted = (*found.findings, *stray)
    made = False
    for taker, part in parts:
        for piece in _items(part, taker, run_of, noted):
            made, noted = True, ()
            yield piece
    if not made:
        raise Refused("GW-MAP-023", found.here)


def _not_read(sheet: Sheet) -> Finding:
    return finding("GW-MAP-027", Place(notation="table", path=f"sheet {sheet.name} row 1"), sheet=sheet.name)
