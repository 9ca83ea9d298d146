"""Body encryption for a destination that wants it beside TLS: AES-256-CBC, key and vector wrapped by RSA-OAEP.

The shape is the one seen in public clients of the DITAS gateway: a text key of 32 and a vector of 16 characters, each
wrapped for the destination's public key, everything in base64. OAEP's hash is SHA-1 there, so it is a setting; in OAEP
it needs no collision resistance. CBC gives no integrity: the signature inside has to.
"""

from __future__ import annotations

import base64
import secrets
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from gateway.errors import Misconfigured, Refused
from gateway.formats import xml
from gateway.sign.algorithms import MINIMUM_RSA
from gateway.sign.keys import KeyHandle

OaepHash = Literal["sha1", "sha256"]
_LETTERS: Final = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Sealed:
    """Base64 texts, as the destination's JSON carries them."""

    data: str
    key: str
    iv: str


def oaep(hashing: OaepHash) -> rsa_padding.OAEP:
    """OAEP with MGF1 over the same hash."""
    chosen = hashes.SHA1() if hashing == "sha1" else hashes.SHA256()  # noqa: S303 - the destination's format
    return rsa_padding.OAEP(rsa_padding.MGF1(chosen), chosen, None)


class Encrypter:
    """Seals bodies for one destination's public key."""

    def __init__(self, public: rsa.RSAPublicKey, hashing: OaepHash = "sha1") -> None:
        if public.key_size < MINIMUM_RSA:
            raise Misconfigured("GW-SIGN-021", subject="the destination's encryption key")
        self._public = public
        self._oaep = oaep(hashing)

    def seal(self, body: bytes) -> Sealed:
        """The body under a fresh key and vector."""
        key = "".join(secrets.choice(_LETTERS) for _ in range(32)).encode("ascii")
        vector = "".join(secrets.choice(_LETTERS) for _ in range(16)).encode("ascii")
        adder = padding.PKCS7(128).padder()
        closer = Cipher(algorithms.AES(key), modes.CBC(vector)).encryptor()
        data = closer.update(adder.update(body) + adder.finalize()) + closer.finalize()
        return Sealed(_text(data), *(_text(self._public.encrypt(part, self._oaep)) for part in (key, vector)))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def opened(sealed: Sealed, handle: KeyHandle, hashing: OaepHash = "sha1") -> bytes:
    """The body, for a stand-in that plays the destination; one answer for every kind of failure."""
    try:
        key, vector = (
            handle.unwrap(base64.b64decode(part, validate=True), hashing) for part in (sealed.key, sealed.iv)
        )
        opener = Cipher(algorithms.AES(key), modes.CBC(vector)).decryptor()
        padded = opener.update(base64.b64decode(sealed.data, validate=True)) + opener.finalize()
        remover = padding.PKCS7(128).unpadder()
        return remover.update(padded) + remover.finalize()
    except (ValueError, Refused):
        raise Refused("GW-SIGN-042") from None


def public_key_from(path: Path) -> rsa.RSAPublicKey:
    """An RSA public key from PEM, or from the XML key file (`RSAKeyValue`) that .NET writes."""
    try:
        content = path.read_bytes()
        if content.lstrip().startswith(b"<"):
            return _from_xml(content)
        key = serialization.load_pem_public_key(content)
    except (OSError, ValueError) as error:
        raise Misconfigured("GW-SIGN-001", what=str(path), detail=str(error)[:120]) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Misconfigured("GW-SIGN-001", what=str(path), detail="not an RSA key")
    return key


def _from_xml(content: bytes) -> rsa.RSAPublicKey:
    root = xml.read(content)
    modulus, exponent = (
        int.from_bytes(base64.b64decode(root.findtext(f"{{*}}{name}") or ""), "big") for name in ("Modulus", "Exponent")
    )
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()
