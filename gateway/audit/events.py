"""One function per step that is visible from outside; each makes the audit event that goes into its commit.

An event says who, what, when, with what outcome, by ids and codes of ours. Every field is checked against a shape
that free text does not fit: a name or a diagnosis cannot get in by accident (promise 10). IHE ATNA (ITI TF-2 3.20)
asks for an event per import, export, query, login failure and use of the trail itself.

`at` is always the time of the step. `code` and `codes` are permanent codes of the error table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from gateway.audit import codes
from gateway.errors import Broken
from gateway.message import AuditRecord

Action = Literal["C", "R", "U", "D", "E"]
Outcome = Literal["0", "4", "8", "12"]

DONE: Final[Outcome] = "0"
MINOR: Final[Outcome] = "4"
"""The other side was at fault, or it may be tried again."""
SERIOUS: Final[Outcome] = "8"
"""It needs a person."""

NOT_A_CODE: Final = "not-a-code"

_ENTITY: Final = re.compile(r"[A-Za-z][A-Za-z-]{0,63}/[A-Za-z0-9._:~-]{1,200}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._:/+@-]{0,200}")
_AGENT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,120}")  # a name from the settings, in whatever script
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]{0,300}")
_MOST: Final = 200  # codes in one event; the findings themselves are kept with the item


def _token(field: str, value: str, shape: re.Pattern[str]) -> str:
    if not shape.fullmatch(value):
        raise Broken("GW-AUDIT-001", field=field)
    return value


def _event(
    kind: tuple[str, str],
    action: Action,
    outcome: Outcome,
    agent: str,
    entities: Sequence[str],
    at: datetime,
    detail: Mapping[str, str] | None = None,
) -> AuditRecord:
    type, subtype = (codes.coding(code).code for code in kind)
    return AuditRecord(
        type=type,
        subtype=subtype,
        action=action,
        outcome=outcome,
        agent=_token("agent", agent, _AGENT),
        entities=tuple(_token("entity", each, _ENTITY) for each in entities),
        at=at,
        detail={key: _token(key, value, _TOKEN) for key, value in (detail or {}).items() if value},
    )


def _joined(found: Sequence[str]) -> dict[str, str]:
    """Codes as numbered details. What a destination calls a code may be a sentence: then it is left out."""
    plain = [code if _TOKEN.fullmatch(code) else NOT_A_CODE for code in found[:_MOST]]
    return {f"code{n}": code for n, code in enumerate(dict.fromkeys(plain), start=1)}


# --- in ----------------------------------------


def submission_accepted(
    submission: str, sender: str, programme: str, channel: str, digest: str, at: datetime
) -> AuditRecord:
    """The bytes were taken; the digest says which."""
    detail = {"programme": programme, "channel": channel, "sha256": digest}
    return _event((codes.IMPORT, "receive"), "C", DONE, sender, [f"submission/{submission}"], at, detail)


def submission_refused(
    submission: str, sender: str, programme: str, channel: str, found: Sequence[str], at: datetime
) -> AuditRecord:
    """The bytes were refused (and are kept as refused), with the codes."""
    detail = {"programme": programme, "channel": channel, **_joined(found)}
    return _event((codes.IMPORT, "receive"), "C", MINOR, sender, [f"submission/{submission}"], at, detail)


def caller_refused(agent: str, channel: str, code: str, at: datetime) -> AuditRecord:
    """Somebody could not prove who he is, or may not do what he asked. `agent` is a fingerprint or an address."""
    detail = {"channel": channel, "code": code}
    agent = _token("agent", agent, _TOKEN)
    return _event((codes.USER_AUTHENTICATION, codes.LOGIN), "E", MINOR, agent, [], at, detail)


def item_refused(item: str, submission: str, sender: str, found: Sequence[str], at: datetime) -> AuditRecord:
    """Mapping or validation refused one item."""
    entities = [f"item/{item}", f"submission/{submission}"]
    return _event((codes.PATIENT_RECORD, "verify"), "E", MINOR, sender, entities, at, _joined(found))


def item_parked(item: str, submission: str, sender: str, code: str, at: datetime) -> AuditRecord:
    """We could not go on with an item: ours to look at."""
    entities = [f"item/{item}", f"submission/{submission}"]
    return _event((codes.PATIENT_RECORD, "hold"), "E", SERIOUS, sender, entities, at, {"code": code})


def answer_given(answer: str, submission: str, sender: str, kind: str, at: datetime) -> AuditRecord:
    """The sender was told: first acknowledgement, application acknowledgement or callback."""
    entities = [f"answer/{answer}", f"submission/{submission}"]
    return _event((codes.EXPORT, "report"), "R", DONE, sender, entities, at, {"kind": kind})


# --- through ----------------------------------------


def submission_examined(submission: str, sender: str, items: int, refused: int, at: datetime) -> AuditRecord:
    """A submission was taken apart, mapped and validated: how many items, how many of them refused."""
    detail = {"items": str(items), "refused": str(refused)}
    outcome = MINOR if refused else DONE
    return _event((codes.PATIENT_RECORD, "transform"), "E", outcome, sender, [f"submission/{submission}"], at, detail)


def submission_parked(submission: str, sender: str, reference: str, at: datetime) -> AuditRecord:
    """A defect of ours met the submission; the log has the reference."""
    detail = {"reference": reference}
    return _event((codes.PATIENT_RECORD, "hold"), "E", SERIOUS, sender, [f"submission/{submission}"], at, detail)


def case_changed(case: str, item: str, sender: str, state: str, at: datetime) -> AuditRecord:
    """An item joined its case, and the case is now in that state."""
    entities = [f"case/{case}", f"item/{item}"]
    return _event((codes.PATIENT_RECORD, "transform"), "U", DONE, sender, entities, at, {"state": state})


def case_completed(case: str, sender: str, at: datetime) -> AuditRecord:
    """The time limit completed the case, as its plan says."""
    return _event((codes.PATIENT_RECORD, "transform"), "U", DONE, sender, [f"case/{case}"], at)


def case_parked(case: str, sender: str, reference: str, at: datetime) -> AuditRecord:
    """The document of a complete case could not be made by a fault of ours."""
    detail = {"reference": reference}
    return _event((codes.PATIENT_RECORD, "hold"), "E", SERIOUS, sender, [f"case/{case}"], at, detail)


def case_expired(case: str, sender: str, at: datetime) -> AuditRecord:
    """The time limit passed with parts missing."""
    return _event((codes.PATIENT_RECORD, "hold"), "E", MINOR, sender, [f"case/{case}"], at)


def document_signed(
    document: str, case: str, sender: str, digest: str, certificate: str, submissions: Sequence[str], at: datetime
) -> AuditRecord:
    """Evidence was made over exactly the bytes of that digest."""
    entities = [f"document/{document}", f"case/{case}", *(f"submission/{each}" for each in submissions[:_MOST])]
    detail = {"sha256": digest, "certificate": certificate}
    return _event((codes.PATIENT_RECORD, "attest"), "C", DONE, sender, entities, at, detail)


# --- out ----------------------------------------


def _exchange(
    subtype: str,
    action: Action,
    outcome: Outcome,
    exchange: str,
    document: str,
    destination: str,
    at: datetime,
    detail: Mapping[str, str],
) -> AuditRecord:
    entities = [f"exchange/{exchange}", f"document/{document}"]
    return _event((codes.EXPORT, subtype), action, outcome, destination, entities, at, detail)


def exchange_owed(exchange: str, document: str, destination: str, at: datetime) -> AuditRecord:
    """A document is owed to a destination from now on."""
    return _exchange("hold", "C", DONE, exchange, document, destination, at, {})


def exchange_sent(
    exchange: str, document: str, destination: str, attempt: str, digest: str, at: datetime
) -> AuditRecord:
    """The attempt's bytes are about to leave: committed before they do."""
    detail = {"attempt": attempt, "sha256": digest}
    return _exchange("transmit", "R", DONE, exchange, document, destination, at, detail)


def exchange_delivered(exchange: str, document: str, destination: str, attempt: str, at: datetime) -> AuditRecord:
    """The destination said that it has it."""
    return _exchange("disclose", "R", DONE, exchange, document, destination, at, {"attempt": attempt})


def exchange_rejected(
    exchange: str, document: str, destination: str, found: Sequence[str], at: datetime
) -> AuditRecord:
    """The destination will not have it, with its reasons as codes."""
    return _exchange("disclose", "R", MINOR, exchange, document, destination, at, _joined(found))


def exchange_unknown(exchange: str, document: str, destination: str, attempt: str, at: datetime) -> AuditRecord:
    """It may have arrived."""
    return _exchange("transmit", "R", SERIOUS, exchange, document, destination, at, {"attempt": attempt})


def exchange_failed(
    exchange: str, document: str, destination: str, attempt: str, code: str, at: datetime
) -> AuditRecord:
    """It surely did not arrive and will be tried again."""
    detail = {"attempt": attempt, "code": code}
    return _exchange("transmit", "R", MINOR, exchange, document, destination, at, detail)


def exchange_held(exchange: str, document: str, destination: str, code: str, at: datetime) -> AuditRecord:
    """It waits: certificate gate, quiet hours, pause."""
    return _exchange("hold", "E", MINOR, exchange, document, destination, at, {"code": code})


def exchange_parked(exchange: str, document: str, destination: str, code: str, at: datetime) -> AuditRecord:
    """It waits for a person."""
    return _exchange("hold", "E", SERIOUS, exchange, document, destination, at, {"code": code})


def exchange_released(exchange: str, document: str, destination: str, at: datetime) -> AuditRecord:
    """What held it has gone."""
    return _exchange("unhold", "E", DONE, exchange, document, destination, at, {})


def exchange_superseded(exchange: str, document: str, destination: str, by: str, at: datetime) -> AuditRecord:
    """A newer document overtook it before it left."""
    return _exchange("deprecate", "U", DONE, exchange, document, destination, at, {"by": by})


# --- asked of us ----------------------------------------


def resource_read(type: str, id: str, reader: str, at: datetime, version: int = 0) -> AuditRecord:
    """One resource, or one version of it, was given to a reader."""
    interaction = "vread" if version else "read"
    detail = {"version": str(version)} if version else {}
    return _event((codes.REST, interaction), "R", DONE, reader, [f"{type}/{id}"], at, detail)


def resources_listed(
    interaction: Literal["search-type", "search-system", "history-instance", "history-type", "history-system"],
    type: str,
    reader: str,
    count: int,
    query_digest: str,
    at: datetime,
) -> AuditRecord:
    """A search or a history: how many, and a digest of what was asked (the parameters may identify somebody)."""
    detail = {"type": type, "count": str(count), "query": query_digest}
    return _event((codes.REST, interaction), "E", DONE, reader, [], at, detail)


def reading_refused(type: str, id: str, reader: str, code: str, at: datetime) -> AuditRecord:
    """A reader asked for what is not his."""
    return _event((codes.REST, "read"), "R", MINOR, reader, [f"{type}/{id}"], at, {"code": code})


def subscription_changed(subscription: str, repository: str, act: str, at: datetime) -> AuditRecord:
    """A repository created, changed or deleted a subscription, or it became active, parked or ended."""
    action: Action = {"create": "C", "delete": "D"}.get(act, "U")  # type: ignore[assignment]
    outcome = SERIOUS if act == "error" else DONE
    interaction = act if act in ("create", "delete") else "update"
    kind = (codes.REST, interaction)
    return _event(kind, action, outcome, repository, [f"Subscription/{subscription}"], at, {"act": act})


def notification_sent(subscription: str, repository: str, first: int, last: int, at: datetime) -> AuditRecord:
    """Events of a subscription are about to leave: committed before they do."""
    detail = {"first": str(first), "last": str(last)}
    return _event((codes.EXPORT, "transmit"), "R", DONE, repository, [f"Subscription/{subscription}"], at, detail)


def audit_read(reader: str, count: int, at: datetime) -> AuditRecord:
    """Somebody read this trail."""
    return _event((codes.AUDIT_LOG_USED, "access"), "R", DONE, reader, [], at, {"count": str(count)})


# --- by people, and about ourselves ----------------------------------------


def operator_acted(
    operator: str, act: str, entities: Sequence[str], at: datetime, reason: str = "", outcome: Outcome = DONE
) -> AuditRecord:
    """Retry, release, supersede, pause, resume, replay.

    `reason` is the operator's own sentence, one line of at most 300 characters: the only free text of the trail,
    because why a person stepped in cannot be a code. Whoever asks for it says that it names nobody.
    """
    kind = (codes.SECURITY_ALERT, codes.RESTRICTED_FUNCTION)
    event = _event(kind, "E", outcome, operator, entities, at, {"act": act})
    if not reason:
        return event
    return msgspec.structs.replace(event, detail={"act": act, "reason": _token("reason", reason, _LINE)})


def registry_imported(operator: str, programme: str, kind: str, count: int, digest: str, at: datetime) -> AuditRecord:
    """Reference data came in: how many entries, from a file of that digest."""
    detail = {"programme": programme, "kind": kind, "count": str(count), "sha256": digest}
    return _event((codes.IMPORT, "receive"), "C", DONE, operator, [f"registry/{programme}"], at, detail)


def conformity_recorded(operator: str, destination: str, at: datetime) -> AuditRecord:
    """An exchange certificate was entered for a destination."""
    kind = (codes.SECURITY_ALERT, codes.SECURITY_CONFIGURATION)
    return _event(kind, "U", DONE, operator, [f"destination/{destination}"], at)


def gateway_started(agent: str, version: str, rules: str, at: datetime) -> AuditRecord:
    """The application began, with the digest of the rules that it loaded."""
    detail = {"version": version, "rules": rules}
    return _event((codes.APPLICATION, codes.START), "E", DONE, agent, [], at, detail)


def gateway_stopped(agent: str, at: datetime) -> AuditRecord:
    """The application ended in order."""
    return _event((codes.APPLICATION, codes.STOP), "E", DONE, agent, [], at)
