"""Evidence: a detached JWS over a document's exact bytes, and the FHIR Provenance that carries it.

The signature is RFC 7515 appendix F with RFC 7797's unencoded payload, so what is signed are the bytes on disk and
nothing is canonicalised. The Provenance stands beside the document, never inside what it signs (DESIGN section 6).
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from gateway.errors import Refused
from gateway.formats import json
from gateway.message import Evidence, Json
from gateway.sign import algorithms, jws
from gateway.sign.algorithms import Algorithm
from gateway.sign.keys import KeyHandle, check_validity
from gateway.sign.trust import Trust

MEDIA_TYPE: Final = "application/jose"
TOLERANCE: Final = timedelta(minutes=5)
_ASTM: Final = "urn:iso-astm:E1762-95:2013"


class EvidenceMaker:
    """Signs documents (`ports.EvidenceSigner`); picklable, because the handle is."""

    def __init__(self, handle: KeyHandle, algorithm: Algorithm | None = None) -> None:
        self._handle = handle
        self._algorithm: Algorithm = algorithm or handle.algorithm
        self._digest = handle.thumbprint
        self._first: tuple[datetime | None, str] = (None, "")
        self._header = {"x5t#S256": jws.x5t_s256(handle.certificate), "x5c": jws.x5c(handle)}

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate that the evidence will name."""
        return self._handle.certificate

    def sign(self, body: bytes, at: datetime) -> Evidence:
        """The evidence over exactly these bytes; refused when the certificate is not valid at that instant."""
        check_validity(self._handle, at)
        when = _whole(at)
        if when != self._first[0]:  # the header changes once a second, the bytes every time
            header = {"alg": self._algorithm, **self._header, "sigT": _stamp(at), "b64": False, "crit": ["b64"]}
            self._first = (when, jws.encode(json.write(header)))
        first = self._first[1]
        value = self._handle.sign(first.encode("ascii") + b"." + body, self._algorithm)
        made = f"{first}..{jws.encode(value)}"
        return Evidence(jws=made, algorithm=self._algorithm, certificate_digest=self._digest, signed_at=when)


def verify(body: bytes, evidence: Evidence, trust: Trust, at: datetime | None = None) -> x509.Certificate:
    """Promise that the evidence is a trusted signer's over exactly `body`, or raise `Refused`.

    `trust` holds the anchors of the document signers; the certificate is judged at the signing time, or at `at`
    when given. The algorithm is the one that belongs to the certificate's key, never one that the header picks.
    Returns the signer's certificate.
    """
    certificates = jws.certificates_of(jws.header_of(evidence.jws))
    leaf = certificates[0]
    key = algorithms.public_key(leaf)
    expected = [a for a in algorithms.allowed(key) if a == evidence.algorithm]
    if not expected:
        raise Refused("GW-SIGN-041", algorithm=evidence.algorithm[:40])
    trust.check(leaf, certificates[1:], at or evidence.signed_at)
    header, _ = jws.verify(evidence.jws, key, expected[0], payload=body, unencoded=True)
    named = header.get("x5t#S256") == jws.x5t_s256(leaf)
    if not named or evidence.certificate_digest != jws.decode(jws.x5t_s256(leaf)).hex():
        raise Refused("GW-SIGN-044")
    if header.get("sigT") != _stamp(evidence.signed_at):
        raise Refused("GW-SIGN-045")
    return leaf


def _whole(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)


def _stamp(at: datetime) -> str:
    return _whole(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def signature(evidence: Evidence, who: Json, target: str = "application/fhir+json") -> Json:
    """A FHIR R4 Signature (datatype): the JWS in `data`, ASTM E1762 verification signature as its type."""
    return {
        "type": [{"system": _ASTM, "code": "1.2.840.10065.1.12.1.5", "display": "Verification Signature"}],
        "when": _stamp(evidence.signed_at),
        "who": who,
        "targetFormat": target,
        "sigFormat": MEDIA_TYPE,
        "data": base64.b64encode(evidence.jws.encode("ascii")).decode("ascii"),
    }


def provenance(evidence: Evidence, id: str, document: str, digest: str, agent: str) -> Json:
    """The Provenance that carries the evidence of one document; of one shape always, which two validators accept.

    `document` is the reference of the Binary with the exact bytes, `digest` their SHA-256 in hexadecimal, `agent`
    the name under which this gateway is known.
    """
    who: Json = {"display": agent}
    return {
        "resourceType": "Provenance",
        "id": id,
        "target": [{"reference": document, "identifier": {"system": "urn:ietf:rfc:3986", "value": _ni(digest)}}],
        "recorded": _stamp(evidence.signed_at),
        "activity": {"coding": [{"system": _ASTM, "code": "1.2.840.10065.1.12.1.5"}]},
        "agent": [{"type": {"coding": [{"system": _PARTICIPANT, "code": "assembler"}]}, "who": who}],
        "signature": [signature(evidence, who)],
    }


_PARTICIPANT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def _ni(digest: str) -> str:
    """The digest as RFC 6920 names it."""
    return "ni:///sha-256;" + jws.encode(bytes.fromhex(digest))
