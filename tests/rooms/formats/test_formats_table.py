"""Tables: every cell with its place, every broken row told, nothing guessed in silence, and back to the sender."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from datetime import date, datetime
from decimal import Decimal

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from gateway.errors import Misconfigured, Refused, TooLarge, finding
from gateway.formats import table, table_csv, table_write, table_xlsx, text
from gateway.message import Place


def _values(rows: table.Table, path: str) -> list[object]:
    return [datum.value for row in rows.rows() for datum in row.get(table.compile(path))]


def test_a_cell_is_found_by_its_column_and_knows_its_place() -> None:
    """Rows count as a spreadsheet shows them, columns are called by name."""
    read = table_csv.read(b"nome;classe;data\nTest Uno;B;2026-01-02\nTest Due;;\n")
    assert (read.encoding, read.delimiter, read.findings) == ("utf-8", ";", ())
    assert _values(read, "classe") == ["B"]
    assert _values(read, "#1") == ["Test Uno", "Test Due"]
    assert [d.place.path for row in read.rows() for d in row.leaves()] == [
        "row 2 column nome", "row 2 column classe", "row 2 column data", "row 3 column nome",
    ]  # fmt: skip
    assert [row.here.path for row in read.each(table.compile("*"))] == ["row 2", "row 3"]


def test_column_names_are_compared_as_people_read_them() -> None:
    """An Arabic keyboard's ye and kaf, case and spaces are no other column."""
    read = table_csv.read("كد ملي ,NAME\n0012345679,x\n".encode())
    assert _values(read, "کد ملی") == ["0012345679"]
    assert _values(read, "name") == ["x"]
    assert next(read.rows()).get(table.compile("کد ملی"))[0].place.path == "row 2 column كد ملي"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_sniffed_and_reported(delimiter: str) -> None:
    """Quoted delimiters do not count."""
    body = f'a{delimiter}b\n"x{delimiter}{delimiter},;"{delimiter}2\n'.encode()
    read = table_csv.read(body)
    assert read.delimiter == delimiter
    assert _values(read, "b") == ["2"]


@pytest.mark.parametrize(
    ("charset", "words"),
    [("WINDOWS-1256", "بيمار آزمايشي"), ("GB 18030-2000", "测试患者的姓名"), ("WINDOWS-1252", "Città così")],
)
def test_an_undeclared_encoding_is_guessed_aloud(charset: str, words: str) -> None:
    """The guess is a finding, and a declared character set is obeyed without one."""
    known = text.charset(charset)
    assert known is not None
    body = f"name,n\n{words},1\n".encode(known.codec)
    assert _values(table_csv.read(body, charset=charset), "name") == [words]
    read = table_csv.read(body)
    assert [f.code for f in read.findings] == ["GW-FMT-053"]
    assert (_values(read, "name"), read.encoding) == ([words], known.codec)


def test_a_wrong_declared_encoding_is_refused_with_its_row() -> None:
    """Never a silent replacement."""
    with pytest.raises(Refused) as refusal:
        table_csv.read(b"a,b\n1,2\n\xff,3\n", charset="utf-8")
    assert (refusal.value.code, refusal.value.place and refusal.value.place.path) == ("GW-FMT-004", "row 3")


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_the_first_column(mark: bytes) -> None:
    """Spreadsheet programs write it."""
    assert _values(table_csv.read(mark + b"id,b\n7,2\n"), "id") == ["7"]


def test_utf_16_with_its_mark_is_read() -> None:
    """ "Unicode text" of spreadsheet programs."""
    assert _values(table_csv.read("id\tنام\n7\tآزمایشی\n".encode("utf-16")), "نام") == ["آزمایشی"]


def test_one_broken_row_does_not_spoil_the_next() -> None:
    """RFC 4180 faults are told by row; good rows go on."""
    body = b'id,name\n1,"a ""quoted"" name"\n2,"open\n3,fine\n4,"x"y\n5,a,b\n6\n7,"two\nlines"\n'
    rows = list(table_csv.read(body).rows())
    assert [(row.number, [f.code for f in row.findings]) for row in rows] == [
        (2, []), (3, ["GW-FMT-051"]), (4, []), (5, ["GW-FMT-051"]), (6, ["GW-FMT-050"]), (7, ["GW-FMT-050"]), (8, []),
    ]  # fmt: skip
    assert rows[0].cells[1] == 'a "quoted" name'
    assert rows[-1].cells[1] == "two\nlines"
    assert rows[1].findings[0].place == Place(notation="table", path="row 3")


@pytest.mark.parametrize("body", [b"", b"\n\n", b" , \n", b"a,A,b\n1,2,3\n"])
def test_a_table_without_usable_headings_is_refused(body: bytes) -> None:
    """Two columns of one name cannot be told apart."""
    with pytest.raises(Refused) as refusal:
        table_csv.read(body)
    assert refusal.value.code == "GW-FMT-052"


@given(st.lists(st.lists(st.text(alphabet='ab";,\n\r é', max_size=8), min_size=2, max_size=2), max_size=8))
@settings(max_examples=200)
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]]) -> None:
    """Any cell, with quotes and line ends in it."""
    import csv

    out = io.StringIO()
    csv.writer(out).writerows([["x", "y"], *rows])
    read = table_csv.read(out.getvalue().encode(), delimiter=",")
    assert [list(row.cells) for row in read.rows()] == [row for row in rows if any(row)]


def test_a_hundred_thousand_rows_take_bounded_memory() -> None:
    """Rows are read one at a time: memory does not grow with them."""
    body = b"id,name,value\n" + b"".join(b"%d,Test Row,%d\n" % (n, n) for n in range(100_000))
    tracemalloc.start()
    try:
        read = table_csv.read(body)
        before = tracemalloc.get_traced_memory()[0]
        count = sum(len(row.get(table.compile("value"))) for row in read.rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 100_000
    assert peak - before < 2 * len(body)


# --- workbooks ----------------------------------------


def _book(rows: list[list[object]], **options: object) -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    if "epoch" in options:
        book.epoch = options["epoch"]
    sheet = book.active
    sheet.title = "Visite"
    for row in rows:
        sheet.append(row)
    return book


def _bytes(book: openpyxl.Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("options", [{}, {"epoch": CALENDAR_MAC_1904}], ids=["1900", "1904"])
def test_types_are_those_of_the_workbook(options: dict[str, object]) -> None:
    """Numbers stay numbers, whole ones without a point; dates are ISO, by either epoch."""
    day, moment = date(2020, 10, 22), datetime(2020, 10, 22, 10, 5)  # noqa: DTZ001
    body = _bytes(_book([["t", "n", "d", "m", "b", "f"], ["0012", 8867, day, moment, True, 1.5]], **options))
    (row,) = table_xlsx.read(body).rows()
    assert row.cells == ["0012", 8867, "2020-10-22", "2020-10-22T10:05:00", True, Decimal("1.5")]
    assert [row.kind(n) for n in range(6)] == ["text", "number", "date", "date", "boolean", "number"]
    assert row.here.path == "sheet Visite row 2"


def test_an_identifier_that_a_float_has_damaged_can_be_told() -> None:
    """Fifteen digits are what a spreadsheet keeps; an 18-digit number comes back changed."""
    body = _bytes(_book([["id"], [110105194912310021], [12345], ["110105194912310021"], ["1.10105E+17"]]))
    values = [row.cells[0] for row in table_xlsx.read(body).rows()]
    assert [text.damaged(value) for value in values] == [True, False, False, True]


def test_error_cells_and_uncached_formulas_are_findings() -> None:
    """The reader underneath shows both as empty cells: a value would be lost without a word."""
    book = _book([["id", "a", "b"], ["1", None, None], ["2", "x", "y"]])
    book.active["B2"] = "#N/A"
    book.active["B2"].data_type = "e"
    book.active["C2"] = "=1/0"
    first, second = table_xlsx.read(_bytes(book)).rows()
    assert [(f.code, f.place.path, f.args["error"]) for f in first.findings if f.place] == [
        ("GW-FMT-054", "sheet Visite row 2 column a", "#N/A"),
        ("GW-FMT-055", "sheet Visite row 2 column b", "formula"),
    ]
    assert second.findings == ()


def test_a_merged_cell_holds_for_every_cell_it_covers() -> None:
    """That is what a person who merges cells means."""
    book = _book([["who", "what"], ["Test", "1"], [None, "2"], [None, "3"]])
    book.active.merge_cells("A2:A4")
    assert _values(table_xlsx.read(_bytes(book)), "who") == ["Test", "Test", "Test"]


def test_sheets_are_told_apart() -> None:
    """Paths may name a sheet; leaf numbers are unique in the whole workbook; hidden sheets are not read."""
    book = _book([["k", "v"], ["1", "a"]])
    for title in ("Esami", "Nascosto"):
        book.create_sheet(title).append(["k", "v"])
        book[title].append(["1", f"of {title}"])
    book["Nascosto"].sheet_state = "hidden"
    read = table_xlsx.read(_bytes(book))
    assert [sheet.name for sheet in read.sheets] == ["Visite", "Esami"]
    assert [d.value for d in read.get(table.compile("Esami!v"))] == ["of Esami"]
    assert [d.value for d in read.get(table.compile("v"))] == ["a", "of Esami"]
    assert [row.here.path for row in read.each(table.compile("'Esami'!*"))] == ["sheet Esami row 2"]
    leaves = [d.leaf for d in read.leaves()]
    assert sorted(set(leaves)) == leaves
    assert max(leaves) < read.size


@pytest.mark.parametrize("path", ["", "  ", "#0", "#x", "a!b!c", "!"])
def test_a_wrong_path_into_a_table_is_told(path: str) -> None:
    """To the author of the mapping, when it is compiled."""
    with pytest.raises(Misconfigured):
        table.compile(path)


def _zip(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in entries.items():
            package.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"PK\x03\x04", b"not a workbook", _zip({}), _zip({"a": b"b"}),
        _zip({"xl/workbook.xml": b"<a/>", "xl/_rels/workbook.xml.rels": b"<a"}),
    ],
)  # fmt: skip
def test_what_is_no_workbook_is_refused(body: bytes) -> None:
    """With a code, whatever the library underneath raised."""
    with pytest.raises(Refused):
        table_xlsx.read(body)


def test_every_prefix_of_a_workbook_is_refused() -> None:
    """A broken upload is told as such."""
    body = _bytes(_book([["k", "v"], ["1", "a"]]))
    for end in range(0, len(body) - 1, 97):
        with pytest.raises(Refused):
            table_xlsx.read(body[:end])


def test_a_zip_bomb_is_refused_before_it_unpacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted while unpacking: what the archive says of its sizes is not believed."""
    monkeypatch.setattr(table_xlsx, "MAX_UNPACKED", 1 << 20)
    book = _bytes(_book([["k"], ["1"]]))
    with zipfile.ZipFile(io.BytesIO(book)) as package:
        entries = {name: package.read(name) for name in package.namelist()}
    entries["xl/worksheets/sheet1.xml"] = b" " * (8 << 20)
    with pytest.raises(TooLarge):
        table_xlsx.read(_zip(entries))


# --- back to the sender ----------------------------------------


def test_the_workbook_goes_back_with_faulty_cells_marked() -> None:
    """Comment and colour on the cell itself; formulas and everything else as they were."""
    book = _book([["id", "classe"], ["1", "B"], ["2", "X"]])
    book.active["C2"] = "=A2"
    body = _bytes(book)
    read = table_xlsx.read(body)
    place = Place(notation="table", path="sheet Visite row 3 column classe")
    whole = Place(notation="table", path="sheet Visite row 2")
    found = [finding("GW-FMT-054", place, error="X"), finding("GW-FMT-050", whole, actual="1", expected="2")]
    back = openpyxl.load_workbook(io.BytesIO(table_write.marked_workbook(body, read, found, "en")))
    assert back["Visite"]["B3"].comment.text.startswith("GW-FMT-054: The cell holds the error X")
    assert back["Visite"]["A2"].comment.text.startswith("GW-FMT-050")
    assert back["Visite"]["B3"].fill.fgColor.rgb == "FFFFC7CE"
    assert (back["Visite"]["C2"].value, back["Visite"]["B2"].comment) == ("=A2", None)


def test_a_csv_goes_back_as_a_workbook_that_runs_nothing() -> None:
    """A cell that begins like a formula is text: the workbook must not be a weapon against its reader."""
    read = table_csv.read(b"id,n\n1,=HYPERLINK(1)\n2,@x\n")
    found = [finding("GW-FMT-050", Place(notation="table", path="row 2 column n"), actual="1", expected="2")]
    back = openpyxl.load_workbook(io.BytesIO(table_write.workbook_of(read, found, "it"))).active
    assert (back["B2"].data_type, back["B2"].value, back["B3"].data_type) == ("s", "=HYPERLINK(1)", "s")
    assert back["B2"].comment.text.startswith("GW-FMT-050")
