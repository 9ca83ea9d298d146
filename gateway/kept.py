"""What the ledger tells when it is asked: queues, what is parked, journal lines, statuses, kept versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateway.message import AuditRecord, Exchange, Finding, Language
from gateway.value import Value

STATUS_ITEMS: Final = 1000
"""Items in one status of a submission, where nobody asks for more."""
JOURNAL_LINES: Final = 10_000
"""Lines of its journal in one answer, where nobody asks for more."""


class Queue(Value, frozen=True, kw_only=True):
    """How many open exchanges of one destination, programme and state there are, and since when the oldest is."""

    destination: str
    programme: str
    state: str
    count: int
    since: datetime


class Parked(Value, frozen=True, kw_only=True):
    """A thing that was parked: ours to look at. `reason` is the code or reference of the journal's last line."""

    thing: str
    id: str
    programme: str
    sender: str
    since: datetime
    reason: str | None = None


class JournalEntry(Value, frozen=True, kw_only=True):
    """One line of the trace: a state change with the room that made it."""

    feed: int
    at: datetime
    thing: str
    id: str
    frm: str
    to: str
    room: str
    reason: str | None = None
    place: int = 0  # within its feed number


class ItemStatus(Value, frozen=True, kw_only=True):
    """An item as its sender sees it."""

    id: str
    label: str
    state: str
    findings: tuple[Finding, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


class SubmissionStatus(Value, frozen=True, kw_only=True):
    """A submission as its sender sees it. `settled`: every item has findings or was accepted."""

    id: str
    sender: str
    programme: str
    state: str
    received_at: datetime
    settled: bool
    findings: tuple[Finding, ...] = ()
    items: tuple[ItemStatus, ...] = ()  # from number `first` on, as many as were asked for
    counts: Mapping[str, int] = msgspec.field(default_factory=dict)  # of all items, by state
    first: int = 0
    language: Language = "en"


class KeptResource(Value, frozen=True, kw_only=True):
    """One version of a resource as the store keeps it. `feed` orders all versions of all resources."""

    type: str
    id: str
    version: int
    feed: int
    at: datetime
    programme: str
    sender: str
    body: bytes
    digest: str
    document: str | None = None
    deleted: bool = False


class KeptAudit(Value, frozen=True, kw_only=True):
    """One audit event as the store keeps it. `hash` is over the previous hash of its writer and `digest`."""

    writer: int
    number: int
    feed: int
    digest: str
    hash: str
    record: AuditRecord

    @property
    def id(self) -> str:
        """Its permanent name."""
        return f"{self.writer}-{self.number}"
