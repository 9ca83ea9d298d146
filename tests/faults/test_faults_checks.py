"""Small scenarios that each provoke one way of breaking a promise; the sabotaged builds are run through them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import ssl
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from oracle import ROOT, Pushed, push_stays, push_until_acknowledged, stay_messages, tokens_in, violations

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site

FATED = Path(__file__).with_name("fated_gateway.py")
CACHED = {"PYTHONDONTWRITEBYTECODE": ""}
RESEND = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, on_unknown="resend", environment=CACHED)


async def killed_at(folder: Path, order: str, plan: Plan = RESEND) -> list[str]:
    """Die at the ordered commit while stays of two patients are pushed, come back, and compare."""
    pushed = Pushed()
    async with Site(folder, plan) as site:
        await site.prepare(registry(ROOT))
        await site.start(wrap=(sys.executable, str(FATED), order))
        pushing = asyncio.create_task(push_stays(site, 2, 2, pushed))
        assert await site.ended() == -signal.SIGKILL
        await site.start()
        async with asyncio.timeout(60):
            await pushing
        await site.quiet(20)
        await site.stop()
        return await violations(site, pushed)


async def test_killed_before_the_commit_of_an_acceptance(tmp_path: Path) -> None:
    """A sender that got its acknowledgement never sends again: what was not on disk would be lost."""
    assert await killed_at(tmp_path, "before:accept:3") == []


async def test_killed_between_the_answer_of_the_destination_and_its_commit(tmp_path: Path) -> None:
    """It has arrived and we do not know: sent again only with a record that says so."""
    assert await killed_at(tmp_path, "before:deliver.settle:2") == []


async def test_a_connection_that_breaks_after_the_last_byte_leaves_nobody_knowing(tmp_path: Path) -> None:
    """The repository kept it and its answer was lost: the next try is recorded as one that may be a repeat."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        await site.start()
        site.sepas.faults.order("drop-after:2")
        site.medcare.faults.order("reset-mid-body:2")
        await push_stays(site, 2, 2, pushed)
        assert await site.quiet(40)
        await site.stop()
        assert await violations(site, pushed) == []


async def test_a_later_stay_waits_for_the_earlier_one_that_was_put_off(tmp_path: Path) -> None:
    """503 for the first: the second must not leave before the first has ended."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        await site.start()
        for stand_in in (site.sepas, site.medcare):
            stand_in.faults.order("status=503:3")
        await push_stays(site, 1, 4, pushed)
        assert await site.quiet(40)
        await site.stop()
        assert await violations(site, pushed) == []


async def test_a_credential_that_is_revoked_closes_the_gate(tmp_path: Path) -> None:
    """From the moment that the list says so nothing signed with it leaves, visibly."""
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        pem = site.ca.signer.certificate.read_text().partition("-----END CERTIFICATE-----")
        der = ssl.PEM_cert_to_DER_cert(pem[0] + pem[1] + "\n")
        (site.ca.revocation / "withdrawn.txt").write_text(hashlib.sha256(der).hexdigest() + "\n")
        await site.start()
        await site.mllp(stay_messages(1, 0))
        async with asyncio.timeout(20):
            while not tokens_in(site.logs["medcare"]):
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert tokens_in(site.logs["sepas"]) == []
        (held,) = [line["exchange"] for line in await site.ask("exchanges", destination="sepas")]
        assert (held["state"], held["reason"]) == ("held", "GW-SIGN-028")


async def test_a_destination_that_does_not_answer_delays_no_other(tmp_path: Path) -> None:
    """While medcare keeps every connection open without a word, everything for sepas arrives."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        await site.start()
        site.medcare.faults.order("delay=15:20")
        await push_stays(site, 6, 1, pushed)
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while len(set(tokens_in(site.logs["sepas"]))) < 6:
                    await asyncio.sleep(0.05)
        assert len(set(tokens_in(site.logs["sepas"]))) == 6
        await site.kill()


async def test_a_message_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    """Sixty megabytes after a start block: the limit is said, the connection closed, the process as small as before."""
    async with Site(tmp_path, RESEND) as site:
        pid = await site.start()
        before = _resident(pid)
        _reader, writer = await asyncio.open_connection("127.0.0.1", site.mllp_port)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(20):
                writer.write(b"\x0b" + stay_messages(1, 0)[0])
                for _ in range(240):
                    writer.write(b"x" * 262_144)
                    await writer.drain()
        assert _resident(pid) - before < 40_000, "kilobytes"
        writer.close()
        assert b"MSA|CA" in (await site.mllp([stay_messages(2, 0)[0]]))[0]


def _resident(pid: int) -> int:
    """The most that the process has held, in kilobytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.slow
async def test_a_message_that_kills_workers_is_parked_and_its_neighbours_go_on(tmp_path: Path) -> None:
    """It is tried once more, alone, so that nothing else is blamed for it."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        await site.start(wrap=(sys.executable, str(FATED), "poison:V700:0"))
        poison = stay_messages(700, 0)[0]
        await asyncio.gather(push_until_acknowledged(site, poison, pushed), push_stays(site, 5, 1, pushed))
        assert await site.quiet(40, but=("parked",)), await site.ask("status")
        parked = {s["thing"]: s["count"] for s in await site.ask("status") if s["state"] == "parked" and s["count"]}
        assert parked == {"submission": 1}
        assert await site.stop() == 0
        assert await violations(site, pushed) == []


@pytest.mark.slow
async def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    """SIGKILL to a worker process while it works: another takes its place and every message is mapped."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        pid = await site.start()
        for patient in (10, 20):
            first = await _received(site)
            bodies = [body for n in range(5) for body in stay_messages(patient + n, 0)]
            pushing = asyncio.gather(*(push_until_acknowledged(site, body, pushed) for body in bodies))
            while await _received(site) <= first:
                await asyncio.sleep(0.01)
            worker = _workers(pid)[0]
            os.kill(worker, signal.SIGKILL)  # with more behind it than it could have done
            await pushing
            pushed.acknowledged |= {patient + n: [0] for n in range(5)}
            assert await site.quiet(90), await site.ask("status")
        assert not [s for s in await site.ask("status") if s["state"] == "parked" and s["count"]]
        assert await site.stop() == 0
        assert await violations(site, pushed) == []
    assert "worker_died" in site.log_path.read_text()


async def _received(site: Site) -> int:
    return sum(s["count"] for s in await site.ask("status") if s["thing"] == "submission")


def _workers(pid: int) -> list[int]:
    """The worker processes of a gateway, by parent and by how the standard library starts them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.slow
async def test_killed_again_while_it_comes_back(tmp_path: Path) -> None:
    """The crash during the clearing up of a crash is the one that nobody tries."""
    pushed = Pushed()
    async with Site(tmp_path, RESEND) as site:
        await site.prepare(registry(ROOT))
        await site.start(wrap=(sys.executable, str(FATED), "after:deliver.leave:3"))
        pushing = asyncio.create_task(push_stays(site, 3, 2, pushed))
        assert await site.ended() == -signal.SIGKILL
        for order in ("before:recover:1", "after:recover:1", "before:deliver.reconcile:1", "before:deliver.leave:1"):
            with suppress(Exception):  # it dies before it is ready, or after
                await site.start(wrap=(sys.executable, str(FATED), order))
            assert await site.ended() == -signal.SIGKILL, order
        for seconds in (0.3, 0.6, 0.9, 1.2):  # anywhere in the start
            starting = asyncio.create_task(site.start())
            await asyncio.sleep(seconds)
            await site.kill()
            with suppress(Exception):
                await starting
        await site.start()
        await pushing
        assert await site.quiet(60)
        assert await site.stop() == 0
        assert await violations(site, pushed) == []
