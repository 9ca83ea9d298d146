"""Invented documents, exchanges and signers for the tests of delivery, and a ledger in memory that can be scripted."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from gateway import flow
from gateway.clock import SystemClock
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.lane import Tools
from gateway.errors import StaleState, StorageFailed
from gateway.flow import NEW, Room, Thing
from gateway.formats import json
from gateway.message import (
    Attempt,
    AuditRecord,
    Committed,
    Document,
    Evidence,
    Exchange,
    Move,
    Outcome,
    Receipt,
    Step,
)
from gateway.settings import Destination, Peer, Retry

AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
FACILITY, SYSTEM = "FACILITY-1", "SYSTEM-1"
QUICK = Retry(first=0.02, ceiling=0.1, budget=50, breaker_after=1000, breaker_seconds=0.2)


def evidence() -> Evidence:
    return Evidence(jws="e30..c2ln", algorithm="ES256", certificate_digest="0" * 64, signed_at=AT)


def document(id: str, body: bytes = b'{"resourceType":"Bundle"}', subject: str = "s-1", case: str = "c-1") -> Document:
    return Document(
        id=id,
        case=case,
        version=1,
        programme="p",
        subject=subject,
        made_at=AT,
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
        evidence=evidence(),
        submissions=(),
    )


def exchange(id: str, destination: str = "d", subject: str = "s-1", case: str = "c-1", **more: Any) -> Exchange:
    return Exchange(
        id=id,
        document=f"doc-{id}",
        destination=destination,
        programme="p",
        sender="hospital",
        subject=subject,
        case=case,
        state="due",
        **more,
    )


def routed(*exchanges: Exchange, body: bytes = b'{"resourceType":"Bundle"}', at: datetime = AT) -> Step:
    """What gather commits: documents and what they are owed to."""
    documents = [document(each.document, body, each.subject, each.case) for each in exchanges]
    return Step(
        name="route",
        at=at,
        moves=tuple(Move(thing=Thing.EXCHANGE, id=e.id, frm=NEW, to="due", room=Room.GATHER) for e in exchanges),
        writes=(*documents, *exchanges),
        audit=(AuditRecord(type="rest", action="C", outcome="0", agent="hospital", entities=("document/x",), at=at),),
    )


class Memory:
    """The delivery part of `ports.Store` in memory, with the same refusals; `failing` makes commits fail."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.exchanges: dict[str, Exchange] = {}
        self.tries: dict[str, dict[str, Attempt]] = defaultdict(dict)
        self.kept: dict[tuple[str, str, str], str] = {}
        self.steps: list[Step] = []
        self.failing: Callable[[Step], bool] = lambda step: False
        self.overtaken: Callable[[Step], bool] = lambda step: False
        self.watch: Callable[[Step], None] = lambda step: None

    async def commit(self, step: Step) -> Committed:
        await asyncio.sleep(0)
        if self.failing(step):
            raise StorageFailed
        if self.overtaken(step):
            raise StaleState(thing="exchange/x")
        for move in step.moves:
            flow.check(move.thing, move.frm, move.to, move.room)
        ends: dict[str, str] = {}
        for move in step.moves:
            now = ends.get(move.id) or (self.exchanges[move.id].state if move.frm != NEW else NEW)
            if now != move.frm:
                raise StaleState(thing=move.id)
            ends[move.id] = move.to
        for write in step.writes:
            self._write(write)
        assert step.audit, "no audit, no step"
        self.steps.append(step)
        self.watch(step)
        return Committed(feed=len(self.steps))

    def _write(self, write: Any) -> None:
        if isinstance(write, Document):
            self.documents[write.id] = write
        elif isinstance(write, Exchange):
            position = self.exchanges[write.id].position if write.id in self.exchanges else len(self.exchanges) + 1
            self.exchanges[write.id] = msgspec.structs.replace(write, position=position)
        elif isinstance(write, Attempt):
            self.tries[write.exchange][write.id] = write
        elif isinstance(write, Receipt):
            self.kept[write.destination, write.scope, write.name] = write.value

    def _heads(self, destination: str) -> list[Exchange]:
        heads: dict[tuple[str, str], Exchange] = {}
        for each in sorted(self.exchanges.values(), key=lambda e: e.position):
            if each.destination == destination and each.state not in flow.FINAL[Thing.EXCHANGE]:
                heads.setdefault((each.sender, each.subject), each)
        return [each for each in heads.values() if each.state == "due"]

    async def runnable(self, destination: str, now: datetime, limit: int) -> Sequence[Exchange]:
        return [e for e in self._heads(destination) if e.next_at is None or e.next_at <= now][:limit]

    async def next_due(self, destination: str) -> datetime | None:
        return min((e.next_at for e in self._heads(destination) if e.next_at is not None), default=None)

    async def in_state(self, destination: str, state: str, limit: int) -> Sequence[Exchange]:
        found = [e for e in self.exchanges.values() if e.destination == destination and e.state == state]
        return found[:limit]

    async def document(self, id: str) -> Document | None:
        return self.documents.get(id)

    async def exchange(self, id: str) -> Exchange | None:
        return self.exchanges.get(id)

    async def attempts(self, exchange: str) -> Sequence[Attempt]:
        return sorted(self.tries[exchange].values(), key=lambda each: each.number)

    async def receipts(self, destination: str, scopes: Sequence[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for scope in reversed(scopes):
            found |= {n: v for (d, s, n), v in self.kept.items() if d == destination and s == scope and v}
        return found

    async def waiting_under(self, destination: str, receipt: str, value: str) -> Exchange | None:
        for each in self.exchanges.values():
            under = self.kept.get((destination, each.case, receipt))
            if each.destination == destination and under == value and each.state in ("awaiting", "unknown"):
                return each
        return None

    def states(self) -> dict[str, str]:
        return {each.id: each.state for each in self.exchanges.values()}


@dataclass
class OpenGate:
    """A gate that a test opens and closes."""

    code: str | None = None

    async def closed(self, destination: str, now: datetime) -> str | None:
        return self.code


@dataclass
class Scripted:
    """A wire that answers from a script and notes what it was asked; `answers` by exchange, then `default`."""

    default: Outcome = field(default_factory=lambda: Outcome(state="delivered"))
    answers: dict[str, list[Outcome | Exception]] = field(default_factory=dict)
    reconciled: dict[str, list[Outcome | Exception | None]] = field(default_factory=dict)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    receipts_seen: list[Mapping[str, str]] = field(default_factory=list)
    subject_receipts: frozenset[str] = frozenset({"PatientUID"})
    unique_receipts: frozenset[str] = frozenset({"CompositionUID"})

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        self.receipts_seen.append(receipts)
        return f"{exchange.id}#{number}".encode(), exchange.id

    async def send(self, attempt: Attempt) -> Outcome:
        self.sent.append((attempt.exchange, attempt.request))
        await asyncio.sleep(self.seconds)
        script = self.answers.get(attempt.exchange)
        answer = script.pop(0) if script else self.default
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        script = self.reconciled.get(exchange.id)
        answer = script.pop(0) if script else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def order(self) -> list[str]:
        return [id for id, _ in self.sent]


def destination(id: str = "d", **more: Any) -> Destination:
    values: dict[str, Any] = {
        "protocol": "fhir-rest",
        "peer": "peer",
        "programme": "p",
        "retry": QUICK,
        "options": {"reconcile_seconds": "0"},
    }
    return Destination(id=id, **(values | more))


def tools(store: Any, **more: Any) -> Tools:
    values: dict[str, Any] = {
        "gate": OpenGate(),
        "clock": SystemClock(),
        "chance": lambda: 0.5,
        "sweep_seconds": 0.05,
        "tend_seconds": 0.05,
    }
    return Tools(store=store, **(values | more))


@contextlib.asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[Dispatcher]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        await dispatcher.stop(1.0)
        await asyncio.wait_for(task, 5)


async def until(condition: Callable[[], bool], seconds: float = 10.0, why: str = "") -> None:
    """Wait for a condition, or fail."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


# --- a signer, and a national message ----------------------------------------


class TestSigner:
    """A key and a certificate made for one test run, shaped like a token certificate: OU facility, T system."""

    __test__ = False

    def __init__(self, facility: str = FACILITY, system: str = SYSTEM, days: tuple[int, int] = (-1, 30)) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.ca_key = rsa.generate_private_key(65537, 2048)
        now = datetime.now(UTC)
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Throw-away test authority")])
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, facility),
                x509.NameAttribute(NameOID.TITLE, system),
                x509.NameAttribute(NameOID.COMMON_NAME, "Test Signer-One"),
            ]
        )
        span = (now + timedelta(days=days[0]), now + timedelta(days=days[1]))
        self.ca = _certificate(ca_name, ca_name, self.ca_key, self.ca_key, (now - timedelta(days=60), span[1]))
        self.certificate = _certificate(subject, ca_name, self.key, self.ca_key, span)

    @property
    def ca_pem(self) -> bytes:
        return self.ca.public_bytes(serialization.Encoding.PEM)

    def sign_bytes(self, body: bytes, at: datetime) -> Any:
        return SimpleNamespace(
            value=self.key.sign(body, padding.PKCS1v15(), hashes.SHA256()),
            method="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            certificate_der=self.certificate.public_bytes(serialization.Encoding.DER),
            subject_dn=self.certificate.subject.rfc4514_string(),
            thumbprint=self.certificate.fingerprint(hashes.SHA256()).hex(),
            timestamp=at,
        )

    def jws(self, body: bytes) -> str:
        """A detached JWS with x5c over exactly these bytes (RFC 7797)."""
        import base64

        def b64u(data: bytes) -> str:
            return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"alg": "RS256", "b64": False, "crit": ["b64"], "x5c": [base64.b64encode(der).decode()]}
        first = b64u(json.write(header))
        value = self.key.sign(first.encode() + b"." + body, padding.PKCS1v15(), hashes.SHA256())
        return f"{first}..{b64u(value)}"


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, by: Any, span: tuple[datetime, datetime]
) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(span[0]).not_valid_after(span[1])
    builder = builder.add_extension(x509.BasicConstraints(ca=key is by, path_length=None), critical=True)
    return builder.sign(by, hashes.SHA256())


VM = "http://thrita.behdasht.gov.ir/VM/"


def bill(document: Mapping[str, Any], target: str, values: Mapping[str, str]) -> bytes:
    """A minimal national message, as the mapping would make it; `document` chooses the record number."""
    record = str(document.get("record", "1001"))
    national = str(document.get("national", "0012345679"))
    return f"""<PatientBillMessageVO xmlns:v="{VM}">
  <v:Person><v:NationalCode>{national}</v:NationalCode><v:FirstName>بیمار</v:FirstName>
    <v:LastName>آزمایشی</v:LastName></v:Person>
  <v:MsgID><v:HealthCareFacilityID><v:Issuer>MOHME_IT</v:Issuer><v:Assigner>MOHME_IT</v:Assigner>
    <v:ID>{FACILITY}</v:ID><v:Type>Org_ID</v:Type></v:HealthCareFacilityID></v:MsgID>
  <v:Composition><v:Admission>
    <v:AdmissionDate><v:Year>1399</v:Year><v:Month>8</v:Month><v:Day>1</v:Day></v:AdmissionDate>
    <v:AdmissionType><v:Value>بستری</v:Value><v:Terminology_id>thritaEHR.admissionType</v:Terminology_id>
      <v:Coded_string>2</v:Coded_string></v:AdmissionType>
    <v:MedicalRecordNumber>{record}</v:MedicalRecordNumber></v:Admission></v:Composition>
</PatientBillMessageVO>""".encode()


def peer(url: str, **more: Any) -> Peer:
    origin = "/".join(url.split("/")[:3])
    return Peer(origin=origin, plaintext=origin.startswith("http:"), **more)


def fhir_message(id: str = "header-1", **more: Any) -> bytes:
    """A small message Bundle."""
    header = {
        "resourceType": "MessageHeader",
        "id": id,
        "eventUri": "urn:test:event",
        "source": {"endpoint": "urn:test:gateway"},
        "focus": [{"reference": "urn:uuid:request"}],
    }
    patient = {"resourceType": "Patient", "id": "p", "name": [{"text": "Test Patient-One"}]}
    request = {
        "resourceType": "ServiceRequest",
        "id": "r",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "urn:uuid:patient"},
    }
    entries = [("header", header), ("patient", patient), ("request", request)]
    bundle = {
        "resourceType": "Bundle",
        "type": "message",
        "entry": [{"fullUrl": f"urn:uuid:{name}", "resource": resource} for name, resource in entries],
        **more,
    }
    return json.write(bundle)
