"""An empty workbook for people to fill in: headings, drop-downs, hints, and a page that explains every column.

The explaining page begins with `#`, and what stands on such pages is never read as data (`table_xlsx`).
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import openpyxl
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from gateway.message import Language

Kind = Literal["text", "code", "choice", "date", "jalali", "time", "month", "integer", "decimal", "boolean"]

GUIDE: Final[Mapping[Language, str]] = {"en": "#guide", "fa": "#راهنما", "it": "#guida", "zh": "#说明"}
_LISTS: Final = "#lists"
_ROWS: Final = 5000  # how far down drop-downs and formats reach
_WIDTHS: Final = (10, 44)
_HEAD: Final = {True: "FFBDD7EE", False: "FFE7E6E6"}
_MADE: Final = datetime(2000, 1, 1, tzinfo=UTC)  # the same data gives the same bytes

WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {"sheet": "sheet", "column": "column", "type": "what to write", "required": "required", "values": "allowed",
           "note": "note", "example": "example", "yes": "yes", "choice": "choose from the list",
           "date": "date, 2024-10-22", "jalali": "Jalali date, 1403/08/01", "time": "time, 08:30",
           "month": "Jalali month, 1403/08", "integer": "whole number", "decimal": "number", "boolean": "yes or no",
           "text": "text", "code": "code, as text"},
    "fa": {"sheet": "برگه", "column": "ستون", "type": "چه بنویسید", "required": "الزامی", "values": "مقدارهای مجاز",
           "note": "توضیح", "example": "نمونه", "yes": "بله", "choice": "از فهرست برگزینید",
           "date": "تاریخ میلادی، 2024-10-22", "jalali": "تاریخ شمسی، ۱۴۰۳/۰۸/۰۱", "time": "ساعت، ۰۸:۳۰",
           "month": "ماه شمسی، ۱۴۰۳/۰۸", "integer": "عدد صحیح", "decimal": "عدد", "boolean": "بله یا خیر",
           "text": "متن", "code": "کد، به‌صورت متن"},
    "it": {"sheet": "foglio", "column": "colonna", "type": "che cosa scrivere", "required": "obbligatoria",
           "values": "valori ammessi", "note": "nota", "example": "esempio", "yes": "sì", "choice": "scegliere",
           "date": "data, 2024-10-22", "jalali": "data jalali, 1403/08/01", "time": "ora, 08:30",
           "month": "mese jalali, 1403/08", "integer": "numero intero", "decimal": "numero", "boolean": "sì o no",
           "text": "testo", "code": "codice, come testo"},
    "zh": {"sheet": "工作表", "column": "列", "type": "填写内容", "required": "必填", "values": "允许的值",
           "note": "说明", "example": "示例", "yes": "是", "choice": "从列表中选择",
           "date": "日期,2024-10-22", "jalali": "波斯历日期,1403/08/01", "time": "时间,08:30",
           "month": "波斯历月份,1403/08", "integer": "整数", "decimal": "数字", "boolean": "是或否",
           "text": "文本", "code": "代码,文本格式"},
}  # fmt: skip
"""What the explaining page says by itself."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column. `values` are what its drop-down offers; `example` is one good value."""

    heading: str
    kind: Kind = "text"
    required: bool = False
    values: tuple[str, ...] = ()
    note: str = ""
    example: str = ""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One sheet, with more example rows below the first where the columns' own are not enough."""

    name: str
    columns: tuple[Column, ...]
    note: str = ""


class Blank(msgspec.Struct, frozen=True, kw_only=True):
    """A whole workbook. `language` is that of the explanations."""

    title: str
    pages: tuple[Page, ...]
    language: Language = "en"
    right_to_left: bool = False
    note: str = ""


def workbook(blank: Blank, examples: bool = False) -> bytes:
    """The XLSX; with `examples` each sheet has its example as a first row, so that it can be sent as a trial."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = blank.title, "gateway"
    book.properties.created = book.properties.modified = _MADE.replace(tzinfo=None)
    lists: list[Sequence[str]] = []
    for page in blank.pages:
        _page(book, page, blank, lists, examples)
    _guide(book, blank)
    _lists(book, lists)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def csv_files(blank: Blank, examples: bool = False) -> bytes:
    """The same as a ZIP of CSV files in UTF-8 with a byte-order mark, one a sheet and named like it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for page in blank.pages:
            text = io.StringIO()
            rows = csv.writer(text)
            rows.writerow([column.heading for column in page.columns])
            if examples and _shown(page):
                rows.writerow([column.example for column in page.columns])
            entry = zipfile.ZipInfo(f"{page.name}.csv", _MADE.timetuple()[:6])
            package.writestr(entry, text.getvalue().encode("utf-8-sig"))
    return out.getvalue()


def _shown(page: Page) -> bool:
    """Whether the page has a whole example: one row that could be sent."""
    wanted = [column for column in page.columns if column.required] or page.columns
    return all(column.example for column in wanted)


def _page(book: Any, page: Page, blank: Blank, lists: list[Sequence[str]], examples: bool) -> None:
    sheet = book.create_sheet(page.name)
    sheet.sheet_view.rightToLeft = blank.right_to_left
    sheet.freeze_panes = "A2"
    for index, column in enumerate(page.columns, 1):
        letter = get_column_letter(index)
        head = sheet.cell(row=1, column=index, value=column.heading)
        head.font, head.alignment = Font(bold=True), Alignment(wrap_text=True, vertical="center")
        head.fill = PatternFill("solid", fgColor=_HEAD[column.required])
        head.comment = Comment(_hint(column, blank.language), "gateway", height=120, width=300)
        size = max(len(column.heading), len(column.example)) + 4
        sheet.column_dimensions[letter].width = min(max(size, _WIDTHS[0]), _WIDTHS[1])
        sheet.column_dimensions[letter].number_format = "General" if column.kind in ("integer", "decimal") else "@"
        _rule(sheet, column, letter, blank.language, lists)
        if examples and _shown(page):
            cell = sheet.cell(row=2, column=index, value=column.example or None)
            cell.number_format = "@"


def _hint(column: Column, language: Language) -> str:
    words = WORDS[language]
    told = [words[column.kind], f"({words['required']})" if column.required else "", column.note]
    return "\n".join(part for part in [*told, f"{words['example']}: {column.example}" * bool(column.example)] if part)


def _rule(sheet: Any, column: Column, letter: str, language: Language, lists: list[Sequence[str]]) -> None:
    if column.values:
        if column.values not in lists:
            lists.append(column.values)
        place = get_column_letter(lists.index(column.values) + 1)
        source = f"'{_LISTS}'!${place}$1:${place}${len(column.values)}"
        rule = DataValidation(type="list", formula1=source, allow_blank=True, showErrorMessage=True)
    else:
        rule = DataValidation(allow_blank=True)
    rule.showInputMessage, rule.promptTitle = True, column.heading[:32]
    rule.prompt = _hint(column, language)[:255]
    sheet.add_data_validation(rule)
    rule.add(f"{letter}2:{letter}{_ROWS}")


def _guide(book: Any, blank: Blank) -> None:
    words, sheet = WORDS[blank.language], book.create_sheet(GUIDE[blank.language])
    sheet.sheet_view.rightToLeft = blank.right_to_left
    sheet.append([blank.title])
    if blank.note:
        sheet.append([blank.note])
    sheet.append([])
    sheet.append([words[name] for name in ("sheet", "column", "type", "required", "values", "note", "example")])
    for cell in sheet[sheet.max_row]:
        cell.font = Font(bold=True)
    for page in blank.pages:
        sheet.append([page.name, "", "", "", "", page.note])
        for each in page.columns:
            required = words["yes"] if each.required else ""
            allowed = " / ".join(each.values)
            sheet.append([page.name, each.heading, words[each.kind], required, allowed, each.note, each.example])
    for letter, width in zip("ABCDEFG", (18, 28, 26, 10, 40, 60, 24), strict=True):
        sheet.column_dimensions[letter].width = width


def _lists(book: Any, lists: Sequence[Sequence[str]]) -> None:
    sheet = book.create_sheet(_LISTS)
    sheet.sheet_state = "hidden"
    for column, values in enumerate(lists, 1):
        for row, value in enumerate(values, 1):
            sheet.cell(row=row, column=column, value=value)
