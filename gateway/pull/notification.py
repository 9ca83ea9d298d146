"""Notifications as Bundles (Subscriptions R5 Backport 1.1: `backport-subscription-notification-r4`).

The first entry is the status as Parameters; the others are the resources of the events, whole, by id, or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from gateway.formats.standing import Event, Subscribed
from gateway.kept import KeptResource
from gateway.message import Json
from gateway.pull import present
from gateway.pull.instants import text
from gateway.pull.parameters import Definitions
from gateway.pull.wanted import GUIDE, Content

Kind = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]
Shown = Mapping[int, KeptResource]
"""By position what of the events may be seen today."""

NOTIFICATION: Final = GUIDE + "backport-subscription-notification-r4"
STATUS: Final = GUIDE + "backport-subscription-status-r4"
_METHODS: Final = {"create": ("POST", "201"), "update": ("PUT", "200"), "delete": ("DELETE", "204")}


def status(
    found: Subscribed,
    topic: str | None,
    kind: Kind,
    events: Sequence[Event] = (),
    shown: Shown | None = None,
    content: Content = "empty",
) -> Json:
    """The SubscriptionStatus in its R4 form. Numbers are strings there, as the guide has them."""
    reference = f"{found.base}Subscription/{found.id}"
    total = events[-1].number if kind == "event-notification" and events else found.events
    parameters: list[Json] = [{"name": "subscription", "valueReference": {"reference": reference}}]
    if topic is not None:
        parameters.append({"name": "topic", "valueCanonical": topic})
    parameters += [
        {"name": "status", "valueCode": found.status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(total)},
    ]
    parameters += [
        {"name": "notification-event", "part": _event(each, found.base, shown or {}, content)} for each in events
    ]
    if found.error is not None:
        coding = {"system": "urn:gateway:codes", "code": found.error}
        parameters.append({"name": "error", "valueCodeableConcept": {"coding": [coding]}})
    return {
        "resourceType": "Parameters",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [STATUS]},
        "parameter": parameters,
    }


def _event(event: Event, base: str, shown: Shown, content: Content) -> list[Json]:
    parts: list[Json] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": text(event.at)},
    ]
    if content != "empty" and event.position in shown:
        parts.append({"name": "focus", "valueReference": {"reference": f"{base}{event.type}/{event.id}"}})
    return parts


def bundle(
    found: Subscribed,
    topic: str | None,
    kind: Kind,
    definitions: Definitions,
    at: datetime,
    content: Content = "empty",
    events: Sequence[Event] = (),
    shown: Shown | None = None,
) -> Json:
    """A notification. What may not be seen any more keeps its number, and shows nothing."""
    own = status(found, topic, kind, events, shown, content)
    entries: list[Json] = [
        {
            "fullUrl": f"urn:uuid:{own['id']}",
            "resource": own,
            "request": {"method": "GET", "url": f"Subscription/{found.id}/$status"},
            "response": {"status": "200"},
        }
    ]
    if content != "empty":
        entries += [
            _entry(each, shown[each.position], found.base, definitions, content == "full-resource")
            for each in events
            if shown is not None and each.position in shown
        ]
    return {
        "resourceType": "Bundle",
        "id": str(uuid.uuid4()),
        "meta": {"profile": [NOTIFICATION]},
        "type": "history",
        "timestamp": text(at),
        "entry": entries,
    }


def _entry(event: Event, kept: KeptResource, base: str, definitions: Definitions, whole: bool) -> Json:
    method, code = _METHODS[event.method]
    made: Json = {"fullUrl": f"{base}{event.type}/{event.id}"}
    if whole and not kept.deleted:
        made["resource"] = present.resource(kept, definitions)
    url = event.type if method == "POST" else f"{event.type}/{event.id}"
    made["request"] = {"method": method, "url": url}
    made["response"] = {"status": code, "etag": present.etag(kept), "lastModified": text(kept.at)}
    return made


def found_status(statuses: Sequence[tuple[Subscribed, str | None]], own: str) -> Json:
    """The answer of `$status`: one status for each subscription."""
    entries = [
        {"fullUrl": f"urn:uuid:{made['id']}", "resource": made, "search": {"mode": "match"}}
        for made in (status(each, topic, "query-status") for each, topic in statuses)
    ]
    link = [{"relation": "self", "url": own}]
    found: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "link": link}
    return found | ({"entry": entries} if entries else {})
