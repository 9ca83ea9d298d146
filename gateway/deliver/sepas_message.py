"""What a national message of SEPAS gets for one attempt, whichever generation carries it: MsgID and the signature.

The body is made by the national mapping; MsgID takes the UIDs of the previous answers, so that a message that was sent
before is an update. A mapping that puts `Deactivate` there withdraws the record: only with the CompositionUID that it
was given, and what never arrived needs no withdrawal.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple, cast

from lxml import etree

from gateway.deliver.wires import Parts
from gateway.errors import Misconfigured
from gateway.formats import json, xml
from gateway.message import Document, Exchange
from gateway.ports import SignatureValue

VM: Final = "http://thrita.behdasht.gov.ir/VM/"
UIDS: Final = ("PatientUID", "CompositionUID")
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


def sent_uids(root: etree._Element) -> Mapping[str, str]:
    """The UIDs that a message carries in MsgID."""
    found = ((name, root.findtext(f".//{{{VM}}}MsgID/{{{VM}}}{name}")) for name in UIDS)
    return {name: value for name, value in found if value}


def withdraws(root: etree._Element) -> bool:
    """Whether the message takes its record back."""
    return (root.findtext(f".//{{{VM}}}MsgID/{{{VM}}}Deactivate") or "").strip() in ("true", "1")


class Ready(NamedTuple):
    """A message for one attempt. `idle`: it would take back what was never accepted, so nothing has to leave."""

    root: etree._Element
    signature: SignatureValue | None
    idle: bool


class Messages:
    """The messages of one destination. `name` is the root that its mapping has to make; empty: any."""

    def __init__(self, parts: Parts, name: str = "") -> None:
        self._parts, self._national, self._name = parts, parts.national(), name
        if parts.option("canonicalization", "c14n") not in C14N:
            raise Misconfigured(detail=f"destination {parts.destination.id}: canonicalization")

    def make(self, document: Document, exchange: Exchange, receipts: Mapping[str, str], now: datetime) -> Ready:
        """The message, identified and signed."""
        destination = self._parts.destination
        values = {"system_id": destination.system_id, "exchange": exchange.id, **self._parts.options("value.")}
        root = xml.read(self._national(json.reread(document.body), destination.body, {**values, **receipts}))
        if self._name and etree.QName(root).localname != self._name:
            raise Misconfigured(detail=f"destination {destination.id}: the mapping makes no {self._name}")
        msg_id = self._identify(root, receipts)
        signature = self._sign(root, now)
        if signature is not None:
            _insert(msg_id, self._signature(signature))
        return Ready(root, signature, withdraws(root) and "CompositionUID" not in sent_uids(root))

    def _identify(self, root: etree._Element, receipts: Mapping[str, str]) -> etree._Element:
        """Fill MsgID in the order of the schema; what the mapping has put there stays."""
        msg_id = root.find(f"{{{VM}}}MsgID")
        if msg_id is None:
            msg_id = vm("MsgID")
            person = root.find(f"{{{VM}}}Person")
            root.insert(0 if person is None else root.index(person) + 1, msg_id)
        uids = {name: vm(name, receipts[name]) for name in UIDS if receipts.get(name)}
        given = {etree.QName(each).localname: each for each in msg_id if isinstance(each.tag, str)}
        ours = {**self._defaults(), **given, **uids}
        unknown = given.keys() - set(MSG_ID_ORDER)
        if unknown:
            raise Misconfigured(detail=f"destination {self._parts.destination.id}: MsgID has {sorted(unknown)}")
        msg_id[:] = [ours[name] for name in MSG_ID_ORDER if name in ours]
        return msg_id

    def _defaults(self) -> dict[str, etree._Element]:
        option, made = self._parts.option, {}
        state = (vm("Value", option("lifecycle_text", "incomplete")), vm("Terminology_id", "thritaEHR"))
        code = vm("Coded_string", option("lifecycle", "1.1.1.2"))
        made["VersionLifecycleState"] = vm("VersionLifecycleState", None, *state, code)
        made["SystemID"] = self.system("SystemID")
        for name, key in (("HealthCareFacilityID", "facility_id"), ("UniversityID", "university_id")):
            if option(key):
                made[name] = identifier(name, "MOHME_IT", "MOHME_IT", option(key), "Org_ID")
        if option("queriable"):
            made["IS_Queriable"] = vm("IS_Queriable", option("queriable"))
        if option("committer"):
            named = [vm("FullName", option("committer_name"))] if option("committer_name") else []
            who = identifier("Identifier", "Med_Council", "Med_Council", option("committer"), "Med_ID")
            made["Committer"] = vm("Committer", None, *named, who)
        return made

    def system(self, name: str) -> etree._Element:
        """Our SystemID under a name."""
        return identifier(name, "MOHME_IT", "MOHME_IT", self._parts.destination.system_id, "System_ID")

    # --- signature ----------------------------------------

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
            self.method(value),
            vm("TimeStamp", value.timestamp.isoformat()),
            vm("Certificate", base64.b64encode(value.certificate_der).decode()),
            vm("SubjectDN", value.subject_dn),
            vm("Thumbprint", value.thumbprint),
            vm("OrderType", order_type),
        )

    def method(self, value: SignatureValue) -> etree._Element:
        """SignatureMethod: the peer's name of it, or the signer's own."""
        return vm("SignatureMethod", self._parts.option("signature_method") or value.method)


def _insert(msg_id: etree._Element, signature: etree._Element) -> None:
    """Put the signature at its place in the order of the schema."""
    before = MSG_ID_ORDER[: MSG_ID_ORDER.index("CompositionSignature")]
    msg_id.insert(sum(1 for each in msg_id if etree.QName(each).localname in before), signature)
