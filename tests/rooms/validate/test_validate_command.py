"""`gateway validate` on files, as a person at a terminal uses it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from instances_validate import INSTANCES, PROFILE, profile

from gateway.commands import validate
from gateway.formats import fhirxml, json, xml
from gateway.validate import load


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    validate.add(parser.add_subparsers())
    parsed = parser.parse_args(["validate", *arguments])
    return int(parsed.run(parsed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.json").write_bytes(json.write(INSTANCES["Patient"]))
    (tmp_path / "bad.json").write_bytes(json.write(INSTANCES["Patient"] | {"gender": "x"}))
    (tmp_path / "good.xml").write_bytes(fhirxml.write(INSTANCES["Encounter"], load().rules.types))
    lines = [INSTANCES["Observation"], {"resourceType": "Nothing"}]
    (tmp_path / "some.ndjson").write_bytes(b"\n".join(map(json.write, lines)) + b"\n{\n")
    return tmp_path


def test_the_exit_code_says_whether_there_were_errors(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read the exit code, people the last line."""
    assert run(str(folder / "good.json"), str(folder / "good.xml")) == 0
    assert "2 validated, 0 with errors" in capsys.readouterr().out
    assert run(str(folder / "bad.json")) == 1
    assert "bad.json: error GW-VAL-010 Patient.gender" in capsys.readouterr().out


def test_every_line_of_ndjson_is_judged_by_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One broken line does not hide the others."""
    assert run(str(folder / "some.ndjson"), "--errors-only") == 1
    out = capsys.readouterr().out
    assert "some.ndjson:2: error GW-VAL-001" in out
    assert "some.ndjson:3: error GW-CORE-003" in out
    assert "3 validated, 2 with errors" in out


def test_json_and_junit_hold_the_same_verdicts(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Machines read one of the two."""
    assert run(str(folder), "--format", "json") == 1
    said = json.read(capsysbinary.readouterr().out)
    assert len(said) == 6
    assert run(str(folder), "--format", "junit", "--language", "fa") == 1
    suite = xml.read(capsysbinary.readouterr().out)
    assert (suite.get("tests"), suite.get("failures")) == ("6", "3")
    assert "مجموعه مقادیر" in str(suite.xpath("string(//failure)"))


def test_a_profile_from_a_folder_of_definitions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An integrator validates against a profile that the gateway does not know yet."""
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "p.json").write_bytes(json.write(profile("p", "Patient", {"path": "Patient.photo", "min": 1})))
    assert run(str(folder / "good.json"), "--profile", PROFILE + "p") == 1
    assert "GW-VAL-055" in capsys.readouterr().out
    assert run(str(folder / "good.json"), "--profile", PROFILE + "p", "--definitions", str(definitions)) == 1
    assert "GW-VAL-003 Patient: Patient.photo" in capsys.readouterr().out
