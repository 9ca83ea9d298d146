"""What a message costs where few and where many are stored.

    python -m bench.stored [--sizes 1000 1000000] [--stays 50] [--rounds 4]

A site on SQLite is started once, so that its ledger is made; then so many finished messages are put into the tables of
the ledger by SQL (their bytes gone by retention; half as many cases, documents and published resources, as many
exchanges, attempts and answers, two receipts and three journal entries each); then it is started again and stays are
pushed through it, two messages each, all the way to both stand-ins. CPU is the gateway's, with its workers. In turns,
so that a machine that gets busier does not count for one size only.
"""

# ruff: noqa: E501 - columns and their values stand in the same order
from __future__ import annotations

import argparse
import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.whole import cpu, flat_out, percentiles
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site

ROOT = Path(__file__).parents[1]
AT = 1_790_000_000_000_000

N = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < :n)"
D = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < :n / 2)"


def id(kind: str, number: str) -> str:
    """An id that is spread over the index, as digests are."""
    return f"printf('%08x{kind}%08x', (({number}) * 2654435761) & 4294967295, {number})"


GONE = "NULL, 'd', 900, 'gone'"
ENDED = f"0, {AT} + k, :feed + k"
SUBJECT = id("5", "k / 10")
SEED = {
    "submissions": f"""{N} INSERT INTO submissions (id, sender, programme, sequence, received_at, channel, media_type,
        control_id, language, state, open, since, feed, body, body_digest, body_size, body_kept)
        SELECT {id("a", "k")}, 'hospital-1', 'sepas', :sequence + k, {AT} + k, 'mllp', 'application/hl7-v2',
        'old-' || k, 'fa', 'itemised', {ENDED}, {GONE} FROM n""",
    "cases": f"""{D} INSERT INTO cases (id, programme, sender, subject, kind, opened_at, version, parts, owes, state,
        open, since, feed) SELECT {id("c", "k")}, 'sepas', 'hospital-1', {SUBJECT}, 'stay', {AT} + k, 1, '[]', 0,
        'complete', {ENDED} FROM n""",
    "items": f"""{N} INSERT INTO items (id, submission, sender, programme, subject, case_id, sequence, position,
        gathered, state, open, since, feed, result, result_digest, result_size, result_kept)
        SELECT {id("1", "k")}, {id("a", "k")}, 'hospital-1', 'sepas', {id("5", "k / 20")}, {id("c", "(k + 1) / 2")},
        :sequence + k, (:feed + k) * 1000000, (:feed + k) * 1000000, 'gathered', {ENDED}, {GONE} FROM n""",
    "documents": f"""{D} INSERT INTO documents (id, case_id, version, programme, subject, made_at, profile, jws,
        algorithm, certificate_digest, signed_at, submissions, feed, body, body_digest, body_size, body_kept)
        SELECT {id("d", "k")}, {id("c", "k")}, 1, 'sepas', {SUBJECT}, {AT} + k, '', 'a..b', 'ES256', 'd', {AT} + k, '[]',
        :feed + k, {GONE} FROM n""",
    "lineage": f"""{N} INSERT INTO lineage (submission, document)
        SELECT {id("a", "k")}, {id("d", "(k + 1) / 2")} FROM n""",
    "exchanges": f"""{N} INSERT INTO exchanges (id, document, destination, programme, sender, subject, case_id, position,
        tries, ready_at, created_at, head, state, open, since, feed)
        SELECT {id("e", "k")}, {id("d", "(k + 1) / 2")}, iif(k % 2, 'sepas', 'medcare'), 'sepas', 'hospital-1',
        {id("5", "k / 20")}, {id("c", "(k + 1) / 2")}, (:feed + k) * 1000000, 1, {AT} + k, {AT} + k, 0, 'delivered',
        {ENDED} FROM n""",
    "attempts": f"""{N} INSERT INTO attempts (id, exchange, number, started_at, transport_id, ended_at, outcome, status,
        codes, request, request_digest, request_size, request_kept, reply, reply_digest, reply_size, reply_kept)
        SELECT {id("e", "k")} || '-1', {id("e", "k")}, 1, {AT} + k, {id("e", "k")}, {AT} + k, 'delivered', 200, '[]',
        {GONE}, {GONE} FROM n""",
    "receipts": f"""{N} INSERT INTO receipts (destination, scope, name, value, exchange, at)
        SELECT iif(k % 2, 'sepas', 'medcare'), {id("c", "(k + 1) / 2")}, name, {id("9", "k")}, {id("e", "k")}, {AT} + k
        FROM n, (SELECT 'CompositionUID' AS name UNION ALL SELECT 'MessageUID')""",
    "answers": f"""{N} INSERT INTO answers (id, submission, sender, kind, media_type, created_at, tries, ready_at, position,
        head, state, open, since, feed, body, body_digest, body_size, body_kept)
        SELECT {id("a", "k")} || '-first', {id("a", "k")}, 'hospital-1', 'first', 'application/hl7-v2', {AT} + k, 0,
        {AT} + k, (:feed + k) * 1000000, 0, 'given', {ENDED}, {GONE} FROM n""",
    "resources": f"""{D} INSERT INTO resources (type, id, version, feed, place, at, programme, sender, document, deleted,
        body, body_digest, body_size, body_kept) SELECT 'Encounter', {id("f", "k")}, 1, :feed + k, 0, {AT} + k, 'sepas',
        'hospital-1', {id("d", "k")}, 0, {GONE} FROM n""",
    "search_versions": f"""{D} INSERT INTO search_versions (position, type, id, version, until, at, watermark, programme,
        sender, deleted, indexed) SELECT (:feed + k) * 1000000, 'Encounter', {id("f", "k")}, 1, {2**62}, {AT} + k,
        {AT} + k, 'sepas', 'hospital-1', 0, 1 FROM n""",
    "search_tokens": f"""{D} INSERT INTO search_tokens (position, parameter, place, system, code)
        SELECT (:feed + k) * 1000000, 'identifier', 0, 'urn:test:visit', 'old-' || k FROM n""",
    "search_references": f"""{D} INSERT INTO search_references (position, parameter, place, target, target_type)
        SELECT (:feed + k) * 1000000, 'subject', 0, {SUBJECT}, 'Patient' FROM n""",
    "journal": f"""{N} INSERT INTO journal (feed, place, at, thing, id, frm, to_state, room)
        SELECT :feed + k, place, {AT} + k, thing, {id("a", "k")}, 'received', 'itemised', 'work'
        FROM n, (SELECT 0 AS place, 'submission' AS thing UNION ALL SELECT 1, 'item' UNION ALL SELECT 2, 'exchange')""",
}
AFTERWARDS = (
    "UPDATE feed SET number = number + :n",
    "UPDATE sequences SET number = number + :n WHERE sender = 'hospital-1'",
    "UPDATE tallies SET number = number + :n WHERE (thing, state) IN (VALUES ('submission', 'itemised'), ('item', 'gathered'), ('exchange', 'delivered'), ('answer', 'given'))",
    "UPDATE tallies SET number = number + :n / 2 WHERE (thing, state) = ('case', 'complete')",
)


def seed(path: Path, count: int) -> tuple[float, float]:
    """So many finished messages; seconds and GiB of the file."""
    began = time.perf_counter()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-2000000")
    (feed,) = db.execute("SELECT max(number) FROM feed").fetchone()
    (sequence,) = db.execute("SELECT number FROM sequences WHERE sender = 'hospital-1'").fetchone()
    db.execute("BEGIN")
    for statement in (*SEED.values(), *AFTERWARDS):
        bound = {"n": count, "feed": feed, "sequence": sequence}
        db.execute(statement, {name: value for name, value in bound.items() if f":{name}" in statement})
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return time.perf_counter() - began, path.stat().st_size / (1 << 30)


@dataclass
class Stored:
    """A site with so much in its ledger."""

    size: int
    site: Site
    pid: int = 0
    each: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    ready: float = 0.0

    async def prepare(self) -> None:
        """Make the ledger, fill it, start again."""
        await self.site.start()
        await self.site.prepare(registry(ROOT))
        await flat_out(self.site, 0, 5, 5)
        assert await self.site.quiet(60)
        await self.site.stop()
        took, gib = await asyncio.to_thread(seed, self.site.folder / "data" / "ledger.db", self.size)
        began = time.perf_counter()
        self.pid = await self.site.start()
        self.ready = time.perf_counter() - began
        print(f"{self.size} stored in {took:.0f} s, {gib:.2f} GiB; ready in {self.ready:.1f} s", flush=True)
        await flat_out(self.site, 10, 10, 5)
        assert await self.site.quiet(60)

    async def round(self, first: int, stays: int) -> None:
        """Push stays, wait for the end of everything."""
        before = cpu(self.pid)
        waits = await flat_out(self.site, first, stays, 10)
        assert await self.site.quiet(300), await self.site.ask("status")
        self.each.append(1000 * (cpu(self.pid) - before) / len(waits))
        self.waits += waits


async def main(sizes: Sequence[int], stays: int, rounds: int) -> None:
    """The table."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        plan = Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=0, log_level="warning")
        made = [Stored(size, Site(Path(name) / str(size), plan)) for size in sizes]
        for each in made:
            await each.site.__aenter__()
        try:
            for each in made:
                await each.prepare()
            for number in range(rounds):
                for each in made:
                    await each.round(100 + number * stays, stays)
        finally:
            for each in made:
                await each.site.__aexit__()
        print(f"{'stored':>10}{'CPU ms each':>13}{'least':>8}{'most':>8}{'ack p50':>9}{'p99 ms':>9}")
        for each in made:
            spread = f"{min(each.each):8.1f}{max(each.each):8.1f}"
            print(f"{each.size:10d}{statistics.median(each.each):13.1f}{spread} {percentiles(each.waits)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 1_000_000])
    parser.add_argument("--stays", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=4)
    given = parser.parse_args()
    asyncio.run(main(given.sizes, given.stays, given.rounds))
