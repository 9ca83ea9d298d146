"""Frozen values that travel between rooms.

Every value is immutable, picklable (workers are processes) and encodes to JSON without loss. FHIR resources
themselves are plain JSON documents (`Json`), read losslessly: decimals are `decimal.Decimal`.
Times are aware datetimes in UTC. Digests are lower-case hexadecimal SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from gateway.flow import Room, Thing
from gateway.value import Value, prepare

Json = dict[str, Any]
Severity = Literal["error", "warning", "information"]
Language = Literal["en", "fa", "it", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "fa", "it", "zh")


# --- what is wrong, and where ----------------------------------------


class Place(Value, frozen=True, kw_only=True):
    """A place in the sender's own format, written as the sender would write it.

    `path` by notation: `hl7v2` "PID-3[2].1" or "OBX[3]-5.1" (occurrence and repetition count from 1 and are
    left out when 1); `table` "sheet Visite row 7 column classe"; `xml` an XPath; `json` a JSON path "$.a.b[0]";
    `bytes` an offset; `fhirpath` an element of a FHIR input.
    """

    notation: Literal["hl7v2", "table", "xml", "json", "fhirpath", "bytes", "header"]
    path: str


class Finding(Value, frozen=True, kw_only=True):
    """One thing that is wrong or worth saying.

    `code` is permanent and listed in `gateway/codes/` (or in a programme's checks.yaml). `place` points into the
    sender's format, `location` is a FHIRPath into what we made of it. `args` fill the text; they may hold what
    the sender sent, so they are shown to the sender and never logged. `text` is only set where a programme
    brings its own words (language -> sentence); otherwise the catalogue has them.
    """

    code: str
    severity: Severity
    place: Place | None = None
    location: str | None = None
    args: Mapping[str, str] = msgspec.field(default_factory=dict)
    source: str | None = None  # the rule: "A-12", "R04", an invariant key, a standard's section
    text: Mapping[str, str] | None = None
    issue: str = "invalid"  # FHIR issue-type code
    mend: Mapping[str, str] | None = None


# --- submission ----------------------------------------


class Submission(Value, frozen=True, kw_only=True):
    """The exact bytes that a sender gave. `sequence` counts per sender and is assigned by the store."""

    id: str
    sender: str
    programme: str
    received_at: datetime
    channel: Literal["http", "mllp", "file"]
    media_type: str  # of the registered ones in gateway.formats.media
    body: bytes
    digest: str
    sequence: int = 0
    charset: str | None = None
    control_id: str | None = None  # MSH-10 or Idempotency-Key
    language: Language = "en"
    message_type: str | None = None  # "ADT^A03^ADT_A03" when known at the door


# --- item ----------------------------------------


class Lineage(Value, frozen=True, kw_only=True):
    """Which source places made one FHIR element. `element` is like "Patient/<id>#identifier[0].value"."""

    element: str
    places: tuple[Place, ...]
    how: Literal["mapped", "derived", "defaulted", "looked_up"] = "mapped"


class Loss(Value, frozen=True, kw_only=True):
    """One source place and what became of it. `unread` is what nobody read: it is listed, never hidden."""

    place: Place
    fate: Literal["ignored", "unread"]
    reason: str | None = None  # from the mapping, for `ignored`
    value: str | None = None  # what stood there, for `unread`: shown to the sender, never logged


class CaseRef(Value, frozen=True, kw_only=True):
    """The case that an item belongs to: a kind that the programme configures, and a keyed id."""

    kind: str
    id: str


class ItemResult(Value, frozen=True, kw_only=True):
    """What mapping made of one subject's part of a submission. `index` counts from 0 inside the submission."""

    index: int
    label: str  # how the sender would name it: "message 1", "row 7"; carries no identifying text
    subject: str | None = None  # keyed id; None where no subject could be established (then refused)
    case: CaseRef | None = None
    parts: tuple[str, ...] = ()  # which parts of the case this item brings ("admission", "bill")
    resources: tuple[Json, ...] = ()
    lineage: tuple[Lineage, ...] = ()
    loss: tuple[Loss, ...] = ()
    findings: tuple[Finding, ...] = ()
    mapping: str = ""  # file name of the mapping
    rules_digest: str = ""
    context_digest: str = ""

    @property
    def refused(self) -> bool:
        """Whether any finding is an error: then nothing of the item is gathered."""
        return any(f.severity == "error" for f in self.findings)


class Context(Value, frozen=True, kw_only=True):
    """Everything that pure rooms need from outside, frozen. The same context gives the same output.

    `registry` holds reference data by kind and key: a tuple of entries valid in time. `now` is the recorded
    clock. `sender` names the sending scope for keyed ids; `id_key` is the HMAC key for them (never logged).
    `overlays` are per-sender code translations: table name -> source code -> target code.
    """

    digest: str
    now: datetime
    sender: str
    programme: str
    id_key: bytes
    registry: Mapping[str, Mapping[str, tuple[RegistryEntry, ...]]] = msgspec.field(default_factory=dict)
    overlays: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    sender_options: Mapping[str, str] = msgspec.field(default_factory=dict)


class RegistryEntry(Value, frozen=True, kw_only=True):
    """One dated fact of the reference data. Dates are ISO days, inclusive; None is open."""

    kind: str  # organisation, practitioner, contract, structure, tariff, calendar …
    key: str
    programme: str
    valid_from: str | None = None
    valid_to: str | None = None
    data: Json = msgspec.field(default_factory=dict)


# --- case and document ----------------------------------------


class Case(Value, frozen=True, kw_only=True):
    """What belongs together. `version` counts completions; `parts` are the parts present."""

    id: str
    programme: str
    sender: str
    subject: str
    kind: str
    state: str
    opened_at: datetime
    version: int = 0
    parts: tuple[str, ...] = ()
    expires_at: datetime | None = None


class Evidence(Value, frozen=True, kw_only=True):
    """A detached JWS over a document's exact bytes (RFC 7515 appendix F)."""

    jws: str
    algorithm: str
    certificate_digest: str
    signed_at: datetime


class Document(Value, frozen=True, kw_only=True):
    """What a case version owes to the world. Never changes after it was made."""

    id: str
    case: str
    version: int
    programme: str
    subject: str
    made_at: datetime
    body: bytes
    digest: str
    evidence: Evidence
    submissions: tuple[str, ...]  # every contributing submission
    profile: str = ""


# --- exchange and attempt ----------------------------------------


class Exchange(Value, frozen=True, kw_only=True):
    """One document owed to one destination. `key` orders: (destination, sender, subject)."""

    id: str
    document: str
    destination: str
    programme: str
    sender: str
    subject: str
    case: str
    state: str
    position: int = 0  # feed number of its creation; order inside the key
    tries: int = 0
    next_at: datetime | None = None
    reason: str | None = None  # code of why it waits; never text from outside
    created_at: datetime | None = None


class Attempt(Value, frozen=True, kw_only=True):
    """One try. `request` is on disk before it leaves; `reply` is what came back, if anything did."""

    id: str
    exchange: str
    number: int
    started_at: datetime
    request: bytes
    request_digest: str
    transport_id: str | None = None  # MessageID, jti: what the peer could recognise
    ended_at: datetime | None = None
    outcome: str | None = None  # state that it led to
    status: int | None = None
    reply: bytes | None = None
    codes: tuple[str, ...] = ()


class Receipt(Value, frozen=True, kw_only=True):
    """What a destination gave us to keep: PatientUID, CompositionUID, a registration number.

    `scope` is the subject's or the case's keyed id, so that the next exchange of the same finds it.
    """

    destination: str
    scope: str
    name: str
    value: str
    exchange: str
    at: datetime


class Answer(Value, frozen=True, kw_only=True):
    """An answer owed to a sender: the first one, or a later one (application acknowledgement, callback)."""

    id: str
    submission: str
    sender: str
    kind: Literal["first", "application", "callback"]
    state: str
    body: bytes
    media_type: str
    created_at: datetime
    tries: int = 0
    next_at: datetime | None = None
    position: int = 0


# --- trust, and an operator's hand ----------------------------------------


class Conformity(Value, frozen=True, kw_only=True):
    """The exchange certificate (گواهی تبادل اطلاعات): an administrative record beside the credential (A-12)."""

    destination: str
    number: str
    system_id: str
    software_version: str
    valid_from: datetime
    valid_to: datetime
    issuer: str = ""


class Pause(Value, frozen=True, kw_only=True):
    """An operator stopped, or let go on, the delivery to a destination. Every one is kept; the last one counts."""

    destination: str
    paused: bool
    at: datetime


# --- one commit ----------------------------------------


class Move(Value, frozen=True, kw_only=True):
    """One state change. The store checks `flow.check` and that the thing really is in `frm`, or raises."""

    thing: Thing
    id: str
    frm: str
    to: str
    room: Room
    reason: str | None = None  # a code


class AuditRecord(Value, frozen=True, kw_only=True):
    """One audit event in the shape of FHIR AuditEvent, without identifying text.

    `type` and `subtype` are DICOM/RESTful codes; `entities` are ids of ours ("submission/…"); `agent` the
    sender, destination or operator name from settings.
    """

    type: str
    subtype: str = ""
    action: Literal["C", "R", "U", "D", "E"]
    outcome: Literal["0", "4", "8", "12"]
    agent: str
    entities: tuple[str, ...]
    at: datetime
    detail: Mapping[str, str] = msgspec.field(default_factory=dict)


class ItemRecord(Value, frozen=True, kw_only=True):
    """An item as it is kept."""

    id: str
    submission: str
    sender: str
    programme: str
    state: str
    result: ItemResult
    case: str | None = None


class StoredResource(Value, frozen=True, kw_only=True):
    """A FHIR resource version to keep. Every version is kept; `document` is the one that carried it."""

    type: str
    id: str
    programme: str
    sender: str
    body: bytes
    document: str | None = None
    deleted: bool = False


Write = (
    Submission
    | ItemRecord
    | Case
    | Document
    | Exchange
    | Attempt
    | Receipt
    | Answer
    | Conformity
    | Pause
    | RegistryEntry
    | StoredResource
)


class Step(Value, frozen=True, kw_only=True):
    """One commit: all of it or none of it. Writes of things that exist replace their mutable columns only."""

    name: str
    at: datetime
    moves: tuple[Move, ...] = ()
    writes: tuple[Write, ...] = ()
    audit: tuple[AuditRecord, ...] = ()
    latest: tuple[str, str, str | None] | None = None  # sender, control id, its newest submission: else `StaleState`


class Committed(Value, frozen=True, kw_only=True):
    """What the store says after the sync: the feed number, and the sender sequence where one was assigned."""

    feed: int
    sequence: int = 0


# --- what a destination answered ----------------------------------------


class Outcome(Value, frozen=True, kw_only=True):
    """A destination's answer, judged. `state` is the exchange state it leads to.

    `due` means that the destination surely did not take it and a later try may succeed (after `retry_after`
    seconds when given); `unknown` means that it may have. `receipts` maps names to values.
    """

    state: Literal["delivered", "awaiting", "rejected", "parked", "due", "unknown"]
    codes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    receipts: Mapping[str, str] = msgspec.field(default_factory=dict)
    forget: tuple[str, ...] = ()  # names of receipts that the destination no longer honours
    retry_after: float | None = None
    status: int | None = None  # of the transport, where it has one
    reply: bytes | None = None  # what came back, kept with the attempt


prepare(ItemResult, AuditRecord, RegistryEntry, Conformity)
