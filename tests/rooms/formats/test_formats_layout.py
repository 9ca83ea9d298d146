"""Flat files: what is written is what is read back, and nothing is cut, rounded or guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Misconfigured
from gateway.formats import layout

DELIMITED = """
name = "cases"
version = "1"
kind = "delimited"
separator = ";"
[[field]]
name = "id"
required = true
[[field]]
name = "born"
heading = "Birth"
type = "date"
calendar = "jalali"
format = "YYYY/MM/DD"
[[field]]
name = "sex"
values = ["1", "2", "9"]
default = "9"
[[field]]
name = "amount"
type = "decimal"
decimals = 2
point = ""
"""
FIXED = """
name = "flow"
version = "{version}"
kind = "fixed"
charset = "iso-8859-1"
length = 20
valid_from = {begins}
valid_to = {ends}
[[field]]
name = "code"
length = 4
align = "right"
fill = "0"
[[field]]
name = "name"
start = 7
length = 8
required = true
[[field]]
name = "at"
type = "time"
format = "HHMI"
length = 4
"""


def fixed(version: str = "1", begins: str = '"2020-01-01"', ends: str = '"2020-12-31"') -> str:
    return FIXED.format(version=version, begins=begins, ends=ends)


def test_a_delimited_file_is_written_and_read_back() -> None:
    """Header, quotes, a Jalali day, a default and an implied decimal point: all by data."""
    made = layout.parse(DELIMITED, "x")
    body = layout.write(made, [{"id": 'a;"b"', "born": "2020-10-22", "amount": "10.5"}, {"id": "c", "sex": "1"}])
    assert body.decode() == 'id;Birth;sex;amount\r\n"a;""b""";1399/08/01;9;1050\r\nc;;1;\r\n'
    assert layout.read(made, body) == [
        {"id": 'a;"b"', "born": "1399/08/01", "sex": "9", "amount": "1050"},
        {"id": "c", "born": "", "sex": "1", "amount": ""},
    ]


def test_a_fixed_file_has_every_field_in_its_columns() -> None:
    """A receiver counts columns: a gap stays blank, numbers are filled from the left, the record has its length."""
    made = layout.parse(fixed(), "x")
    body = layout.write(made, [{"code": "17", "name": "Città", "at": "09:30"}])
    assert body == "0017  Città   0930  \r\n".encode("iso-8859-1")
    assert layout.read(made, body) == [{"code": "17", "name": "Città", "at": "0930"}]


@pytest.mark.parametrize(
    ("row", "field", "why"),
    [
        ({"born": "2020-10-22"}, "id", "missing"),
        ({"id": "a", "sex": "3"}, "sex", "form"),
        ({"id": "a", "born": "2020-10"}, "born", "form"),
        ({"id": "a", "born": "2020-02-30"}, "born", "form"),
        ({"id": "a", "amount": "1.005"}, "amount", "form"),
        ({"id": "a", "amount": "NaN"}, "amount", "form"),
        ({"id": "a", "colour": "red"}, "colour", "unknown"),
    ],
)
def test_what_does_not_fit_is_told_by_row_and_field(row: dict[str, object], field: str, why: str) -> None:
    """A file with a wrong cell is not made at all; the value itself is never in the message."""
    with pytest.raises(layout.Wrong) as caught:
        layout.write(layout.parse(DELIMITED, "x"), [{"id": "fine"}, row])
    assert caught.value.cells == (layout.Cell(2, field, why),)
    assert caught.value.findings[0].args == {"row": "2", "field": field}


def test_a_value_that_is_too_long_or_of_another_charset_is_refused() -> None:
    """Cutting a name or writing a question mark would be a guess."""
    made = layout.parse(fixed(), "x")
    for name, why in (("123456789", "long"), ("شهر", "charset"), ("a\nb", "form")):
        with pytest.raises(layout.Wrong) as caught:
            layout.write(made, [{"name": name}])
        assert caught.value.cells == (layout.Cell(1, "name", why),)


def test_the_version_of_the_day_is_taken(tmp_path: Path) -> None:
    """A month of last year is sent as last year's layout says."""
    (tmp_path / "a.toml").write_text(fixed("1", '"2020-01-01"', '"2020-12-31"'))
    (tmp_path / "b.toml").write_text(fixed("2", '"2021-01-01"', '"2021-12-31"'))
    found = layout.load(tmp_path)
    assert layout.pick(found, "flow", "2020-12-31").version == "1"
    assert layout.pick(found, "flow", "2021-01-01").version == "2"
    with pytest.raises(Misconfigured):
        layout.pick(found, "flow", "2022-01-01")
    (tmp_path / "c.toml").write_text(fixed("3", '"2021-06-01"', '"2022-12-31"'))
    with pytest.raises(Misconfigured):
        layout.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        ('kind = "fixed"', 'kind = "tabbed"'),
        ("length = 20", "length = 9"),
        ("start = 7", "start = 2"),
        ("length = 8", "length = 0"),
        ('charset = "iso-8859-1"', 'charset = "ebcdic-x"'),
        ('name = "at"', 'name = "code"'),
        ("required = true", "needed = true"),
    ],
)
def test_a_layout_that_cannot_be_followed_stops_the_start(change: tuple[str, str]) -> None:
    """A misspelt layout must not silently make other files."""
    with pytest.raises(Misconfigured):
        layout.parse(fixed().replace(*change), "x")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1), max_size=5))
def test_any_text_comes_back_as_it_was(names: list[str]) -> None:
    """Quotes, separators and line ends inside a value are the writer's business."""
    made = layout.parse(DELIMITED, "x")
    rows: list[layout.Row] = [{"id": name} for name in names]
    assert [row["id"] for row in layout.read(made, layout.write(made, rows))] == names
