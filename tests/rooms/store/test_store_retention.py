"""Retention: bytes are forgotten when everything that came of them has ended, and the disk gets its room back."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from datetime import timedelta

import pytest
from ledger_steps import AT, WAY, accepted, attempt, case, exchange, item, itemised, move, moved, routed
from store_servers import Where

from gateway import store
from gateway.flow import NEW, Room, Thing
from gateway.message import Step

LATER = AT + timedelta(days=30)


async def _delivered(ledger: store.Ledger, name: str, body: bytes, last: str = "delivered") -> None:
    """A submission that went all the way, or only so far."""
    await ledger.commit(accepted(f"s-{name}", body=body))
    await ledger.commit(itemised(f"s-{name}", item(f"i-{name}", f"s-{name}", subject=name)))
    moves = (
        move(Thing.ITEM, f"i-{name}", "valid", "gathered", Room.GATHER),
        move(Thing.CASE, f"c-{name}", NEW, "open", Room.GATHER),
        move(Thing.CASE, f"c-{name}", "open", "complete", Room.GATHER),
    )
    gathered = item(f"i-{name}", f"s-{name}", subject=name, state="gathered", case=f"c-{name}")
    await ledger.commit(Step(name="gather", at=AT, moves=moves, writes=(gathered, case(f"c-{name}"))))
    owed = exchange(f"e-{name}", f"d-{name}", subject=name, case=f"c-{name}")
    await ledger.commit(routed(f"d-{name}", owed, submissions=[f"s-{name}"], case=f"c-{name}"))
    way = (*WAY, "awaiting", "delivered")
    for frm, to in itertools.pairwise(way[: way.index(last) + 1]):
        writes = (attempt(f"a-{name}", f"e-{name}", request=body, reply=b"<ok/>"),) if to == "in_flight" else ()
        await ledger.commit(moved(f"e-{name}", frm, to, Room.DELIVER, *writes))


@pytest.mark.parametrize("last", ["due", "in_flight", "awaiting"])
async def test_nothing_is_forgotten_before_it_has_ended(ledger: store.Ledger, last: str) -> None:
    """However old it is."""
    await _delivered(ledger, "x", b"raw", last)
    await ledger.commit(accepted("waiting"))
    assert await ledger.forget("p", LATER) == 0
    found = await ledger.submission("s-x")
    assert found is not None
    assert found.body == b"raw"


async def test_what_ended_keeps_everything_but_its_bytes(ledger: store.Ledger) -> None:
    """Digest, document, evidence, journal and audit stay; another programme and younger ones are not touched."""
    await _delivered(ledger, "x", b"raw")
    assert await ledger.forget("other", LATER) == 0
    assert await ledger.forget("p", AT) == 0
    before = await ledger.journal("s-x")
    assert await ledger.forget("p", LATER) == 1
    assert await ledger.forget("p", LATER) == 0
    found, document = await ledger.submission("s-x"), await ledger.document("d-x")
    assert found is not None
    assert document is not None
    assert (found.body, found.digest) == (b"", store.payload.sha256(b"raw"))
    assert document.body
    (tried,) = await ledger.attempts("e-x")
    assert (tried.request, tried.reply, tried.request_digest) == (b"", b"", store.payload.sha256(b"raw"))
    assert await ledger.journal("s-x") == before
    assert len(await ledger.case_items("c-x")) == 1
    assert await ledger.audit_chain_intact()


async def test_a_file_goes_when_the_last_row_that_names_it_has_gone(sqlite: Where) -> None:
    """Two submissions of the same bytes share one file; somebody who commits them while it is swept loses nothing."""
    big = os.urandom(1_200_000)
    async with sqlite.ledger() as ledger:
        await _delivered(ledger, "x", big)
        await ledger.commit(accepted("held", body=big))
        assert await ledger.forget("p", LATER) == 1
        await ledger.tidy()
        kept = await ledger.submission("held")
        assert kept is not None
        assert kept.body == big
        step = Step(name="refuse", at=AT, moves=(move(Thing.SUBMISSION, "held", "received", "refused", Room.MAP),))
        await ledger.commit(step)
        assert await ledger.forget("p", LATER) == 1
        await asyncio.gather(ledger.tidy(), *(ledger.commit(accepted(f"again{n}", body=big)) for n in range(5)))
        for n in range(5):
            found = await ledger.submission(f"again{n}")
            assert found is not None
            assert found.body == big
    async with sqlite.ledger() as ledger:
        for n in range(5):
            step = move(Thing.SUBMISSION, f"again{n}", "received", "refused", Room.MAP)
            await ledger.commit(Step(name="refuse", at=AT, moves=(step,)))
        assert await ledger.forget("p", LATER) == 5
        await ledger.tidy()
        assert not list(sqlite.data.glob("blobs/*/*"))


async def test_the_database_file_shrinks_without_stopping(sqlite: Where) -> None:
    """A few pages at a time, while others commit."""
    async with sqlite.ledger() as ledger:
        for n in range(200):
            step = accepted(f"s{n}", body=os.urandom(40_000))
            refused = (*step.moves, move(Thing.SUBMISSION, f"s{n}", "received", "refused", Room.MAP))
            await ledger.commit(Step(name="x", at=AT, moves=refused, writes=step.writes))
        while await ledger.forget("p", LATER, 50):
            pass
        free = [await ledger.tidy(200) for _ in range(5)]
        assert free == sorted(free, reverse=True)
        assert free[0] - free[-1] == 800
        await ledger.commit(accepted("meanwhile"))
        while await ledger.tidy(2000):
            pass
    with sqlite3.connect(sqlite.data / "ledger.db") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    assert (sqlite.data / "ledger.db").stat().st_size < 1_500_000


async def test_what_is_kept_is_readable_by_its_owner_alone(sqlite: Where) -> None:
    """Database, log, index, large payloads and their folders."""
    async with sqlite.ledger() as ledger:
        await ledger.commit(accepted("s1", body=os.urandom(1_100_000)))
        paths = [sqlite.data, *sqlite.data.rglob("*")]
        assert len(paths) >= 7
        assert {path.name: path.stat().st_mode & 0o077 for path in paths if path.stat().st_mode & 0o077} == {}


async def test_states_and_metadata_have_times_of_their_own(ledger: store.Ledger) -> None:
    """Refused bytes may go earlier than delivered ones; how it went goes later, and document and audit never."""
    await _delivered(ledger, "x", b"raw")
    await ledger.commit(accepted("bad"))
    refused = move(Thing.SUBMISSION, "bad", "received", "refused", Room.MAP)
    await ledger.commit(Step(name="refuse", at=AT, moves=(refused,)))
    assert await ledger.forget_metadata("p", LATER) == 0  # never before the bytes
    assert await ledger.forget("p", LATER, state="refused") == 1
    found = await ledger.submission("s-x")
    assert found is not None
    assert found.body == b"raw"
    assert await ledger.forget("p", LATER, state="itemised") == 1
    events = len(await ledger.audit_events(limit=1000))
    assert await ledger.forget_metadata("p", AT) == 0
    assert await ledger.forget_metadata("p", LATER) == 2
    assert await ledger.forget_metadata("p", LATER) == 0
    assert await ledger.forget("p", LATER) == 0
    assert {entry.thing for entry in await ledger.journal("s-x")} == {"case"}  # which may go on
    assert await ledger.attempts("e-x") == []
    found, document = await ledger.submission("s-x"), await ledger.document("d-x")
    assert found is not None
    assert (found.body, found.digest) == (b"", store.payload.sha256(b"raw"))
    assert document is not None
    assert document.body
    assert len(await ledger.audit_events(limit=1000)) == events
    assert await ledger.audit_chain_intact()


async def test_metadata_of_what_is_not_final_stays(ledger: store.Ledger) -> None:
    """An exchange under way keeps its attempts however old they are."""
    await _delivered(ledger, "x", b"raw", "in_flight")
    assert await ledger.forget("p", LATER) == 0
    assert await ledger.forget_metadata("p", LATER) == 0
    assert len(await ledger.attempts("e-x")) == 1
