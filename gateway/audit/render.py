"""A kept event as a FHIR R4 AuditEvent, through the typed layer (R4B classes: the element names are R4's).

Nothing is added that the record does not have, so nothing can identify a person: things are named by our ids,
agents by their names in the settings.
"""

from __future__ import annotations

from typing import Any, Final

from fhir.resources.R4B.auditevent import AuditEvent

from gateway.audit import codes
from gateway.formats import json
from gateway.message import AuditRecord, Json

SYSTEM: Final = "urn:gateway"
"""Base of the identifier systems of ours, unless the caller has a canonical of its own."""

_FHIR_TYPE: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _coding(code: str) -> dict[str, str]:
    return codes.coding(code)._asdict()


def _agents(record: AuditRecord, observer: str, system: str) -> list[dict[str, Any]]:
    """Who did it and, for what crossed our border, the other side: source and destination (DICOM roles)."""
    other = {"who": {"identifier": {"system": f"{system}/agent", "value": record.agent}}}
    own = {"who": {"identifier": {"system": f"{system}/gateway", "value": observer}}, "requestor": False}
    if record.type == codes.IMPORT:
        source = {"type": {"coding": [_coding(codes.SOURCE_ROLE)]}}
        return [source | other | {"requestor": True}, {"type": {"coding": [_coding(codes.DESTINATION_ROLE)]}} | own]
    if record.type == codes.EXPORT:
        source = {"type": {"coding": [_coding(codes.SOURCE_ROLE)]}}
        reached = {"type": {"coding": [_coding(codes.DESTINATION_ROLE)]}}
        return [source | own | {"requestor": True}, reached | other | {"requestor": False}]
    return [other | {"requestor": True}]


def _entity(name: str, detail: list[dict[str, str]], system: str) -> dict[str, Any]:
    kind, _, id = name.partition("/")
    if kind[0] in _FHIR_TYPE:
        what: dict[str, Any] = {"reference": name}
    else:
        what = {"identifier": {"system": f"{system}/{kind}", "value": id}}
    return {"what": what} | ({"detail": detail} if detail else {})


def typed(record: AuditRecord, id: str, observer: str = "gateway", system: str = SYSTEM) -> AuditEvent:
    """The event as a typed resource. `id` is its permanent name in the store, `observer` names this gateway."""
    detail = [{"type": key, "valueString": value} for key, value in sorted(record.detail.items())]
    names = record.entities or ((f"gateway/{observer}",) if detail else ())
    entities = [_entity(name, detail if first == 0 else [], system) for first, name in enumerate(names)]
    values: dict[str, Any] = {
        "id": id,
        "type": _coding(record.type),
        "action": record.action,
        "recorded": record.at,
        "outcome": record.outcome,
        "agent": _agents(record, observer, system),
        "source": {"observer": {"identifier": {"system": f"{system}/gateway", "value": observer}}},
    }
    if record.subtype:
        values["subtype"] = [_coding(record.subtype)]
    if entities:
        values["entity"] = entities
    return AuditEvent(**values)


def document(record: AuditRecord, id: str, observer: str = "gateway", system: str = SYSTEM) -> Json:
    """The event as a JSON document."""
    made: Json = json.read(typed(record, id, observer, system).model_dump_json().encode())
    return made
