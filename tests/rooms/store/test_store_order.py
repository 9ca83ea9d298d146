"""Order: whatever happens in whatever order, only the head of a key is ever handed out."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_steps import AT, WAY, accepted, event, exchange, item, itemised, move, moved, routed
from store_servers import NOW, Where

from gateway import flow, store
from gateway.errors import StaleState
from gateway.flow import Room, Thing
from gateway.message import Exchange, Step

FINAL = flow.FINAL[Thing.EXCHANGE]
_names = itertools.count()


class Driven(NamedTuple):
    """A ledger and the loop that it lives in, shared by all examples; each example has its own destination."""

    runner: asyncio.Runner
    ledger: store.Ledger


@pytest.fixture
def driven(where: Where) -> Iterator[Driven]:
    with asyncio.Runner() as runner:
        opened = where.ledger()
        runner.run(opened.start())
        try:
            yield Driven(runner, opened)
        finally:
            runner.run(opened.stop())


STEPS = {
    "due": ("claimed", "held", "superseded"),
    "held": ("due", "superseded"),
    "claimed": ("rendered", "due", "held", "parked"),
    "rendered": ("in_flight", "due"),
    "in_flight": ("delivered", "awaiting", "rejected", "parked", "due", "unknown"),
    "awaiting": ("delivered", "rejected", "unknown"),
    "unknown": ("delivered", "due", "rejected", "parked"),
    "parked": ("due", "superseded", "rejected"),
}
DESK = {
    ("parked", "due"),
    ("parked", "superseded"),
    ("parked", "rejected"),
    ("due", "superseded"),
    ("held", "superseded"),
}


class Model:
    """The rule, said plainly: an exchange may run when no earlier exchange of its key is unfinished."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.keys: dict[str, str] = {}

    def heads(self) -> set[str]:
        found: dict[str, str] = {}
        for id, state in self.states.items():
            if state not in FINAL:
                found.setdefault(self.keys[id], id)
        return {id for id in found.values() if self.states[id] == "due"}


actions = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(0, 2)),
        st.tuples(st.just("step"), st.integers(0, 30), st.integers(0, 5), st.booleans()),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=actions)
def test_random_outcomes_never_expose_what_is_not_a_head(driven: Driven, actions: list[tuple[object, ...]]) -> None:
    """Promise 4, the store's part: compared after every commit with the rule said plainly."""

    async def play() -> None:
        ledger, model, place = driven.ledger, Model(), f"centre{next(_names)}"
        for action in actions:
            if action[0] == "new":
                id = f"e{next(_names)}"
                model.states[id], model.keys[id] = "due", f"subject{action[1]}"
                await ledger.commit(routed(f"d-{id}", exchange(id, f"d-{id}", place, subject=model.keys[id])))
            elif model.states:
                _, which, what, at_tail = action
                ids = list(model.states)
                id = ids[-1 - which % len(ids)] if at_tail else ids[which % len(ids)]  # type: ignore[operator]
                frm = model.states[id]
                if frm in FINAL:
                    continue
                to = STEPS[frm][what % len(STEPS[frm])]  # type: ignore[operator]
                room = Room.DESK if (frm, to) in DESK else Room.DELIVER
                await ledger.commit(moved(id, frm, to, room))
                model.states[id] = to
            assert {each.id for each in await ledger.runnable(place, NOW, 100)} == model.heads()
        tallies = (await ledger.counts())["exchange"]
        for state, (number, oldest) in tallies.items():
            there = await ledger.exchanges(state=state, limit=100_000)
            assert len(there) == number
            assert (oldest is not None) == (number > 0 and state not in FINAL)

    driven.runner.run(play())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=12), data=st.data())
def test_gatherable_never_lets_one_overtake_its_own_subject(
    driven: Driven, plan: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Submissions are taken apart in any order; items come in the order of acceptance, and only when nothing
    earlier of the sender is still untaken and nothing earlier of the subject is unready."""

    async def play() -> None:
        ledger, run = driven.ledger, f"r{next(_names)}-"
        ids = [f"{run}{n}" for n in range(len(plan))]
        for id, (sender, _) in zip(ids, plan, strict=True):
            await ledger.commit(accepted(id, sender=run + sender))
        state = dict.fromkeys(ids, "untaken")
        for n in data.draw(st.permutations(range(len(plan)))):
            sender, subject = plan[n]
            state[ids[n]] = data.draw(st.sampled_from(["valid", "valid", "parked", "refused"]))
            record = item(f"i-{ids[n]}", ids[n], run + sender, f"{run}{subject}", state[ids[n]])
            await ledger.commit(itemised(ids[n], record))
            wanted = []
            for m, id in enumerate(ids):
                before = [k for k in range(m) if plan[k][0] == plan[m][0]]
                held = any(state[ids[k]] == "untaken" for k in before)
                behind = any(plan[k][1] == plan[m][1] and state[ids[k]] == "parked" for k in before)
                if state[id] == "valid" and not held and not behind:
                    wanted.append(f"i-{id}")
            found = [each.id for each in await ledger.gatherable(10_000) if each.id.startswith(f"i-{run}")]
            assert found == wanted

    driven.runner.run(play())


async def test_a_parked_exchange_holds_its_own_subject_and_no_other(ledger: store.Ledger) -> None:
    """One bad message holds up its own subject and nobody else (DESIGN section 2)."""
    for n, subject in enumerate(("a", "a", "b", "c")):
        await ledger.commit(routed(f"d{n}", exchange(f"e{n}", f"d{n}", subject=subject)))
    for frm, to in itertools.pairwise((*WAY, "parked")):
        await ledger.commit(moved("e0", frm, to))
    assert [each.id for each in await ledger.runnable("centre", NOW, 9)] == ["e2", "e3"]
    assert [each.id for each in await ledger.in_state("centre", "parked", 9)] == ["e0"]
    await ledger.commit(moved("e0", "parked", "rejected", Room.DESK))
    assert [each.id for each in await ledger.runnable("centre", NOW, 9)] == ["e1", "e2", "e3"]
    assert [each.id for each in await ledger.exchanges(programme="p", limit=2)] == ["e0", "e1"]


async def test_a_retry_waits_for_its_time_and_holds_its_key(ledger: store.Ledger) -> None:
    """`next_due` says when to look again."""
    for n in range(2):
        await ledger.commit(routed(f"d{n}", exchange(f"e{n}", f"d{n}")))
    for frm, to in itertools.pairwise(WAY):
        await ledger.commit(moved("e0", frm, to))
    later = NOW + timedelta(seconds=90)
    again = exchange("e0", "d0", state="due", tries=1, next_at=later, reason="GW-CORE-007")
    await ledger.commit(moved("e0", "in_flight", "due", Room.DELIVER, again))
    assert await ledger.runnable("centre", NOW, 9) == []
    assert await ledger.next_due("centre") == later
    (found,) = await ledger.runnable("centre", later, 9)
    assert (found.id, found.tries, found.reason, found.next_at) == ("e0", 1, "GW-CORE-007", later)


async def test_a_newer_version_supersedes_in_one_step(ledger: store.Ledger) -> None:
    """The old one leaves the turn that the new one takes."""
    await ledger.commit(routed("d1", exchange("e1", "d1")))
    step = routed("d2", exchange("e2", "d2"))
    gone = move(Thing.EXCHANGE, "e1", "due", "superseded", Room.GATHER)
    await ledger.commit(Step(name="v2", at=AT, moves=(*step.moves, gone), writes=step.writes))
    assert [each.id for each in await ledger.runnable("centre", NOW, 9)] == ["e2"]


async def test_positions_are_unique_and_follow_the_feed(ledger: store.Ledger) -> None:
    """Also for several exchanges of one step."""
    three = [exchange(f"e{n}", "d", destination=f"to{n}") for n in range(3)]
    await ledger.commit(routed("d", *three))
    await ledger.commit(routed("d2", exchange("e3", "d2")))
    positions = [each.position for each in await ledger.exchanges()]
    assert len(set(positions)) == 4
    assert positions == sorted(positions)


async def test_feed_numbers_are_gapless_and_in_order_under_concurrency(where: Where) -> None:
    """Several writers at once (on SQLite one owner): a reader who saw n has seen everything below it."""
    many = 3 if where.url else 1
    ledgers = [where.ledger() for _ in range(many)]
    for each in ledgers:
        await each.start()
    seen: list[int] = []
    done = asyncio.Event()

    async def follow() -> None:
        while not done.is_set() or await ledgers[0].feed() > (seen[-1] if seen else 0):
            seen.extend(each.feed for each in await ledgers[0].audit_events(seen[-1] if seen else 0, 1000))
            await asyncio.sleep(0.005)

    follower = asyncio.create_task(follow())
    steps = [(ledgers[n % many], accepted(f"s{n}", sender=f"h{n % 4}")) for n in range(300)]
    results = await asyncio.gather(*(ledger.commit(step) for ledger, step in steps))
    done.set()
    await follower
    assert seen == list(range(1, 301))
    assert sorted(each.feed for each in results) == seen
    for sender in range(4):
        mine = sorted((each.feed, each.sequence) for n, each in enumerate(results) if n % 4 == sender)
        assert [sequence for _, sequence in mine] == list(range(1, 76))
    assert await ledgers[0].audit_chain_intact()
    for each in ledgers:
        await each.stop()


async def test_recovery_makes_due_what_never_left_and_unknown_what_may_have(where: Where) -> None:
    """Nothing else moves; it is journalled by the store."""
    async with where.ledger() as before:
        for n, last in enumerate(("due", "claimed", "rendered", "in_flight", "awaiting")):
            await before.commit(routed(f"d{n}", exchange(f"e{n}", f"d{n}", subject=f"s{n}")))
            way = (*WAY, "awaiting")
            for frm, to in itertools.pairwise(way[: way.index(last) + 1]):
                await before.commit(moved(f"e{n}", frm, to))
        assert await before.recover() == []
    async with where.ledger() as after:
        assert await after.recover() == ["e3"]
        found = [each.state for each in await after.exchanges()]
        assert found == ["due", "due", "due", "unknown", "awaiting"]
        assert await after.recover() == []
        await after.commit(moved("e3", "unknown", "delivered", Room.DELIVER))


@pytest.mark.needs("postgresql")
async def test_a_dead_workers_claim_is_fenced(cluster: Where) -> None:
    """Only who claimed may go on; a living one is left alone, a dead one is recovered and cannot come back."""
    async with cluster.ledger() as one, cluster.ledger() as two:
        await one.commit(routed("d", exchange("e", "d")))
        await one.commit(moved("e", "due", "claimed"))
        with pytest.raises(StaleState):
            await two.commit(moved("e", "claimed", "rendered"))
        assert await two.recover() == []
        assert _state(await two.exchange("e")) == "claimed"
        await one.commit(moved("e", "claimed", "rendered"))
        await one.stop()
        await two.recover()
        assert _state(await two.exchange("e")) == "due"
        async with cluster.ledger() as again:
            for frm, to in itertools.pairwise(WAY[:3]):
                await two.commit(moved("e", frm, to))
            with pytest.raises(StaleState):
                await again.commit(moved("e", "rendered", "in_flight"))


def _state(found: Exchange | None) -> str:
    assert found is not None
    return found.state


async def test_looking_for_work_costs_the_same_behind_a_long_queue(sqlite: Where) -> None:
    """The plan reads partial indexes of heads only: no scan of what waits, and none of what is finished."""
    import sqlite3

    from gateway.store import ask_delivery, ask_intake, retention

    async with sqlite.ledger() as ledger:
        await ledger.commit(Step(name="x", at=AT, audit=(event("x/1"),)))
    plans: list[str] = []
    asked: list[str] = []

    class Recording:
        def all(self, statement, **values):  # type: ignore[no-untyped-def]
            from sqlalchemy.dialects import sqlite as dialect

            compiled = statement.compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": False})
            asked.append(str(compiled))
            return []

        def first(self, statement, **values):  # type: ignore[no-untyped-def]
            return self.all(statement) or None

    recording = Recording()
    ask_delivery.runnable(recording, "centre", NOW, 10)  # type: ignore[arg-type]
    ask_delivery.next_due(recording, "centre")  # type: ignore[arg-type]
    ask_delivery.undocumented(recording, 10)  # type: ignore[arg-type]
    ask_delivery.expiring(recording, NOW, 10)  # type: ignore[arg-type]
    ask_intake.received(recording, 10)  # type: ignore[arg-type]
    ask_intake.gatherable(recording, 10)  # type: ignore[arg-type]
    ask_intake.answers_due(recording, NOW, 10)  # type: ignore[arg-type]
    for statement in (*retention._WITH_BYTES.values(), retention._WITHOUT_BYTES):
        recording.all(statement)
    with sqlite3.connect(sqlite.data / "ledger.db") as raw:
        for text in asked:
            bound = [1] * text.count("?")
            plans += [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", bound)]
    raw.close()
    used = {word for plan in plans for word in plan.split() if "_" in word}
    assert {
        "exchanges_runnable",
        "exchanges_timed",
        "cases_undocumented",
        "cases_expiring",
        "submissions_received",
        "submissions_held",
        "items_valid",
        "items_subject",
        "answers_due",
        "submissions_ended",
    } <= used
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]
    assert not [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan]
