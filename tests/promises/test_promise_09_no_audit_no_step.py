"""Promise 9: every step visible from outside has an audit event in the same commit, and the chain is unbroken."""

from __future__ import annotations

from pathlib import Path

from oracle import stay_messages

from gateway import store
from gateway.clock import SystemClock
from gateway.commands.site import Site

VISIBLE = {
    ("submission", "received"),
    ("submission", "refused"),
    ("submission", "itemised"),
    ("item", "refused"),
    ("item", "gathered"),
    ("exchange", "due"),
    ("exchange", "in_flight"),
    ("exchange", "delivered"),
    ("exchange", "rejected"),
    ("exchange", "parked"),
    ("exchange", "unknown"),
    ("exchange", "held"),
}


async def test_each_visible_step_has_its_event_in_its_own_commit_also_after_a_kill(site: Site) -> None:
    """The feed number ties a journal line to its event: one transaction, both or neither."""
    bad = stay_messages(3, 1)[0].replace(b"ADT^A03^ADT_A03", b"QQQ^Z99^QQQ_Z99")
    await site.mllp([*stay_messages(1, 1), bad])
    await site.kill()
    await site.start()
    await site.mllp(stay_messages(2, 1))
    assert await site.quiet(30)
    await site.stop()
    async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
        events = await ledger.audit_events(0, 10_000)
        assert await ledger.audit_chain_intact()
        by_feed: dict[int, set[str]] = {}
        for kept in events:
            by_feed.setdefault(kept.feed, set()).update(kept.record.entities)
        checked = 0
        for patient, stay in ((1, 1), (2, 1), (3, 1)):
            for kind in ("A", "P"):
                for found in await ledger.earlier("hospital-1", f"{kind}-V{patient:03d}{stay:04d}"):
                    for line in await ledger.journal(found.id):
                        if (line.thing, line.to) in VISIBLE:
                            assert by_feed.get(line.feed), f"{line.thing} {line.to} without an event"
                            checked += 1
        assert checked > 20


async def test_events_render_as_fhir_and_name_nobody(site: Site) -> None:
    """An AuditEvent says who, what and when by ids and codes; a patient's name has no place in it."""
    from gateway.audit import render
    from gateway.formats import json

    await site.mllp(stay_messages(1, 1))
    assert await site.quiet(30)
    await site.stop()
    async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
        for kept in await ledger.audit_events(0, 1000):
            shown = json.write(render.document(kept.record, kept.id, "gateway", "urn:gateway")).decode()
            assert '"resourceType":"AuditEvent"' in shown
            for word in ("آزمایشی", "بیمار یک", "0912", "تهران"):
                assert word not in shown
