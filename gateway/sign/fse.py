"""The two tokens of the Italian health record gateway (FSE 2.0): the bearer and `FSE-JWT-Signature`.

Source: the ministry's integration guide v2.22, chapter on security. Both are signed with the S1 certificate; the A1
certificate is for TLS only. Times are seconds, `x5c` is an array, `iss` has a prefix, `sub` is an HL7 CX.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from cryptography.x509.oid import NameOID

from gateway.sign import tokens
from gateway.sign.keys import KeyHandle

SIGNATURE_HEADER: Final = "FSE-JWT-Signature"
PERSON_ROOT: Final = "2.16.840.1.113883.2.9.4.3.2"
BEARER_PREFIX: Final = "auth:"
SIGNATURE_PREFIX: Final = "integrity:"
STRUCTURE_ROOTS: Final = ("2.16.840.1.113883.2.9.4.1.2", "2.16.840.1.113883.2.9.4.1.3")  # HSP.11, STS.11


class Claims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims of the signature token beside the registered ones; names are those of the guide."""

    sub: str
    subject_organization_id: str
    subject_organization: str
    locality: str
    subject_role: str
    person_id: str
    purpose_of_use: str
    resource_hl7_type: str
    action_id: Literal["CREATE", "READ", "UPDATE", "DELETE"]
    subject_application_id: str
    subject_application_vendor: str
    subject_application_version: str
    patient_consent: bool = msgspec.field(default=True)
    attachment_hash: str = ""
    use_subject_as_author: bool | None = None


def cx(fiscal_code: str) -> str:
    """A fiscal code as the gateway wants it in `sub` and `person_id`."""
    return f"{fiscal_code}^^^&{PERSON_ROOT}&ISO"


def xon(name: str, root: str, id: str) -> str:
    """A structure as the gateway wants it in `locality`."""
    return f"{name}^^^^^&{root}&ISO^^^^{id}"


def attachment_hash(file: bytes) -> str:
    """SHA-256 of exactly the bytes in the `file` part."""
    return hashlib.sha256(file).hexdigest()


def common_name(handle: KeyHandle) -> str:
    """The CN that `iss` has to carry."""
    return str(handle.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def bearer(handle: KeyHandle, base_url: str, subject: str, now: datetime, lifetime: int = 300) -> dict[str, str]:
    """The Authorization header. `base_url` is the base with its version; `subject` is in CX form."""
    claims = {"iss": BEARER_PREFIX + common_name(handle), "aud": base_url, "sub": subject}
    return {"Authorization": "Bearer " + tokens.make(handle, claims, now, lifetime=lifetime)}


def signature(
    handle: KeyHandle, base_url: str, claims: Claims, now: datetime, file: bytes | None = None, lifetime: int = 300
) -> dict[str, str]:
    """The FSE-JWT-Signature header. `file` is given at creation and replacement, and its digest is claimed."""
    full: dict[str, Any] = msgspec.to_builtins(claims)
    full |= {"iss": SIGNATURE_PREFIX + common_name(handle), "aud": base_url, "patient_consent": claims.patient_consent}
    if file is not None:
        full["attachment_hash"] = attachment_hash(file)
    return {SIGNATURE_HEADER: tokens.make(handle, full, now, lifetime=lifetime)}
