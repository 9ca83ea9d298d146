"""An acknowledgement means that the bytes are on disk and synced, whatever happens to process, disk or server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from ledger_steps import AT, accepted, event, exchange, item, itemised, move, moved, routed
from sqlalchemy import Connection
from store_servers import NOW, Server, Where

from gateway import store
from gateway.errors import Broken, Misconfigured, StorageFailed
from gateway.flow import Room, Thing
from gateway.message import Finding, Step, StoredResource
from gateway.store.engine import writer as writer_engine
from gateway.store.migrations import MIGRATIONS, Migration, migrate

CHILD = Path(__file__).with_name("committing_child.py")


def _child(where: Where, *before: str) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, str(CHILD), where.url, str(where.data)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=CHILD.parents[3])


@pytest.mark.parametrize("reports", [1, 7, 60, 200])
async def test_whatever_was_reported_committed_is_there_after_kill_9(where: Where, reports: int) -> None:
    """Promise 1: a child reports each commit after it returned and is killed without warning."""
    child = _child(where)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(reports)]
    child.kill()
    lines += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    reported = [line.split() for line in lines if line.endswith(b"\n")]
    assert len(reported) >= reports
    async with where.ledger() as after:
        for id, feed in reported:
            found = await after.submission(id.decode())
            assert found is not None
            assert found.body.startswith(id)
            assert int(feed) <= await after.feed()
        assert await after.audit_chain_intact()
        counted = (await after.counts())["submission"]["received"][0]
        assert counted == await after.feed() >= len(reported)


@pytest.mark.needs("strace")
def test_every_report_comes_after_a_sync_of_what_it_reports(sqlite: Where, tmp_path: Path) -> None:
    """Promise 1, seen from the kernel: between the last write to the log and the report there is a sync."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    calls = "trace=write,pwrite64,fdatasync,fsync"
    child = _child(sqlite, "strace", "-f", "-y", "-qq", "-e", calls, "-e", "signal=none", "-o", str(trace))
    assert child.stdout is not None
    for _ in range(40):
        assert child.stdout.readline()
    child.terminate()
    child.stdout.close()
    child.wait()
    dirty, reports, syncs = False, 0, 0
    for line in _whole_calls(trace.read_text(errors="replace")):
        if re.search(r"(pwrite64|write)\(\d+<[^>]*ledger\.db-wal>", line):
            dirty = True
        elif re.search(r"(fdatasync|fsync)\(\d+<[^>]*ledger\.db-wal>", line):
            dirty, syncs = False, syncs + 1
        elif re.search(r'write\(1<[^>]*>, "s\d+ ', line):
            reports += 1
            assert not dirty, line
    assert reports >= 39
    assert syncs >= 10


@pytest.mark.needs("strace")
def test_a_large_payload_and_its_folder_are_synced_before_the_report(
    sqlite: Where, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row never names a file that a power cut could take: the file's bytes, then its name in the folder."""
    monkeypatch.setenv("COMMITTING_CHILD_STEPS", "6")
    monkeypatch.setenv("COMMITTING_CHILD_CALLERS", "1")
    monkeypatch.setenv("COMMITTING_CHILD_REPEATED", "400000")
    trace = tmp_path / "trace"
    calls = "trace=write,rename,fsync"
    child = _child(sqlite, "strace", "-f", "-y", "-qq", "-e", calls, "-e", "signal=none", "-o", str(trace))
    child.communicate(timeout=60)
    unsynced: set[str] = set()
    files, reports = 0, 0
    for line in _whole_calls(trace.read_text(errors="replace")):
        if found := re.search(r"write\(\d+<([^>]*/blobs/[^>]*\.part)>", line):
            unsynced.add(found[1])
        elif found := re.search(r'rename\("([^"]*/blobs/[^"]*)/[^"/]*\.part"', line):
            unsynced.add(found[1])
            files += 1
        elif found := re.search(r"fsync\(\d+<([^>]*/blobs/[^>]*)>", line):
            unsynced.discard(found[1])
        elif re.search(r'write\(1<[^>]*>, "s\d+ ', line):
            reports += 1
            assert not unsynced
    assert (files, reports) == (6, 6)


def _whole_calls(text: str) -> Iterator[str]:
    """strace splits a call that another thread interrupts; it counts when it has returned, a report when it begins."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
            if call.startswith("write(1<"):
                yield call
        elif call.startswith("<..."):
            whole = begun.pop(thread, "") + call
            if not whole.startswith("write(1<"):
                yield whole
        else:
            yield call


@contextlib.contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    """A tmpfs of that size, or a limit on the size of files where none can be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", folder], check=True)
        return
    pytest.skip("no file system can be mounted here; the limit on file size is its own test")


async def _until_full(ledger: store.Ledger) -> tuple[list[str], int]:
    """Commit until the disk takes no more: what was acknowledged, and how many were refused in the last group."""
    good: list[str] = []
    for group in range(200):
        ids = [f"s{group}-{n}" for n in range(8)]
        steps = [ledger.commit(accepted(id, body=id.encode() * 1000)) for id in ids]
        done = await asyncio.gather(*steps, return_exceptions=True)
        failed = [each for each in done if isinstance(each, BaseException)]
        good += [id for id, each in zip(ids, done, strict=True) if not isinstance(each, BaseException)]
        if failed:
            assert {type(each) for each in failed} == {StorageFailed}
            return good, len(failed)
    raise AssertionError("the disk never filled")


async def _all_there(ledger: store.Ledger, ids: list[str]) -> None:
    for id in ids:
        found = await ledger.submission(id)
        assert found is not None
        assert found.body == id.encode() * 1000


async def test_a_full_disk_stops_acknowledgements_and_recovers_by_itself(tmp_path: Path) -> None:
    """Nothing that failed was acknowledged, nothing acknowledged is lost, and no restart is needed."""
    disk = tmp_path / "disk"
    with _small_disk(disk, "3m"):
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * 1_000_000)
        async with Where("", disk / "data").ledger() as ledger:
            good, _ = await _until_full(ledger)
            with pytest.raises(StorageFailed):
                await ledger.commit(accepted("refused", body=b"x" * 200_000))
            await _all_there(ledger, good)
            ballast.unlink()
            await ledger.commit(accepted("after", body=b"after" * 1000))
            await _all_there(ledger, [*good, "after"])
            assert await ledger.audit_chain_intact()
        async with Where("", disk / "data").ledger() as ledger:
            await _all_there(ledger, [*good, "after"])
            assert await ledger.submission("refused") is None
            assert await ledger.audit_chain_intact()


async def test_a_limit_on_file_size_is_a_full_disk(sqlite: Where) -> None:
    """The same with the log refused by the kernel (EFBIG), which needs no special rights to provoke."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        async with sqlite.ledger() as ledger:
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, hard))
            good, _ = await _until_full(ledger)
            assert good
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await ledger.commit(accepted("after", body=b"after" * 1000))
            await _all_there(ledger, [*good, "after"])
            assert await ledger.audit_chain_intact()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def _killed(where: Where, calls: str, nth: int) -> tuple[dict[str, int], bool]:
    """Kill the child at the n-th such call on the ledger's files: what it reported before, and whether it died."""
    files = [f"-P{where.data / name}" for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm")]
    inject = f"inject={calls}:signal=KILL:when={nth}"
    child = _child(where, "strace", "-f", "-qq", "-o", "/dev/null", *files, "-e", f"trace={calls}", "-e", inject)
    try:
        out, _ = child.communicate(timeout=60)
    finally:
        child.kill()
    lines = [line.split() for line in out.splitlines(keepends=True) if line.endswith(b"\n")]
    return {id.decode(): int(feed) for id, feed in lines}, child.returncode != 0


CALLS = "pwrite64,fdatasync,fsync,ftruncate,unlink"


async def _nothing_reported_is_missing(where: Where, reported: dict[str, int]) -> None:
    async with where.ledger() as after:
        for id in reported:
            found = await after.submission(id)
            assert found is not None
        assert await after.audit_chain_intact()
        count = (await after.counts())["submission"].get("received", (0, None))[0]
        assert count == await after.feed() >= max(reported.values(), default=0)


@pytest.mark.needs("strace")
@pytest.mark.slow
async def test_killed_at_a_system_call_of_the_store_nothing_reported_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at every third write, sync and truncation from the first page of the database on."""
    await _kill_at(tmp_path, monkeypatch, range(1, 46, 3))


@pytest.mark.needs("strace")
@pytest.mark.torture
async def test_killed_at_every_system_call_of_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same at every single call until the child outlives the count."""
    await _kill_at(tmp_path, monkeypatch, range(1, 400))


async def _kill_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: range) -> None:
    monkeypatch.setenv("COMMITTING_CHILD_STEPS", "12")
    died = 0
    for nth in points:
        where = Where("", tmp_path / f"data{nth}")
        reported, killed = await asyncio.to_thread(_killed, where, CALLS, nth)
        if not killed:
            assert len(reported) == 12
            break
        died += 1
        await _nothing_reported_is_missing(where, reported)
        shutil.rmtree(where.data)
    assert died >= min(len(points), 15)


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("call", "error", "when"),
    [("fdatasync", "EIO", "5..7"), ("pwrite64", "EIO", "20..22"), ("pwrite64", "ENOSPC", "20..22")],
)
async def test_an_error_of_the_disk_is_never_acknowledged(
    sqlite: Where, monkeypatch: pytest.MonkeyPatch, call: str, error: str, when: str
) -> None:
    """Three calls fail in a row in the middle of the work: the steps concerned are told so, the later ones succeed."""
    monkeypatch.setenv("COMMITTING_CHILD_STEPS", "60")
    async with sqlite.ledger():
        pass
    wal = f"-P{sqlite.data / 'ledger.db-wal'}"
    inject = f"inject={call}:error={error}:when={when}"
    child = _child(sqlite, "strace", "-f", "-qq", "-o", "/dev/null", wal, "-e", f"trace={call}", "-e", inject)
    out, _ = await asyncio.to_thread(child.communicate, None, 60)
    lines = [line.split() for line in out.splitlines()]
    failed = {id.decode() for id, feed in lines if feed == b"failed"}
    reported = {id.decode(): int(feed) for id, feed in lines if feed != b"failed"}
    assert child.returncode == 0
    assert failed
    assert len(failed) + len(reported) == 60
    async with sqlite.ledger() as after:
        for id in reported:
            assert await after.submission(id) is not None
        assert await after.audit_chain_intact()


async def test_large_bytes_stand_in_a_synced_file_beside_the_database(where: Where) -> None:
    """Above 1 MiB on SQLite; on PostgreSQL in the row, because another machine does not see the folder."""
    body = bytes(range(256)) * 6000
    async with where.ledger() as ledger:
        await ledger.commit(accepted("s1", body=body))
        await ledger.commit(accepted("s2", body=body))
        found = await ledger.submission("s1")
        assert found is not None
        assert found.body == body
        files = [path for path in where.data.glob("blobs/*/*") if path.is_file()]
        assert len(files) == (0 if where.url else 1)


async def test_damaged_bytes_are_never_handed_out(sqlite: Where) -> None:
    """A flipped bit in a row, in a file, in an item: an error of its own, or left out of the queue and logged."""
    big = b"y" * 1_100_000
    async with sqlite.ledger() as ledger:
        await ledger.commit(accepted("small"))
        await ledger.commit(accepted("large", body=big))
        await ledger.commit(accepted("gone", body=big + b"2"))
        await ledger.commit(accepted("good", sender="other"))
        await ledger.commit(accepted("s1", sender="third"))
        await ledger.commit(itemised("s1", item("i1", "s1", "third"), item("i2", "s1", "third", index=1)))
    with sqlite3.connect(sqlite.data / "ledger.db") as raw:
        raw.execute("UPDATE submissions SET body = 'XSH|^~' WHERE id = 'small'")
        raw.execute("UPDATE items SET result = CAST(replace(result, 'subject-1', 'subject-2') AS BLOB) WHERE id = 'i1'")
    raw.close()
    large, gone = sorted((path for path in sqlite.data.glob("blobs/*/*")), key=lambda path: path.stat().st_size)
    large.write_bytes(b"z" + large.read_bytes()[1:])
    gone.unlink()
    async with sqlite.ledger() as ledger:
        for id in ("small", "large", "gone"):
            with pytest.raises(Broken, match="GW-STORE-003"):
                await ledger.submission(id)
        assert [each.id for each in await ledger.received(10)] == ["good"]
        assert await ledger.gatherable(10) == []  # i2 may not overtake i1 of the same subject


async def test_a_damaged_item_on_another_page_leaves_a_submission_unsettled(sqlite: Where) -> None:
    """Nobody can tell whether its sender was told, and the page that was asked for is still given."""
    said = (Finding(code="X", severity="warning"),)
    async with sqlite.ledger() as ledger:
        await ledger.commit(accepted("s1"))
        parked = [item(f"i{n}", "s1", index=n, state="parked", findings=said) for n in range(3)]
        await ledger.commit(itemised("s1", *parked))
        status = await ledger.submission_status("s1", 0, 2)
        assert status is not None
        assert status.settled
    with sqlite3.connect(sqlite.data / "ledger.db") as raw:
        raw.execute("UPDATE items SET result = CAST(replace(result, 'subject-1', 'subject-2') AS BLOB) WHERE id = 'i2'")
    raw.close()
    async with sqlite.ledger() as ledger:
        status = await ledger.submission_status("s1", 0, 2)
        assert status is not None
        assert [each.id for each in status.items] == ["i0", "i1"]
        assert not status.settled


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE audit SET record = CAST(replace(record, 'hospital', 'somebody') AS BLOB) WHERE number = 700",
        "DELETE FROM audit WHERE number = 700",
        "DELETE FROM audit WHERE number > 1190",
        "UPDATE anchors SET heads = replace(heads, '1', '2')",
        "UPDATE writers SET events = 900",
        "DELETE FROM writers",
    ],
)
async def test_the_chain_shows_what_was_done_to_it(sqlite: Where, harm: str) -> None:
    """Changed, removed, cut short, or its anchors changed."""
    async with sqlite.ledger() as ledger:
        events = tuple(event(f"submission/{n}") for n in range(100))
        for _ in range(12):
            await ledger.commit(Step(name="x", at=AT, audit=events))
        assert await ledger.audit_chain_intact()
    with sqlite3.connect(sqlite.data / "ledger.db") as raw:
        assert raw.execute("SELECT count(*) FROM anchors").fetchone() == (1,)
        raw.execute(harm)
        if "writers SET" in harm:  # a forger who also cuts the events still meets the anchor
            raw.execute("DELETE FROM audit WHERE number > 900")
            raw.execute("UPDATE writers SET hash = (SELECT hash FROM audit WHERE number = 900)")
    raw.close()
    reader = writer_engine(store.engine.address("", sqlite.data))
    with reader.connect() as connection:
        assert not store.chain.intact(connection)
    reader.dispose()


async def test_one_owner_at_a_time(sqlite: Where) -> None:
    """A second gateway on the same folder is refused with a code; after the first has gone it may come."""
    async with sqlite.ledger():
        with pytest.raises(Misconfigured, match="GW-STORE-001"):
            await sqlite.ledger().start()
    child = _child(sqlite)
    assert child.stdout is not None
    child.stdout.readline()
    with pytest.raises(Misconfigured, match="GW-STORE-001"):
        await sqlite.ledger().start()
    child.kill()
    child.stdout.close()
    child.wait()
    async with sqlite.ledger():
        pass


async def test_sqlite_is_set_up_as_promised(sqlite: Where) -> None:
    """WAL, full synchronisation, foreign keys, incremental vacuum from the first page on."""
    async with sqlite.ledger() as ledger:
        wanted = {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "foreign_keys": 1, "busy_timeout": 30000}

        def asked(group: store.group.Group) -> dict[str, object]:
            return {name: group.connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}

        assert await ledger._writer.submit(asked) == wanted


async def test_migrations_go_forward_once_each(where: Where) -> None:
    """A newer step is taken once; a database from the future is refused."""
    taken: list[int] = []

    def second(connection: Connection) -> None:
        taken.append(2)
        connection.exec_driver_sql("ALTER TABLE receipts ADD COLUMN later TEXT")

    newer = (*MIGRATIONS, Migration(len(MIGRATIONS) + 1, "later", second))
    async with where.ledger():
        pass
    engine = writer_engine(store.engine.address(where.url, where.data))
    for expected in (1, 0):
        with engine.begin() as connection:
            assert migrate(connection, NOW, newer) == expected
    assert taken == [2]
    engine.dispose()
    with pytest.raises(Misconfigured, match="GW-STORE-005"):
        await where.ledger().start()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "nonsense", "postgresql://gateway@127.0.0.1:1/none"])
async def test_an_unusable_address_is_one_clear_error(tmp_path: Path, url: str) -> None:
    """Never a traceback of the driver, never the password of the address."""
    with pytest.raises(Misconfigured, match="GW-STORE-002"):
        await Where(url, tmp_path).ledger().start()


@pytest.mark.needs("postgresql")
async def test_a_server_that_does_not_sync_is_refused(postgresql: Server, cluster: Where) -> None:
    """With fsync=off an acknowledgement would mean nothing."""
    postgresql.setting("fsync", "off")
    try:
        with pytest.raises(Misconfigured, match="GW-STORE-002"):
            await cluster.ledger().start()
    finally:
        postgresql.setting("fsync", "on")


@pytest.mark.needs("postgresql")
async def test_a_crash_of_the_server_loses_nothing_and_needs_no_restart_of_ours(
    postgresql: Server, cluster: Where
) -> None:
    """While it is away nothing is acknowledged; when it is back the same ledger goes on."""
    async with cluster.ledger() as ledger:
        await ledger.commit(routed("d", exchange("e", "d")))
        await ledger.commit(moved("e", "due", "claimed"))
        done = [await ledger.commit(accepted(f"s{n}")) for n in range(20)]
        postgresql.stop(signal.SIGQUIT)
        try:
            for n in range(3):
                with pytest.raises(StorageFailed):
                    await ledger.commit(accepted(f"lost{n}"))
            with pytest.raises(StorageFailed):
                await ledger.submission("s1")
        finally:
            postgresql.start()
        again = await ledger.commit(accepted("s20"))
        assert again.feed == done[-1].feed + 1
        for n in range(21):
            assert await ledger.submission(f"s{n}") is not None
        await ledger.commit(moved("e", "claimed", "rendered"))
        assert await ledger.audit_chain_intact()


@pytest.mark.needs("postgresql")
async def test_a_server_that_restarted_while_nothing_happened_is_not_noticed(
    postgresql: Server, cluster: Where
) -> None:
    """A connection that died while idle is replaced before anybody is told that the store failed."""
    async with cluster.ledger() as ledger:
        await ledger.commit(accepted("s1"))
        postgresql.stop()
        postgresql.start()
        await ledger.commit(accepted("s2"))
        assert await ledger.submission("s1") is not None
        assert await ledger.audit_chain_intact()


@pytest.mark.needs("postgresql")
async def test_a_database_that_lost_what_it_acknowledged_is_not_trusted_again(cluster: Where) -> None:
    """After a failed commit the next one proves that the feed is not behind what was promised."""
    async with cluster.ledger() as ledger:
        for n in range(3):
            await ledger.commit(accepted(f"s{n}"))
        with psycopg.connect(cluster.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("UPDATE feed SET number = 1")
        for _ in range(2):
            with pytest.raises(StorageFailed, match="GW-STORE-007"):
                await ledger.commit(accepted("s9"))


async def test_waiting_steps_are_committed_before_the_store_stops(sqlite: Where) -> None:
    """A graceful stop answers everybody; after it nobody is accepted."""
    ledger = sqlite.ledger()
    await ledger.start()
    waiting = [asyncio.create_task(ledger.commit(accepted(f"s{n}"))) for n in range(300)]
    await asyncio.sleep(0)
    await ledger.stop()
    assert sorted(each.feed for each in await asyncio.gather(*waiting)) == list(range(1, 301))
    with pytest.raises(StorageFailed, match="GW-STORE-010"):
        await ledger.commit(accepted("late"))


async def test_many_versions_in_one_step_stay_one_commit(ledger: store.Ledger) -> None:
    """A workbook of a thousand rows is one step."""
    records = tuple(item(f"i{n}", "s1", subject=f"p{n}", index=n) for n in range(1000))
    resources = tuple(
        StoredResource(type="Patient", id=f"p{n}", programme="p", sender="h", body=b"{}") for n in range(1000)
    )
    await ledger.commit(accepted("s1"))
    step = itemised("s1", *records)
    done = await ledger.commit(Step(name="big", at=AT, moves=step.moves, writes=(*step.writes, *resources)))
    assert len(await ledger.gatherable(2000)) == 1000
    assert {each.feed for each in await ledger.changes(0, 2000)} == {done.feed}
    moves = tuple(move(Thing.ITEM, f"i{n}", "valid", "gathered", Room.GATHER) for n in range(1000))
    await ledger.commit(Step(name="gather", at=AT, moves=moves))
    assert (await ledger.counts())["item"] == {"gathered": (1000, None), "valid": (0, None)}
