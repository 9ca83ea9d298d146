"""One commit a step: all of it or none of it, checked, numbered, and undone alone."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from decimal import Decimal

import pytest
from ledger_steps import (
    AT,
    accepted,
    attempt,
    case,
    digest,
    document,
    event,
    exchange,
    item,
    itemised,
    move,
    moved,
    routed,
    submission,
)

from gateway import store
from gateway.errors import Broken, StaleState
from gateway.flow import NEW, IllegalStep, Room, Thing
from gateway.message import Answer, Finding, Receipt, RegistryEntry, Step, StoredResource


async def test_what_was_accepted_is_read_back_byte_for_byte(ledger: store.Ledger) -> None:
    """Promise 5, the store's part."""
    body = bytes(range(256)) * 40
    done = await ledger.commit(accepted("s1", body=body, control_id="C-1", charset="windows-1256", language="fa"))
    assert (done.feed, done.sequence) == (1, 1)
    found = await ledger.submission("s1")
    assert found == submission("s1", body=body, control_id="C-1", charset="windows-1256", language="fa", sequence=1)


async def test_sequence_counts_per_sender_and_feed_counts_all(ledger: store.Ledger) -> None:
    """The order of a sender is fixed at acceptance, whatever others do."""
    done = [await ledger.commit(accepted(f"s{n}", sender="ab"[n % 2])) for n in range(6)]
    assert [each.sequence for each in done] == [1, 1, 2, 2, 3, 3]
    assert [each.feed for each in done] == [1, 2, 3, 4, 5, 6]


async def test_one_failing_step_does_not_undo_its_neighbours(ledger: store.Ledger) -> None:
    """Steps that share a commit share nothing else; the feed has no gap where a step failed."""
    await ledger.commit(accepted("s0"))
    steps = [accepted(f"s{n}") for n in range(1, 21)]
    steps[5] = accepted("s0")  # exists
    steps[11] = Step(name="x", at=AT, moves=(move(Thing.SUBMISSION, "s0", "itemised", "received", Room.DESK),))
    steps[17] = Step(name="x", at=AT, moves=(move(Thing.SUBMISSION, "nobody", "received", "itemised", Room.MAP),))
    done = await asyncio.gather(*(ledger.commit(step) for step in steps), return_exceptions=True)
    failed = {n: type(each) for n, each in enumerate(done) if isinstance(each, BaseException)}
    assert failed == {5: StaleState, 11: IllegalStep, 17: StaleState}
    feeds = sorted(each.feed for each in done if not isinstance(each, BaseException))
    assert feeds == list(range(2, 19))
    assert [each.id for each in await ledger.received(100)] == ["s0"] + [
        f"s{n}" for n in range(1, 21) if n - 1 not in failed
    ]
    assert (await ledger.counts())["submission"]["received"][0] == 18
    assert await ledger.audit_chain_intact()


async def test_a_failing_step_leaves_nothing_of_itself(ledger: store.Ledger) -> None:
    """Its last write fails, its first ones are gone too: no sequence, no journal, no event."""
    await ledger.commit(accepted("s1"))
    step = accepted("s2")
    broken = Step(
        name="x", at=AT, moves=step.moves, writes=(*step.writes, attempt("a", "no-exchange")), audit=step.audit
    )
    with pytest.raises(Broken, match="GW-STORE-008"):
        await ledger.commit(broken)
    assert await ledger.submission("s2") is None
    assert await ledger.journal("s2") == []
    assert len(await ledger.audit_events()) == 1
    assert (await ledger.commit(accepted("s3"))).sequence == 2


async def test_compare_and_set_lets_exactly_one_win(ledger: store.Ledger) -> None:
    """Ten claims at once: one holds it, nine are told to look again."""
    await ledger.commit(routed("d1", exchange("e1", "d1")))
    claims = await asyncio.gather(
        *(ledger.commit(moved("e1", "due", "claimed")) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(each, StaleState) for each in claims) == 9
    found = await ledger.exchange("e1")
    assert found is not None
    assert found.state == "claimed"


@pytest.mark.parametrize(
    "bad",
    [
        Step(name="no record", at=AT, moves=(move(Thing.EXCHANGE, "e", NEW, "due", Room.GATHER),)),
        Step(
            name="record elsewhere",
            at=AT,
            moves=(move(Thing.EXCHANGE, "e", NEW, "due", Room.GATHER),),
            writes=(document("d", "c", ()), exchange("e", "d", state="delivered")),
        ),
        Step(name="submission without a move", at=AT, writes=(submission("s"),)),
        Step(
            name="wrong digest",
            at=AT,
            writes=(
                document("d", "c", ()).__class__(
                    **{f: getattr(document("d", "c", ()), f) for f in document("d", "c", ()).__struct_fields__}
                    | {"digest": "0" * 64}
                ),
            ),
        ),
    ],
    ids=lambda step: step.name,
)
async def test_a_step_that_contradicts_itself_is_a_defect(ledger: store.Ledger, bad: Step) -> None:
    """There is no way to a state but a move, and no record that says otherwise."""
    with pytest.raises(Broken):
        await ledger.commit(bad)
    assert await ledger.feed() == 0


async def test_a_thing_never_begins_without_a_move(ledger: store.Ledger) -> None:
    """An exchange that only stands in the writes would have no line in the journal."""
    with pytest.raises(StaleState):
        await ledger.commit(Step(name="x", at=AT, writes=(document("d", "c", ()), exchange("e", "d"))))


async def test_several_moves_of_one_thing_join_in_one_step(ledger: store.Ledger) -> None:
    """Mapping and validation commit together; the journal still has each line."""
    await ledger.commit(accepted("s1"))
    await ledger.commit(itemised("s1", item("i1", "s1")))
    assert [(line.thing, line.frm, line.to, line.room) for line in await ledger.journal("s1")] == [
        ("submission", NEW, "received", "receive"),
        ("answer", NEW, "given", "receive"),
        ("submission", "received", "itemised", "map"),
        ("item", NEW, "received", "map"),
        ("item", "received", "mapped", "map"),
        ("item", "mapped", "valid", "validate"),
    ]


async def test_results_keep_every_digit(ledger: store.Ledger) -> None:
    """FHIR decimals: 1.10 is not 1.1, and nineteen digits stay nineteen."""
    resource = {"resourceType": "Observation", "value": Decimal("1.10"), "long": Decimal("0.1234567890123456789")}
    record = item("i1", "s1", resources=(resource,), findings=(Finding(code="X", severity="warning"),))
    await ledger.commit(accepted("s1"))
    await ledger.commit(itemised("s1", record))
    (found,) = await ledger.items("s1")
    assert found == record
    assert [str(found.result.resources[0][key]) for key in ("value", "long")] == ["1.10", "0.1234567890123456789"]


async def test_the_result_is_fixed_once_gathered(ledger: store.Ledger) -> None:
    """A gathering step changes state and case, never what was mapped."""
    await ledger.commit(accepted("s1"))
    await ledger.commit(itemised("s1", item("i1", "s1")))
    other = item("i1", "s1", state="gathered", case="case-1", subject="somebody-else")
    await ledger.commit(
        Step(name="g", at=AT, moves=(move(Thing.ITEM, "i1", "valid", "gathered", Room.GATHER),), writes=(other,))
    )
    (found,) = await ledger.case_items("case-1")
    assert (found.state, found.case, found.result.subject) == ("gathered", "case-1", "subject-1")


async def test_an_attempt_keeps_its_request_and_gains_its_end(ledger: store.Ledger) -> None:
    """Promise 5: the bytes on disk are those that left. Another request under the same id is refused."""
    await ledger.commit(routed("d1", exchange("e1", "d1")))
    begun = attempt("a1", "e1", transport_id="uuid:1")
    await ledger.commit(Step(name="render", at=AT, writes=(begun,)))
    ended = attempt(
        "a1", "e1", transport_id="uuid:1", ended_at=AT, outcome="delivered", status=200, reply=b"<ok/>", codes=("OK",)
    )
    await ledger.commit(Step(name="end", at=AT, writes=(ended,)))
    assert await ledger.attempts("e1") == [ended]
    with pytest.raises(Broken, match="GW-STORE-006"):
        await ledger.commit(Step(name="forge", at=AT, writes=(attempt("a1", "e1", request=b"<other/>"),)))
    assert await ledger.attempts("e1") == [ended]


async def test_a_document_never_changes(ledger: store.Ledger) -> None:
    """The same id again is refused, whatever it brings."""
    await ledger.commit(routed("d1", exchange("e1", "d1")))
    with pytest.raises(StaleState):
        await ledger.commit(Step(name="again", at=AT, writes=(document("d1", "case-1", (), body=b"{}"),)))
    found = await ledger.document("d1")
    assert found == document("d1", "case-1", ())


async def test_receipts_are_replaced_forgotten_and_the_first_scope_wins(ledger: store.Ledger) -> None:
    """What a destination gave for the case goes before what it gave for the subject."""

    def receipt(scope: str, name: str, value: str) -> Receipt:
        return Receipt(destination="centre", scope=scope, name=name, value=value, exchange="e", at=AT)

    given = (receipt("case", "uid", "1"), receipt("subject", "uid", "2"), receipt("subject", "patient", "3"))
    await ledger.commit(Step(name="r", at=AT, writes=given))
    assert await ledger.receipts("centre", ["case", "subject"]) == {"uid": "1", "patient": "3"}
    await ledger.commit(Step(name="r", at=AT, writes=(receipt("case", "uid", ""), receipt("subject", "patient", "4"))))
    assert await ledger.receipts("centre", ["case", "subject"]) == {"uid": "2", "patient": "4"}
    assert await ledger.receipts("elsewhere", ["case", "subject"]) == {}


async def test_registry_entries_are_valid_in_time(ledger: store.Ledger) -> None:
    """The same key twice is two entries when they begin on different days, else the later import wins."""

    def entry(start: str | None, name: str, end: str | None = None) -> RegistryEntry:
        return RegistryEntry(
            kind="organisation",
            key="7",
            programme="p",
            valid_from=start,
            valid_to=end,
            data={"n": name, "d": Decimal("2.50")},
        )

    await ledger.commit(Step(name="import", at=AT, writes=(entry(None, "old"), entry("2026-01-01", "new"))))
    await ledger.commit(Step(name="import", at=AT, writes=(entry(None, "old", "2025-12-31"),)))
    assert await ledger.registry("p") == [entry(None, "old", "2025-12-31"), entry("2026-01-01", "new")]


async def test_every_version_of_a_resource_is_kept_in_feed_order(ledger: store.Ledger) -> None:
    """Who follows the feed misses nothing and gets nothing twice; a feed number is never torn apart."""

    def resource(id: str, body: bytes, deleted: bool = False) -> StoredResource:
        return StoredResource(type="Patient", id=id, programme="p", sender="h", body=body, deleted=deleted)

    first = await ledger.commit(Step(name="1", at=AT, writes=tuple(resource(f"p{n}", b"1") for n in range(5))))
    await ledger.commit(Step(name="2", at=AT, writes=(resource("p0", b"2"), resource("p0", b"3"))))
    await ledger.commit(Step(name="3", at=AT, writes=(resource("p0", b"", deleted=True),)))
    newest = await ledger.resource("Patient", "p0")
    assert newest is not None
    assert (newest.version, newest.deleted) == (4, True)
    assert [(each.version, each.body) for each in await ledger.resource_history("Patient", "p0")] == [
        (4, b""),
        (3, b"3"),
        (2, b"2"),
        (1, b"1"),
    ]
    assert len(await ledger.changes(0, 2)) == 5
    assert [each.version for each in await ledger.changes(first.feed, 10)] == [2, 3, 4]
    assert newest.digest == digest(b"")
    third = await ledger.resource_version("Patient", "p0", 3)
    assert third is not None
    assert third.body == b"3"


async def test_a_complete_case_owes_one_document_per_version(ledger: store.Ledger) -> None:
    """It is offered until its version has a document, and again after it was reopened."""
    opened = Step(
        name="open",
        at=AT,
        moves=(move(Thing.CASE, "case-1", NEW, "open", Room.GATHER),),
        writes=(case(state="open", version=0, parts=("admission",), expires_at=AT + timedelta(days=1)),),
    )
    await ledger.commit(opened)
    assert [each.id for each in await ledger.expiring(AT + timedelta(days=2), 5)] == ["case-1"]
    assert await ledger.expiring(AT, 5) == []
    complete = case(parts=("admission", "bill"))
    await ledger.commit(
        Step(name="c", at=AT, moves=(move(Thing.CASE, "case-1", "open", "complete", Room.GATHER),), writes=(complete,))
    )
    assert await ledger.undocumented(5) == [complete]
    assert await ledger.expiring(AT + timedelta(days=2), 5) == []
    await ledger.commit(routed("d1", exchange("e1", "d1")))
    assert await ledger.undocumented(5) == []
    again = (
        move(Thing.CASE, "case-1", "complete", "reopened", Room.GATHER),
        move(Thing.CASE, "case-1", "reopened", "complete", Room.GATHER),
    )
    await ledger.commit(Step(name="v2", at=AT, moves=again, writes=(case(version=2),)))
    assert [each.version for each in await ledger.undocumented(5)] == [2]
    assert [each.id for each in await ledger.documents("case-1")] == ["d1"]


async def test_later_answers_go_in_order_per_sender(ledger: store.Ledger) -> None:
    """The head of one sender waits for its time without holding another sender."""

    def answer(id: str, sender: str, state: str = "owed", **more: object) -> Answer:
        return Answer(
            id=id,
            submission="s1",
            sender=sender,
            kind="callback",
            state=state,
            body=b"{}",
            media_type="j",
            created_at=AT,
            **more,
        )  # type: ignore[arg-type]

    await ledger.commit(accepted("s1"))
    for each in (answer("a1", "x"), answer("a2", "x"), answer("b1", "y")):
        opening = (move(Thing.ANSWER, each.id, NEW, "owed", Room.DELIVER),)
        await ledger.commit(Step(name="owe", at=AT, moves=opening, writes=(each,)))
    assert [each.id for each in await ledger.answers_due(AT, 9)] == ["a1", "b1"]
    later = answer("a1", "x", tries=1, next_at=AT + timedelta(minutes=5))
    await ledger.commit(Step(name="retry", at=AT, writes=(later,)))
    assert [each.id for each in await ledger.answers_due(AT, 9)] == ["b1"]
    given = answer("a1", "x", state="given", tries=2)
    await ledger.commit(
        Step(name="give", at=AT, moves=(move(Thing.ANSWER, "a1", "owed", "given", Room.RECEIVE),), writes=(given,))
    )
    assert [each.id for each in await ledger.answers_due(AT, 9)] == ["a2", "b1"]
    first = await ledger.first_answer("s1")
    assert first is not None
    assert first.kind == "first"


async def test_the_journal_tells_the_whole_story_of_a_submission(ledger: store.Ledger) -> None:
    """Itself, its item, its case, the exchange of its document, its answers; and of nobody else."""
    await ledger.commit(accepted("s1"))
    await ledger.commit(accepted("s2", sender="other"))
    await ledger.commit(itemised("s1", item("i1", "s1")))
    gathered = item("i1", "s1", state="gathered", case="case-1")
    moves = (
        move(Thing.ITEM, "i1", "valid", "gathered", Room.GATHER),
        move(Thing.CASE, "case-1", NEW, "open", Room.GATHER),
        move(Thing.CASE, "case-1", "open", "complete", Room.GATHER),
    )
    await ledger.commit(Step(name="g", at=AT, moves=moves, writes=(gathered, case())))
    await ledger.commit(routed("d1", exchange("e1", "d1"), submissions=["s1"]))
    await ledger.commit(moved("e1", "due", "claimed"))
    lines = await ledger.journal("s1")
    assert [line.feed for line in lines] == sorted(line.feed for line in lines)
    assert {(line.thing, line.id) for line in lines} == {
        ("submission", "s1"),
        ("answer", "s1-first"),
        ("item", "i1"),
        ("case", "case-1"),
        ("exchange", "e1"),
    }
    status = await ledger.submission_status("s1")
    assert status is not None
    assert (status.settled, status.state, status.items[0].state) == (True, "itemised", "gathered")
    assert [each.id for each in status.items[0].exchanges] == ["e1"]
    found = await ledger.find_exchange_by_document("d1", "centre")
    assert found is not None
    assert found.state == "claimed"


async def test_a_submission_is_settled_when_every_item_is_known(ledger: store.Ledger) -> None:
    """Mapped but not yet validated is not settled: the sender is not told too early that all is well."""
    await ledger.commit(accepted("s1"))
    status = await ledger.submission_status("s1")
    assert status is not None
    assert not status.settled
    await ledger.commit(itemised("s1", item("i1", "s1", state="mapped"), item("i2", "s1", index=1)))
    status = await ledger.submission_status("s1")
    assert status is not None
    assert not status.settled
    step = Step(
        name="v",
        at=AT,
        moves=(move(Thing.ITEM, "i1", "mapped", "refused", Room.VALIDATE),),
        writes=(item("i1", "s1", state="refused", findings=(Finding(code="X", severity="error"),)),),
    )
    await ledger.commit(step)
    status = await ledger.submission_status("s1")
    assert status is not None
    assert status.settled
    assert [each.code for each in status.items[0].findings] == ["X"]


@pytest.mark.parametrize("shown", [(0, 10), (1000, 50), (2000, 10)], ids=str)
async def test_a_submission_is_settled_by_all_its_items_whatever_page_is_shown(
    ledger: store.Ledger, shown: tuple[int, int]
) -> None:
    """One item that was parked without a word to its sender keeps a submission open, whichever page it stands on."""
    said = (Finding(code="X", severity="warning"),)
    told = [item(f"i{n}", "s1", index=n, subject=f"p{n}", state="parked", findings=said) for n in range(25)]
    await ledger.commit(accepted("s1"))
    await ledger.commit(itemised("s1", *told))
    status = await ledger.submission_status("s1", *shown)
    assert status is not None
    assert status.settled
    await ledger.commit(accepted("s2"))
    untold = item("untold", "s2", index=1020, subject="p1020", state="parked")
    others = [item(f"j{n}", "s2", index=n, subject=f"p{n}", state="parked", findings=said) for n in range(1020)]
    await ledger.commit(itemised("s2", *others, untold))
    status = await ledger.submission_status("s2", *shown)
    assert status is not None
    assert not status.settled


async def test_what_is_shown_of_a_large_submission_comes_in_pages(ledger: store.Ledger) -> None:
    """A table of any length: each page holds what was asked for, all pages together everything once."""
    await ledger.commit(accepted("s1"))
    every = [item(f"i{n}", "s1", index=n, subject=f"p{n}") for n in range(25)]
    await ledger.commit(itemised("s1", *every))
    shown: list[str] = []
    while page := await ledger.submission_status("s1", len(shown), 10):
        assert len(page.items) <= 10
        assert page.counts == {"valid": 25}
        if not page.items:
            break
        shown += [each.id for each in page.items]
    assert shown == [each.id for each in every]
    assert [each.id for each in await ledger.items("s1", 20, 10)] == shown[20:]
    whole = await ledger.journal("s1")
    lines, after = [], (0, -1)
    while part := await ledger.journal("s1", after, 7):
        lines += part
        after = (part[-1].feed, part[-1].place)
    assert lines == whole
    assert len(whole) > 25


async def test_earlier_finds_the_same_control_id_newest_first(ledger: store.Ledger) -> None:
    """Only of the same sender, at most ten, without bytes."""
    for n in range(12):
        await ledger.commit(accepted(f"s{n}", control_id="C"))
    await ledger.commit(accepted("t", sender="other", control_id="C"))
    found = await ledger.earlier("hospital", "C")
    assert [each.id for each in found] == [f"s{n}" for n in range(11, 1, -1)]
    assert {each.body for each in found} == {b""}
    assert {each.digest for each in found} == {digest(b"MSH|^~\\&|TEST")}


async def test_a_token_id_is_new_once_until_it_expires(ledger: store.Ledger) -> None:
    """Replay is seen; ten at once, one is new."""
    soon = AT + timedelta(days=1)
    new = await asyncio.gather(*(ledger.remember("jti", "abc", soon) for _ in range(10)))
    assert sorted(new) == [False] * 9 + [True]
    assert await ledger.remember("nonce", "abc", soon)
    assert await ledger.remember("jti", "old", AT)
    assert await ledger.remember("jti", "old", soon)


async def test_counts_tell_how_many_and_how_old(ledger: store.Ledger) -> None:
    """Waiting states have an age, final ones a number."""
    early, late = AT - timedelta(hours=3), AT
    for n, at in enumerate((late, early, late)):
        step = accepted(f"s{n}")
        await ledger.commit(Step(name="a", at=at, moves=step.moves, writes=step.writes))
    await ledger.commit(itemised("s2"))
    counts = await ledger.counts()
    assert counts["submission"] == {"received": (2, early), "itemised": (1, None)}
    assert counts["answer"] == {"given": (3, None)}


async def test_values_that_a_database_cannot_hold_fail_alone(ledger: store.Ledger) -> None:
    """A lone surrogate from a hostile message never takes the writer down."""
    step = accepted("s1", control_id="\ud800")
    done = await asyncio.gather(ledger.commit(step), ledger.commit(accepted("s2")), return_exceptions=True)
    assert isinstance(done[0], (Broken, ValueError))
    assert not isinstance(done[1], BaseException)


async def test_a_value_beyond_a_limit_of_the_database_fails_alone(ledger: store.Ledger) -> None:
    """A control id too long for an index (PostgreSQL: 2704 bytes) is the trouble of its own step only."""
    control_id = hashlib.shake_256(b"x").hexdigest(10_000)
    done = await asyncio.gather(
        ledger.commit(accepted("s1", control_id=control_id)), ledger.commit(accepted("s2")), return_exceptions=True
    )
    assert not isinstance(done[1], BaseException)
    assert isinstance(done[0], Broken) or await ledger.submission("s1") is not None


async def test_audit_events_are_read_in_feed_order(ledger: store.Ledger) -> None:
    """With their own permanent name."""
    for n in range(3):
        await ledger.commit(accepted(f"s{n}"))
    events = await ledger.audit_events(since_feed=1)
    assert [each.record.entities for each in events] == [("submission/s1",), ("submission/s2",)]
    assert events[0].record == event("submission/s1")
    assert await ledger.audit_event(events[0].id) == events[0]
    assert await ledger.audit_event("x-1") is None
