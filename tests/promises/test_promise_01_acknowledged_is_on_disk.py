"""Promise 1: a positive acknowledgement means that the exact bytes are on disk and synced."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from oracle import ROOT, stay_messages, token

from gateway.commands.site import Plan, Site

_LOG = r"\d+<[^>]*\.db-wal>"
_CALL = re.compile(
    rf"^(?P<pid>\d+) +(?:"
    rf"(?P<write>pwrite64|write)\({_LOG}, (?P<data>.*)"
    rf"|(?P<sync>fdatasync|fsync)\({_LOG}(?P<later> <unfinished)?"
    rf"|(?P<synced><\.\.\. (?:fdatasync|fsync) resumed>)"
    rf"|(?:sendto|send|write|writev)\(\d+<(?:TCP|socket)[^>]*>.*MSA\|(?:AA|CA)\|(?P<told>[\w-]+)"
    rf")"
)


def unsynced_acknowledgements(trace: Iterable[str], ids: Iterable[str]) -> tuple[int, int]:
    """(positive acknowledgements, those that left before a sync that began after their own message was written).

    Other commits may be under way at any moment, so each message is followed by its control id: where it first stands
    in what is written to the log, which sync covers that, and when its acknowledgement leaves.
    """
    written, synced, syncing = set[str](), set[str](), dict[str, set[str]]()
    told, early = list[str](), 0
    for line in trace:
        if (call := _CALL.match(line)) is None:
            continue
        if call["write"]:
            written |= {id for id in ids if id in call["data"]}
        elif call["sync"] and call["later"]:
            syncing[call["pid"]] = set(written)
        elif call["sync"]:
            synced |= written
        elif call["synced"]:
            synced |= syncing.pop(call["pid"], set())
        elif call["told"] not in told:
            told.append(call["told"])
            early += call["told"] not in synced
    return len(told), early


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
                "9000",
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
    ids = [f"{kind}-{token(1, stay)}" for stay in range(messages) for kind in ("A", "P")]
    return unsynced_acknowledgements(log.read_text(errors="replace").splitlines(), ids)


def test_the_trace_is_read_as_it_should_be() -> None:
    """A reader of traces that sees no writes would find every acknowledgement good."""
    write, sync = '9 pwrite64(7</d/ledger.db-wal>, "..A-1..", 4096, 0) = 4096', "9 fdatasync(7</d/ledger.db-wal>) = 0"
    begun, ended = "9 fdatasync(7</d/ledger.db-wal> <unfinished ...>", "9 <... fdatasync resumed>) = 0"
    tell = '8 sendto(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\\vMSH|..MSA|CA|A-1|..", 90, 0, NULL, 0) = 90'
    assert unsynced_acknowledgements([write, sync, tell], ["A-1"]) == (1, 0)
    assert unsynced_acknowledgements([write, begun, ended, tell], ["A-1"]) == (1, 0)
    for wrong in ([write, tell, sync], [write, begun, tell, ended], [begun, write, ended, tell], [sync, tell]):
        assert unsynced_acknowledgements(wrong, ["A-1"]) == (1, 1)


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
        await site.start(wrap=("prlimit", "--fsize=9000000"))
        said = []
        for stay in range(150):
            try:
                body = stay_messages(3, stay)[0].replace(b"ZSP|", b"NTE|1||" + b"x" * 60_000 + b"\rZSP|")
                said += await site.mllp([body])
            except OSError:
                continue  # a connection that broke off has acknowledged nothing; a sender tries again
            if b"MSA|CA" not in said[-1]:
                break
        positive = sum(1 for answer in said if b"MSA|CA" in answer)
        assert 0 < positive < 150
        assert b"MSA|C" in said[-1]
        assert b"MSA|CA" not in said[-1]
        await site.kill()
        await site.start()  # space returns with the limit gone: it accepts again and has everything it said it has
        answer = (await site.mllp(stay_messages(3, 99)))[0]
        assert b"MSA|CA" in answer
        states = {(s["thing"], s["state"]): s["count"] for s in await site.ask("status")}
        kept = sum(count for (thing, _), count in states.items() if thing == "submission")
        assert kept >= positive + 2
