"""Steps as the rooms commit them, with invented content."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.flow import NEW, Room, Thing
from gateway.message import (
    Answer,
    Attempt,
    AuditRecord,
    Case,
    CaseRef,
    Document,
    Evidence,
    Exchange,
    Finding,
    ItemRecord,
    ItemResult,
    Move,
    Step,
    Submission,
)

AT = datetime(2026, 11, 21, 8, 0, 0, 7, tzinfo=UTC)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def move(thing: Thing, id: str, frm: str, to: str, room: Room, reason: str | None = None) -> Move:
    return Move(thing=thing, id=id, frm=frm, to=to, room=room, reason=reason)


def event(entity: str, at: datetime = AT) -> AuditRecord:
    return AuditRecord(
        type="rest", subtype="create", action="C", outcome="0", agent="hospital", entities=(entity,), at=at
    )


def submission(id: str, sender: str = "hospital", body: bytes = b"MSH|^~\\&|TEST", **more: Any) -> Submission:
    values: dict[str, Any] = {
        "programme": "p",
        "received_at": AT,
        "channel": "mllp",
        "media_type": "x-application/hl7-v2+er7",
    }
    return Submission(id=id, sender=sender, body=body, digest=digest(body), **(values | more))


def accepted(id: str, sender: str = "hospital", body: bytes = b"MSH|^~\\&|TEST", **more: Any) -> Step:
    """Receive: the submission and its first answer."""
    answer = Answer(
        id=f"{id}-first",
        submission=id,
        sender=sender,
        kind="first",
        state="given",
        body=b"MSA|CA",
        media_type="text/plain",
        created_at=AT,
    )
    return Step(
        name="accept",
        at=AT,
        moves=(
            move(Thing.SUBMISSION, id, NEW, "received", Room.RECEIVE),
            move(Thing.ANSWER, answer.id, NEW, "given", Room.RECEIVE),
        ),
        writes=(submission(id, sender, body, **more), answer),
        audit=(event(f"submission/{id}"),),
    )


def item(
    id: str,
    of: str,
    sender: str = "hospital",
    subject: str | None = "subject-1",
    state: str = "valid",
    index: int = 0,
    case: str | None = None,
    findings: tuple[Finding, ...] = (),
    resources: tuple[Any, ...] = (),
) -> ItemRecord:
    result = ItemResult(
        index=index,
        label=f"message {index + 1}",
        subject=subject,
        case=CaseRef(kind="stay", id=case or "case-1"),
        findings=findings,
        resources=resources,
    )
    return ItemRecord(id=id, submission=of, sender=sender, programme="p", state=state, result=result, case=case)


_PATH = ("received", "mapped", "valid")


def itemised(of: str, *records: ItemRecord) -> Step:
    """Map and validate: the submission is taken apart, each item goes as far as its state says."""
    moves = [move(Thing.SUBMISSION, of, "received", "itemised", Room.MAP)]
    for record in records:
        way = (
            [NEW, *_PATH[: _PATH.index(record.state) + 1]] if record.state in _PATH else [NEW, "received", record.state]
        )
        rooms = {"valid": Room.VALIDATE}
        moves += [move(Thing.ITEM, record.id, frm, to, rooms.get(to, Room.MAP)) for frm, to in itertools.pairwise(way)]
    return Step(name="itemise", at=AT, moves=tuple(moves), writes=records)


def case(id: str = "case-1", state: str = "complete", version: int = 1, **more: Any) -> Case:
    values: dict[str, Any] = {
        "programme": "p",
        "sender": "hospital",
        "subject": "subject-1",
        "kind": "stay",
        "opened_at": AT,
    }
    return Case(id=id, state=state, version=version, **(values | more))


def document(id: str, of_case: str, submissions: Iterable[str], body: bytes = b'{"a":1}', version: int = 1) -> Document:
    return Document(
        id=id,
        case=of_case,
        version=version,
        programme="p",
        subject="subject-1",
        made_at=AT,
        body=body,
        digest=digest(body),
        evidence=Evidence(jws="a..b", algorithm="ES256", certificate_digest="0" * 64, signed_at=AT),
        submissions=tuple(submissions),
    )


def exchange(
    id: str,
    of: str,
    destination: str = "centre",
    sender: str = "hospital",
    subject: str = "subject-1",
    state: str = "due",
    **more: Any,
) -> Exchange:
    return Exchange(
        id=id,
        document=of,
        destination=destination,
        programme="p",
        sender=sender,
        subject=subject,
        case=more.pop("case", "case-1"),
        state=state,
        **more,
    )


def routed(of: str, *exchanges: Exchange, submissions: Iterable[str] = (), case: str = "case-1") -> Step:
    """Gather: one document and what it is owed to."""
    return Step(
        name="route",
        at=AT,
        moves=tuple(move(Thing.EXCHANGE, each.id, NEW, "due", Room.GATHER) for each in exchanges),
        writes=(document(of, case, submissions), *exchanges),
        audit=(event(f"document/{of}"),),
    )


def moved(id: str, frm: str, to: str, room: Room = Room.DELIVER, *writes: Any, at: datetime = AT) -> Step:
    return Step(name=to, at=at, moves=(move(Thing.EXCHANGE, id, frm, to, room),), writes=writes)


def attempt(id: str, of: str, number: int = 1, request: bytes = b"<soap/>", **more: Any) -> Attempt:
    return Attempt(
        id=id, exchange=of, number=number, started_at=AT, request=request, request_digest=digest(request), **more
    )


WAY = ("due", "claimed", "rendered", "in_flight")


@dataclass
class Serial:
    """Names that differ."""

    number: int = 0
    prefix: str = "x"
    given: list[str] = field(default_factory=list)

    def next(self) -> str:
        self.number += 1
        self.given.append(f"{self.prefix}{self.number}")
        return self.given[-1]
