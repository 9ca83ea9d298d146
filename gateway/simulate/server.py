"""Running a stand-in: Starlette behind uvicorn, in-process for tests or in the foreground for `gateway simulate`.

    async with Running(Medcare(log=ArrivalLog(path))) as server:
        server.url  # "http://127.0.0.1:43121"

Every request is written to the arrival log before it is read. Control is on loopback only: `POST /_control` with
{"order": ["html:3", "category=DB"]} or {"clear": true}; `GET /_control` says what is still ordered and how many came.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.clock import Clock, SystemClock
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json
from gateway.simulate import certificates
from gateway.simulate.arrivals import Arrival, ArrivalLog
from gateway.simulate.faults import Answer, Faults, Order

MAX_BODY: Final = 64 * 1024 * 1024


@dataclass
class Judged:
    """What a stand-in makes of an arrival: the true answer, and how to keep the message."""

    answer: Answer
    verdict: dict[str, Any]
    keep: list[tuple[dict[Any, Any], Any, Any]] = field(default_factory=list)

    def commit(self) -> None:
        """Keep the message: (table, key, value) entries."""
        for table, key, value in self.keep:
            table[key] = value


class StandIn(ABC):
    """One repository. Subclasses judge; everything else is here."""

    name: ClassVar[str]

    def __init__(
        self,
        log: ArrivalLog | None = None,
        faults: Faults | None = None,
        clock: Clock | None = None,
        *,
        ca: Path | None = None,
    ) -> None:
        self.log, self.faults, self.clock = log or ArrivalLog(None), faults or Faults(), clock or SystemClock()
        self.previous: Answer | None = None
        self.kept = 0
        self.problems: list[str] = []  # of the last arrival
        self.anchors = certificates.load_ca(ca) if ca is not None else ()  # of signers; none: nothing is checked

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the stand-in's own options to its command."""
        parser.add_argument("--ca", type=Path, help="PEM anchors of signers; makes signatures compulsory")

    @classmethod
    def of(cls, options: argparse.Namespace, log: ArrivalLog, faults: Faults) -> Self:
        """The stand-in that the options describe."""
        return cls(log, faults, ca=options.ca)

    @classmethod
    def made(cls, ca: Path | None = None) -> Self:
        """One for a test in this process; `ca` makes signatures compulsory where it checks any."""
        return cls(ca=ca)

    def reached(self, url: str, folder: Path) -> Mapping[str, str]:
        """What a destination's options need to speak with it; secrets are written into the folder."""
        return {}

    @abstractmethod
    def judge(self, arrival: Arrival) -> Judged:
        """Check the message strictly; change nothing yet."""

    @abstractmethod
    def lie(self, order: Order, arrival: Arrival, true: Judged) -> Answer:
        """Word a lie of the protocol: category, wrong-id, unknown-code, error-in-200."""

    def ask(self, path: str, query: Mapping[str, str]) -> Answer:
        """Answer a question by business identifier; most repositories offer none."""
        return Answer(404, "text/plain", b"")

    def order(self, arrival: Arrival) -> Order | None:
        """The misbehaviour that is due for this arrival."""
        return self.faults.next()

    def inquire(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """The same where the question has to be authenticated; `headers` by lower-case name."""
        return self.ask(path, query)

    def act(self, arrival: Arrival, order: Order | None) -> tuple[Answer, str, float]:
        """Judge, keep, and say how the answer goes back: (answer, act, seconds)."""
        judged = self.judge(arrival)
        self.problems = [str(each) for each in judged.verdict.get("problems", ())]
        answer, keeps, how, seconds = judged.answer, True, "send", 0.0
        if order is not None:
            keeps, how = order.fault.keeps, order.fault.act
            seconds = float(order.value or 1) if order.name in ("delay", "drip") else 0.0
            if order.fault.asks:
                answer = self.lie(order, arrival, judged)
            elif order.fault.bend is not None:
                answer = order.fault.bend(judged.answer, self.previous, order.value)
        if keeps and judged.keep:
            judged.commit()
            self.kept += 1
        self.log.judged(arrival, {**judged.verdict, "kept": keeps and bool(judged.keep), "fault": order and order.name})
        self.previous = judged.answer
        return answer, how, seconds


class _Transported(HttpToolsProtocol):
    """Hands the transport to the application, so that a connection can be broken on purpose."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class _Acting(Response):
    """An answer that may break off."""

    def __init__(self, answer: Answer, how: str, seconds: float) -> None:
        super().__init__(answer.body, answer.status, media_type=None)
        self.raw_headers = [
            (b"content-type", answer.media_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            *((name.encode(), value.encode()) for name, value in answer.headers),
        ]
        self._how, self._seconds = how, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["state"]["transport"]
        if self._how == "abort":
            transport.abort()
            return
        if self._how == "send":
            await asyncio.sleep(self._seconds)
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if self._how == "half":
            half = bytes(self.body[: max(1, len(self.body) // 2)])
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await asyncio.sleep(0.02)  # let the half go out before the reset
            transport.abort()
            return
        for byte in bytes(self.body):
            await send({"type": "http.response.body", "body": bytes([byte]), "more_body": True})
            await asyncio.sleep(self._seconds)
        await send({"type": "http.response.body", "body": b""})


def application(stand_in: StandIn) -> Starlette:
    """The web application around a stand-in."""

    async def arrive(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return Response(status_code=413)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        client = f"{request.client.host}:{request.client.port}" if request.client else ""
        now = stand_in.clock.now()
        arrival = stand_in.log.arrived(now, request.method, request.url.path, headers, body, client)
        answer, how, seconds = stand_in.act(arrival, stand_in.order(arrival))
        return _Acting(answer, how, seconds)

    async def ask(request: Request) -> Response:
        answer = stand_in.inquire(request.url.path, dict(request.query_params), dict(request.headers))
        return _Acting(answer, "send", 0.0)

    async def control(request: Request) -> Response:
        if request.client is None or not _loopback(request.client.host):
            return Response(status_code=403)
        if request.method == "POST":
            return _controlled(stand_in, await request.body())
        state = {"ordered": stand_in.faults.waiting, "arrivals": stand_in.log.count, "kept": stand_in.kept}
        return Response(json.write(state), media_type="application/json")

    return Starlette(
        routes=[
            Route("/_control", control, methods=["GET", "POST"]),
            Route("/{path:path}", arrive, methods=["POST", "PUT"]),
            Route("/{path:path}", ask, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """The whole body, or None where it is longer than any message may be."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _controlled(stand_in: StandIn, body: bytes) -> Response:
    try:
        wanted = json.read(body, 64 * 1024)
        if not isinstance(wanted, dict):
            raise Misconfigured(detail="an object with order or clear")
        if wanted.get("clear"):
            stand_in.faults.clear()
        for order in wanted.get("order", []):
            stand_in.faults.order(str(order))
    except GatewayError as error:
        return Response(str(error.finding().args.get("detail", error.code)), 400)
    return Response(status_code=204)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs the process, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True)
class Tls:
    """Server side TLS of a stand-in; `client_ca` asks for client certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


def _listener(host: str, port: int) -> socket.socket:
    """Made from getaddrinfo and not by `create_server`: only a socket that names its protocol gets TCP_NODELAY from
    asyncio, and without it every answer waits 40 ms for a delayed acknowledgement.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(512)
    return listener


class Running:
    """A stand-in that listens. Loopback only, unless `anywhere` is said."""

    def __init__(
        self, stand_in: StandIn, host: str = "127.0.0.1", port: int = 0, tls: Tls | None = None, anywhere: bool = False
    ) -> None:
        if not _loopback(host) and not anywhere:
            raise Misconfigured(detail=f"a stand-in does not listen on {host} unless it is told to (--anywhere)")
        self.stand_in, self._host, self._tls = stand_in, host, tls
        self._socket = _listener(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._server = _Server(self._config())
        self._task: asyncio.Task[None] | None = None

    def _config(self) -> uvicorn.Config:
        tls: dict[str, Any] = {}
        if self._tls is not None:
            tls = {"ssl_certfile": str(self._tls.certificate), "ssl_keyfile": str(self._tls.key)}
            if self._tls.client_ca is not None:
                tls |= {"ssl_ca_certs": str(self._tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return uvicorn.Config(
            application(self.stand_in),
            http=_Transported,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
            **tls,
        )

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]), name=self.stand_in.name)
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        self._socket.close()
        self.stand_in.log.close()

    async def forever(self) -> None:
        """Until the task is cancelled."""
        async with self:
            assert self._task is not None
            await asyncio.shield(self._task)
