"""What an analyst looks at before a mapping goes live: comparisons, explanations, workbooks."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import openpyxl
import pytest
from maplab import HOME, MAPPINGS

from gateway import cli
from gateway.commands import compare
from gateway.message import Finding, ItemResult, Loss, Place

SAMPLE = MAPPINGS / "toscana" / "samples" / "prenotazioni.csv"


def item(**more: object) -> ItemResult:
    return ItemResult(index=0, label="row 2", **more)  # type: ignore[arg-type]


def patient(id: str = "p", **more: object) -> dict[str, object]:
    return {"resourceType": "Patient", "id": id, **more}


def test_the_same_twice_is_no_difference() -> None:
    """Lineage alone does not count: nobody outside could notice it."""
    assert not list(compare.differences([item(resources=(patient(),))], [item(resources=(patient(),))]))


def test_every_kind_of_difference_is_named() -> None:
    """Resources, findings, verdict, loss, items that came or went."""
    place = Place(notation="table", path="row 2 column born")
    old = [item(resources=(patient(gender="male", name=[{"text": "Test"}]),), loss=(Loss(place=place, fate="unread"),))]
    bad = Finding(code="GW-FMT-091", severity="error", place=place)
    new = [item(resources=(patient("q", gender="female"),), findings=(bad,)), item()]
    found = {(each.where, each.old, each.new) for each in compare.differences(old, new)}
    assert found == {
        ("verdict", "accepted", "refused"),
        ("finding", "(nothing)", "error GW-FMT-091 row 2 column born"),
        ("unread", "row 2 column born", "(nothing)"),
        ("Patient.id", "p", "q"),
        ("Patient.gender", "male", "female"),
        ("Patient.name[0].text", "Test", "(nothing)"),
        ("item", "(nothing)", "accepted"),
    }


@pytest.fixture
def changed_home(tmp_path: Path) -> Path:
    """A copy of the mappings in which the telephone number is taken from another column."""
    home = tmp_path / "old"
    shutil.copytree(MAPPINGS, home / "mappings")
    (home / "profiles").symlink_to(HOME / "profiles")
    path = home / "mappings" / "toscana" / "prenotazioni.yaml"
    text = path.read_text(encoding="utf-8")
    assert "  telefono: telefono\n" in text
    path.write_text(text.replace("  telefono: telefono\n", "  telefono: note\n"), encoding="utf-8")
    return home


def test_two_homes_are_compared_over_a_folder(
    changed_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: readable, and its exit status tells whether anything differs."""
    folder = tmp_path / "past"
    folder.mkdir()
    shutil.copy(SAMPLE, folder)
    asked = ["convert", "--programme", "toscana", "--compare"]
    assert cli.main([*asked, str(changed_home), str(HOME), str(folder)]) == 1
    said = capsys.readouterr().out
    assert "    Patient.telecom[0].value\n      - (nothing)\n      + 055000001\n" in said
    assert said.endswith("1 files, 3 items: 1 files and 2 items differ\n")
    assert cli.main([*asked, str(HOME), str(HOME), str(folder)]) == 0


@pytest.mark.parametrize(
    ("sample", "wanted", "said", "unsaid"),
    [
        ("sepas/samples/adt-a03.hl7", "PID-3.1", "#identifier[0].value  (mapped)", "PID-3[2].1  →"),
        ("sepas/samples/adt-a03.hl7", "PID-3", "PID-3[2].1  →", "PID-30"),
        ("sepas/samples/adt-a03.hl7", "Patient.identifier", "PID-3.1  →", "Encounter"),
        ("sepas/samples/adt-a03.hl7", "Patient.identifier[1].value", "PID-3[2].1  →", "identifier[0]"),
        ("sepas/samples/adt-a03.hl7", "Patient.contact.photo", "nothing was made of", "→"),
        ("toscana/samples/prenotazioni.csv", "classe", "#priority  (mapped)", "#status"),
        ("sepas/samples/stay.json", "patient.nationalCode", "#identifier[0].value", "#gender"),
    ],
)
def test_a_place_or_an_element_is_explained(
    sample: str, wanted: str, said: str, unsaid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of either side, and only what was asked for."""
    programme = sample.partition("/")[0]
    cli.main(["convert", str(MAPPINGS / sample), "--programme", programme, "--home", str(HOME), "--explain", wanted])
    out = capsys.readouterr().out
    assert said in out
    assert unsaid not in out


def test_a_workbook_is_written_beside_the_preview(tmp_path: Path) -> None:
    """What the sender would get back can be looked at before anything is sent."""
    rows = SAMPLE.read_text(encoding="utf-8").splitlines()
    cells = rows[1].split(";")
    column = rows[0].split(";").index("classe")
    cells[column] = "X"
    bad, out = tmp_path / "bad.csv", tmp_path / "out.xlsx"
    bad.write_text("\n".join([rows[0], ";".join(cells)]), encoding="utf-8")
    asked = ["convert", str(bad), "--programme", "toscana", "--home", str(HOME), "--language", "it"]
    assert cli.main([*asked, "--workbook", str(out)]) == 1
    page = openpyxl.load_workbook(io.BytesIO(out.read_bytes())).worksheets[0]
    assert "GW-MAP-003" in page.cell(row=2, column=column + 1).comment.text
