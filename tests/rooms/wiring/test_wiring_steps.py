"""What each commit writes: legal moves only, an event for each visible step, nothing refused goes on."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway import flow, steps
from gateway.errors import finding
from gateway.flow import Room, Thing
from gateway.message import CaseRef, ItemRecord, ItemResult, Submission
from gateway.workers import Examined

AT = datetime(2026, 3, 1, tzinfo=UTC)
SENT = Submission(
    id="s1",
    sender="h1",
    programme="p",
    received_at=AT,
    channel="http",
    media_type="text/csv",
    body=b"x",
    digest="0" * 64,
)


def examined(index: int, refused_by: Room | None) -> Examined:
    findings = (finding("GW-CORE-002"),) if refused_by else ()
    result = ItemResult(
        index=index,
        label=f"row {index + 2}",
        subject=f"p{index}",
        case=CaseRef(kind="k", id=f"c{index}"),
        findings=findings,
    )
    return Examined(result, refused_by)


fates = st.lists(st.sampled_from([None, Room.MAP, Room.VALIDATE]), min_size=1, max_size=8)


@given(fates)
def test_every_item_ends_valid_or_refused_by_legal_moves(given_fates: list[Room | None]) -> None:
    """Good rows go on although a neighbour is bad; each refused one has its own event."""
    step = steps.itemise(SENT, [examined(i, fate) for i, fate in enumerate(given_fates)], AT)
    for move in step.moves:
        flow.check(move.thing, move.frm, move.to, move.room)
    last = {move.id: move.to for move in step.moves if move.thing is Thing.ITEM}
    written = {write.id: write.state for write in step.writes if isinstance(write, ItemRecord)}
    assert last == written
    assert sorted(last.values()) == sorted("refused" if fate else "valid" for fate in given_fates)
    refusals = [event for event in step.audit if event.entities[0].startswith("item/")]
    assert len(refusals) == sum(1 for fate in given_fates if fate)
    assert any(event.entities[0] == "submission/s1" for event in step.audit)


@given(fates)
def test_all_or_nothing_refuses_the_neighbours_and_tells_them_why(given_fates: list[Room | None]) -> None:
    """One bad row refuses the workbook; the good rows say which rows were bad."""
    after = steps.all_or_nothing([examined(i, fate) for i, fate in enumerate(given_fates)])
    if any(given_fates):
        assert all(each.refused_by for each in after)
        added = [each for each, fate in zip(after, given_fates, strict=True) if fate is None]
        assert all(each.result.findings[-1].code == steps.ALL_OR_NOTHING for each in added)
    else:
        assert not any(each.refused_by for each in after)


def test_what_cannot_be_taken_apart_refuses_the_submission_itself() -> None:
    """An unreadable file has no items, and must still end somewhere, with its findings kept."""
    unreadable = Examined(ItemResult(index=0, label="document 1", findings=(finding("GW-CORE-003"),)), Room.MAP)
    step = steps.itemise(SENT, [unreadable], AT)
    assert [m.to for m in step.moves if m.thing is Thing.SUBMISSION] == ["refused"]


def test_ids_are_the_same_however_often_a_submission_is_taken_apart() -> None:
    """A crash between mapping and committing repeats the mapping, not the items."""
    assert steps.item_id("s1", 0) == steps.item_id("s1", 0) != steps.item_id("s1", 1)
