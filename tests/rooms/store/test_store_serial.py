"""What two processes decide at the same instant: one of them was first, and the other is told so."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from ledger_steps import AT, accepted, case, document, event, move
from sqlalchemy import create_engine
from sqlalchemy.dialects import sqlite
from store_servers import Where

from gateway.errors import StaleState
from gateway.flow import NEW, Room, Thing
from gateway.kept import SubmissionStatus
from gateway.message import Step
from gateway.receive.acceptance import Arrival
from gateway.receive.door import Door, Rendered, Verdict
from gateway.settings import Sender
from gateway.store import schema, serial

SENDER = Sender(id="hospital", programmes=("p",))


def completed(id: str, at_second: int, **more: str) -> Step:
    """Gather: a case that is complete from then on."""
    at = AT + timedelta(seconds=at_second)
    return Step(
        name="gather",
        at=at,
        moves=(
            move(Thing.CASE, id, NEW, "open", Room.GATHER),
            move(Thing.CASE, id, "open", "complete", Room.GATHER),
        ),
        writes=(case(id, version=1, **more),),
    )


def published(id: str) -> Step:
    return Step(name="publish", at=AT, writes=(document(f"d-{id}", id, ()),), audit=(event(f"document/d-{id}"),))


async def test_a_document_waits_for_the_earlier_case_of_its_subject(where: Where) -> None:
    """Whichever process was given it: the order of a subject is the order of its cases; others do not wait."""
    async with where.ledger() as ledger:
        await ledger.commit(completed("first", 1))
        await ledger.commit(completed("second", 2))
        await ledger.commit(completed("other", 3, subject="subject-2"))
        await ledger.commit(completed("elsewhere", 3, sender="ward"))
        with pytest.raises(StaleState):
            await ledger.commit(published("second"))
        for id in ("other", "elsewhere", "first", "second"):
            await ledger.commit(published(id))


@pytest.mark.needs("postgresql")
async def test_two_processes_publish_one_subject_in_order(cluster: Where) -> None:
    """At the same instant, many times: the later case is never first, and each has one document."""
    async with cluster.ledger() as one, cluster.ledger() as two:
        for n in range(20):
            first, second = f"a{n}", f"b{n}"
            await one.commit(completed(first, 2 * n, subject=f"s{n}"))
            await one.commit(completed(second, 2 * n + 1, subject=f"s{n}"))
            tried = await asyncio.gather(
                two.commit(published(second)), one.commit(published(first)), return_exceptions=True
            )
            if isinstance(tried[0], StaleState):
                await two.commit(published(second))
            else:
                assert tried[0].feed > tried[1].feed
            assert [len(await one.documents(each)) for each in (first, second)] == [1, 1]


async def test_a_step_rests_on_the_newest_of_a_control_id(where: Where) -> None:
    """What was decided by an older one is stale, and nothing of it is kept."""
    async with where.ledger() as ledger:
        none = ("hospital", "C", None)
        await ledger.commit(msgspec.structs.replace(accepted("s1", control_id="C"), latest=none))
        with pytest.raises(StaleState):
            await ledger.commit(msgspec.structs.replace(accepted("s2", control_id="C"), latest=none))
        assert await ledger.submission("s2") is None
        after = ("hospital", "C", "s1")
        await ledger.commit(msgspec.structs.replace(accepted("s2", control_id="C"), latest=after))
        other = ("ward", "C", None)
        await ledger.commit(msgspec.structs.replace(accepted("s3", sender="ward", control_id="C"), latest=other))


class Plainly:
    """Answers with the id of the submission."""

    media_type = "text/plain"

    def __call__(self, verdict: Verdict) -> Rendered:
        return Rendered(self.media_type, verdict.submission.id.encode())


async def unsettled(id: str, seconds: float) -> SubmissionStatus | None:
    return None


@pytest.mark.needs("postgresql")
async def test_two_receivers_accept_one_control_id_once(cluster: Where) -> None:
    """The same bytes handed to both at once are one submission, and both say the same; other bytes are told apart."""
    async with cluster.ledger() as one, cluster.ledger() as two:
        doors = [Door(each, unsettled, each._clock, ("p",), 0.0) for each in (one, two)]

        def arrival(key: str, body: bytes) -> Arrival:
            return Arrival(
                sender=SENDER, programme="p", channel="http", content_type="application/json", body=body,
                received_at=AT, language="en", key=key,
            )  # fmt: skip

        for n in range(10):
            same = [door.receive(arrival(f"K{n}", b"{}"), Plainly()) for door in doors * 3]
            answers = {each.body for each in await asyncio.gather(*same)}
            assert len(answers) == 1
            assert len(await one.earlier("hospital", f"K{n}")) == 1
        different = [
            door.receive(arrival("X", body), Plainly()) for door, body in zip(doors, (b"{}", b"[]"), strict=True)
        ]
        assert len({each.body for each in await asyncio.gather(*different)}) == 2
        assert len(await one.earlier("hospital", "X")) == 2


def test_the_questions_are_answered_by_indexes() -> None:
    """Each commit asks them, so they must cost the same however much there is."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        schema.metadata.create_all(connection)
        for question in (serial._newest(), serial._earlier()):
            text = str(question.compile(dialect=sqlite.dialect()))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("x",) * text.count("?")).fetchall()
            assert all("INDEX" in line[3] for line in plan if "OR" not in line[3].split()), plan
    engine.dispose()
