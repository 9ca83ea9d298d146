"""The steps of the flow as values: what one commit writes, built from what the rooms decided.

Pure wiring between rooms: nothing here waits, reads or sends. Each function returns one `Step`, with the audit
events of everything in it that is visible from outside (promise 9: no audit, no step).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from gateway.audit import events
from gateway.errors import finding
from gateway.flow import NEW, Room, Thing
from gateway.formats import json
from gateway.gather import cases, documents, routes, schedules
from gateway.message import (
    Answer,
    AuditRecord,
    Case,
    Document,
    Evidence,
    Exchange,
    Finding,
    ItemRecord,
    ItemResult,
    Json,
    Move,
    Step,
    StoredResource,
    Submission,
    Write,
)
from gateway.programme import Programme
from gateway.workers import Examined

ALL_OR_NOTHING: Final = "GW-WORK-001"


def item_id(submission: str, index: int) -> str:
    """The id of a submission's n-th item, the same however often it is taken apart."""
    return hashlib.sha256(f"item\0{submission}\0{index}".encode()).hexdigest()[:32]


def all_or_nothing(examined: Sequence[Examined], elsewhere: Sequence[str] = ()) -> tuple[Examined, ...]:
    """Where one item is refused, every other is refused with it, each saying why.

    `elsewhere` are the labels of refused items that are not among these.
    """
    refused = elsewhere or [each.result.label for each in examined if each.refused_by]
    if not refused:
        return tuple(examined)
    note = finding(ALL_OR_NOTHING, labels=", ".join(refused[:5]))
    return tuple(
        each
        if each.refused_by
        else Examined(msgspec.structs.replace(each.result, findings=(*each.result.findings, note)), Room.MAP)
        for each in examined
    )


def _item_moves(id: str, refused_by: Room | None) -> tuple[tuple[Move, ...], str]:
    def move(frm: str, to: str, room: Room) -> Move:
        return Move(thing=Thing.ITEM, id=id, frm=frm, to=to, room=room)

    first = move(NEW, "received", Room.MAP)
    if refused_by is Room.MAP:
        return (first, move("received", "refused", Room.MAP)), "refused"
    mapped = move("received", "mapped", Room.MAP)
    if refused_by is not None:
        return (first, mapped, move("mapped", "refused", Room.VALIDATE)), "refused"
    return (first, mapped, move("mapped", "valid", Room.VALIDATE)), "valid"


def _unreadable(examined: Sequence[Examined]) -> bool:
    """Whether the submission could not be taken apart at all: one refused result about nobody."""
    return len(examined) == 1 and examined[0].refused_by is Room.MAP and examined[0].result.subject is None


class Taken(NamedTuple):
    """What of a submission was itemised in earlier commits, counted."""

    items: int = 0
    refused: int = 0


NOTHING_YET: Final = Taken()


def itemise(
    submission: Submission,
    examined: Sequence[Examined],
    at: datetime,
    answers: Sequence[Answer] = (),
    earlier: Taken = NOTHING_YET,
) -> Step:
    """A submission taken apart: its items, or the last of them, with resources, lineage, loss report and findings."""
    to = "refused" if not earlier.items and _unreadable(examined) else "itemised"
    ends = Move(thing=Thing.SUBMISSION, id=submission.id, frm="received", to=to, room=Room.MAP)
    part = itemise_part(submission, examined, at)
    items, refused = earlier.items + len(examined), earlier.refused + len(part.audit)
    event = events.submission_examined(submission.id, submission.sender, items, refused, at)
    owed = [Move(thing=Thing.ANSWER, id=a.id, frm=NEW, to="owed", room=Room.MAP) for a in answers]
    return msgspec.structs.replace(
        part,
        moves=(ends, *part.moves, *owed),
        writes=(*part.writes, *answers),
        audit=(*part.audit, event),
    )


def itemise_part(submission: Submission, examined: Sequence[Examined], at: datetime) -> Step:
    """Some items of a submission of which more are to come: it stays `received` until the last ones are there."""
    moves: list[Move] = []
    writes: list[Write] = []
    trail: list[AuditRecord] = []
    for each in examined:
        id = item_id(submission.id, each.result.index)
        steps, state = _item_moves(id, each.refused_by)
        moves += steps
        writes.append(_item(id, submission, each.result, state))
        if state == "refused":
            codes = [f.code for f in each.result.findings if f.severity == "error"]
            trail.append(events.item_refused(id, submission.id, submission.sender, codes, at))
    return Step(name="itemise", at=at, moves=tuple(moves), writes=tuple(writes), audit=tuple(trail))


def _item(id: str, submission: Submission, result: ItemResult, state: str) -> ItemRecord:
    return ItemRecord(
        id=id,
        submission=submission.id,
        sender=submission.sender,
        programme=submission.programme,
        state=state,
        result=result,
        case=result.case.id if result.case else None,
    )


def park_submission(submission: Submission, reference: str, at: datetime) -> Step:
    """Ours to look at: the bytes are kept, the reason is a code, the reference is in the log."""
    move = Move(
        thing=Thing.SUBMISSION, id=submission.id, frm="received", to="parked", room=Room.MAP, reason="GW-CORE-001"
    )
    event = events.submission_parked(submission.id, submission.sender, reference, at)
    return Step(name="park", at=at, moves=(move,), audit=(event,))


def park_item(item: ItemRecord, at: datetime) -> Step:
    """An item that could not be gathered by a fault of ours."""
    move = Move(thing=Thing.ITEM, id=item.id, frm="valid", to="parked", room=Room.GATHER, reason="GW-CORE-001")
    event = events.item_parked(item.id, item.submission, item.sender, "GW-CORE-001", at)
    parked = msgspec.structs.replace(item, state="parked")
    return Step(name="park", at=at, moves=(move,), writes=(parked,), audit=(event,))


def park_case(case: Case, reference: str, at: datetime) -> Step:
    """A complete case whose document could not be made by a fault of ours; a later item reopens it."""
    move = Move(thing=Thing.CASE, id=case.id, frm="complete", to="parked", room=Room.GATHER, reason="GW-CORE-001")
    event = events.case_parked(case.id, case.sender, reference, at)
    parked = msgspec.structs.replace(case, state="parked")
    return Step(name="park", at=at, moves=(move,), writes=(parked,), audit=(event,))


def gather(programme: Programme, case: Case | None, item: ItemRecord, at: datetime) -> Step:
    """One item joins its case."""
    ref = item.result.case
    assert ref is not None, "only items with a case are valid"
    joined, moves = cases.join(programme.case_plan(ref.kind), case, item, at)
    gathered = msgspec.structs.replace(item, state="gathered", case=joined.id)
    event = events.case_changed(joined.id, item.id, item.sender, joined.state, at)
    return Step(name="gather", at=at, moves=moves, writes=(gathered, joined), audit=(event,))


def missing_parts(programme: Programme, case: Case) -> Finding:
    """What the case still lacks, for the sender: the parts of the nearest alternative."""
    wanted = programme.case_plan(case.kind).complete.parts
    nearest = min(wanted, key=lambda parts: len(set(parts) - set(case.parts)), default=())
    return finding("GW-GATHER-001", missing=", ".join(sorted(set(nearest) - set(case.parts))))


def pass_limit(programme: Programme, case: Case, at: datetime, answers: Sequence[Answer] = ()) -> Step:
    """A case whose time is up."""
    after, move = cases.pass_limit(programme.case_plan(case.kind), case)
    made = events.case_completed if after.state == "complete" else events.case_expired
    event = made(case.id, case.sender, at)
    owed = [Move(thing=Thing.ANSWER, id=a.id, frm=NEW, to="owed", room=Room.GATHER) for a in answers]
    return Step(name="limit", at=at, moves=(move, *owed), writes=(after, *answers), audit=(event,))


def document(
    programme: Programme, case: Case, items: Sequence[ItemRecord], body: bytes, evidence: Evidence, at: datetime
) -> Document:
    """The document of the present case version, with every submission that contributed."""
    return Document(
        id=documents.document_id(case),
        case=case.id,
        version=case.version,
        programme=case.programme,
        subject=case.subject,
        made_at=at,
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
        evidence=evidence,
        submissions=tuple(dict.fromkeys(item.submission for item in items)),
        profile=programme.document_plan(case.kind).profile,
    )


def publish(
    programme: Programme, case: Case, made: Document, provenance: Json, older: Sequence[Exchange], at: datetime
) -> Step:
    """A document is made: kept with its resources and its evidence, and owed to every destination of its routes."""
    bundle = json.reread(made.body)
    moves: list[Move] = []
    writes: list[Write] = [made]
    resources = [entry["resource"] for entry in bundle["entry"]] + [provenance]
    writes += [_resource(each, case, made) for each in resources if each["resourceType"] != "MessageHeader"]
    proof = made.evidence.certificate_digest
    trail = [events.document_signed(made.id, case.id, case.sender, made.digest, proof, made.submissions, at)]
    for destination in routes.destinations(programme, case.kind, bundle, at):
        for overtaken, move in routes.overtake(older, destination):
            writes.append(overtaken)
            moves.append(move)
            trail.append(events.exchange_superseded(overtaken.id, overtaken.document, destination, made.id, at))
        exchange, move = routes.owe(made, case, destination, at)
        writes.append(exchange)
        moves.append(move)
        trail.append(events.exchange_owed(exchange.id, made.id, destination, at))
    return Step(name="publish", at=at, moves=tuple(moves), writes=tuple(writes), audit=tuple(trail))


def publish_report(programme: Programme, case: Case, made: Document, provenance: Json, at: datetime) -> Step:
    """A scheduled report: its case begins and is complete in the commit that publishes its document."""
    step = publish(programme, case, made, provenance, (), at)
    event = events.case_completed(case.id, case.sender, at)
    moves = (*schedules.opened(case), *step.moves)
    return msgspec.structs.replace(step, moves=moves, writes=(case, *step.writes), audit=(event, *step.audit))


def _resource(resource: Json, case: Case, made: Document) -> StoredResource:
    return StoredResource(
        type=resource["resourceType"],
        id=resource["id"],
        programme=case.programme,
        sender=case.sender,
        body=json.write(resource),
        document=made.id,
    )
