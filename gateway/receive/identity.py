"""Who is calling: decided before anything that they sent is read.

A caller is known by a client certificate (SHA-256 fingerprint, or RFC 4514 subject under our client CA), by a bearer
token (RFC 6750; only its digest is configured), or on MLLP by source address with MSH-3 and MSH-4. Two credentials
that name different senders are refused, and so is a source that two senders share.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import structlog
from cryptography import x509

from gateway.errors import Misconfigured, NotAllowed
from gateway.settings import MllpSource, Sender

log: Final = structlog.get_logger("gateway.receive")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Keys = Callable[[Sender], tuple[str, ...]]
PUSHERS: Final = frozenset({"sender", "tester"})
"""Roles that may push."""


class Certificate(msgspec.Struct, frozen=True):
    """What of a client certificate identity needs; the chain was already verified by TLS."""

    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime
    serial: int
    issuer: str

    def valid_at(self, now: datetime) -> bool:
        """Connections outlive certificates, so this is asked again for each message."""
        return self.not_before <= now <= self.not_after


def read_certificate(der: bytes) -> Certificate:
    """The certificate that TLS handed over; `NotAllowed` where it cannot be read."""
    try:
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            fingerprint=hashlib.sha256(der).hexdigest(),
            subject=found.subject.rfc4514_string(),
            not_before=found.not_valid_before_utc,
            not_after=found.not_valid_after_utc,
            serial=found.serial_number,
            issuer=found.issuer.rfc4514_string(),
        )
    except ValueError:
        raise NotAllowed("GW-RECEIVE-015") from None


@lru_cache(maxsize=2048)
def _parsed(pem: str) -> Certificate:
    return read_certificate(ssl.PEM_cert_to_DER_cert(pem))


def certificate_in(scope: Mapping[str, Any]) -> Certificate | None:
    """The client certificate of an ASGI connection (ASGI TLS extension 0.2): the one place that reads it."""
    tls = scope.get("extensions", {}).get("tls") or {}
    chain = tuple(tls.get("client_cert_chain") or ())
    return _parsed(chain[0]) if chain else None


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address, with IPv4 inside IPv6 unwrapped; None where the peer has none."""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def loopback(host: str) -> bool:
    """Whether plain text to or from this host stays on the machine."""
    found = address(host)
    return host == "localhost" or (found is not None and found.is_loopback)


class Source(msgspec.Struct, frozen=True):
    """One compiled `MllpSource`."""

    networks: tuple[Network, ...]
    application: str | None
    facility: str | None
    plaintext: bool

    def reaches(self, host: str) -> bool:
        """Whether the address lies in the configured networks; none configured means loopback only."""
        found = address(host)
        if found is None:
            return False
        if not self.networks:
            return found.is_loopback
        return any(found in network for network in self.networks)

    def named(self, application: str, facility: str) -> bool:
        """Whether MSH-3 and MSH-4 are the configured ones: the whole field, or its first component."""
        return _is(self.application, application) and _is(self.facility, facility)


def _is(wanted: str | None, given: str) -> bool:
    return wanted is None or wanted in (given, given.partition("^")[0])


def _compile(sender: Sender, source: MllpSource) -> Source:
    try:
        networks = tuple(ipaddress.ip_network(each) for each in source.addresses)
    except ValueError as error:
        raise Misconfigured(detail=f"sender {sender.id}: {error}") from None
    if source.plaintext:
        if not networks or not (source.application or source.facility):
            detail = f"sender {sender.id}: plaintext needs addresses and application or facility"
            raise Misconfigured(detail=detail)
        log.warning("plaintext_sender", sender=sender.id, count=len(networks))
    return Source(networks, source.application, source.facility, source.plaintext)


class Identities:
    """Every configured caller, indexed once. Raises `Misconfigured` where two senders share a credential."""

    def __init__(self, senders: Sequence[Sender]) -> None:
        self._fingerprints = _index(senders, lambda s: tuple(_digest(each) for each in s.certificates))
        self._subjects = _index(senders, lambda s: tuple(_subject(s, each) for each in s.subjects))
        tokens = _index(senders, lambda s: tuple(_digest(each) for each in s.token_sha256))
        self._tokens = tuple((key.encode(), sender) for key, sender in tokens.items())
        self._sources = tuple((s, tuple(_compile(s, each) for each in s.mllp)) for s in senders)
        self._open = lru_cache(maxsize=1024)(self._open_to)  # networks are compared once an address, not once a message
        if len({s.id for s in senders}) != len(senders):
            raise Misconfigured(detail="two senders have the same id")

    def by_certificate(self, certificate: Certificate, now: datetime) -> Sender:
        """The sender of a certificate that is valid now, or `NotAllowed`."""
        if not certificate.valid_at(now):
            raise NotAllowed("GW-RECEIVE-015")
        sender = self._fingerprints.get(certificate.fingerprint) or self._subjects.get(certificate.subject)
        if sender is None:
            raise NotAllowed("GW-RECEIVE-015")
        return sender

    def by_token(self, token: str) -> Sender:
        """The sender of a bearer token, or `NotAllowed`. Every digest is compared, whatever matched."""
        given = hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest().encode()
        found: Sender | None = None
        for digest, sender in self._tokens:
            if hmac.compare_digest(digest, given):
                found = sender
        if found is None:
            raise NotAllowed("GW-RECEIVE-015")
        return found

    def over_http(self, certificate: Certificate | None, authorization: str | None, now: datetime) -> Sender:
        """The caller of an HTTP request. `GW-RECEIVE-014` where no credential was given at all."""
        known: list[Sender] = []
        if authorization is not None:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise NotAllowed("GW-RECEIVE-015")
            known.append(self.by_token(token.strip()))
        if certificate is not None:
            known.append(self.by_certificate(certificate, now))
        if not known:
            raise NotAllowed("GW-RECEIVE-014")
        if any(each.id != known[0].id for each in known):
            raise NotAllowed("GW-RECEIVE-015")
        return known[0]

    def expected(self, host: str) -> bool:
        """Whether anybody at all may speak without a certificate from this address."""
        return bool(self._open(host))

    def _open_to(self, host: str) -> tuple[tuple[Sender, Source], ...]:
        """The sources that may speak from this address without a certificate."""
        return tuple((s, each) for s, sources in self._sources for each in sources if _open(each, host))

    def alone_at(self, host: str) -> Sender | None:
        """The one sender who may speak from this address without a certificate, where there is exactly one."""
        found = {sender.id: sender for sender, _ in self._open(host)}
        return next(iter(found.values())) if len(found) == 1 else None

    def over_mllp(
        self, certificate: Certificate | None, host: str, application: str, facility: str, now: datetime
    ) -> Sender:
        """The sender of a message, or `NotAllowed`.

        A certificate names the sender; where that sender has sources configured, one of them must fit as well.
        Without a certificate exactly one sender's source must fit, and it must be loopback or marked `plaintext`.
        """
        if certificate is not None:
            sender = self.by_certificate(certificate, now)
            sources = next(found for each, found in self._sources if each is sender)
            if sources and not any(_fits(each, host, application, facility) for each in sources):
                raise NotAllowed("GW-RECEIVE-016")
            return sender
        fitting = {sender.id: sender for sender, source in self._open(host) if source.named(application, facility)}
        if len(fitting) != 1:
            raise NotAllowed("GW-RECEIVE-016")
        return next(iter(fitting.values()))


def _open(source: Source, host: str) -> bool:
    return source.reaches(host) and (source.plaintext or loopback(host))


def _fits(source: Source, host: str, application: str, facility: str) -> bool:
    return (not source.networks or source.reaches(host)) and source.named(application, facility)


def _digest(text: str) -> str:
    digest = text.replace(":", "").lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise Misconfigured(detail="a fingerprint or token digest is not hexadecimal SHA-256")
    return digest


def _subject(sender: Sender, text: str) -> str:
    """The name in the one spelling that certificates are compared in."""
    try:
        return x509.Name.from_rfc4514_string(text).rfc4514_string()
    except ValueError:
        raise Misconfigured(detail=f"sender {sender.id}: {text!r} is not an RFC 4514 name") from None


def _index(senders: Sequence[Sender], keys: Keys) -> Mapping[str, Sender]:
    table: dict[str, Sender] = {}
    for sender in senders:
        for key in keys(sender):
            if key in table:
                raise Misconfigured(detail=f"senders {table[key].id} and {sender.id} share a credential")
            table[key] = sender
    return table
