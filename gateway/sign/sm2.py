"""SM2 public keys and SM3 (GB/T 32918.2, GB/T 32905), by GmSSL through gmssl-pyx.

Nothing in a certificate says which signer id was used, so the id belongs to the key here and is configured per
issuer; the default is the one of GM/T 0009.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

keys.NamedCurve.register("sm2p256v1", CURVE, 32)  # so that asn1crypto knows the width of its numbers

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_GX: Final = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
_GY: Final = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
_PARAMETERS: Final = b"".join(n.to_bytes(32, "big") for n in (P - 3, _B, _GX, _GY))


def sm3(data: bytes) -> bytes:
    """The 32 bytes of SM3."""
    return bytes(gmssl_pyx.sm3_hash(data))


def parameters(values: Mapping[str, str], leave_out: Collection[str] = ("sign",)) -> bytes:
    """The bytes that platforms sign over request parameters: `name=value` sorted by name, joined by `&`.

    Empty values and the signature itself are left out; the names left out are configuration.
    """
    kept = sorted((k, v) for k, v in values.items() if v and k not in leave_out)
    return "&".join(f"{k}={v}" for k, v in kept).encode("utf-8")


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

    def digest(self, data: bytes) -> bytes:
        """SM3(ZA ‖ data) of GB/T 32918.2 section 5.5; computed here because GmSSL refuses the empty signer id."""
        bits = (8 * len(self.signer_id)).to_bytes(2, "big")
        return sm3(sm3(bits + self.signer_id + _PARAMETERS + self.point) + data)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the DER signature is this key's over SM3(ZA ‖ data)."""
        if not _strict(signature):
            return False
        try:
            return bool(gmssl_pyx.sm2_verify_sm3_digest(self.point, self.digest(data), signature))
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
