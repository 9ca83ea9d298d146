"""The only file that touches private keys.

A key is opened from PEM, PKCS#12 or a PKCS#11 token and lives inside a `PrivateKey`, which signs and never shows
it. Everybody else holds a `KeyHandle`: what is public about a key (certificate, chain, thumbprints, subject) and
`sign`. Handles are pickled as the reference to their files, so a worker process opens the key itself.

Sources: RFC 5208/5958 (PKCS#8), RFC 7292 (PKCS#12), RFC 7518 section 3 (algorithms), RFC 4514 (subject names).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import gmssl_pyx
from asn1crypto import keys as asn1_keys
from asn1crypto import pem as asn1_pem
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from gateway.errors import Misconfigured, Refused
from gateway.settings import Key, secret
from gateway.sign import algorithms, certificates, hsm
from gateway.sign.algorithms import HASH, Algorithm, Encoding, PublicKey, rsa_padding, to_raw
from gateway.sign.pbes2 import pbes2_close, pbes2_open
from gateway.sign.sm2 import CURVE, Sm2Public

Kind = Literal["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519", "sm2"]
_Software = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_PEM: Final = b"-----BEGIN "
_DER: Final = serialization.Encoding.DER


class _Sm2:
    """An SM2 private key in GmSSL's hands: 32 bytes, and the public half that ZA needs."""

    __slots__ = ("_scalar", "public")

    def __init__(self, scalar: bytes, public: Sm2Public) -> None:
        self._scalar = scalar
        self.public = public

    def __call__(self, data: bytes, algorithm: Algorithm) -> bytes:
        return bytes(gmssl_pyx.sm2_sign_sm3_digest(self._scalar, self.public.digest(data)))

    def pem(self, password: bytes) -> bytes:
        inner = asn1_keys.ECPrivateKey(
            {
                "version": "ecPrivkeyVer1",
                "private_key": int.from_bytes(self._scalar, "big"),
                "public_key": asn1_keys.ECPointBitString(b"\x04" + self.public.point),
            }
        )
        algorithm = {"algorithm": "ec", "parameters": asn1_keys.ECDomainParameters("named", CURVE)}
        info = asn1_keys.PrivateKeyInfo({"version": 0, "private_key_algorithm": algorithm, "private_key": inner})
        if password:
            return bytes(asn1_pem.armor("ENCRYPTED PRIVATE KEY", pbes2_close(info.dump(), password)))
        return bytes(asn1_pem.armor("PRIVATE KEY", info.dump()))


def _maker(key: Any) -> Callable[[bytes, Algorithm], bytes]:
    """How a key of this kind signs: from bytes to RSA's signature, DER of an elliptic one, or Ed25519's."""
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data, algorithm: key.sign(data, rsa_padding(algorithm), HASH[algorithm])
    if isinstance(key, ec.EllipticCurvePrivateKey):
        made = {name: ec.ECDSA(hashing) for name, hashing in HASH.items()}
        return lambda data, algorithm: key.sign(data, made[algorithm])
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return lambda data, algorithm: key.sign(data)
    return lambda data, algorithm: bytes(key(data, algorithm))  # a token or an SM2 engine


class PrivateKey:
    """A private key behind glass: it signs, certifies and can be saved encrypted; it is never handed out."""

    __slots__ = ("_allowed", "_key", "_make", "_size", "public")

    def __init__(self, key: Any, public: PublicKey) -> None:
        self._key = key
        self.public = public
        # what every signature asks for is asked of the key once
        self._allowed = frozenset(algorithms.allowed(public))
        self._size = algorithms.field_size(public)
        self._make = _maker(key)

    def __repr__(self) -> str:
        return f"<PrivateKey {algorithms.allowed(self.public)[:1]}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled; pickle the KeyHandle that was opened from files")

    def sign(self, data: bytes, algorithm: Algorithm, encoding: Encoding = "raw") -> bytes:
        """The signature over `data`; elliptic signatures as r‖s or as DER. Refuses an algorithm of another key."""
        if algorithm not in self._allowed:
            raise Misconfigured("GW-SIGN-041", algorithm=algorithm)
        made = self._make(data, algorithm)
        return to_raw(made, self._size) if self._size and encoding == "raw" else made

    def _software(self) -> _Software:
        if not isinstance(self._key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
            raise Misconfigured("GW-SIGN-001", what="key", detail="this operation needs a key kept in a file")
        return self._key

    def _hash(self) -> hashes.SHA256 | None:
        return None if isinstance(self._key, ed25519.Ed25519PrivateKey) else hashes.SHA256()

    def certify(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """A certificate signed by this key (as an issuer)."""
        return builder.sign(self._software(), self._hash())

    def revoke(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """A CRL signed by this key."""
        return builder.sign(self._software(), self._hash())

    def respond(self, builder: ocsp.OCSPResponseBuilder) -> ocsp.OCSPResponse:
        """An OCSP response signed by this key."""
        return builder.sign(self._software(), self._hash())

    def request(self, builder: x509.CertificateSigningRequestBuilder) -> x509.CertificateSigningRequest:
        """A certificate request for this key."""
        return builder.sign(self._software(), self._hash())

    def save(self, path: Path, password: bytes = b"") -> None:
        """Write PKCS#8 PEM, mode 0600, never over an existing file; encrypted when there is a password."""
        if isinstance(self._key, _Sm2):
            write_private(path, self._key.pem(password))
            return
        closed: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        )
        pem = self._software().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, closed)
        write_private(path, pem)

    def save_pkcs12(self, path: Path, name: str, certificate: x509.Certificate, password: bytes) -> None:
        """Write PKCS#12, mode 0600, with the certificate beside the key."""
        key = self._software()
        closed = serialization.BestAvailableEncryption(password)
        write_private(path, pkcs12.serialize_key_and_certificates(name.encode(), key, certificate, None, closed))

    def unwrap(self, wrapped: bytes, hashing: Literal["sha1", "sha256"] = "sha256") -> bytes:
        """RSA-OAEP decryption of a content key, MGF1 over the same hash; raises `Refused` where it does not fit."""
        key = self._software()
        if not isinstance(key, rsa.RSAPrivateKey):
            raise Misconfigured("GW-SIGN-041", algorithm="RSA-OAEP")
        chosen = hashes.SHA1() if hashing == "sha1" else hashes.SHA256()  # noqa: S303 - a destination's format
        try:
            return key.decrypt(wrapped, padding.OAEP(padding.MGF1(chosen), chosen, None))
        except ValueError:
            raise Refused("GW-SIGN-042") from None


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; an existing file is never overwritten."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Misconfigured("GW-SIGN-001", what=str(path), detail=str(error.strerror)) from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)


_MAKERS: Final[dict[str, Callable[[], _Software]]] = {
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa4096": lambda: rsa.generate_private_key(65537, 4096),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def generate(kind: Kind = "p256") -> PrivateKey:
    """A fresh key of that kind, in memory only."""
    if kind == "sm2":
        point, scalar = gmssl_pyx.sm2_key_generate()
        engine = _Sm2(scalar, Sm2Public(point))
        return PrivateKey(engine, engine.public)
    if kind not in _MAKERS:
        raise Misconfigured("GW-SIGN-041", algorithm=kind)
    made = _MAKERS[kind]()
    return PrivateKey(made, made.public_key())


class KeyHandle:
    """A key that can be used and what is public about it.

    `certificate` is the key's own, `chain` the intermediates above it, leaf side first, without the root.
    `algorithm` is the default of the key's kind.
    """

    __slots__ = (
        "_key",
        "algorithm",
        "certificate",
        "chain",
        "der",
        "not_after",
        "not_before",
        "public",
        "reference",
        "subject",
        "thumbprint",
    )

    def __init__(
        self,
        key: PrivateKey,
        certificate: x509.Certificate,
        chain: tuple[x509.Certificate, ...] = (),
        reference: Key | None = None,
    ) -> None:
        self._key = key
        self.certificate = certificate
        self.chain = chain
        self.reference = reference
        self.public = algorithms.public_key(certificate)
        if isinstance(key.public, Sm2Public) and isinstance(self.public, Sm2Public):
            self.public = Sm2Public(self.public.point, key.public.signer_id)
        self.algorithm: Algorithm = algorithms.allowed(self.public)[0]
        # what every signature asks for is asked of the certificate once
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.thumbprint = certificate.fingerprint(hashes.SHA256()).hex()
        """SHA-256 of the DER certificate, lower-case hexadecimal."""
        self.subject = subject_of(certificate)
        """The subject by RFC 4514, with T written as T."""
        self.not_before, self.not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        """The first and the last instant at which the certificate is valid."""
        if _spki(key.public) != _spki(self.public):
            raise Misconfigured("GW-SIGN-002", subject=self.subject)

    def __repr__(self) -> str:
        return f"<KeyHandle {self.thumbprint[:16]}>"

    def __reduce__(self) -> tuple[Callable[[Key], KeyHandle], tuple[Key]]:
        if self.reference is None:
            raise TypeError("this key lives in memory only and is not pickled")
        return open_key, (self.reference,)

    def sign(self, data: bytes, algorithm: Algorithm | None = None, encoding: Encoding = "raw") -> bytes:
        """The signature over `data` by the given or the default algorithm."""
        return self._key.sign(data, algorithm or self.algorithm, encoding)

    def unwrap(self, wrapped: bytes, hashing: Literal["sha1", "sha256"] = "sha256") -> bytes:
        """See `PrivateKey.unwrap`."""
        return self._key.unwrap(wrapped, hashing)

    def save(self, path: Path, password: bytes = b"") -> None:
        """See `PrivateKey.save`."""
        self._key.save(path, password)

    def save_pkcs12(self, path: Path, name: str, password: bytes) -> None:
        """See `PrivateKey.save_pkcs12`."""
        self._key.save_pkcs12(path, name, self.certificate, password)

    def certify(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """A certificate issued by this key."""
        return self._key.certify(builder)

    def revoke(self, builder: x509.CertificateRevocationListBuilder) -> x509.CertificateRevocationList:
        """A CRL issued by this key."""
        return self._key.revoke(builder)

    def respond(self, builder: ocsp.OCSPResponseBuilder) -> ocsp.OCSPResponse:
        """An OCSP response of this key."""
        return self._key.respond(builder)


def check_validity(handle: KeyHandle, at: datetime) -> None:
    """Promise that the handle's certificate is valid at that instant, or raise `Refused` (promise 6)."""
    if at > handle.not_after:
        raise Refused("GW-SIGN-010", subject=handle.subject)
    if at < handle.not_before:
        raise Refused("GW-SIGN-011", subject=handle.subject)


def subject_of(certificate: x509.Certificate) -> str:
    """The subject by RFC 4514; the title is written T, as the profiles that use it do."""
    return certificate.subject.rfc4514_string({NameOID.TITLE: "T"})


def _spki(key: PublicKey) -> bytes:
    if isinstance(key, Sm2Public):
        return key.point
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- opening ----------------------------------------


def open_key(key: Key) -> KeyHandle:
    """Open what the settings name. Every fault is `Misconfigured` with the file in it, never with its content."""
    password = secret(key.password) if key.password else b""
    if key.key.startswith(hsm.SCHEME):
        return _from_token(key, password)
    found, certificates = _opened(key.key or key.certificate, password, key.signer_id.encode())
    if key.key:
        certificates = read_certificates(Path(key.certificate)) + [c for c in certificates if key.certificate == ""]
    if key.chain:
        certificates += read_certificates(Path(key.chain))
    if found is None:
        raise Misconfigured("GW-SIGN-001", what=key.key or key.certificate, detail="there is no private key in it")
    if not certificates:
        raise Misconfigured("GW-SIGN-001", what=key.certificate, detail="there is no certificate in it")
    try:
        return KeyHandle(found, certificates[0], tuple(_without_roots(certificates[1:])), key)
    except Refused as refused:
        raise Misconfigured(refused.code, None, **refused.args_) from None


def _from_token(key: Key, pin: bytes) -> KeyHandle:
    """A key in a PKCS#11 token; the certificate from its file, or from the token when the settings name none."""
    token = hsm.TokenKey(hsm.address(key.key), pin)
    certificates = read_certificates(Path(key.certificate)) if key.certificate else []
    certificates = certificates or ([token.certificate] if token.certificate else [])
    if not certificates:
        raise Misconfigured("GW-SIGN-001", what=key.certificate or "token", detail="there is no certificate in it")
    chain = read_certificates(Path(key.chain)) if key.chain else []
    try:
        public = algorithms.public_key(certificates[0])
        handle = KeyHandle(
            PrivateKey(token, public), certificates[0], tuple(_without_roots(certificates[1:] + chain)), key
        )
        trial = b"the token holds the key of this certificate"
        algorithms.verify(public, handle.algorithm, handle.sign(trial), trial)
    except Refused as refused:
        code = "GW-SIGN-002" if refused.code == "GW-SIGN-042" else refused.code
        raise Misconfigured(code, None, subject=subject_of(certificates[0])) from None
    return handle


def _without_roots(chain: list[x509.Certificate]) -> list[x509.Certificate]:
    return [c for c in chain if c.issuer != c.subject]


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM or DER file, in their order; `Misconfigured` where there is none to read."""
    try:
        return list(_certificates(_read(path)))
    except ValueError as error:
        raise Misconfigured("GW-SIGN-001", what=str(path), detail=str(error)[:120]) from None


@lru_cache(maxsize=64)  # files are read again whenever somebody looks when they end, and seldom hold anything new
def _certificates(content: bytes) -> tuple[x509.Certificate, ...]:
    if _PEM in content:
        return tuple(certificates.load(c.public_bytes(_DER)) for c in x509.load_pem_x509_certificates(content))
    return (certificates.load(content),)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured("GW-SIGN-001", what=str(path), detail=str(error.strerror)) from None


def _opened(where: str, password: bytes, signer_id: bytes) -> tuple[PrivateKey | None, list[x509.Certificate]]:
    content = _read(Path(where))
    try:
        if _PEM in content:
            return _from_pem(content, password, signer_id)
        return _from_pkcs12(content, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # the library's message says what is wrong with the container, never what is in it
        raise Misconfigured("GW-SIGN-001", what=where, detail=str(error)[:120]) from None


def _from_pem(content: bytes, password: bytes, signer_id: bytes) -> tuple[PrivateKey | None, list[x509.Certificate]]:
    certificates = x509.load_pem_x509_certificates(content) if b"BEGIN CERTIFICATE-" in content else []
    if b"PRIVATE KEY-" not in content:
        return None, certificates
    sm2 = _sm2_from(content, password, signer_id)
    if sm2 is not None:
        return sm2, certificates
    key = serialization.load_pem_private_key(content, password or None)
    return _checked(key), certificates


def _sm2_from(content: bytes, password: bytes, signer_id: bytes) -> PrivateKey | None:
    """The SM2 key of a PEM file; None when its key is of another kind (then `cryptography` reads it)."""
    for label, _, der in asn1_pem.unarmor(content, multiple=True):
        if label == "ENCRYPTED PRIVATE KEY" and password:
            der = pbes2_open(der, password)
        elif label != "PRIVATE KEY":
            continue
        if der is None:
            return None
        info = asn1_keys.PrivateKeyInfo.load(der)
        algorithm = info["private_key_algorithm"]
        if algorithm["algorithm"].native != "ec" or algorithm["parameters"].chosen.dotted != CURVE:
            return None
        inner = info["private_key"].parsed
        point = bytes(inner["public_key"])[1:]
        scalar = int(inner["private_key"].native).to_bytes(32, "big")
        public = Sm2Public(point, signer_id) if signer_id else Sm2Public(point)
        return PrivateKey(_Sm2(scalar, public), public)
    return None


def _from_pkcs12(content: bytes, password: bytes) -> tuple[PrivateKey | None, list[x509.Certificate]]:
    key, certificate, others = pkcs12.load_key_and_certificates(content, password or None)
    certificates = ([certificate] if certificate else []) + list(others)
    return (_checked(key) if key is not None else None), certificates


def _checked(key: object) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        public = key.public_key()
        if algorithms.allowed(public):
            return PrivateKey(key, public)
    raise Misconfigured("GW-SIGN-021", subject="the private key")
