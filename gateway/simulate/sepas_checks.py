"""The checks of the strict SEPAS stand-in, each in the words of a published error category.

Structure comes from `sepas_service.xsd` (names, order, name spaces, types); the rest are the server-side rules that
are publicly known: complete DO_CODED_TEXT, Jalali parts, mandatory fields, check digit, totals, signature.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from cryptography import x509
from lxml import etree
from persiantools.jdatetime import JalaliDate

from gateway.errors import GatewayError, Refused
from gateway.formats import xml
from gateway.simulate import certificates

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE: Final = "http://sepas.behdasht.gov.ir/"
VM: Final = "http://thrita.behdasht.gov.ir/VM/"
NS: Final = {"vm": VM}
MANDATORY: Final = (
    "vm:MsgID/vm:SystemID/vm:ID",
    "vm:MsgID/vm:HealthCareFacilityID/vm:ID",
    "vm:Composition/vm:Admission/vm:AdmissionDate",
    "vm:Composition/vm:Admission/vm:AdmissionType",
    "vm:Composition/vm:Admission/vm:MedicalRecordNumber",
)
ALWAYS: Final = MANDATORY[:2]
OF_MESSAGE: Final = {
    "PatientBillMessageVO": MANDATORY,
    "AdmittedMessageVO": MANDATORY,
    "ReferralCaseMessageVO": (*ALWAYS, "vm:Composition/vm:Referral/vm:ReferredDate"),
    "PathologyReportMessageVO": (
        *ALWAYS,
        "vm:Composition/vm:Pathology/vm:PathologyDiagnosis/vm:Topography",
        "vm:Composition/vm:Pathology/vm:PathologyDiagnosis/vm:Morphology",
    ),
    "DeathCertificateMessageVO": (*ALWAYS, "vm:Composition/vm:Death/vm:DeathDate", "vm:Composition/vm:Death/vm:Cause"),
}
"""What a message of each kind cannot do without; a site's tester adds further paths."""

_IDENTIFIED: Final = ("vm:Person/vm:NationalCode", "vm:Person/vm:OtherIdentifier", "vm:MsgID/vm:WithoutId")
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"


class Problem(NamedTuple):
    """A category and a text, as ErrorMessage carries them."""

    category: str
    text: str

    def __str__(self) -> str:
        return f"{self.category}: {self.text}"


class Bill(NamedTuple):
    """A message that was read: the part inside the operation, and the header."""

    message: etree._Element
    header: etree._Element | None

    def text(self, path: str) -> str:
        """The text at a path below the message, or empty."""
        return (self.message.findtext(path, namespaces=NS) or "").strip()


@cache
def _schema(name: str) -> etree.XMLSchema:
    return etree.XMLSchema(file=str(Path(__file__).with_name(name)))


def read(media_type: str, body: bytes) -> Bill | Problem:
    """The bill inside the envelope, or why it is none."""
    if media_type.partition(";")[0].strip().lower() not in ("text/xml", "application/soap+xml"):
        return Problem("Structure", "content type is not XML")
    try:
        root = xml.read(body)
    except GatewayError:
        return Problem("Structure", "not well-formed XML")
    bodies = root.findall(f"{{{SOAP}}}Body")
    if root.tag != f"{{{SOAP}}}Envelope" or len(bodies) != 1 or len(bodies[0]) != 1:
        return Problem("Structure", "not one operation in a SOAP envelope")
    operation = bodies[0][0]
    header = root.find(f"{{{SOAP}}}Header/{{{VM}}}HeaderMessageVO")
    problem = _valid("sepas_service.xsd", operation) or (_valid("sepas_vm.xsd", header) if header is not None else None)
    return problem or Bill(operation[0], header)


def read_alone(body: bytes, kind: str) -> Bill | Problem:
    """The message of that kind that stands alone, as a sealed body holds it."""
    try:
        root = xml.read(body)
    except GatewayError:
        return Problem("Structure", "not well-formed XML")
    if root.tag != kind:
        return Problem("Structure", "ContentType is not the message's name")
    return _valid("sepas_messages.xsd", root) or Bill(root, None)


def _valid(schema: str, element: etree._Element) -> Problem | None:
    checked = _schema(schema)
    if checked.validate(copy.deepcopy(element)):
        return None
    first = next(iter(cast("Iterable[Any]", checked.error_log)), None)
    what = f"{first.type_name} at line {first.line}, {first.path}" if first is not None else "not valid"
    return Problem("Structure", what)  # never the value: it may be a name


def problems(bill: Bill, more: Iterable[str] = ()) -> Iterator[Problem]:
    """Everything wrong with the content, most basic first; `more` are further mandatory paths."""
    yield from _mandatory(bill, (*OF_MESSAGE.get(etree.QName(bill.message).localname, ALWAYS), *more))
    for element in bill.message.iter(etree.Element):
        yield from _coded(element)
        yield from _jalali(element)
    code = bill.text("vm:Person/vm:NationalCode")
    if code and not national_code(code):
        yield Problem("Wrong Data", "NationalCode is invalid")
    yield from _totals(bill)
    yield from _insurance(bill)
    yield from _order(bill)


def _mandatory(bill: Bill, paths: Iterable[str]) -> Iterator[Problem]:
    for path in paths:
        if bill.message.find(path, namespaces=NS) is None:
            yield Problem("Mandatory", f"{path.removesuffix('/vm:ID').rpartition(':')[2]} is mandatory")
    if not any(bill.message.find(path, namespaces=NS) is not None for path in _IDENTIFIED):
        yield Problem("Mandatory", "NationalCode is empty")
    record = bill.text("vm:Composition/vm:Admission/vm:MedicalRecordNumber")
    if record and not record.strip("0"):
        yield Problem("Wrong Data", "MedicalRecordNumber is invalid")


def _coded(element: etree._Element) -> Iterator[Problem]:
    names = {etree.QName(child).localname: child for child in element.iterchildren(tag=etree.Element)}
    coded = "Terminology_id" in names or "Coded_string" in names
    if coded and not all((names[n].text or "").strip() if n in names else False for n in _CODED):
        yield Problem("Structure", f"DO_CODED_TEXT is not Complete: {etree.QName(element).localname}")
    elif coded:
        form = TERMINOLOGIES.get((names["Terminology_id"].text or "").strip().lower())
        if form is None or not re.fullmatch(form, (names["Coded_string"].text or "").strip()):
            yield Problem("Mapping", f"CTS validation failed: {etree.QName(element).localname}")


_OTHERS: Final = re.findall(
    r"\S+",
    """
    thritaehr.wardtype thritaehr.specialty thritaehr.educationlevel thritaehr.job thritaehr.birthdateaccuracy
    thritaehr.ordinalterm thritaehr.specimenadequacy thritaehr.deathlocation thritaehr.deathcausestatus
    thritaehr.questioncategory thritaehr.questioncode thritaehr.answer thritaehr.relatedperson thritaehr.religion
    icpc2p snomedct rvu rvu3 irandrugcoding imed-ir countrydivisions iso_3166-1 atc cdt erx fda fdi fdoir lnc
    ncpdp ucum local
    """,
)
TERMINOLOGIES: Final[dict[str, str]] = {
    "thritaehr": r"[\d.]+",
    "thritaehr.gender": r"[12]",
    "thritaehr.maritalstatus": r"\d+",
    "thritaehr.admissiontype": r"[124]",
    "thritaehr.medicalrecordtype": r"[123]",
    "thritaehr.conditionondischarge": r"\d+",
    "thritaehr.daignosis.status": r"[123]",
    "thritaehr.insurer": r"\d+",
    "thritaehr.insurancebox": r"\d+(\.\d+)?",
    "thritaehr.servicetype": r"\d+(\.\d+)?",
    "thritaehr.othercost": r"\d+",
    "thritaehr.ktype": r"\d+",
    "thritaehr.healthcareprovider.role": r"\d+(\.\d+)?",
    "thritaehr.organizationtype": r"\d+",
    "icd10": r"[A-Z]\d\d(\.?\d{1,2})?",
    "icd-o-3": r"C\d\d\.?\d|[89]\d{3}(/\d)?|\d",
    "irc": r"\d{16}",
    **dict.fromkeys(_OTHERS, r".+"),
}
"""Terminology ids that are publicly known, in lower case (their case varies), and the form of their codes."""

_CODED: Final = ("Value", "Terminology_id", "Coded_string")


def _jalali(element: etree._Element) -> Iterator[Problem]:
    parts = {etree.QName(child).localname: child.text for child in element.iterchildren(tag=etree.Element)}
    if "Year" not in parts:
        return
    try:
        year, month, day = (int(parts.get(name) or "") for name in ("Year", "Month", "Day"))
        fine = 1280 <= year <= 1480 and bool(JalaliDate.check_date(year, month, day))
    except ValueError:
        fine = False
    if not fine:
        yield Problem("Date Validation", f"{etree.QName(element).localname} is not a Jalali date")


def _totals(bill: Bill) -> Iterator[Problem]:
    total = bill.text("vm:Composition/vm:BillSummary/vm:TotalCharge/vm:Magnitude")
    path = "vm:Composition/vm:BillServices/vm:TotalCharge/vm:Magnitude"
    rows = [each.text or "" for each in bill.message.findall(path, namespaces=NS)]
    if not total or not rows:
        return
    try:
        fits = Decimal(total) == sum(Decimal(each) for each in rows)
    except InvalidOperation:
        fits = False
    if not fits:
        yield Problem("Calculation", "TotalCharge is not the sum of the services")


def _insurance(bill: Bill) -> Iterator[Problem]:
    """A fund belongs to its insurer: the funds 26.* to insurer 2 (health insurance), of what is publicly known."""
    for each in bill.message.findall("vm:Composition/vm:Insurance", namespaces=NS):
        insurer = each.findtext("vm:Insurer/vm:Coded_string", namespaces=NS) or ""
        box = each.findtext("vm:InsuranceBox/vm:Coded_string", namespaces=NS) or ""
        if box.startswith("26") and insurer != "2":
            yield Problem("Mapping", "InsuranceBox is invalid")


def _order(bill: Bill) -> Iterator[Problem]:
    days = []
    for path in ("vm:Admission/vm:AdmissionDate", "vm:Discharge/vm:DischargeDate"):
        parts = [bill.text(f"vm:Composition/{path}/vm:{part}") for part in ("Year", "Month", "Day")]
        days.append(tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else None)
    if None not in days and days[1] < days[0]:  # type: ignore[operator]  # both are there
        yield Problem("Logic", "DischargeDate is before AdmissionDate")


def national_code(text: str) -> bool:
    """The check digit of an Iranian national code: weights 10 to 2, modulo 11."""
    if not (text.isascii() and text.isdigit() and len(text) == 10) or len(set(text)) == 1:
        return False
    rest = sum(int(digit) * weight for digit, weight in zip(text, range(10, 1, -1), strict=False)) % 11
    return int(text[9]) == (rest if rest < 2 else 11 - rest)


def signature(bill: Bill, anchors: tuple[x509.Certificate, ...], at: datetime) -> Problem | None:
    """Whether CompositionSignature verifies over the composition of this very message, by a known, bound key."""
    slot = bill.message.find("vm:MsgID/vm:CompositionSignature", namespaces=NS)
    composition = bill.message.find("vm:Composition", namespaces=NS)
    if slot is None or composition is None:
        return Problem("Input Data", "CompositionSignature is empty")
    try:
        leaf = x509.load_der_x509_certificate(_base64(slot, "Certificate"))
        certificates.check_certificate(leaf, [], anchors, at)
        exclusive = slot.findtext("vm:OrderType", namespaces=NS) == _EXCLUSIVE
        body = etree.tostring(copy.deepcopy(composition), method="c14n", exclusive=exclusive, with_comments=False)
        certificates.verify_rsa(leaf, _base64(slot, "SignatureValue"), body)
        certificates.bound_to(
            leaf, bill.text("vm:MsgID/vm:HealthCareFacilityID/vm:ID"), bill.text("vm:MsgID/vm:SystemID/vm:ID")
        )
    except ValueError:
        return Problem("Input Data", "CompositionSignature cannot be read")
    except Refused as refused:
        return Problem("Facility Validation", refused.args_.get("detail", ""))
    return None


def _base64(slot: etree._Element, name: str) -> bytes:
    return base64.b64decode(slot.findtext(f"vm:{name}", namespaces=NS) or "", validate=True)
