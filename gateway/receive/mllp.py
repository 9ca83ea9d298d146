"""The MLLP front: one connection, its messages in order, an acknowledgement that means what it says.

Original mode (MSH-15 and MSH-16 empty): AA after the commit, and after the findings where they are ready within
`answer_within`; AE or AR with ERR segments otherwise. Enhanced mode: CA after the commit, CE or CR otherwise; the
application acknowledgement follows to the sender's configured address. See HL7 chapter 2, section 2.9.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from typing import Any, Final

import structlog

from gateway.clock import Clock
from gateway.errors import GatewayError, NotAllowed, finding
from gateway.formats import hl7v2
from gateway.message import Finding, Language
from gateway.receive import hl7, tls
from gateway.receive.acceptance import KEPT_OF_TOO_LARGE, Arrival
from gateway.receive.budget import Budget
from gateway.receive.door import Door, Rendered, Verdict
from gateway.receive.framing import Block, Cut, Decoder, Event, Overflow, Stray, wrap
from gateway.receive.identity import PUSHERS, Certificate, Identities, read_certificate
from gateway.settings import Mllp, Sender

log: Final = structlog.get_logger("gateway.receive")

READ_BYTES: Final = 64 * 1024
WRITE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 10.0
MESSAGES_IN_MEMORY: Final = 16
"""The open blocks of all connections together may hold this many times `max_message`."""


class Mode:
    """Which acknowledgements a message asks for (table 0155)."""

    def __init__(self, header: hl7v2.Header | None) -> None:
        accept = header.accept_ack if header is not None else ""
        application = header.application_ack if header is not None else ""
        # MSH-15 NE with MSH-16 valued is original mode by another name (section 2.9.3.2): same connection
        self.enhanced = bool(accept) and accept != "NE"
        self.silent = bool(accept) and not self.enhanced and application in ("", "NE")
        self._condition = accept if self.enhanced else application or "AL"
        self.wants_later = self.enhanced and application not in ("", "NE")

    def wanted(self, positive: bool) -> bool:
        """Whether the acknowledgement on this connection is to be sent."""
        if self.silent:
            return False
        return self._condition not in ("NE", "ER" if positive else "SU")

    def code(self, findings: Sequence[Finding], refused: bool) -> hl7.Code:
        """The acknowledgement code."""
        return hl7.commit(findings, refused) if self.enhanced else hl7.original(findings, refused)


class Renderer:
    """Puts a verdict into an acknowledgement."""

    media_type = hl7.MEDIA_TYPE

    def __init__(self, to: hl7v2.Header | None, mode: Mode, language: Language, reachable: bool, clock: Clock) -> None:
        self._to, self._mode, self._language, self._clock = to, mode, language, clock
        self._reachable = reachable

    def __call__(self, verdict: Verdict) -> Rendered:
        """CA and CE tell of the commit only; AA, AE and AR tell what was found as well."""
        found = verdict.findings
        if self._mode.wants_later and not self._reachable:
            found = (*found, finding("GW-RECEIVE-025"))
        return Rendered(self.media_type, self.say(found, verdict.fate == "refused"))

    def say(self, findings: Sequence[Finding], refused: bool) -> bytes:
        """The acknowledgement with these findings. That all is well is said by the code alone, not by an ERR."""
        shown = [each for each in findings if each.severity != "information"]
        code = self._mode.code(findings, refused)
        return hl7.acknowledge(self._to, code, shown, self._clock.now(), self._language)


class MllpServer:
    """One MLLP listener inside a running loop."""

    def __init__(
        self,
        settings: Mllp,
        senders: Sequence[Sender],
        door: Door,
        clock: Clock,
        guard: tls.Guard = tls.unguarded,
        still: tls.Still | None = None,
    ) -> None:
        self.settings, self.door, self.clock = settings, door, clock
        self.identities = Identities(senders)
        self.revocation = tls.Revocation(settings.tls, still)
        self.budget = Budget(max(settings.max_message, READ_BYTES) * MESSAGES_IN_MEMORY)
        plaintext = any(source.plaintext for sender in senders for source in sender.mllp)
        self._ssl: ssl.SSLContext | None = tls.server_context(settings.tls, settings.host, plaintext, guard)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], Connection] = {}
        self.stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that was bound, also where the settings said 0."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Bind and listen. Raises `OSError` where the address cannot be bound."""
        self._server = await asyncio.start_server(
            self._connected,
            self.settings.host,
            self.settings.port,
            ssl=self._ssl,
            ssl_handshake_timeout=tls.HANDSHAKE_SECONDS if self._ssl else None,
            limit=READ_BYTES,
        )

    async def stop(self) -> None:
        """Take no more connections, finish the messages in hand, then close."""
        if self._server is None:
            return
        self.stopping.set()
        self._server.close()
        for connection in self._connections.values():
            connection.hurry()
        if self._connections:
            await asyncio.wait(self._connections, timeout=GRACE_SECONDS)
        for connection in self._connections.values():
            connection.abandon()
        if self._connections:
            await asyncio.wait(self._connections, timeout=GRACE_SECONDS)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self.settings.max_connections:
            log.warning("too_many_connections", port=self.settings.port)
            writer.transport.abort()
            return
        here = asyncio.current_task()
        assert here is not None
        connection = self._connections[here] = Connection(self, reader, writer)
        try:
            fault = await connection.served()
            if fault is not None:
                log.info("connection_ended", error=type(fault).__name__)
            await _hang_up(writer)
        finally:
            del self._connections[here]


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close politely; a peer that does not read its last answer is cut."""
    try:
        writer.close()
        async with asyncio.timeout(CLOSE_SECONDS):
            await writer.wait_closed()
    except (TimeoutError, OSError):
        writer.transport.abort()


class Connection:
    """One peer, from its first byte to its last."""

    def __init__(self, server: MllpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._reader, self._writer = server, reader, writer
        settings = server.settings
        self._decoder = Decoder(settings.max_message, settings.accept_missing_cr)
        self._host = str((writer.get_extra_info("peername") or ("",))[0])
        self._held = 0
        self._patience: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None
        self._quiet_since = self._block_since = server.clock.monotonic()

    async def served(self) -> BaseException | None:
        """Serve the connection to its end; what ended it, if it was not the peer. Its text is nobody's business."""
        self._task = asyncio.create_task(self._run())
        await asyncio.wait({self._task})
        return None if self._task.cancelled() else self._task.exception()

    def abandon(self) -> None:
        """End now, whatever is in hand."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        """Read, decide, answer, until the peer goes, a limit is passed, or the server stops."""
        try:
            certificate = self._certificate()
        except NotAllowed as error:
            await self._server.door.turn_away(self._host, error)
            return
        try:
            while not self._decoder.dead and not self._server.stopping.is_set():
                data = await self._read()
                events = self._decoder.feed(data) if data else self._decoder.close()
                self._account(bool(data))
                for event in events:
                    if self._server.stopping.is_set():
                        break  # neither kept nor answered: the peer sends it again
                    await self._answer(event, certificate)
                if not data:
                    return
        finally:
            self._server.budget.give(self._held)

    def _certificate(self) -> Certificate | None:
        """The client certificate, or `NotAllowed` where nobody may speak from here without one."""
        connection = self._writer.get_extra_info("ssl_object")
        der = connection.getpeercert(binary_form=True) if connection is not None else None
        if der:
            return read_certificate(der)
        if not self._server.identities.expected(self._host):
            raise NotAllowed("GW-RECEIVE-016")
        return None

    async def _read(self) -> bytes:
        """What came; empty when the peer has gone or took too long."""
        settings, now = self._server.settings, self._server.clock.monotonic()
        if self._decoder.inside:
            left = self._block_since + settings.frame_seconds - now
        else:
            left = self._quiet_since + settings.idle_seconds - now
        try:
            async with asyncio.timeout(max(0.0, left)) as self._patience:
                return await self._reader.read(READ_BYTES)
        except (TimeoutError, OSError):
            return b""
        finally:
            self._patience = None

    def hurry(self) -> None:
        """Stop waiting for more; what is in hand is finished."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _account(self, more: bool) -> None:
        now = self._server.clock.monotonic()
        if not self._decoder.inside:
            self._block_since = now
        held, self._held = self._held, 0
        self._server.budget.give(held)
        if more:
            self._server.budget.take(self._decoder.held)
            self._held = self._decoder.held

    async def _answer(self, event: Event, certificate: Certificate | None) -> None:
        if isinstance(event, Stray) and not (event.ended and event.data.startswith(b"MSH")):
            log.info("noise", host=self._host, bytes=len(event.data))
            return
        reply = await self._guarded(event, certificate)
        now = self._server.clock.monotonic()
        self._quiet_since = self._block_since = now
        if reply is None:
            return
        self._writer.write(wrap(reply))
        async with asyncio.timeout(WRITE_SECONDS):
            await self._writer.drain()

    async def _guarded(self, event: Event, certificate: Certificate | None) -> bytes | None:
        """The reply. A defect of ours becomes a negative acknowledgement with a reference; its text goes nowhere."""
        work = asyncio.ensure_future(self._reply(event, certificate))
        try:
            await asyncio.wait({work})
        finally:
            work.cancel()
        fault = work.exception()
        if fault is None:
            return work.result()
        known = isinstance(fault, GatewayError) and fault.code != "GW-CORE-001"
        if isinstance(fault, GatewayError) and known:
            return self._negative(event, fault.finding())
        reference = secrets.token_hex(6)
        log.error("defect", reference=reference, error=type(fault).__name__)
        return self._negative(event, finding("GW-CORE-001", reference=reference))

    def _negative(self, event: Event, found: Finding) -> bytes | None:
        header = hl7.header(event.data)
        mode = Mode(header)
        if not mode.wanted(positive=False):
            return None
        render = Renderer(header, mode, "en", True, self._server.clock)
        return render.say([found], True)

    async def _reply(self, event: Event, certificate: Certificate | None) -> bytes | None:
        received_at = self._server.clock.now()
        header = hl7.header(event.data)
        sender = await self._sender(header, certificate)
        mode = Mode(header)
        arrival = Arrival(
            sender=sender,
            programme=self._server.settings.programme or (sender.programmes[0] if len(sender.programmes) == 1 else ""),
            channel="mllp",
            content_type=hl7.MEDIA_TYPE,
            body=event.data[:KEPT_OF_TOO_LARGE] if isinstance(event, Overflow) else event.data,
            received_at=received_at,
            language=sender.language,
            trouble=_trouble(event),
            header=header,
        )
        render = Renderer(header, mode, sender.language, sender.callback is not None, self._server.clock)
        rendered = await self._server.door.receive(arrival, render, wait=not mode.enhanced and not mode.silent)
        return rendered.body if mode.wanted(_positive(rendered.body)) else None

    async def _sender(self, header: hl7v2.Header | None, certificate: Certificate | None) -> Sender:
        """Whose message it is. Without a readable header only an unambiguous connection tells."""
        server, now = self._server, self._server.clock.now()
        try:
            server.revocation.check(certificate, now, server.clock.monotonic())
            if header is not None:
                sender = server.identities.over_mllp(certificate, self._host, header.application, header.facility, now)
            elif certificate is not None:
                sender = server.identities.by_certificate(certificate, now)
            elif (alone := server.identities.alone_at(self._host)) is not None:
                sender = alone
            else:
                raise NotAllowed("GW-RECEIVE-016")
            if sender.role not in PUSHERS:
                raise NotAllowed("GW-RECEIVE-016")
        except NotAllowed as error:
            await server.door.turn_away(self._host, error)
            raise
        return sender


def _positive(acknowledgement: bytes) -> bool:
    """Whether MSA-1 of an acknowledgement of ours is AA or CA."""
    return acknowledgement.partition(b"\rMSA")[2][2:3] == b"A"


def _trouble(event: Event) -> tuple[Finding, ...]:
    if isinstance(event, Block):
        return ()
    if isinstance(event, Overflow):
        kept = str(min(len(event.data), KEPT_OF_TOO_LARGE))
        return (finding("GW-RECEIVE-008", limit=str(event.limit), kept=kept),)
    return (finding("GW-RECEIVE-017" if isinstance(event, Cut) else "GW-RECEIVE-018"),)
