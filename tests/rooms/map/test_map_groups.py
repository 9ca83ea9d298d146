"""Rows that belong together: several rows, or rows of several sheets, are one item with sums, joins and repetitions."""

from __future__ import annotations

import io

import openpyxl
import pytest
from maplab import NOW, TYPES, Little, submission

from gateway.errors import Misconfigured
from gateway.map import Engine
from gateway.message import Context, ItemResult

MAPPING = """
title: Visits of a month, a sheet of clients and one of visits
group: [card]
subject: patient
case: {kind: case, key: [card]}
parts: [all]
require: [card, name]
resources:
  patient:
    resourceType: Patient
    key: [card]
    identifier: [{system: =urn:card, value: card}]
    name: [{text: name}]
  visit:
    resourceType: Encounter
    each: "Visits!*"
    key: [/card, day]
    status: =finished
    class: {code: =AMB}
    subject: ->patient
    period: {start: day | date-as ymd}
  invoice:
    resourceType: Invoice
    key: [card]
    status: =issued
    subject: ->patient
    totalNet: {value: Visits!fee | sum, currency: =EUR}
    note: [{text: Visits!what | join "; "}]
"""


def workbook(visits: list[list[str]]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Clients"
    for row in (["card", "name"], ["A-1", "Test One"], ["A-2", "Test Two"]):
        book.active.append(row)
    sheet = book.create_sheet("Visits")
    for row in (["card", "day", "what", "fee"], *visits):
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


VISITS = [
    ["A-1", "2026-01-05", "physio", "10.10"],
    ["A-2", "2026-01-06", "speech", "7"],
    ["a-1 ", "2026-01-07", "speech", "20.20"],
]


def items(engine: Engine, body: bytes, suffix: str) -> tuple[ItemResult, ...]:
    given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k")
    return engine.take_apart(submission("little", body, TYPES[suffix]), given)


def test_rows_of_two_sheets_are_joined_by_their_key(little: Little) -> None:
    """One item a client: their visits, what was done, and the exact sum."""
    one, two = items(little(MAPPING, format="table"), workbook(VISITS), ".xlsx")
    kinds = [each["resourceType"] for each in one.resources]
    assert kinds == ["Patient", "Encounter", "Encounter", "Invoice"]
    invoice = one.resources[-1]
    assert str(invoice["totalNet"]["value"]) == "30.30"
    assert invoice["note"][0]["text"] == "physio; speech"
    assert str(two.resources[-1]["totalNet"]["value"]) == "7"
    assert one.label == "sheet Clients row 2"
    places = [p.path for line in one.lineage if line.element.endswith("totalNet.value") for p in line.places]
    assert places == ["sheet Visits row 2 column fee", "sheet Visits row 4 column fee"]


def test_what_rows_repeat_is_told_and_what_they_contradict_is_unread(little: Little) -> None:
    """The name on every line of a flat list is read once; another name on one of them is not lost."""
    text = MAPPING.replace("Visits!", "")
    flat = b"card;name;day;what;fee\nA-1;Test One;2026-01-05;physio;1\nA-1;Test One;2026-01-06;speech;2\n"
    (one,) = items(little(text, format="table"), flat, ".csv")
    told = {each.place.path: (each.fate, each.reason) for each in one.loss}
    assert told["row 3 column name"] == ("ignored", "says the same as row 2 column name")
    (other,) = items(little(text, format="table"), flat.replace(b"Test One;2026-01-06", b"Test Uno;2026-01-06"), ".csv")
    assert {"row 3 column name": "Test Uno"}.items() <= {
        each.place.path: each.value for each in other.loss if each.fate == "unread"
    }.items()


def test_a_row_without_key_stands_alone_and_is_refused(little: Little) -> None:
    """Nobody's row is joined to nobody."""
    found = items(little(MAPPING, format="table"), workbook([*VISITS, ["", "2026-01-08", "lost", "1"]]), ".xlsx")
    assert [each.refused for each in found] == [False, False, True]
    assert found[2].label == "sheet Visits row 5"


def test_a_sheet_without_the_key_column_is_refused_whole(little: Little) -> None:
    """A join that cannot be made is said before any row is taken."""
    book = openpyxl.load_workbook(io.BytesIO(workbook(VISITS)))
    book["Visits"]["A1"] = "customer"
    body = io.BytesIO()
    book.save(body)
    (result,) = items(little(MAPPING, format="table"), body.getvalue(), ".xlsx")
    assert [f.code for f in result.findings] == ["GW-MAP-015"]
    assert result.findings[0].args["columns"] == "card"


def test_only_tables_have_rows_to_group(little: Little) -> None:
    """The error names the line."""
    with pytest.raises(Misconfigured) as caught:
        little(MAPPING, format="json")
    assert "only tables have rows to group" in caught.value.args_["detail"]
