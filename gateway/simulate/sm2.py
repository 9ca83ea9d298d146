"""What a stand-in checks of SM2 signatures: the system's OpenSSL (3.0 or later) by ctypes, which shares nothing with
the engine of room sign.

The signer id is said aloud everywhere, because a certificate does not tell it. OpenSSL's own default was the empty
one until 4.0.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence
from functools import cache
from typing import Final

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import utils
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Misconfigured
from gateway.simulate.certificates import refuse

DEFAULT_ID: Final = "1234567812345678"


@cache
def _library() -> ctypes.CDLL:
    """libcrypto with the functions that are used; `Misconfigured` where it is missing or too old."""
    found = ctypes.util.find_library("crypto")
    try:
        made = ctypes.CDLL(found or "libcrypto.so.3")
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        for name, result, arguments in (
            ("d2i_PUBKEY", pointer, [pointer, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long]),
            ("EVP_PKEY_free", None, [pointer]),
            ("EVP_sm3", pointer, []),
            ("EVP_MD_CTX_new", pointer, []),
            ("EVP_MD_CTX_free", None, [pointer]),
            ("EVP_PKEY_CTX_new", pointer, [pointer, pointer]),
            ("EVP_PKEY_CTX_free", None, [pointer]),
            ("EVP_PKEY_CTX_set1_id", ctypes.c_int, [pointer, ctypes.c_char_p, ctypes.c_int]),
            ("EVP_MD_CTX_set_pkey_ctx", None, [pointer, pointer]),
            ("EVP_DigestVerifyInit", ctypes.c_int, [pointer, pointer, pointer, pointer, pointer]),
            ("EVP_DigestVerify", ctypes.c_int, [pointer, ctypes.c_char_p, size, ctypes.c_char_p, size]),
        ):
            function = getattr(made, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        raise Misconfigured(detail="OpenSSL 3.0 or later (libcrypto) is needed to verify SM2 signatures") from None
    return made


def _spki(certificate: x509.Certificate) -> bytes:
    parsed = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))
    return bytes(parsed["tbs_certificate"]["subject_public_key_info"].dump())


def fits(info: bytes, signature: bytes, body: bytes, id: str) -> bool:
    """Whether the DER signature is that of the key (DER SubjectPublicKeyInfo) over `body` under the signer id."""
    library, name = _library(), id.encode()
    key = library.d2i_PUBKEY(None, ctypes.byref(ctypes.c_char_p(info)), len(info))
    if not key:
        return False
    context, own = library.EVP_MD_CTX_new(), library.EVP_PKEY_CTX_new(key, None)
    try:
        if library.EVP_PKEY_CTX_set1_id(own, name, len(name)) != 1:
            return False
        library.EVP_MD_CTX_set_pkey_ctx(context, own)
        if library.EVP_DigestVerifyInit(context, None, library.EVP_sm3(), None, key) != 1:
            return False
        return bool(library.EVP_DigestVerify(context, signature, len(signature), body, len(body)) == 1)
    finally:
        library.EVP_MD_CTX_free(context)
        library.EVP_PKEY_CTX_free(own)
        library.EVP_PKEY_free(key)


def der(signature: bytes) -> bytes:
    """A signature in DER, whether it came so or as r‖s."""
    if len(signature) != 64:
        return signature
    return utils.encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))


def verify(leaf: x509.Certificate, signature: bytes, body: bytes, id: str = DEFAULT_ID) -> None:
    """Promise that the signature is the certificate's key's over `body` under this signer id, or `Refused`."""
    if not fits(_spki(leaf), der(signature), body, id):
        raise refuse("the signature does not verify over these bytes with this signer id")


def check_issued(leaf: x509.Certificate, anchors: Sequence[x509.Certificate], id: str = DEFAULT_ID) -> None:
    """Promise that an anchor of that name signed the certificate; `id` is the issuer's signer id."""
    for anchor in anchors:
        same = anchor.subject == leaf.issuer
        if same and fits(_spki(anchor), leaf.signature, leaf.tbs_certificate_bytes, id):
            return
    raise refuse("the certificate does not lead to a known authority with this signer id")
