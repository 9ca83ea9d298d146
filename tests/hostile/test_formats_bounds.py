"""Hostile tables and documents: every reader stays within bounds of time, whatever it is given (promise 11)."""

from __future__ import annotations

import io
import random
import time
import zipfile
from collections.abc import Callable

import openpyxl
import pytest

from gateway.errors import Refused
from gateway.formats import hl7v2, jsonsource, table_csv, table_xlsx, xmlsource
from gateway.formats.calendars import parse, stamp
from gateway.formats.hl7v2_text import STANDARD, unescape
from gateway.formats.text import fold

SECONDS = 10.0


def _workbook(sheet: bytes) -> bytes:
    book = openpyxl.Workbook()
    book.active.append(["a", "b"])
    plain = io.BytesIO()
    book.save(plain)
    out = io.BytesIO()
    with zipfile.ZipFile(plain) as package, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name in package.namelist():
            made.writestr(name, sheet if name.endswith("sheet1.xml") else package.read(name))
    return out.getvalue()


def _within(action: Callable[[], object]) -> None:
    started = time.process_time()
    try:
        action()
    except Refused as refusal:
        assert refusal.finding().severity == "error"  # noqa: PT017  # both outcomes are right, a hang is not
    assert time.process_time() - started < SECONDS


SHEETS = {
    "cells never closed": b"<c <c " * 200_000,
    "error cells without values": b'<c r="A1" t="e">' * 100_000,
    "error cells far apart": b"<worksheet><sheetData><row>" + b'<c r="A1" t="e"><v>#N/A</v></c>' * 50_000,
    "white space after a cell": b"<c a>" + b" " * 2_000_000,
    "formulas never closed": b"<c a><f>" * 100_000,
    "a far corner": b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>',
    "merged everything": b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    b'<row r="1"><c r="A1"><v>1</v></c></row></sheetData><mergeCells><mergeCell ref="A1:XFD1048576"/></mergeCells>'
    b"</worksheet>",
}


@pytest.mark.parametrize("sheet", SHEETS)
def test_a_hostile_sheet_is_read_or_refused_in_time(sheet: str) -> None:
    """Searches must not grow faster than the sheet, and a far corner must not allocate the plane."""
    _within(lambda: list(table_xlsx.read(_workbook(SHEETS[sheet])).rows()))


def test_a_damaged_workbook_is_read_or_refused() -> None:
    """Three hundred copies with random bytes changed: a code, never another exception."""
    book = openpyxl.Workbook()
    for row in (["id", "classe"], ["1", "B"], ["2", 3.5]):
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    source = random.Random("workbook")
    for _ in range(300):
        body = bytearray(out.getvalue())
        for _ in range(source.randrange(1, 30)):
            body[source.randrange(len(body))] = source.randrange(256)
        _within(lambda body=bytes(body): list(table_xlsx.read(body).rows()))  # type: ignore[misc]


CSVS = {
    "one endless line": b"a,b\n" + b"x" * 3_000_000,
    "quotes only": b"a,b\n" + b'"' * 1_000_001,
    "a quote on every line": b"a,b\n" + b'"x\n' * 100_001,
    "delimiters only": b"a,b\n" + b"," * 1_000_000,
    "carriage returns": b"a,b\r" + b"1,2\r" * 100_000,
    "NULs": b"a,b\n\x00,\x00\n",
}


@pytest.mark.parametrize("name", CSVS)
def test_a_hostile_csv_is_read_or_refused_in_time(name: str) -> None:
    """A quote that is never closed must not make every row search to the end again."""
    _within(lambda: sum(1 for _ in table_csv.read(CSVS[name]).rows()))


def test_many_siblings_have_their_places_in_linear_time() -> None:
    """The loss report asks for the place of everything that nobody read."""
    body = b"<r>" + b"<a x='1'>v</a>" * 20_000 + b"</r>"
    _within(lambda: [datum.place for datum in xmlsource.read(body).leaves()])
    many = b'{"a":[' + b",".join([b'{"b":1}'] * 20_000) + b"]}"
    _within(lambda: [datum.place for datum in jsonsource.read(many).leaves()])


@pytest.mark.parametrize(
    "text", ["\\" * 100_001, "\\F" * 50_000, "\\X" + "4" * 100_000, "\\.sp" * 30_000, "\\C" * 50_000]
)
def test_escapes_take_linear_time(text: str) -> None:
    """A field of a hundred thousand escape characters is still only a field."""
    _within(lambda: unescape(text, STANDARD))


@pytest.mark.parametrize("text", ["1" * 100_000, "1/" * 50_000, "۱" * 100_000, " " * 100_000, "2020-01-01T" * 10_000])
def test_dates_take_linear_time(text: str) -> None:
    """Patterns that may backtrack would hang here."""
    _within(lambda: (parse(text, "jalali"), stamp(text), fold(text)))


def test_noise_is_read_or_refused() -> None:
    """Two thousand inputs of random bytes, with and without an HL7 head."""
    source = random.Random("noise")
    for number in range(2000):
        body = source.randbytes(source.randrange(200))
        if number % 2:
            body = b"MSH|^~\\&|" + body
        _within(lambda body=body: hl7v2.acknowledge(hl7v2.read(body), "AE", "1"))  # type: ignore[misc]
        _within(lambda body=body: list(table_csv.read(body).rows()))  # type: ignore[misc]


_SPACE = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'


@pytest.mark.parametrize(
    "sheet",
    [
        _SPACE + b'<row r="1"><c r="A1"><v>1</v></c><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>',
        _SPACE
        + b'<row r="1"><c r="A1"><v>1</v></c><c r="A199999999999999999999"><v>1</v></c></row></sheetData></worksheet>',
        _SPACE + b"<row r='1'><c r='A1'><v>1</v></c><c r = 'ZZZZZ9'><v>1</v></c></row></sheetData></worksheet>",
        _SPACE + b"<row>" + b"<c><v>1</v></c>" * 16_000 + b"</row>" + b"<row><c><v>1</v></c></row>" * 60_000,
    ],
    ids=["far corners", "overflowing row", "overflowing column", "no references"],
)
def test_cells_far_apart_allocate_nothing(sheet: bytes) -> None:
    """The reader underneath allocates every cell between the outermost ones, and aborts the process if it cannot."""
    with pytest.raises(Refused) as refusal:
        table_xlsx.read(_workbook(sheet))
    assert refusal.value.code == "GW-CORE-004"
