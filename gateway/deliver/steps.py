"""What deliver commits, as pure builders: each returns one `Step` with its moves, writes and audit events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from gateway.deliver.decide import Next
from gateway.flow import Room, Thing
from gateway.message import Attempt, AuditRecord, Exchange, Move, Outcome, Receipt, Step, Write

EXPORT: Final = "110106"  # DICOM PS3.16 CID 400: Export
ACTIVITY: Final = "110100"  # Application Activity

_AUDIT_OUTCOME: Final = {"delivered": "0", "awaiting": "0", "due": "4", "held": "4", "rejected": "8", "unknown": "8"}


class Extra(NamedTuple):
    """What others want in the same commit, such as the later answer owed to the sender."""

    moves: tuple[Move, ...] = ()
    writes: tuple[Write, ...] = ()
    audit: tuple[AuditRecord, ...] = ()


NOTHING: Final = Extra()


def _move(exchange: Exchange, frm: str, to: str, reason: str | None = None) -> Move:
    return Move(thing=Thing.EXCHANGE, id=exchange.id, frm=frm, to=to, room=Room.DELIVER, reason=reason)


def _placed(exchange: Exchange, to: Next) -> Exchange:
    return msgspec.structs.replace(exchange, state=to.state, next_at=to.next_at, reason=to.reason)


def _audit(kind: str, step: str, at: datetime, exchanges: Sequence[Exchange], state: str, **detail: str) -> AuditRecord:
    entities = [f"exchange/{each.id}" for each in exchanges]
    if len(exchanges) == 1:
        entities.append(f"document/{exchanges[0].document}")
    return AuditRecord(
        type=kind,
        action="E",
        outcome=_AUDIT_OUTCOME.get(state, "4" if state == "parked" else "0"),  # type: ignore[arg-type]
        agent=exchanges[0].destination,
        entities=tuple(entities),
        at=at,
        detail={"step": step, "state": state, **detail},
    )


def claim(exchange: Exchange, at: datetime) -> tuple[Step, Exchange]:
    """due -> claimed; the try is counted here, so that a try that dies half-way has been counted."""
    claimed = msgspec.structs.replace(_placed(exchange, Next("claimed")), tries=exchange.tries + 1)
    step = Step(
        name="deliver.claim",
        at=at,
        moves=(_move(exchange, "due", "claimed"),),
        writes=(claimed,),
        audit=(_audit(ACTIVITY, "claim", at, [exchange], "claimed"),),
    )
    return step, claimed


def leave(exchange: Exchange, attempt: Attempt, at: datetime) -> tuple[Step, Exchange]:
    """claimed -> rendered -> in_flight with the attempt's bytes: committed before the first of them leaves."""
    flying = _placed(exchange, Next("in_flight"))
    step = Step(
        name="deliver.leave",
        at=at,
        moves=(_move(exchange, "claimed", "rendered"), _move(exchange, "rendered", "in_flight")),
        writes=(flying, attempt),
        audit=(_audit(EXPORT, "leave", at, [exchange], "in_flight", digest=attempt.request_digest),),
    )
    return step, flying


def move(exchange: Exchange, to: Next, at: datetime, name: str, extra: Extra = NOTHING) -> Step:
    """One exchange from where it stands to `to`, without an attempt: given back, parked, orphaned."""
    return Step(
        name=f"deliver.{name}",
        at=at,
        moves=(_move(exchange, exchange.state, to.state, to.reason), *extra.moves),
        writes=(_placed(exchange, to), *extra.writes),
        audit=(_audit(ACTIVITY, name, at, [exchange], to.state, **_code(to)), *extra.audit),
    )


def moves(exchanges: Sequence[Exchange], to: Next, at: datetime, name: str) -> Step:
    """Several exchanges of one destination at once: held together, or let go together."""
    return Step(
        name=f"deliver.{name}",
        at=at,
        moves=tuple(_move(each, each.state, to.state, to.reason) for each in exchanges),
        writes=tuple(_placed(each, to) for each in exchanges),
        audit=(_audit(ACTIVITY, name, at, exchanges, to.state, **_code(to)),),
    )


def note(exchange: Exchange, reason: str, at: datetime) -> Step:
    """The reason why an exchange stays where it is, so that it waits visibly."""
    return Step(
        name="deliver.note",
        at=at,
        writes=(msgspec.structs.replace(exchange, reason=reason),),
        audit=(_audit(ACTIVITY, "note", at, [exchange], exchange.state, code=reason),),
    )


def settle(
    exchange: Exchange,
    attempt: Attempt,
    outcome: Outcome,
    to: Next,
    at: datetime,
    subject_receipts: frozenset[str],
    extra: Extra = NOTHING,
    name: str = "settle",
) -> Step:
    """The judged answer: the state it leads to, the attempt's end, what the destination gave us to keep."""
    ended = msgspec.structs.replace(
        attempt, ended_at=at, outcome=to.state, status=outcome.status, reply=outcome.reply, codes=outcome.codes
    )
    given: Mapping[str, str] = {**dict.fromkeys(outcome.forget, ""), **outcome.receipts}
    receipts = tuple(
        Receipt(
            destination=exchange.destination,
            scope=exchange.subject if key in subject_receipts else exchange.case,
            name=key,
            value=value,  # empty: the destination no longer honours it
            exchange=exchange.id,
            at=at,
        )
        for key, value in given.items()
    )
    return Step(
        name=f"deliver.{name}",
        at=at,
        moves=(_move(exchange, exchange.state, to.state, to.reason), *extra.moves),
        writes=(_placed(exchange, to), ended, *receipts, *extra.writes),
        audit=(_audit(EXPORT, name, at, [exchange], to.state, **_code(to)), *extra.audit),
    )


def _code(to: Next) -> dict[str, str]:
    return {"code": to.reason} if to.reason else {}
