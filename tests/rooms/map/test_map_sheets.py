"""Promise: one workbook is read by several mappings, each with its sheets; rows join by values that are worked out."""

from __future__ import annotations

import io
from pathlib import Path

import openpyxl
import pytest
from maplab import context, submission

from gateway import map as mapping
from gateway import programme
from gateway.errors import text
from gateway.formats import media, table_write

PROGRAMME = """
name = "little"
language = "fa"
timezone = "Asia/Tehran"
canonical = "https://little.test"
case = []
document = []
route = []
[title]
en = "x"
fa = "x"
it = "x"
zh = "x"
[[intake]]
format = "table"
mapping = "people.yaml"
sheets = ["people"]
tells = {born = "people"}
[[intake]]
format = "table"
mapping = "visits.yaml"
sheets = ["visits", "stays"]
tells = {minutes = "visits"}
"""
PEOPLE = """
subject: person
require: [{path: born, each: people!*, severity: warning}]
resources:
  person: {resourceType: Patient, key: [card], birthDate: born | jalali, name: [{text: card}]}
"""
VISITS = """
group: [card, day | jalali | to-jalali year-month]
subject: person
require: [{path: minutes, each: visits!*}]
resources:
  person: {resourceType: Patient, key: [card], elsewhere: true}
  visit:
    resourceType: Observation
    each: visits!*
    key: [/card, day]
    effectiveDateTime: day | jalali
    subject: ->person
    valueQuantity: {value: minutes | decimal}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> mapping.Engine:
    home: Path = tmp_path_factory.mktemp("home")
    folder = home / "mappings" / "little"
    folder.mkdir(parents=True)
    for name, body in {"programme.toml": PROGRAMME, "people.yaml": PEOPLE, "visits.yaml": VISITS}.items():
        (folder / name).write_text(body, encoding="utf-8")
    return mapping.load(home, [programme.load(home, "little")])


def book(**sheets: list[list[str]]) -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        sheet = made.create_sheet(name.replace("note_", "#"))
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def taken(engine: mapping.Engine, body: bytes, kind: str = media.XLSX):
    return engine.take_apart(submission("little", body, kind, "s"), context("little", "s"))


DAYS = [["card", "day", "minutes"], ["a", "۱۴۰۳/۰۷/۳۰", "5"], ["a", "1403/08/01", "6"], ["A ", "1403/08/29", "7"]]


def test_each_mapping_gets_its_sheets_and_rows_of_one_month_are_one_item(engine: mapping.Engine) -> None:
    """A month is a value that is worked out: 30 Mehr and 1 Aban are two months, whatever digits they are in."""
    body = book(note_guide=[["not", "read"]], people=[["card", "born"], ["a", "1399/12/30"]], visits=DAYS)
    results = taken(engine, body)
    assert [(r.mapping, len(r.resources), r.label) for r in results] == [
        ("little/people", 1, "sheet people row 2"),
        ("little/visits", 1, "sheet visits row 2"),
        ("little/visits", 2, "sheet visits row 3"),
    ]
    assert results[0].resources[0]["birthDate"] == "2021-03-20"  # the leap day of 1399
    assert not any(r.findings for r in results)


def test_a_csv_is_known_by_the_column_that_tells_it(engine: mapping.Engine) -> None:
    """A CSV has no sheet's name; its findings still land in the workbook that is given back."""
    body = b"card;day;minutes\na;1403/08/01;\n"
    (result,) = taken(engine, body, media.CSV)
    assert [(f.code, f.place.path) for f in result.findings] == [("GW-MAP-011", "sheet visits row 2 column minutes")]
    marked = openpyxl.load_workbook(
        io.BytesIO(table_write.returned(body, media.CSV, "", result.findings, "fa"))
    ).worksheets[0]
    assert text(result.findings[0], "fa") in marked["C2"].comment.text


def test_json_rows_are_the_same_table_with_places_of_their_own(engine: mapping.Engine) -> None:
    """JSON of rows needs no second mapping, and is told about in JSON paths."""
    body = b'{"visits": [{"card": "a", "day": "1403/08/01"}, {"card": "a", "day": "1403/08/02", "minutes": 3}]}'
    (result,) = taken(engine, body, media.JSON)
    assert [f.place.path for f in result.findings] == ["$.visits[0].minutes"]
    assert len(result.resources) == 2


def test_a_sheet_that_nobody_reads_is_told(engine: mapping.Engine) -> None:
    """A misspelt sheet would otherwise be lost without a word."""
    first, *_ = taken(engine, book(people=[["card", "born"], ["a", "1399/12/30"]], vistis=DAYS))
    assert [(f.code, f.severity) for f in first.findings] == [("GW-MAP-027", "warning")]
    (refused,) = taken(engine, book(vistis=DAYS))
    assert [f.code for f in refused.findings] == ["GW-MAP-026"]


def test_a_row_whose_key_cannot_be_worked_out_stands_alone_with_its_fault(engine: mapping.Engine) -> None:
    """One bad date spoils its own row, not the month of the others."""
    results = taken(engine, book(visits=[*DAYS, ["a", "1403/13/01", "5"]]))
    assert [len(r.findings) for r in results] == [0, 0, 1]
    assert results[2].findings[0].place.path == "sheet visits row 5 column day"


def test_a_required_cell_of_each_row_is_asked_of_each_row(engine: mapping.Engine) -> None:
    """`require` with `each` names the row, so that the cell can be marked."""
    results = taken(engine, book(people=[["card", "born"], ["a", "1399/12/30"], ["b", ""]]))
    assert [[(f.code, f.place.path) for f in r.findings] for r in results] == [
        [],
        [("GW-MAP-012", "sheet people row 3 column born")],
    ]


GROWING = """
group: [card]
subject: person
resources:
  person: {resourceType: Patient, key: [card], elsewhere: true}
  left: {resourceType: EpisodeOfCare, each: left!*, key: [card], status: =finished, period: {end: day | jalali}}
  stay:
    resourceType: EpisodeOfCare
    each: stays!*
    key: [card]
    fills: true
    status: =active
    patient: ->person
  plan:
    resourceType: CarePlan
    each: goals!*
    key: [card, plan]
    grows: [goal, activity]
    intent: =plan
    goal: [{display: goal}]
    activity: [{detail: {description: duty}}]
"""


def test_rows_of_one_plan_are_one_plan_and_a_discharge_comes_before_the_admission(tmp_path: Path) -> None:
    """A plan has many goals, each in a row; a list that grows keeps each row's place at its own member."""
    folder = tmp_path / "mappings" / "little"
    folder.mkdir(parents=True)
    head = PROGRAMME.partition("[[intake]]")[0]
    (folder / "programme.toml").write_text(
        head + '[[intake]]\nformat = "table"\nmapping = "growing.yaml"\nsheets = ["goals", "stays", "left"]\n'
    )
    (folder / "growing.yaml").write_text(GROWING)
    engine = mapping.load(tmp_path, [programme.load(tmp_path, "little")])
    goals = [["card", "plan", "goal", "duty"], ["a", "1", "walk", "x"], ["a", "1", "sit", "x"], ["a", "2", "eat", "y"]]
    body = book(goals=goals, stays=[["card"], ["a"]], left=[["card", "day"], ["a", "1403/07/01"]])
    (result,) = taken(engine, body)
    made = {(r["resourceType"], len(r.get("goal", ()))): r for r in result.resources}
    assert made["CarePlan", 2]["goal"] == [{"display": "walk"}, {"display": "sit"}]
    assert made["CarePlan", 2]["activity"] == [{"detail": {"description": "x"}}]
    assert (made["EpisodeOfCare", 0]["status"], "patient" in made["EpisodeOfCare", 0]) == ("finished", True)
    plan = f"CarePlan/{made['CarePlan', 2]['id']}#goal[1].display"
    assert [place.path for line in result.lineage if line.element == plan for place in line.places] == [
        "sheet goals row 3 column goal"
    ]
    assert not result.findings
    unread = [loss.place.path for loss in result.loss if loss.fate == "unread"]
    assert not [path for path in unread if not path.endswith(("card", "plan"))]  # keys tell nothing by themselves
