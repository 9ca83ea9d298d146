"""Several sheets in other clothes: a ZIP of CSV files, and JSON objects of rows. Both become a `Table` like a workbook.

    sessions.csv, clients.csv …  in a ZIP       each file is the sheet of its name
    {"sessions": [{"client": "…", …}], …}       each member is a sheet, each object a row, each key a heading

Places of JSON rows are JSON paths ($.sessions[0].client), so that whoever sent JSON is told in terms of JSON.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec

from gateway.errors import TooLarge, Unreadable
from gateway.formats import json, media, table_csv, table_xlsx
from gateway.formats.source import Scalar
from gateway.formats.table import Heading, Row, Sheet, Table
from gateway.message import Finding, Place

MAX_FILES: Final = 100
MAX_UNPACKED: Final = 256 * 1024 * 1024
MAX_RATIO: Final = 200
MAX_ROWS: Final = 200_000
_FREE: Final = 1 << 24  # below this nothing is said about how well it was packed
_BROKEN: Final = (zipfile.BadZipFile, zlib.error, LookupError, EOFError, NotImplementedError, RuntimeError, OSError,
                  ValueError, OverflowError)  # fmt: skip


def read(body: bytes, media_type: str, charset: str = "") -> Table:
    """A table of any accepted kind: CSV, TSV, XLSX, ZIP of CSV, JSON. Raises `Unreadable` or `TooLarge`."""
    if media_type == media.XLSX:
        return table_xlsx.read(body)
    if media_type == media.ZIP:
        return read_zip(body, charset)
    if media_type == media.JSON:
        return read_json(body)
    return table_csv.read(body, charset, "\t" if media_type == media.TSV else "")


# --- ZIP of CSV files ----------------------------------------


def read_zip(body: bytes, charset: str = "") -> Table:
    """One sheet for every CSV or TSV file of the archive, in the archive's order; other entries are refused."""
    sheets: list[Sheet] = []
    findings: list[Finding] = []
    first = 0
    for name, content in _unpacked(body):
        table = table_csv.read(content, charset, "\t" if name.lower().endswith(".tsv") else "")
        heading = Heading(PurePosixPath(name).stem, table.sheets[0].heading.row, table.sheets[0].heading.names)
        rows, findings = [], [*findings, *table.findings]
        for row in table.rows():
            found = tuple(_named(each, heading.sheet) for each in row.findings)
            rows.append(Row(heading, row.number, first, row.cells, row.kinds, found))
            first += len(row.cells)
        sheets.append(Sheet(heading.sheet, heading, 0, _giver(rows)))
    return Table(sheets, findings=tuple(findings))


def _named(found: Finding, sheet: str) -> Finding:
    if found.place is None or found.place.path.startswith("sheet "):
        return found
    place = Place(notation="table", path=f"sheet {sheet} {found.place.path}")
    return msgspec.structs.replace(found, place=place)


def _giver(rows: Sequence[Row]) -> Any:
    return lambda: rows


def _unpacked(body: bytes) -> list[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as package:
            return _entries(package, len(body))
    except _BROKEN as error:
        raise Unreadable("GW-CORE-003", format="ZIP", detail=type(error).__name__) from None


def _entries(package: zipfile.ZipFile, packed: int) -> list[tuple[str, bytes]]:
    entries = [each for each in package.infolist() if not each.is_dir()]
    if len(entries) > MAX_FILES:
        raise TooLarge("GW-CORE-004", what="files", actual=str(len(entries)), limit=str(MAX_FILES))
    names = [PurePosixPath(each.filename).stem for each in entries]
    if not entries or len(set(names)) != len(names):
        raise Unreadable("GW-CORE-003", format="ZIP", detail="no file, or two of one name")
    total, out = 0, []
    for entry in entries:
        if not entry.filename.lower().endswith((".csv", ".tsv")):
            raise Unreadable("GW-CORE-003", format="ZIP", detail="only .csv and .tsv files are expected")
        with package.open(entry) as stream:  # what is told about sizes is not believed
            content = bytearray()
            while chunk := stream.read(1 << 20):
                content += chunk
                total += len(chunk)
                if total > MAX_UNPACKED or (total > _FREE and total > packed * MAX_RATIO):
                    raise TooLarge("GW-CORE-004", what="unpacked bytes", actual="more", limit=str(MAX_UNPACKED))
        out.append((entry.filename, bytes(content)))
    return out


# --- JSON objects of rows ----------------------------------------


class JsonRow(Row):
    """A row that was an object; its places are JSON paths."""

    __slots__ = ()

    def place_of(self, key: int) -> Place:
        path = f"$.{self.heading.sheet}[{self.number - 2}]"
        return Place(notation="json", path=f"{path}.{self.heading.label(key)}" if key >= 0 else path)


def is_rows(value: Any) -> bool:
    """Whether a JSON value is an object whose members are lists of flat objects (and at least one is)."""
    if not isinstance(value, Mapping) or not value or "resourceType" in value:
        return False
    return all(
        isinstance(rows, list) and all(isinstance(row, Mapping) and not _nested(row) for row in rows)
        for rows in value.values()
    )


def _nested(row: Mapping[str, Any]) -> bool:
    return any(isinstance(value, list | Mapping) for value in row.values())


def read_json(body: bytes) -> Table:
    """One sheet for every member. `null` is an empty cell. Raises `Unreadable` where it is not of that form."""
    found = json.read(body)
    if not is_rows(found):
        raise Unreadable("GW-CORE-003", format="JSON", detail="an object of lists of flat objects is expected")
    sheets, first = [], 0
    for name, objects in found.items():
        if not objects:
            continue
        if len(objects) > MAX_ROWS:
            raise TooLarge("GW-CORE-004", what="rows", actual=str(len(objects)), limit=str(MAX_ROWS))
        headings = list(dict.fromkeys(key for each in objects for key in each))
        heading = Heading(str(name), 1, headings)
        rows = []
        for number, each in enumerate(objects, 2):
            rows.append(JsonRow(heading, number, first, [_scalar(each.get(key)) for key in headings]))
            first += len(headings)
        sheets.append(Sheet(str(name), heading, 0, _giver(rows)))
    if not sheets:
        raise Unreadable("GW-CORE-003", format="JSON", detail="there are no rows")
    return Table(sheets)


def _scalar(value: Any) -> Scalar:
    if value is None:
        return ""
    return value if isinstance(value, bool | int | Decimal) else str(value)
