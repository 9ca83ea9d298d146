"""The answer of the SEPAS bill service, read strictly: one ResultVO, or one fault, or nothing that counts.

ResultVO { MessageUID, ErrorMessage, CompositionUID, patientUID }. Errors arrive as text in ErrorMessage; the table
`sepas_errors.toml` turns them into the published categories, and each category into what happens next.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec
from lxml import etree

from gateway.deliver import judge
from gateway.errors import GatewayError, Misconfigured, finding
from gateway.formats import xml
from gateway.message import Outcome
from gateway.ports import Reply

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://sepas.behdasht.gov.ir/"
NATIONAL: Final = "GW-DELIVER-017"
FORGOTTEN: Final = "GW-DELIVER-018"
CONTRADICTS: Final = "GW-DELIVER-022"
XML_TYPES: Final = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_FIELDS: Final = {"messageuid": "MessageUID", "compositionuid": "CompositionUID", "patientuid": "PatientUID"}
MAX_TEXT: Final = 1000


class Answer(NamedTuple):
    """What a readable answer says: a fault code, an error text, or receipts."""

    fault: str | None
    error: str
    receipts: Mapping[str, str]


def read_reply(reply: Reply) -> Answer | None:
    """The answer; None for whatever is not exactly one (a page, a cut body, another charset, two results)."""
    if judge.media_type(reply.headers) not in XML_TYPES:
        return None
    try:
        root = xml.read(reply.body)
    except GatewayError:
        return None
    declared, written = judge.charset(reply.headers), (root.getroottree().docinfo.encoding or "utf-8").lower()
    if declared and declared != written:
        return None
    body = root.find(f"{{{SOAP}}}Body") if root.tag == f"{{{SOAP}}}Envelope" else None
    inside = [each for each in body if isinstance(each.tag, str)] if body is not None else []
    return _content(inside[0]) if len(inside) == 1 else None


def _content(element: etree._Element) -> Answer | None:
    if element.tag == f"{{{SOAP}}}Fault":
        code = (element.findtext("faultcode") or "").strip()
        return Answer(code.rpartition(":")[2], "", {})
    results = [each for each in element if isinstance(each.tag, str)]
    if element.tag != f"{{{SERVICE}}}savePatientBillResponse" or len(results) != 1:
        return None
    return _result(results[0])


def _result(result: etree._Element) -> Answer | None:
    fields: dict[str, str] = {}
    for each in result.iterchildren(tag=etree.Element):
        name = etree.QName(each).localname.lower()
        if name in fields or len(each):
            return None  # two values for one name: nobody knows which one counts
        fields[name] = (each.text or "").strip()[:MAX_TEXT]
    if not fields:
        return None
    receipts = {ours: fields[theirs] for theirs, ours in _FIELDS.items() if fields.get(theirs)}
    return Answer(None, fields.get("errormessage", ""), receipts)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One category."""

    action: Literal["rejected", "due", "parked"]
    prefix: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    forget: bool = False


class ErrorTable:
    """The categories, ready to be looked up."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self._rows = rows
        self._prefixes = {text.casefold(): name for name, row in rows.items() for text in row.prefix}
        self._says = [(text.casefold(), name) for name, row in rows.items() for text in row.says]

    @classmethod
    def load(cls, path: str = "") -> ErrorTable:
        """The table beside this file, or the site's own; an unusable one is `Misconfigured`."""
        file = Path(path) if path else Path(__file__).with_name("sepas_errors.toml")
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
            return cls(msgspec.convert(raw, dict[str, Row]))
        except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            raise Misconfigured(detail=f"error table {file.name}: {error}") from None

    def category(self, message: str) -> str:
        """The category of an error text; named errors first, then the prefix, else `unknown`."""
        text = message.casefold()
        for said, name in self._says:
            if said in text:
                return name
        return self._prefixes.get(text.partition(":")[0].strip(), "unknown")

    def judge(self, reply: Reply, answer: Answer, at: datetime) -> Outcome:
        """What an error leads to. An error beside a CompositionUID contradicts itself: nobody knows."""
        name = self.category(answer.error)
        row = self._rows.get(name, Row(action="parked"))
        found = (finding(NATIONAL, category=name, detail=answer.error),)
        if answer.receipts.get("CompositionUID"):
            return judge.outcome(reply, "unknown", CONTRADICTS, findings=found)
        if row.forget:
            gone = ("PatientUID", "CompositionUID")
            return judge.outcome(reply, "due", FORGOTTEN, at, findings=found, forget=gone)
        code = judge.BUSY if row.action == "due" else NATIONAL
        return judge.outcome(reply, row.action, code, at, findings=found)
