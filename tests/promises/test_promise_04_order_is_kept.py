"""Promise 4: per destination, sender and subject, order is kept; one bad message holds up its own subject only."""

from __future__ import annotations

import asyncio

from oracle import stay_messages, token, tokens_in

from gateway.commands.site import Site
from gateway.simulate.faults import Faults


async def test_retries_do_not_let_a_later_stay_overtake(site: Site) -> None:
    """The destination fails now and then; each patient's stays still arrive in the order of the discharges."""
    for order in ("status=503:3", "delay=0.3:2", "status=503:2"):
        site.medcare.faults.order(order)

    async def one(patient: int) -> None:
        for stay in range(4):
            await site.mllp(stay_messages(patient, stay))

    await asyncio.gather(*(one(patient) for patient in range(3)))
    assert await site.quiet(60)
    for name in ("sepas", "medcare"):
        seen = tokens_in(site.logs[name])
        for patient in range(3):
            mine = list(dict.fromkeys(each for each in seen if each.startswith(f"V{patient:03d}")))
            assert mine == [token(patient, stay) for stay in range(4)]


async def test_a_parked_exchange_holds_its_own_subject_and_no_other(site: Site) -> None:
    """A rejected-for-ever coding of one patient must not stop the hospital."""
    assert isinstance(site.sepas.faults, Faults)
    site.sepas.faults.order("category=Facility Validation:1")
    await site.mllp(stay_messages(1, 0))
    await asyncio.sleep(2)
    await site.mllp([*stay_messages(1, 1), *stay_messages(2, 0)])
    await asyncio.sleep(3)
    states = {}
    for line in await site.ask("exchanges", destination="sepas") + await site.ask(
        "exchanges", destination="sepas", state="delivered"
    ):
        states.setdefault(line["exchange"]["subject"], []).append(line["exchange"]["state"])
    assert sorted(map(sorted, states.values())) == [["delivered"], ["due", "parked"]]
