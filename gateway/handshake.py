"""The trust room's rules inside the TLS handshake, both for servers that we call and for clients that call us.

OpenSSL stays the first wall (`CERT_REQUIRED`, the peer's own anchors). What it lets through is asked about again here,
before the handshake counts as done and so before one byte of a request is written or read: purpose, names, key,
path, and revocation of every certificate of it, where *unknown* is a refusal (promise 6). Connections outlive what
was known when they began, so `still` asks again for each message.

`ssl` of Python 3.11 hands over a client's chain in no public way; the two private doors that are used here are named
in `_shown`, and `tests/rooms/sign/test_sign_live_peers.py` states what we rely on.
"""

from __future__ import annotations

import hashlib
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from cryptography import x509

from gateway.clock import Clock
from gateway.errors import Refused
from gateway.sign import certificates
from gateway.sign.revocation import FORGIVABLE
from gateway.sign.trust import Names, Trust

log: Final = structlog.get_logger("gateway.tls")

REMEMBERED: Final = 4096
AGAIN_SECONDS: Final = 5.0
_CERTIFICATE: Final = 11  # RFC 8446 section 4, RFC 5246 section 7.4
_DER: Final = 2  # X509_FILETYPE_ASN1, as `_ssl.Certificate.public_bytes` takes it

# OpenSSL's reasons (openssl-verification-options(1)) where the chain that was shown cannot be had
_REASONS: Final[dict[int, str]] = {
    3: "GW-SIGN-015",  # unable to get certificate CRL
    7: "GW-SIGN-022",  # certificate signature failure
    9: "GW-SIGN-011",
    10: "GW-SIGN-010",
    12: "GW-SIGN-014",  # CRL has expired
    18: "GW-SIGN-020",
    19: "GW-SIGN-019",
    20: "GW-SIGN-019",
    21: "GW-SIGN-019",
    23: "GW-SIGN-012",
    26: "GW-SIGN-017",
    62: "GW-SIGN-018",
    64: "GW-SIGN-018",
    66: "GW-SIGN-021",
    67: "GW-SIGN-021",
    68: "GW-SIGN-021",
}
_OTHER_REASON: Final = "GW-SIGN-027"


class PeerRefused(ssl.SSLError):
    """A handshake, or a connection that lives, that our rules end. `code` is permanent."""

    def __init__(self, code: str) -> None:
        super().__init__(1, f"peer refused: {code}")
        self.code = self.reason = code
        self.library = "gateway"


class PeerTrust:
    """One purpose of [trust] over live connections: `tls-server` outbound, `tls-client` inbound."""

    def __init__(self, trust: Trust, clock: Clock) -> None:
        self._trust, self._clock = trust, clock
        self._chains: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()
        self._known: dict[tuple[str, str], tuple[float, Refused | None]] = {}

    def judge(self, chain: Sequence[bytes], host: str = "") -> Refused | None:
        """Why the chain (DER, leaf first) may not speak now; None when it may. Asked anew each time."""
        try:
            leaf, *rest = [certificates.load(der) for der in chain]
            self._trust.check(leaf, rest, self._clock.now(), Names(host=host) if host else None)
        except ValueError:  # includes no certificate at all
            return Refused("GW-SIGN-027", subject="", detail="the certificate cannot be read")
        except Refused as refused:
            return refused
        return None

    def admit(self, chain: Sequence[bytes], host: str = "") -> str | None:
        """`judge` in a handshake, remembered for `still`; the code."""
        name = hashlib.sha256(chain[0]).hexdigest() if chain else ""
        if len(chain) == 1 and name in self._chains:  # a resumed session shows its leaf only
            chain = self._chains[name]
        found = self.judge(chain, host)
        if found is None or found.code in FORGIVABLE:  # of the latter a responder may be asked, for the next time
            self._chains[name] = tuple(chain)
            self._chains.move_to_end(name)
            if len(self._chains) > REMEMBERED:
                self._chains.popitem(last=False)
        return self._remember((name, host), found)

    def still(self, fingerprint: str, host: str = "") -> None:
        """Raise `Refused` when a peer that was admitted (SHA-256 of its leaf) may not speak any more.

        An answer is at most five seconds old.
        """
        known = self._known.get((fingerprint, host))
        if known is None or self._clock.monotonic() - known[0] >= AGAIN_SECONDS:
            found = self.judge(self._chains.get(fingerprint, ()), host)
            self._remember((fingerprint, host), found)
        else:
            found = known[1]
        if found is not None:
            raise found

    def seen(self) -> tuple[tuple[x509.Certificate, ...], ...]:
        """The chains of peers that are trusted, or would be if their revocation status were known."""
        return tuple(tuple(certificates.load(der) for der in chain) for chain in self._chains.values())

    def _remember(self, key: tuple[str, str], found: Refused | None) -> str | None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key] = (self._clock.monotonic(), found)
        return found.code if found is not None else None


def guard(context: ssl.SSLContext, trust: PeerTrust, told: Callable[[str], None] | None = None) -> ssl.SSLContext:
    """Make every handshake of the context ask `trust`; `told` hears the code of each refusal. The same context."""

    class Bound(Guarded):
        pass

    Bound.trust, Bound.told = trust, staticmethod(told or (lambda code: None))
    context.sslobject_class = Bound
    if context.protocol is not ssl.PROTOCOL_TLS_CLIENT:  # who needs none is spared a call for every record (`_shown`)
        context._msg_callback = _overhear  # type: ignore[attr-defined]
    return context


class Guarded(ssl.SSLObject):
    """A TLS connection whose handshake ends with our own question."""

    trust: PeerTrust
    told: Callable[[str], None]
    overheard: tuple[bytes, ...] = ()

    def do_handshake(self) -> None:
        """As usual; then `PeerRefused` where our rules refuse what OpenSSL let through."""
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            found = self.trust.judge(self._shown(), self._host())
            code = found.code if found is not None else _REASONS.get(error.verify_code, _OTHER_REASON)
            self._refuse(code, error)
        shown = self._shown()
        if not shown and self.server_side:
            return  # the context decides whether a certificate is demanded
        code_ = self.trust.admit(shown, self._host())
        if code_ is not None:
            self._refuse(code_, None)

    def still(self) -> None:
        """Raise `PeerRefused` when the peer may not speak any more."""
        leaf = self.getpeercert(binary_form=True)
        try:
            self.trust.still(hashlib.sha256(leaf or b"").hexdigest(), self._host())
        except Refused as refused:
            self._refuse(refused.code, None)

    def _refuse(self, code: str, cause: ssl.SSLError | None) -> None:
        log.warning("peer_refused", code=code, inbound=self.server_side)
        type(self).told(code)
        raise PeerRefused(code) from cause

    def _host(self) -> str:
        return "" if self.server_side else str(self.server_hostname or "")

    def _shown(self) -> tuple[bytes, ...]:
        """The chain as the peer sent it, also where OpenSSL refused it.

        `SSLObject.get_unverified_chain` is public from Python 3.13 on, and behind `_sslobj` before; on the side of
        the server it is empty in a refused handshake, so there the Certificate message itself is read.
        """
        if self.overheard:
            return self.overheard
        inner: Any = self._sslobj  # type: ignore[attr-defined]
        found = tuple(each.public_bytes(_DER) for each in inner.get_unverified_chain() or ())
        leaf = self.getpeercert(binary_form=True) if not found else None
        return found or ((leaf,) if leaf else ())


def _overhear(
    connection: Any, direction: str, version: Any, content: Any, message: Any, data: bytes
) -> None:  # the signature that ssl calls
    if direction == "read" and message == _CERTIFICATE and data[:1] == b"\x0b" and isinstance(connection, Guarded):
        connection.overheard = read_chain(data, version)


def read_chain(message: bytes, version: int) -> tuple[bytes, ...]:
    """The certificates of a Certificate message; empty where it cannot be read (OpenSSL has refused it then)."""
    modern = version >= ssl.TLSVersion.TLSv1_3
    at = 4
    if modern:
        at += 1 + message[at] if len(message) > at else 1
    end = at + 3 + int.from_bytes(message[at : at + 3], "big")
    at += 3
    found: list[bytes] = []
    while at + 3 <= end <= len(message):
        size = int.from_bytes(message[at : at + 3], "big")
        found.append(message[at + 3 : at + 3 + size])
        at += 3 + size
        if modern:
            at += 2 + int.from_bytes(message[at : at + 2], "big")
    return tuple(found)
