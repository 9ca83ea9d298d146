"""Later answers: what became of a submission after its first answer was given.

`later` and `for_outcome` build the answers that are owed, for the commit in which they come to be owed. `Callbacks`
gives them: per sender in order, at least once, with backoff, to the sender's webhook (signed) or MLLP address.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
import structlog

from gateway.clock import Clock
from gateway.errors import Refused, finding
from gateway.flow import Room, Thing
from gateway.formats import hl7v2, json
from gateway.message import Answer, AuditRecord, Exchange, Finding, Move, Outcome, Step, Submission
from gateway.ports import EvidenceSigner, MaybeSent, Network, NotSent, Store
from gateway.receive import answers, hl7
from gateway.receive.door import Later
from gateway.receive.framing import Block, Decoder, wrap
from gateway.receive.mllp import Mode
from gateway.settings import Callback, Retry, Sender

log: Final = structlog.get_logger("gateway.receive")

Event = Literal["accepted", "findings", "refused", "delivered", "rejected"]

_CONFIGURED_AS: Final = {"findings": "refused"}
"""Warnings that came late are told to whoever wants to hear of refusals."""

RETRY: Final = Retry()
GIVE_UP: Final = "GW-RECEIVE-029"
SECONDS: Final = 30.0
AT_ONCE: Final = 32
PAUSE_SECONDS: Final = 5.0
MAX_REPLY: Final = 1024 * 1024
SIGNATURE_HEADER: Final = "x-jws-signature"
"""A detached JWS (RFC 7515 appendix F) over the exact body, by the key that signs evidence."""


# --- what is owed ---------------------------------------------------------------------------------


def later(
    senders: Sequence[Sender], clock: Clock, submission: Submission, findings: Sequence[Finding]
) -> tuple[Answer, ...]:
    """The answers owed for findings that the first answer did not carry.

    A message in enhanced mode that asked for it gets its application acknowledgement; otherwise the sender is told
    where its callback is configured for the event. Empty where nobody wants to know or no address is known.
    """
    sender = _sender(senders, submission.sender)
    if sender is None or sender.callback is None:
        return ()
    errors = any(each.severity == "error" for each in findings)
    event: Event = "refused" if errors else "findings" if findings else "accepted"
    header = _header(submission)
    if header is not None and Mode(header).wants_later:
        if not _application_wanted(header.application_ack, not errors):
            return ()
        return (_owed(sender.callback, submission, header, "application", event, findings, clock, {}),)
    if _CONFIGURED_AS.get(event, event) not in sender.callback.events:
        return ()
    return (_owed(sender.callback, submission, header, "callback", event, findings, clock, {}),)


async def for_outcome(
    store: Store, senders: Sequence[Sender], clock: Clock, exchange: Exchange, outcome: Outcome
) -> tuple[Answer, ...]:
    """The answers owed to everybody who contributed to a document that was delivered or rejected."""
    if outcome.state not in ("delivered", "rejected"):
        return ()
    event: Event = "delivered" if outcome.state == "delivered" else "rejected"
    sender = _sender(senders, exchange.sender)  # a case is of one sender, so is its document
    if sender is None or sender.callback is None or event not in sender.callback.events:
        return ()
    document = await store.document(exchange.document)
    made: list[Answer] = []
    for id in document.submissions if document is not None else ():
        submission = await store.submission(id)
        if submission is None:
            continue
        found = _of_outcome(exchange, outcome)
        about = {"destination": exchange.destination, "document": exchange.document, "exchange": exchange.id}
        made.append(_owed(sender.callback, submission, _header(submission), "callback", event, found, clock, about))
    return tuple(made)


def _of_outcome(exchange: Exchange, outcome: Outcome) -> tuple[Finding, ...]:
    if outcome.state == "delivered":
        return (finding("GW-RECEIVE-023", destination=exchange.destination), *outcome.findings)
    reason = ", ".join(outcome.codes) or "–"
    return (finding("GW-RECEIVE-024", destination=exchange.destination, reason=reason), *outcome.findings)


def _sender(senders: Sequence[Sender], id: str) -> Sender | None:
    return next((each for each in senders if each.id == id), None)


def _header(submission: Submission) -> hl7v2.Header | None:
    return hl7.header(submission.body) if submission.media_type == hl7.MEDIA_TYPE else None


def _application_wanted(condition: str, positive: bool) -> bool:
    return condition != ("ER" if positive else "SU")


def _owed(
    callback: Callback,
    submission: Submission,
    header: hl7v2.Header | None,
    kind: Literal["application", "callback"],
    event: Event,
    findings: Sequence[Finding],
    clock: Clock,
    about: dict[str, str],
) -> Answer:
    now, id = clock.now(), f"{submission.id}-{event}-{secrets.token_hex(4)}"
    if callback.mllp_host and header is not None:
        media_type, code = hl7.MEDIA_TYPE, hl7.original(findings, event in ("refused", "rejected"))
        body = hl7.acknowledge(header, code, findings, now, submission.language)
    else:
        media_type, body = answers.PLAIN, _event(id, submission, event, findings, now, about)
    return Answer(
        id=id,
        submission=submission.id,
        sender=submission.sender,
        kind=kind,
        state="owed",
        body=body,
        media_type=media_type,
        created_at=now,
    )


def _event(
    id: str,
    submission: Submission,
    event: Event,
    findings: Sequence[Finding],
    now: datetime,
    about: dict[str, str],
) -> bytes:
    """The webhook's body. `id` is the same in every repetition, so that the receiver can drop duplicates."""
    return json.write(
        {
            "id": id,
            "event": event,
            "at": answers.instant(now),
            "submission": submission.id,
            "control_id": submission.control_id,
            "programme": submission.programme,
            "language": answers.tag(submission.language),
            **about,
            "findings": [answers.finding_json(each, submission.language) for each in findings],
            "links": {"submission": f"/submissions/{submission.id}"},
        }
    )


# --- giving ---------------------------------------------------------------------------------------


class Callbacks:
    """Gives what is owed. One answer of a sender at a time; a slow sender delays no other."""

    def __init__(
        self,
        store: Store,
        network: Network,
        signer: EvidenceSigner,
        clock: Clock,
        senders: Sequence[Sender],
        retry: Retry = RETRY,
        committed: Callable[[Step], None] = lambda step: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store, self._network, self._signer, self._clock = store, network, signer, clock
        self._senders = {each.id: each for each in senders}
        self._retry, self._committed, self._chance = retry, committed, chance
        self._giving: dict[str, asyncio.Task[None]] = {}
        self._paused: dict[str, float] = {}

    async def deliver_due(self) -> bool:
        """Start what is due, wait a moment for some of it to end; False when there was nothing to start."""
        now = self._clock.monotonic()
        due = await self._store.answers_due(self._clock.now(), AT_ONCE + len(self._giving))
        fresh = [a for a in due if a.sender not in self._giving and self._paused.get(a.sender, now) <= now]
        for answer in fresh[: max(0, AT_ONCE - len(self._giving))]:
            task = asyncio.create_task(self._give(answer))
            self._giving[answer.sender] = task
            task.add_done_callback(lambda done, sender=answer.sender: self._gave(sender, done))  # type: ignore[misc]
        if self._giving:
            await asyncio.wait(self._giving.values(), timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
        return bool(fresh)

    async def stop(self) -> None:
        """Break off what is being given; it stays owed."""
        tasks = list(self._giving.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _gave(self, sender: str, task: asyncio.Task[None]) -> None:
        self._giving.pop(sender, None)
        self._paused.pop(sender, None)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._paused[sender] = self._clock.monotonic() + PAUSE_SECONDS
            log.error("callback_failed", sender=sender, error=type(fault).__name__)

    async def _give(self, answer: Answer) -> None:
        sender = self._senders.get(answer.sender)
        if sender is None or sender.callback is None:
            await self._commit(_ended(answer, "not_owed", self._clock.now()))
            return
        taken = await self._send(answer, sender.callback)
        now = self._clock.now()
        if taken:
            await self._commit(_ended(answer, "given", now))
        elif answer.tries + 1 >= self._retry.budget:
            log.error("callback_given_up", sender=answer.sender, answer=answer.id)
            await self._commit(_ended(answer, "not_owed", now))
        else:
            await self._commit(self._again(answer, now))

    async def _commit(self, step: Step) -> None:
        await self._store.commit(step)
        self._committed(step)

    def _again(self, answer: Answer, now: datetime) -> Step:
        ceiling = min(self._retry.ceiling, self._retry.first * self._retry.factor ** min(answer.tries, 64))
        next_at = now + timedelta(seconds=max(0.1, self._chance() * ceiling))
        again = msgspec.structs.replace(answer, tries=answer.tries + 1, next_at=next_at)
        return Step(name="answer_again", at=now, writes=(again,))

    async def _send(self, answer: Answer, callback: Callback) -> bool:
        """Whether the sender took it. An answer that cannot be understood is not taking it."""
        try:
            if answer.media_type == hl7.MEDIA_TYPE and callback.mllp_host:
                port, frame = callback.mllp_port, wrap(answer.body)
                reply = await self._network.mllp(callback.peer, callback.mllp_host, port, frame, SECONDS)
                return accepted(reply, answer.body)
            if not callback.url:
                log.error("callback_without_address", sender=answer.sender)
                return False
            headers = {
                "content-type": answer.media_type,
                "webhook-id": answer.id,
                SIGNATURE_HEADER: self._signer.sign(answer.body, self._clock.now()).jws,
            }
            got = await self._network.request(callback.peer, "POST", callback.url, headers, answer.body, SECONDS)
        except (NotSent, MaybeSent) as fault:
            log.warning("callback_not_taken", sender=answer.sender, answer=answer.id, code=str(fault))
            return False
        if not 200 <= got.status < 300:
            log.warning("callback_not_taken", sender=answer.sender, answer=answer.id, status=got.status)
        return 200 <= got.status < 300


def accepted(reply: bytes, sent: bytes) -> bool:
    """Whether a framed reply is a positive acknowledgement of exactly this message (MSA-1 AA or CA, MSA-2)."""
    blocks = [each.data for each in Decoder(MAX_REPLY).feed(reply) if isinstance(each, Block)]
    try:
        message = hl7v2.read(blocks[0]) if blocks else None
        own = hl7v2.header(sent).control_id
    except Refused:
        return False
    return message is not None and message.field("MSA", 1) in ("AA", "CA") and message.field("MSA", 2) == own


def _ended(answer: Answer, state: Literal["given", "not_owed"], now: datetime) -> Step:
    reason = GIVE_UP if state == "not_owed" else None
    move = Move(thing=Thing.ANSWER, id=answer.id, frm="owed", to=state, room=Room.RECEIVE, reason=reason)
    ended = msgspec.structs.replace(answer, state=state, tries=answer.tries + 1, next_at=None)
    event = AuditRecord(
        type="110106",  # DICOM: Export
        action="R",
        outcome="0" if state == "given" else "4",
        agent=answer.sender,
        entities=(f"submission/{answer.submission}", f"answer/{answer.id}"),
        at=now,
        detail={"codes": reason} if reason else {},
    )
    return Step(name="answer_later", at=now, moves=(move,), writes=(ended,), audit=(event,))


__all__ = ["Callbacks", "Later", "accepted", "for_outcome", "later"]
