"""The SEPAS stand-in: strict about XML, dates, codes, signature and certificate; answers ResultVO.

A first message gets a PatientUID (one per person) and a CompositionUID, both with this node's name before "::". A
message that brings a CompositionUID replaces that composition and must bring the PatientUID it belongs to. A UID of
another node gets "Destination SepasNode is Down", as the sender of an old UID is told.
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from lxml import etree

from gateway.clock import Clock
from gateway.formats import xml
from gateway.simulate import sepas_checks as checks
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order
from gateway.simulate.sepas_checks import SERVICE, SOAP, VM, Bill, Problem
from gateway.simulate.server import Judged, StandIn

CATEGORIES: Final[dict[str, str]] = {
    "Date Validation": "AdmissionDate is not a date",
    "Mapping": "CTS validation failed",
    "National Locator": "the national locator did not answer",
    "Structure": "the message does not follow the schema",
    "Locator": "the locator did not answer",
    "Mandatory": "MedicalRecordNumber is mandatory",
    "Wrong Data": "patient information does not match the national code",
    "DB": "the message was not stored",
    "Calculation": "TotalCharge is not the sum of the services",
    "Logic": "discharge is before admission",
    "SepasBlock": "SystemID is blocked",
    "Network": "the node cannot be reached",
    "Version": "this system version is not served",
    "Facility Validation": "the facility is not known",
    "Input Data": "the input is not acceptable",
    "Data Format": "a field has the wrong format",
    "Unknown": "unknown error",
    "SepasNode": "Destination SepasNode is Down",
}
"""The 17 published categories and the node error, each with an example text of our own."""


class Kept(NamedTuple):
    """One composition that is kept."""

    patient: str
    arrival: int


class Sepas(StandIn):
    """State is in memory; the arrival log is what lasts. `ca` makes the signature compulsory."""

    name = "sepas"

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
        node: str = "node-1.test",
        facilities: Iterable[str] = (),
        blocked: Iterable[str] = (),
        mandatory: Iterable[str] = (),
    ) -> None:
        super().__init__(log, faults, clock, ca=ca)
        self._mandatory = tuple(mandatory)
        self.withdrawn: dict[str, int] = {}  # CompositionUID -> the arrival that took it back
        self._node, self._facilities, self._blocked = node, frozenset(facilities), frozenset(blocked)
        self.patients: dict[str, str] = {}  # person -> PatientUID
        self.compositions: dict[str, Kept] = {}  # CompositionUID -> what it is
        self._admissions: dict[str, int] = {}  # what a person would call the same stay -> its last arrival

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """The node, and whom it knows."""
        super().options(parser)
        parser.add_argument("--node", default="node-1.test", help="this node's name, before '::' in every UID")
        parser.add_argument("--facility", action="append", default=[], help="a facility that is known; none: all are")
        parser.add_argument("--blocked", action="append", default=[], help="a SystemID that is blocked")
        told = "a further mandatory path, as vm:Composition/vm:Admission/vm:AdmissionWard/vm:Type"
        parser.add_argument("--mandatory", action="append", default=[], metavar="PATH", help=told)

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        more = {"facilities": options.facility, "blocked": options.blocked, "mandatory": options.mandatory}
        return cls(log, faults, ca=options.ca, node=options.node, **more)

    def become(self, node: str) -> None:
        """Another node takes over: it knows nobody, and old UIDs lead to a node that is down."""
        self._node = node
        self.patients.clear()
        self.compositions.clear()
        self.withdrawn.clear()
        self._admissions.clear()

    def judge(self, arrival: Arrival) -> Judged:
        """ResultVO with both UIDs, or with the first problem."""
        bill = checks.read(arrival.header("content-type"), arrival.body)
        return self._refused([bill]) if isinstance(bill, Problem) else self._judge(bill, arrival)

    def _judge(self, bill: Bill, arrival: Arrival) -> Judged:
        found = [*checks.problems(bill, self._mandatory), *self._rules(bill, arrival)]
        return self._refused(found) if found else self._accepted(bill, arrival)

    def _result(self, error: str = "", composition: str = "", patient: str = "") -> Answer:
        return result(error, composition, patient)

    def _rules(self, bill: Bill, arrival: Arrival) -> Iterable[Problem]:
        if bill.text("vm:MsgID/vm:SystemID/vm:ID") in self._blocked:
            yield Problem("SepasBlock", "SystemID is blocked")
        facility = bill.text("vm:MsgID/vm:HealthCareFacilityID/vm:ID")
        if self._facilities and facility not in self._facilities:
            yield Problem("Facility Validation", "the facility is not known")
        if self.anchors and (problem := checks.signature(bill, self.anchors, arrival.time)) is not None:
            yield problem
        yield from self._update(bill)

    def _update(self, bill: Bill) -> Iterable[Problem]:
        patient, composition = bill.text("vm:MsgID/vm:PatientUID"), bill.text("vm:MsgID/vm:CompositionUID")
        for uid in filter(None, (patient, composition)):
            if uid.partition("::")[0] != self._node:
                yield Problem("SepasNode", "Destination SepasNode is Down")
                return
        if patient and patient not in self.patients.values():
            yield Problem("Logic", "PatientUID is not known")
        if composition and composition not in self.compositions:
            yield Problem("Logic", "CompositionUID is not known")
        elif composition and self.compositions[composition].patient != patient:
            yield Problem("Logic", "CompositionUID does not belong to PatientUID")
        elif composition in self.withdrawn:
            yield Problem("Logic", "CompositionUID was deactivated")
        if _takes_back(bill) and not composition:
            yield Problem("Logic", "Deactivate needs a CompositionUID")

    def _accepted(self, bill: Bill, arrival: Arrival) -> Judged:
        person = bill.text("vm:Person/vm:NationalCode") or bill.text("vm:Person/vm:OtherIdentifier/vm:ID")
        person = person or f"unidentified {arrival.number}"
        patient = bill.text("vm:MsgID/vm:PatientUID") or self.patients.get(person) or self._uid()
        given = bill.text("vm:MsgID/vm:CompositionUID")
        composition = given or self._uid()
        business = _business(bill, person)
        verdict: dict[str, Any] = {
            "result": ("deactivated" if _takes_back(bill) else "updated") if given else "created",
            "message": etree.QName(bill.message).localname,
            "composition": composition,
            "signature": "verified" if self.anchors else "not checked",
        }
        if business in self._admissions and not given:
            verdict["repeat_of"] = self._admissions[business]
        kept: list[tuple[dict[Any, Any], Any, Any]] = [
            (self.patients, person, patient),
            (self.compositions, composition, Kept(patient, arrival.number)),
            (self._admissions, business, arrival.number),
        ]
        if _takes_back(bill):
            kept.append((self.withdrawn, composition, arrival.number))
        return Judged(self._result(composition=composition, patient=patient), verdict, kept)

    def _refused(self, found: list[Problem]) -> Judged:
        verdict = {"result": "refused", "problems": [str(each) for each in found]}
        return Judged(self._result(error=str(found[0])), verdict)

    def _uid(self) -> str:
        return f"{self._node}::{uuid.uuid4()}"

    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """A published category on order, somebody else's UIDs, a fault code that nobody knows, an error in a 200."""
        if order.name == "wrong-id":
            return self._result(composition=f"other-node::{uuid.uuid4()}")
        if order.name == "unknown-code":
            return fault("Unheard", "no such code")
        name = order.value or "Unknown"
        text = CATEGORIES.get(name, "")
        return self._result(error=text if name == "SepasNode" else f"{name}: {text}")


def _takes_back(bill: Bill) -> bool:
    return bill.text("vm:MsgID/vm:Deactivate") in ("true", "1")


def _business(bill: Bill, person: str) -> str:
    admission = "vm:Composition/vm:Admission/"
    date = [bill.text(f"{admission}vm:AdmissionDate/vm:{part}") for part in ("Year", "Month", "Day")]
    record = bill.text(f"{admission}vm:MedicalRecordNumber")
    return "|".join([person, bill.text("vm:MsgID/vm:HealthCareFacilityID/vm:ID"), record, *date])


def _envelope(content: etree._Element) -> bytes:
    envelope = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soap": SOAP})
    etree.SubElement(envelope, f"{{{SOAP}}}Body").append(content)
    return xml.write(envelope)


def result(error: str = "", composition: str = "", patient: str = "") -> Answer:
    """A ResultVO in its envelope."""
    response = etree.Element(f"{{{SERVICE}}}savePatientBillResponse", nsmap={"ns2": SERVICE, "vm": VM})
    inside = etree.SubElement(response, "return")
    fields = {"MessageUID": str(uuid.uuid4()), "ErrorMessage": error, "CompositionUID": composition}
    for name, value in {**fields, "patientUID": patient}.items():
        if value:
            etree.SubElement(inside, f"{{{VM}}}{name}").text = value
    return Answer(200, "text/xml; charset=utf-8", _envelope(response))


def fault(code: str, text: str) -> Answer:
    """A SOAP 1.1 fault."""
    made = etree.Element(f"{{{SOAP}}}Fault", nsmap={"soap": SOAP})
    etree.SubElement(made, "faultcode").text = f"soap:{code}"
    etree.SubElement(made, "faultstring").text = text
    return Answer(500, "text/xml; charset=utf-8", _envelope(made))
