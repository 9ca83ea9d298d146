"""SM2 public keys and SM3 (GB/T 32918.2, GB/T 32905), by GmSSL through gmssl-pyx.

Nothing in a certificate says which signer id was used, so the id belongs to the key here and is configured per
issuer; the default is the one of GM/T 0009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import gmssl_pyx
from asn1crypto import core, keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

DEFAULT_SIGNER_ID: Final = b"1234567812345678"
CURVE: Final = "1.2.156.10197.1.301"
SM2_WITH_SM3: Final = "1.2.156.10197.1.501"

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93


def sm3(data: bytes) -> bytes:
    """The 32 bytes of SM3."""
    return bytes(gmssl_pyx.sm3_hash(data))


def _on_curve(point: bytes) -> bool:
    x, y = int.from_bytes(point[:32], "big"), int.from_bytes(point[32:], "big")
    return x < P and y < P and (y * y - (x * x * x - 3 * x + _B)) % P == 0


@dataclass(frozen=True)
class Sm2Public:
    """An SM2 public key: 64 bytes x‖y, and the signer id that its owner signs with."""

    point: bytes
    signer_id: bytes = DEFAULT_SIGNER_ID

    @classmethod
    def of(cls, certificate: x509.Certificate, signer_id: bytes = DEFAULT_SIGNER_ID) -> Sm2Public | None:
        """The key of an SM2 certificate; None when the certificate's key is of another kind."""
        return cls.of_spki(spki(certificate), signer_id)

    @classmethod
    def of_spki(cls, info: bytes, signer_id: bytes = DEFAULT_SIGNER_ID) -> Sm2Public | None:
        """The key in a DER SubjectPublicKeyInfo; None when it is of another kind or not on the curve."""
        try:
            parsed = keys.PublicKeyInfo.load(info)
            algorithm = parsed["algorithm"]
            if algorithm["algorithm"].native != "ec" or algorithm["parameters"].chosen.dotted != CURVE:
                return None
            point = bytes(parsed["public_key"])
        except (ValueError, AttributeError, TypeError):
            return None
        if len(point) != 65 or point[0] != 4 or not _on_curve(point[1:]):
            return None
        return cls(point[1:], signer_id)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the DER signature is this key's over SM3(ZA ‖ data)."""
        if not _strict(signature):
            return False
        try:
            return bool(gmssl_pyx.sm2_verify(self.point, data, signature, self.signer_id))
        except gmssl_pyx.GmsslInnerError:
            return False


class _Pair(core.Sequence):  # type: ignore[misc]
    _fields = [("r", core.Integer), ("s", core.Integer)]  # noqa: RUF012 - asn1crypto's own shape


def _strict(signature: bytes) -> bool:
    """DER exactly: both numbers in 1 … n-1, nothing before or after, one encoding only."""
    try:
        pair = _Pair.load(signature, strict=True)
        r, s = pair["r"].native, pair["s"].native
    except (ValueError, TypeError):
        return False
    return 0 < r < N and 0 < s < N and bytes(_Pair({"r": r, "s": s}).dump()) == signature


def spki(certificate: x509.Certificate) -> bytes:
    """The DER SubjectPublicKeyInfo of a certificate whose key `cryptography` cannot load."""
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    return bytes(parsed["tbs_certificate"]["subject_public_key_info"].dump())
