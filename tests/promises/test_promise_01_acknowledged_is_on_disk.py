"""Promise 1: a positive acknowledgement means that the exact bytes are on disk and synced."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from oracle import ROOT, stay_messages

from gateway.commands.site import Plan, Site

_SYNC = re.compile(r"(fdatasync|fsync)\((\d+)<([^>]*)>")
_WRITE = re.compile(r"(pwrite64|write)\((\d+)<([^>]*gateway\.db-wal)>")
_SEND = re.compile(r"(sendto|send|write|writev)\((\d+)<(?:TCP|socket)[^>]*>.*MSA\|(AA|CA)")


def unsynced_acknowledgements(trace: Iterable[str]) -> tuple[int, int]:
    """(positive acknowledgements, those that left while the log had writes that no sync had followed)."""
    dirty, sent, bad = False, 0, 0
    for line in trace:
        if _WRITE.search(line):
            dirty = True
        elif (match := _SYNC.search(line)) and match.group(3).endswith("gateway.db-wal"):
            dirty = False
        elif _SEND.search(line):
            sent += 1
            bad += dirty
    return sent, bad


async def traced(
    folder: Path, messages: int, environment: dict[str, str] | None = None, package: Path | None = None
) -> tuple[int, int]:
    """Push messages through a gateway under strace; what its system calls say."""
    plan = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, environment=environment or {}, package=package)
    log = folder / "strace.txt"
    async with Site(folder, plan) as site:
        await site.start(
            wrap=(
                "strace",
                "-f",
                "-yy",
                "-s",
                "400",
                "-o",
                str(log),
                "-e",
                "trace=fsync,fdatasync,pwrite64,write,writev,sendto,send",
            )
        )
        for stay in range(messages):
            answers = await site.mllp(stay_messages(1, stay))
            assert all(b"MSA|CA" in answer for answer in answers)
        await site.stop()
    return unsynced_acknowledgements(log.read_text(errors="replace").splitlines())


@pytest.mark.needs("strace")
async def test_every_acknowledgement_leaves_after_a_sync_of_what_was_written(tmp_path: Path) -> None:
    """A process crash is survived by any database; a power cut only by one that synced before it said yes."""
    sent, bad = await traced(tmp_path, 10)
    assert sent == 20
    assert bad == 0


async def test_what_was_acknowledged_survives_a_kill_at_once(tmp_path: Path) -> None:
    """The acknowledgement and the power switch may be one moment apart; the bytes are there, exactly."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0)) as site:
        await site.start()
        bodies = [body for stay in range(5) for body in stay_messages(2, stay)]
        answers = await site.mllp(bodies)
        await site.kill()
        assert all(b"MSA|CA" in answer for answer in answers)
        from gateway import store
        from gateway.clock import SystemClock

        async with store.open("", Path(site.settings().data), SystemClock()) as ledger:
            for body in bodies:
                control_id = body.split(b"|")[9].decode()
                found = await ledger.earlier("hospital-1", control_id)
                kept = await ledger.submission(found[0].id)
                assert kept is not None
                assert kept.body == body


async def test_when_the_disk_does_not_take_it_nothing_positive_is_said(tmp_path: Path) -> None:
    """A full disk stops positive acknowledgements at once; the sender keeps its message and tries again."""
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0)) as site:
        await site.start(wrap=("prlimit", "--fsize=3000000"))
        said = []
        for stay in range(60):
            try:
                body = stay_messages(3, stay)[0].replace(b"ZSP|", b"NTE|1||" + b"x" * 60_000 + b"\rZSP|")
                said += await site.mllp([body])
            except OSError:
                break
        positive = sum(1 for answer in said if b"MSA|CA" in answer)
        assert 0 < positive < 60
        assert b"MSA|C" in said[-1]
        assert b"MSA|CA" not in said[-1]
        await site.kill()
        await site.start()  # space returns with the limit gone: it accepts again and has everything it said it has
        answer = (await site.mllp(stay_messages(3, 99)))[0]
        assert b"MSA|CA" in answer
        states = {(s["thing"], s["state"]): s["count"] for s in await site.ask("status")}
        kept = sum(count for (thing, _), count in states.items() if thing == "submission")
        assert kept >= positive + 2
