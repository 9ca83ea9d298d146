"""Server-side TLS for both listeners, and revocation that is asked again while a connection lives.

The handshake refuses a certificate of another CA, of the wrong purpose, out of its validity, or revoked (RFC 5280
section 6); an expired CRL refuses everybody, which is what "unknown revocation status is a refusal" means. Because
connections outlive a CRL, `Revocation` re-reads the file when it changes and is asked for each message.
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import Misconfigured, NotAllowed, Refused
from gateway.receive.identity import Certificate, loopback
from gateway.settings import Tls

log: Final = structlog.get_logger("gateway.receive")

Guard = Callable[[ssl.SSLContext], ssl.SSLContext]
Still = Callable[[str], None]
"""Raises `Refused` when the client whose certificate has this SHA-256 fingerprint may not speak any more."""

HANDSHAKE_SECONDS: Final = 10.0
_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_LOOK_AGAIN_SECONDS: Final = 5.0
_PEM_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\s*", re.DOTALL)


def context(tls: Tls) -> ssl.SSLContext:
    """The server context, or `Misconfigured`. With `client_ca` a client certificate is demanded unless optional."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _MINIMUM[tls.minimum]
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        made.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca is not None:
            made.load_verify_locations(cafile=tls.client_ca)
            made.verify_mode = ssl.CERT_OPTIONAL if tls.client_optional else ssl.CERT_REQUIRED
        if tls.crl is not None:
            _load_crl(made, Path(tls.crl))
            made.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:  # includes ssl.SSLError
        detail = getattr(error, "strerror", None) or "a certificate, key or CRL file is not usable"
        raise Misconfigured(detail=f"TLS: {detail}") from None
    if tls.crl is not None and tls.client_ca is None:
        raise Misconfigured(detail="TLS: a CRL without client_ca checks nobody")
    return made


def read_crls(body: bytes) -> list[x509.CertificateRevocationList]:
    """Every CRL of a file, PEM (one or several) or DER. `ValueError` where there is none."""
    if b"-----BEGIN" not in body:
        return [x509.load_der_x509_crl(body)]
    found = [x509.load_pem_x509_crl(each) for each in _PEM_CRL.findall(body)]
    if not found:
        raise ValueError("no CRL in the file")
    return found


def _load_crl(made: ssl.SSLContext, path: Path) -> None:
    """OpenSSL reads CRLs from PEM files only."""
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in read_crls(path.read_bytes()))
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem)
        file.flush()
        made.load_verify_locations(cafile=file.name)


class _Live:
    """Follows the files: a renewed certificate, CA or CRL holds from the next handshake on, without a restart.

    The callback of the ClientHello is the one moment at which OpenSSL lets a server choose its context.
    """

    def __init__(self, tls: Tls, guard: Guard) -> None:
        self._tls, self._guard = tls, guard
        self._files = [Path(each) for each in (tls.certificate, tls.key, tls.client_ca, tls.crl) if each is not None]
        self._stamp = self._look()
        self._current = guard(context(tls))
        self.outer = guard(context(tls))
        self.outer.sni_callback = self._choose

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        stats = [each.stat() for each in self._files if each.exists()]
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._current = self._guard(context(self._tls))
                log.info("tls_renewed")
            except Misconfigured as error:  # half-written files: the next change is looked at again
                log.error("tls_not_renewed", code=error.code)
        connection.context = self._current


def unguarded(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context as it is: nobody but OpenSSL is asked about a client."""
    return context


def server_context(
    tls: Tls | None, host: str, plaintext_allowed: bool = False, guard: Guard = unguarded
) -> ssl.SSLContext | None:
    """The context, or None for plain text: on loopback, or where a sender's entry allows it explicitly.

    `guard` is given every context before it is used, and may add questions of its own to the handshake.
    """
    if tls is not None:
        return _Live(tls, guard).outer
    if loopback(host) or plaintext_allowed:
        return None
    raise Misconfigured(detail=f"the listener on {host} has no TLS; plain text stays on loopback")


class Revocation:
    """The CRL of client certificates, re-read when its file changes. Without a CRL nobody is revoked.

    `still` is asked besides, where the listener has more rules about clients.
    """

    def __init__(self, tls: Tls | None, still: Still | None = None) -> None:
        self._still = still
        self._path = Path(tls.crl) if tls is not None and tls.crl is not None else None
        self._ca = Path(tls.client_ca) if tls is not None and tls.client_ca is not None else None
        self._stamp: tuple[int, int] = (0, 0)
        self._looked: float | None = None
        self._crls: dict[str, x509.CertificateRevocationList] = {}

    def check(self, certificate: Certificate | None, now: datetime, monotonic: float) -> None:
        """Raise `NotAllowed` where the certificate is revoked, or where that cannot be known any more."""
        if certificate is None:
            return
        if self._still is not None:
            try:
                self._still(certificate.fingerprint)
            except Refused as refused:
                raise NotAllowed(refused.code, None, **refused.args_) from None
        if self._path is None:
            return
        if self._looked is None or monotonic - self._looked >= _LOOK_AGAIN_SECONDS:
            self._looked = monotonic
            self._reload(self._path)
        crl = self._crls.get(certificate.issuer)
        if crl is None or crl.next_update_utc is None or now > crl.next_update_utc:
            raise NotAllowed("GW-RECEIVE-015")
        if crl.get_revoked_certificate_by_serial_number(certificate.serial) is not None:
            raise NotAllowed("GW-RECEIVE-015")

    def _reload(self, path: Path) -> None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._stamp:
                return
            found = [each for each in read_crls(path.read_bytes()) if self._signed(each)]
        except (OSError, ValueError) as error:
            log.error("crl_unusable", error=type(error).__name__)
            self._crls, self._stamp = {}, (0, 0)
            return
        self._crls = {each.issuer.rfc4514_string(): each for each in found}
        self._stamp = stamp

    def _signed(self, crl: x509.CertificateRevocationList) -> bool:
        assert self._ca is not None
        for each in x509.load_pem_x509_certificates(self._ca.read_bytes()):
            key = each.public_key()
            if each.subject == crl.issuer and crl.is_signature_valid(key):  # type: ignore[arg-type]
                return True
        return False
