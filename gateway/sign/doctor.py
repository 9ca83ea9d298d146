"""The trust doctor: says offline, in one sentence each, what a peer will refuse about a token and why.

The causes are those that people meet (answers of the health-record gateway and of ModI services that give no
reason). A check is one small function; the doctor runs all that apply and never stops at the first. It reads
leniently what it is shown, because it has to speak about things that a verifier would just refuse.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from gateway.errors import GatewayError, finding
from gateway.formats import json
from gateway.message import Finding, Json
from gateway.sign import algorithms, certificates, fse, modi
from gateway.sign.trust import Trust

Profile = Literal["fse-bearer", "fse-signature", "modi", ""]
BOM: Final = b"\xef\xbb\xbf"
_ADMITTED: Final = {"": ("RS256", "ES256"), "modi": ("RS256", "ES256")}
_FSE_ALGORITHMS: Final = ("RS256", "RS384", "RS512")
_CX: Final = re.compile(r"[^^&]+\^\^\^&2\.16\.840\.1\.113883\.2\.9\.4\.3\.2&ISO")
_XON: Final = re.compile(r"[^^]*\^{5}&2\.16\.840\.1\.113883\.2\.9\.4\.1\.[23]&ISO\^{4}[^^]+")
_ROLE: Final = re.compile(r"(A1|S1)#(\d{3})")
_REGISTERED: Final = ("iss", "iat", "exp", "jti", "aud", "sub")
_SIGNATURE_CLAIMS: Final = (
    "subject_organization_id",
    "subject_organization",
    "locality",
    "subject_role",
    "person_id",
    "patient_consent",
    "purpose_of_use",
    "resource_hl7_type",
    "action_id",
    "subject_application_id",
    "subject_application_vendor",
    "subject_application_version",
)


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the doctor is shown. Only `token` and `at` are needed; each further part allows further checks.

    `file` is the bytes in the file part, `body` the request body as it leaves, `headers` the HTTP headers,
    `tls` the certificate used for TLS, `patient` the fiscal code in the document, `workflow` the
    workflowInstanceId, `activity` what was asked at validation, and `published` whether something was published with
    that workflowInstanceId already.
    """

    token: str
    at: datetime
    profile: Profile = ""
    audience: str = ""
    file: bytes | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    tls: x509.Certificate | None = None
    trust: Trust | None = None
    patient: str = ""
    workflow: str = ""
    activity: str = ""
    published: bool = False


class _Case(msgspec.Struct, frozen=True, kw_only=True):
    """The token taken apart as far as it goes."""

    seen: Seen
    header: Json
    claims: Json
    certificates: tuple[x509.Certificate, ...]

    @property
    def fse(self) -> bool:
        return self.seen.profile.startswith("fse")


def look(seen: Seen) -> tuple[Finding, ...]:
    """Everything that will be refused; when nothing is seen, one information that says so."""
    parts = seen.token.strip().split(".")
    header, claims = _lenient(parts[0]), _lenient(parts[1] if len(parts) > 1 else "")
    if len(parts) != 3 or header is None or claims is None:
        return (finding("GW-SIGN-101", detail="three parts of base64url JSON are wanted"), *_boms(seen))
    case = _Case(seen=seen, header=header, claims=claims, certificates=_certificates(header))
    found = tuple(f for check in CHECKS for f in check(case))
    return found or (finding("GW-SIGN-131"),)


def _lenient(part: str) -> Json | None:
    try:
        content = base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4))
        value = json.read(content.removeprefix(BOM))
    except (binascii.Error, ValueError, GatewayError):
        return None
    return value if isinstance(value, dict) else None


def _entries(header: Json) -> list[str]:
    value = header.get("x5c")
    return [value] if isinstance(value, str) else [v for v in value if isinstance(v, str)] if value else []


def _bytes(entry: str) -> bytes:
    bare = re.sub(r"-----[A-Z ]+-----", "", entry)
    try:
        return base64.b64decode("".join(bare.split()))
    except binascii.Error:
        return b""


def _certificates(header: Json) -> tuple[x509.Certificate, ...]:
    found = []
    for entry in _entries(header):
        try:
            found.append(certificates.load(_bytes(entry)))
        except ValueError:
            continue
    return tuple(found)


def _boms(seen: Seen) -> Iterator[Finding]:
    for what, content in (("file", seen.file), ("body", seen.body)):
        if content is not None and content.startswith(BOM):
            yield finding("GW-SIGN-114", what=what)


# --- the checks, one cause each ----------------------------------------


def _bom(case: _Case) -> Iterator[Finding]:
    yield from _boms(case.seen)


def _algorithm(case: _Case) -> Iterator[Finding]:
    admitted = _FSE_ALGORITHMS if case.fse else _ADMITTED[""]
    if case.header.get("alg") not in admitted:
        yield finding("GW-SIGN-106", algorithm=str(case.header.get("alg"))[:20], admitted=", ".join(admitted))
    if str(case.header.get("typ", "")).upper() != "JWT":
        yield finding("GW-SIGN-128", found=str(case.header.get("typ", "-"))[:20])


def _x5c(case: _Case) -> Iterator[Finding]:
    value = case.header.get("x5c")
    if value is None:
        if case.fse or not ({"kid", "x5t#S256", "x5u"} & set(case.header)):
            near = next((k for k in case.header if k.lower() in {"xc5", "x5c", "x5cs"}), "")
            yield finding("GW-SIGN-105", hint=f" ({near})" if near else "")
        return
    if not isinstance(value, list):
        yield finding("GW-SIGN-102")
    for entry in _entries(case.header):
        if "-----" in entry or len(entry.split()) > 1 or entry != entry.strip():
            yield finding("GW-SIGN-103")
        yield from _not_a_certificate(_bytes(entry))


_PKCS12_DATA: Final = bytes.fromhex("06092a864886f70d010701")


def _not_a_certificate(content: bytes) -> Iterator[Finding]:
    try:
        certificates.load(content)
    except ValueError:
        found = "a PKCS#12 file" if _PKCS12_DATA in content[:64] else "something else"
        yield finding("GW-SIGN-104", found=found)


def _times(case: _Case) -> Iterator[Finding]:
    now = int(case.seen.at.timestamp())
    plain: dict[str, int] = {}
    for name in ("iat", "nbf", "exp"):
        value = case.claims.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            yield finding("GW-SIGN-055", claim=name)
        elif value > 10**11:
            yield finding("GW-SIGN-107", claim=name)
        else:
            plain[name] = value
    if plain.get("exp", now + 1) <= now:
        yield finding("GW-SIGN-051")
    if plain.get("iat", now) > now + 5:
        yield finding("GW-SIGN-052")
    if plain.get("nbf", now) > now + 5:
        yield finding("GW-SIGN-130")


def _missing(case: _Case) -> Iterator[Finding]:
    wanted = _REGISTERED if case.fse else ("iat", "exp", "aud")
    if case.seen.profile == "fse-signature":
        wanted = (*wanted, *_SIGNATURE_CLAIMS)
        if case.claims.get("action_id") in {"CREATE", "UPDATE"} and case.seen.file is not None:
            wanted = (*wanted, "attachment_hash")
    stripped = {k.strip() for k in case.claims}
    for name in wanted:
        if name not in stripped or case.claims.get(name) == "":
            yield finding("GW-SIGN-115", claim=name)


def _spaces(case: _Case) -> Iterator[Finding]:
    for name, value in case.claims.items():
        if name != name.strip() or (isinstance(value, str) and value != value.strip()):
            yield finding("GW-SIGN-116", claim=name.strip()[:60])


def _audience(case: _Case) -> Iterator[Finding]:
    wanted = case.seen.audience
    value = case.claims.get("aud")
    if wanted and value is not None and wanted not in (value if isinstance(value, list) else [value]):
        yield finding("GW-SIGN-123", expected=wanted)


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _issuer(case: _Case) -> Iterator[Finding]:
    if not case.fse:
        return
    said = str(case.claims.get("iss", ""))
    bearer = case.seen.profile == "fse-bearer"
    ours, other = (fse.BEARER_PREFIX, fse.SIGNATURE_PREFIX) if bearer else (fse.SIGNATURE_PREFIX, fse.BEARER_PREFIX)
    if said.startswith(other):
        yield finding("GW-SIGN-134", found=other.rstrip(":"))
    elif not said.startswith(ours):
        yield finding("GW-SIGN-108", expected=ours)
    if case.certificates:
        name = _common_name(case.certificates[0])
        if said.removeprefix(ours).removeprefix(other) != name:
            yield finding("GW-SIGN-109", expected=name)


def _subject(case: _Case) -> Iterator[Finding]:
    if not case.fse:
        return
    for name in ("sub", "person_id"):
        value = case.claims.get(name)
        if isinstance(value, str) and not _CX.fullmatch(value.strip()):
            yield finding("GW-SIGN-110", claim=name)
    locality = case.claims.get("locality")
    if isinstance(locality, str) and not _XON.fullmatch(locality.strip()):
        yield finding("GW-SIGN-129")


def _swapped(case: _Case) -> Iterator[Finding]:
    for certificate, expected in ((case.certificates[:1], "S1"), ((case.seen.tls,), "A1")):
        for each in certificate:
            role = _ROLE.match(_common_name(each)) if each is not None else None
            if role and role[1] != expected:
                yield finding("GW-SIGN-111", found=role[1], expected=expected)


def _region(case: _Case) -> Iterator[Finding]:
    shown = [c for c in (*case.certificates[:1], case.seen.tls) if c is not None]
    regions = [m[2] for c in shown if (m := _ROLE.match(_common_name(c)))]
    claimed = case.claims.get("subject_organization_id")
    said = [*regions, *([claimed.strip()] if isinstance(claimed, str) else [])]
    for found in said[1:]:
        if regions and found != regions[0]:
            yield finding("GW-SIGN-112", found=found[:10], expected=regions[0])


def _hash(case: _Case) -> Iterator[Finding]:
    claimed = case.claims.get("attachment_hash")
    if case.seen.file is None or not isinstance(claimed, str):
        return
    if claimed.strip() != hashlib.sha256(case.seen.file).hexdigest():
        yield finding("GW-SIGN-113")


def _workflow(case: _Case) -> Iterator[Finding]:
    if case.seen.activity.upper() == "VERIFICA":
        yield finding("GW-SIGN-120")
    if case.seen.published:
        yield finding("GW-SIGN-136")
    if case.seen.workflow and case.seen.file is not None:
        digest = hashlib.sha256(case.seen.file).hexdigest()
        if re.search(r"[0-9a-f]{64}", case.seen.workflow) and digest not in case.seen.workflow:
            yield finding("GW-SIGN-121")


def _person(case: _Case) -> Iterator[Finding]:
    said = case.claims.get("person_id")
    if case.seen.patient and isinstance(said, str) and said.partition("^")[0].strip() != case.seen.patient:
        yield finding("GW-SIGN-122")


def _signed_headers(case: _Case) -> Iterator[Finding]:
    if case.seen.profile != "modi":
        return
    signed = case.claims.get("signed_headers")
    good = isinstance(signed, list) and all(
        isinstance(each, dict) and len(each) == 1 and next(iter(each)).islower() for each in signed
    )
    if signed is not None and not good:
        yield finding("GW-SIGN-124")


def _digest(case: _Case) -> Iterator[Finding]:
    if case.seen.profile != "modi" or case.seen.body is None:
        return
    said = {k.lower(): v for k, v in case.seen.headers.items()}.get("digest")
    if said is None:
        yield finding("GW-SIGN-125" if case.seen.body else "GW-SIGN-127")
    elif said != modi.digest(case.seen.body):
        yield finding("GW-SIGN-126" if said == modi.digest(_unzipped(case.seen.body)) else "GW-SIGN-059")
    signed = case.claims.get("signed_headers")
    covered = [e.get("digest") for e in signed if isinstance(e, dict)] if isinstance(signed, list) else []
    if isinstance(signed, list) and said not in covered:
        yield finding("GW-SIGN-058", header="digest")


def _unzipped(body: bytes) -> bytes:
    if not body.startswith(b"\x1f\x8b") or len(body) > 16 * 1024 * 1024:
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            return file.read(64 * 1024 * 1024)
    except (OSError, EOFError):
        return body


def _certificate(case: _Case) -> Iterator[Finding]:
    for certificate in case.certificates[:1]:
        subject = _common_name(certificate)
        if case.seen.trust is not None:
            code = case.seen.trust.problem(certificate, case.certificates[1:], case.seen.at)
            if code:
                yield finding(code, subject=subject, use="token", expected="-", detail="-")
        elif case.seen.at > certificate.not_valid_after_utc:
            yield finding("GW-SIGN-010", subject=subject)
        elif case.seen.at < certificate.not_valid_before_utc:
            yield finding("GW-SIGN-011", subject=subject)


def _signature(case: _Case) -> Iterator[Finding]:
    if not case.certificates:
        return
    first, middle, last = case.seen.token.strip().split(".")
    try:
        key = algorithms.public_key(case.certificates[0])
    except GatewayError as error:
        yield error.finding()
        return
    algorithm = next((a for a in algorithms.allowed(key) if a == case.header.get("alg")), None)
    if algorithm is None:
        return
    try:
        signature = base64.urlsafe_b64decode(last.rstrip("=") + "=" * (-len(last.rstrip("=")) % 4))
        algorithms.verify(key, algorithm, signature, f"{first}.{middle}".encode())
    except (GatewayError, binascii.Error, ValueError):
        yield finding("GW-SIGN-042")


CHECKS: Final[tuple[Callable[[_Case], Iterator[Finding]], ...]] = (
    _bom,
    _algorithm,
    _x5c,
    _times,
    _missing,
    _spaces,
    _audience,
    _issuer,
    _subject,
    _swapped,
    _region,
    _hash,
    _workflow,
    _person,
    _signed_headers,
    _digest,
    _certificate,
    _signature,
)
