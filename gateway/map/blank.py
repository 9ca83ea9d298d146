"""A programme's workbook to fill in, as data: `mappings/<programme>/template.toml`.

title = "…"
right_to_left = true
[[sheet]]
name = "Visits"
[[sheet.column]]
heading = "sex"
kind = "choice"        # text, code, choice, date, jalali, time, month, integer, decimal, boolean
required = true
table = "sex"          # offers the sources of this code table; or values = ["…"]
note = "…"
example = "F"
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from gateway.errors import Misconfigured
from gateway.formats.table_blank import Blank, Column, Kind, Page
from gateway.map import tables
from gateway.message import LANGUAGES, Language
from gateway.settings import Part

FILE = "template.toml"


class _Column(Part, frozen=True, kw_only=True):
    heading: str
    kind: Kind = "text"
    required: bool = False
    values: tuple[str, ...] = ()
    table: str = ""
    note: str = ""
    example: str = ""


class _Sheet(Part, frozen=True, kw_only=True):
    name: str
    column: tuple[_Column, ...]
    note: str = ""


class _Template(Part, frozen=True, kw_only=True):
    title: str
    sheet: tuple[_Sheet, ...]
    language: Language = "en"
    right_to_left: bool = False
    note: str = ""


def load(home: Path, programme: str) -> Blank:
    """The programme's blank workbook; `Misconfigured` where it has none, or names the table that is not there."""
    folder = home / "mappings" / programme
    path = folder / FILE
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(raw, _Template)
    except OSError:
        raise Misconfigured(detail=f"programme {programme} has no {FILE}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(detail=f"{path}: {error}") from None
    assert found.language in LANGUAGES
    pages = tuple(
        Page(name=sheet.name, note=sheet.note, columns=tuple(_column(each, folder, path) for each in sheet.column))
        for sheet in found.sheet
    )
    for page in pages:
        headings = [column.heading for column in page.columns]
        if len(set(headings)) != len(headings) or page.name.startswith("#") or len(page.name) > 31:
            raise Misconfigured(detail=f"{path}: sheet {page.name!r} has a heading twice, or a name that cannot be")
    return Blank(
        title=found.title,
        pages=pages,
        language=found.language,
        right_to_left=found.right_to_left,
        note=found.note,
    )


def _column(given: _Column, folder: Path, path: Path) -> Column:
    values = given.values
    if given.table:
        values = _sources(folder, given.table, path)
    if values and given.example and given.example not in values:
        raise Misconfigured(detail=f"{path}: the example of {given.heading!r} is none of its values")
    return Column(
        heading=given.heading,
        kind="choice" if values and given.kind == "text" else given.kind,
        required=given.required,
        values=values,
        note=given.note,
        example=given.example,
    )


def _sources(folder: Path, name: str, path: Path) -> tuple[str, ...]:
    """What a code table takes, one word for each meaning."""
    for file in (folder / "tables" / f"{name}.csv", *sorted(folder.parent.glob(f"*/tables/{name}.csv"))):
        if file.is_file():
            try:
                table = tables.read(file)
            except tables.BadTable as error:
                raise Misconfigured(detail=f"{file}: {error}") from None
            if isinstance(table, tables.CodeTable):
                return table.usual()
    raise Misconfigured(detail=f"{path}: there is no code table {name!r}")
