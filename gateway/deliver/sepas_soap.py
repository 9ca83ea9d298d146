"""SEPAS, first generation: SOAP 1.1 document/literal `savePatientBill` with a PatientBillMessageVO.

`sepas_message.py` makes the message; this file adds the header (HeaderMessageVO, not WS-Security), the envelope, and
reads the answer. It is rendered anew each time.

Options of the destination (each default stands because no public text fixes the value): `location_id`,
`facility_id` and `university_id` (where the mapping gives none), `lifecycle` (1.1.1.2), `queriable`, `committer` (a
medical-council number) and `committer_name`, `client_ip`, `client_url`, `sender_list` yes or nothing, `proof`
certificate or none, `soap_action`, `parameter` (name of the wrapped part), `signature_method` (instead of the
signer's own), `canonicalization` c14n (default) or exc-c14n, `signed_content` Composition (default) or message (all
but the signature), `receipt_pattern`, `server_fault` unknown (default) or due, `after_deactivate` forget (default) or
keep the CompositionUID, `statuses`, `errors` (path of another error table).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from lxml import etree

from gateway.deliver import http_message, judge
from gateway.deliver.sepas_message import UIDS, VM, Messages, identifier, sent_uids, signed_bytes, vm, withdraws
from gateway.deliver.sepas_reply import ErrorTable, accepted, nothing_to_withdraw, read_reply
from gateway.deliver.wires import Parts
from gateway.formats import xml
from gateway.message import Attempt, Document, Exchange, Outcome
from gateway.ports import Reply, SignatureValue, Wire

__all__ = ["PROTOCOL", "VM", "SepasSoap", "make", "signed_bytes"]

PROTOCOL: Final = "sepas-soap"
SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://sepas.behdasht.gov.ir/"
MESSAGE: Final = "PatientBillMessageVO"


def make(parts: Parts) -> Wire:
    """The SOAP wire of one destination."""
    return SepasSoap(parts)


class SepasSoap:
    """One destination that speaks the first generation."""

    subject_receipts = frozenset({"PatientUID"})
    unique_receipts = frozenset({"CompositionUID"})

    def __init__(self, parts: Parts) -> None:
        self._parts, self._messages = parts, Messages(parts, MESSAGE)
        self._statuses = judge.meanings(parts.option("statuses"))
        self._errors = ErrorTable.load(parts.option("errors"))
        self._pattern = re.compile(parts.option("receipt_pattern", r"[^\s:]+::[^\s:]+"))

    # --- out -----------------------------------------------------------------------

    def render(
        self, document: Document, exchange: Exchange, receipts: Mapping[str, str], number: int, now: datetime
    ) -> tuple[bytes, str | None]:
        """The envelope of this attempt, with the UIDs that the previous answers gave."""
        destination, ready = self._parts.destination, self._messages.make(document, exchange, receipts, now)
        if ready.idle:
            return http_message.idle(destination.url), exchange.id
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{self._parts.option("soap_action")}"',
            self._parts.option("idempotency_header", "Idempotency-Key"): exchange.id,
        }
        body = xml.write(self._envelope(ready.root, ready.signature, now))
        return self._parts.compose("POST", destination.url, headers, body, now), exchange.id

    def _envelope(self, root: etree._Element, signature: SignatureValue | None, now: datetime) -> etree._Element:
        envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP})
        header = etree.SubElement(envelope, f"{{{SOAP}}}Header")
        header.append(vm("HeaderMessageVO", None, *self._senders(signature, now)))
        body = etree.SubElement(envelope, f"{{{SOAP}}}Body")
        operation = etree.SubElement(body, f"{{{SERVICE}}}savePatientBill", nsmap={"ser": SERVICE})
        root.tag = self._parts.option("parameter", MESSAGE)
        operation.append(root)
        return envelope

    def _senders(self, signature: SignatureValue | None, now: datetime) -> list[etree._Element]:
        made = [self._sender("Sender", signature, now)]
        if self._parts.option("sender_list") == "yes":
            made.append(self._sender("SenderList", signature, now))
        return made

    def _sender(self, name: str, signature: SignatureValue | None, now: datetime) -> etree._Element:
        option = self._parts.option
        location = option("location_id", option("facility_id"))
        parts = [self._messages.system("SystemID")]
        parts.append(identifier("LocationID", "MOHME_IT", "MOHME_IT", location, "Org_ID"))
        parts += [vm(name, option(key)) for name, key in (("IP", "client_ip"), ("URL", "client_url")) if option(key)]
        if signature is not None and option("proof", "certificate") == "certificate":
            certificate = vm("Certificate", base64.b64encode(signature.certificate_der).decode())
            parts.append(vm("Proof", None, self._messages.method(signature), certificate))
        parts.append(vm("DateTimeStamp", now.isoformat()))
        return vm(name, None, *parts)

    # --- back -----------------------------------------------------------------------

    async def send(self, attempt: Attempt) -> Outcome:
        """Post the attempt's bytes; `delivered` only with both UIDs and no error in the answer."""
        parts, out = self._parts, http_message.take_apart(attempt.request)
        if out.method == http_message.IDLE:
            return nothing_to_withdraw()
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
        sent = xml.read(http_message.take_apart(attempt.request).body)
        gone = withdraws(sent) and self._parts.option("after_deactivate", "forget") == "forget"
        return accepted(reply, answer.receipts, sent_uids(sent), self._pattern, UIDS, gone)

    def _fault(self, reply: Reply, fault: str, attempt: Attempt) -> Outcome:
        """SOAP 1.1 section 4.4.1: Client, VersionMismatch and MustUnderstand were not processed; Server may have."""
        if fault.split(".")[0] in ("Client", "VersionMismatch", "MustUnderstand"):
            return judge.outcome(reply, "parked", judge.REFUSED)
        state: judge.State = "due" if self._parts.option("server_fault") == "due" else "unknown"
        return judge.outcome(reply, state, judge.SERVER, attempt.started_at)

    async def reconcile(self, exchange: Exchange, attempt: Attempt) -> Outcome | None:
        """This generation offers no question by business identifier that is published: it cannot be asked."""
        return None
