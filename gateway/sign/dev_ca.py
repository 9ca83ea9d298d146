"""A throw-away certificate authority for demonstrations and tests: `gateway certs dev-ca`.

Everything lies in one folder, private keys with mode 0600, valid for days, named so that nobody takes it for real.
It refuses to write where a version control system would pick the keys up.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID

from gateway.clock import SystemClock
from gateway.errors import Misconfigured
from gateway.sign import keys
from gateway.sign.algorithms import CertifiableKey, PublicKey
from gateway.sign.keys import KeyHandle, Kind, PrivateKey
from gateway.sign.sm2 import Sm2Public

VALID: Final = timedelta(days=30)
_ORGANISATION: Final = "Throw-away test authority"
_DNS: Final = ("localhost",)
_IP: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Pair:
    """Paths of one certificate (PEM, leaf first) and its key (PKCS#8 PEM)."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Manifest:
    """Where everything lies. `ca` are the anchors, `crl` the current revocation list in `revocation`."""

    folder: Path
    ca: Path
    crl: Path
    revocation: Path
    server: Pair
    evidence: Pair
    signer: Pair
    clients: dict[str, Pair] = field(default_factory=dict)
    destinations: dict[str, Pair] = field(default_factory=dict)


def make(
    folder: Path,
    senders: Iterable[str] = ("sender",),
    destinations: Iterable[str] = ("destination",),
    *,
    facility: str = "FACILITY-1",
    system_id: str = "SYSTEM-1",
    signer_name: str = "Test Signer-One",
    now: datetime | None = None,
) -> Manifest:
    """Write the authority and its certificates into `folder`, which must not hold one already.

    The signer has subject OU=`facility`, T=`system_id`, CN=`signer_name` and an RSA key, as SEPAS token
    certificates have (spec of SEPAS, certificate and signature). Raises `Misconfigured` for a folder that a
    version control system tracks.
    """
    refuse_tracked(folder)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    at = now or SystemClock().now()
    authority = Authority.create("Throw-away root", at)
    revocation = folder / "revocation"
    revocation.mkdir(exist_ok=True)
    ca = folder / "ca.pem"
    ca.write_bytes(authority.pem)
    authority.handle.save(folder / "ca.key.pem")
    crl = revocation / "root.crl"
    crl.write_bytes(authority.crl(at))
    signer = authority.issue(
        name(signer_name, unit=facility, title=system_id), "rsa2048", at, usage="sign", ekus=(Eku.EMAIL_PROTECTION,)
    )
    evidence = authority.issue(name("Test evidence"), "p256", at, usage="sign", ekus=(Eku.EMAIL_PROTECTION,))
    return Manifest(
        folder=folder,
        ca=ca,
        crl=crl,
        revocation=revocation,
        server=_save(folder, "server", authority.server("Test gateway", at)),
        evidence=_save(folder, "evidence", evidence),
        signer=_save(folder, "signer", signer),
        clients={s: _save(folder, f"client-{s}", authority.client(s, at)) for s in senders},
        destinations={d: _save(folder, f"destination-{d}", authority.server(d, at)) for d in destinations},
    )


def _save(folder: Path, stem: str, handle: KeyHandle) -> Pair:
    if not stem.replace("-", "").replace("_", "").replace(".", "").isalnum() or ".." in stem:
        raise Misconfigured("GW-SIGN-001", what=stem, detail="not a plain name")
    pair = Pair(folder / f"{stem}.pem", folder / f"{stem}.key.pem")
    pair.certificate.write_bytes(b"".join(pem(c) for c in (handle.certificate, *handle.chain)))
    handle.save(pair.key)
    return pair


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def refuse_tracked(folder: Path) -> None:
    """Raise `Misconfigured` when the folder lies in a git work tree that does not ignore it."""
    at = folder.resolve()
    root = next((p for p in at.parents if (p / ".git").exists()), at if (at / ".git").exists() else None)
    if root is not None and not _ignored(root, at):
        raise Misconfigured("GW-SIGN-003", folder=str(folder))


def _ignored(root: Path, at: Path) -> bool:
    """Whether plain lines of the ignore files cover the folder; lines that re-include something are not understood,
    and then the answer is no (gitignore(5), the part that folders need).
    """
    for holder in (root, *(p for p in at.parents if root in p.parents)):
        files = [holder / ".gitignore", *([root / ".git/info/exclude"] if holder == root else [])]
        lines = [line.strip() for f in files if f.is_file() for line in f.read_text(encoding="utf-8").splitlines()]
        if any(line.startswith("!") for line in lines):
            return False
        steps = at.relative_to(holder).parts
        for line in (each for each in lines if each and not each.startswith("#")):
            bare = line.strip("/")
            paths = ["/".join(steps[: n + 1]) for n in range(len(steps))] if "/" in line.rstrip("/") else list(steps)
            if any(fnmatch.fnmatchcase(path, bare) for path in paths):
                return True
    return False


def name(common: str, organisation: str = _ORGANISATION, unit: str = "", title: str = "") -> x509.Name:
    """A subject; empty parts are left out."""
    parts = (
        (NameOID.ORGANIZATION_NAME, organisation),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.TITLE, title),
        (NameOID.COMMON_NAME, common),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


_USAGE: Final[dict[str, dict[str, bool]]] = {
    "sign": {"digital_signature": True, "content_commitment": True},
    "tls": {"digital_signature": True},
    "ca": {"key_cert_sign": True, "crl_sign": True},
    "encrypt": {"key_encipherment": True},
}
_ALL: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _key_usage(kind: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{flag: _USAGE[kind].get(flag, False) for flag in _ALL})


class Authority:
    """An issuer in memory: root or intermediate. Also what the tests of this room issue their faults with."""

    def __init__(self, handle: KeyHandle, above: tuple[x509.Certificate, ...] = ()) -> None:
        self.handle = handle
        self.above = above
        self.revoked: list[tuple[int, datetime]] = []

    @classmethod
    def create(cls, common: str, at: datetime, *, kind: Kind = "p256", organisation: str = _ORGANISATION) -> Authority:
        """A self-signed root, valid from an hour before `at` for ten times a leaf's life."""
        key = keys.generate(kind)
        subject = name(common, organisation)
        builder = _builder(subject, subject, key.public, at - timedelta(hours=1), at + 10 * VALID)
        builder = _as_ca(builder, key, key, None)
        return cls(KeyHandle(key, key.certify(builder)))

    @property
    def certificate(self) -> x509.Certificate:
        """The issuer's own certificate."""
        return self.handle.certificate

    @property
    def pem(self) -> bytes:
        """The issuer's certificate as PEM."""
        return pem(self.certificate)

    def intermediate(self, common: str, at: datetime, *, kind: Kind = "p256", length: int | None = 0) -> Authority:
        """A certificate authority under this one."""
        key = keys.generate(kind)
        builder = _builder(name(common), self.certificate.subject, key.public, at - timedelta(hours=1), at + 5 * VALID)
        builder = _as_ca(builder, key, self.handle, length)
        return Authority(KeyHandle(key, self.handle.certify(builder)), (self.certificate, *self.above))

    def issue(
        self,
        subject: x509.Name,
        kind: Kind,
        at: datetime,
        *,
        usage: str = "sign",
        ekus: tuple[x509.ObjectIdentifier, ...] = (),
        hosts: tuple[str, ...] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ) -> KeyHandle:
        """A leaf with its own fresh key, in memory."""
        key = keys.generate(kind)
        certificate = self.certify(
            key.public, subject, at, usage=usage, ekus=ekus, hosts=hosts, start=start, end=end, extensions=extensions
        )
        return KeyHandle(key, certificate, self.chain)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a leaf of this issuer has to send along: the intermediates, without the root."""
        return tuple(c for c in (self.certificate, *self.above) if c.issuer != c.subject)

    def certify(
        self,
        public: PublicKey,
        subject: x509.Name,
        at: datetime,
        *,
        usage: str = "sign",
        ekus: tuple[x509.ObjectIdentifier, ...] = (),
        hosts: tuple[str, ...] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    ) -> x509.Certificate:
        """A leaf certificate for a key that exists somewhere."""
        builder = _builder(
            subject, self.certificate.subject, public, start or at - timedelta(hours=1), end or at + VALID
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(usage), critical=True)
        builder = builder.add_extension(_ski(public), critical=False)
        builder = builder.add_extension(_aki(self.handle), critical=False)
        if ekus:
            builder = builder.add_extension(x509.ExtendedKeyUsage(ekus), critical=False)
        if hosts:
            builder = builder.add_extension(_alternative(hosts), critical=False)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical=critical)
        return self.handle.certify(builder)

    def server(self, common: str, at: datetime, hosts: tuple[str, ...] = (*_DNS, *_IP)) -> KeyHandle:
        """A TLS server certificate for loopback."""
        return self.issue(name(common), "p256", at, usage="tls", ekus=(Eku.SERVER_AUTH,), hosts=hosts)

    def client(self, common: str, at: datetime) -> KeyHandle:
        """A TLS client certificate."""
        return self.issue(name(common), "p256", at, usage="tls", ekus=(Eku.CLIENT_AUTH,))

    def revoke(self, certificate: x509.Certificate, at: datetime) -> None:
        """Put the certificate on the next list."""
        self.revoked.append((certificate.serial_number, at))

    def crl(self, at: datetime, valid: timedelta = VALID) -> bytes:
        """The revocation list as of `at`, DER."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at - timedelta(minutes=1)).next_update(at + valid)
        builder = builder.add_extension(x509.CRLNumber(1 + len(self.revoked)), critical=False)
        builder = builder.add_extension(_aki(self.handle), critical=False)
        for serial, when in self.revoked:
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
            builder = builder.add_revoked_certificate(one.build())
        return self.handle.revoke(builder).public_bytes(serialization.Encoding.DER)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: PublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(_supported(public)).serial_number(x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(end)


def _as_ca(
    builder: x509.CertificateBuilder, key: PrivateKey, issuer: PrivateKey | KeyHandle, length: int | None
) -> x509.CertificateBuilder:
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=length), critical=True)
    builder = builder.add_extension(_key_usage("ca"), critical=True)
    builder = builder.add_extension(_ski(key.public), critical=False)
    return builder.add_extension(_aki(issuer), critical=False)


def _supported(public: PublicKey) -> CertifiableKey:
    if isinstance(public, Sm2Public):
        raise Misconfigured("GW-SIGN-041", algorithm="SM2")
    return public


def _ski(public: PublicKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(_supported(public))


def _aki(issuer: PrivateKey | KeyHandle) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(_supported(issuer.public))


def _alternative(hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general(h) for h in hosts])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
