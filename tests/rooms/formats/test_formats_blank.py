"""Blank workbooks, and tables in other clothes: what people fill in is what the reader reads."""

import io
import zipfile

import openpyxl
import pytest

from gateway.errors import TooLarge, Unreadable
from gateway.formats import media, table_many, table_xlsx
from gateway.formats.table_blank import Blank, Column, Page, csv_files, workbook

BLANK = Blank(
    title="آزمایش",
    language="fa",
    right_to_left=True,
    note="یادداشت",
    pages=(
        Page(
            name="برگه یک",
            columns=(
                Column(heading="کد", required=True, kind="code", example="۰۰۱", note="با صفر"),
                Column(heading="نوع", kind="choice", values=("الف", "ب"), example="ب"),
            ),
        ),
        Page(name="برگه دو", columns=(Column(heading="کد", required=True), Column(heading="تاریخ", kind="jalali"))),
    ),
)


def test_an_example_workbook_reads_as_its_examples_and_nothing_else():
    """The guide and the hidden lists are for people: a reader that took them as rows would refuse every upload."""
    table = table_xlsx.read(workbook(BLANK, examples=True))
    assert [sheet.name for sheet in table.sheets] == ["برگه یک", "برگه دو"]
    assert [list(row.cells) for row in table.rows()] == [["۰۰۱", "ب"]]


def test_choices_are_drop_downs_and_explanations_stand_in_the_programme_s_language():
    """Whoever types needs the list and the hint in the cell, not in a manual."""
    book = openpyxl.load_workbook(io.BytesIO(workbook(BLANK)))
    sheet = book["برگه یک"]
    assert sheet.sheet_view.rightToLeft
    rules = {str(rule.sqref): rule for rule in sheet.data_validations.dataValidation}
    assert rules["B2:B5000"].type == "list"
    assert "الزامی" in rules["A2:A5000"].prompt
    assert "با صفر" in sheet["A1"].comment.text
    assert [cell.value for cell in book["#lists"]["A"]] == ["الف", "ب"]
    guide = [[cell.value for cell in row] for row in book["#راهنما"].iter_rows()]
    assert ["برگه یک", "نوع", "از فهرست برگزینید", None, "الف / ب", None, "ب"] in guide


def test_the_same_template_as_a_zip_of_csv_files_reads_the_same():
    """Who has no spreadsheet program sends the same sheets as CSV files."""
    body = csv_files(BLANK, examples=True)
    table = table_many.read(body, media.ZIP)
    assert [sheet.name for sheet in table.sheets] == ["برگه یک", "برگه دو"]
    rows = list(table.rows())
    assert [list(row.cells) for row in rows] == [["۰۰۱", "ب"]]
    assert rows[0].place_of(1).path == "sheet برگه یک row 2 column نوع"
    assert csv_files(BLANK, examples=True) == body


def test_json_objects_are_rows_and_are_told_about_in_json_paths():
    """A sender of JSON has no row 3."""
    table = table_many.read(b'{"a": [{"x": 1, "y": null}, {"y": "t"}], "b": []}', media.JSON)
    first, second = table.rows()
    assert (list(first.cells), list(second.cells)) == ([1, ""], ["", "t"])
    assert second.place_of(1).path == "$.a[1].y"
    assert second.first == 2


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"a": {"x": 1}}', b'{"a": [{"x": [1]}]}', b'{"a": []}'])
def test_json_that_is_no_table_is_refused(body: bytes):
    """A nested value would be lost in a cell."""
    with pytest.raises(Unreadable):
        table_many.read(body, media.JSON)


def _zip(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in files.items():
            package.writestr(name.replace("__", "."), content)
    return out.getvalue()


@pytest.mark.parametrize("body", [b"PK\x03\x04 no", _zip(), _zip(a__exe=b"x"), _zip(a__csv=b"x\n1", a__tsv=b"x\n1")])
def test_archives_that_are_not_csv_files_are_refused(body: bytes):
    """Nothing of an archive is skipped in silence."""
    with pytest.raises(Unreadable):
        table_many.read(body, media.ZIP)


def test_an_archive_that_unpacks_without_end_is_refused():
    """Thirty-two megabytes of nothing pack into a few kilobytes."""
    with pytest.raises(TooLarge):
        table_many.read(_zip(a__csv=b"x\n" + b"0" * (32 * 1024 * 1024)), media.ZIP)


def test_a_workbook_with_namespaced_attributes_is_not_taken_for_a_huge_one():
    """Spreadsheet programs declare `xmlns:r`; its value is no reference of a cell."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet["A1"], sheet["A2"] = "x", 1
    sheet["A1"].comment = openpyxl.comments.Comment("hint", "test")  # makes openpyxl declare the namespace
    out = io.BytesIO()
    book.save(out)
    assert [list(row.cells) for row in table_xlsx.read(out.getvalue()).rows()] == [[1]]
