"""From raw input to the repository's acceptance, over real sockets: each group, and cases of mixed kinds together."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from sepas_inputs import GROUPS, ROOT, Sent, mixed, plan, stay

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.formats import json, media


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=20.0)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


async def send(site: Site, sent: Iterable[Sent]) -> list[tuple[Sent, Any]]:
    """Every submission with the gateway's answer."""
    answers = []
    for each in sent:
        answer = await site.post("hospital-1", "sepas", each.media, each.body, Accept="application/json")
        answers.append((each, answer))
    return answers


def arrived(site: Site, name: str) -> list[bytes]:
    """The bodies that a stand-in took."""
    found: dict[int, dict[str, Any]] = {}
    for line in site.logs[name].read_bytes().splitlines():
        read = json.read(line)
        found.setdefault(read["arrival"], {"verdict": {}}).update(read)
    return [base64.b64decode(each["body"]) for each in found.values() if each["verdict"].get("kept")]


async def counted(site: Site) -> Counter[tuple[str, str]]:
    return Counter({(s["thing"], s["state"]): s["count"] for s in await site.ask("status") if s["count"]})


def delivered(sent: Iterable[Sent]) -> int:
    """How many cases of a run the repository is owed: two messages of one stay are one."""
    found = list(sent)
    return sum(s.fate == "delivered" for s in found) - sum(b"DFT^P03" in s.body for s in found)


async def account(site: Site, sent: list[Sent]) -> None:
    """Every submission, case and exchange of the run is where it has to be, and nowhere else."""
    answers = await send(site, sent)
    refused = [each for each, answer in answers if answer.status_code == 422]
    assert refused == [each for each in sent if each.fate == "refused"]
    assert await site.quiet(120)
    states = await counted(site)
    fates = Counter(each.fate for each in sent)
    assert states["submission", "itemised"] + states["submission", "refused"] == len(sent)
    assert states["item", "refused"] + states["submission", "refused"] >= fates["refused"]
    assert states["case", "open"] == fates["open"]
    assert states["case", "complete"] == delivered(sent) + fates["planned"] + fates["kept"]
    assert states["exchange", "delivered"] == 2 * delivered(sent) + fates["planned"]
    assert {state for thing, state in states if thing == "exchange"} == {"delivered"}
    assert len(arrived(site, "sepas")) == delivered(sent)
    assert len(arrived(site, "medcare")) == delivered(sent) + fates["planned"]


async def test_each_group_reaches_the_repositories_and_a_wrong_plan_of_it_does_not(site: Site) -> None:
    """One complete case of each group is accepted by both systems, one is refused with the finding of its group."""
    good = [Sent(media.JSON, stay(n, g.diagnoses, g.procedures), "delivered") for n, g in enumerate(GROUPS, 1)]
    bad = [Sent(media.JSON, plan(100 + n, g.name, g.near), "refused") for n, g in enumerate(GROUPS, 1)]
    answers = await send(site, [*good, *bad])
    for (each, answer), group in zip(answers[len(good) :], GROUPS, strict=True):
        assert each.fate == "refused"
        assert answer.status_code == 422
        assert group.check in answer.text
    assert await site.quiet(60)
    taken = arrived(site, "sepas")
    assert len(taken) == len(GROUPS) == len(arrived(site, "medcare"))
    for number, group in enumerate(GROUPS, 1):
        (body,) = [each for each in taken if f"HIDT{number:05d}".encode() in each]
        assert all(code.encode() in body for code in group.diagnoses)


async def test_twenty_cases_of_mixed_kinds_are_all_accounted_for(site: Site) -> None:
    """Messages, tables, the national message, FHIR and plans: each ends where it has to."""
    await account(site, list(mixed(20, seed=7)))


@pytest.mark.long
async def test_two_hundred_cases_of_mixed_kinds_are_all_accounted_for(site: Site) -> None:
    """The same in one run of two hundred."""
    await account(site, list(mixed(200, seed=11)))
