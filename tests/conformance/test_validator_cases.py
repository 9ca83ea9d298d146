"""The decidable cases of the HL7 validator suite: our verdict against the outcome of the reference validator.

`validator_baseline.json` records the agreement, which may only rise, and one line of reason for each disagreement.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.formats import json
from gateway.validate import Policy, Rulebook, load

DATA = Path(os.environ.get("GATEWAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CASES = DATA / "validator_cases.ndjson"
BASELINE = json.read((Path(__file__).parent / "validator_baseline.json").read_bytes())

pytestmark = pytest.mark.skipif(not CASES.is_file(), reason="the validator cases are not here (GATEWAY_TEST_DATA)")


def policy(options: dict[str, Any]) -> Policy:
    """What a case asks of the validator besides the rules."""
    exists = options.get("validateReference") == "CHECK_EXISTS_AND_TYPE"
    return Policy(unresolved="error" if exists else None, examples=options.get("examples", True))


def verdict(book: Rulebook, case: dict[str, Any]) -> str:
    profiles = (case["profile"],) if case["profile"] else ()
    found = book.validate(case["resource"], profiles, case["definitions"], policy(case["options"]))
    return "invalid" if any(each.severity == "error" for each in found) else "valid"


@pytest.fixture(scope="module")
def disagreements() -> dict[str, str]:
    """id -> what we say, for every case where the reference says otherwise."""
    book = load()
    found: dict[str, str] = {}
    total = 0
    for line in CASES.read_bytes().splitlines():
        case = json.read(line)
        total += 1
        said = verdict(book, case)
        if said != case["expected"]:
            found[case["id"]] = said
    assert total == BASELINE["cases"]
    return found


def test_no_new_disagreement(disagreements: dict[str, str]) -> None:
    """What once agreed must go on agreeing; each remaining disagreement has its reason on record."""
    assert disagreements.keys() <= BASELINE["disagreements"].keys()


def test_the_baseline_is_raised_when_it_can_be(disagreements: dict[str, str]) -> None:
    """A disagreement that is gone is taken off the list, so that it cannot come back unseen."""
    assert disagreements.keys() == BASELINE["disagreements"].keys()


def test_agreement_and_false_alarms_keep_the_promise(disagreements: dict[str, str]) -> None:
    """At least 95 % agreement; at most two valid ones refused."""
    assert len(disagreements) <= BASELINE["cases"] * 0.05
    assert sum(said == "invalid" for said in disagreements.values()) <= 2
