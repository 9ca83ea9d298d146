"""The facts of a month as resources, made directly: what the mapping makes of the rows, as far as views look at it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import toscana_conto as conto
from toscana_lab import BASE
from toscana_mese import ROME, SERVICES, Month, Offer, Request

Json = dict[str, Any]


def _extension(name: str, kind: str, value: Any) -> Json:
    return {"url": f"{BASE}/StructureDefinition/{name}", f"value{kind}": value}


def _azienda(company: str) -> Json:
    return _extension("azienda", "Identifier", {"system": f"{BASE}/identifier/azienda", "value": company})


def _coding(system: str, code: str) -> Json:
    return {"system": f"{BASE}/CodeSystem/{system}", "code": code}


def _moment(value: datetime) -> str:
    return value.isoformat(timespec="seconds")


def request_id(number: int) -> str:
    return f"sr-{number}"


def request(each: Request) -> Json:
    voce, code, discipline, level, *_ = SERVICES[each.service]
    limit = conto.deadline(each, each.contact)
    extensions = [_azienda(each.company), _extension("data-contatto", "DateTime", _moment(each.contact))]
    extensions.append(_extension("tipo-contatto", "Coding", _coding("tipo-contatto", conto.kind(each))))
    if each.cls:
        national = {"system": "urn:oid:2.16.840.1.113883.2.9.5.2.3", "code": each.cls}
        extensions.append(_extension("classe-priorita", "Coding", national))
    if not each.contact_kind:
        extensions.append(_extension("tipo-contatto-derivato", "Boolean", True))
    if limit:
        extensions.append(_extension("termine", "DateTime", _moment(limit.astimezone(ROME))))
    if level:
        extensions.append(_extension("livello", "Code", level))
    if each.regime:
        extensions.append(_extension("regime", "Coding", _coding("regime", each.regime)))
    if each.flare:
        extensions.append(_extension("riacutizzazione", "Boolean", True))
    where = {"system": f"{BASE}/identifier/azienda", "value": each.residence}
    extensions.append(_extension("asl-residenza", "Identifier", where))
    codings = [_coding("nomenclatore", code)] + ([_coding("voce-piano", voce)] if voce else [])
    made: Json = {
        "resourceType": "ServiceRequest",
        "id": request_id(each.number),
        "extension": extensions,
        "requisition": {"value": each.nre},
        "status": "active",
        "intent": "order",
        "code": {"coding": codings},
        "subject": {"reference": f"Patient/p-{each.patient}"},
        "authoredOn": each.prescribed.isoformat(),
        "requester": {"reference": f"Practitioner/d-{each.prescriber}"},
    }
    if discipline:
        made["performerType"] = {"coding": [_coding("disciplina", discipline)]}
    if each.screening:
        made["category"] = [{"coding": [_coding("categoria-richiesta", "screening")]}]
    if each.question:
        made["reasonCode"] = [{"text": "Quesito di prova"}]
    return made


def offer(of: Request, each: Offer) -> Iterator[Json]:
    place = {"system": f"{BASE}/identifier/struttura", "value": each.structure}
    limit = conto.deadline(of, each.created)
    extensions = [_azienda(of.company), _extension("struttura", "Identifier", place)]
    extensions.append(_extension("canale", "Coding", _coding("canale", each.channel)))
    if of.regime:
        extensions.append(_extension("regime", "Coding", _coding("regime", of.regime)))
    if limit:
        extensions.append(_extension("termine", "DateTime", _moment(limit.astimezone(ROME))))
    if each.cancelled:
        url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.cancellationDate"
        extensions.append({"url": url, "valueDateTime": _moment(each.cancelled)})
    yield {
        "resourceType": "Appointment",
        "id": each.number,
        "identifier": [{"system": f"{BASE}/identifier/prenotazione", "value": each.number}],
        "extension": extensions,
        "status": "proposed" if each.state == "refused" else each.state,
        "serviceType": [{"coding": [_coding("nomenclatore", SERVICES[of.service][1])]}],
        "created": _moment(each.created),
        "start": _moment(each.start),
        "end": _moment(each.start + timedelta(minutes=30)),
        "basedOn": [{"reference": f"ServiceRequest/{request_id(of.number)}"}],
        "participant": [{"actor": {"reference": f"Patient/p-{of.patient}"}, "status": "accepted"}],
    }
    if each.state == "refused":
        yield {
            "resourceType": "AppointmentResponse",
            "id": f"{each.number}-r",
            "appointment": {"reference": f"Appointment/{each.number}"},
            "participantStatus": "declined",
        }
    if each.delivered:
        yield from delivered(of, each, place)


def delivered(of: Request, each: Offer, place: Json) -> Iterator[Json]:
    assert each.delivered is not None
    extensions = [_azienda(of.company), _extension("struttura", "Identifier", place)]
    if of.regime:
        extensions.append(_extension("regime", "Coding", _coding("regime", of.regime)))
    encounter: Json = {
        "resourceType": "Encounter",
        "id": f"{each.number}-e",
        "extension": extensions,
        "status": "finished",
        "class": {"code": "AMB"},
        "type": [{"coding": [_coding("nomenclatore", SERVICES[of.service][1])]}],
        "subject": {"reference": f"Patient/p-{of.patient}"},
        "basedOn": [{"reference": f"ServiceRequest/{request_id(of.number)}"}],
        "appointment": [{"reference": f"Appointment/{each.number}"}],
        "period": {"start": _moment(each.delivered)},
    }
    if SERVICES[of.service][2]:
        encounter["serviceType"] = {"coding": [_coding("disciplina", SERVICES[of.service][2])]}
    yield encounter
    if each.report:
        report: Json = {
            "resourceType": "DiagnosticReport", "id": f"{each.number}-d", "status": "final",
            "code": {"coding": [_coding("nomenclatore", SERVICES[of.service][1])]},
            "encounter": {"reference": f"Encounter/{each.number}-e"}, "issued": _moment(each.report),
        }  # fmt: skip
        if each.collected:
            report["extension"] = [_extension("ritiro-referto", "DateTime", _moment(each.collected))]
        yield report


def resources(month: Month) -> Iterator[Json]:
    """Everything of the requests; pathways, operations and agendas go through their mappings in every run."""
    for each in month.requests:
        yield request(each)
        for one in each.offers:
            yield from offer(each, one)
