"""The small interfaces that rooms are given. `app.py` decides what stands behind each.

A room never constructs what it can be given: store, clock, network, keys and the rule sets enter here, so that a
test can hand in a scripted one and a tester's stand-in looks the same as the world.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from gateway.formats.views import Answered, KeptFinding, Statement
from gateway.kept import (
    JOURNAL_LINES,
    STATUS_ITEMS,
    JournalEntry,
    KeptAudit,
    KeptResource,
    Parked,
    Queue,
    SubmissionStatus,
)
from gateway.message import (
    Answer,
    Attempt,
    Case,
    Committed,
    Conformity,
    Context,
    Document,
    Evidence,
    Exchange,
    Finding,
    ItemRecord,
    ItemResult,
    Json,
    Outcome,
    RegistryEntry,
    Step,
    Submission,
)


class Store(Protocol):
    """The ledger: the only truth. `commit` returns after the bytes are synced."""

    async def commit(self, step: Step) -> Committed:
        """Write the step in one transaction; raise `StaleState` if a thing was not in the expected state."""
        ...

    async def submission(self, id: str) -> Submission | None: ...
    async def submission_status(self, id: str, first: int = 0, limit: int = STATUS_ITEMS) -> SubmissionStatus | None:
        """As its sender sees it; of its items so many, from number `first` on."""
        ...

    async def earlier(self, sender: str, control_id: str) -> Sequence[Submission]:
        """Submissions of the sender under the control id, newest first, at most 10, bodies left out."""
        ...

    async def first_answer(self, submission: str) -> Answer | None: ...

    async def received(self, limit: int) -> Sequence[Submission]:
        """Submissions still to be taken apart, oldest first."""
        ...

    async def gatherable(self, limit: int) -> Sequence[ItemRecord]:
        """Heads of valid items, each sender's in sequence, none behind a submission that is still `received`."""
        ...

    async def case(self, id: str) -> Case | None: ...
    async def case_items(self, case: str) -> Sequence[ItemRecord]:
        """The gathered items of a case in the order of gathering, without lineage, loss and findings."""
        ...

    async def undocumented(self, limit: int) -> Sequence[Case]:
        """Complete cases whose current version has no document yet."""
        ...

    async def expiring(self, before: datetime, limit: int) -> Sequence[Case]:
        """Open or reopened cases whose time limit has passed."""
        ...

    async def document(self, id: str) -> Document | None: ...
    async def exchange(self, id: str) -> Exchange | None: ...
    async def exchanges_of_case(self, case: str) -> Sequence[Exchange]: ...
    async def runnable(self, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
        """Heads of keys that are `due` and whose time has come, oldest first."""
        ...

    async def woken(self, ids: Sequence[str], now: datetime) -> Sequence[Exchange]:
        """The runnable heads of the keys to which these exchanges belong, finished or not."""
        ...

    async def in_state(self, destination: str, state: str, limit: int) -> Sequence[Exchange]: ...
    async def next_due(self, destination: str) -> datetime | None:
        """When the earliest waiting head becomes runnable, if one has a time."""
        ...

    async def attempts(self, exchange: str) -> Sequence[Attempt]: ...
    async def receipts(self, destination: str, scopes: Sequence[str]) -> Mapping[str, str]:
        """Live receipts by name; where two scopes have the same name, the first scope wins."""
        ...

    async def answers_due(self, now: datetime, limit: int) -> Sequence[Answer]:
        """Later answers still owed: per sender in order, only the head of each sender."""
        ...

    async def registry(self, programme: str) -> Sequence[RegistryEntry]: ...
    async def conformity(self, destination: str) -> Conformity | None: ...
    async def paused(self) -> frozenset[str]:
        """Destinations that an operator has paused."""
        ...

    async def queues(self) -> Sequence[Queue]:
        """Open exchanges by destination, programme and state. Costs as much as there is waiting."""
        ...

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        """Submissions, items and cases that are parked, longest first. Exchanges: `exchanges("parked")`."""
        ...

    async def journal(
        self, submission: str, after: tuple[int, int] = (0, -1), limit: int = JOURNAL_LINES
    ) -> Sequence[JournalEntry]:
        """State changes of the submission, its items, cases, exchanges and answers: so many after (feed, place)."""
        ...

    async def counts(self) -> Mapping[str, Mapping[str, tuple[int, datetime | None]]]:
        """thing -> state -> (how many, since when the oldest), for every waiting state and the final ones."""
        ...

    async def recover(self) -> Sequence[str]:
        """After a crash: apply `flow.AFTER_CRASH`, journalled; returns the ids that became unknown."""
        ...

    async def items(self, submission: str, first: int = 0, limit: int | None = None) -> Sequence[ItemRecord]: ...
    async def items_so_far(self, submission: str) -> int:
        """How many items of the submission are kept: a large table is itemised in several commits."""
        ...

    async def answers(self, submission: str) -> Sequence[Answer]: ...
    async def documents(self, case: str) -> Sequence[Document]: ...
    async def waiting_under(self, destination: str, receipt: str, value: str) -> Exchange | None:
        """The awaiting or unknown exchange of a destination whose case holds a receipt of that name and value."""
        ...

    async def find_exchange_by_document(self, document: str, destination: str) -> Exchange | None: ...
    async def exchanges(
        self,
        state: str | None = None,
        destination: str | None = None,
        programme: str | None = None,
        limit: int = 100,
        after: int = 0,
        reason: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[Exchange]:
        """For operators: oldest first; `after` is the last position seen, `since` and `until` bound the creation."""
        ...

    async def remember(self, kind: str, value: str, expires: datetime) -> bool:
        """False if the value was seen before and has not expired; durable when this returns (token ids)."""
        ...

    async def resource(self, type: str, id: str) -> KeptResource | None:
        """The newest version, which may say that it is deleted."""
        ...

    async def resource_version(self, type: str, id: str, version: int) -> KeptResource | None: ...
    async def resource_history(self, type: str, id: str, limit: int = 100) -> Sequence[KeptResource]:
        """Versions, newest first."""
        ...

    async def changes(self, since_feed: int, limit: int) -> Sequence[KeptResource]:
        """Resource versions with a greater feed number, in feed order; one feed number is never torn apart."""
        ...

    async def forget(self, programme: str, before: datetime, limit: int = 200, state: str | None = None) -> int:
        """Retention: drop the bytes of submissions that ended (in `state`) before that time. Repeat until 0."""
        ...

    async def forget_metadata(self, programme: str, before: datetime, limit: int = 200) -> int:
        """Retention: drop journal lines and attempts of submissions whose bytes are gone. Repeat until 0."""
        ...

    async def leads(self, duty: str) -> bool:
        """Whether this process has a duty that only one has at a time; free again when its connection ends."""
        ...

    async def share(self, name: str, parts: int) -> frozenset[int]:
        """This process's fair share of so many parts of the work. No part is in two shares at a time."""
        ...

    async def trouble(self) -> str | None:
        """None while commits become durable, else the code of why they do not."""
        ...

    async def tidy(self, pages: int = 1000) -> int:
        """Give disk space back after `forget`, a little at a time; how many pages are still free."""
        ...

    async def feed(self) -> int:
        """The last feed number given."""
        ...

    async def audit_events(self, since_feed: int = 0, limit: int = 100) -> Sequence[KeptAudit]: ...
    async def audit_event(self, id: str) -> KeptAudit | None: ...
    async def audit_chain_intact(self) -> bool:
        """Whether every audit event is there as it was written. Reads all of them."""
        ...


class MeasureStore(Protocol):
    """What room measure asks of the ledger: statements over views, findings, marks."""

    async def check(self, statement: Statement, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """The columns of its result; `Misconfigured` GW-MEASURE-003 for what is no reading SELECT over the views."""
        ...

    async def answer(self, statement: Statement, parameters: Mapping[str, Any]) -> Answered:
        """Run it on one snapshot. Raises `GatewayError` GW-MEASURE-006 where it fails, takes or answers too much."""
        ...

    async def keep_findings(
        self, programme: str, measure: str, window: tuple[int, int], found: Sequence[KeptFinding], day: int
    ) -> Sequence[KeptFinding]:
        """Keep what was found; what the window held and is not found any more is cleared. Those that are new."""
        ...

    async def findings(
        self, programme: str, measure: str = "", window: tuple[int, int] | None = None, limit: int = 10_000
    ) -> Sequence[KeptFinding]:
        """Kept findings that were not cleared, by due day; of those found from the window's first to its last day."""
        ...

    async def finding_counts(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """(programme, measure) -> how many findings are open, and the due day of the oldest."""
        ...

    async def view_faults(self) -> Mapping[str, int]:
        """View table -> how many resources it can make no rows of."""
        ...

    async def mark(self, programme: str, name: str) -> int | None:
        """The last day that was looked at under this name."""
        ...

    async def set_mark(self, programme: str, name: str, day: int) -> None:
        """Remember it; a mark never goes back."""
        ...


class Mapper(Protocol):
    """Room map: pure. Same submission and context, same result."""

    digest: str

    def take_apart(self, submission: Submission, context: Context) -> tuple[ItemResult, ...]:
        """One result per subject. Input that cannot be read at all is one refused result with findings."""
        ...

    def one_by_one(self, submission: Submission, context: Context) -> Iterator[Callable[[], ItemResult]]:
        """The same results in the same order, each made when it is called: for tables that fill the memory."""
        ...

    def render(self, document: Json, target: str, values: Mapping[str, str]) -> bytes:
        """A national message from a document; `target` names a file under mappings/<programme>/out/."""
        ...

    def rows(self, document: Json, target: str, values: Mapping[str, str]) -> Sequence[Mapping[str, object]]:
        """What a document puts into a flat file, row by row."""
        ...

    def table(self, rows: Sequence[Mapping[str, object]], target: str, day: str) -> bytes:
        """The flat file of rows, also of several documents, as its layout is on the day (ISO)."""
        ...


class Validator(Protocol):
    """Room validate: pure."""

    digest: str

    def findings(self, result: ItemResult, context: Context) -> tuple[Finding, ...]:
        """Everything wrong with the item's resources, each with its place in the sender's format if known."""
        ...


class EvidenceSigner(Protocol):
    """Signs documents. The private key is behind it and never comes out."""

    def sign(self, body: bytes, at: datetime) -> Evidence: ...


class SignatureValue(Protocol):
    """What a raw signature consists of; destinations place the parts where they want them."""

    @property
    def value(self) -> bytes: ...
    @property
    def method(self) -> str: ...
    @property
    def certificate_der(self) -> bytes: ...
    @property
    def subject_dn(self) -> str: ...
    @property
    def thumbprint(self) -> str: ...
    @property
    def timestamp(self) -> datetime: ...


class Signer(Protocol):
    """Signs a destination's bytes with the key configured for it."""

    def sign_bytes(self, body: bytes, at: datetime) -> SignatureValue: ...


class Broker(Protocol):
    """What carries exchange numbers between processes. It may lose everything: the ledger knows better.

    Whatever goes wrong is `BrokerAway`; the next call tries again.
    """

    @property
    def connected(self) -> bool: ...
    async def wake(self, shard: int, exchange: str) -> None: ...
    async def next(self, limit: int, seconds: float) -> Sequence[str]:
        """Exchange numbers that were given to this process and to no other; after `seconds` perhaps none."""
        ...

    async def aclose(self) -> None: ...


class BrokerAway(Exception):
    """The broker cannot be reached, or has lost what it was told."""


class RequestSigner(Protocol):
    """Secures a whole request for a destination: tokens and digests as headers, or a signed or sealed body."""

    def secure(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        at: datetime,
        facts: Mapping[str, str] | None = None,
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers to add or replace, and the body that has to leave, byte for byte.

        `facts` is what tokens have to say of the document at hand, by the names of their claims.
        """
        ...


class ClientCredentials(Protocol):
    """What an authorisation server is told so that it gives a token for a destination (RFC 6749 section 4.4)."""

    @property
    def url(self) -> str:
        """The token endpoint."""
        ...

    @property
    def peer(self) -> str:
        """The TLS peer entry under which it is asked."""
        ...

    def form(self, at: datetime) -> Mapping[str, str]:
        """The fields of one request; an assertion in it is made anew each time."""
        ...


class Gate(Protocol):
    """The exchange certificate gate: may anything leave for this destination now?"""

    async def closed(self, destination: str, now: datetime) -> str | None:
        """None when open, else the permanent code of the reason."""
        ...


class Reply(Protocol):
    """What came back over the network."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


class NotSent(Exception):
    """The connection failed before the first byte of the request left: safe to try again."""


class MaybeSent(Exception):
    """It broke after bytes had left: nobody knows whether it arrived."""


class Network(Protocol):
    """The only way out. Raises `NotSent` or `MaybeSent`, nothing else."""

    async def request(
        self, peer: str, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Reply: ...

    async def mllp(self, peer: str, host: str, port: int, frame: bytes, timeout: float) -> bytes:
        """Send one framed message and return the framed answer."""
        ...

    async def put_files(
        self, peer: str, folder: str, files: Sequence[tuple[str, bytes]], ending: str, timeout: float
    ) -> None:
        """Let files (name, bytes) appear in a remote folder in this order, each whole or not at all."""
        ...

    async def get_file(self, peer: str, url: str, limit: int, timeout: float) -> bytes | None:
        """The first `limit` bytes of a remote file, None where there is none."""
        ...


class Heard(NamedTuple):
    """What a destination told us of its own accord: about whom (a receipt's name and value), what it leads to.

    `status`, `media_type` and `body` are the protocol's way to say that it was taken; `unknown` is its body where
    nothing waits for it.
    """

    receipt: str
    value: str
    outcome: Outcome
    status: int
    media_type: str
    body: bytes
    unknown: bytes = b""


class Told(NamedTuple):
    """What is answered to one who told us something."""

    status: int
    media_type: str
    body: bytes


@runtime_checkable
class Hearing(Protocol):
    """A wire whose destination may tell us the outcome later, at an address of ours."""

    def hear(self, headers: Mapping[str, str], body: bytes) -> Heard:
        """Read what was told; pure. `Refused` where it cannot be read."""
        ...


class Wire(Protocol):
    """One wire protocol towards destinations; one file each in deliver/.

    `subject_receipts` names the receipts that belong to the subject; the others belong to the case.
    `unique_receipts` names those that no two cases share: an answer that repeats one is about another message.
    """

    subject_receipts: frozenset[str]
    unique_receipts: frozenset[str]

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The bytes of this attempt, and the id by which the peer could recognise them."""
        ...

    async def send(self, attempt: Attempt) -> Outcome:
        """Put the attempt's bytes on the wire and judge the answer."""
        ...

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """Ask what became of it; None where the destination cannot be asked."""
        ...


Settled = Callable[[str, float], Awaitable[SubmissionStatus | None]]
"""Wait until a submission's findings are ready, at most so many seconds; None when the time is up."""
