"""A raw signature with its parts beside it: the shape of SEPAS' SignatureVO (value, method, time, certificate,
subject, thumbprint), and the signer that signs nothing, for destinations that have not asked for one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes

from gateway.errors import Misconfigured
from gateway.sign import algorithms
from gateway.sign.algorithms import Algorithm
from gateway.sign.keys import KeyHandle, check_validity

RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
METHODS: Final[dict[str, str]] = {
    "RS256": RSA_SHA256,
    "RS384": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "RS512": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "ES256": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "ES384": "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "SGD_SM3_SM2": "1.2.156.10197.1.501",
}
Thumb = Literal["sha256", "sha1"]


@dataclass
class RawSignature:
    """The parts of a signature (`ports.SignatureValue`). Empty value and method mean: not signed."""

    value: bytes
    method: str
    certificate_der: bytes
    subject_dn: str
    thumbprint: str
    timestamp: datetime


class RawSigner:
    """Signs a destination's bytes as they are (`ports.Signer`). `method` is the name that the peer expects."""

    def __init__(
        self, handle: KeyHandle, algorithm: Algorithm = "RS256", method: str = "", thumb: Thumb = "sha256"
    ) -> None:
        if algorithm not in algorithms.allowed(handle.public):
            raise Misconfigured("GW-SIGN-041", algorithm=algorithm)
        self._handle = handle
        self._algorithm: Algorithm = algorithm
        self._method = method or METHODS.get(algorithm, algorithm)
        self._thumb = _thumbprint(handle, thumb)

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """The signature over exactly `body`; refused when the certificate is not valid at that instant."""
        check_validity(self._handle, at)
        return RawSignature(
            value=self._handle.sign(body, self._algorithm, "der"),
            method=self._method,
            certificate_der=self._handle.der,
            subject_dn=self._handle.subject,
            thumbprint=self._thumb,
            timestamp=at,
        )


class NoSigner:
    """For a destination that takes no signature: every part is empty."""

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """An empty signature."""
        return RawSignature(b"", "", b"", "", "", at)


class HeaderProof:
    """The proof in a SEPAS header: the certificate and an agreed method code; a value only where one is asked for."""

    def __init__(self, handle: KeyHandle, code: str, *, value: bool = False, thumb: Thumb = "sha1") -> None:
        self._signer = RawSigner(handle, "RS256", code, thumb)
        self._value = value

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """The proof for a header whose bytes are `body`."""
        made = self._signer.sign_bytes(body, at)
        return made if self._value else replace(made, value=b"")


def _thumbprint(handle: KeyHandle, thumb: Thumb) -> str:
    # SHA-1 only names a certificate here, as Windows certificate stores do; it protects nothing
    digest = hashes.SHA1() if thumb == "sha1" else hashes.SHA256()  # noqa: S303
    return handle.certificate.fingerprint(digest).hex().upper()


def verify_raw(body: bytes, signature: RawSignature, key: algorithms.PublicKey, algorithm: Algorithm = "RS256") -> None:
    """Promise that the value is the key's over `body` by the algorithm that *we* expect, or raise `Refused`."""
    algorithms.verify(key, algorithm, signature.value, body, "der")
