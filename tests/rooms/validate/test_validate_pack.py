"""The core pack: what is in it, what must not be, and that the script gives the same bytes again."""

# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

import gzip
import io
import runpy
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.validate import HOME
from gateway.validate.pack import FILES, Pack, core

FOLDER = HOME / "profiles" / "r4"
OURS = ("http://hl7.org/fhir", "http://terminology.hl7.org/", "http://cds-hooks.hl7.org/")


def read(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.read(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return value


def test_the_pack_is_whole() -> None:
    """As many definitions as hl7.fhir.r4.core 4.0.1 has."""
    counts = {kind: len(read(name)) for kind, name in FILES.items()}
    assert counts == {
        "StructureDefinition": 655,
        "ValueSet": 1316,
        "CodeSystem": 1062,
        "ConceptMap": 80,
        "SearchParameter": 1400,
        "CompartmentDefinition": 6,
    }


def test_no_display_of_a_third_party_is_in_it() -> None:
    """SNOMED CT, LOINC and others own their words; only bare codes of theirs are listed."""
    for value_set in read("valuesets").values():
        for part in (*value_set["compose"].get("include", ()), *value_set["compose"].get("exclude", ())):
            if not part.get("system", "").startswith(OURS):
                assert all("display" not in each for each in part.get("concept", ()))
    for url, system in read("codesystems").items():
        if not url.startswith(OURS):
            assert all("display" not in each for each in system["concept"])
    assert "CC0" in (FOLDER / "NOTICE").read_text(encoding="utf-8")


def package(folder: Path) -> Path:
    definition = {
        "resourceType": "StructureDefinition", "url": "http://hl7.org/fhir/StructureDefinition/X", "type": "X", "kind": "resource",
        "description": "prose", "snapshot": {"element": [
            {"id": "X", "path": "X", "definition": "prose", "constraint": [{"key": "ele-1", "expression": "true"}, {"key": "x-1", "expression": "true", "xpath": "prose"}]}]},
    }  # fmt: skip
    path = folder / "core.tgz"
    with tarfile.open(path, "w:gz") as archive:
        body = json.write(definition)
        member = tarfile.TarInfo("package/StructureDefinition-X.json")
        member.size = len(body)
        archive.addfile(member, io.BytesIO(body))
    return path


def test_another_package_is_refused(tmp_path: Path) -> None:
    """The source is pinned by its hash."""
    script = runpy.run_path(str(FOLDER / "build.py"))
    with pytest.raises(SystemExit, match="sha256"):
        script["build"](package(tmp_path), tmp_path)


def test_the_same_source_gives_the_same_bytes_without_prose(tmp_path: Path) -> None:
    """A rebuilt pack that differs is a changed pack."""
    source = package(tmp_path)
    script = runpy.run_path(str(FOLDER / "build.py"))
    script["build"].__globals__["SHA256"] = script["hashlib"].sha256(source.read_bytes()).hexdigest()
    outputs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        script["build"](source, tmp_path / name)
        outputs.append((tmp_path / name / "structures.json.gz").read_bytes())
    assert outputs[0] == outputs[1]
    text = gzip.decompress(outputs[0])
    assert b"prose" not in text
    assert b"ele-1" not in text
    assert b"x-1" in text


def test_layers_and_a_missing_pack() -> None:
    """The nearest layer wins; a folder without a pack is the operator's fault, and says so."""
    url = "http://hl7.org/fhir/ValueSet/administrative-gender"
    layered = core(HOME).over([{"resourceType": "ValueSet", "url": url, "name": "mine"}])
    found = layered.find("ValueSet", url + "|4.0.1")
    assert found is not None
    assert found["name"] == "mine"
    assert layered.digest != core(HOME).digest
    with pytest.raises(Misconfigured):
        Pack.of_folder(Path("/nowhere")).find("ValueSet", url)
