"""SEPAS, first generation: SOAP 1.1 document/literal `savePatientBill` with a PatientBillMessageVO.

The body is made by the national mapping; this file adds what only an attempt knows: the header (HeaderMessageVO,
not WS-Security), MsgID with the UIDs of the previous answer, and the signature. It is rendered anew each time.

Options of the destination (each default stands because no public text fixes the value): `location_id`,
`facility_id` (where the mapping gives none), `lifecycle` (1.1.1.2), `committer`, `client_ip`, `client_url`,
`proof` certificate or none, `soap_action`, `parameter` (name of the wrapped part), `signature_method` (instead of
the signer's own), `canonicalization` c14n (default) or exc-c14n, `signed_content` Composition (default) or message
(all but the signature),
`receipt_pattern`, `server_fault` unknown (default) or due, `statuses`, `errors` (path of another error table).
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final, cast

from lxml import etree

from gateway.deliver import http_message, judge
from gateway.deliver.sepas_reply import ErrorTable, read_reply
from gateway.deliver.wires import Parts
from gateway.errors import Misconfigured
from gateway.formats import json, xml
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Reply, SignatureValue, Wire

PROTOCOL: Final = "sepas-soap"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://sepas.behdasht.gov.ir/"
VM: Final = "http://thrita.behdasht.gov.ir/VM/"
MESSAGE: Final = "PatientBillMessageVO"
MSG_ID_ORDER: Final = (
    "VersionLifecycleState",
    "IS_Queriable",
    "CompositionSignature",
    "SystemID",
    "HealthCareFacilityID",
    "PatientUID",
    "CompositionUID",
    "Committer",
    "LocalId",
    "UniversityID",
    "Version",
    "MessageUID",
    "RegisterUID",
    "WithoutId",
    "Deactivate",
)
_DEFAULT: Final = cast("dict[str, str]", {None: VM})  # None is lxml's default name space; its stubs want text
C14N: Final = {
    "c14n": ("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", False),
    "exc-c14n": ("http://www.w3.org/2001/10/xml-exc-c14n#", True),
}


def make(parts: Parts) -> Wire:
    """The SOAP wire of one destination."""
    return SepasSoap(parts)


def vm(name: str, text: str | None = None, *children: etree._Element) -> etree._Element:
    """One element in the data namespace."""
    made = etree.Element(f"{{{VM}}}{name}", nsmap=_DEFAULT)
    made.text = text
    made.extend(children)
    return made


def identifier(name: str, issuer: str, assigner: str, id: str, kind: str) -> etree._Element:
    """A DO_IDENTIFIER."""
    return vm(name, None, vm("Issuer", issuer), vm("Assigner", assigner), vm("ID", id), vm("Type", kind))


def signed_bytes(element: etree._Element, exclusive: bool) -> bytes:
    """Canonical XML 1.0 of the element, taken out as a document of its own: no name space of an envelope enters."""
    return etree.tostring(copy.deepcopy(element), method="c14n", exclusive=exclusive, with_comments=False)


class SepasSoap:
    """One destination that speaks the first generation."""

    subject_receipts = frozenset({"PatientUID"})
    unique_receipts = frozenset({"CompositionUID"})

    def __init__(self, parts: Parts) -> None:
        self._parts, self._national = parts, parts.national()
        self._statuses = judge.meanings(parts.option("statuses"))
        self._errors = ErrorTable.load(parts.option("errors"))
        self._pattern = re.compile(parts.option("receipt_pattern", r"[^\s:]+::[^\s:]+"))
        if parts.option("canonicalization", "c14n") not in C14N:
            raise Misconfigured(detail=f"destination {parts.destination.id}: canonicalization")

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The envelope of this attempt, with the UIDs that the previous answers gave."""
        destination = self._parts.destination
        values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
        root = xml.read(self._national(json.read(document.body), destination.body, {**values, **receipts}))
        if etree.QName(root).localname != MESSAGE:
            raise Misconfigured(detail=f"destination {destination.id}: the mapping makes no {MESSAGE}")
        msg_id = self._identify(root, receipts)
        signature = self._sign(root, now)
        if signature is not None:
            _insert(msg_id, self._signature(signature))
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{self._parts.option("soap_action")}"',
            self._parts.option("idempotency_header", "Idempotency-Key"): exchange.id,
        }
        body = xml.write(self._envelope(root, signature, now))
        return self._parts.compose("POST", destination.url, headers, body, now), exchange.id

    def _identify(self, root: etree._Element, receipts: Mapping[str, str]) -> etree._Element:
        """Fill MsgID in the order of the schema; what the mapping has put there stays."""
        msg_id = root.find(f"{{{VM}}}MsgID")
        if msg_id is None:
            msg_id = vm("MsgID")
            person = root.find(f"{{{VM}}}Person")
            root.insert(0 if person is None else root.index(person) + 1, msg_id)
        uids = {name: vm(name, receipts[name]) for name in ("PatientUID", "CompositionUID") if receipts.get(name)}
        given = {etree.QName(each).localname: each for each in msg_id if isinstance(each.tag, str)}
        ours = {**self._defaults(), **given, **uids}
        unknown = given.keys() - set(MSG_ID_ORDER)
        if unknown:
            raise Misconfigured(detail=f"destination {self._parts.destination.id}: MsgID has {sorted(unknown)}")
        msg_id[:] = [ours[name] for name in MSG_ID_ORDER if name in ours]
        return msg_id

    def _defaults(self) -> dict[str, etree._Element]:
        option, made = self._parts.option, {}
        state = option("lifecycle", "1.1.1.2")
        made["VersionLifecycleState"] = vm(
            "VersionLifecycleState",
            None,
            vm("Value", option("lifecycle_text", "incomplete")),
            vm("Terminology_id", "thritaEHR"),
            vm("Coded_string", state),
        )
        made["SystemID"] = self._system("SystemID")
        if option("facility_id"):
            made["HealthCareFacilityID"] = identifier(
                "HealthCareFacilityID", "MOHME_IT", "MOHME_IT", option("facility_id"), "Org_ID"
            )
        return made

    def _system(self, name: str) -> etree._Element:
        return identifier(name, "MOHME_IT", "MOHME_IT", self._parts.destination.system_id, "System_ID")

    def _sign(self, root: etree._Element, now: datetime) -> SignatureValue | None:
        if self._parts.signer is None or self._parts.destination.signer == "none":
            return None
        option = self._parts.option
        whole = option("signed_content", "Composition") == "message"
        content = root if whole else root.find(f"{{{VM}}}Composition")
        if content is None:
            raise Misconfigured(detail=f"destination {self._parts.destination.id}: there is no Composition to sign")
        exclusive = C14N[option("canonicalization", "c14n")][1]
        return self._parts.signer.sign_bytes(signed_bytes(content, exclusive), now)

    def _signature(self, value: SignatureValue) -> etree._Element:
        order_type = self._parts.option("order_type", C14N[self._parts.option("canonicalization", "c14n")][0])
        return vm(
            "CompositionSignature",
            None,
            vm("SignatureValue", base64.b64encode(value.value).decode()),
            self._method(value),
            vm("TimeStamp", value.timestamp.isoformat()),
            vm("Certificate", base64.b64encode(value.certificate_der).decode()),
            vm("SubjectDN", value.subject_dn),
            vm("Thumbprint", value.thumbprint),
            vm("OrderType", order_type),
        )

    def _method(self, value: SignatureValue) -> etree._Element:
        return vm("SignatureMethod", self._parts.option("signature_method") or value.method)

    def _envelope(self, root: etree._Element, signature: SignatureValue | None, now: datetime) -> etree._Element:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP})
        header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
        header.append(vm("HeaderMessageVO", None, self._sender(signature, now)))
        body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
        operation = etree.SubElement(body, f"{{{SERVICE}}}savePatientBill", nsmap={"ser": SERVICE})
        root.tag = self._parts.option("parameter", MESSAGE)
        operation.append(root)
        return envelope

    def _sender(self, signature: SignatureValue | None, now: datetime) -> etree._Element:
        option = self._parts.option
        location = option("location_id", option("facility_id"))
        parts = [self._system("SystemID"), identifier("LocationID", "MOHME_IT", "MOHME_IT", location, "Org_ID")]
        parts += [vm(name, option(key)) for name, key in (("IP", "client_ip"), ("URL", "client_url")) if option(key)]
        if signature is not None and option("proof", "certificate") == "certificate":
            certificate = vm("Certificate", base64.b64encode(signature.certificate_der).decode())
            parts.append(vm("Proof", None, self._method(signature), certificate))
        parts.append(vm("DateTimeStamp", now.isoformat()))
        return vm("Sender", None, *parts)

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Post the attempt's bytes; `delivered` only with both UIDs and no error in the answer."""
        parts, out = self._parts, http_message.take_apart(attempt.request)
        network, peer = parts.network, parts.destination.peer
        reply = await network.request(peer, out.method, out.url, out.headers, out.body, parts.timeout)
        return self.verdict(reply, attempt)

    def verdict(self, reply: Reply, attempt: Attempt) -> Outcome:
        """The outcome of one answer to one attempt; pure."""
        if reply.status not in (200, 500) or reply.status in self._statuses:
            meaning = judge.by_status(reply.status, self._statuses)
            return judge.refused(reply, meaning or judge.Meaning("unknown", judge.UNREADABLE), attempt.started_at)
        answer = read_reply(reply)
        if answer is None:
            code = judge.UNREADABLE if reply.status == 200 else judge.SERVER
            return judge.outcome(reply, "unknown", code)
        if answer.fault is not None:
            return self._fault(reply, answer.fault, attempt)
        if reply.status != 200:
            return judge.outcome(reply, "unknown", judge.SERVER)
        if answer.error:
            return self._errors.judge(reply, answer, attempt.started_at)
        sent = http_message.take_apart(attempt.request).body
        return self._accepted(reply, answer.receipts, _sent_uids(sent))

    def _fault(self, reply: Reply, fault: str, attempt: Attempt) -> Outcome:
        """SOAP 1.1 section 4.4.1: Client, VersionMismatch and MustUnderstand were not processed; Server may have."""
        if fault.split(".")[0] in ("Client", "VersionMismatch", "MustUnderstand"):
            return judge.outcome(reply, "parked", judge.REFUSED)
        state: judge.State = "due" if self._parts.option("server_fault") == "due" else "unknown"
        return judge.outcome(reply, state, judge.SERVER, attempt.started_at)

    def _accepted(self, reply: Reply, given: Mapping[str, str], sent: Mapping[str, str]) -> Outcome:
        uids = {name: given.get(name, "") for name in ("PatientUID", "CompositionUID")}
        if not all(self._pattern.fullmatch(value) for value in uids.values()):
            return judge.outcome(reply, "unknown", judge.UNREADABLE)
        if any(uids[name] != value for name, value in sent.items()):
            return judge.outcome(reply, "unknown", judge.NOT_OURS)
        return judge.outcome(reply, "delivered", receipts={name: value for name, value in given.items() if value})

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """This generation offers no question by business identifier that is published: it cannot be asked."""
        return None


def _insert(msg_id: etree._Element, signature: etree._Element) -> None:
    """Put the signature at its place in the order of the schema."""
    before = MSG_ID_ORDER[: MSG_ID_ORDER.index("CompositionSignature")]
    msg_id.insert(sum(1 for each in msg_id if etree.QName(each).localname in before), signature)


def _sent_uids(body: bytes) -> Mapping[str, str]:
    root = xml.read(body)
    found = ((name, root.findtext(f".//{{{VM}}}MsgID/{{{VM}}}{name}")) for name in ("PatientUID", "CompositionUID"))
    return {name: value for name, value in found if value}
