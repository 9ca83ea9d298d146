"""Revocation: what is known about whether a certificate was withdrawn, from files only.

CRLs and OCSP responses are brought by the operator or by the refresher of this room, lie in one folder per
environment, and are read again when they change. Nothing here follows an address that stands in a certificate.

The rule (promise 6): *revoked* by any source that may speak is final; *good* needs one current source; everything
else is unknown, and unknown is a refusal unless an operator recorded a grace period with an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

import msgspec
from asn1crypto import crl, ocsp, pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509 as pyca
from cryptography.hazmat.primitives import hashes
from pyhanko_certvalidator.context import ValidationContext
from pyhanko_certvalidator.errors import (
    CRLNoMatchesError,
    CRLValidationError,
    CRLValidationIndeterminateError,
    OCSPNoMatchesError,
    OCSPValidationError,
    OCSPValidationIndeterminateError,
    PathError,
    RevokedError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.revinfo.validate_crl import verify_crl
from pyhanko_certvalidator.revinfo.validate_ocsp import verify_ocsp_response

from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json

REVOKED_BY_CRL: Final = "GW-SIGN-012"
REVOKED_BY_OCSP: Final = "GW-SIGN-013"
STALE: Final = "GW-SIGN-014"
UNKNOWN: Final = "GW-SIGN-015"
FOREIGN_RESPONDER: Final = "GW-SIGN-016"
FORGIVABLE: Final = frozenset({STALE, UNKNOWN})
"""The only codes that a recorded grace period covers."""


class Grace(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's record: unknown status is accepted until then. It never covers a revoked certificate."""

    until: Annotated[datetime, msgspec.Meta(tz=True)]
    recorded_by: str
    reason: str = ""


WITHDRAWN: Final = "withdrawn.txt"
GRACE: Final = "grace.json"
_RECORDS: Final = frozenset({WITHDRAWN, GRACE})
FINGERPRINT: Final = hashes.SHA256()


class Known(msgspec.Struct, frozen=True):
    """DER CRLs and OCSP responses, fingerprints that the operator withdrew, and a recorded grace period."""

    crls: tuple[bytes, ...] = ()
    ocsps: tuple[bytes, ...] = ()
    withdrawn: frozenset[str] = frozenset()
    grace: Grace | None = None


class Source(Protocol):
    """Where revocation information comes from."""

    def known(self) -> Known: ...


class Held:
    """Revocation information that was handed in."""

    def __init__(self, crls: Iterable[bytes] = (), ocsps: Iterable[bytes] = ()) -> None:
        self._known = Known(tuple(map(_der, crls)), tuple(map(_der, ocsps)))

    def known(self) -> Known:
        """What was handed in."""
        return self._known


class Folder:
    """Revocation information in a folder: `*.crl` and `*.ocsp`, DER or PEM; read again when a file changes.

    Beside them `withdrawn.txt` (SHA-256 fingerprints) and `grace.json`, which `gateway certs` writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._known = Known()

    def known(self) -> Known:
        """What lies in the folder now; while a file is being exchanged, what lay there before."""
        try:
            files = sorted(p for p in self._folder.glob("*") if p.suffix in {".crl", ".ocsp"} or p.name in _RECORDS)
            seen = tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in files)
            if seen != self._seen:
                self._known, self._seen = self._read({p: p.read_bytes() for p in files}), seen
        except OSError:
            return self._known
        return self._known

    def _read(self, files: Mapping[Path, bytes]) -> Known:
        return Known(
            tuple(_der(body) for p, body in files.items() if p.suffix == ".crl"),
            tuple(_der(body) for p, body in files.items() if p.suffix == ".ocsp"),
            frozenset(files.get(self._folder / WITHDRAWN, b"").decode("ascii", "replace").split()),
            _grace(files.get(self._folder / GRACE)),
        )


def read_grace(content: bytes) -> Grace:
    """The recorded grace period, or `Misconfigured`."""
    try:
        return msgspec.convert(json.read(content), Grace)
    except (msgspec.ValidationError, GatewayError) as error:
        raise Misconfigured("GW-SIGN-001", what=GRACE, detail=str(error)[:120]) from None


def _grace(content: bytes | None) -> Grace | None:
    """A record that cannot be read forgives nothing; `gateway certs check` says what is wrong with it."""
    try:
        return read_grace(content) if content is not None else None
    except Misconfigured:
        return None


def _der(content: bytes) -> bytes:
    try:
        return bytes(pem.unarmor(content)[2]) if pem.detect(content) else content
    except ValueError:
        return content  # broken armour: unreadable, so it says nothing


def readable(known: Known) -> tuple[list[crl.CertificateList], list[ocsp.OCSPResponse]]:
    """The parsed lists and responses; a file that cannot be parsed says nothing, so it counts as absent."""
    lists, responses = [], []
    for body in known.crls:
        try:
            parsed = crl.CertificateList.load(body, strict=True)
            head = parsed["tbs_cert_list"]
            _ = head["this_update"].native, head["next_update"].native, parsed.issuer.hashable
            _ = head["crl_extensions"].native, parsed.issuing_distribution_point_value, parsed.crl_number_value
            usable = _entries_understood(body, delta=parsed.delta_crl_indicator_value is not None)
        except _BROKEN:
            continue
        if usable:
            lists.append(parsed)
    for body in known.ocsps:
        try:
            response = ocsp.OCSPResponse.load(body, strict=True)
            _ = response.response_data["responses"].native
        except _BROKEN:
            continue
        responses.append(response)
    return lists, responses


def _entries_understood(body: bytes, delta: bool) -> bool:
    """False where an entry has an unknown critical extension: then the list says nothing (RFC 5280 section 5.3).

    And where a full list takes an entry back, which only a delta list can (5.3.1). ValueError for no list.
    """
    if _CRITICAL not in body and _REMOVED not in body:
        return True  # a list of a hundred thousand entries is looked through only where there can be such an entry
    return all(
        not (extension.critical and isinstance(extension.value, pyca.UnrecognizedExtension))
        and (delta or getattr(extension.value, "reason", None) is not pyca.ReasonFlags.remove_from_crl)
        for entry in pyca.load_der_x509_crl(body)
        for extension in entry.extensions
    )


_CRITICAL: Final = b"\x01\x01\xff"  # the BOOLEAN that is true
_REMOVED: Final = b"\x0a\x01\x08"  # the reason removeFromCRL


def relevant(
    lists: list[crl.CertificateList], path: ValidationPath, others: Iterable[asn1_x509.Certificate]
) -> list[crl.CertificateList]:
    """The lists that may speak about the path: of its issuers, of CRL issuers that its certificates name, and of
    those CRL issuers' own issuers. The rest is left out, because the validator would try every list on every
    certificate and its work grows without bound in a folder of many authorities.
    """
    names = {cert.issuer.hashable for cert in path}
    for cert in path:
        names |= {name.hashable for name in _named_issuers(cert)}
    names |= {cert.issuer.hashable for cert in others if cert.subject.hashable in names}
    return [each for each in lists if each.issuer.hashable in names]


def _named_issuers(cert: asn1_x509.Certificate) -> list[asn1_x509.Name]:
    points = cert.crl_distribution_points_value or []
    general = [g for p in points if p["crl_issuer"].native for g in p["crl_issuer"]]
    return [g.chosen for g in general if g.name == "directory_name"]


_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError)  # asn1crypto, deep inside a list or response

Status = Literal["good", "revoked", "stale", "unknown", "foreign"]


async def _by_ocsp(cert: asn1_x509.Certificate, path: ValidationPath, context: ValidationContext) -> Status:
    try:
        await verify_ocsp_response(cert, path, context)
    except RevokedError:
        return "revoked"
    except OCSPNoMatchesError:
        return "unknown"
    except OCSPValidationIndeterminateError as error:
        return "stale" if error.suspect_stale else "foreign"
    except (OCSPValidationError, ValidationError, PathError, *_BROKEN):
        return "foreign"
    return "good"


async def _by_crl(cert: asn1_x509.Certificate, path: ValidationPath, context: ValidationContext) -> Status:
    try:
        await verify_crl(cert, path, context)
    except RevokedError:
        return "revoked"
    except CRLNoMatchesError:
        return "unknown"
    except CRLValidationIndeterminateError as error:
        return "stale" if error.suspect_stale else "unknown"
    except (CRLValidationError, ValidationError, PathError, *_BROKEN):
        return "unknown"
    return "good"


def answered(responses: Iterable[ocsp.OCSPResponse]) -> Mapping[int, list[ocsp.OCSPResponse]]:
    """The responses by the serial numbers that they speak about."""
    found: dict[int, list[ocsp.OCSPResponse]] = {}
    for response in responses:
        for single in response.response_data["responses"]:
            found.setdefault(int(single["cert_id"]["serial_number"].native), []).append(response)
    return found


async def status(
    cert: asn1_x509.Certificate,
    path: ValidationPath,
    context: ValidationContext,
    answers: Iterable[ValidationContext],
) -> str | None:
    """None when the certificate is known to be good, else the code of what is known. All sources are asked.

    `answers` hold one OCSP response each, of those about its serial number: the library would stop at the first good
    one, and an answer about somebody else is no answer.
    """
    by_crl = await _by_crl(cert, path, context)
    by_ocsp = {await _by_ocsp(cert, path, each) for each in answers}
    if by_crl == "revoked":
        return REVOKED_BY_CRL
    if "revoked" in by_ocsp:
        return REVOKED_BY_OCSP
    if "good" in {by_crl, *by_ocsp}:
        return None
    if "foreign" in by_ocsp:
        return FOREIGN_RESPONDER
    return STALE if "stale" in {by_crl, *by_ocsp} else UNKNOWN
