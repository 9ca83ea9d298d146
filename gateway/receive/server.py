"""uvicorn's HTTP protocol on a socket of our own, with what it lacks.

The subclass hands the client certificate to the application (`scope["extensions"]["tls"]`, ASGI TLS extension), and
bounds what uvicorn leaves unbounded: how long and how large a request head may be, and how many connections there
are. `tests/rooms/receive/test_receive_uvicorn.py` states what we rely on in uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.errors import finding
from gateway.receive import answers, tls
from gateway.settings import Http

HEAD_BYTES: Final = 32 * 1024
HEAD_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 10.0
KEEP_ALIVE_SECONDS: Final = 15
GRACE_SECONDS: Final = 10.0

App = Callable[[Any, Any, Any], Awaitable[None]]


class _Wordless(logging.Filter):
    """uvicorn logs exceptions with their text, which may quote what was sent: only the event passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info, record.exc_text, record.args = None, None, ()
        return True


_quiet: Final = logging.getLogger("gateway.http")
_quiet.addFilter(_Wordless())


def tls_extension(transport: asyncio.BaseTransport) -> dict[str, Any]:
    """The ASGI TLS extension of a connection; empty for plain text. On 3.11 only the leaf is reachable."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return {}
    der = connection.getpeercert(binary_form=True)
    chain = [ssl.DER_cert_to_PEM_cert(der)] if der else []
    tls_version, cipher = connection.version(), (connection.cipher() or ("",))[0]
    found = {"server_cert": None, "client_cert_chain": chain, "tls_version": tls_version, "cipher_suite": cipher}
    return {"tls": found}


class Protocol(HttpToolsProtocol):
    """One connection."""

    max_connections = 500

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _quiet
        self._extensions: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._silent = 0  # bytes fed since the parser last reported anything
        self._head = 0
        self._too_large = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._extensions = tls_extension(transport)
        self._arm()
        if len(self.connections) > self.max_connections:
            self._refuse("GW-RECEIVE-020", 503)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unstick()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._silent += len(data)
        super().data_received(data)
        if self._silent > HEAD_BYTES and not self.transport.is_closing():
            self._refuse("GW-RECEIVE-027", 431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._silent = self._head = 0
        self._arm()
        cast("dict[str, Any]", self.scope)["extensions"] = self._extensions

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._silent = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._silent = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The peer does not read: it has a while to begin."""
        super().pause_writing()
        self._stuck = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._unstick()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """The parser's refusal, with a code of ours."""
        if self._too_large:
            self._refuse("GW-RECEIVE-027", 431)
        else:
            self._refuse("GW-RECEIVE-026", 400)

    def _count(self, size: int) -> None:
        self._silent = 0
        self._head += size
        if self._head > HEAD_BYTES:
            self._too_large = True
            raise ValueError("head too large")  # httptools turns it into a parser error

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, code: str, status: int) -> None:
        """Answer outside the application and close; a request that is being answered already is only cut."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = answers.outcome([finding(code, limit=str(HEAD_BYTES))], "en")
            head = f"HTTP/1.1 {status} \r\ncontent-type: {answers.FHIR}\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()


class HttpServer:
    """One HTTP listener inside a running loop. Plain text only on loopback."""

    def __init__(self, app: App, settings: Http, guard: tls.Guard = tls.unguarded) -> None:
        self._settings = settings
        self._ssl = tls.server_context(settings.tls, settings.host, guard=guard)
        bounded = type("BoundedProtocol", (Protocol,), {"max_connections": settings.max_connections})
        self._config = Config(
            cast("Any", app),
            http=bounded,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        self._config.load()
        self._state = ServerState()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that was bound, also where the settings said 0."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Bind and listen. Raises `OSError` where the address cannot be bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._protocol,
            self._settings.host,
            self._settings.port,
            ssl=self._ssl,
            ssl_handshake_timeout=tls.HANDSHAKE_SECONDS if self._ssl else None,
            backlog=512,
        )

    def _protocol(self) -> asyncio.Protocol:
        made = cast("type[Protocol]", self._config.http_protocol_class)
        return made(config=self._config, server_state=self._state, app_state={})

    async def stop(self) -> None:
        """Take no more connections, let requests in progress be answered, then close what is left."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS
        while self._state.connections or self._state.tasks:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(0.02)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await self._server.wait_closed()
