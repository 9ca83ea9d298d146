"""Tables that do not fit into one commit: bounded parts, one end, and no row lost or doubled by a crash between."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway import store, taking, workers
from gateway.bell import Bell
from gateway.clock import SystemClock
from gateway.errors import StorageFailed
from gateway.flow import Thing
from gateway.formats import media
from gateway.message import Answer, Finding, ItemRecord, Step, Submission
from gateway.pool import Pool
from gateway.receive import acceptance
from gateway.receive.acceptance import Arrival
from gateway.settings import Key, Sender, Settings
from gateway.sign import dev_ca
from gateway.store.ledger import Ledger
from gateway.work import Work

ROOT = Path(__file__).parents[3]
SAMPLE = (ROOT / "mappings" / "toscana" / "samples" / "prenotazioni.csv").read_text(encoding="utf-8").splitlines()
AT = datetime(2026, 1, 12, 8, 0, tzinfo=UTC)
ROWS = int(os.environ.get("GATEWAY_TEST_ROWS", "1200"))


def table(rows: int, bad: frozenset[int] = frozenset()) -> bytes:
    """The sample's first booking so many times, each under its own number; `bad` ones have no service."""
    cells = SAMPLE[1].split(";")
    lines = [SAMPLE[0]]
    for number in range(rows):
        changed = [f"CUP-{number:06}", *cells[1:]]
        if number in bad:
            changed[SAMPLE[0].split(";").index("prestazione")] = ""
        lines.append(";".join(changed))
    return "\n".join(lines).encode()


class Site:
    """The work over a ledger and one worker, without doors."""

    def __init__(self, folder: Path, pool: Pool, settings: Settings) -> None:
        self.folder, self.pool, self.settings = folder, pool, settings
        self.itemised: list[list[int]] = []  # row numbers of each commit
        self.moves: list[tuple[str, str]] = []  # of submissions
        self.counted: dict[str, str] = {}  # by the last event
        self.told: list[Finding] = []
        self.dies_after = -1

    async def open(self) -> None:
        self.ledger: Ledger = store.open("", self.folder, SystemClock())
        await self.ledger.start()
        whole = self.ledger.commit

        async def commit(step: Step) -> Any:
            if self.dies_after == 0:
                raise StorageFailed
            self.dies_after -= 1
            return await whole(step)

        self.ledger.commit = commit  # type: ignore[method-assign]
        bell, programmes = Bell(), workers.load_programmes(self.settings)
        self.work = Work(
            self.settings, self.ledger, self.pool, SystemClock(), bell, programmes, self.later, self.committed
        )

    def committed(self, step: Step) -> None:
        """Only numbers are remembered: the test itself must not fill the memory."""
        self.itemised.append([write.result.index for write in step.writes if isinstance(write, ItemRecord)])
        self.moves += [(move.id, move.to) for move in step.moves if move.thing is Thing.SUBMISSION]
        self.counted = dict(step.audit[-1].detail) if step.audit else {}

    def later(self, _: Submission, findings: Any) -> tuple[Answer, ...]:
        self.told = list(findings)
        return ()

    async def send(self, body: bytes, sender: str = "cup") -> str:
        arrival = Arrival(
            sender=next(s for s in self.settings.sender if s.id == sender),
            programme="toscana",
            channel="http",
            content_type=media.CSV,
            body=body,
            received_at=AT,
            language="it",
        )
        judged = acceptance.judge(arrival, ("toscana",), f"table-{len(self.itemised)}-{sender}")
        await self.ledger.commit(acceptance.keep(judged, AT))
        return judged.submission.id

    async def take(self, id: str) -> None:
        submission = await self.ledger.submission(id)
        assert submission is not None
        await self.work._examine(submission)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("keys")
    ca = dev_ca.Authority.create("Test authority", AT)
    handle = ca.client("Test Evidence", AT)
    (folder / "e.pem").write_bytes(dev_ca.pem(handle.certificate))
    handle.save(folder / "e.key")
    evidence = Key(certificate=str(folder / "e.pem"), key=str(folder / "e.key"), purpose="evidence")
    senders = (
        Sender(id="cup", programmes=("toscana",)),
        Sender(id="strict", programmes=("toscana",), rows="all_or_nothing"),
    )
    return Settings(
        home=str(ROOT), data=str(folder), programmes=("toscana",), key={"e": evidence}, sender=senders, workers=1
    )


@pytest.fixture(scope="module")
def pool(settings: Settings) -> Any:
    with Pool(settings, b"a key for tests") as made:
        yield made


@pytest.fixture
async def site(tmp_path: Path, pool: Pool, settings: Settings) -> AsyncIterator[Site]:
    made = Site(tmp_path / "data", pool, settings)
    await made.open()
    yield made
    await made.ledger.stop()


async def test_a_large_table_is_kept_in_parts_and_ends_once(site: Site) -> None:
    """Memory follows the part, not the table; the sender's order and count are those of the rows."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    id = await site.send(table(ROWS))
    await site.take(id)
    assert all(len(part) <= taking.ITEMS for part in site.itemised)
    assert [number for part in site.itemised for number in part] == list(range(ROWS))
    assert await site.ledger.items_so_far(id) == ROWS
    assert site.moves == [(id, "itemised")]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, f"{grown} KiB"


async def test_a_crash_between_two_parts_loses_and_doubles_nothing(site: Site) -> None:
    """What is there is not made again: its ids follow from the row numbers."""
    rows = 2 * taking.ITEMS + 7
    bad = frozenset({3, rows - 1})
    id = await site.send(table(rows, bad))
    site.dies_after = 1
    with pytest.raises(StorageFailed):
        await site.take(id)
    assert await site.ledger.items_so_far(id) == taking.ITEMS
    site.dies_after = -1
    waiting = await site.ledger.received(10)
    assert [each.id for each in waiting] == [id]
    await site.take(id)
    items = await site.ledger.items(id)
    assert [item.result.index for item in items] == list(range(rows))
    assert {item.result.index for item in items if item.state == "refused"} == bad
    errors = [found for found in site.told if found.severity == "error"]
    assert {found.place.path.split(" column")[0] for found in errors if found.place} == {"row 5", f"row {rows + 1}"}
    assert site.counted == {"items": str(rows), "refused": "2"}


async def test_one_bad_row_in_the_last_part_refuses_the_first_row(site: Site) -> None:
    """All or nothing means the table, not the part."""
    rows = taking.ITEMS + 5
    id = await site.send(table(rows, frozenset({rows - 1})), "strict")
    await site.take(id)
    assert {item.state for item in await site.ledger.items(id)} == {"refused"}
    good = await site.send(table(taking.ITEMS + 5), "strict")
    await site.take(good)
    assert {item.state for item in await site.ledger.items(good)} == {"valid"}
