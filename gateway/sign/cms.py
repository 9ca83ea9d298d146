"""CMS detached signatures with the attributes of CAdES-B (RFC 5652, RFC 5035, ETSI EN 319 122-1 baseline B).

Signed attributes: content type, message digest, signing time and signing-certificate-v2. No library makes these from
a key that it cannot hold, so the few ASN.1 structures are put together here. RSA and ECDSA, SHA-256 or SHA-384.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Misconfigured, Refused
from gateway.sign import algorithms, certificates
from gateway.sign.algorithms import Algorithm
from gateway.sign.keys import KeyHandle, check_validity
from gateway.sign.raw import RawSignature
from gateway.sign.trust import Names, Trust

_ALGORITHMS: Final[dict[str, tuple[str, str]]] = {
    "RS256": ("sha256", "sha256_rsa"),
    "RS384": ("sha384", "sha384_rsa"),
    "RS512": ("sha512", "sha512_rsa"),
    "ES256": ("sha256", "sha256_ecdsa"),
    "ES384": ("sha384", "sha384_ecdsa"),
}


def sign(body: bytes, handle: KeyHandle, at: datetime, algorithm: Algorithm | None = None) -> bytes:
    """DER of a detached SignedData over exactly `body`, with the certificate and its chain inside."""
    name = algorithm or handle.algorithm
    if name not in _ALGORITHMS:
        raise Misconfigured("GW-SIGN-041", algorithm=name)
    fixed = _fixed(handle.der, handle.chain, name)
    attributes = fixed.attributes(hashlib.new(_ALGORITHMS[name][0], body).digest(), at)
    signed = _tlv(SET, attributes)
    signature = _tlv(0x04, handle.sign(signed, name, "der"))
    signer = _tlv(SEQUENCE, fixed.signer, b"\xa0", signed[1:], fixed.signing, signature)
    data = _tlv(SEQUENCE, fixed.data, _tlv(SET, signer))
    return _tlv(SEQUENCE, _SIGNED_DATA, _tlv(0xA0, data))


SEQUENCE, SET = 0x30, 0x31
_NAMED: Final = tsp.SigningCertificateV2  # importing tsp teaches asn1crypto this attribute
_VERSION: Final = b"\x02\x01\x01"


def _tlv(tag: int, *parts: bytes) -> bytes:
    """DER of one value (X.690 section 8.1): writing the few that are needed is 50 times faster than a schema."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


@cache
def _oid(dotted: str) -> bytes:
    return bytes(core.ObjectIdentifier(dotted).dump())


@cache
def _signing_algorithm(name: str) -> bytes:
    return bytes(algos.SignedDigestAlgorithm({"algorithm": name}).dump())


def _issuer_and_serial(der: bytes) -> bytes:
    certificate = certificates.load(der)
    return _tlv(SEQUENCE, certificate.issuer.public_bytes(), core.Integer(certificate.serial_number).dump())


def _signing_certificate(der: bytes, hashing: str) -> bytes:
    """The attribute that names the signing certificate (RFC 5035), whole."""
    named = _tlv(0x04, hashlib.new(hashing, der).digest())
    method = b"" if hashing == "sha256" else _digest_algorithm(hashing)  # SHA-256 is the default, and DER leaves it out
    return _attribute("1.2.840.113549.1.9.16.2.47", _tlv(SEQUENCE, _tlv(SEQUENCE, _tlv(SEQUENCE, method, named))))


def _attribute(kind: str, value: bytes) -> bytes:
    return _tlv(SEQUENCE, _oid(kind), _tlv(SET, value))


@cache
def _digest_algorithm(name: str) -> bytes:
    oid = {"sha256": "2.16.840.1.101.3.4.2.1", "sha384": "2.16.840.1.101.3.4.2.2", "sha512": "2.16.840.1.101.3.4.2.3"}
    return _tlv(SEQUENCE, _oid(oid[name]))


_SIGNED_DATA: Final = _oid("1.2.840.113549.1.7.2")
_DATA: Final = _oid("1.2.840.113549.1.7.1")


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What every signature of a key has in common, encoded."""

    signer: bytes  # version, issuer and serial number, digest algorithm
    signing: bytes  # signature algorithm
    data: bytes  # version, digest algorithms, content type, certificates
    always: tuple[bytes, bytes]  # the attributes content type and signing certificate
    before_digest: bytes
    before_time: bytes

    def attributes(self, digest: bytes, at: datetime) -> bytes:
        """The signed attributes in DER order, without a tag around them."""
        when = at.astimezone(UTC).strftime("%y%m%d%H%M%SZ").encode("ascii")
        return b"".join(sorted((*self.always, self.before_digest + digest, self.before_time + when)))


@lru_cache(maxsize=64)
def _fixed(der: bytes, chain: tuple[x509.Certificate, ...], name: str) -> _Fixed:
    hashing, signing = _ALGORITHMS[name]
    digesting, size = _digest_algorithm(hashing), hashlib.new(hashing).digest_size
    shown = _tlv(0xA0, *sorted([der, *(c.public_bytes(Encoding.DER) for c in chain)]))
    # lengths do not depend on the value, so what stands before it is cut from an attribute with an empty one
    return _Fixed(
        signer=_VERSION + _issuer_and_serial(der) + digesting,
        signing=_signing_algorithm(signing),
        data=_VERSION + _tlv(SET, digesting) + _tlv(SEQUENCE, _DATA) + shown,
        always=(_attribute("1.2.840.113549.1.9.3", _DATA), _signing_certificate(der, hashing)),
        before_digest=_attribute("1.2.840.113549.1.9.4", _tlv(0x04, bytes(size)))[:-size],
        before_time=_attribute("1.2.840.113549.1.9.5", _tlv(0x17, bytes(13)))[:-13],
    )


class CmsSigner:
    """A destination's signer whose value is a detached CMS signature (`ports.Signer`)."""

    def __init__(self, handle: KeyHandle) -> None:
        self._handle = handle

    def sign_bytes(self, body: bytes, at: datetime) -> RawSignature:
        """The signature over exactly `body`; refused when the certificate is not valid at that instant."""
        check_validity(self._handle, at)
        value = sign(body, self._handle, at)
        subject, thumb = self._handle.subject, self._handle.thumbprint.upper()
        return RawSignature(value, "application/pkcs7-signature", self._handle.der, subject, thumb, at)


def _to_sign(attributes: cms.CMSAttributes) -> bytes:
    """The attributes as they are encoded, under the tag of a SET OF (RFC 5652 section 5.4)."""
    return b"\x31" + bytes(attributes.dump())[1:]


def verify(body: bytes, signature: bytes, trust: Trust, at: datetime, names: Names | None = None) -> x509.Certificate:
    """The signer's certificate, once its signature over exactly `body` is proven and trusted; else `Refused`.

    One signer; the algorithms have to be those of the signer's key; the digest, content type and signing certificate
    have to stand among the signed attributes.
    """
    try:
        return _verified(body, signature, trust, at, names)
    except (ValueError, TypeError, KeyError, AttributeError):  # what asn1crypto says of structures that are none
        raise Refused("GW-SIGN-040", detail="not a CMS structure") from None


def _verified(body: bytes, signature: bytes, trust: Trust, at: datetime, names: Names | None) -> x509.Certificate:
    info = cms.ContentInfo.load(signature, strict=True)
    if info["content_type"].native != "signed_data":
        raise Refused("GW-SIGN-040", detail="not a SignedData")
    data = info["content"]
    signers = data["signer_infos"]
    if len(signers) != 1 or data["encap_content_info"]["content"].native is not None:
        raise Refused("GW-SIGN-046", where="SignerInfo")
    signer = signers[0]
    found = [certificates.load(c.chosen.dump()) for c in data["certificates"]]
    leaf = _signer_of(signer, found)
    trust.check(leaf, [c for c in found if c != leaf], at, names)
    key = algorithms.public_key(leaf)
    claimed = (signer["digest_algorithm"]["algorithm"].native, signer["signature_algorithm"]["algorithm"].native)
    name = next((a for a in algorithms.allowed(key) if a in _ALGORITHMS and _fits(claimed, a)), None)
    if name is None:
        raise Refused("GW-SIGN-041", algorithm=str(claimed[1])[:40])
    _check_attributes(signer["signed_attrs"], body, leaf, claimed[0])
    algorithms.verify(key, name, signer["signature"].native, _to_sign(signer["signed_attrs"]), "der")
    return leaf


def _fits(claimed: tuple[str, str], name: Algorithm) -> bool:
    hashing, signing = _ALGORITHMS[name]
    return claimed[0] == hashing and claimed[1] in {signing, "rsassa_pkcs1v15" if name.startswith("RS") else signing}


def _signer_of(signer: cms.SignerInfo, shown: list[x509.Certificate]) -> x509.Certificate:
    sid = signer["sid"]
    if sid.name == "issuer_and_serial_number":
        serial, issuer = sid.chosen["serial_number"].native, sid.chosen["issuer"].dump()
        for each in shown:
            if each.serial_number == serial and each.issuer.public_bytes() == issuer:
                return each
    raise Refused("GW-SIGN-044")


def _check_attributes(attributes: cms.CMSAttributes, body: bytes, leaf: x509.Certificate, hashing: str) -> None:
    found: dict[str, core.Asn1Value] = {}
    for each in attributes:
        kind = each["type"].native
        if kind in found or len(each["values"]) != 1:
            raise Refused("GW-SIGN-046", where="signedAttrs")
        found[kind] = each["values"][0]
    if not {"content_type", "message_digest", "signing_certificate_v2"} <= set(found):
        raise Refused("GW-SIGN-047", where="signedAttrs")
    if found["content_type"].native != "data":
        raise Refused("GW-SIGN-047", where="contentType")
    if found["message_digest"].native != hashlib.new(hashing, body).digest():
        raise Refused("GW-SIGN-042")
    named = found["signing_certificate_v2"]
    if not isinstance(named, _NAMED):
        raise Refused("GW-SIGN-047", where="signingCertificateV2")
    named = named["certs"][0]
    method = named["hash_algorithm"]["algorithm"].native
    if method not in {"sha256", "sha384", "sha512"}:
        raise Refused("GW-SIGN-041", algorithm=str(method)[:40])
    if named["cert_hash"].native != hashlib.new(method, leaf.public_bytes(Encoding.DER)).digest():
        raise Refused("GW-SIGN-044")
