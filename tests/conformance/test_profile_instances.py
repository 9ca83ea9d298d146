"""Each profile of a programme with one valid instance, and what becomes of it when a rule of the profile is broken.

The instances are `profiles/<programme>/<profile id>.json`: {"valid": resource, "invalid": [{"why", "at", "to",
"expect"}]}. `at` is a JSON pointer into the valid instance, `to` the new value (left out: the member is taken away),
`expect` the findings of severity error, as "code location".
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import programme
from gateway.formats import json
from gateway.validate import Policy, Rulebook, load

HERE = Path(__file__).parent / "profiles"
HOME = Path(__file__).parents[2]
PROGRAMMES = sorted(each.name for each in HERE.iterdir() if each.is_dir())


def instances() -> Iterator[tuple[str, str, Any]]:
    for path in sorted(HERE.glob("*/*.json")):
        yield path.parent.name, path.stem, json.read(path.read_bytes())


def broken() -> Iterator[Any]:
    for name, profile, held in instances():
        for row in held["invalid"]:
            yield pytest.param(name, held["valid"], row, id=f"{profile}: {row['why']}")


def changed(resource: Any, row: Any) -> Any:
    made = copy.deepcopy(resource)
    holder = made
    *steps, last = row["at"].strip("/").split("/")
    for step in steps:
        holder = holder[int(step) if isinstance(holder, list) else step]
    key = int(last) if isinstance(holder, list) else last
    if "to" in row:
        holder[key] = row["to"]
    else:
        del holder[key]
    return made


@pytest.fixture(scope="module")
def book() -> Rulebook:
    quiet = Policy(best_practice=False)
    return load(HOME, [programme.load(HOME, name) for name in PROGRAMMES], policy=quiet)


def said(book: Rulebook, resource: Any) -> list[str]:
    return [f"{each.code} {each.location}" for each in book.validate(resource) if each.severity == "error"]


@pytest.mark.parametrize(("name", "profile", "held"), list(instances()), ids=lambda v: v if isinstance(v, str) else "")
def test_the_valid_instance_is_accepted(book: Rulebook, name: str, profile: str, held: Any) -> None:
    """It claims the profile, so that an empty answer means that the profile was checked."""
    assert held["valid"]["meta"]["profile"][0].endswith(f"/StructureDefinition/{profile}")
    assert [each for each in book.validate(held["valid"]) if each.severity in ("error", "warning")] == []


@pytest.mark.parametrize(("name", "valid", "row"), list(broken()))
def test_a_broken_rule_is_found_at_its_place(book: Rulebook, name: str, valid: Any, row: Any) -> None:
    """Exactly what is expected: a profile that refuses too much is as wrong as one that refuses too little."""
    assert said(book, changed(valid, row)) == row["expect"]


@pytest.mark.parametrize("name", PROGRAMMES)
def test_every_profile_has_instances(name: str) -> None:
    """One valid and several invalid ones: a profile nobody tried is a guess."""
    made = [json.read(path.read_bytes()) for path in (HOME / "profiles" / name).glob("StructureDefinition-*.json")]
    profiles = {each["id"] for each in made if each["type"] != "Extension"}
    tried = {profile: len(held["invalid"]) for programme, profile, held in instances() if programme == name}
    assert set(tried) == profiles
    assert min(tried.values()) >= 3


@pytest.mark.needs("sushi")
@pytest.mark.parametrize("name", PROGRAMMES)
def test_the_committed_json_is_what_the_sources_give(name: str, tmp_path: Path) -> None:
    """Nobody edits the generated files, and nobody forgets to make them anew."""
    command = [sys.executable, "profiles/author.py", "--check", name]
    done = subprocess.run(
        command, check=False, cwd=HOME, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()[-2000:]
