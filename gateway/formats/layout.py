"""Flat files after a layout: delimited or with fixed columns, written from rows and read back.

A layout is data: `mappings/<programme>/layouts/NAME.toml`, one file for each version of it. Which version holds is
decided by the day that a file is about. Nothing is cut, rounded or guessed: a value that does not fit is a problem
with its row and its field. The form of the file is described in docs/mapping.md, "Layouts".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.errors import Misconfigured, Refused, finding
from gateway.formats import calendars, layout_tree
from gateway.formats.problem import Problem
from gateway.message import Finding

Row = Mapping[str, object]
MAX_SHOWN: Final = 20
TREES: Final = frozenset({"xml", "json"})
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NEWLINES: Final = {"crlf": "\r\n", "lf": "\n", "none": ""}
_CODES: Final = {
    "missing": "GW-FMT-110",
    "long": "GW-FMT-111",
    "form": "GW-FMT-112",
    "charset": "GW-FMT-113",
    "unknown": "GW-FMT-114",
    "unreadable": "GW-FMT-115",
}


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column. `length` is exact in fixed layouts and the most in delimited ones; 0: any."""

    name: str
    heading: str = ""  # in the header line; empty: the name
    type: Literal["text", "integer", "decimal", "date", "time", "datetime"] = "text"
    required: bool = False
    length: int = 0
    start: int = 0  # fixed: the first column, from 1; 0: behind the field before
    align: Literal["left", "right"] = "left"
    fill: str = " "
    decimals: int = 0  # type decimal: how many, exactly
    point: str = "."  # empty: implied, "1050" is 10.50
    format: str = "YYYYMMDD"  # dates: YYYY, YY, MM, DD with anything between them; times: HH, MI, SS
    calendar: calendars.Calendar = "gregorian"
    values: tuple[str, ...] = ()
    pattern: str = ""
    default: str = ""
    unknown: str = ""  # dates: what stands for a month or a day that is not known, such as "99"; empty: refused
    years: tuple[str, ...] = ()  # two other fields: full years from the first day to the second one

    @property
    def title(self) -> str:
        """What stands in the header line."""
        return self.heading or self.name


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of one layout. Days are ISO dates, inclusive; None is open."""

    name: str
    version: str
    kind: Literal["delimited", "fixed", "xml", "json"]
    field: tuple[Field, ...]
    title: str = ""
    source: str = ""  # where the layout is published, or that it is ours
    valid_from: str | None = None
    valid_to: str | None = None
    charset: str = "utf-8"
    newline: Literal["crlf", "lf", "none"] = "crlf"
    separator: str = ","
    quoting: Literal["minimal", "all", "none"] = "minimal"
    header: bool = True
    length: int = 0  # fixed: of the record; 0: the sum of its fields
    root: str = ""  # xml, json: what stands around the rows; JSON may have a bare list
    record: str = "record"  # xml: the element of one row
    namespace: str = ""  # xml

    def __post_init__(self) -> None:
        names = [each.name for each in self.field]
        if not names or len(set(names)) != len(names):
            raise ValueError("fields have names, each once")
        if self.kind == "xml" and not (self.root and self.record):
            raise ValueError("an XML layout has a root and a record")
        if self.kind == "delimited" and len(self.separator) != 1:
            raise ValueError("separator is one character")
        for each in self.field:
            re.compile(each.pattern)
            if each.years and (len(each.years) != 2 or not set(each.years) <= set(names)):
                raise ValueError(f"field {each.name}: years names two other fields")
            if len(each.fill) != 1 or (self.kind == "fixed" and each.length <= 0):
                raise ValueError(f"field {each.name}: a fixed field has a length, and fill is one character")
        try:
            "".encode(self.charset)
        except LookupError:
            raise ValueError(f"charset {self.charset!r} is not known") from None
        if self.kind == "fixed":
            _starts(self)


class _Bad(NamedTuple):
    """Why a value does not fit: a key of `_CODES`."""

    why: str


class Cell(NamedTuple):
    """A value that was refused: its row from 1, its field, and why."""

    row: int
    field: str
    problem: str


class Wrong(Refused):
    """Rows that the layout cannot hold. `cells` are all of them, `findings` one for each of the first."""

    default = "GW-FMT-116"

    def __init__(self, layout: Layout, cells: Sequence[Cell]) -> None:
        places = ", ".join(f"{each.row}:{each.field}" for each in cells[:5])
        super().__init__(layout=layout.name, count=str(len(cells)), detail=places)
        self.cells = tuple(cells)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, cell by cell; never the value."""
        return tuple(finding(_CODES[c.problem], row=str(c.row), field=c.field) for c in self.cells[:MAX_SHOWN])


# --- reading layouts ----------------------------------------


def parse(text: str, file: str) -> Layout:
    """One layout file; `Misconfigured` names the file and what is wrong in it."""
    try:
        return msgspec.convert(tomllib.loads(text), Layout)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError, re.error) as error:
        raise Misconfigured(detail=f"{file}: {error}") from None


def load(folder: Path) -> tuple[Layout, ...]:
    """Every layout of a folder; versions of one layout never hold on the same day."""
    found = tuple(parse(path.read_text(encoding="utf-8"), str(path)) for path in sorted(folder.glob("*.toml")))
    for number, one in enumerate(found):
        for other in found[number + 1 :]:
            if one.name == other.name and _overlap(one, other):
                raise Misconfigured(
                    detail=f"{folder}: versions {one.version} and {other.version} of {one.name} hold on the same day"
                )
    return found


def _overlap(one: Layout, other: Layout) -> bool:
    begins, ends = max(one.valid_from or "", other.valid_from or ""), min(_end(one), _end(other))
    return begins <= ends


def _end(layout: Layout) -> str:
    return layout.valid_to or "9999-12-31"


def pick(layouts: Iterable[Layout], name: str, day: str) -> Layout:
    """The version that holds on the day (ISO), or `Misconfigured`."""
    for each in layouts:
        if each.name == name and (each.valid_from or "") <= day <= _end(each):
            return each
    raise Misconfigured(detail=f"no version of layout {name!r} holds on {day}")


# --- writing ----------------------------------------


def write(layout: Layout, rows: Iterable[Row]) -> bytes:
    """The whole file. Every cell that does not fit is collected first; then `Wrong` is raised, or nothing is."""
    lines: list[str] = []
    table: list[list[str]] = []
    wrong: list[Cell] = []
    if layout.kind == "delimited" and layout.header:
        lines.append(layout.separator.join(_quoted(layout, each.title) for each in layout.field))
    for number, row in enumerate(rows, 1):
        cells = []
        wrong += (Cell(number, name, "unknown") for name in sorted(row.keys() - {each.name for each in layout.field}))
        for each in layout.field:
            text = _cell(layout, each, _years(row, each) if each.years else row.get(each.name))
            if isinstance(text, _Bad):
                wrong.append(Cell(number, each.name, text.why))
            else:
                cells.append(text)
        table.append(cells)
    if wrong:
        raise Wrong(layout, wrong)
    if layout.kind in TREES:
        return layout_tree.write(_shape(layout), table)
    lines += (_line(layout, cells) for cells in table)
    end = _NEWLINES[layout.newline]
    return "".join(line + end for line in lines).encode(layout.charset)


def _shape(layout: Layout) -> layout_tree.Shape:
    """The tree of an XML or JSON layout: where each field stands, by its heading."""
    columns = tuple(
        layout_tree.Column(
            tuple(each.title.split("/")), each.type == "integer" or (each.type == "decimal" and each.point == ".")
        )
        for each in layout.field
    )
    return layout_tree.Shape(layout.kind, layout.root, layout.record, layout.namespace, layout.charset, columns)


def _line(layout: Layout, cells: Sequence[str]) -> str:
    if layout.kind == "delimited":
        return layout.separator.join(_quoted(layout, each) for each in cells)
    starts, length = _starts(layout)
    line = [" "] * length
    for start, text in zip(starts, cells, strict=True):
        line[start : start + len(text)] = text
    return "".join(line)


def _starts(layout: Layout) -> tuple[list[int], int]:
    """Where each fixed field begins, from 0, and how long a record is."""
    starts: list[int] = []
    behind = 0
    for each in layout.field:
        start = each.start - 1 if each.start else behind
        if start < behind:
            raise ValueError(f"field {each.name} lies over the one before it")
        starts.append(start)
        behind = start + each.length
    if layout.length and layout.length < behind:
        raise ValueError(f"the fields need {behind} columns, the record has {layout.length}")
    return starts, layout.length or behind


def _quoted(layout: Layout, text: str) -> str:
    special = any(mark in text for mark in (layout.separator, '"', "\n", "\r"))
    if layout.quoting == "all" or (layout.quoting == "minimal" and special):
        return '"' + text.replace('"', '""') + '"'
    return text


def _cell(layout: Layout, field: Field, value: object) -> str | _Bad:
    """The text of one cell, filled up where columns are fixed; or why there is none."""
    text = field.default if value is None or value == "" else _plain(value)
    if text == "":
        if field.required:
            return _Bad("missing")
    else:
        formed = _formed(field, text)
        if formed is None or (field.values and formed not in field.values):
            return _Bad("form")
        if field.pattern and not re.fullmatch(field.pattern, formed):
            return _Bad("form")
        text = formed
    return _fitted(layout, field, text)


def _fitted(layout: Layout, field: Field, text: str) -> str | _Bad:
    if field.length and len(text) > field.length:
        return _Bad("long")
    if layout.kind == "delimited":
        raw = layout.quoting == "none" and any(mark in text for mark in (layout.separator, "\n", "\r"))
        bad = raw
    elif layout.kind == "xml":
        bad = _NOT_XML.search(text) is not None
    else:
        bad = layout.kind == "fixed" and ("\n" in text or "\r" in text)
    if bad:
        return _Bad("form")
    try:
        text.encode(layout.charset)
    except UnicodeEncodeError:
        return _Bad("charset")
    if layout.kind == "fixed":
        fill = field.fill if text else " "
        return text.rjust(field.length, fill) if field.align == "right" else text.ljust(field.length, fill)
    return text


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _formed(field: Field, text: str) -> str | None:
    """The value in the field's own form; None where it is not of its type."""
    if field.type == "integer":
        return text if re.fullmatch(r"-?\d+", text, re.ASCII) else None
    if field.type == "decimal":
        return _decimal(field, text)
    if field.type == "date":
        return _date(field, text)
    if field.type == "datetime":
        return _instant(field, text)
    if field.type == "time":
        found = re.fullmatch(r"(?:.*T)?(\d\d):(\d\d)(?::(\d\d))?.*", text, re.ASCII)
        parts = {"HH": found[1], "MI": found[2], "SS": found[3] or "00"} if found else None
        return _filled(field.format, parts) if parts else None
    return text


def _instant(field: Field, text: str) -> str | None:
    """A day with its time as it is written, whatever the offset; a bare day begins at midnight."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d).*)?)?", text, re.ASCII)
    if found is None or isinstance(calendars.parse(text[:10]), Problem):
        return None
    names = ("YYYY", "MM", "DD", "HH", "MI", "SS")
    return _filled(field.format, {name: part or "00" for name, part in zip(names, found.groups(), strict=True)})


def _years(row: Row, field: Field) -> str | None:
    """Full years between two days of the same row; None where one of them is no whole day."""
    begins, ends = (str(row.get(name) or "")[:10] for name in field.years)
    days = (calendars.parse(begins), calendars.parse(ends))
    if any(isinstance(day, Problem) or not day.exact for day in days) or ends < begins:
        return None
    return str(int(ends[:4]) - int(begins[:4]) - int(ends[5:] < begins[5:]))


def _decimal(field: Field, text: str) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    places = Decimal(1).scaleb(-field.decimals)
    if not number.is_finite() or number != number.quantize(places):
        return None  # rounding would change an amount
    whole, _, rest = f"{number.quantize(places):f}".partition(".")
    return whole + (field.point if rest else "") + rest


def _date(field: Field, text: str) -> str | None:
    """ISO days are written in the field's form and calendar; a month or a year has no day to write."""
    day = calendars.parse(text[:10])
    if isinstance(day, Problem) or not re.fullmatch(r"\d{4}(-\d\d(-\d\d(T.*)?)?)?", text):
        return None
    if not day.exact:
        return _partial(field, text)
    first = day.first
    year, month, number = (
        calendars.to_jalali(first) if field.calendar == "jalali" else (first.year, first.month, first.day)
    )
    parts = {"YYYY": f"{year:04}", "YY": f"{year % 100:02}", "MM": f"{month:02}", "DD": f"{number:02}"}
    return _filled(field.format, parts)


def _partial(field: Field, text: str) -> str | None:
    """A year or a month as it is known; only of the calendar that it was said in."""
    if not field.unknown or field.calendar != "gregorian":
        return None
    year, month = text[:4], text[5:7] or field.unknown
    return _filled(field.format, {"YYYY": year, "YY": year[2:], "MM": month, "DD": field.unknown})


def _filled(form: str, parts: Mapping[str, str]) -> str:
    for name, value in parts.items():
        form = form.replace(name, value)
    return form


# --- reading files back ----------------------------------------


def read(layout: Layout, body: bytes) -> list[dict[str, str]]:
    """The rows of a file as texts, by field. `Wrong` where a line does not follow the layout.

    Fixed fields lose their fill; dates and numbers stay in the file's own form.
    """
    if layout.kind in TREES:
        return _tree_rows(layout, body)
    try:
        text = body.decode(layout.charset)
    except UnicodeDecodeError:
        raise Wrong(layout, [Cell(0, "", "charset")]) from None
    lines = list(_records(layout, text)) if layout.kind == "delimited" else _fixed_lines(layout, text)
    if layout.kind == "delimited" and layout.header:
        if not lines or lines[0] != [each.title for each in layout.field]:
            raise Wrong(layout, [Cell(0, "", "unreadable")])
        lines = lines[1:]
    bad = [Cell(number, "", "unreadable") for number, cells in enumerate(lines, 1) if len(cells) != len(layout.field)]
    if bad:
        raise Wrong(layout, bad)
    return [{f.name: cell for f, cell in zip(layout.field, cells, strict=True)} for cells in lines]


def _tree_rows(layout: Layout, body: bytes) -> list[dict[str, str]]:
    try:
        found = layout_tree.read(_shape(layout), body)
    except layout_tree.NotOfThisShape as fault:
        raise Wrong(layout, [Cell(fault.row, "", "unreadable")]) from None
    return [{f.name: cell for f, cell in zip(layout.field, cells, strict=True)} for cells in found]


def _fixed_lines(layout: Layout, text: str) -> list[list[str]]:
    starts, length = _starts(layout)
    end = _NEWLINES[layout.newline]
    lines = text.split(end) if end else [text[at : at + length] for at in range(0, len(text), length)]
    if end and lines and lines[-1] == "":
        lines.pop()
    made = []
    for line in lines:
        if len(line) != length:
            made.append([line])
            continue
        cells = []
        for start, field in zip(starts, layout.field, strict=True):
            cell = line[start : start + field.length]
            cells.append(cell.lstrip(field.fill) if field.align == "right" else cell.rstrip(field.fill))
        made.append(cells)
    return made


def _records(layout: Layout, text: str) -> Iterable[list[str]]:
    """Lines of a delimited file; quotes may hold separators and line ends."""
    cells: list[str] = []
    cell, quoted, at, begun = "", False, 0, False
    while at < len(text):
        mark = text[at]
        at += 1
        if quoted:
            if mark == '"' and text[at : at + 1] == '"':
                cell, at = cell + '"', at + 1
            elif mark == '"':
                quoted = False
            else:
                cell += mark
        elif mark == '"' and layout.quoting != "none" and cell == "":
            quoted = begun = True
        elif mark == layout.separator:
            cells.append(cell)
            cell, begun = "", True
        elif mark in "\r\n":
            at += int(text[at - 1 : at + 1] == "\r\n")
            yield [*cells, cell]
            cells, cell, begun = [], "", False
        else:
            cell, begun = cell + mark, True
    if cells or cell or begun:
        yield [*cells, cell]
