"""Searches as values: what of a resource is indexed, what a search asks, and who answers.

Between the room that reads search URLs (`pull`) and the store that keeps the index: neither knows the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from gateway.kept import KeptResource
from gateway.message import Document, StoredResource
from gateway.value import Value

Kind = Literal["token", "string", "reference", "date", "number"]
Prefix = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]


class TokenRow(Value, frozen=True, kw_only=True):
    """An indexed code, identifier or URI. `parameter` is always like "Patient.identifier"."""

    parameter: str
    system: str = ""
    code: str


class StringRow(Value, frozen=True, kw_only=True):
    """An indexed text: `text` without case and accents, `exact` as written."""

    parameter: str
    text: str
    exact: str


class ReferenceRow(Value, frozen=True, kw_only=True):
    """An indexed reference; a URL that is not one of ours has an empty type and stands in `id`."""

    parameter: str
    type: str
    id: str


class DateRow(Value, frozen=True, kw_only=True):
    """An indexed span of time: microseconds since 1970 in UTC, `low` inclusive, `high` exclusive."""

    parameter: str
    low: int
    high: int


class NumberRow(Value, frozen=True, kw_only=True):
    """An indexed number, quantity (with its unit) or range."""

    parameter: str
    low: float
    high: float
    system: str = ""
    code: str = ""


IndexRow = TokenRow | StringRow | ReferenceRow | DateRow | NumberRow


class Indexer(Protocol):
    """What of a resource can be searched. Pure; another `digest` makes the store index everything again."""

    digest: str

    def __call__(self, resource: StoredResource) -> Sequence[IndexRow]: ...


class IsToken(Value, frozen=True, kw_only=True):
    """None matches any. `under` compares the code as the beginning of a URI."""

    parameter: str
    system: str | None = None
    code: str | None = None
    under: bool = False


class IsText(Value, frozen=True, kw_only=True):
    """`exact` compares what was written, the others what was folded."""

    parameter: str
    text: str
    how: Literal["starts", "contains", "exact"] = "starts"


class RefersTo(Value, frozen=True, kw_only=True):
    """Without a type, to a resource of any type with that id."""

    parameter: str
    id: str
    type: str | None = None


class IsDate(Value, frozen=True, kw_only=True):
    """FHIR R4 3.1.1.5.5 between spans of time; the parameter "_lastUpdated" is the time of the version."""

    parameter: str
    prefix: Prefix
    low: int
    high: int


class IsNumber(Value, frozen=True, kw_only=True):
    """`low` to `high` is what the written precision allows, `value` the exact number."""

    parameter: str
    prefix: Prefix
    low: float
    high: float
    value: float
    system: str | None = None
    code: str | None = None


class HasId(Value, frozen=True, kw_only=True):
    """The logical id."""

    id: str


class Has(Value, frozen=True, kw_only=True):
    """Anything at all under the parameter."""

    parameter: str
    kind: Kind


class Chained(Value, frozen=True, kw_only=True):
    """Refers to a resource of the type of which all of `where` holds."""

    parameter: str
    type: str
    where: tuple[AnyOf, ...]


class Reversed(Value, frozen=True, kw_only=True):
    """Is referred to, under the parameter, by a resource of the type of which all of `where` holds."""

    parameter: str
    type: str
    where: tuple[AnyOf, ...]


Term = IsToken | IsText | RefersTo | IsDate | IsNumber | HasId | Has | Chained | Reversed


class AnyOf(Value, frozen=True, kw_only=True):
    """At least one of the terms; none of them where `negated`."""

    terms: tuple[Term, ...]
    negated: bool = False


class Order(Value, frozen=True, kw_only=True):
    """`parameter` may be "_id" or "_lastUpdated". What has no value comes last."""

    parameter: str
    kind: Kind = "string"
    descending: bool = False


class Shared(Value, frozen=True, kw_only=True):
    """What a rule shares: resources of one type, of a programme, from these senders, of which all of `where` holds.

    `where` has no chains: it looks at the resource alone.
    """

    programme: str
    type: str
    senders: tuple[str, ...]
    where: tuple[AnyOf, ...] = ()


class Scope(Value, frozen=True, kw_only=True):
    """Whose resources may be seen at all: of these programmes, from these senders (None: all of them).

    `shares` are seen besides. They are single resources: the document that carried one is not shared with it.
    """

    programmes: tuple[str, ...]
    senders: tuple[str, ...] | None = None
    shares: tuple[Shared, ...] = ()


class Search(Value, frozen=True, kw_only=True):
    """All of `where`, as things stood at feed number `feed`; `after` is the `key` of the last hit seen.

    `types` asks for several types at once; then `type` is empty, and `where` names the parameters of each.
    """

    type: str
    types: tuple[str, ...] = ()
    scope: Scope
    feed: int
    where: tuple[AnyOf, ...] = ()
    either: tuple[tuple[AnyOf, ...], ...] = ()  # and all of at least one of these
    sort: tuple[Order, ...] = ()
    limit: int = 50
    after: tuple[Any, ...] | None = None
    changed_after: int = 0  # position: only versions that were committed behind it
    seconds: float = 5.0


class Hit(Value, frozen=True, kw_only=True):
    """One result, with the key to go on after it."""

    resource: KeptResource
    key: tuple[Any, ...]


class Searchable(Protocol):
    """What a store answers to repositories that pull. `TooLarge` where a search passes its seconds."""

    async def search(self, asked: Search) -> Sequence[Hit]: ...
    async def count_matches(self, asked: Search, most: int) -> int:
        """How many there are; counting stops at `most`."""
        ...

    async def current(self, type: str, ids: Sequence[str], scope: Scope, feed: int | None = None) -> list[KeptResource]:
        """Those of the ids that are in scope and not deleted, as they stood at `feed` (None: now)."""
        ...

    async def newest(self, type: str, id: str, scope: Scope) -> KeptResource | None:
        """The newest version if it is in scope; it may say that it is deleted."""
        ...

    async def version(self, type: str, id: str, version: int, scope: Scope) -> KeptResource | None: ...
    async def versions(
        self,
        scope: Scope,
        type: str | None = None,
        id: str | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int = 50,
        newest_first: bool = True,
    ) -> Sequence[Hit]:
        """Versions between two positions (exclusive); a hit's key is its position."""
        ...

    async def position_since(self, at: datetime) -> int:
        """The position after which lies everything that was committed since the first version of `at` or later."""
        ...

    async def last_updated(self, scope: Scope, feed: int) -> datetime | None:
        """The latest time of any version in scope up to the feed number."""
        ...

    async def carried(self, document: str, scope: Scope) -> Document | None:
        """The document, if a version that it carried is in scope."""
        ...

    async def remembered(self, kind: str, value: str) -> bool:
        """Whether `remember` was given this value and it has not expired."""
        ...
