"""Readiness for the exchange certificate: a sender's test messages against a stand-in, judged by a list that is data.

`mappings/<programme>/conformance.toml` names the required messages: the kind of case, what tells it (FHIRPath on the
document), the outgoing mapping, the stand-in that takes it, and the elements that may not be missing. The report says
what was tried and what came back from the stand-in of this gateway; it is no certificate, and it says so.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from lxml import etree

from gateway import fhirpath, workers
from gateway.deliver import wires
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json, xml
from gateway.gather import cases, documents
from gateway.message import Attempt, Case, Document, Evidence, Exchange, Finding, ItemRecord, Json, Outcome, Submission
from gateway.network import Outbound
from gateway.programme import Programme
from gateway.settings import Destination, Key, Part, Peer
from gateway.sign.keyring import KeyRing, signer_for
from gateway.sign.requests import request_signer_for
from gateway.simulate.server import Running
from gateway.simulate.standins import STAND_INS


class Words(Part, frozen=True, kw_only=True):
    """A title for people."""

    en: str
    fa: str


class Required(Part, frozen=True, kw_only=True):
    """One message that a sender has to be able to send. Mandatory: paths by name, `A|B` where one is enough."""

    type: str
    title: Words
    kind: str
    stand_in: str
    body: str
    when: str = ""
    optional: bool = False  # a sender that does not send it may be ready all the same
    protocol: str = ""
    mandatory: tuple[str, ...] = ()
    options: Mapping[str, str] = msgspec.field(default_factory=dict)


class Conformance(Part, frozen=True, kw_only=True):
    """The whole list. `disclaimer` stands in every report."""

    title: Words
    disclaimer: Words
    message: tuple[Required, ...]


class Input(NamedTuple):
    """One of the sender's files, and what became of its items."""

    name: str
    digest: str
    items: int
    refused: int
    findings: tuple[Finding, ...]


class Tried(NamedTuple):
    """One document that is such a message: what it lacks, and what the stand-in said."""

    inputs: tuple[str, ...]
    missing: tuple[str, ...]
    state: str
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]


class Judged(NamedTuple):
    """One required message. Status: conforms, fails, or not_sent where no input makes one."""

    required: Required
    status: str
    tried: tuple[Tried, ...]


def load(home: Path, programme: str) -> Conformance:
    """The list of a programme, or `Misconfigured`."""
    path = home / "mappings" / programme / "conformance.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Conformance)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(detail=f"{path}: {error}") from None


# --- from files to documents ----------------------------------------


class Made(NamedTuple):
    """One document and the files that it came of."""

    case: Case
    body: bytes
    inputs: tuple[str, ...]


class Bench:
    """Takes a sender's files all the way to documents, without a ledger."""

    def __init__(self, rules: workers.Rules, programme: Programme, at: datetime) -> None:
        self._rules, self._programme, self._at = rules, programme, at
        self._cases: dict[str, Case] = {}
        self._items: dict[str, list[tuple[str, ItemRecord]]] = {}
        self.inputs: list[Input] = []

    def take(self, name: str, submission: Submission, context: Any) -> None:
        """One file; its accepted items join their cases in turn."""
        examined = workers.examine(self._rules, submission, context)
        findings = tuple(found for each in examined for found in each.result.findings)
        refused = sum(1 for each in examined if each.refused_by)
        self.inputs.append(Input(name, submission.digest, len(examined), refused, findings))
        for each in examined:
            if each.refused_by or each.result.case is None:
                continue
            record = ItemRecord(
                id=f"{name}-{each.result.index}",
                submission=name,
                sender=submission.sender,
                programme=submission.programme,
                state="valid",
                result=each.result,
            )
            plan = self._programme.case_plan(each.result.case.kind)
            case, _ = cases.join(plan, self._cases.get(each.result.case.id), record, self._at)
            self._cases[case.id] = case
            self._items.setdefault(case.id, []).append((name, record))

    def documents(self) -> Iterable[Made]:
        """Every complete case as its document."""
        for id, case in self._cases.items():
            if case.state != "complete":
                continue
            items = [record for _, record in self._items[id]]
            body = documents.assemble(self._programme, case, items, self._at)
            if derived := self._programme.document_plan(case.kind).derived:
                more = self._rules.mapper.render(json.read(body), f"{self._programme.name}/{derived}", {})
                body = documents.with_derived(self._programme, body, more)
            yield Made(case, body, tuple(dict.fromkeys(name for name, _ in self._items[id])))


# --- from documents to the stand-in ----------------------------------------


async def judge(
    listed: Conformance,
    made: Sequence[Made],
    rules: workers.Rules,
    programme: Programme,
    place: Destination | None,
    keys: Mapping[str, Key],
    ca: Path | None,
    folder: Path,
    at: datetime,
) -> list[Judged]:
    """Each required message, tried with every document that is one. `place` lends signer, ids and options."""
    found: list[Judged] = []
    for required in listed.message:
        mine = [each for each in made if each.case.kind == required.kind and _is(required, each)]
        tried = [await _try(required, each, rules, programme, place, keys, ca, folder, at) for each in mine]
        well = bool(tried) and all(each.state == "delivered" and not each.missing for each in tried)
        found.append(Judged(required, "conforms" if well else "fails" if tried else "not_sent", tuple(tried)))
    return found


def _is(required: Required, made: Made) -> bool:
    return not required.when or fhirpath.compile(required.when).boolean(json.read(made.body), None) is True


async def _try(
    required: Required,
    made: Made,
    rules: workers.Rules,
    programme: Programme,
    place: Destination | None,
    keys: Mapping[str, Key],
    ca: Path | None,
    folder: Path,
    at: datetime,
) -> Tried:
    stand_in = STAND_INS[required.stand_in].made(ca if place is not None and place.signer != "none" else None)
    async with Running(stand_in) as server:
        destination = _destination(required, programme, place, server.url, stand_in.reached(server.url, folder))
        network = Outbound({"stand-in": Peer(origin=server.url, plaintext=True)})
        try:
            ring = KeyRing(keys)
            wire = wires.make(
                destination,
                network,
                signer_for(destination, ring),
                rules.mapper.render,
                30.0,
                server.url,
                request_signer_for(destination, ring),
            )
            outcome, missing = await _send(wire, required, destination, made, rules, at)
        except GatewayError as fault:
            outcome, missing = Outcome(state="parked", codes=(fault.code,), findings=(fault.finding(),)), ()
        finally:
            await network.aclose()
    problems = tuple(str(each) for each in stand_in.problems)
    return Tried(made.inputs, missing, outcome.state, outcome.findings, problems)


def _destination(
    required: Required, programme: Programme, place: Destination | None, url: str, reached: Mapping[str, str]
) -> Destination:
    lent = place or Destination(id="conform", protocol="", peer="", programme=programme.name)
    return msgspec.structs.replace(
        lent,
        protocol=required.protocol or f"{required.stand_in}",
        peer="stand-in",
        url=url,
        system_id=lent.system_id or "test-system",
        body=f"{programme.name}/{required.body}",
        options={**lent.options, **reached, **required.options},
    )


async def _send(
    wire: Any, required: Required, destination: Destination, made: Made, rules: workers.Rules, at: datetime
) -> tuple[Outcome, tuple[str, ...]]:
    document = Document(
        id="document",
        case=made.case.id,
        version=1,
        programme=destination.programme,
        subject=made.case.subject,
        made_at=at,
        body=made.body,
        digest=hashlib.sha256(made.body).hexdigest(),
        evidence=Evidence(jws="", algorithm="", certificate_digest="", signed_at=at),
        submissions=(),
    )
    exchange = Exchange(
        id=hashlib.sha256(made.body).hexdigest()[:32],
        document=document.id,
        destination=destination.id,
        programme=destination.programme,
        sender=made.case.sender,
        subject=made.case.subject,
        case=made.case.id,
        state="claimed",
    )
    values = {"system_id": destination.system_id, "exchange": exchange.id}
    national = rules.mapper.render(json.read(made.body), destination.body, values)
    missing = tuple(path for path in required.mandatory if not any(_present(national, p) for p in path.split("|")))
    request, transport = wire.render(document, exchange, {}, 1, at)
    attempt = Attempt(
        id="a",
        exchange=exchange.id,
        number=1,
        started_at=at,
        request=request,
        request_digest=hashlib.sha256(request).hexdigest(),
        transport_id=transport,
    )
    return await wire.send(attempt), missing


def _present(national: bytes, path: str) -> bool:
    """Whether a value stands at the path, by local names in XML and by member names in JSON."""
    names = path.split("/")
    if national.lstrip().startswith(b"<"):
        found = [xml.read(national)]
        for name in names:
            found = [c for e in found for c in e.iterchildren(tag=etree.Element) if etree.QName(c).localname == name]
        return any(len(each) or (each.text or "").strip() for each in found)
    nodes: list[Any] = [json.read(national)]
    for name in names:
        flat = [e for n in nodes for e in (n if isinstance(n, list) else [n])]
        nodes = [each[name] for each in flat if isinstance(each, dict) and name in each]
    return any(each not in (None, "", [], {}) for each in nodes)


# --- the report ----------------------------------------


def report(
    listed: Conformance, judged: Sequence[Judged], inputs: Sequence[Input], sender: str, version: str, at: datetime
) -> Json:
    """The report as JSON; findings in it carry codes and places, never what the sender sent."""
    return {
        "title": msgspec.to_builtins(listed.title),
        "disclaimer": msgspec.to_builtins(listed.disclaimer),
        "sender": sender,
        "software_version": version,
        "made_at": at.isoformat(),
        "ready": all(_ready(each) for each in judged),
        "messages": [_message(each) for each in judged],
        "inputs": [
            {
                "name": each.name,
                "sha256": each.digest,
                "items": each.items,
                "refused": each.refused,
                "findings": [_finding(found) for found in each.findings if found.severity != "information"],
            }
            for each in inputs
        ],
    }


def _ready(judged: Judged) -> bool:
    return judged.status == "conforms" or (judged.required.optional and judged.status == "not_sent")


def _message(judged: Judged) -> Json:
    required = judged.required
    return {
        "type": required.type,
        "title": msgspec.to_builtins(required.title),
        "stand_in": required.stand_in,
        "mandatory": list(required.mandatory),
        "status": judged.status,
        "optional": required.optional,
        "tried": [
            {
                "inputs": list(each.inputs),
                "missing": list(each.missing),
                "outcome": each.state,
                "findings": [_finding(found) for found in each.findings],
                "problems": list(each.problems),
            }
            for each in judged.tried
        ],
    }


def _finding(found: Finding) -> Json:
    place = found.place.path if found.place else found.location
    return {"code": found.code, "severity": found.severity, "place": place, "rule": found.source}
