"""The only way out: every outbound connection of the gateway is made here, towards a peer named in the settings.

What is promised towards each peer (`[peer.NAME]`): TLS 1.2 or newer with the peer's own anchors, our certificate
where one is configured, pins on the leaf (SHA-256 of the certificate or of its public key, RFC 7469 section 2.4),
exactly the configured origin (RFC 6454 section 4), no redirects, no cookies, no proxy from the environment, a bounded
answer, and limits on connecting, writing, waiting and the whole, all on the monotonic clock.

The one distinction that delivery rests on: `NotSent` means that no byte of the request left and it is safe to try
again; `MaybeSent` means that bytes had left when it broke. Both carry a permanent code as their first argument.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import httpcore
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.errors import Misconfigured
from gateway.handshake import Guarded, PeerRefused
from gateway.ports import MaybeSent, NotSent
from gateway.settings import Peer

if TYPE_CHECKING:
    from gateway.sftp import FileServer

# httpcore imports sniffio at every lock of every request. Where it is not installed, each of those is a search of the
# whole import path, and cost more than the request itself; this makes it the immediate ImportError that it will be.
if find_spec("sniffio") is None:
    sys.modules["sniffio"] = cast("ModuleType", None)

log: Final = structlog.get_logger("gateway.network")

PORTS: Final = {"https": 443, "http": 80, "mllp": 2575, "sftp": 22}
KEEPALIVE_SECONDS: Final = 3.0  # shorter than what servers keep, so that a reused connection is rarely a dead one
MAX_CONNECTIONS: Final = 64
END_HEAD: Final = b"\r\n\r\n"
END_BLOCK: Final = b"\x1c\x0d"  # HL7 MLLP release 2: end of block, carriage return

_BREAKS: Final = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)

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


@dataclass(frozen=True)
class Reply:
    """What came back; header names are lower case. `body` is as received, never decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


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
    files = [Path(each) for each in (peer.ca, peer.certificate, peer.key) if each]
    stats = [each.stat() for each in files if each.exists()]
    return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)


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


class _Progress:
    """Watches one request through httpcore's trace: checks the pin before, and notes when, bytes leave."""

    def __init__(self, pins: frozenset[str]) -> None:
        self.pins, self.sent, self.whole, self.refused = pins, False, False, False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self.sent = True
        elif event.endswith("send_request_body.complete"):
            self.whole = True
        elif event.endswith(".failed"):  # httpcore goes on reading after a failed write and loses the reason
            if event.endswith("send_request_headers.failed") and isinstance(
                info["exception"], httpcore.LocalProtocolError
            ):
                self.sent = False  # refused by our own side before it was written
            self.refused = self.refused or _refused_in_handshake(info["exception"])
        elif event == "connection.start_tls.complete":
            stream = info["return_value"]
            if not _pinned(self.pins, stream.get_extra_info("ssl_object")):
                await stream.aclose()
                raise NotSent("GW-NET-003")


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
    if isinstance(error, (httpcore.LocalProtocolError, ValueError)):
        return "GW-NET-011"
    return "GW-NET-009" if isinstance(error, httpcore.PoolTimeout) else "GW-NET-001"


def _broke(error: BaseException, sent: bool) -> NotSent | MaybeSent:
    """The failure in the two words that delivery understands."""
    refused = next((each for each in _chain(error) if isinstance(each, PeerRefused)), None)
    if refused is not None:
        return NotSent(refused.code)
    if _refused_in_handshake(error):
        return NotSent("GW-NET-002")
    if not sent:
        return NotSent(_not_sent_code(error))
    timed_out = isinstance(error, (TimeoutError, httpcore.TimeoutException))
    return MaybeSent("GW-NET-006" if timed_out else "GW-NET-005")


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that knows when more came than the answer: it is not used again.

    HTTP/1.1 has no other way to tell whose answer something is than its place. A second answer in the same packet
    would wait in the parser and be taken for the answer to the next request.
    """

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner, self._head, self._count = inner, bytearray(), 0
        self._answering = self._surplus = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._inner.read(max_bytes, timeout)
        self._answering = True
        self._count += len(data)
        if END_HEAD not in self._head:
            self._head += data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if self._answering:  # the next request begins
            connection = self._inner.get_extra_info("ssl_object")
            if isinstance(connection, Guarded):
                connection.still()
            self._head, self._count, self._answering = bytearray(), 0, False
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        # The pool drops an idle connection that has something to read, and this one has.
        return True if info == "is_readable" and self._surplus else self._inner.get_extra_info(info)

    def answered(self, body_length: int, framed: bool) -> None:
        """The answer is over: `framed` says that its length was known beforehand."""
        head_length = self._head.find(END_HEAD) + len(END_HEAD)
        self._surplus = not framed or self._count != head_length + body_length


class _Backend(httpcore.AsyncNetworkBackend):
    """Connections that count."""

    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _whole(response: httpcore.Response, limit: int) -> Reply:
    body = bytearray()
    async for piece in response.aiter_stream():
        body += piece
        if len(body) > limit:
            raise MaybeSent("GW-NET-007")
    headers: dict[str, str] = {}
    for name, value in response.headers:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    stream = response.extensions.get("network_stream")
    if isinstance(stream, _Stream):
        known = "content-length" in headers and "transfer-encoding" not in headers
        stream.answered(len(body), known or response.status in (204, 304))
    return Reply(response.status, headers, bytes(body))


class _Line:
    """One peer: its limits, its TLS context, its pool of connections."""

    def __init__(self, name: str, peer: Peer, context: Callable[[Peer], ssl.SSLContext]) -> None:
        parts = urlsplit(peer.origin)
        self.peer, self.origin, self.pins = peer, origin_of(peer.origin), _pins(peer)
        if parts.scheme not in PORTS or not self.origin or parts.path.strip("/"):
            raise Misconfigured("GW-NET-010", detail=f"peer {name}: origin is not scheme://host:port")
        self.plain = peer.plaintext or parts.scheme == "http"
        if self.plain and not (peer.plaintext and is_loopback(parts.hostname or "")):
            raise Misconfigured("GW-NET-010", detail=f"peer {name}: plaintext is only allowed towards loopback")
        self._context, self._stamp = context, _stamp(peer)
        self.tls = None if self.plain else context(peer)
        self.pool, self._retired = self._pool(), list[httpcore.AsyncConnectionPool]()
        self.timeouts = {
            "connect": peer.connect_seconds,
            "write": peer.write_seconds,
            "read": peer.first_byte_seconds,
            "pool": peer.connect_seconds,
        }

    def _pool(self) -> httpcore.AsyncConnectionPool:
        # The pool and not a client: no redirects, cookies, proxies or default headers to switch off.
        return httpcore.AsyncConnectionPool(
            ssl_context=self.tls,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=_Backend(),
        )

    async def renew(self) -> None:
        """Follow the files: a rotated certificate or anchor holds from the next connection on, without a restart.

        Requests in progress end on the connections that they have.
        """
        if self.plain or (stamp := _stamp(self.peer)) == self._stamp:
            return
        self._stamp = stamp
        try:
            self.tls = self._context(self.peer)
        except Misconfigured as error:  # half-written files: the next change is looked at again
            log.error("peer_tls_not_renewed", origin=self.origin, code=error.code)
            return
        log.info("peer_tls_renewed", origin=self.origin)
        over, self._retired = self._retired, [self.pool]
        self.pool = self._pool()
        for pool in over:
            await pool.aclose()

    async def aclose(self) -> None:
        """Close every pooled connection."""
        for pool in (*self._retired, self.pool):
            await pool.aclose()


def _file_servers(peers: Mapping[str, Peer]) -> Mapping[str, FileServer]:
    from gateway.sftp import FileServer  # its library is only loaded where there is such a peer

    return {name: FileServer(name, peer, origin_of(peer.origin)) for name, peer in peers.items()}


class Outbound:
    """`ports.Network` over httpcore and asyncio, built from the `[peer.NAME]` entries of the settings."""

    def __init__(self, peers: Mapping[str, Peer], context: Callable[[Peer], ssl.SSLContext] = tls_context) -> None:
        shelves = {name: peer for name, peer in peers.items() if peer.origin.startswith("sftp:")}
        self._lines = {name: _Line(name, peer, context) for name, peer in peers.items() if name not in shelves}
        self._files = _file_servers(shelves) if shelves else {}

    async def aclose(self) -> None:
        """Close every pooled connection."""
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
        await line.renew()
        progress = _Progress(line.pins)
        if not all(part.isascii() for pair in headers.items() for part in pair):
            raise NotSent("GW-NET-011")
        plain: list[tuple[bytes | str, bytes | str]] = [("accept-encoding", "identity"), *headers.items()]
        try:
            async with asyncio.timeout(min(timeout, line.peer.total_seconds)):
                extensions = {"trace": progress.trace, "timeout": line.timeouts}
                async with line.pool.stream(
                    method, url, headers=plain, content=body, extensions=extensions
                ) as response:
                    reply = await _whole(response, line.peer.max_response)
        except (*_BREAKS, OSError, TimeoutError, ValueError) as error:  # ValueError: not to be written as HTTP
            raise (NotSent("GW-NET-002") if progress.refused else _broke(error, progress.sent)) from error
        if reply.status < 300 and not progress.whole:
            raise MaybeSent("GW-NET-005")  # a yes to what it had not read to its end
        return reply

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
        await line.renew()
        async with asyncio.timeout(line.peer.connect_seconds):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=line.tls, server_hostname=host if line.tls else None, limit=line.peer.max_response
            )
        if not _pinned(line.pins, writer.get_extra_info("ssl_object")):
            writer.transport.abort()
            raise NotSent("GW-NET-003")
        return reader, writer
