"""JSON Web Signature: compact and detached (RFC 7515 and its appendix F), also with an unencoded payload (RFC 7797).

Making one needs nothing but a `KeyHandle`, so no library ever holds the private key. Checking is strict in the
order that matters: the header is read by our own JSON reader (repeated keys are refused), the algorithm must be
the one that the configuration expects for the key, every critical header must be known, and only then is the
signature looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding as Form

from gateway.errors import GatewayError, Refused
from gateway.formats import json
from gateway.message import Json
from gateway.sign import algorithms, certificates
from gateway.sign.algorithms import Algorithm, Encoding, PublicKey
from gateway.sign.keys import KeyHandle

MAX_HEADER: Final = 64 * 1024  # a chain of four certificates fits several times
UNDERSTOOD: Final = frozenset({"b64"})


def encode(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of base64url text; padding, white space and foreign characters are refused, and so are
    spellings that leave bits over.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Refused("GW-SIGN-040", detail="not base64url") from None
    if encode(data) != text:
        raise Refused("GW-SIGN-040", detail="not canonical base64url")
    return data


def x5c(handle: KeyHandle) -> list[str]:
    """The certificate and its chain as RFC 7515 section 4.1.6 wants them: standard base64 of DER, an array."""
    return list(_x5c(handle.der, handle.chain))


@lru_cache(maxsize=64)
def _x5c(der: bytes, chain: tuple[x509.Certificate, ...]) -> tuple[str, ...]:
    ders = [der, *(c.public_bytes(Form.DER) for c in chain)]
    return tuple(base64.b64encode(each).decode("ascii") for each in ders)


def x5t_s256(certificate: x509.Certificate) -> str:
    """The header value of RFC 7515 section 4.1.8."""
    return encode(certificate.fingerprint(hashes.SHA256()))


def sign(
    handle: KeyHandle,
    header: Mapping[str, Any],
    payload: bytes,
    *,
    algorithm: Algorithm | None = None,
    detached: bool = False,
    encoded: bool = True,
    encoding: Encoding = "raw",
) -> str:
    """A compact JWS. `detached` leaves the payload out; `encoded=False` signs it as it is (needs `detached`).

    `encoding` "der" is for SM2 peers that put DER where JOSE has r‖s.
    """
    alg = algorithm or handle.algorithm
    full: dict[str, Any] = {"alg": alg, **header}
    if not encoded:
        full |= {"b64": False, "crit": ["b64"]}
    return signed(handle, encode(json.write(full)), payload, alg, detached, encoded, encoding)


def signed(
    handle: KeyHandle,
    first: str,
    payload: bytes,
    alg: Algorithm,
    detached: bool = False,
    encoded: bool = True,
    encoding: Encoding = "raw",
) -> str:
    """The same for a header that is already encoded: one that names a chain costs as much as signing by P-256."""
    middle = encode(payload) if encoded else ""
    covered = f"{first}.{middle}".encode("ascii") if encoded else first.encode("ascii") + b"." + payload
    signature = encode(handle.sign(covered, alg, encoding))
    return f"{first}.{'' if detached else middle}.{signature}"


def header_of(token: str) -> Json:
    """The protected header, read strictly and **not yet verified**: only for finding out what was claimed."""
    return _split(token)[0]


def _split(token: str) -> tuple[Json, str, str, str]:
    parts = token.split(".")
    if len(parts) != 3 or len(parts[0]) > MAX_HEADER:
        raise Refused("GW-SIGN-040", detail="not a compact JWS")
    try:
        header = json.read(decode(parts[0]), MAX_HEADER)
    except GatewayError:
        raise Refused("GW-SIGN-040", detail="the header is not strict JSON") from None
    if not isinstance(header, dict):
        raise Refused("GW-SIGN-040", detail="the header is not an object")
    return header, parts[0], parts[1], parts[2]


def verify(
    token: str,
    key: PublicKey,
    algorithm: Algorithm,
    *,
    payload: bytes | None = None,
    understood: Collection[str] = UNDERSTOOD,
    unencoded: bool = False,
    max_payload: int = 64 * 1024 * 1024,
    encoding: Encoding = "raw",
) -> tuple[Json, bytes]:
    """Header and payload, once the signature is proven with exactly this key and algorithm; else `Refused`.

    `payload` is given for a detached signature, and then must not stand in the token as well. `unencoded` says
    whether RFC 7797's b64=false is expected; the message does not decide it.
    """
    header, first, middle, last = _split(token)
    _check_header(header, algorithm, understood, unencoded)
    if payload is not None:
        if middle:
            raise Refused("GW-SIGN-040", detail="a detached signature carries a payload")
        signed = payload if unencoded else encode(payload).encode("ascii")
    elif unencoded or len(middle) > max_payload:
        raise Refused("GW-SIGN-040", detail="the payload is missing or too long")
    else:
        payload, signed = decode(middle), middle.encode("ascii")
    algorithms.verify(key, algorithm, decode(last), first.encode("ascii") + b"." + signed, encoding)
    return header, payload


def _check_header(header: Json, algorithm: Algorithm, understood: Collection[str], unencoded: bool) -> None:
    if header.get("alg") != algorithm:
        raise Refused("GW-SIGN-041", algorithm=str(header.get("alg"))[:40])
    critical = header.get("crit", [])
    if "crit" in header and (not isinstance(critical, list) or not critical):
        raise Refused("GW-SIGN-040", detail="crit is not a list of names")
    for name in critical:
        if not isinstance(name, str) or name not in understood or name not in header:
            raise Refused("GW-SIGN-043", name=str(name)[:40])
    if len(critical) != len(set(critical)):
        raise Refused("GW-SIGN-040", detail="crit repeats a name")
    if ("b64" in header) != ("b64" in critical) or (header.get("b64", True) is False) != unencoded:
        raise Refused("GW-SIGN-043", name="b64")
    if not isinstance(header.get("b64", True), bool):
        raise Refused("GW-SIGN-043", name="b64")


def certificates_of(header: Json) -> list[x509.Certificate]:
    """The certificates of `x5c`, leaf first; refused when it is not an array of base64 DER."""
    chain = header.get("x5c")
    if not isinstance(chain, list) or not 0 < len(chain) <= 10:
        raise Refused("GW-SIGN-040", detail="x5c is not an array of certificates")
    try:
        return [certificates.load(base64.b64decode(each, validate=True)) for each in chain]
    except (ValueError, TypeError):
        raise Refused("GW-SIGN-040", detail="x5c holds something that is not base64 DER") from None
