"""CMS detached signatures with the attributes of CAdES-B (RFC 5652, RFC 5035, ETSI EN 319 122-1 baseline B).

Signed attributes: content type, message digest, signing time and signing-certificate-v2. No library makes these from
a key that it cannot hold, so the few ASN.1 structures are put together here. RSA and ECDSA, SHA-256 or SHA-384.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Misconfigured, Refused
from gateway.sign import algorithms
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
    hashing, signing = _ALGORITHMS[name]
    certificate = asn1_x509.Certificate.load(handle.der)
    attributes = _attributes(hashlib.new(hashing, body).digest(), handle.der, hashing, at)
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                cms.IssuerAndSerialNumber({"issuer": certificate.issuer, "serial_number": certificate.serial_number}),
            ),
            "digest_algorithm": algos.DigestAlgorithm({"algorithm": hashing}),
            "signed_attrs": attributes,
            "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": signing}),
            "signature": handle.sign(_to_sign(attributes), name, "der"),
        }
    )
    chain = [asn1_x509.Certificate.load(c.public_bytes(Encoding.DER)) for c in handle.chain]
    data = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [algos.DigestAlgorithm({"algorithm": hashing})],
            "encap_content_info": {"content_type": "data"},
            "certificates": [certificate, *chain],
            "signer_infos": [signer],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": data}).dump())


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


def _attributes(digest: bytes, der: bytes, hashing: str, at: datetime) -> cms.CMSAttributes:
    named = tsp.ESSCertIDv2({"hash_algorithm": {"algorithm": hashing}, "cert_hash": hashlib.new(hashing, der).digest()})
    when = cms.Time("utc_time", core.UTCTime(at.astimezone(UTC).replace(microsecond=0)))
    return cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [digest]}),
            cms.CMSAttribute({"type": "signing_time", "values": [when]}),
            cms.CMSAttribute(
                {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [named]})]}
            ),
        ]
    )


def _to_sign(attributes: cms.CMSAttributes) -> bytes:
    """The attributes as a DER SET OF (RFC 5652 section 5.4)."""
    return bytes(attributes.untag().dump(force=True))


def verify(body: bytes, signature: bytes, trust: Trust, at: datetime, names: Names | None = None) -> x509.Certificate:
    """The signer's certificate, once its signature over exactly `body` is proven and trusted; else `Refused`.

    One signer; the algorithms have to be those of the signer's key; the digest, content type and signing certificate
    have to stand among the signed attributes.
    """
    data = _data(signature)
    signers = data["signer_infos"]
    if len(signers) != 1 or data["encap_content_info"]["content"].native is not None:
        raise Refused("GW-SIGN-046", where="SignerInfo")
    signer = signers[0]
    certificates = [x509.load_der_x509_certificate(c.chosen.dump()) for c in data["certificates"]]
    leaf = _signer_of(signer, certificates)
    trust.check(leaf, [c for c in certificates if c != leaf], at, names)
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


def _data(signature: bytes) -> cms.SignedData:
    try:
        info = cms.ContentInfo.load(signature, strict=True)
        if info["content_type"].native != "signed_data":
            raise Refused("GW-SIGN-040", detail="not a SignedData")
        data = info["content"]
        _ = data.native
    except (ValueError, TypeError, KeyError):
        raise Refused("GW-SIGN-040", detail="not a CMS structure") from None
    return data


def _signer_of(signer: cms.SignerInfo, certificates: list[x509.Certificate]) -> x509.Certificate:
    sid = signer["sid"]
    if sid.name == "issuer_and_serial_number":
        serial, issuer = sid.chosen["serial_number"].native, sid.chosen["issuer"].dump()
        for each in certificates:
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
    named = found["signing_certificate_v2"]["certs"][0]
    method = named["hash_algorithm"]["algorithm"].native
    if method not in {"sha256", "sha384", "sha512"}:
        raise Refused("GW-SIGN-041", algorithm=str(method)[:40])
    if named["cert_hash"].native != hashlib.new(method, leaf.public_bytes(Encoding.DER)).digest():
        raise Refused("GW-SIGN-044")
