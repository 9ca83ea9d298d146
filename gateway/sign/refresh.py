"""Bringing revocation information: from configured addresses only, into the folder that `revocation.Folder` reads.

The one file of this room that asks for the network, through the port. What is fetched is looked at before it
replaces what is there: it has to parse, to be of an issuer that we know, and not to be older. A fetch that fails
changes nothing: what is there grows stale by itself, and stale is a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from gateway.ports import MaybeSent, Network, NotSent
from gateway.sign.life import replace
from gateway.sign.sm2 import Sm2Public

Result = Literal["fresh", "unchanged", "unreachable", "unusable", "older"]
MAX_LIST: Final = 32 * 1024 * 1024


class ListSource(msgspec.Struct, frozen=True, kw_only=True):
    """One configured CRL: its file name in the folder, the TLS peer entry and the address."""

    name: str
    peer: str
    url: str


class ResponderSource(msgspec.Struct, frozen=True, kw_only=True):
    """One configured OCSP responder, for the certificates of one issuer."""

    name: str
    peer: str
    url: str


async def fetch_list(
    source: ListSource, network: Network, folder: Path, issuers: Iterable[x509.Certificate], timeout: float = 20.0
) -> Result:
    """Fetch one CRL; it replaces the held one when an issuer of ours signed it and it is not older."""
    try:
        reply = await network.request(source.peer, "GET", source.url, {}, b"", timeout)
    except (NotSent, MaybeSent):
        return "unreachable"
    if reply.status != 200 or len(reply.body) > MAX_LIST:
        return "unreachable"
    fresh = _list(reply.body)
    if fresh is None or not any(_signed_by(fresh, issuer) for issuer in issuers):
        return "unusable"
    path = folder / f"{source.name}.crl"
    held = _list(path.read_bytes()) if path.exists() else None
    if held is not None and held.issuer == fresh.issuer:
        if fresh.last_update_utc < held.last_update_utc:
            return "older"
        if fresh == held:
            return "unchanged"
    replace(path, fresh.public_bytes(serialization.Encoding.DER))
    return "fresh"


def _list(body: bytes) -> x509.CertificateRevocationList | None:
    try:
        if body.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_crl(body)
        return x509.load_der_x509_crl(body)
    except ValueError:
        return None


def _signed_by(fresh: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    if fresh.issuer != issuer.subject:
        return False
    sm2 = Sm2Public.of(issuer)
    if sm2 is not None:
        return sm2.verify(fresh.signature, fresh.tbs_certlist_bytes)
    try:
        return bool(fresh.is_signature_valid(issuer.public_key()))  # type: ignore[arg-type]
    except (UnsupportedAlgorithm, TypeError, ValueError):
        return False


async def fetch_status(
    source: ResponderSource,
    network: Network,
    folder: Path,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    timeout: float = 20.0,
) -> Result:
    """Ask an OCSP responder about one certificate (RFC 6960); the answer is kept and judged by `revocation`.

    Who signed the answer is judged when it is used, because a delegated responder needs the whole path.
    """
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA256()).build()
    headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
    body = asked.public_bytes(serialization.Encoding.DER)
    try:
        reply = await network.request(source.peer, "POST", source.url, headers, body, timeout)
    except (NotSent, MaybeSent):
        return "unreachable"
    if reply.status != 200 or len(reply.body) > MAX_LIST:
        return "unreachable"
    try:
        fresh = ocsp.load_der_ocsp_response(reply.body)
        usable = fresh.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        if not usable or fresh.serial_number != certificate.serial_number:
            return "unusable"
    except ValueError:
        return "unusable"
    path = folder / f"{source.name}-{certificate.serial_number:x}.ocsp"
    if path.exists() and path.read_bytes() == reply.body:
        return "unchanged"
    replace(path, reply.body)
    return "fresh"


def due(folder: Path, name: str, now: datetime) -> bool:
    """Whether a held CRL has used up half of its life (or is not there): then it is time to fetch."""
    path = folder / f"{name}.crl"
    held = _list(path.read_bytes()) if path.exists() else None
    if held is None or held.next_update_utc is None:
        return True
    life: timedelta = held.next_update_utc - held.last_update_utc
    return now >= held.last_update_utc + life / 2
