"""Promise 2: everything accepted ends in a final state, or is visibly waiting with an age and a reason."""

from __future__ import annotations

from oracle import stay_messages

from gateway import flow
from gateway.commands.site import Site


async def test_every_thing_is_counted_in_exactly_one_state_and_what_waits_has_an_age(site: Site) -> None:
    """Half a stay waits open, a whole one is delivered, a refused one is refused: the counts add up."""
    whole, half, bad = stay_messages(1, 1), stay_messages(2, 1), stay_messages(3, 1)
    await site.mllp([*whole, half[0], bad[0].replace(b"PV1|1|I", b"PV1|1|Q").replace(b"|2|V00", b"||V00")])
    assert await site.quiet(30)
    states = [s for s in await site.ask("status") if s["count"]]
    counted = {(s["thing"], s["state"]): s["count"] for s in states}
    assert sum(n for (thing, _), n in counted.items() if thing == "submission") == 4
    assert sum(n for (thing, _), n in counted.items() if thing == "item") == 4
    assert counted[("case", "open")] == 1
    for state in states:
        if state["thing"] in set(flow.Thing):
            assert state["state"] in flow.states(flow.Thing(state["thing"]))
        if state["waiting"]:
            assert state["oldest_seconds"] is not None


async def test_what_a_dead_destination_holds_up_is_listed_with_its_reason(site: Site) -> None:
    """An exchange that cannot leave is due with a time and a code, and delivered when the destination returns."""
    await site.servers["medcare"].__aexit__()
    await site.mllp(stay_messages(1, 1))
    assert not await site.quiet(2)
    waiting = await site.ask("exchanges", destination="medcare")
    assert [line["exchange"]["state"] for line in waiting] == ["due"]
    assert waiting[0]["exchange"]["reason"].startswith("GW-")
    assert waiting[0]["exchange"]["next_at"]
    delivered = await site.ask("exchanges", destination="sepas", state="delivered")
    assert len(delivered) == 1  # promise 12: the other destination was not delayed


async def test_without_the_exchange_certificate_nothing_leaves_and_the_reason_is_shown(site: Site) -> None:
    """A-12: held, visibly, until the record is there; then it goes by itself."""
    record = {"destination": "sepas", "number": "", "system_id": "other", "software_version": "0"}
    dates = {"valid_from": "2020-01-01T00:00:00Z", "valid_to": "2020-02-01T00:00:00Z"}
    await site.ask("conformity", record={**record, **dates})
    await site.mllp(stay_messages(1, 1))
    assert not await site.quiet(2)
    held = [line["exchange"] for line in await site.ask("exchanges", destination="sepas")]
    assert [(each["state"], each["reason"][:8]) for each in held] == [("held", "GW-SIGN-")]
    await site.prepare([])
    assert await site.quiet(20)
    assert len(await site.ask("exchanges", destination="sepas", state="delivered")) == 1
