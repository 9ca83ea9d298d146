"""What the steps of one transaction share: the feed, the audit chain, the tallies.

The row of the feed is locked before anything else is touched, by every writer, always. So there is one order of
locks and no deadlock; feed numbers are given in the order of the commits; and whoever reads number n has all that
came before it. The price is that writers commit one group after the other, which is why they commit in groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, select

from gateway.errors import Broken, StorageFailed
from gateway.flow import NEW, Thing
from gateway.formats import json
from gateway.message import AuditRecord
from gateway.store import schema
from gateway.store.chain import ANCHOR_EVERY, anchor, link
from gateway.store.engine import upsert
from gateway.store.payload import Payloads, sha256
from gateway.store.statements import Hand, Statements

PLACES: Final = 1_000_000
"""A position is feed number x PLACES + the place inside the step."""


class Identity(NamedTuple):
    """Which writer this is. A new incarnation of the same writer owns nothing of the earlier one."""

    id: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.id}.{self.incarnation}"


class Marks(NamedTuple):
    """Where feed and chain stand. What was acknowledged may never be found behind it again."""

    feed: int
    events: int
    hash: str


def _feed() -> Any:
    return select(schema.feed.c.number).where(schema.feed.c.id == bindparam("id")).with_for_update()


def _writer() -> Any:
    return select(schema.writers.c.events, schema.writers.c.hash).where(schema.writers.c.id == bindparam("id"))


class Saved(NamedTuple):
    """A group before a step."""

    marks: Marks
    tally: dict[tuple[str, str], int]
    journal: int
    events: int


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL in text; what is written for the whole group must not fail there."""
    if "\0" in text:
        raise Broken("GW-STORE-009")
    return text


class Group:
    """One open transaction. Everything here is undone with it; `saved` and `restore` undo a single step."""

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        identity: Identity,
        payloads: Payloads,
        floor: Marks | None,
    ) -> None:
        self.connection = connection
        self.hand = Hand(connection, statements)
        self.identity = identity
        self.payloads = payloads
        (feed,) = self.hand.one("feed", _feed, {"id": 1})
        self.marks = self._before = Marks(feed, *self.hand.one("writer", _writer, {"id": identity.id}))
        self._journal: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._tally: dict[tuple[str, str], int] = {}
        if floor is not None and (self.marks.feed < floor.feed or self.marks.events < floor.events):
            raise StorageFailed("GW-STORE-007")

    @property
    def postgresql(self) -> bool:
        """Which of the two databases this is."""
        return self.connection.dialect.name == "postgresql"

    def saved(self) -> Saved:
        """What `restore` needs."""
        return Saved(self.marks, dict(self._tally), len(self._journal), len(self._events))

    def restore(self, saved: Saved) -> None:
        """As if the step had not been tried: its feed number is given to the next one."""
        self.marks, self._tally = saved.marks, saved.tally
        del self._journal[saved.journal :]
        del self._events[saved.events :]

    def next_feed(self) -> int:
        """The number of this step."""
        self.marks = self.marks._replace(feed=self.marks.feed + 1)
        return self.marks.feed

    def count(self, thing: Thing, frm: str, to: str) -> None:
        """One thing left a state and entered another."""
        if frm != NEW:
            self._tally[thing, frm] = self._tally.get((thing, frm), 0) - 1
        self._tally[thing, to] = self._tally.get((thing, to), 0) + 1

    def audit(self, records: Iterable[AuditRecord]) -> None:
        """Append events to this writer's chain; written when the group closes."""
        for record in records:
            body = json.write(record)
            digest = sha256(body)
            number, hash_ = self.marks.events + 1, link(self.marks.hash, digest)
            self.marks = self.marks._replace(events=number, hash=hash_)
            self._events.append(
                {
                    "writer": self.identity.id,
                    "number": number,
                    "feed": self.marks.feed,
                    "at": record.at,
                    "subtype": _storable(record.subtype),
                    "agent": _storable(record.agent),
                    "record": body,
                    "digest": digest,
                    "hash": hash_,
                }
            )

    def journal(self, lines: Iterable[dict[str, Any]]) -> None:
        """State changes; written when the group closes."""
        self._journal.extend(lines)

    def close(self, at: datetime) -> None:
        """Write back what moved. The last statements before COMMIT."""
        for table, rows in ((schema.journal, self._journal), (schema.audit, self._events)):
            if rows:
                self.hand.insert(table, rows)
        if self.marks.feed != self._before.feed:
            self.hand.update(schema.feed, {"id": 1}, {"number": self.marks.feed})
        if self.marks.events != self._before.events:
            chain = {"events": self.marks.events, "hash": self.marks.hash}
            self.hand.update(schema.writers, {"id": self.identity.id}, chain)
            if self.marks.events // ANCHOR_EVERY != self._before.events // ANCHOR_EVERY:
                anchor(self.connection, self.marks.feed, at)
        self._write_tally()

    def _write_tally(self) -> None:
        rows = [
            {"thing": str(thing), "state": state, "number": number}
            for (thing, state), number in sorted(self._tally.items())
            if number
        ]

        def added() -> Any:
            statement = upsert(self.connection, schema.tallies)
            number = schema.tallies.c.number + statement.excluded.number
            return statement.on_conflict_do_update(index_elements=["thing", "state"], set_={"number": number})

        for row in rows:
            self.hand.run("tally", added, row, tuple(row))
