"""Layouts whose rows are elements or objects: written, read back, refused where something else stands in the file."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import layout
from gateway.formats.layout import Wrong

FIELDS = """
[[field]]
name = "id"
required = true
length = 10
[[field]]
name = "count"
heading = "detail/count"
type = "integer"
[[field]]
name = "price"
heading = "detail/price"
type = "decimal"
decimals = 2
[[field]]
name = "at"
heading = "detail/at"
type = "datetime"
format = "YYYY-MM-DD HH:MI:SS"
[[field]]
name = "note"
"""
XML = layout.parse(f'name="x"\nversion="1"\nkind="xml"\nroot="flow"\nrecord="row"\nnamespace="urn:t"\n{FIELDS}', "x")
JSON = layout.parse(f'name="x"\nversion="1"\nkind="json"\nroot="flow"\n{FIELDS}', "x")
ROW = {"id": "A<1>", "count": 3, "price": "1.50", "at": "2026-03-29T03:30:00+02:00", "note": 'è & "q"'}


def test_a_row_is_an_element_and_what_stands_together_shares_its_parent() -> None:
    """Names of the layout, in its namespace; times as they are written, without offset."""
    root = etree.fromstring(layout.write(XML, [ROW]))
    assert root.tag == "{urn:t}flow"
    (row,) = root
    assert [etree.QName(each).localname for each in row] == ["id", "detail", "note"]
    assert [(etree.QName(each).localname, each.text) for each in row[1]] == [
        ("count", "3"),
        ("price", "1.50"),
        ("at", "2026-03-29 03:30:00"),
    ]


def test_a_row_is_an_object_with_numbers_as_numbers() -> None:
    """Decimals keep their digits."""
    assert layout.write(JSON, [ROW]).decode() == (
        '{"flow":[{"id":"A<1>","detail":{"count":3,"price":1.50,"at":"2026-03-29 03:30:00"},"note":"è & \\"q\\""}]}'
    )


_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)
_rows = st.lists(
    st.fixed_dictionaries(
        {"id": _text},
        optional={
            "count": st.integers(-(10**12), 10**12),
            "price": st.decimals(-1000, 1000, places=2, allow_nan=False),
            "note": _text,
        },
    ),
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(_rows, st.sampled_from([XML, JSON]))
def test_what_is_written_is_read_back(rows: list[dict[str, object]], shape: layout.Layout) -> None:
    """Every value as the text that the file has."""
    found = layout.read(shape, layout.write(shape, rows))
    assert [each["id"] for each in found] == [each["id"] for each in rows]
    for told, row in zip(found, rows, strict=True):
        assert told["count"] == str(row.get("count", ""))
        assert told["note"] == row.get("note", "")
        assert told["price"] in {f"{row['price']:.2f}" if "price" in row else "", "0.00"}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"id": "a" * 11}, "id"),
        ({}, "id"),
        ({"id": "a", "note": "\x00"}, "note"),
        ({"id": "a", "at": "2026-02-30T10:00:00"}, "at"),
        ({"id": "a", "at": "2026"}, "at"),
        ({"id": "a", "price": "1.005"}, "price"),
        ({"id": "a", "other": "b"}, "other"),
    ],
)
def test_what_does_not_fit_is_told_by_row_and_field(row: dict[str, object], field: str) -> None:
    """And no file is made."""
    with pytest.raises(Wrong) as caught:
        layout.write(XML, [{"id": "good"}, row])
    assert [(each.row, each.field) for each in caught.value.cells] == [(2, field)]


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (XML, b""),
        (XML, b"<flow/>"),
        (XML, b"<flow xmlns='urn:other'/>"),
        (XML, b"<flow xmlns='urn:t'><other/></flow>"),
        (XML, b"<flow xmlns='urn:t'><row><other/></row></flow>"),
        (XML, b"<flow xmlns='urn:t'><row><id>a</id><id>b</id></row></flow>"),
        (XML, b"<flow xmlns='urn:t'><row x='1'><id>a</id></row></flow>"),
        (XML, b"<!DOCTYPE f [<!ENTITY e 'x'>]><flow xmlns='urn:t'/>"),
        (JSON, b"[]"),
        (JSON, b'{"flow":{}}'),
        (JSON, b'{"flow":[1]}'),
        (JSON, b'{"flow":[{"id":["a"]}]}'),
        (JSON, b'{"flow":[{"other":"a"}]}'),
        (JSON, b'{"flow":[],"more":[]}'),
        (JSON, b'{"flow":[{"id":"a","id":"b"}]}'),
    ],
)
def test_a_file_of_another_shape_is_refused(shape: layout.Layout, body: bytes) -> None:
    """Nothing in it is passed over in silence."""
    with pytest.raises(Wrong):
        layout.read(shape, body)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    """By an error of the table, never by another."""
    shape = data.draw(st.sampled_from([XML, JSON]))
    body = bytearray(layout.write(shape, [ROW, ROW]))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(GatewayError):
        layout.read(shape, bytes(body))


def test_an_xml_layout_has_a_root() -> None:
    """It is said at the start."""
    with pytest.raises(Misconfigured):
        layout.parse(f'name="x"\nversion="1"\nkind="xml"\n{FIELDS}', "x")
