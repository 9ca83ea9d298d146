"""Topics that can be subscribed to (Subscriptions R5 Backport 1.1, section 1.4; SubscriptionTopic as R5 has it).

Every type that is offered is a topic of its own, and so is everything together. A programme brings others by a file,
`profiles/<programme>/SubscriptionTopic-*.json`: triggers with interactions and queries on the present and the previous
version, and the parameters by which one may filter. FHIRPath criteria and event triggers are not offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from gateway.errors import GatewayError, Misconfigured, Refused
from gateway.formats import json
from gateway.formats.search import AnyOf
from gateway.message import Json
from gateway.pull.parameters import Definitions
from gateway.pull.query import Reader

Method = Literal["create", "update", "delete"]

PREFIX: Final = "urn:gateway:topic:"
ANY: Final = f"{PREFIX}any"
_METHODS: Final[tuple[Method, ...]] = ("create", "update", "delete")
_PASSES: Final = "test-passes"
_SOME_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """When a version of a type is an event. `on_create` and `on_delete` stand for the version that is not there."""

    type: str
    methods: frozenset[str] = frozenset(_METHODS)
    previous: tuple[AnyOf, ...] = ()
    current: tuple[AnyOf, ...] = ()
    on_create: bool = True
    on_delete: bool = True
    both: bool = True


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic by its canonical URL. `filters` are the parameters by type; None for all that the type has."""

    url: str
    title: str
    triggers: tuple[Trigger, ...]
    filters: Mapping[str, frozenset[str]] | None = None

    def may_filter(self, type: str, name: str) -> bool:
        """Whether subscribers may filter the type by the parameter."""
        code = name.partition(":")[0].partition(".")[0]
        return self.filters is None or code in self.filters.get(type, frozenset())


class Topics:
    """All topics by URL. Raises `Misconfigured` for a file that cannot be used."""

    def __init__(self, definitions: Definitions, resources: Iterable[Json] = ()) -> None:
        self._definitions = definitions
        single = [
            Topic(url=PREFIX + each, title=f"Every change of a {each}", triggers=(Trigger(type=each),))
            for each in definitions.types
        ]
        whole = tuple(Trigger(type=each) for each in definitions.types)
        found = [Topic(url=ANY, title="Every change", triggers=whole), *single, *map(self._read, resources)]
        self._by_url = {each.url: each for each in found}

    def get(self, url: str) -> Topic | None:
        """The topic; a version behind the URL has to be left out."""
        return self._by_url.get(url)

    def all(self) -> Sequence[Topic]:
        """Every topic: the general ones first."""
        return tuple(self._by_url.values())

    # --- files ----------------------------------------

    def _read(self, value: Json) -> Topic:
        url = value.get("url")
        if not isinstance(url, str) or value.get("resourceType") != "SubscriptionTopic":
            raise Misconfigured(detail="a SubscriptionTopic has no url")
        triggers = tuple(self._trigger(url, each) for each in value.get("resourceTrigger", ()))
        if not triggers or "eventTrigger" in value:
            raise Misconfigured(detail=f"{url}: resource triggers are what is offered")
        filters: dict[str, set[str]] = {}
        for each in value.get("canFilterBy", ()):
            for type in [_type(each["resource"])] if "resource" in each else [t.type for t in triggers]:
                filters.setdefault(type, set()).add(str(each.get("filterParameter", "")))
        allowed = {type: frozenset(names) for type, names in filters.items()}
        return Topic(url=url, title=str(value.get("title", url)), triggers=triggers, filters=allowed)

    def _trigger(self, url: str, value: Mapping[str, Any]) -> Trigger:
        type, query = _type(str(value.get("resource", ""))), value.get("queryCriteria", {})
        if type not in self._definitions.types or "fhirPathCriteria" in value:
            raise Misconfigured(detail=f"{url}: a trigger names a type that is offered, and no FHIRPath")
        return Trigger(
            type=type,
            methods=frozenset(value.get("supportedInteraction") or _METHODS),
            previous=self._query(url, type, query.get("previous")),
            current=self._query(url, type, query.get("current")),
            on_create=query.get("resultForCreate", _PASSES) == _PASSES,
            on_delete=query.get("resultForDelete", _PASSES) == _PASSES,
            both=bool(query.get("requireBoth", not (query.get("previous") and query.get("current")))),
        )

    def _query(self, url: str, type: str, text: str | None) -> tuple[AnyOf, ...]:
        if not text:
            return ()
        try:
            given = parse_qsl(text.removeprefix(f"{type}?"), keep_blank_values=True)
            return Reader(self._definitions, "", _SOME_DAY).read(type, given, strict=True).where
        except Refused as fault:
            raise Misconfigured(detail=f"{url}: {fault.code} in {text!r}") from None


def _type(name: str) -> str:
    return name.rpartition("/")[2]


def read(home: Path, programmes: Sequence[str]) -> list[Json]:
    """The topics that these programmes bring."""
    found = []
    for programme in sorted(programmes):
        for path in sorted((home / "profiles" / programme).glob("**/SubscriptionTopic-*.json")):
            try:
                found.append(json.read(path.read_bytes()))
            except (OSError, GatewayError) as error:
                raise Misconfigured(detail=f"{path}: {type(error).__name__}") from None
    return found
