"""Whose resources a repository sees today: its programmes, its organisations within their days, and what is shared.

A rule (`[[pull.share]]`) names a programme, types or searches, and whose: senders by name, or by the reference data:
those whose entry has the same value as the repository's own. Entries are valid in time, so a rule follows them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from gateway.clock import Clock
from gateway.errors import Misconfigured, Refused
from gateway.formats.search import AnyOf, Chained, Reversed, Scope, Shared
from gateway.message import RegistryEntry
from gateway.pull.parameters import Definitions
from gateway.pull.query import Reader
from gateway.settings import Organisation, Pull, Repository, Sender, Share

Reference = Callable[[str], Awaitable[Sequence[RegistryEntry]]]
"""The reference data of a programme."""

FRESH_SECONDS: Final = 10.0
"""How old the reference data may be by which a rule is judged."""


class _Days(msgspec.Struct, frozen=True):
    """First and last day, as ISO texts; empty is open."""

    first: str
    last: str

    def hold(self, today: str) -> bool:
        return not (self.first and today < self.first) and not (self.last and today > self.last)


def days(entry: Repository | Organisation | Share | RegistryEntry) -> _Days:
    """The days of an entry. Raises `Misconfigured` where one is none."""
    found = _Days(entry.valid_from or "", entry.valid_to or "")
    try:
        for day in (found.first, found.last):
            if day:
                date.fromisoformat(day)
    except ValueError:
        raise Misconfigured(detail=f"[pull] {day!r} is not an ISO day") from None
    return found


class Sharing:
    """What is seen today. `refresh` is called before `scope`."""

    def __init__(self, settings: Pull, definitions: Definitions, clock: Clock, reference: Reference) -> None:
        self._clock, self._reference, self._definitions = clock, reference, definitions
        self._rules = [(each, days(each), self._conditions(each)) for each in settings.share]
        for entry in settings.repository:
            days(entry)
            for each in entry.organisation:
                days(each)
        self._programmes = sorted({each.programme for each in settings.share if each.registry})
        self._known: Mapping[str, Sequence[RegistryEntry]] = {}
        self._until = float("-inf")

    async def refresh(self) -> None:
        """Read the reference data again where what is known has become old."""
        if self._programmes and self._clock.monotonic() >= self._until:
            self._known = {each: await self._reference(each) for each in self._programmes}
            self._until = self._clock.monotonic() + FRESH_SECONDS

    def scope(self, entry: Repository, sender: Sender) -> Scope:
        """What the repository sees today."""
        today = self._clock.now().date().isoformat()
        senders: tuple[str, ...] | None = None
        if entry.senders or entry.organisation:
            within = (each.sender for each in entry.organisation if days(each).hold(today))
            senders = tuple(dict.fromkeys((*entry.senders, *within)))
        shares = [
            Shared(programme=rule.programme, type=type, senders=whose, where=where)
            for rule, valid, conditions in self._rules
            if sender.id in rule.to and valid.hold(today) and (whose := self._whose(rule, sender.id, today))
            for type, where in conditions
        ]
        return Scope(programmes=sender.programmes, senders=senders, shares=tuple(shares))

    def _whose(self, rule: Share, repository: str, today: str) -> tuple[str, ...]:
        """The senders of a rule today."""
        if not rule.registry:
            return rule.senders
        entries = [
            each
            for each in self._known.get(rule.programme, ())
            if each.kind == rule.registry and days(each).hold(today) and each.data.get(rule.by) is not None
        ]
        own = {str(each.data[rule.by]) for each in entries if each.key == repository}
        same = (each.key for each in entries if str(each.data[rule.by]) in own and each.key != repository)
        return tuple(dict.fromkeys((*rule.senders, *same)))

    def _conditions(self, rule: Share) -> list[tuple[str, tuple[AnyOf, ...]]]:
        if not (rule.types or rule.when) or not (rule.senders or (rule.registry and rule.by)) or not rule.to:
            raise Misconfigured(detail="[[pull.share]] needs to, types or when, and senders or registry with by")
        made: list[tuple[str, tuple[AnyOf, ...]]] = [(self._type(each), ()) for each in rule.types]
        for each in rule.when:
            type, mark, rest = each.partition("?")
            try:
                where = Reader(self._definitions, "", self._clock.now()).read(self._type(type), parse_qsl(rest), True)
            except Refused as fault:
                raise Misconfigured(detail=f"[[pull.share]] when {each!r}: {fault.code}") from None
            plain = not any(isinstance(term, Chained | Reversed) for one in where.where for term in one.terms)
            if not mark or not where.where or not plain:
                raise Misconfigured(detail=f"[[pull.share]] when {each!r}: a search without chains is needed")
            made.append((type, where.where))
        return made

    def _type(self, name: str) -> str:
        if name not in self._definitions.types:
            raise Misconfigured(detail=f"[[pull.share]] {name!r} is not a type that is offered")
        return name
