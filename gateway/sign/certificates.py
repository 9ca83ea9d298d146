"""Reading a certificate that somebody sent: whole, at once, or not at all.

The library reads lazily: a certificate with a broken name loads, and fails when the name is first asked for, which
may be deep inside a check. So everything that a check will ask for is asked for here.
"""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.utils import CryptographyDeprecationWarning


def load(der: bytes) -> x509.Certificate:
    """The certificate; ValueError when any part of it cannot be read or is refused by RFC 5280 (serial numbers)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        try:
            certificate = x509.load_der_x509_certificate(der)
            whole = (
                certificate.subject.rfc4514_string(),
                certificate.issuer.rfc4514_string(),
                certificate.serial_number,
                certificate.not_valid_before_utc,
                certificate.not_valid_after_utc,
                list(certificate.extensions),
                certificate.signature_algorithm_oid,
            )
            _key(certificate)
        except (
            CryptographyDeprecationWarning,
            x509.DuplicateExtension,
            x509.UnsupportedGeneralNameType,
            TypeError,  # a name with a bit string where the library wants text
        ) as error:
            raise ValueError(str(error)) from None
    assert whole
    return certificate


def _key(certificate: x509.Certificate) -> None:
    try:
        certificate.public_key()
    except UnsupportedAlgorithm:
        return  # SM2, or a curve that policy refuses later with its own code
