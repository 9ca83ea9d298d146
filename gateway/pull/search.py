"""Searches run: one page of a searchset, its includes, its total and the sealed way to the next page.

Every page of a search is answered as things stood at the feed number of the first: what arrives in between is neither
missed nor seen twice, it belongs to the next search.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from gateway.clock import Clock
from gateway.errors import Refused
from gateway.formats import json
from gateway.formats.search import AnyOf, ReferenceRow, RefersTo, Search, Searchable
from gateway.kept import KeptResource
from gateway.message import Json
from gateway.pull import present
from gateway.pull.access import Caller
from gateway.pull.parameters import DOCUMENT, Definitions
from gateway.pull.query import Include, Pair, Query
from gateway.pull.seal import Seal

CURSOR_SECONDS: Final = 3600
COUNTED: Final = 10_000
"""A total above this is only given where it is asked for as accurate."""

MAX_ACCURATE: Final = 10_000_000
MAX_INCLUDED: Final = 1_000
MAX_ROUNDS: Final = 10
"""How many times what was included is looked at again, for `:iterate`."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a search goes on, for whom, and what was asked."""

    id: str
    type: str
    pairs: tuple[Pair, ...]
    feed: int
    after: tuple[Any, ...]
    total: int | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page, before it is written."""

    matches: tuple[KeptResource, ...] = ()
    included: tuple[KeptResource, ...] = ()
    total: int | None = None
    next: str = ""
    self: str = ""


class Searcher:
    """Runs queries for a caller."""

    def __init__(
        self, store: Searchable, definitions: Definitions, clock: Clock, key: bytes, seconds: float, page_bytes: int
    ) -> None:
        self.store, self.definitions, self.clock = store, definitions, clock
        self._seconds, self._page_bytes = seconds, page_bytes
        self._seal = Seal(key, "cursor")

    def cursor(self, text: str, caller: Caller, type: str) -> Cursor:
        """The cursor, or `Refused`: it must be ours, of this repository and this type, and not too old."""
        value = self._seal.open(text, self.clock.now())
        if not isinstance(value, dict) or value.get("id") != caller.id or value.get("type") != type:
            raise Refused("GW-PULL-008")
        found = msgspec.convert(value, Cursor)
        after = tuple(float(each) if isinstance(each, Decimal) else each for each in found.after)
        return msgspec.structs.replace(found, after=after)

    async def run(self, query: Query, caller: Caller, base: str, feed: int, cursor: Cursor | None) -> Page:
        """The page that the query asks for, as things stood at that feed number."""
        at = cursor.feed if cursor is not None else feed
        asked = Search(
            type=query.type,
            types=query.types,
            scope=caller.scope,
            feed=at,
            where=query.where,
            sort=query.sort,
            limit=query.count + 1,
            after=cursor.after if cursor is not None else None,
            seconds=self._seconds,
        )
        own = _address(base, query.type) + (f"?{urlencode(query.used)}" if query.used else "")
        if query.summary == "count" or query.count == 0:
            return Page(total=await self.store.count_matches(asked, MAX_ACCURATE), self=own)
        hits = await self.store.search(asked)
        fitting = self._fitting([len(each.resource.body) for each in hits[: query.count]])
        shown, more = hits[:fitting], len(hits) > fitting
        total = cursor.total if cursor is not None else await self._total(query, asked, len(shown), more)
        matches = tuple(each.resource for each in shown)
        return Page(
            matches=matches,
            included=await self._included(query, matches, caller, at),
            total=total,
            next=self._next(query, caller, base, at, shown[-1].key, total) if more else "",
            self=own,
        )

    def _fitting(self, sizes: Sequence[int]) -> int:
        """How many fit into a page; one always does."""
        held = 0
        for place, size in enumerate(sizes):
            held += size
            if held > self._page_bytes and place:
                return place
        return len(sizes)

    def _next(self, query: Query, caller: Caller, base: str, feed: int, after: Any, total: int | None) -> str:
        made = Cursor(id=caller.id, type=query.type, pairs=query.used, feed=feed, after=tuple(after), total=total)
        sealed = self._seal.close(msgspec.to_builtins(made), self.clock.now() + timedelta(seconds=CURSOR_SECONDS))
        return f"{_address(base, query.type)}?_cursor={sealed}"

    async def _total(self, query: Query, asked: Search, shown: int, more: bool) -> int | None:
        if query.total == "none":
            return None
        if not more:
            return shown
        most = MAX_ACCURATE if query.total == "accurate" else COUNTED + 1
        found = await self.store.count_matches(msgspec.structs.replace(asked, after=None), most)
        return found if found < most else None

    # --- includes ----------------------------------------

    async def _included(
        self, query: Query, matches: Sequence[KeptResource], caller: Caller, feed: int
    ) -> tuple[KeptResource, ...]:
        """What `_include` and `_revinclude` add; a type that the caller may not read is not added.

        `:iterate` looks at what was added, again and again, until nothing is new; `Refused` past the bounds.
        """
        known = {(each.type, each.id) for each in matches}
        extra: list[KeptResource] = []
        new, include, revinclude = list(matches), query.include, query.revinclude
        for _ in range(MAX_ROUNDS):
            if not new or not (include or revinclude):
                return tuple(extra)
            found = await self._added(new, include, revinclude, caller, feed)
            new = [each for key, each in found.items() if key not in known]
            known.update(found)
            extra += new
            if len(extra) > MAX_INCLUDED:
                raise Refused("GW-PULL-012")
            include = tuple(each for each in include if each.iterate)
            revinclude = tuple(each for each in revinclude if each.iterate)
        raise Refused("GW-PULL-012")

    async def _added(
        self,
        matches: Sequence[KeptResource],
        include: Sequence[Include],
        revinclude: Sequence[Include],
        caller: Caller,
        feed: int,
    ) -> dict[tuple[str, str], KeptResource]:
        """What one look at these adds."""
        found: dict[tuple[str, str], KeptResource] = {}
        for type, ids in self.referred(matches, include).items():
            if len(ids) > MAX_INCLUDED:
                raise Refused("GW-PULL-012")
            if type in self.definitions.types and caller.may(type, "r"):
                for each in await self.store.current(type, sorted(ids), caller.scope, feed):
                    found[each.type, each.id] = each
        for one in revinclude:
            for each in await self._referring(one, matches, caller, feed):
                found[each.type, each.id] = each
        return found

    def referred(self, matches: Iterable[KeptResource], includes: Sequence[Include]) -> Mapping[str, set[str]]:
        """Ids by type of what the matches refer to under the included parameters."""
        wanted: dict[str, str] = {f"{each.type}.{each.parameter}": each.target for each in includes}
        found: dict[str, set[str]] = {}
        if not wanted:
            return found
        for match in matches:
            for row in self.definitions.rows(json.reread(match.body)):
                if not isinstance(row, ReferenceRow) or not row.type:
                    continue
                target = wanted.get(row.parameter, wanted.get(f"{match.type}.*"))
                if target is not None and target in ("", row.type):
                    found.setdefault(row.type, set()).add(row.id)
        return found

    async def _referring(
        self, include: Include, matches: Sequence[KeptResource], caller: Caller, feed: int
    ) -> Sequence[KeptResource]:
        """Resources of the included type that refer to a match; a Provenance also to the document that carried it."""
        parameter = self.definitions.of(include.type).get(include.parameter)
        if parameter is None or not caller.may(include.type, "s"):
            return ()
        targets = [each for each in matches if include.target in ("", each.type)]
        terms = [RefersTo(parameter=parameter.key, type=each.type, id=each.id) for each in targets]
        if include.type == "Provenance" and include.parameter == "target":
            terms += proofs(targets)
        return await self.all(include.type, AnyOf(terms=tuple(terms)), caller, feed, MAX_INCLUDED) if terms else ()

    async def all(
        self, type: str, where: AnyOf, caller: Caller, feed: int, most: int, *more: AnyOf
    ) -> Sequence[KeptResource]:
        """Everything of a type that fulfils the conditions; `Refused` where that is more than `most`."""
        asked = Search(
            type=type, scope=caller.scope, feed=feed, where=(where, *more), limit=most + 1, seconds=self._seconds
        )
        hits = await self.store.search(asked)
        if len(hits) > most:
            raise Refused("GW-PULL-012")
        return [each.resource for each in hits]


def _address(base: str, type: str) -> str:
    """Of a type, or of the whole system: then without the slash, as FHIR R4 3.1.0.9 writes it."""
    return f"{base}{type}".rstrip("/")


def proofs(carried: Iterable[KeptResource]) -> list[RefersTo]:
    """The condition on Provenances of the documents that carried these versions."""
    documents = dict.fromkeys(each.document for each in carried if each.document is not None)
    return [RefersTo(parameter=f"Provenance.{DOCUMENT}", type="Binary", id=each) for each in documents]


def bundle(page: Page, query: Query, base: str, definitions: Definitions, outcome: Json | None) -> Json:
    """The searchset."""
    part = present.Part(summary=query.summary, elements=query.elements)
    entries: list[Json] = [
        present.entry(each, base, definitions, part, mode="match" if place < len(page.matches) else "include")
        for place, each in enumerate((*page.matches, *page.included))
    ]
    if outcome is not None:
        entries.append({"resource": outcome, "search": {"mode": "outcome"}})
    links = [{"relation": "self", "url": page.self}]
    if page.next:
        links.append({"relation": "next", "url": page.next})
    made: Json = {"resourceType": "Bundle", "type": "searchset"}
    if page.total is not None:
        made["total"] = page.total
    return made | {"link": links} | ({"entry": entries} if entries else {})
