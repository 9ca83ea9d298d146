"""What a stand-in checks about a signer, written apart from room sign so that one error is not made twice.

Public material only: chain to the one anchor, validity, subject fields, and the signature itself.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import NameOID

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.simulate.arrivals import Arrival

_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def load_ca(path: Path) -> tuple[x509.Certificate, ...]:
    """The anchors of a PEM file."""
    return tuple(x509.load_pem_x509_certificates(path.read_bytes()))


def refuse(detail: str) -> Refused:
    """A refusal with its reason; never with content."""
    return Refused("GW-CORE-003", format="signature", detail=detail)


def check_certificate(
    leaf: x509.Certificate, chain: list[x509.Certificate], anchors: tuple[x509.Certificate, ...], at: datetime
) -> None:
    """Promise that the leaf is valid at `at` and leads to an anchor through at most the given chain."""
    current, left = leaf, list(chain)
    for _ in range(len(chain) + 1):
        if not current.not_valid_before_utc <= at <= current.not_valid_after_utc:
            raise refuse("the certificate is not valid now")
        if any(_issued(current, anchor) for anchor in anchors):
            return
        above = next((each for each in left if _issued(current, each)), None)
        if above is None:
            break
        left.remove(above)
        current = above
    raise refuse("the certificate does not lead to a known authority")


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str:
    """One field of the subject, or empty."""
    found = certificate.subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def bound_to(certificate: x509.Certificate, facility: str, system: str) -> None:
    """Promise that OU is the facility and T the system, as token certificates of the ministry have it."""
    if subject(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME) != facility:
        raise refuse("the certificate's OU is not the facility")
    if subject(certificate, NameOID.TITLE) != system:
        raise refuse("the certificate's T is not the system")


def standard_base64(text: str) -> bytes:
    """The bytes of base64 text, or a refusal."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise refuse("not base64") from None


def load_leaf(text: str) -> x509.Certificate:
    """The certificate of base64 DER, or a refusal."""
    try:
        return x509.load_der_x509_certificate(standard_base64(text))
    except ValueError:
        raise refuse("not a certificate") from None


def verify_rsa(certificate: x509.Certificate, value: bytes, body: bytes) -> None:
    """Promise a PKCS#1 v1.5 SHA-256 signature."""
    _verify(certificate, "RS256", value, body)


def _verify(certificate: x509.Certificate, algorithm: str, value: bytes, body: bytes) -> None:
    key: Any = certificate.public_key()
    try:
        if algorithm == "RS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, body, padding.PKCS1v15(), hashes.SHA256())
        elif algorithm == "PS256" and isinstance(key, rsa.RSAPublicKey):
            key.verify(value, body, _PSS, hashes.SHA256())
        elif algorithm == "ES256" and isinstance(key, ec.EllipticCurvePublicKey) and len(value) == 64:
            r, s = int.from_bytes(value[:32]), int.from_bytes(value[32:])
            key.verify(utils.encode_dss_signature(r, s), body, ec.ECDSA(hashes.SHA256()))
        elif algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(value, body)
        else:
            raise refuse(f"algorithm {algorithm[:20]} does not fit the key")
    except InvalidSignature:
        raise refuse("the signature does not verify over these bytes") from None


def verify_detached(token: str, body: bytes, anchors: tuple[x509.Certificate, ...], at: datetime) -> x509.Certificate:
    """Promise that a detached JWS (RFC 7515 appendix F, with or without RFC 7797) is over exactly `body`."""
    try:
        first, middle, last = token.split(".")
        header = json.read(_decode(first), 64 * 1024)
        certificates = [x509.load_der_x509_certificate(base64.b64decode(each)) for each in header["x5c"]]
        value = _decode(last)
    except (ValueError, KeyError, TypeError, binascii.Error, GatewayError):
        raise refuse("not a detached JWS with x5c") from None
    if middle or not certificates:
        raise refuse("not a detached JWS with x5c")
    plain = header.get("b64", True) is False
    payload = body if plain else base64.urlsafe_b64encode(body).rstrip(b"=")
    _verify(certificates[0], str(header.get("alg")), value, first.encode() + b"." + payload)
    check_certificate(certificates[0], certificates[1:], anchors, at)
    return certificates[0]


def verify_arrival(arrival: Arrival, anchors: tuple[x509.Certificate, ...]) -> None:
    """The signature over the body's exact bytes: a detached JWS, or value and certificate side by side."""
    value = arrival.header("x-signature")
    if not value:
        verify_detached(arrival.header("x-jws-signature"), arrival.body, anchors, arrival.time)
        return
    leaf = load_leaf(arrival.header("x-signature-certificate"))
    check_certificate(leaf, [], anchors, arrival.time)
    verify_rsa(leaf, standard_base64(value), arrival.body)


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
