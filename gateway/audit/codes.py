"""The codes that audit events use, with their systems and displays.

From FHIR R4 value sets audit-event-type and audit-event-sub-type: DICOM PS3.16 (CID 400, 401), the lifecycle of
ISO 21089, and the RESTful interactions.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.errors import Broken

DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"

APPLICATION: Final = "110100"
AUDIT_LOG_USED: Final = "110101"
EXPORT: Final = "110106"
IMPORT: Final = "110107"
PATIENT_RECORD: Final = "110110"
SECURITY_ALERT: Final = "110113"
USER_AUTHENTICATION: Final = "110114"
REST: Final = "rest"

START: Final = "110120"
STOP: Final = "110121"
LOGIN: Final = "110122"
SECURITY_CONFIGURATION: Final = "110129"
RESTRICTED_FUNCTION: Final = "110132"

SOURCE_ROLE: Final = "110153"
DESTINATION_ROLE: Final = "110152"

_KNOWN: Final[dict[str, tuple[str, str]]] = {
    APPLICATION: (DCM, "Application Activity"),
    AUDIT_LOG_USED: (DCM, "Audit Log Used"),
    EXPORT: (DCM, "Export"),
    IMPORT: (DCM, "Import"),
    PATIENT_RECORD: (DCM, "Patient Record"),
    SECURITY_ALERT: (DCM, "Security Alert"),
    USER_AUTHENTICATION: (DCM, "User Authentication"),
    START: (DCM, "Application Start"),
    STOP: (DCM, "Application Stop"),
    LOGIN: (DCM, "Login"),
    SECURITY_CONFIGURATION: (DCM, "Security Configuration"),
    RESTRICTED_FUNCTION: (DCM, "Use of Restricted Function"),
    SOURCE_ROLE: (DCM, "Source Role ID"),
    DESTINATION_ROLE: (DCM, "Destination Role ID"),
    REST: (TYPE, "RESTful Operation"),
    **{
        code: (LIFECYCLE, f"{code.capitalize()} Record Lifecycle Event")
        for code in (
            "access",
            "attest",
            "deprecate",
            "disclose",
            "hold",
            "receive",
            "report",
            "transform",
            "transmit",
            "unhold",
            "verify",
        )
    },
    **{
        code: (RESTFUL, code)
        for code in (
            "read",
            "vread",
            "create",
            "update",
            "delete",
            "search-type",
            "search-system",
            "history-instance",
            "history-type",
            "history-system",
            "capabilities",
            "operation",
        )
    },
}


class Coding(NamedTuple):
    """One code with its system."""

    system: str
    code: str
    display: str


def coding(code: str) -> Coding:
    """The code in full; `Broken` GW-AUDIT-002 for one that no table here has."""
    if code not in _KNOWN:
        raise Broken("GW-AUDIT-002", name=code)
    system, display = _KNOWN[code]
    return Coding(system, code, display)
