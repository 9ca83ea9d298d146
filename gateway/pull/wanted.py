"""A Subscription as it was given, read: topic-based as in the R5 backport, or plain R4, whose criteria is a search.

What it may ask for is bounded by the topic, by the scopes of the repository and by the endpoints in the settings.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NoReturn, cast
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from gateway.clock import Clock
from gateway.errors import Misconfigured, Refused
from gateway.formats.search import AnyOf
from gateway.message import Json
from gateway.pull import query, respond
from gateway.pull.access import Caller
from gateway.pull.instants import instant, span
from gateway.pull.parameters import Definitions
from gateway.pull.query import Reader
from gateway.pull.topics import Topic, Topics, Trigger
from gateway.settings import Endpoint, Peer, Repository

GUIDE: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
FILTER: Final = GUIDE + "backport-filter-criteria"
CONTENT: Final = GUIDE + "backport-payload-content"
HEARTBEAT: Final = GUIDE + "backport-heartbeat-period"
TIMEOUT: Final = GUIDE + "backport-timeout"
MAX_COUNT: Final = GUIDE + "backport-max-count"
PROFILE: Final = GUIDE + "backport-subscription"

Content = Literal["empty", "id-only", "full-resource"]
HIDDEN: Final = "***"
"""What is shown instead of the value of a header."""

_HEADER: Final = re.compile(r"([A-Za-z0-9-]{1,60}): ?([\x20-\x7e]{1,2000})", re.ASCII)
_OURS: Final = ("host", "content-", "transfer-", "connection", "accept-encoding", "te", "upgrade", "expect", "trailer")
_MOST_HEADERS: Final = 10
_MOST_FILTERS: Final = 20
_MOST_EVENTS: Final = 200
_LEAST_HEARTBEAT: Final = 10


class Filter(msgspec.Struct, frozen=True):
    """Conditions on one type; empty for every type of the topic."""

    type: str
    where: tuple[AnyOf, ...]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a Subscription asks for. `topic` is None for the plain form, which has one trigger of its own."""

    topic: Topic | None
    triggers: tuple[Trigger, ...]
    filters: tuple[Filter, ...]
    content: Content
    media: str  # empty: the notification has no body (plain form only)
    endpoint: str
    peer: str
    headers: Mapping[str, str]
    heartbeat: int
    timeout: int
    at_once: int
    ends: datetime | None


def _bad(name: str) -> NoReturn:
    raise Refused("GW-PULL-019", name=name)


def allowed(entry: Repository, peers: Mapping[str, Peer]) -> None:
    """Raise `Misconfigured` for an endpoint that could not be used, or that points into our own network unsaid."""
    for each in entry.endpoint:
        parts, peer = urlsplit(each.url), peers.get(each.peer)
        if peer is None or _origin(parts) is None or _origin(parts) != _origin(urlsplit(peer.origin)):
            raise Misconfigured(detail=f"[[pull.repository.endpoint]] {each.url}: not the origin of its peer")
        if parts.query or parts.fragment:
            raise Misconfigured(detail=f"[[pull.repository.endpoint]] {each.url}: only a path")
        if is_private(parts.hostname or "") and not each.private:
            raise Misconfigured(detail=f"[[pull.repository.endpoint]] {each.url}: private = true is not said")


def is_private(host: str) -> bool:
    """Whether a host is, by what is written, of an own network: no public address, or a name without a domain."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost", ".lan"))


def _origin(parts: SplitResult) -> tuple[str, str, int] | None:
    try:
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return None
    if not port or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def endpoint_of(url: str, entry: Repository) -> Endpoint:
    """The entry of the settings that allows this address, or `Refused`: compared by origin and by whole path steps."""
    asked = urlsplit(url)
    odd = "\\" in url or not url.isascii() or not url.isprintable() or " " in url or asked.fragment or asked.query
    steps = unquote(unquote(asked.path)).split("/")
    if not odd and not {".", ".."} & set(steps) and len(url) < 2000:
        for each in entry.endpoint:
            known = urlsplit(each.url)
            root = known.path.rstrip("/")
            inside = asked.path == known.path or asked.path.rstrip("/") == root or asked.path.startswith(root + "/")
            if inside and _origin(asked) is not None and _origin(asked) == _origin(known):
                return each
    raise Refused("GW-PULL-017")


def extension(value: Any, url: str) -> Any | None:
    """The value of an extension of an element, or None."""
    for each in _extensions(value, url):
        return each
    return None


def _extensions(value: Any, url: str) -> Iterable[Any]:
    found = value.get("extension") if isinstance(value, dict) else None
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and each.get("url") == url:
            yield next((inner for name, inner in each.items() if name.startswith("value")), None)


def read(
    resource: Json, caller: Caller, entry: Repository, definitions: Definitions, topics: Topics, clock: Clock
) -> Wanted:
    """What the Subscription asks for; `Refused` naming the element that cannot be used."""
    channel = resource.get("channel")
    if not isinstance(resource.get("reason"), str) or not resource["reason"].strip():
        _bad("reason")
    if not isinstance(channel, dict) or channel.get("type") != "rest-hook":
        _bad("channel.type")
    if not isinstance(channel.get("endpoint"), str):
        _bad("channel.endpoint")
    criteria = resource.get("criteria")
    if not isinstance(criteria, str) or len(criteria) > 2000:
        _bad("criteria")
    allowed_by = endpoint_of(channel["endpoint"], entry)
    reader = Reader(definitions, "", clock.now())
    topic = topics.get(criteria.partition("|")[0])
    if topic is None:
        triggers: tuple[Trigger, ...] = (_plain(criteria, reader, definitions),)
        filters: tuple[Filter, ...] = ()
    else:
        triggers = tuple(each for each in topic.triggers if caller.may(each.type, "r"))
        filters = _filters(resource, topic, reader)
    if not triggers or (topic is None and not caller.may(triggers[0].type, "r")):
        _bad("criteria")
    return Wanted(
        topic=topic,
        triggers=triggers,
        filters=filters,
        content=_content(channel) if topic is not None else "full-resource",
        media=_media(channel, topic is not None),
        endpoint=channel["endpoint"],
        peer=allowed_by.peer,
        headers=headers_of(channel),
        heartbeat=heartbeat_of(resource),
        timeout=_number(channel, TIMEOUT, 30, 60) or 30,
        at_once=_number(channel, MAX_COUNT, 1, _MOST_EVENTS) or 1,
        ends=ends_of(resource),
    )


def _plain(criteria: str, reader: Reader, definitions: Definitions) -> Trigger:
    """Plain R4: a search of one type; a new version that it would find is an event."""
    type, _, rest = criteria.partition("?")
    if type not in definitions.types:
        raise Refused("GW-PULL-018", name=type[:60])
    given = query.pairs(rest.encode("ascii", "replace"))
    where = reader.read(type, given, strict=True)
    if len(where.where) != len(given):
        raise Refused("GW-PULL-018", name=f"{type}?…")
    return Trigger(type=type, methods=frozenset({"create", "update"}), current=where.where)


def _filters(resource: Json, topic: Topic, reader: Reader) -> tuple[Filter, ...]:
    """Filter criteria: all of them hold; one that names a type is only about that type."""
    made: list[Filter] = []
    for text in _extensions(resource.get("_criteria"), FILTER):
        if not isinstance(text, str) or len(made) >= _MOST_FILTERS:
            _bad("criteria.extension")
        named, mark, rest = text.partition("?")
        types = [each.type for each in topic.triggers if not named or each.type == named]
        given = query.pairs((rest if mark else named).encode("ascii", "replace"))
        types = types if mark else [each.type for each in topic.triggers]
        if not types or not given:
            raise Refused("GW-PULL-018", name=named[:60])
        for type in types:
            where = tuple(reader.condition(type, name, value) for name, value in given if _may(topic, type, name))
            made.append(Filter(type, where))
    return tuple(made)


def _may(topic: Topic, type: str, name: str) -> bool:
    if not topic.may_filter(type, name):
        raise Refused("GW-PULL-004", name=name[:60], type=type)
    return True


def _content(channel: Json) -> Content:
    found = extension(channel.get("_payload"), CONTENT) or "id-only"
    if found not in ("empty", "id-only", "full-resource"):
        _bad("channel.payload.extension")
    return cast("Content", found)


def _media(channel: Json, whole: bool) -> str:
    given = channel.get("payload") or (respond.JSON if whole else "")
    named = {"application/fhir+json": respond.JSON, "application/json": respond.JSON}
    named |= {"application/fhir+xml": respond.XML, "application/xml": respond.XML, "": ""}
    found = named.get(str(given).partition(";")[0].strip().lower())
    if found is None:
        _bad("channel.payload")
    return found


def headers_of(channel: Json) -> dict[str, str]:
    """The headers that the subscriber wants back, by name; none of those that frame a request."""
    given = channel.get("header", [])
    if not isinstance(given, list) or len(given) > _MOST_HEADERS:
        _bad("channel.header")
    found: dict[str, str] = {}
    for each in given:
        match = _HEADER.fullmatch(each) if isinstance(each, str) else None
        if match is None or match[1].lower().startswith(_OURS) or match[1].lower() in found:
            _bad("channel.header")
        found[match[1].lower()] = match[2].strip()
    return found


def _number(channel: Json, url: str, otherwise: int, most: int) -> int:
    found = extension(channel, url)
    if found is None:
        return otherwise
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        _bad(url.rpartition("/")[2])
    if url == HEARTBEAT and 0 < found < _LEAST_HEARTBEAT:
        return _LEAST_HEARTBEAT
    return min(found, most)


def heartbeat_of(resource: Json) -> int:
    """Seconds without a notification after which the subscriber wants to hear of us; 0: never."""
    return _number(resource.get("channel", {}), HEARTBEAT, 0, 86_400)


def ends_of(resource: Json) -> datetime | None:
    """When the subscription ends."""
    text = resource.get("end")
    if text is None:
        return None
    found = span(text) if isinstance(text, str) else None
    if found is None:
        _bad("end")
    return instant(found[0])


def hidden(resource: Json) -> Json:
    """The Subscription as it is shown: what the headers hold is a secret of the subscriber."""
    channel = resource.get("channel", {})
    if not channel.get("header"):
        return resource
    headers = [f"{each.partition(':')[0]}: {HIDDEN}" for each in channel["header"]]
    return resource | {"channel": channel | {"header": headers}}


def restored(resource: Json, before: Json) -> Json:
    """With the headers of before, where the subscriber gave back what he was shown."""
    channel, known = resource.get("channel"), headers_of(before.get("channel", {}))
    given = channel.get("header") if isinstance(channel, dict) else None
    if not isinstance(given, list) or not isinstance(channel, dict):
        return resource
    whole: Sequence[Any] = [
        f"{name}: {known[name.lower()]}"
        if isinstance(each, str) and (name := each.partition(":")[0]).lower() in known and each.endswith(HIDDEN)
        else each
        for each in given
    ]
    return resource | {"channel": channel | {"header": list(whole)}}
