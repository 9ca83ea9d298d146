"""What the handlers share: store, definitions, clock, who may ask, and the audit of every answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from starlette.requests import Request

from gateway.clock import Clock
from gateway.errors import GatewayError, NotAllowed, Refused, TooLarge
from gateway.formats.search import Searchable
from gateway.formats.standing import Exports, Subscriptions
from gateway.message import AuditRecord, Committed, RegistryEntry, Step
from gateway.pull import query
from gateway.pull.access import Access, Caller, Memory
from gateway.pull.extract import ID
from gateway.pull.instants import instant, span
from gateway.pull.parameters import Definitions
from gateway.pull.query import Pair
from gateway.pull.seal import Seal, digest
from gateway.pull.search import Searcher
from gateway.pull.topics import Topics
from gateway.settings import Pull

Listing = Literal["search-type", "search-system", "history-instance", "history-type", "history-system"]
MAX_FORM: Final = 64 * 1024


class Trail(Protocol):
    """The audit events of reading (`gateway.audit.events`)."""

    def resource_read(self, type: str, id: str, reader: str, at: datetime, version: int = 0) -> AuditRecord: ...
    def resources_listed(
        self, interaction: Listing, type: str, reader: str, count: int, query_digest: str, at: datetime
    ) -> AuditRecord: ...
    def subscription_changed(self, id: str, repository: str, act: str, at: datetime) -> AuditRecord: ...
    def notification_sent(self, id: str, repository: str, first: int, last: int, at: datetime) -> AuditRecord: ...
    def reading_refused(self, type: str, id: str, reader: str, code: str, at: datetime) -> AuditRecord: ...


class Holding(Searchable, Memory, Protocol):
    """The part of the store that this room needs."""

    async def commit(self, step: Step) -> Committed: ...
    async def feed(self) -> int: ...
    @property
    def exports(self) -> Exports: ...
    @property
    def subscriptions(self) -> Subscriptions: ...
    async def registry(self, programme: str) -> Sequence[RegistryEntry]: ...


class Api:
    """Everything that a handler is given."""

    def __init__(
        self,
        settings: Pull,
        store: Holding,
        definitions: Definitions,
        access: Access,
        clock: Clock,
        trail: Trail,
        key: bytes,
        topics: Topics,
    ) -> None:
        self.settings, self.store, self.definitions, self.topics = settings, store, definitions, topics
        self.rang: Callable[[], None] = lambda: None  # called when a subscription was changed
        self.access, self.clock, self.trail = access, clock, trail
        self.searcher = Searcher(store, definitions, clock, key, settings.search_seconds, settings.page_bytes)
        self.cursors = Seal(key, "history")
        self.streams: dict[str, int] = {}  # export files that are being sent, by repository

    # --- the request ----------------------------------------

    def base(self, request: Request) -> str:
        """Our own URL, with a slash at the end."""
        if self.settings.base:
            return self.settings.base.rstrip("/") + "/"
        return f"{request.url.scheme}://{request.url.netloc}{request.scope.get('root_path', '')}/"

    def type(self, request: Request) -> str:
        """The resource type of the path, or `NotAllowed` (404)."""
        found = str(request.path_params["type"])
        if found not in self.definitions.types:
            raise NotAllowed("GW-PULL-009")
        return found

    def id(self, request: Request) -> str:
        """The id of the path; what cannot be one does not exist."""
        found = str(request.path_params["id"])
        if not ID.fullmatch(found):
            raise NotAllowed("GW-PULL-003")
        return found

    # --- the trail ----------------------------------------

    async def record(self, event: AuditRecord) -> None:
        """Keep the event; what cannot be recorded is not answered."""
        await self.store.commit(Step(name="pull", at=event.at, audit=(event,)))

    async def read(self, caller: Caller, type: str, id: str, version: int = 0) -> None:
        """One resource was given."""
        await self.record(self.trail.resource_read(type, id, caller.id, self.clock.now(), version))

    async def listed(self, caller: Caller, how: Listing, type: str, count: int, asked: Sequence[Pair]) -> None:
        """A list was given."""
        question = digest("&".join(f"{name}={value}" for name, value in asked))
        await self.record(self.trail.resources_listed(how, type, caller.id, count, question, self.clock.now()))

    async def absent(self, caller: Caller, type: str, id: str, code: str = "GW-PULL-003") -> GatewayError:
        """Record that it was asked for; the error to raise. What is another's looks like what is not there."""
        await self.record(self.trail.reading_refused(type, id, caller.id, code, self.clock.now()))
        return NotAllowed(code)


def one(given: Sequence[Pair], name: str) -> str | None:
    """The value of a parameter that may stand once."""
    found = [value for key, value in given if key == name]
    if len(found) > 1:
        raise Refused("GW-PULL-005", name=name)
    return found[0] if found else None


def since_of(given: Sequence[Pair]) -> datetime | None:
    """`_since`, or None."""
    text = one(given, "_since")
    if text is None:
        return None
    found = span(text)
    if found is None:
        raise Refused("GW-PULL-005", name="_since")
    return instant(found[0])


def count_of(given: Sequence[Pair]) -> int:
    """`_count`, at least 1 and at most what we give."""
    text = one(given, "_count")
    if text is None:
        return query.DEFAULT_COUNT
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Refused("GW-PULL-005", name="_count")
    return max(1, min(int(text), query.MAX_COUNT))


def strict(request: Request) -> bool:
    """Whether the client prefers an error to a parameter that is left out (FHIR R4 3.1.1.1)."""
    return "handling=strict" in request.headers.get("prefer", "").replace(" ", "").lower()


def known(given: Sequence[Pair], *names: str, hard: bool) -> None:
    """Refuse parameters that an interaction does not have, where the client wants that."""
    for name, _ in given:
        if hard and name not in names and name not in ("_format", "_pretty"):
            raise Refused("GW-PULL-004", name=name[:60], type="")


async def form(request: Request) -> list[Pair]:
    """The parameters of a form in the body, bounded."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise TooLarge("GW-PULL-007", limit=f"{MAX_FORM} bytes")
    if body and kind != "application/x-www-form-urlencoded":
        raise Refused("GW-PULL-014", given=kind[:60])
    return query.pairs(bytes(body))
