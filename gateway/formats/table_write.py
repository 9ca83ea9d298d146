"""Tables back to the sender: the workbook that came in, with faulty cells marked and commented in their language."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import PatternFill
from openpyxl.utils.exceptions import InvalidFileException

from gateway.errors import Unreadable, mend, text
from gateway.formats import media, table_many, table_xlsx
from gateway.formats.table import Table
from gateway.formats.text import fold
from gateway.message import Finding, Language

_COLOURS: Final = {"error": "FFFFC7CE", "warning": "FFFFEB9C", "information": "FFDDEBF7"}
_RANK: Final = {"error": 2, "warning": 1, "information": 0}
_PLACE: Final = re.compile(r"(?:sheet (.+) )?row (\d+)(?: column (.+))?", re.DOTALL)
_AUTHOR: Final = "gateway"
_WHOLE: Final = 20_000
_MOST_MARKS: Final = 20_000
_FORMULA: Final = ("=", "+", "-", "@", "\t")
_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

Cell = tuple[str, int, str]  # (sheet, row, column name)


def returned(body: bytes, media_type: str, charset: str, findings: Sequence[Finding], language: Language) -> bytes:
    """What a sender sent (CSV, TSV, XLSX) as a marked workbook. Raises `Unreadable` or `TooLarge` like the readers.

    A table that cannot be read at all becomes a workbook with its findings in the first cell.
    """
    try:
        if media_type == media.XLSX:
            return marked_workbook(body, table_xlsx.read(body), findings, language)
        return workbook_of(table_many.read(body, media_type, charset), findings, language)
    except Unreadable as error:
        return _only_findings(findings or [error.finding()], language)


def _only_findings(findings: Sequence[Finding], language: Language) -> bytes:
    book = openpyxl.Workbook()
    _mark(book.active.cell(row=1, column=1), findings, language)
    return _saved(book)


def marked_workbook(body: bytes, table: Table, findings: Sequence[Finding], language: Language) -> bytes:
    """The sender's XLSX with every finding as a comment on its cell, and the cell coloured by severity.

    A finding on a row stands at its first cell. Nothing else of the workbook is changed; formulas stay formulas.
    """
    try:
        book = openpyxl.load_workbook(io.BytesIO(body))
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise Unreadable("GW-CORE-003", format="XLSX", detail=type(error).__name__) from None
    for (name, row, column), found in _by_cell(findings).items():
        sheet = book[name] if name in book.sheetnames else book.worksheets[0]
        _mark(sheet.cell(row=row, column=_index(table, name, column) + 1), found, language)
    return _saved(book)


def workbook_of(table: Table, findings: Sequence[Finding], language: Language) -> bytes:
    """A new workbook from any table (a CSV, for example), marked in the same way. Every cell is written as text.

    Behind the first 20,000 rows only marked ones are written, at their own row numbers.
    """
    book = openpyxl.Workbook()
    book.remove(book.active)
    cells = _by_cell(findings)
    marked = {(name, row) for name, row, _ in cells} | {("", row) for _, row, _ in cells}
    for number, sheet in enumerate(table.sheets, 1):
        page = book.create_sheet(sheet.name or f"{number}")
        for index, name in enumerate(sheet.heading.names, 1):
            _write(page, sheet.heading.row, index, name)
        for row in sheet:
            if row.number > _WHOLE and (sheet.name, row.number) not in marked:
                continue
            for index, value in enumerate(row.cells, 1):
                if value != "":
                    _write(page, row.number, index, value)
        for (name, row_number, column), found in cells.items():
            if name == sheet.name or not sheet.name:  # a CSV is one sheet, whatever its columns told
                cell = page.cell(row=row_number, column=_index(table, name, column) + 1)
                _mark(cell, found, language)
    return _saved(book)


def _write(page: Any, row: int, column: int, value: Any) -> None:
    """Text that looks like a formula stays text: a workbook must not run what a sender wrote."""
    cell = page.cell(row=row, column=column)
    cell.value = _ILLEGAL.sub("", value) if isinstance(value, str) else value
    if isinstance(value, str):
        cell.data_type = "s"
        if value.startswith(_FORMULA):
            cell.quotePrefix = True


def _by_cell(findings: Sequence[Finding]) -> Mapping[Cell, list[Finding]]:
    out: dict[Cell, list[Finding]] = {}
    for each in findings:
        found = _PLACE.fullmatch(each.place.path) if each.place and each.place.notation == "table" else None
        if found:
            cell = (found[1] or "", int(found[2]), found[3] or "")
            if cell in out or len(out) < _MOST_MARKS:
                out.setdefault(cell, []).append(each)
    return out


def _index(table: Table, name: str, column: str) -> int:
    sheet = next((s for s in table.sheets if s.name == name), table.sheets[0])
    if column.startswith("#") and column[1:].isdigit():
        return int(column[1:]) - 1
    return sheet.heading.columns.get(fold(column), 0)


def _mark(cell: Any, found: Sequence[Finding], language: Language) -> None:
    if type(cell).__name__ == "MergedCell":
        return
    worst = max(found, key=lambda each: _RANK[each.severity])
    cell.fill = PatternFill("solid", fgColor=_COLOURS[worst.severity])
    lines = [f"{each.code}: {text(each, language)} {mend(each, language)}".strip() for each in found]
    earlier = [cell.comment.text] if cell.comment else []
    cell.comment = Comment(_ILLEGAL.sub("", "\n".join([*earlier, *lines]))[:8000], _AUTHOR, height=160, width=320)


def _saved(book: Any) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
