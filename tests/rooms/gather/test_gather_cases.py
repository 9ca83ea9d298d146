"""Cases complete by parts or by time, grow versions, and never forget what they had."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import flow
from gateway.errors import Misconfigured
from gateway.gather import cases
from gateway.message import Case, CaseRef, ItemRecord, ItemResult, Move
from gateway.programme import CasePlan, Completion

AT = datetime(2026, 3, 1, tzinfo=UTC)
PLAN = CasePlan(kind="stay", complete=Completion(parts=(("discharge", "bill"),)), expires_after="P30D")


def item(number: int, *parts: str) -> ItemRecord:
    result = ItemResult(index=0, label="message 1", subject="s1", case=CaseRef(kind="stay", id="c1"), parts=parts)
    return ItemRecord(
        id=f"i{number}", submission=f"m{number}", sender="h1", programme="p", state="valid", result=result
    )


def legal(moves: tuple[Move, ...]) -> None:
    for move in moves:
        flow.check(move.thing, move.frm, move.to, move.room)


def test_a_case_is_complete_when_every_part_is_there_in_any_order() -> None:
    """ADT^A03 and DFT^P03 may come in either order: one bill, not two."""
    for order in (("discharge", "bill"), ("bill", "discharge")):
        case: Case | None = None
        for number, part in enumerate(order):
            case, moves = cases.join(PLAN, case, item(number, part), AT)
            legal(moves)
        assert case is not None
        assert (case.state, case.version) == ("complete", 1)


def test_a_later_item_opens_a_new_version() -> None:
    """A corrected bill is a new version of the same case, never a second case."""
    case, _ = cases.join(PLAN, None, item(1, "discharge", "bill"), AT)
    again, moves = cases.join(PLAN, case, item(2, "bill"), AT)
    legal(moves)
    assert (again.state, again.version, again.id) == ("complete", 2, case.id)
    assert [m.to for m in moves if m.thing == "case"] == ["reopened", "complete"]


def test_a_time_limit_expires_an_incomplete_case_and_the_missing_part_reopens_it() -> None:
    """An expired case is a finding to the sender; what comes late is still taken."""
    case, _ = cases.join(PLAN, None, item(1, "discharge"), AT)
    assert case.expires_at == AT + timedelta(days=30)
    expired, move = cases.pass_limit(PLAN, case)
    legal((move,))
    assert expired.state == "expired"
    done, moves = cases.join(PLAN, expired, item(2, "bill"), AT)
    legal(moves)
    assert done.state == "complete"


def test_a_time_limit_may_complete_a_case_where_the_plan_says_so() -> None:
    """A centre's month is complete when the month is over, whatever came."""
    plan = CasePlan(kind="stay", complete=Completion(parts=()), expires_after="P1D", at_limit="complete")
    case, _ = cases.join(plan, None, item(1, "visit"), AT)
    done, move = cases.pass_limit(plan, case)
    legal((move,))
    assert (done.state, done.version) == ("complete", 1)


@pytest.mark.parametrize("text", ["", "P", "30D", "P1M", "P1Y", "PT"])
def test_a_duration_without_fixed_length_is_a_configuration_error(text: str) -> None:
    """A month is not a length of time; a limit that depends on the calendar would surprise somebody."""
    with pytest.raises(Misconfigured):
        cases.duration(text)


@given(st.lists(st.sampled_from(["admission", "discharge", "bill", "correction"]), min_size=1, max_size=12))
def test_versions_only_grow_and_parts_are_never_lost(parts: list[str]) -> None:
    """Whatever arrives in whatever order: no part vanishes, no version number is used twice."""
    case: Case | None = None
    seen: set[str] = set()
    for number, part in enumerate(parts):
        before = case.version if case else 0
        case, moves = cases.join(PLAN, case, item(number, part), AT)
        legal(moves)
        seen.add(part)
        assert set(case.parts) == seen
        assert case.version == before + (1 if case.state == "complete" else 0)
        assert (case.state == "complete") == ({"discharge", "bill"} <= seen)


def test_a_part_that_is_taken_away_has_to_come_again() -> None:
    """A cancelled discharge leaves a stay that nobody may bill."""
    plan = CasePlan(kind="stay", complete=Completion(parts=(("discharge", "bill"),)))
    case, _ = cases.join(plan, None, item(1, "discharge", "bill"), AT)
    undone, moves = cases.join(plan, case, item(2, "-discharge"), AT)
    legal(moves)
    assert (undone.state, undone.parts) == ("reopened", ("bill",))
    done, moves = cases.join(plan, undone, item(3, "discharge"), AT)
    legal(moves)
    assert (done.state, done.version) == ("complete", 2)
