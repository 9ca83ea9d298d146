"""The dispatcher: order by key, isolation, holding, retry, the breaker, reconciliation, what a crash leaves.

Everything runs on the scripted ledger and on the real one where the ledger's own behaviour matters.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from deliver_world import (
    AT,
    QUICK,
    Memory,
    OpenGate,
    Scripted,
    destination,
    exchange,
    routed,
    running,
    tools,
    until,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import FixedClock, SystemClock
from gateway.deliver import decide
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.steps import Extra
from gateway.errors import Misconfigured
from gateway.flow import NEW, Room, Thing
from gateway.message import Answer, Attempt, Document, Exchange, Move, Outcome, Step
from gateway.ports import MaybeSent, NotSent

DUE = Outcome(state="due", codes=("GW-DELIVER-007",))
UNKNOWN = Outcome(state="unknown", codes=("GW-DELIVER-004",))


async def states(ledger: Any, *ids: str) -> list[str]:
    return [(await ledger.exchange(id)).state for id in ids]


async def settle(ledger: Any, *ids: str, into: str = "delivered", seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while set(await states(ledger, *ids)) != {into}:
            await asyncio.sleep(0.01)


def one(wire: Scripted, ledger: Any, place: Any = None, **more: Any) -> Dispatcher:
    return Dispatcher([place or destination()], {"d": wire}, tools(ledger, **more))


# --- order ----------------------------------------


async def test_one_subject_is_delivered_in_order_while_its_head_fails(ledger: Any) -> None:
    """A correction that overtakes what it corrects leaves the wrong truth behind (promise 4)."""
    await ledger.commit(routed(*(exchange(f"e{n}") for n in range(6))))
    wire = Scripted(answers={"e0": [DUE, NotSent("GW-NET-001"), DUE], "e3": [DUE]})
    async with running(one(wire, ledger)):
        await settle(ledger, *(f"e{n}" for n in range(6)))
    assert wire.order == ["e0"] * 4 + ["e1", "e2", "e3", "e3", "e4", "e5"]


async def test_other_subjects_go_on_while_one_waits(ledger: Any) -> None:
    """One bad message holds up its own subject and nobody else."""
    bad = [exchange("bad", subject="s-bad"), exchange("behind", subject="s-bad")]
    good = [exchange(f"g{n}", subject=f"s-{n}") for n in range(10)]
    await ledger.commit(routed(*bad, *good))
    wire = Scripted(answers={"bad": [Outcome(state="parked", codes=("GW-DELIVER-008",))]})
    async with running(one(wire, ledger)):
        await settle(ledger, *(each.id for each in good))
        assert await states(ledger, "bad", "behind") == ["parked", "due"]
    assert "behind" not in wire.order


async def test_different_subjects_run_at_the_same_time_up_to_the_limit(memory: Memory) -> None:
    """Order by key must not become one at a time; and the limit is the destination's."""
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s-{n}") for n in range(12))))
    busy: list[int] = []
    wire = Scripted(seconds=0.02)
    dispatcher = one(wire, memory, destination(concurrency=3))
    memory.watch = lambda step: busy.append(sum(s == "in_flight" for s in memory.states().values()))
    async with running(dispatcher):
        await until(lambda: set(memory.states().values()) == {"delivered"})
    assert max(busy) == 3


scripts = st.dictionaries(
    st.integers(0, 11).map(lambda n: f"e{n}"),
    st.lists(st.sampled_from([DUE, NotSent("GW-NET-001"), MaybeSent("GW-NET-006"), UNKNOWN]), max_size=3),
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts, st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_whatever_fails_each_subject_is_delivered_in_order(script: dict[str, list[Any]], subjects: list[int]) -> None:
    """Any mix of refusals and lost answers, over any spread of subjects."""

    async def run() -> None:
        memory = Memory()
        await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{subjects[n]}") for n in range(12))))
        wire = Scripted(answers={id: list(answers) for id, answers in script.items()})
        place = destination(on_unknown="resend", retry=msgspec.structs.replace(QUICK, first=0.001, ceiling=0.005))
        finals: list[str] = []
        memory.watch = lambda step: finals.extend(m.id for m in step.moves if m.to == "delivered")
        async with running(one(wire, memory, place, sweep_seconds=0.005, tend_seconds=0.005)):
            await until(lambda: set(memory.states().values()) == {"delivered"})
        for subject in set(subjects):
            mine = [f"e{n}" for n in range(12) if subjects[n] == subject]
            assert [id for id in finals if id in mine] == mine
            starts = [id for at, id in enumerate(wire.order) if id in mine and id not in wire.order[:at]]
            assert starts == mine

    asyncio.run(run())


async def test_a_slow_destination_delays_no_other(memory: Memory) -> None:
    """Promise 12: a repository that takes a minute must not be felt by the next one."""
    slow, quick = Scripted(seconds=30), Scripted()
    places = [destination("slow", concurrency=2), destination("d")]
    waiting = [exchange(f"w{n}", "slow", subject=f"s{n}") for n in range(50)]
    prompt = [exchange(f"p{n}", "d", subject=f"s{n}") for n in range(50)]
    await memory.commit(routed(*waiting, *prompt))
    dispatcher = Dispatcher(places, {"slow": slow, "d": quick}, tools(memory))
    task = asyncio.create_task(dispatcher.run())
    began = time.monotonic()
    await until(lambda: all(memory.states()[each.id] == "delivered" for each in prompt), 5)
    assert time.monotonic() - began < 3
    await dispatcher.stop(0.05)
    await asyncio.wait_for(task, 5)


async def test_a_signer_that_hangs_delays_only_its_own_lane(memory: Memory) -> None:
    """A token that waits for a finger must not stop the event loop, because other destinations run in it."""

    class Hanging(Scripted):
        def render(self, *a: Any) -> tuple[bytes, str | None]:
            time.sleep(0.6)
            return super().render(*a)

    await memory.commit(routed(exchange("h", "slow"), *(exchange(f"p{n}", "d", subject=f"s{n}") for n in range(20))))
    dispatcher = Dispatcher(
        [destination("slow"), destination("d")], {"slow": Hanging(), "d": Scripted()}, tools(memory)
    )
    async with running(dispatcher):
        await until(lambda: all(memory.states()[f"p{n}"] == "delivered" for n in range(20)), 0.5)
        await until(lambda: memory.states()["h"] == "delivered")


# --- bytes first ----------------------------------------


async def test_nothing_leaves_before_its_bytes_are_committed(ledger: Any) -> None:
    """After a crash the record must show what may have left, so the record comes first (promise 5)."""

    class Looking(Scripted):
        async def send(self, attempt: Attempt) -> Outcome:
            found = await ledger.attempts(attempt.exchange)
            assert [each.request for each in found][-1] == attempt.request
            assert (await ledger.exchange(attempt.exchange)).state == "in_flight"
            return await super().send(attempt)

    await ledger.commit(routed(exchange("e1")))
    wire = Looking(answers={"e1": [DUE]})
    async with running(one(wire, ledger)):
        await settle(ledger, "e1")
    tries = await ledger.attempts("e1")
    assert [(each.number, each.outcome) for each in tries] == [(1, "due"), (2, "delivered")]
    assert all(each.ended_at for each in tries)


async def test_a_store_that_fails_lets_nothing_out_and_recovers_by_itself(memory: Memory) -> None:
    """A full disk must stop sending, because what leaves then would leave no trace."""
    full = True
    memory.failing = lambda step: full and step.name == "deliver.leave"
    await memory.commit(routed(exchange("e1")))
    wire = Scripted()
    async with running(one(wire, memory)):
        await asyncio.sleep(0.3)
        assert wire.sent == []
        assert memory.states() == {"e1": "claimed"}
        full = False
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert len(wire.sent) == 1


async def test_an_outcome_waits_for_the_disk_and_is_not_sent_twice(memory: Memory) -> None:
    """The answer is in our hands: losing it to a full disk would turn a delivered into an unknown."""
    full = True
    memory.failing = lambda step: full and step.name == "deliver.settle"
    await memory.commit(routed(exchange("e1")))
    wire = Scripted()
    async with running(one(wire, memory)):
        await until(lambda: len(wire.sent) == 1)
        await asyncio.sleep(0.2)
        full = False
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert len(wire.sent) == 1


async def test_what_others_owe_goes_into_the_same_commit(memory: Memory) -> None:
    """The sender's answer and the outcome must not be separable by a crash."""

    async def owe(delivered: Exchange, outcome: Outcome) -> Extra:
        answer = Answer(
            id="a1",
            submission="s",
            sender="hospital",
            kind="callback",
            state="owed",
            body=outcome.state.encode(),
            media_type="text/plain",
            created_at=AT,
        )
        return Extra((Move(thing=Thing.ANSWER, id="a1", frm=NEW, to="owed", room=Room.DELIVER),), (answer,))

    await memory.commit(routed(exchange("e1")))
    async with running(one(Scripted(), memory, on_outcome=owe)):
        await until(lambda: memory.states() == {"e1": "delivered"})
    last = memory.steps[-1]
    assert {move.thing for move in last.moves} == {Thing.EXCHANGE, Thing.ANSWER}


async def test_every_commit_carries_its_audit_event_without_text_from_outside(memory: Memory) -> None:
    """No audit, no step; and what a destination says may name a patient (promises 9 and 10)."""
    said = Outcome(state="rejected", codes=("GW-DELIVER-017",), reply=b"Test Patient-One is unknown")
    await memory.commit(routed(exchange("e1")))
    async with running(one(Scripted(default=said), memory)):
        await until(lambda: memory.states() == {"e1": "rejected"})
    for step in memory.steps:
        assert step.audit
        assert "Patient-One" not in str(step.audit)


# --- holding ----------------------------------------


async def test_a_closed_gate_holds_visibly_and_lets_go_when_it_opens(ledger: Any) -> None:
    """Nothing leaves without the exchange certificate (A-12), and nobody has to remember what was held."""
    gate, wire = OpenGate("GW-SIGN-060"), Scripted()
    await ledger.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(5)), exchange("last", subject="s0")))
    async with running(one(wire, ledger, gate=gate)):
        await settle(ledger, *(f"e{n}" for n in range(5)), into="held")
        assert {(await ledger.exchange(f"e{n}")).reason for n in range(5)} == {"GW-SIGN-060"}
        assert await states(ledger, "last") == ["due"], "only heads are held; the rest waits behind them"
        assert wire.sent == []
        gate.code = None
        await settle(ledger, *(f"e{n}" for n in range(5)), "last")


async def test_the_gate_is_asked_again_before_anything_else_leaves(memory: Memory) -> None:
    """A certificate that expires in the middle of a queue stops the rest of it."""
    gate = OpenGate()

    class Expiring(Scripted):
        async def send(self, attempt: Attempt) -> Outcome:
            gate.code = "GW-SIGN-060"
            return await super().send(attempt)

    wire = Expiring()
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(20))))
    async with running(one(wire, memory, destination(concurrency=1), gate=gate)):
        await until(lambda: list(memory.states().values()).count("held") == 19)
    assert len(wire.sent) == 1


async def test_quiet_hours_hold_and_end(memory: Memory) -> None:
    """The destination's night is respected without anybody's help."""
    clock = FixedClock(datetime.fromisoformat("2026-11-21T22:30:00+00:00"))
    place = destination(quiet_hours="22:00-05:00 UTC")
    await memory.commit(routed(exchange("e1")))
    async with running(one(Scripted(), memory, place, clock=clock)):
        await until(lambda: memory.states() == {"e1": "held"})
        assert memory.exchanges["e1"].reason == decide.QUIET
        clock.advance(datetime.fromisoformat("2026-11-22T05:00:00+00:00") - clock.now())
        await until(lambda: memory.states() == {"e1": "delivered"})


async def test_a_persons_hold_outlives_the_gate(memory: Memory) -> None:
    """A paused exchange is the operator's to release."""
    await memory.commit(routed(exchange("e1"), exchange("e2", subject="s-2")))
    held = msgspec.structs.replace(memory.exchanges["e1"], state="held", reason="GW-DESK-002")
    memory.exchanges["e1"] = held
    async with running(one(Scripted(), memory)):
        await until(lambda: memory.states()["e2"] == "delivered")
        await asyncio.sleep(0.2)
    assert memory.states()["e1"] == "held"


# --- retry and breaker ----------------------------------------


async def test_tries_end_with_the_budget_and_say_so(ledger: Any) -> None:
    """Endless repetition is also a way of losing a message."""
    place = destination(retry=msgspec.structs.replace(QUICK, first=0.001, budget=3))
    await ledger.commit(routed(exchange("e1")))
    wire = Scripted(default=DUE)
    async with running(one(wire, ledger, place)):
        await settle(ledger, "e1", into="parked")
    assert len(wire.sent) == 3
    assert (await ledger.exchange("e1")).reason == decide.BUDGET


async def test_retry_after_is_obeyed(memory: Memory) -> None:
    """A destination that asks for patience gets it, although our own dice would be quicker."""
    wire = Scripted(answers={"e1": [Outcome(state="due", retry_after=0.4)]})
    await memory.commit(routed(exchange("e1")))
    began = time.monotonic()
    async with running(one(wire, memory)):
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert time.monotonic() - began >= 0.4


async def test_a_dead_destination_is_probed_and_not_hammered(memory: Memory) -> None:
    """Hundreds of waiting messages must not become hundreds of failed connections a second."""
    retry = msgspec.structs.replace(QUICK, breaker_after=3, breaker_seconds=0.2, first=0.001, ceiling=0.001)
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(40))))
    wire = Scripted(default=Outcome(state="delivered"))
    down = {each.id: [NotSent("GW-NET-001")] * 100 for each in memory.exchanges.values()}
    wire.answers = down  # type: ignore[assignment]
    dispatcher = one(wire, memory, destination(concurrency=4, retry=retry))
    async with running(dispatcher):
        await asyncio.sleep(0.1)
        first = len(wire.sent)
        assert first <= 7, "the circuit opens after three failures, with at most four on their way"
        await asyncio.sleep(0.7)
        assert 1 <= len(wire.sent) - first <= 4, "one probe an interval"
        assert dispatcher.status()["d"].breaker.open_until is not None
        wire.answers = {}
        await until(lambda: set(memory.states().values()) == {"delivered"})


async def test_a_rejection_is_not_an_outage(memory: Memory) -> None:
    """A destination that says no quickly is working; opening the circuit would hold up the others."""
    retry = msgspec.structs.replace(QUICK, breaker_after=2, breaker_seconds=60)
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(10))))
    async with running(one(Scripted(default=Outcome(state="rejected")), memory, destination(retry=retry))):
        await until(lambda: set(memory.states().values()) == {"rejected"}, 5)


# --- unknown ----------------------------------------


async def test_a_lost_answer_is_reconciled_and_not_sent_again(ledger: Any) -> None:
    """The destination has it; asking finds out, and nothing is repeated (promise 3)."""
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-006")]}, reconciled={"e1": [Outcome(state="delivered")]})
    await ledger.commit(routed(exchange("e1"), exchange("e2")))
    async with running(one(wire, ledger)):
        await settle(ledger, "e1", "e2")
    assert wire.order == ["e1", "e2"]


async def test_what_the_destination_does_not_have_is_sent_again(ledger: Any) -> None:
    """Knowledge that it did not arrive makes it due, and the order behind it holds."""
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-005")]}, reconciled={"e1": [Outcome(state="due")]})
    await ledger.commit(routed(exchange("e1"), exchange("e2")))
    async with running(one(wire, ledger)):
        await settle(ledger, "e1", "e2")
    assert wire.order == ["e1", "e1", "e2"]


async def test_where_nobody_can_be_asked_it_waits_for_a_person_and_says_so(ledger: Any) -> None:
    """The default is never to repeat blindly: the key waits, visibly, with its reason."""
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-005")]})
    await ledger.commit(routed(exchange("e1"), exchange("e2")))
    async with running(one(wire, ledger)):
        async with asyncio.timeout(5):
            while (await ledger.exchange("e1")).reason != decide.FOR_A_PERSON:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert await states(ledger, "e1", "e2") == ["unknown", "due"]
    assert wire.order == ["e1"]


async def test_sending_again_without_knowing_is_a_setting_and_is_recorded(ledger: Any) -> None:
    """Where the destination removes duplicates, an operator may choose it; the record shows each time."""
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-005")]})
    await ledger.commit(routed(exchange("e1")))
    async with running(one(wire, ledger, destination(after_reconcile="resend"))):
        await settle(ledger, "e1")
    assert wire.order == ["e1", "e1"]
    tries = await ledger.attempts("e1")
    assert decide.SENT_AGAIN in tries[0].codes


async def test_a_destination_that_cannot_be_reached_is_asked_again_later(memory: Memory) -> None:
    """An outage during reconciliation must not be taken for an answer."""
    asked: list[Any] = [NotSent("GW-NET-001"), MaybeSent("GW-NET-006"), Outcome(state="delivered")]
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-006")]}, reconciled={"e1": asked})
    await memory.commit(routed(exchange("e1")))
    async with running(one(wire, memory)):
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert wire.order == ["e1"]


async def test_reconciliation_waits_until_the_request_can_no_longer_be_under_way(memory: Memory) -> None:
    """Asked too early, the destination says no, and a moment later it has it: then it would be there twice."""
    wire = Scripted(answers={"e1": [MaybeSent("GW-NET-006")]}, reconciled={"e1": [Outcome(state="due")]})
    await memory.commit(routed(exchange("e1")))
    began = time.monotonic()
    async with running(one(wire, memory, destination(options={"reconcile_seconds": "0.5"}))):
        await until(lambda: memory.states() == {"e1": "delivered"})
    assert time.monotonic() - began >= 0.5


async def test_an_accepted_message_is_asked_for_until_its_outcome_comes(memory: Memory) -> None:
    """202 is a promise, not a delivery."""
    wire = Scripted(default=Outcome(state="awaiting"))
    wire.reconciled = {"e1": [Outcome(state="awaiting"), None, Outcome(state="delivered")]}
    await memory.commit(routed(exchange("e1")))
    async with running(one(wire, memory)):
        await until(lambda: memory.states() == {"e1": "delivered"})


async def test_an_outcome_that_never_comes_is_parked_with_its_reason(memory: Memory) -> None:
    """202 for ever must not wait for ever."""
    options = {"reconcile_seconds": "0", "awaiting_seconds": "0.3"}
    await memory.commit(routed(exchange("e1")))
    async with running(one(Scripted(default=Outcome(state="awaiting")), memory, destination(options=options))):
        await until(lambda: memory.states() == {"e1": "parked"})
    assert memory.exchanges["e1"].reason == decide.TOO_LONG


# --- crash and defects ----------------------------------------


@pytest.mark.parametrize(("state", "sent_again"), [("claimed", True), ("rendered", True), ("in_flight", False)])
async def test_orphans_are_found_and_only_what_never_left_is_sent(memory: Memory, state: str, sent_again: bool) -> None:
    """claimed and rendered are safe to repeat, in_flight is not: the state table says what a crash leaves."""
    await memory.commit(routed(exchange("e1")))
    memory.exchanges["e1"] = msgspec.structs.replace(memory.exchanges["e1"], state=state, tries=1)
    wire = Scripted()
    if state == "in_flight":
        memory.tries["e1"]["e1-1"] = Attempt(
            id="e1-1", exchange="e1", number=1, started_at=AT, request=b"x", request_digest="x"
        )
    async with running(one(wire, memory)):
        if sent_again:
            await until(lambda: memory.states() == {"e1": "delivered"})
        else:
            await until(lambda: memory.exchanges["e1"].reason == decide.FOR_A_PERSON)
    assert bool(wire.sent) == sent_again


async def test_what_cannot_be_rendered_is_parked_and_holds_only_its_key(memory: Memory) -> None:
    """A mapping defect is ours: visible, with its code, and the rest goes on."""

    class Defective(Scripted):
        def render(self, document: Document, exchange: Exchange, *rest: Any) -> tuple[bytes, str | None]:
            if exchange.id == "bad":
                raise Misconfigured(detail="the mapping makes no message")
            return super().render(document, exchange, *rest)

    await memory.commit(routed(exchange("bad"), exchange("good", subject="s-2")))
    async with running(one(Defective(), memory)):
        await until(lambda: memory.states() == {"bad": "parked", "good": "delivered"})
    assert memory.exchanges["bad"].reason == "GW-DELIVER-012"


async def test_a_defect_of_ours_parks_and_the_lane_lives(memory: Memory) -> None:
    """An exception that nobody foresaw must not end delivery, nor repeat for ever."""

    class Broken(Scripted):
        def render(self, document: Document, exchange: Exchange, *rest: Any) -> tuple[bytes, str | None]:
            if exchange.id == "bad":
                raise KeyError("Test Patient-One")
            return super().render(document, exchange, *rest)

    await memory.commit(routed(exchange("bad"), exchange("good", subject="s-2")))
    async with running(one(Broken(), memory)):
        await until(lambda: memory.states() == {"bad": "parked", "good": "delivered"})


async def test_an_unforeseen_failure_after_sending_is_unknown(memory: Memory) -> None:
    """Whatever broke, bytes had left."""

    class Broken(Scripted):
        async def send(self, attempt: Attempt) -> Outcome:
            raise KeyError("Test Patient-One")

    await memory.commit(routed(exchange("e1")))
    async with running(one(Broken(), memory)):
        await until(lambda: memory.exchanges["e1"].reason == decide.FOR_A_PERSON)
    assert memory.states() == {"e1": "unknown"}


async def test_stopping_lets_what_is_on_its_way_end(memory: Memory) -> None:
    """An orderly stop leaves no unknowns where the destination is quick enough."""
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(8))))
    wire = Scripted(seconds=0.1)
    async with running(one(wire, memory, destination(concurrency=4))):
        await until(lambda: len(wire.sent) == 4)
    assert sorted(set(memory.states().values())) == ["delivered", "due"]


async def test_a_commit_of_another_room_wakes_the_lane(memory: Memory) -> None:
    """Latency must not be the sweep's."""
    wire = Scripted()
    dispatcher = one(wire, memory, sweep_seconds=30.0, tend_seconds=30.0)
    async with running(dispatcher):
        await asyncio.sleep(0.1)
        step: Step = routed(exchange("e1"))
        await memory.commit(step)
        dispatcher.committed(step)
        await until(lambda: memory.states() == {"e1": "delivered"}, 1)


async def test_a_clock_that_is_set_back_does_not_stop_delivery(memory: Memory) -> None:
    """Due times are wall-clock, so a clock that jumps back may delay a retry but not a fresh message."""
    clock = FixedClock(SystemClock().now())
    wire = Scripted()
    async with running(one(wire, memory, clock=clock)):
        clock.advance(-timedelta(days=400))
        await memory.commit(routed(exchange("e1")))
        await until(lambda: memory.states() == {"e1": "delivered"})


@pytest.mark.parametrize(("waiting", "company", "most"), [(200, True, 2), (6, True, 6), (200, False, 6)])
async def test_a_lane_that_fell_behind_is_served_by_few_hands_and_waits_for_as_many_answers(
    memory: Memory, waiting: int, company: bool, most: int
) -> None:
    """Its backlog must not fill the process while others deliver; a slow destination is still asked as often as its
    settings allow. By itself, or without a backlog, it has every hand."""
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(waiting))))
    in_hand: list[int] = []
    under_way: list[int] = []

    def watch(step: Step) -> None:
        states = list(memory.states().values())
        in_hand.append(sum(each == "claimed" for each in states))
        under_way.append(sum(each == "in_flight" for each in states))

    memory.watch = watch
    others = {"other": SystemClock().monotonic()} if company else {}
    async with running(one(Scripted(seconds=0.02), memory, destination(concurrency=6), delivering=others)):
        await until(lambda: list(memory.states().values()).count("delivered") >= min(waiting, 60))
    assert max(in_hand) == most
    assert max(under_way) == 6


async def test_memory_is_bounded_by_concurrency_and_not_by_the_backlog(memory: Memory) -> None:
    """A backlog lives in the ledger; the lane holds a handful of it."""
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(2000))))
    place = destination(concurrency=4)
    dispatcher = Dispatcher([place], {"d": Scripted(seconds=0.05)}, tools(memory))
    async with running(dispatcher):
        await asyncio.sleep(0.2)
        lane = dispatcher._lanes["d"]
        assert len(lane._heads) + len(lane.running) <= 20


@pytest.mark.parametrize("name", ["deliver.hold", "deliver.let_go", "deliver.claim", "deliver.adopt", "deliver.leave"])
async def test_an_operator_who_is_quicker_does_not_stop_the_lane(memory: Memory, name: str) -> None:
    """Losing a race for one exchange is no reason to stop delivering the others."""
    lost: list[Step] = []

    def once(step: Step) -> bool:
        if step.name == name and len(lost) < 2:
            lost.append(step)
            return True
        return False

    gate = OpenGate("GW-SIGN-060")
    memory.overtaken = once
    await memory.commit(routed(*(exchange(f"e{n}", subject=f"s{n}") for n in range(6))))
    memory.exchanges["e5"] = msgspec.structs.replace(memory.exchanges["e5"], state="claimed")
    async with running(one(Scripted(), memory, gate=gate)):
        await until(lambda: list(memory.states().values()).count("held") == 6)
        gate.code = None
        await until(lambda: set(memory.states().values()) == {"delivered"})
    assert len(lost) == 2


async def test_a_destination_that_answers_questions_is_not_taken_for_dead(memory: Memory) -> None:
    """Lost answers open the circuit; an answer to a question closes it, because somebody is there."""
    retry = msgspec.structs.replace(QUICK, breaker_after=2, breaker_seconds=0.1)
    ids = [f"e{n}" for n in range(6)]
    wire = Scripted(answers={id: [MaybeSent("GW-NET-006")] for id in ids})
    wire.reconciled = {id: [Outcome(state="due", codes=("GW-DELIVER-014",))] for id in ids}
    await memory.commit(routed(*(exchange(id, subject=f"s-{id}") for id in ids)))
    dispatcher = one(wire, memory, destination(retry=retry))
    async with running(dispatcher):
        await until(lambda: set(memory.states().values()) == {"delivered"})
        assert dispatcher.status()["d"].breaker == decide.Breaker()
    assert sorted(wire.order) == sorted(ids * 2)
