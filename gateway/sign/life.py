"""The life of a key and its certificate: request, import, list, check, rotate, withdraw.

Functions only; `gateway certs` shows what they return. Files are replaced whole (written beside, synced, renamed), so
a running gateway sees the old pair or the new one, and keeps signing with the old pair between the two renames.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from gateway.errors import GatewayError, Misconfigured, finding
from gateway.formats import json
from gateway.message import Finding
from gateway.settings import Key, Settings
from gateway.sign import keys, revocation
from gateway.sign.dev_ca import pem, refuse_tracked
from gateway.sign.keys import KeyHandle, Kind, open_key, read_certificates, subject_of
from gateway.sign.revocation import Folder, Grace
from gateway.sign.trust import Purpose, Trust, anchors_from

WARN_DAYS: Final = (60, 30, 14, 7, 1)
_PURPOSES: Final[Mapping[str, Purpose]] = {
    "signer": "document",
    "document": "document",
    "token": "token",
    "tls-client": "tls-client",
    "tls-server": "tls-server",
}


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One key of the settings, as `gateway certs list` shows it. `days` are the whole days left."""

    name: str
    purpose: str
    subject: str
    issuer: str
    serial: str
    thumbprint: str
    not_before: datetime
    not_after: datetime
    days: int
    algorithm: str


def trust_for(settings: Settings, name: str) -> Trust:
    """The trust under [trust] of that name (signer, document, token, tls-client, tls-server), with its folder."""
    if name not in _PURPOSES or name not in settings.trust:
        raise Misconfigured("GW-SIGN-001", what=f"trust.{name}", detail="it is not in the settings")
    folder = settings.trust.get("revocation")
    source = Folder(Path(folder)) if folder else None
    return Trust(_PURPOSES[name], anchors_from(Path(settings.trust[name])), source)


# --- making ----------------------------------------


def request(
    folder: Path,
    stem: str,
    common_name: str,
    *,
    unit: str = "",
    system: str = "",
    kind: Kind = "p256",
    password: bytes = b"",
) -> tuple[Path, Path]:
    """A fresh key (mode 0600) and a PKCS#10 request for it; the two paths. OU is `unit`, T is `system`."""
    refuse_tracked(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    parts = ((NameOID.ORGANIZATIONAL_UNIT_NAME, unit), (NameOID.TITLE, system), (NameOID.COMMON_NAME, common_name))
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
    key = keys.generate(kind)
    made = key.request(x509.CertificateSigningRequestBuilder().subject_name(subject))
    paths = folder / f"{stem}.key.pem", folder / f"{stem}.csr.pem"
    key.save(paths[0], password)
    paths[1].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return paths


def take_in(key: Key, issued: Path, now: datetime, trust: Trust | None = None) -> KeyHandle:
    """Put an issued certificate (with its chain) at the key's place, once it fits the key and is trusted."""
    found = read_certificates(issued)
    trial = msgspec.structs.replace(key, certificate=str(issued), chain="")
    handle = open_key(trial)
    if trust is not None:
        trust.check(handle.certificate, handle.chain, now)
    replace(Path(key.certificate), b"".join(pem(c) for c in found))
    return open_key(key)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put the content at the path in one step; what stood there is kept beside it as `.previous`."""
    fresh = path.with_name(path.name + ".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        kept = path.with_name(path.name + ".previous")
        kept.unlink(missing_ok=True)
        os.link(path, kept)
    fresh.replace(path)


def rotate(
    key: Key, fresh: Key, now: datetime, trust: Trust | None = None, rehearse: bool = False
) -> tuple[Finding, ...]:
    """Exchange a key and its certificate for a new pair; what speaks against it, or nothing when it is done.

    Nothing is written when anything speaks against it, or when it is only rehearsed. Both certificates have to be
    valid now: during the overlap peers accept either.
    """
    found = tuple(_against(key, fresh, now, trust))
    if found or rehearse:
        return found
    private = Path(fresh.key or fresh.certificate).read_bytes()
    chain = Path(fresh.certificate).read_bytes() + (Path(fresh.chain).read_bytes() if fresh.chain else b"")
    if key.key:
        replace(Path(key.key), private, 0o600)
    replace(Path(key.certificate), chain, 0o644 if key.key else 0o600)
    return ()


def _against(key: Key, fresh: Key, now: datetime, trust: Trust | None) -> Iterator[Finding]:
    try:
        old, new = open_key(key), open_key(fresh)
        trial = b"rehearsal"
        new.sign(trial)
        if trust is not None:
            trust.check(new.certificate, new.chain, now)
    except GatewayError as error:
        yield error.finding()
        return
    overlap = min(old.not_after, new.not_after) - max(
        old.certificate.not_valid_before_utc, new.certificate.not_valid_before_utc
    )
    if overlap <= timedelta(0) or not new.certificate.not_valid_before_utc <= now <= old.not_after:
        yield finding("GW-SIGN-037")


# --- looking ----------------------------------------


def certificate_of(key: Key) -> x509.Certificate:
    """The key's certificate, without opening the key where it stands in a file of its own."""
    if key.key and key.certificate and not key.key.startswith("pkcs11:"):
        return read_certificates(Path(key.certificate))[0]
    return open_key(key).certificate


def listing(settings: Settings, now: datetime) -> tuple[Listed, ...]:
    """Every key of the settings that opens, in their order. What does not open is said by `check`."""
    found = []
    for name, key in settings.key.items():
        try:
            handle = open_key(key)
        except Misconfigured:
            continue
        certificate = handle.certificate
        found.append(
            Listed(
                name=name,
                purpose=key.purpose,
                subject=handle.subject,
                issuer=certificate.issuer.rfc4514_string(),
                serial=f"{certificate.serial_number:x}",
                thumbprint=handle.thumbprint,
                not_before=certificate.not_valid_before_utc,
                not_after=handle.not_after,
                days=(handle.not_after - now).days,
                algorithm=handle.algorithm,
            )
        )
    return tuple(found)


def check(settings: Settings, now: datetime) -> Iterator[tuple[str, Finding]]:
    """Name and finding of everything that is wrong, or will be within 60 days, with keys and anchors."""
    own = trust_for(settings, "signer") if "signer" in settings.trust else None
    for name, key in settings.key.items():
        trust = own if key.purpose in {"evidence", "destination"} else None
        for each in _check_key(key, trust, now):
            yield f"key.{name}", each
    for name, path in settings.trust.items():
        if name == "revocation":
            yield from (("trust.revocation", each) for each in _check_records(Path(path)))
            continue
        try:
            for anchor in anchors_from(Path(path)):
                for each in expiry(anchor, now):
                    yield f"trust.{name}", each
        except GatewayError as error:
            yield f"trust.{name}", error.finding()


def _check_records(folder: Path) -> Iterator[Finding]:
    record = folder / revocation.GRACE
    try:
        if record.exists():
            revocation.read_grace(record.read_bytes())
    except Misconfigured as error:
        yield error.finding()


def _check_key(key: Key, trust: Trust | None, now: datetime) -> Iterator[Finding]:
    try:
        handle = open_key(key)
    except GatewayError as error:
        yield error.finding()
        return
    for path in (key.key, "" if key.key else key.certificate):
        if path and ":" not in path and stat.S_IMODE(Path(path).stat().st_mode) & 0o077:
            yield finding("GW-SIGN-133", file=path)
    if trust is not None:
        try:
            trust.check(handle.certificate, handle.chain, now)
        except GatewayError as error:
            yield error.finding()
            return
    yield from expiry(handle.certificate, now)


def expiry(certificate: x509.Certificate, now: datetime) -> Iterator[Finding]:
    """Expired, not yet valid, or soon to expire (within 60 days)."""
    subject = subject_of(certificate)
    left = certificate.not_valid_after_utc - now
    if left < timedelta(0):
        yield finding("GW-SIGN-010", subject=subject)
    elif now < certificate.not_valid_before_utc:
        yield finding("GW-SIGN-011", subject=subject)
    elif left.days < max(WARN_DAYS):
        yield finding("GW-SIGN-132", subject=subject, days=str(left.days))


def announced(certificate: x509.Certificate, before: datetime, now: datetime) -> int | None:
    """The smallest of 60, 30, 14, 7 and 1 days that was passed between two looks; None when none was."""
    end = certificate.not_valid_after_utc
    passed = [d for d in WARN_DAYS if before < end - timedelta(days=d) <= now]
    return min(passed, default=None)


# --- withdrawing and forgiving ----------------------------------------


def withdraw(folder: Path, certificate: x509.Certificate) -> None:
    """Stop trusting a certificate at once, before its authority says so; kept in the revocation folder."""
    path = folder / revocation.WITHDRAWN
    known = path.read_text(encoding="ascii") if path.exists() else ""
    line = certificate.fingerprint(revocation.FINGERPRINT).hex()
    if line not in known.split():
        replace(path, (known + line + "\n").encode("ascii"))


def forgive(folder: Path, until: datetime, recorded_by: str, reason: str, now: datetime) -> Grace:
    """Record a grace period for unknown revocation status, at most 14 days; it never covers what is revoked."""
    if not now < until <= now + timedelta(days=14) or not recorded_by.strip() or not reason.strip():
        raise Misconfigured(detail="a grace period needs an end within 14 days, a name and a reason")
    made = Grace(until=until, recorded_by=recorded_by, reason=reason)
    replace(folder / revocation.GRACE, json.write(made))
    return made
