"""An operator's hand on a whole site: pause and resume, queues, metrics, readiness, and a quick end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.cli import main
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site

ROOT = Path(__file__).parents[3]
STAY = (ROOT / "mappings" / "sepas" / "samples" / "stay.json").read_bytes()
NAME = "بیمار"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    plan = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, extra="[metrics]\nport = 0\n")
    async with Site(tmp_path, plan) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


async def push(site: Site, key: str = "op-1") -> None:
    answer = await site.post("hospital-1", "sepas", "application/json", STAY, idempotency_key=key)
    assert answer.status_code in (201, 202), answer.text


async def queue(site: Site, destination: str) -> dict[str, int]:
    (line,) = await site.ask("queue", destination=destination)
    return {each["state"]: each["count"] for each in line["states"]}


async def reaches(site: Site, destination: str, wanted: dict[str, int], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while (found := await queue(site, destination)) != wanted:
        assert time.monotonic() < until, found
        await asyncio.sleep(0.1)


async def command(site: Site, *words: str) -> int:
    return await asyncio.to_thread(main, [*words, "--config", str(site.config)])


async def test_a_pause_holds_visibly_survives_a_restart_and_ends_by_resume(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a person lifts what a person ordered, and other destinations do not notice."""
    assert await command(site, "pause", "medcare", "--reason", "their maintenance") == 0
    await push(site)
    await reaches(site, "medcare", {"held": 1})
    assert await site.quiet(20, but=("held",))
    await site.kill()
    await site.start()
    await asyncio.sleep(2)
    assert await queue(site, "medcare") == {"held": 1}
    assert await command(site, "queue") == 0
    assert "medcare                 1 waiting  paused" in capsys.readouterr().out
    assert await command(site, "queue", "medcare") == 0
    assert "GW-DESK-010" in capsys.readouterr().out
    assert await command(site, "resume", "medcare", "--reason", "they are back") == 0
    await reaches(site, "medcare", {})
    assert len(site.logs["medcare"].read_text().splitlines()) >= 1


async def test_a_pause_entered_while_the_gateway_is_down_counts_at_its_start(site: Site) -> None:
    """A destination must not get one more message because nobody was there to hear the order."""
    await site.stop()
    assert await command(site, "pause", "cart", "--reason", "closed") == 0
    await site.start()
    (line,) = await site.ask("queue", destination="cart")
    assert line["paused"]


async def test_what_waits_for_its_time_can_be_tried_now(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator who knows that the destination is back need not wait for the backoff; nonsense is refused."""
    assert await command(site, "pause", "medcare", "--reason", "closed") == 0
    await push(site)
    await reaches(site, "medcare", {"held": 1})
    (line,) = await site.ask("exchanges", destination="medcare")
    assert await command(site, "retry", line["exchange"]["id"], "--reason", "now") == 1
    assert "GW-" in capsys.readouterr().err
    assert await command(site, "retry", "nothing", "--reason", "now") == 1
    assert await command(site, "parked") == 0
    assert "Traceback" not in capsys.readouterr().err


async def test_the_metrics_page_names_destinations_and_nobody(site: Site) -> None:
    """Depth, age, attempts, outcomes and latencies by destination and programme; no identifier (promise 10)."""
    await push(site)
    assert await site.quiet(30)
    port = site.metrics_port
    async with httpx.AsyncClient() as client:
        page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert (await client.get(f"http://127.0.0.1:{port}/other")).status_code == 404
    for wanted in (
        'gateway_exchange_moves_total{destination="medcare",programme="sepas",to="delivered"} 1.0',
        'gateway_attempt_seconds_count{destination="medcare",outcome="delivered"} 1.0',
        'gateway_exchange_seconds_count{destination="sepas",outcome="delivered",programme="sepas"} 1.0',
        'gateway_paused{destination="cart"} 0.0',
    ):
        assert wanted in page, wanted
    assert "V-9001" not in page
    assert NAME not in page
    assert "hospital-1" not in page


async def test_a_stop_ends_within_ten_seconds_whatever_hangs(site: Site) -> None:
    """A rolling upgrade must not wait for a destination that does not answer; what was on its way becomes unknown."""
    site.medcare.faults.order("delay=20:5")
    await push(site)
    await reaches(site, "medcare", {"in_flight": 1})
    began = time.monotonic()
    assert await site.stop() == 0
    assert time.monotonic() - began < 10
    await site.start()
    until = time.monotonic() + 10
    while "unknown" not in await queue(site, "medcare") and await queue(site, "medcare"):
        assert time.monotonic() < until
        await asyncio.sleep(0.1)


async def test_a_dead_worker_is_said_and_replaced(site: Site) -> None:
    """Readiness must turn before somebody routes more work here, and turn back by itself."""
    children = Path(f"/proc/{site.pid}/task/{site.pid}/children").read_text().split()
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert (await site.get("hospital-1", "/health/ready")).status_code == 200
    for pid in workers:
        os.kill(int(pid), signal.SIGKILL)
    seen, until = set(), time.monotonic() + 40
    while time.monotonic() < until and not {"pass", "fail"} <= seen:
        answer = (await site.get("hospital-1", "/health/ready")).json()
        seen.add(answer["status"])
        if answer["status"] == "fail":
            assert answer["checks"] == {"workers": "GW-WORK-002"}
            seen.discard("pass")
        await asyncio.sleep(0.2)
    assert {"pass", "fail"} <= seen
    await push(site, "after-death")
    assert await site.quiet(30)


async def test_neither_the_gateway_nor_its_workers_may_leave_a_core_file(site: Site) -> None:
    """Its memory holds keys and people's data; a crash must not write them to the disk (limits of the kernel)."""
    children = Path(f"/proc/{site.pid}/task/{site.pid}/children").read_text().split()
    assert children
    for pid in (site.pid, *children):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        assert next(line for line in limits if "core file" in line).split()[4:6] == ["0", "0"]
