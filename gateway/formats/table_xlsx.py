"""XLSX (ECMA-376) through calamine: values as the workbook caches them, never recomputed.

calamine reads error cells and formulas without a cached value as empty, so the sheets are scanned for both and the
row gets a finding: an empty cell that should not be empty is a lost value. Numbers stay numbers (`int`, `Decimal`),
so that whoever wants an identifier can refuse one that a spreadsheet has rounded. Dates become ISO 8601 text.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import python_calamine as calamine

from gateway.errors import TooLarge, Unreadable, finding
from gateway.formats import xml
from gateway.formats.source import Scalar
from gateway.formats.table import Heading, Kind, Row, Sheet, Table
from gateway.message import Finding, Place

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_UNPACKED: Final = 512 * 1024 * 1024
MAX_ENTRIES: Final = 2_000
MAX_RATIO: Final = 200
MAX_ROWS: Final = 200_000
MAX_COLUMNS: Final = 1_000
MAX_AREA: Final = 8_000_000
MAX_FORMULA: Final = 4_000
MAX_FAULTS: Final = 10_000

# Every class stops at the next tag, so that no sheet makes a search longer than the sheet.
_CELL: Final = rb"<(?:\w+:)?c\b([^<>]*[^<>/])>"
_ERROR: Final = re.compile(rb"<(?:\w+:)?c\b([^<>]*\bt\s*=\s*[\"']e[\"'][^<>]*)(?<!/)>")
_HAS_ERROR: Final = re.compile(rb"\bt\s*=\s*[\"']e[\"']")
_HAS_FORMULA: Final = re.compile(rb"<(?:\w+:)?f\b")
_VALUE: Final = re.compile(rb"<(?:\w+:)?v>([^<]{0,40})")
_NO_VALUE: Final = rb"(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?"
_FORMULA: Final = re.compile(
    _CELL + rb"\s*<(?:\w+:)?f\b[^<>]*(?:/>|>[^<]*</(?:\w+:)?f>)\s*" + _NO_VALUE + rb"\s*</(?:\w+:)?c>"
)
_REFERENCE: Final = re.compile(rb"(?<![\w:])r\s*=\s*[\"']([A-Za-z]{1,3})([0-9]{1,7})[\"']")

_ROWS: Final = re.compile(rb"(?<![\w:])r\s*=\s*[\"']\$?[A-Za-z]*\$?([0-9]+)")
_COLUMNS: Final = re.compile(rb"(?<![\w:])r\s*=\s*[\"']\$?([A-Za-z]+)")
_ROW_TAG: Final = re.compile(rb"<(?:\w+:)?row\b")
_CELL_TAG: Final = re.compile(rb"<(?:\w+:)?c\b")

_BROKEN: Final = (
    zipfile.BadZipFile, zlib.error, struct.error, LookupError, EOFError, NotImplementedError, RuntimeError, OSError,
    ValueError, OverflowError,
)  # fmt: skip
"""What the archive reader raises for a broken archive."""

Faults = dict[tuple[int, int], str]
"""(row from 1, column from 0) -> what stands there instead of a value."""


def read(body: bytes, max_bytes: int = MAX_BYTES) -> Table:
    """The workbook: a sheet for each visible one that is not empty and not called `#…`; `Unreadable` or `TooLarge`."""
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    faults = _inspected(body)
    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(body))
        sheets, first = [], 0
        for meta in book.sheets_metadata:
            if meta.typ != calamine.SheetTypeEnum.WorkSheet or meta.visible != calamine.SheetVisibleEnum.Visible:
                continue
            if meta.name.startswith("#"):  # a page for people: the guide of a template, somebody's notes
                continue
            made = _sheet(book.get_sheet_by_name(meta.name), faults.get(meta.name, {}), first)
            if made is not None:
                sheets.append(made)
                first += sum(row.size for row in made)
    except calamine.CalamineError as error:
        raise Unreadable("GW-CORE-003", format="XLSX", detail=str(error)[:200]) from None
    if not sheets:
        raise Unreadable("GW-FMT-052", Place(notation="table", path="row 1"), detail="-")
    return Table(sheets)


# --- the package ----------------------------------------


def _inspected(body: bytes) -> dict[str, Faults]:
    """Check that the package unpacks within limits, and find error cells in its sheets, by sheet name."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as package:
            _bounded(package, len(body))
            found = {}
            for name, part in _parts(package).items():
                sheet = package.read(part)
                _bounded_area(sheet)
                found[name] = _faults(sheet)
            return found
    except _BROKEN as error:
        raise Unreadable("GW-CORE-003", format="XLSX", detail=type(error).__name__) from None


def _bounded(package: zipfile.ZipFile, packed: int) -> None:
    entries = package.infolist()
    if len(entries) > MAX_ENTRIES:
        raise TooLarge("GW-CORE-004", what="entries", actual=str(len(entries)), limit=str(MAX_ENTRIES))
    if len({entry.filename for entry in entries}) != len(entries):
        raise Unreadable("GW-CORE-003", format="XLSX", detail="an entry stands twice")
    total = 0
    for entry in entries:
        with package.open(entry) as stream:  # what is told about sizes is not believed
            while chunk := stream.read(1 << 20):
                total += len(chunk)
                if total > MAX_UNPACKED or (total > 1 << 24 and total > packed * MAX_RATIO):
                    raise TooLarge("GW-CORE-004", what="unpacked bytes", actual="more", limit=str(MAX_UNPACKED))


def _bounded_area(sheet: bytes) -> None:
    """Refuse a sheet whose outermost cells span too much: the reader underneath allocates every cell between them."""
    numbers, letters = set(_ROWS.findall(sheet)), set(_COLUMNS.findall(sheet))
    rows = max((int(n) if len(n) < 9 else MAX_AREA for n in numbers), default=1)
    columns = max((_column(name) for name in letters), default=1)
    per_row = [len(_CELL_TAG.findall(part)) for part in _ROW_TAG.split(sheet)]
    area = max(rows, len(per_row)) * max(columns, *per_row)
    if rows > 1 << 20 or columns > 1 << 14 or area > MAX_AREA:
        raise TooLarge("GW-CORE-004", what="cells", actual=str(area), limit=str(MAX_AREA))


def _column(name: bytes) -> int:
    """A is 1, XFD is 16384; longer names are beyond every sheet."""
    total = 0
    for letter in name.upper()[:4]:
        total = total * 26 + letter - 64
    return total


_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_STRICT: Final = "{http://purl.oclc.org/ooxml/spreadsheetml/main}"
_RELATION: Final = ("{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id",
                    "{http://purl.oclc.org/ooxml/officeDocument/relationships}id")  # fmt: skip


def _parts(package: zipfile.ZipFile) -> Mapping[str, str]:
    """Sheet name -> its part of the package."""
    names = set(package.namelist())
    if "xl/workbook.xml" not in names or "xl/_rels/workbook.xml.rels" not in names:
        raise Unreadable("GW-CORE-003", format="XLSX", detail="not a workbook")
    relations = {
        each.get("Id"): str(each.get("Target")) for each in xml.read(package.read("xl/_rels/workbook.xml.rels"))
    }
    out: dict[str, str] = {}
    root = xml.read(package.read("xl/workbook.xml"))
    for space in (_MAIN, _STRICT):
        for sheet in root.iter(f"{space}sheet"):
            target = relations.get(next((v for k in _RELATION if (v := sheet.get(k))), None), "")
            part = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
            if part in names:
                out[str(sheet.get("name"))] = part
    return out


def _faults(sheet: bytes) -> Faults:
    found: Faults = {}
    for each in _ERROR.finditer(sheet) if _HAS_ERROR.search(sheet) else ():
        where, value = _reference(each[1]), _VALUE.search(sheet, each.end(), each.end() + MAX_FORMULA)
        if len(found) >= MAX_FAULTS:
            raise TooLarge("GW-CORE-004", what="error cells", actual="more", limit=str(MAX_FAULTS))
        if where:
            found[where] = value[1].decode("utf-8", "replace") if value else "?"
    for each in _FORMULA.finditer(sheet) if _HAS_FORMULA.search(sheet) else ():
        where = _reference(each[1])
        if where:
            found.setdefault(where, "formula")
    return found


def _reference(attributes: bytes) -> tuple[int, int] | None:
    found = _REFERENCE.search(attributes)
    if found is None:
        return None
    return int(found[2]), _column(found[1]) - 1


# --- rows ----------------------------------------


def _sheet(sheet: Any, faults: Faults, first: int) -> Sheet | None:
    if sheet.total_height > MAX_ROWS:
        raise TooLarge("GW-CORE-004", what="rows", actual=str(sheet.total_height), limit=str(MAX_ROWS))
    if sheet.total_width > MAX_COLUMNS:
        raise TooLarge("GW-CORE-004", what="columns", actual=str(sheet.total_width), limit=str(MAX_COLUMNS))
    grid = sheet.to_python(skip_empty_area=False)
    _spread(grid, sheet.merged_cell_ranges or ())
    above = next((i for i, cells in enumerate(grid) if any(c != "" for c in cells)), None)
    if above is None:
        return None
    names = [str(_scalar(cell)[0]) for cell in grid[above]]
    while names and not names[-1]:
        names.pop()
    heading = Heading(sheet.name, above + 1, names)
    rows = list(_rows(heading, grid[above + 1 :], faults, first))
    return Sheet(sheet.name, heading, first, lambda: rows)


def _spread(grid: list[list[Any]], merged: Any) -> None:
    """A merged cell holds for every cell that it covers."""
    for (top, left), (bottom, right) in merged:
        if top >= len(grid) or left >= len(grid[top]):
            continue
        for row in range(top, min(bottom + 1, len(grid))):
            for column in range(left, min(right + 1, len(grid[row]))):
                grid[row][column] = grid[top][left]


def _rows(heading: Heading, grid: list[list[Any]], faults: Faults, first: int) -> Iterator[Row]:
    by_row: dict[int, dict[int, str]] = {}
    for (number, column), what in faults.items():
        by_row.setdefault(number, {})[column] = what
    width = len(heading.names)
    for number, raw in enumerate(grid, heading.row + 1):
        broken = by_row.get(number, {})
        while len(raw) > width and raw[-1] == "":
            raw.pop()
        if not broken and all(cell == "" for cell in raw):
            continue
        cells: list[Scalar] = []
        kinds: dict[int, Kind] = {}
        for column, cell in enumerate(raw):
            value, kind = _scalar(cell)
            cells.append(value)
            if kind not in ("text", "empty"):
                kinds[column] = kind
        findings = tuple(_broken(heading, number, broken, kinds))
        yield Row(heading, number, first, cells, kinds, findings)
        first += len(cells)


def _broken(heading: Heading, number: int, broken: dict[int, str], kinds: dict[int, Kind]) -> Iterator[Finding]:
    for column, what in sorted(broken.items()):
        kinds[column] = "error"
        path = f"sheet {heading.sheet} row {number} column {heading.label(column)}"
        code = "GW-FMT-055" if what == "formula" else "GW-FMT-054"
        yield finding(code, Place(notation="table", path=path), error=what)


def _scalar(cell: Any) -> tuple[Scalar, Kind]:
    if isinstance(cell, str):
        return cell, "text" if cell else "empty"
    if isinstance(cell, bool):
        return cell, "boolean"
    if isinstance(cell, (int, float)):
        return number(cell), "number"
    if isinstance(cell, datetime):
        return cell.isoformat(), "date"
    if isinstance(cell, date):
        return cell.isoformat(), "date"
    if isinstance(cell, time):
        return cell.isoformat(), "time"
    if isinstance(cell, timedelta):
        return str(int(cell.total_seconds())), "duration"
    return "", "empty"


def number(value: float) -> int | Decimal:
    """What the spreadsheet shows: whole numbers without a point, others by their shortest digits."""
    if isinstance(value, int):
        return value
    return int(value) if value.is_integer() else Decimal(repr(value))
