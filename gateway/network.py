"""The only way out: every outbound connection of the gateway is made here, towards a peer named in the settings.

What is promised towards each peer (`[peer.NAME]`): TLS 1.2 or newer with the peer's own anchors, our certificate
where one is configured, pins on the leaf (SHA-256 of the certificate or of its public key, RFC 7469 section 2.4),
exactly the configured origin (RFC 6454 section 4), no redirects, no cookies, no proxy from the environment, a bounded
answer, and limits on connecting, writing, waiting and the whole, all on the monotonic clock. `connections.py` speaks on
the connections that are made here.

The one distinction that delivery rests on: `NotSent` means that no byte of the request left and it is safe to try
again; `MaybeSent` means that bytes had left when it broke. Both carry a permanent code as their first argument.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import h11
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.connections import Connection, Reply
from gateway.errors import Misconfigured
from gateway.handshake import Guarded, PeerRefused
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer

if TYPE_CHECKING:
    from gateway.sftp import FileServer

log: Final = structlog.get_logger("gateway.network")

PORTS: Final = {"https": 443, "http": 80, "mllp": 2575, "sftp": 22}
KEEPALIVE_SECONDS: Final = 3.0  # shorter than what servers keep, so that a reused connection is rarely a dead one
MAX_CONNECTIONS: Final = 64
END_BLOCK: Final = b"\x1c\x0d"  # HL7 MLLP release 2: end of block, carriage return

_BREAKS: Final = (h11.ProtocolError, OSError, TimeoutError, ValueError)  # ValueError: not to be written as HTTP

# TLS 1.3: the server refuses our certificate after our side of the handshake is done. It has then read no
# application data, so the request surely did not arrive although bytes had left. Where a reset swallows the alert
# we cannot know, and say so.
HANDSHAKE_ALERTS: Final = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_DECRYPT_ERROR",
        "TLSV1_ALERT_ACCESS_DENIED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
    }
)


@lru_cache(1024)
def origin_of(url: str) -> str:
    """Scheme, host and port of a URL in one comparable form; empty where the URL has no usable origin."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    if not parts.hostname or not port or parts.username is not None or parts.password is not None:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by its literal address (or the name localhost)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls_context(peer: Peer) -> ssl.SSLContext:
    """The client side of TLS for one peer; a file that cannot be used is `Misconfigured`."""
    try:
        context = ssl.create_default_context(cafile=peer.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # whom we talk to does not change under way
        if peer.certificate:
            context.load_cert_chain(peer.certificate, peer.key)
    except OSError as error:  # includes ssl.SSLError
        raise Misconfigured("GW-NET-010", detail=str(error.strerror or error)) from None
    return context


def _stamp(peer: Peer) -> tuple[tuple[int, int, int], ...]:
    return tuple(_look(each) for each in (peer.ca, peer.certificate, peer.key) if each)


def _look(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _pins(peer: Peer) -> frozenset[str]:
    return frozenset(pin.lower().replace(":", "").removeprefix("sha256") for pin in peer.pins)


def fingerprints(certificate_der: bytes) -> frozenset[str]:
    """The two digests that a pin may name: of the certificate, and of its SubjectPublicKeyInfo."""
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return frozenset(hashlib.sha256(each).hexdigest() for each in (certificate_der, spki))


def _pinned(pins: frozenset[str], tls: ssl.SSLObject | None) -> bool:
    if not pins:
        return True
    leaf = tls.getpeercert(binary_form=True) if tls is not None else None
    return leaf is not None and bool(pins & fingerprints(leaf))


def _worded(host: str, method: str, url: str, headers: Mapping[str, str], body: bytes) -> h11.Request:
    """The head of a request; what cannot be written as HTTP is a `ValueError` or `h11.LocalProtocolError`."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    given, fields = {name.lower() for name in headers}, [("accept-encoding", "identity"), *headers.items()]
    if "host" not in given:
        fields.insert(0, ("Host", host))
    if not given & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    return h11.Request(method=method, target=target, headers=fields)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _refused_in_handshake(error: BaseException) -> bool:
    return any(isinstance(each, ssl.SSLError) and each.reason in HANDSHAKE_ALERTS for each in _chain(error))


def _not_sent_code(error: BaseException) -> str:
    if any(isinstance(each, ssl.SSLError) for each in _chain(error)):
        return "GW-NET-002"
    return "GW-NET-011" if isinstance(error, (h11.LocalProtocolError, ValueError)) else "GW-NET-001"


def _broke(error: BaseException, sent: bool, heard: bool = False) -> NotSent | MaybeSent:
    """The failure in the two words that delivery understands."""
    refused = next((each for each in _chain(error) if isinstance(each, PeerRefused)), None)
    if refused is not None:
        return NotSent(refused.code)
    if _refused_in_handshake(error) and not heard:
        return NotSent("GW-NET-002")
    if not sent:
        return NotSent(_not_sent_code(error))
    return MaybeSent("GW-NET-006" if isinstance(error, TimeoutError) else "GW-NET-005")


class _Line:
    """One peer: its limits, its TLS context, its connections."""

    def __init__(self, name: str, peer: Peer, context: Callable[[Peer], ssl.SSLContext]) -> None:
        parts = urlsplit(peer.origin)
        self.peer, self.origin, self.pins = peer, origin_of(peer.origin), _pins(peer)
        if parts.scheme not in PORTS or not self.origin or parts.path.strip("/"):
            raise Misconfigured("GW-NET-010", detail=f"peer {name}: origin is not scheme://host:port")
        self._host, self._port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        self.host = parts.netloc.removesuffix(f":{PORTS[parts.scheme]}")
        self.plain = peer.plaintext or parts.scheme == "http"
        if self.plain and not (peer.plaintext and is_loopback(self._host)):
            raise Misconfigured("GW-NET-010", detail=f"peer {name}: plaintext is only allowed towards loopback")
        self._context, self._stamp = context, _stamp(peer)
        self.tls = None if self.plain else self._secure()
        self._idle, self._busy = deque[Connection](), set[Connection]()  # idle: the longest idle first
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)

    def _secure(self) -> ssl.SSLContext:
        context = self._context(self.peer)
        if self.origin.startswith("https:"):
            context.set_alpn_protocols(["http/1.1"])
        return context

    def renew(self) -> None:
        """Follow the files: a rotated certificate or anchor holds from the next connection on, without a restart.

        Requests in progress end on the connections that they have.
        """
        if self.plain or (stamp := _stamp(self.peer)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self.tls = self._secure()
        except Misconfigured as error:  # half-written files: the next change is looked at again
            log.error("peer_tls_not_renewed", origin=self.origin, code=error.code)
            return
        log.info("peer_tls_renewed", origin=self.origin)
        while self._idle:
            self._idle.pop().close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One for one exchange: a kept one that is still good, or a new one. Kept afterwards if it is `free`."""
        await self._enter()
        try:
            connection = self._kept() or await self._made()
            self._busy.add(connection)
            try:
                yield connection
            finally:
                self._busy.remove(connection)
                self._keep(connection)
        finally:
            self._room.release()

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self.peer.connect_seconds):
                await self._room.acquire()
        except TimeoutError:
            raise NotSent("GW-NET-009") from None

    def _kept(self) -> Connection | None:
        """One that is open and still trusted, if there is one: the youngest, so that the others may go."""
        while self._idle and self._idle[0].since <= asyncio.get_running_loop().time() - KEEPALIVE_SECONDS:
            self._idle.popleft().close()
        while self._idle:
            connection = self._idle.pop()
            with ExitStack() as otherwise:
                otherwise.callback(connection.abort)
                if connection.free and not connection.speaks:
                    if isinstance(connection.tls, Guarded):
                        connection.tls.still()
                    otherwise.pop_all()
                    return connection
        return None

    async def _made(self) -> Connection:
        """A new one, checked before a byte of a request leaves."""
        context, loop = self.tls, asyncio.get_running_loop()
        with ExitStack() as otherwise:
            async with asyncio.timeout(self.peer.connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(context, self._host), self._host, self._port, happy_eyeballs_delay=0.25
                )
                otherwise.callback(connection.abort)
                await connection.handshake()
            if not _pinned(self.pins, connection.tls):
                raise NotSent("GW-NET-003")
            if not connection.free:
                raise ConnectionAbortedError  # it speaks before it is asked
            otherwise.pop_all()
        return connection

    def _keep(self, connection: Connection) -> None:
        if connection.free and connection.context is self.tls:
            connection.since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close every connection, also those on which somebody waits for an answer."""
        while self._idle:
            self._idle.pop().close()
        for connection in self._busy:
            connection.abort()
        await asyncio.sleep(0)  # let the transports do it


def _file_servers(peers: Mapping[str, Peer]) -> Mapping[str, FileServer]:
    from gateway.sftp import FileServer  # its library is only loaded where there is such a peer

    return {name: FileServer(name, peer, origin_of(peer.origin)) for name, peer in peers.items()}


class Outbound:
    """`ports.Network` over asyncio, built from the `[peer.NAME]` entries of the settings."""

    def __init__(self, peers: Mapping[str, Peer], context: Callable[[Peer], ssl.SSLContext] = tls_context) -> None:
        shelves = {name: peer for name, peer in peers.items() if peer.origin.startswith("sftp:")}
        self._lines = {name: _Line(name, peer, context) for name, peer in peers.items() if name not in shelves}
        self._files = _file_servers(shelves) if shelves else {}

    async def aclose(self) -> None:
        """Close every connection."""
        for line in self._lines.values():
            await line.aclose()

    def _line(self, peer: str, url: str) -> _Line:
        line = self._lines.get(peer)
        if line is None:
            raise NotSent("GW-NET-008")
        if origin_of(url) != line.origin:
            raise NotSent("GW-NET-004")
        return line

    async def request(
        self, peer: str, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Reply:
        """One HTTP exchange within `timeout` seconds (or the peer's total, whichever is less).

        Raises `NotSent` or `MaybeSent`, nothing else. A redirect is a reply like any other and is not followed.
        """
        line = self._line(peer, url)
        line.renew()
        connection: Connection | None = None
        try:
            asked = _worded(line.host, method, url, headers, body)
            async with asyncio.timeout(min(timeout, line.peer.total_seconds)), line.connection() as connection:
                return await connection.exchange(asked, body, line.peer)
        except _BREAKS as error:
            sent, heard = (connection.asked, connection.heard) if connection is not None else (False, False)
            raise _broke(error, sent, heard) from error

    async def mllp(self, peer: str, host: str, port: int, frame: bytes, timeout: float) -> bytes:
        """Send one framed message on a connection of its own and return the framed answer.

        Raises `NotSent` or `MaybeSent`, nothing else. Bytes after the end of the first frame are not looked at.
        """
        line, sent = self._line(peer, f"mllp://{host}:{port}"), False
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(min(timeout, line.peer.total_seconds)):
                reader, writer = await self._connect(line, host, port)
                sent = True
                writer.write(frame)
                async with asyncio.timeout(line.peer.write_seconds):
                    await writer.drain()
                async with asyncio.timeout(line.peer.first_byte_seconds):
                    return await reader.readuntil(END_BLOCK)
        except asyncio.LimitOverrunError:
            raise MaybeSent("GW-NET-007") from None
        except (OSError, TimeoutError, EOFError) as error:
            raise _broke(error, sent) from error
        finally:
            if writer is not None:
                writer.transport.abort() if not sent else writer.close()

    async def put_files(
        self, peer: str, folder: str, files: Sequence[tuple[str, bytes]], ending: str, timeout: float
    ) -> None:
        """Let files appear in a folder of an SFTP server, one after the other, each whole or not at all.

        Raises `NotSent` where the last of them did not appear, `MaybeSent` where nobody knows; nothing else.
        """
        server, path = self._file_server(peer, folder)
        await server.put(path, files, ending, timeout)

    async def get_file(self, peer: str, url: str, limit: int, timeout: float) -> bytes | None:
        """A file of an SFTP server, at most `limit` bytes of it; None where there is none; otherwise `NotSent`."""
        server, path = self._file_server(peer, url)
        return await server.get(path, limit, timeout)

    def _file_server(self, peer: str, url: str) -> tuple[FileServer, str]:
        server = self._files.get(peer)
        if server is None:
            raise NotSent("GW-NET-008")
        if origin_of(url) != server.origin:
            raise NotSent("GW-NET-004")
        return server, unquote(urlsplit(url).path)

    async def _connect(self, line: _Line, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        line.renew()
        async with asyncio.timeout(line.peer.connect_seconds):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=line.tls, server_hostname=host if line.tls else None, limit=line.peer.max_response
            )
        if not _pinned(line.pins, writer.get_extra_info("ssl_object")):
            writer.transport.abort()
            raise NotSent("GW-NET-003")
        return reader, writer
