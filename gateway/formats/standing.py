"""What repositories leave standing with us, as values: bulk exports, subscriptions, and the events they are owed.

Between the room that answers repositories (`pull`) and the store that keeps these: neither knows the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from gateway.formats.search import AnyOf, Scope, Search
from gateway.kept import KeptResource
from gateway.message import AuditRecord, Json
from gateway.value import Value


class Export(Value, frozen=True, kw_only=True):
    """A bulk export. `job` says what, `place` how far its files are found, `files` which there are.

    `problems` are resources that could not be read; `revision` counts the changes of the row.
    """

    id: str
    repository: str
    at: datetime
    expires: datetime
    state: Literal["preparing", "ready", "ended"]
    job: Json
    place: Json
    files: tuple[Json, ...] = ()
    problems: tuple[Json, ...] = ()
    sent_files: int = 0
    sent_lines: int = 0
    sent_bytes: int = 0
    revision: int = 0


class Line(Value, frozen=True, kw_only=True):
    """One resource of an export; None where its bytes are not those that were written."""

    position: int
    type: str
    id: str
    version: int
    resource: KeptResource | None


Status = Literal["requested", "active", "error", "off"]


class Subscribed(Value, frozen=True, kw_only=True):
    """A subscription and where it stands.

    `resource` is the Subscription as it was given. `cursor` is the position up to which the feed was looked through,
    `events` the number of the last event, `delivered` that of the last one that the endpoint took.
    """

    id: str
    repository: str
    base: str  # our own URL as this repository knows it
    resource: Json
    status: Status
    since: datetime  # of the status
    changed_at: datetime
    cursor: int
    version: int = 1
    events: int = 0
    delivered: int = 0
    tries: int = 0
    next_at: datetime | None = None
    sent_at: datetime | None = None
    error: str | None = None  # permanent code
    revision: int = 0


class Event(Value, frozen=True, kw_only=True):
    """One numbered event of a subscription: a resource version, by its position in the feed."""

    number: int
    position: int
    type: str
    id: str
    version: int
    method: Literal["create", "update", "delete"]
    at: datetime


class Candidate(Value, frozen=True, kw_only=True):
    """A version that came after a position; `previous` is the position of the version that it followed."""

    position: int
    type: str
    id: str
    version: int
    deleted: bool
    at: datetime
    previous: int | None


class Backlog(Value, frozen=True, kw_only=True):
    """How many subscriptions of a repository have a status, what they are owed, and since when."""

    repository: str
    status: str
    count: int
    waiting: int
    since: datetime
    oldest: datetime | None


class Exports(Protocol):
    """The exports that are kept."""

    async def begin(self, export: Export) -> None: ...
    async def one(self, id: str) -> Export | None: ...
    async def every(self) -> Sequence[Export]: ...
    async def save(self, export: Export) -> bool:
        """Keep the changed values; False where somebody else changed it since it was read."""
        ...

    async def sent(self, id: str, lines: int, size: int) -> None:
        """One file more was sent to its end."""
        ...

    async def sizes(self, asked: Search) -> Sequence[tuple[int, int]]:
        """Position and bytes of the next matches, in the order of the feed."""
        ...

    async def lines(self, asked: Search) -> Sequence[Line]: ...
    async def deleted(
        self, scope: Scope, type: str, feed: int, changed_after: int, after: int, limit: int
    ) -> Sequence[tuple[int, str]]:
        """Position and id of what was deleted behind a position and stayed so up to the feed number."""
        ...


class Subscriptions(Protocol):
    """The subscriptions that are kept. `change` raises `StaleState` where somebody else was first."""

    async def create(self, made: Subscribed, most: int, audit: Sequence[AuditRecord]) -> bool:
        """False where the repository has as many already."""
        ...

    async def one(self, id: str) -> Subscribed | None: ...
    async def every(self, repository: str | None = None) -> Sequence[Subscribed]: ...
    async def change(self, made: Subscribed, audit: Sequence[AuditRecord] = ()) -> None: ...
    async def delete(self, id: str, audit: Sequence[AuditRecord]) -> None: ...
    async def found(self, before: Subscribed, cursor: int, events: Sequence[Event]) -> None:
        """Events of the versions up to `cursor`, in one commit with it."""
        ...

    async def events(self, id: str, first: int, last: int, limit: int) -> Sequence[Event]: ...
    async def forget(self, before: datetime) -> int:
        """Drop what endpoints took before that time."""
        ...

    async def candidates(self, scope: Scope, types: Sequence[str], after: int, limit: int) -> Sequence[Candidate]:
        """Versions behind a position that may be seen, in the order of the feed."""
        ...

    async def end(self) -> int:
        """The last position that is committed and indexed."""
        ...

    async def fitting(self, positions: Sequence[int], where: Sequence[AnyOf], scope: Scope) -> frozenset[int]:
        """Those of the versions of which every condition holds."""
        ...

    async def versions(self, positions: Sequence[int], scope: Scope) -> Mapping[int, KeptResource]:
        """Those of the versions that may be seen."""
        ...

    async def backlog(self) -> Sequence[Backlog]: ...


Columns = dict[str, Any]
