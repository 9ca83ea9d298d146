"""Organisations within their days, and what a rule shares across them: exactly that, and on no way more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pull_house import ONE, TWO, House, patient, request

from gateway.errors import Misconfigured
from gateway.message import Json, RegistryEntry, Step
from gateway.settings import Organisation, Repository, Share

REPOSITORIES = (Repository(sender=ONE), Repository(sender=TWO))


def slot(id: str, service: str, **more: Json) -> Json:
    return {
        "resourceType": "Slot",
        "id": id,
        "status": "free",
        "schedule": {"reference": "Schedule/s"},
        "serviceType": [{"coding": [{"system": "urn:service", "code": service}]}],
    } | more


async def territory(house: House, *entries: tuple[str, str, str]) -> None:
    """Entries of the reference data: key, area, last day."""
    writes = tuple(
        RegistryEntry(kind="organisation", key=key, programme="second", valid_to=last or None, data={"area": area})
        for key, area, last in entries
    )
    await house.ledger.commit(Step(name="test", at=house.clock.now(), writes=writes))


async def agendas(house: House) -> None:
    """Two neighbours of the second programme, each with agendas and a patient."""
    await house.document("d2", b'{"resourceType":"Bundle"}', programme="second")
    for sender in ("near", "far"):
        await house.put(
            slot(f"{sender}-mri", "mri"), slot(f"{sender}-visit", "visit"),
            {"resourceType": "Schedule", "id": f"{sender}-s", "actor": [{"reference": "Location/x"}]},
            patient(f"{sender}-p"), request(f"{sender}-r", f"{sender}-p"),
            programme="second", sender=sender, document="d2",
        )  # fmt: skip


RULE = Share(
    programme="second", to=(ONE,), types=("Schedule",), when=("Slot?service-type=mri,ct",),
    registry="organisation", by="area",
)  # fmt: skip


async def seen(house: House, who: str = ONE) -> set[str]:
    page = await house.get("?_count=100", who)
    return {each["resource"]["id"] for each in page.get("entry", ())}


async def test_a_rule_shares_what_it_says(house: House) -> None:
    """The agendas of one area's neighbours, of the services that are named: by every way of asking, and no more."""
    await agendas(house)
    await territory(house, (ONE, "A", ""), ("near", "A", ""), ("far", "B", ""))
    sharing = House(house.ledger, house.clock, repository=REPOSITORIES, share=(RULE,))
    assert await seen(sharing) == {"near-mri", "near-s"}
    assert await sharing.ids("Slot") == ["near-mri"]
    assert (await sharing.ask("Slot/near-mri")).status_code == 200
    assert (await sharing.ask("Slot/near-mri/_history/1")).status_code == 200
    for path in ("Slot/near-visit", "Slot/far-mri", "Patient/near-p", "Binary/d2", "Binary/d2.jws",
                 "Slot/near-visit/_history", "Patient/near-p/$everything"):  # fmt: skip
        assert (await sharing.ask(path)).status_code == 404, path
    assert {e["resource"]["id"] for e in (await sharing.get("_history"))["entry"]} == {"near-mri", "near-s"}
    assert await sharing.ids("Patient?_has:ServiceRequest:subject:_id=near-r") == []
    page = await sharing.get("Slot?_include=Slot:schedule&_revinclude=ServiceRequest:subject")
    assert {each["resource"]["id"] for each in page["entry"]} == {"near-mri"}
    started = await sharing.ask("$export", headers={"prefer": "respond-async"})
    manifest = await sharing.get(started.headers["content-location"])
    lines = [(await sharing.ask(each["url"])).text for each in manifest["output"]]
    assert {each["type"] for each in manifest["output"]} == {"Slot", "Schedule"}
    assert not any(word in line for line in lines for word in ("far-", "visit", "near-p"))
    assert await seen(sharing, TWO) >= {"near-p", "far-mri"}


async def test_rules_follow_the_reference_data_and_their_days(home: House) -> None:
    """An entry that ended shares no more; neither does a rule whose days are over, or a place that nobody named."""
    await agendas(home)
    day = home.clock.now().date()
    await territory(home, (ONE, "A", ""), ("near", "A", day.isoformat()))
    sharing = House(home.ledger, home.clock, repository=REPOSITORIES, share=(RULE,))
    assert await seen(sharing) == {"near-mri", "near-s"}
    home.clock.advance(timedelta(days=1))
    assert await seen(sharing) == set()
    named = Share(programme="second", to=(ONE,), types=("Slot",), senders=("far",), valid_to=day.isoformat())
    assert await seen(House(home.ledger, home.clock, repository=REPOSITORIES, share=(named,))) == set()
    home.clock.advance(timedelta(days=-1))
    over = House(home.ledger, home.clock, repository=REPOSITORIES, share=(named,))
    assert await seen(over) == {"far-mri", "far-visit"}


async def test_each_organisation_has_its_days(house: House) -> None:
    """What an organisation sent is seen from its first day to its last, and by nobody whose list is empty today."""
    day = house.clock.now().date()
    for sender in ("clinic", "ward"):
        await house.put(patient(sender), sender=sender)
    until = Organisation(sender="clinic", valid_to=day.isoformat())
    since = Organisation(sender="ward", valid_from=(day + timedelta(days=1)).isoformat())
    own = House(house.ledger, house.clock, repository=(Repository(sender=ONE, organisation=(until, since)),))
    assert await seen(own) == {"clinic"}
    assert (await own.ask("Patient/ward")).status_code == 404
    house.clock.advance(timedelta(days=1))
    assert await seen(own) == {"ward"}
    gone = House(house.ledger, house.clock, repository=(Repository(sender=ONE, organisation=(until,)),))
    assert await seen(gone) == set()


@pytest.mark.parametrize(
    "rule",
    [
        Share(programme="second", to=(ONE,), types=("Slot",)),
        Share(programme="second", to=(ONE,), types=("Nothing",), senders=("near",)),
        Share(programme="second", to=(ONE,), when=("Slot",), senders=("near",)),
        Share(programme="second", to=(ONE,), when=("Slot?shoe=1",), senders=("near",)),
        Share(programme="second", to=(ONE,), when=("Slot?schedule.actor=Location/x",), senders=("near",)),
        Share(programme="second", to=(ONE,), types=("Slot",), senders=("near",), valid_to="soon"),
    ],
)
async def test_a_rule_that_cannot_hold_stops_the_start(home: House, rule: Share) -> None:
    """Better no gateway than one that shares something else."""
    with pytest.raises(Misconfigured):
        House(home.ledger, home.clock, repository=REPOSITORIES, share=(rule,))
