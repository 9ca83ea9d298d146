"""Routes: to whom a document is owed, and which older exchanges it overtakes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from gateway import fhirpath
from gateway.flow import NEW, Room, Thing
from gateway.message import Case, Document, Exchange, Json, Move
from gateway.programme import Programme, Route
from gateway.settings import Settings

OVERTAKEN: Final = "GW-GATHER-002"
_NEVER_LEFT: Final = frozenset({"due", "held"})


def _open_on(route: Route, day: date) -> bool:
    after = route.valid_from is None or date.fromisoformat(route.valid_from) <= day
    before = route.valid_to is None or day <= date.fromisoformat(route.valid_to)
    return after and before


@cache
def _condition(when: str) -> fhirpath.Compiled:
    """Compiled once: routes are asked for every document, and their texts are few and from files."""
    return fhirpath.compile(when)


def _wanted(route: Route, bundle: Json) -> bool:
    return not route.when or _condition(route.when).boolean(bundle, None) is True


def destinations(programme: Programme, kind: str, bundle: Json, at: datetime) -> tuple[str, ...]:
    """Every destination that is owed the document, by kind, validity on the document's local day, and condition."""
    day = at.astimezone(ZoneInfo(programme.timezone)).date()
    return tuple(
        route.destination
        for route in programme.route
        if route.kind == kind and _open_on(route, day) and _wanted(route, bundle)
    )


def installed(routes: Sequence[Route], programme: str, settings: Settings) -> tuple[Route, ...]:
    """The routes of an installation: optional ones only where their destination is, and its own days of validity."""
    there = {each.id for each in settings.destination}
    return tuple(
        _windowed(each, programme, settings) for each in routes if not each.optional or each.destination in there
    )


def _windowed(route: Route, programme: str, settings: Settings) -> Route:
    for each in settings.route:
        if (each.programme, each.destination) == (programme, route.destination) and each.kind in ("", route.kind):
            return msgspec.structs.replace(
                route, valid_from=each.valid_from or route.valid_from, valid_to=each.valid_to or route.valid_to
            )
    return route


def exchange_id(document: str, destination: str) -> str:
    """One document to one destination has one id, however often routing is repeated."""
    return hashlib.sha256(f"exchange\0{document}\0{destination}".encode()).hexdigest()[:32]


def owe(document: Document, case: Case, destination: str, at: datetime) -> tuple[Exchange, Move]:
    """A new exchange, due at once."""
    exchange = Exchange(
        id=exchange_id(document.id, destination),
        document=document.id,
        destination=destination,
        programme=document.programme,
        sender=case.sender,
        subject=case.subject,
        case=case.id,
        state="due",
        created_at=at,
    )
    return exchange, Move(thing=Thing.EXCHANGE, id=exchange.id, frm=NEW, to="due", room=Room.GATHER)


def overtake(older: Sequence[Exchange], destination: str) -> tuple[tuple[Exchange, Move], ...]:
    """Exchanges of earlier versions of the same case that never left and need not leave any more."""
    return tuple(
        (
            msgspec.structs.replace(each, state="superseded", reason=OVERTAKEN),
            Move(
                thing=Thing.EXCHANGE,
                id=each.id,
                frm=each.state,
                to="superseded",
                room=Room.GATHER,
                reason=OVERTAKEN,
            ),
        )
        for each in older
        if each.destination == destination and each.state in _NEVER_LEFT
    )
