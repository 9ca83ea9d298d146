"""What may come in, decided without touching anything: an arrival becomes a submission and the step that keeps it.

Refusals at the door (empty, wrong content type, unknown programme, too large, not HL7) are submissions as well: they
are kept as `refused`, with their bytes, because the sender is known (DESIGN section 8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.message import Message
from functools import lru_cache
from typing import Final, Literal

import msgspec

from gateway.errors import GatewayError, Unreadable, finding
from gateway.flow import NEW, Room, Thing
from gateway.formats import hl7v2, media
from gateway.message import Answer, AuditRecord, Finding, Language, Move, Place, Step, Submission
from gateway.settings import Sender

KEPT_OF_TOO_LARGE: Final = 64 * 1024
"""Of a body past the limit this much is kept, so that the refusal can be shown to be about something."""

IMPORT: Final = "110107"  # DICOM PS3.16 CID 400, DCM: Import
REST: Final = "rest"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller, already known, handed over. `trouble` was found while reading it (too large, too slow)."""

    sender: Sender
    programme: str
    channel: Literal["http", "mllp", "file"]
    content_type: str
    body: bytes
    received_at: datetime
    language: Language
    key: str | None = None  # Idempotency-Key
    trouble: tuple[Finding, ...] = ()
    header: hl7v2.Header | None = None  # of HL7, where it was read already to know the sender


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The arrival as a submission. Refused when any finding is an error."""

    submission: Submission
    findings: tuple[Finding, ...] = ()
    header: hl7v2.Header | None = None

    @property
    def refused(self) -> bool:
        return any(each.severity == "error" for each in self.findings)


@lru_cache(maxsize=256)
def media_type(content_type: str) -> tuple[str, str | None]:
    """The media type in lower case and its charset parameter (RFC 9110 section 8.3.1)."""
    parsed = Message()
    parsed["content-type"] = content_type
    charset = parsed.get_param("charset")
    name = content_type.partition(";")[0].strip().lower()
    return name, charset[:40] if isinstance(charset, str) and charset.isascii() else None


def judge(arrival: Arrival, programmes: Sequence[str], id: str) -> Judged:
    """The submission that the arrival is, with everything that refuses it at the door. Pure."""
    name, charset = media_type(arrival.content_type)
    found = list(arrival.trouble) or [*_programme(arrival, programmes), *_content(arrival, name)]
    header = arrival.header
    if header is None and media.FORMAT.get(name) == "hl7v2" and arrival.body:
        try:
            header = hl7v2.header(arrival.body)
        except Unreadable as error:
            found.append(error.finding())
    if header is not None:
        charset = header.charset or charset
        if not header.control_id and arrival.key is None:
            found.append(finding("GW-RECEIVE-028", Place(notation="hl7v2", path="MSH-10")))
    submission = Submission(
        id=id,
        sender=arrival.sender.id,
        programme=arrival.programme if arrival.programme in programmes else "",
        received_at=arrival.received_at,
        channel=arrival.channel,
        media_type=name if name in media.FORMAT else "application/octet-stream",
        body=arrival.body,
        digest=hashlib.sha256(arrival.body).hexdigest(),
        charset=charset,
        control_id=arrival.key or (header.control_id[:200] or None if header else None),
        language=arrival.language,
        message_type=header.type[:80] if header and header.type else None,
    )
    return Judged(submission=submission, findings=tuple(found), header=header)


def _programme(arrival: Arrival, programmes: Sequence[str]) -> list[Finding]:
    asked, allowed = arrival.programme, ", ".join(sorted(arrival.sender.programmes)) or "–"
    if not asked:
        return [finding("GW-RECEIVE-019")]
    if asked not in programmes:
        return [finding("GW-RECEIVE-003", programme=asked[:64], allowed=allowed)]
    if asked not in arrival.sender.programmes:
        return [finding("GW-RECEIVE-004", programme=asked, allowed=allowed)]
    return []


def _content(arrival: Arrival, name: str) -> list[Finding]:
    if name not in media.FORMAT:
        place = Place(notation="header", path="Content-Type")
        accepted = ", ".join(sorted(media.FORMAT))
        return [finding("GW-RECEIVE-002", place, given=name[:80] or "–", accepted=accepted)]
    if not arrival.body.strip():
        return [finding("GW-RECEIVE-001")]
    return []


def same(earlier: Submission, now: Submission) -> bool:
    """Whether two submissions under one control id are the same one, sent twice."""
    return (earlier.digest, earlier.programme, earlier.media_type) == (now.digest, now.programme, now.media_type)


def reused(sender: Sender) -> Finding:
    """The control id came before with other bytes: a warning or a refusal, as agreed with the sender."""
    return finding("GW-RECEIVE-007" if sender.duplicate == "refuse" else "GW-RECEIVE-006")


def keep(judged: Judged, at: datetime) -> Step:
    """The commit that makes the submission ours, or keeps it as refused."""
    submission, refused = judged.submission, judged.refused
    codes = ",".join(dict.fromkeys(each.code for each in judged.findings))
    move = Move(
        thing=Thing.SUBMISSION,
        id=submission.id,
        frm=NEW,
        to="refused" if refused else "received",
        room=Room.RECEIVE,
        reason=next((each.code for each in judged.findings if each.severity == "error"), None),
    )
    detail = {"channel": submission.channel, "digest": submission.digest} | ({"codes": codes} if codes else {})
    event = _event(IMPORT, "C", "4" if refused else "0", submission, at, detail)
    return Step(name="refuse" if refused else "accept", at=at, moves=(move,), writes=(submission,), audit=(event,))


def first_answer(submission: Submission, media_type: str, body: bytes, at: datetime) -> Answer:
    """The first answer, as it is given."""
    return Answer(
        id=f"{submission.id}-first",
        submission=submission.id,
        sender=submission.sender,
        kind="first",
        state="given",
        body=body,
        media_type=media_type,
        created_at=at,
    )


def record(answer: Answer, submission: Submission, at: datetime) -> Step:
    """The commit that keeps the first answer, so that a repeated submission gets the same one again."""
    move = Move(thing=Thing.ANSWER, id=answer.id, frm=NEW, to="given", room=Room.RECEIVE)
    event = _event(REST, "E", "0", submission, at, {"answer": "first"})
    return Step(name="answer", at=at, moves=(move,), writes=(answer,), audit=(event,))


def owe(answers: Sequence[Answer], at: datetime) -> Step:
    """The commit by which later answers are owed."""
    moves = tuple(Move(thing=Thing.ANSWER, id=each.id, frm=NEW, to="owed", room=Room.RECEIVE) for each in answers)
    return Step(name="owe", at=at, moves=moves, writes=tuple(answers))


def together(first: Step, second: Step) -> Step:
    """Both in one commit."""
    return Step(
        name=first.name,
        at=first.at,
        moves=first.moves + second.moves,
        writes=first.writes + second.writes,
        audit=first.audit + second.audit,
        latest=first.latest or second.latest,
    )


def turned_away(host: str, error: GatewayError, at: datetime) -> Step:
    """Somebody was not let in (DICOM 110114 User Authentication, serious failure)."""
    detail = {"codes": error.code, "address": host}
    event = AuditRecord(type="110114", action="E", outcome="8", agent="unknown", entities=(), at=at, detail=detail)
    return Step(name="turn_away", at=at, audit=(event,))


def _event(
    type: str,
    action: Literal["C", "E"],
    outcome: Literal["0", "4"],
    submission: Submission,
    at: datetime,
    detail: Mapping[str, str],
) -> AuditRecord:
    return AuditRecord(
        type=type,
        action=action,
        outcome=outcome,
        agent=submission.sender,
        entities=(f"submission/{submission.id}",),
        at=at,
        detail=detail,
    )
