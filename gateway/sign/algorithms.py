"""Signature algorithms: their names, the keys they belong to, and how a signature is verified.

The names are those of JOSE (RFC 7518 section 3.1, RFC 8037) and of GM/T 0125 for SM2. There is no HMAC and no
"none" in the table, so no message can ask for one. Key sizes are policy of ours: RSA 2048 or more, P-256, P-384,
Ed25519, SM2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from gateway.errors import Refused
from gateway.sign.sm2 import Sm2Public

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "SGD_SM3_SM2"]
Encoding = Literal["raw", "der"]
CertifiableKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
"""Keys for which `cryptography` can build certificates."""
PublicKey = CertifiableKey | Sm2Public

MINIMUM_RSA: Final = 2048
MINIMUM_EXPONENT: Final = 65537  # FIPS 186-5, appendix A.1.1: greater than 2^16 (and odd)

HASH: Final[dict[str, hashes.HashAlgorithm]] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
    "PS256": hashes.SHA256(),
    "ES256": hashes.SHA256(),
    "ES384": hashes.SHA384(),
}

_CURVES: Final[dict[str, tuple[Algorithm, int]]] = {"secp256r1": ("ES256", 32), "secp384r1": ("ES384", 48)}


def rsa_padding(algorithm: Algorithm) -> padding.PKCS1v15 | padding.PSS:
    """The padding that the algorithm's name stands for; PSS with a salt of the hash's length (RFC 7518 3.5)."""
    if algorithm == "PS256":
        return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()


def allowed(key: PublicKey) -> tuple[Algorithm, ...]:
    """The algorithms that a key can be used with, our default first; empty for a key that policy refuses."""
    if isinstance(key, rsa.RSAPublicKey):
        strong = key.key_size >= MINIMUM_RSA and key.public_numbers().e >= MINIMUM_EXPONENT
        return ("RS256", "RS384", "RS512", "PS256") if strong else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        found = _CURVES.get(key.curve.name)
        return (found[0],) if found else ()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ("EdDSA",)
    return ("SGD_SM3_SM2",)


def public_key(certificate: x509.Certificate) -> PublicKey:
    """The certificate's key; raises `Refused` (GW-SIGN-021) when policy refuses the key."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        sm2 = Sm2Public.of(certificate)
        if sm2 is None:
            raise Refused("GW-SIGN-021", subject=certificate.subject.rfc4514_string()) from None
        return sm2
    if isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) and allowed(key):
        return key
    raise Refused("GW-SIGN-021", subject=certificate.subject.rfc4514_string())


def to_raw(der: bytes, size: int) -> bytes:
    """An ECDSA or SM2 signature as r‖s, each `size` bytes (RFC 7518 section 3.4)."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def to_der(raw: bytes) -> bytes:
    """An r‖s signature as ASN.1 SEQUENCE of two INTEGERs."""
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def field_size(key: PublicKey) -> int:
    """Bytes of one coordinate of an elliptic key; 0 for the others."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (key.curve.key_size + 7) // 8
    return 32 if isinstance(key, Sm2Public) else 0


def _rsa(key: PublicKey, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(signature, data, rsa_padding(algorithm), HASH[algorithm])
    return True


def _ecdsa(key: PublicKey, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, data, ec.ECDSA(HASH[algorithm]))
    return True


def _eddsa(key: PublicKey, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
    assert isinstance(key, ed25519.Ed25519PublicKey)
    key.verify(signature, data)
    return True


def _sm2(key: PublicKey, algorithm: Algorithm, signature: bytes, data: bytes) -> bool:
    assert isinstance(key, Sm2Public)
    return key.verify(signature, data)


_VERIFY: Final[dict[str, Callable[[PublicKey, Algorithm, bytes, bytes], bool]]] = {
    "RS": _rsa,
    "PS": _rsa,
    "ES": _ecdsa,
    "Ed": _eddsa,
    "SG": _sm2,
}


def verify(
    key: PublicKey,
    algorithm: Algorithm,
    signature: bytes,
    data: bytes,
    encoding: Encoding = "raw",
    signer_id: bytes = b"",
) -> None:
    """Promise that `signature` is the key's over `data` by exactly that algorithm, or raise `Refused`.

    `encoding` says how an elliptic signature is written: r‖s (JOSE, XML-DSig) or DER (X.509, CMS). `signer_id`
    replaces the configured SM2 signer id of the key when given.
    """
    if algorithm not in allowed(key):
        raise Refused("GW-SIGN-041", algorithm=str(algorithm)[:40])
    size = field_size(key)
    if size and encoding == "raw":
        if len(signature) != 2 * size:
            raise Refused("GW-SIGN-042")
        signature = to_der(signature)
    if signer_id and isinstance(key, Sm2Public):
        key = Sm2Public(key.point, signer_id)
    try:
        good = _VERIFY[algorithm[:2]](key, algorithm, signature, data)
    except (InvalidSignature, ValueError):
        good = False
    if not good:
        raise Refused("GW-SIGN-042")
