"""ViewDefinitions: what is refused when it is read, what is refused when it runs, and the shape of rows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import measure_house as house
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Broken, GatewayError, Misconfigured
from gateway.measure import cells, model
from gateway.measure.view import View

R4 = model.r4(Path(house.ROOT))
ID = {"name": "id", "path": "id"}


def view(*selects: Any, **more: Any) -> View:
    return View({"resource": "Patient", "select": list(selects), **more}, R4)


@pytest.mark.parametrize(
    "definition",
    [
        {},
        [],
        {"resource": "Patient"},
        {"resource": "Patient", "select": []},
        {"resource": "Patient", "select": {}},
        {"resource": "Patient", "select": [{}]},
        {"resource": "Patient", "select": ["x"]},
        {"resource": "Nobody", "select": [{"column": [ID]}]},
        {"resource": "Patient", "select": [{"column": [{"name": "id"}]}]},
        {"resource": "Patient", "select": [{"column": [{"path": "id"}]}]},
        {"resource": "Patient", "select": [{"column": [{"name": "1id", "path": "id"}]}]},
        {"resource": "Patient", "select": [{"column": [{"name": "a b", "path": "id"}]}]},
        {"resource": "Patient", "select": [{"column": [{"name": "id", "path": "id", "collection": "yes"}]}]},
        {"resource": "Patient", "select": [{"column": [ID, ID]}]},
        {"resource": "Patient", "select": [{"column": [ID]}, {"select": [{"column": [ID]}]}]},
        {"resource": "Patient", "select": [{"forEach": "name", "forEachOrNull": "name", "column": [ID]}]},
        {"resource": "Patient", "select": [{"forEach": "name", "repeat": ["name"], "column": [ID]}]},
        {"resource": "Patient", "select": [{"repeat": "contact", "column": [ID]}]},
        {"resource": "Patient", "select": [{"repeat": [], "column": [ID]}]},
        {"resource": "Patient", "select": [{"column": [{"name": "x", "path": "%nobody"}]}]},
        {"resource": "Patient", "select": [{"column": [ID]}], "constant": [{"name": "x"}]},
        {"resource": "Patient", "select": [{"column": [ID]}],
         "constant": [{"name": "x", "valueCode": "a", "valueId": "b"}]},
        {"resource": "Patient", "select": [{"column": [ID]}], "where": [{}]},
        {"resource": "Patient", "select": [{"column": [ID]}], "where": [{"path": "name."}]},
        {"resource": "Patient", "select": [
            {"unionAll": [{"column": [ID]}, {"column": [{"name": "x", "path": "id"}]}]}]},
        {"resource": "Patient", "select": [{"unionAll": [
            {"column": [ID, {"name": "x", "path": "id"}]}, {"column": [{"name": "x", "path": "id"}, ID]}]}]},
        {"resource": "Patient", "select": [{"unionAll": [
            {"column": [{"name": "x", "path": "id", "type": "id"}]},
            {"column": [{"name": "x", "path": "id", "type": "date"}]}]}]},
    ],
)  # fmt: skip
def test_a_definition_without_meaning_is_refused_when_it_is_read(definition: Any) -> None:
    """With its file and the place; never a traceback, never a surprise at run time."""
    with pytest.raises(Misconfigured) as caught:
        View(definition, R4, "views/x.json")
    assert caught.value.code == "GW-MEASURE-001"
    assert caught.value.args_["file"] == "views/x.json"
    assert caught.value.args_["detail"]


def test_columns_stand_in_the_order_of_the_standard() -> None:
    """Own columns, nested selects, unions; a union counts once."""
    made = view(
        {
            "unionAll": [{"column": [{"name": "e", "path": "id"}]}, {"column": [{"name": "e", "path": "gender"}]}],
            "select": [{"column": [{"name": "c", "path": "id"}]}, {"column": [{"name": "d", "path": "id"}]}],
            "column": [{"name": "a", "path": "id"}, {"name": "b", "path": "gender"}],
        },
        {"column": [{"name": "f", "path": "id"}]},
    )
    assert [column.name for column in made.columns] == ["a", "b", "c", "d", "e", "f"]
    assert made({"resourceType": "Patient", "id": "p", "gender": "male"}) == [
        ("p", "male", "p", "p", "p", "p"),
        ("p", "male", "p", "p", "male", "p"),
    ]


def test_several_values_need_a_collection() -> None:
    """Silently taking the first would be a wrong figure. The message names no value."""
    names = [{"name": "given", "path": "name.given"}]
    patient = {"resourceType": "Patient", "name": [{"given": ["Test", "Middle"]}]}
    with pytest.raises(Broken) as caught:
        view({"column": names})(patient)
    assert "Middle" not in str(caught.value.args_)
    assert view({"column": [names[0] | {"collection": True}]})(patient) == [(["Test", "Middle"],)]


def test_a_place_under_for_each_or_null_is_the_element_or_nothing() -> None:
    """One null row, its `%rowIndex` zero, constants still there; a nested forEach of nothing makes no row."""
    made = view(
        {
            "forEachOrNull": "contact",
            "column": [
                {"name": "n", "path": "%rowIndex"}, {"name": "g", "path": "gender"}, {"name": "c", "path": "%x"},
            ],
        },
        constant=[{"name": "x", "valueString": "k"}],
    )  # fmt: skip
    assert made({"resourceType": "Patient"}) == [(0, None, "k")]
    contacts = [{"gender": "male"}, {"gender": "female"}]
    assert made({"resourceType": "Patient", "contact": contacts}) == [(0, "male", "k"), (1, "female", "k")]
    nested = view(
        {"forEachOrNull": "contact", "select": [{"forEach": "telecom", "column": [{"name": "v", "path": "value"}]}]}
    )
    assert nested({"resourceType": "Patient"}) == []


def test_decimals_keep_their_digits() -> None:
    """A view is not where precision is lost."""
    made = View(
        {"resource": "Observation", "select": [{"column": [{"name": "v", "path": "value.ofType(Quantity).value"}]}]}, R4
    )
    (row,) = made({"resourceType": "Observation", "valueQuantity": {"value": Decimal("1.10")}})
    assert str(row[0]) == "1.10"


def test_another_type_makes_no_rows() -> None:
    """A view is asked for everything that is published."""
    assert view({"column": [ID]})({"resourceType": "Group", "id": "x"}) == []


def test_repeat_comes_to_an_end() -> None:
    """`$this` reaches itself for ever."""
    with pytest.raises(GatewayError, match="GW-MEASURE-002"):
        view({"repeat": ["$this"], "column": [ID]})({"resourceType": "Patient", "id": "x"})


@pytest.mark.parametrize(
    ("text", "cells_"),
    [
        ("2026-11-20T22:30:00Z", ("2026-11-20T22:30:00Z", 20778, 1795213800)),
        ("2026-11-20T20:29:59Z", ("2026-11-20T20:29:59Z", 20777, 1795206599)),
        ("2026-11-20T22:30:00.123456789+03:30", ("2026-11-20T22:30:00.123456789+03:30", 20777, 1795201200)),
        ("2026-11-20", ("2026-11-20", 20777, None)),
        ("2026-11", ("2026-11", None, None)),
        ("2026", ("2026", None, None)),
        ("1969-12-31", ("1969-12-31", -1, None)),
        ("1969-12-31T20:00:00Z", ("1969-12-31T20:00:00Z", -1, -14400)),
        ("2022-03-21T20:30:00Z", ("2022-03-21T20:30:00Z", 19073, 1647894600)),
        ("nonsense", ("nonsense", None, None)),
    ],
)
def test_moments_as_local_days(text: str, cells_: Any) -> None:
    """Tehran is +03:30, and +04:30 in the summers until 2022; a year or a month alone is no day."""
    assert cells.moment(text, "Asia/Tehran") == cells_


@given(st.text(max_size=40))
def test_no_text_breaks_a_cell(text: str) -> None:
    """Whatever stands in a resource, a row can be written."""
    for kind in ("date", "dateTime", "integer", "decimal", "boolean", "string", ""):
        columns, make = cells.by_type("x", kind, "Asia/Tehran")
        assert len(make(text)) == len(columns)
