"""The trust doctor as one function: whatever is shown is looked at, offline, and every fault said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from cryptography import x509

from gateway.errors import finding
from gateway.message import Finding
from gateway.sign import doctor, doctor_forms
from gateway.sign.doctor import Profile, Seen
from gateway.sign.trust import Trust


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody shows. Bytes are base64 in JSON; certificates are PEM, leaf first. All of it is optional.

    `token` is a JWT in compact form, and `file`, `body`, `headers`, `tls`, `patient`, `workflow`, `activity`,
    `published` and `audience` what it was or will be sent with; `message` is a whole SOAP, XML or JSON document;
    `evidence` a detached JWS over `message`.
    """

    token: str = ""
    profile: Profile = ""
    audience: str = ""
    file: bytes | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    tls: str = ""
    patient: str = ""
    workflow: str = ""
    activity: str = ""
    published: bool = False
    message: bytes | None = None
    evidence: str = ""
    certificate: str = ""


def consult(asked: Asked, trust: Trust | None, at: datetime) -> tuple[Finding, ...]:
    """Everything that a peer will refuse of what is shown; one information where no fault can be seen."""
    found = [each for each in _looked(asked, trust, at) if each.code != "GW-SIGN-131"]
    return tuple(found) or (finding("GW-SIGN-131"),)


def _looked(asked: Asked, trust: Trust | None, at: datetime) -> Iterator[Finding]:
    if asked.token:
        tls = _pem(asked.tls)
        yield from doctor.look(
            Seen(
                token=asked.token,
                at=at,
                profile=asked.profile,
                audience=asked.audience,
                file=asked.file,
                body=asked.body,
                headers=asked.headers,
                tls=tls[0] if tls else None,
                trust=trust,
                patient=asked.patient,
                workflow=asked.workflow,
                activity=asked.activity,
                published=asked.published,
            )
        )
    if asked.message is not None and asked.evidence:
        yield from doctor_forms.detached(asked.message, asked.evidence, trust, at)
    elif asked.message is not None:
        yield from doctor_forms.message(asked.message, trust or Trust("document", ()), at)
    for name in ("certificate", "tls"):
        text = getattr(asked, name)
        if text and not _pem(text):
            yield finding("GW-SIGN-001", what=name, detail="it is not a PEM certificate")
    if chain := _pem(asked.certificate):
        yield from doctor_forms.chain(chain, trust, at)


def _pem(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode()) if text else []
    except ValueError:
        return []
