"""The only wiring: one process, the rooms in the order of the flow, on one screen.

receive -> (workers: map, validate) -> gather -> (workers: sign) -> deliver, over one ledger
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import structlog
from fastapi import APIRouter

from gateway import consulting, measuring, pulling, store, watching, workers
from gateway.bell import Bell
from gateway.clock import Clock
from gateway.collecting import Collector
from gateway.deliver import wires
from gateway.deliver.dispatcher import Dispatcher
from gateway.deliver.hearing import Hearing
from gateway.deliver.jetstream import JetStreamDispatcher
from gateway.deliver.lane import Tools
from gateway.deliver.steps import Extra
from gateway.desk.admin import Admin, Handler
from gateway.desk.metrics import Metrics, metrics_app
from gateway.desk.pauses import PausableGate
from gateway.errors import GatewayError, Misconfigured, StorageFailed
from gateway.flow import NEW, Room, Thing
from gateway.handshake import PeerTrust, guard
from gateway.idkey import id_key
from gateway.kept import SubmissionStatus
from gateway.message import Exchange, Json, Move, Outcome, Step
from gateway.network import Outbound, tls_context
from gateway.operate import handlers
from gateway.pool import Pool
from gateway.ports import Mapper, Wire
from gateway.precedence import Precedence
from gateway.programme import Programme
from gateway.receive import callbacks, told
from gateway.receive.door import Door
from gateway.receive.http import Front, make_app
from gateway.receive.mllp import MllpServer
from gateway.receive.server import HttpServer
from gateway.receive.tls import unguarded
from gateway.reload import Reload
from gateway.scheduling import Scheduling
from gateway.settings import Destination, Http, Settings
from gateway.sign.gate import ExchangeGate
from gateway.sign.keyring import KeyRing, signer_for
from gateway.sign.life import trust_for
from gateway.sign.requests import credentials_for, request_signer_for
from gateway.sign.watch import Watch
from gateway.upkeep import Upkeep
from gateway.validate import http as validating
from gateway.validate.http import Question, Verdict
from gateway.work import Work

_log = structlog.get_logger()
GRACE: Final = 6.0
"""Seconds that open requests and deliveries on their way get at the end; the rest of ten is for closing."""

LOOK_SECONDS: Final = 0.1
"""How often a shared ledger is asked whether another process has findings that a sender waits for."""

_FINISHED: Final = frozenset({"itemised", "refused", "parked"})


class Gateway:
    """A whole gateway in one event loop over a given pool. `async with` starts and stops it; `run_until` works."""

    def __init__(self, settings: Settings, clock: Clock, pool: Pool, receive: bool = True) -> None:
        self.settings, self.clock, self.pool = settings, clock, pool
        self.bell, self.metrics, self.precedence = Bell(), Metrics(clock), Precedence()
        self.searchable = pulling.definitions(settings)
        self.ledger = store.open(settings.database, Path(settings.data), clock, self.searchable)
        self.reporting = measuring.Reporting(settings, self.ledger, clock)
        self.scheduling = Scheduling(self.ledger, pool, clock, self.committed, partial(id_key, settings))
        self._receive = receive
        self._stack = AsyncExitStack()
        self._servers: list[HttpServer | MllpServer] = []
        self.pulling: pulling.Pulling | None = None
        self.collector: Collector | None = None
        self._judging = asyncio.Semaphore(max(1, pool.size - 1))

    # --- life ----------------------------------------

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:  # what was started is stopped again if a later part cannot start
            self._stack = stack
            await stack.enter_async_context(self.ledger)
            for id in await self.ledger.recover():
                _log.warning("unknown_after_crash", exchange=id)
            programmes, self.mapper = await self._load()
            self._connect()
            await self._open(programmes)
            self._stack = stack.pop_all()
        return self

    async def _load(self) -> tuple[Mapping[str, Programme], Mapper]:
        """Our own rules, while the workers load theirs."""
        programmes = workers.load_programmes(self.settings)
        mapper = await asyncio.to_thread(workers.load_mapper, self.settings, programmes)
        await self._measure(self.settings, programmes)
        await self.pool.start()
        return programmes, mapper

    async def _measure(self, settings: Settings, programmes: Mapping[str, Programme]) -> None:
        """Views and measures of these programmes from now on."""
        await measuring.use(settings, programmes, self.ledger, (self.reporting, self.scheduling))

    def _connect(self) -> None:
        """The way out: network, lanes, later answers."""
        settings = self.settings
        servers, self.clients = self._peers("tls-server"), self._peers("tls-client")
        made = (lambda peer: guard(tls_context(peer), servers)) if servers is not None else tls_context
        self.network = Outbound(settings.peer, made)
        live = [each for each in (servers, self.clients) if each is not None]
        self.watch = Watch(settings, self.network, self.clock, lambda: [c for each in live for c in each.seen()])
        self.metrics.certificates(self.watch.days)
        self._stack.push_async_callback(self.network.aclose)
        if self.searchable is not None:
            self.pulling = pulling.Pulling(settings, self.ledger, self.searchable, self.clock, self.network)
        self.dispatcher = self._make_dispatcher()
        signer = workers.evidence_signer(settings)
        self.callbacks = callbacks.Callbacks(
            self.ledger, self.network, signer, self.clock, settings.sender, committed=self.committed
        )
        self._stack.push_async_callback(self.callbacks.stop)

    async def _open(self, programmes: Mapping[str, Programme]) -> None:
        """The work, the doors, the operator's socket."""
        settings = self.settings
        if settings.cluster is not None:
            await self.broker.start()
        later = partial(callbacks.later, settings.sender, self.clock)
        first, done = self.precedence.after_arrivals, self.committed
        self.work = Work(settings, self.ledger, self.pool, self.clock, self.bell, programmes, later, done, first)
        changed = self.work.registry_changed
        self.upkeep = Upkeep(settings, self.ledger, self.clock, self.committed, changed, bool(settings.database))
        await self._show_metrics()
        if not self._receive:
            return  # beside others on a shared ledger: commands find it themselves
        await self._listen(later)
        commands = handlers(self.ledger, settings, self.clock, self.committed, changed, self.gate.forget)
        reload = Reload(settings, self.pool, self.ledger, self.clock, self.committed, self._use, self._measure)
        status = partial(self._status, commands["status"])
        admin = Admin(Path(settings.data), {**commands, "status": status, "reload": reload, "report": self.reporting})
        await admin.start()
        self._stack.push_async_callback(admin.stop)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run_until(self, stopping: asyncio.Event) -> None:
        """Work until the event is set, then stop in order: doors, work, deliveries."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.work.run(), name="work")
            group.create_task(self.dispatcher.run(), name="deliver")
            group.create_task(self._answer(stopping), name="answers")
            group.create_task(self.upkeep.run(), name="upkeep")
            group.create_task(self.scheduling.run(), name="schedules")
            group.create_task(self.watch.run(), name="watch")
            if self.collector is not None:
                group.create_task(self.collector.run(), name="collect")
            if self.pulling is not None:
                group.create_task(self.pulling.run(), name="subscriptions")
            await stopping.wait()
            if self.pulling is not None:
                self.pulling.stop()
            self.watch.stop()
            self.work.stop()
            self.upkeep.stop()
            if self.collector is not None:
                self.collector.stop()
            self.scheduling.stop()
            # Side by side and within the ten seconds that are promised: an open door may wait for a lane's finding.
            await asyncio.gather(self.dispatcher.stop(GRACE), *(self._close(each) for each in self._servers))

    async def _close(self, server: HttpServer | MllpServer) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await server.stop()

    def listening(self) -> Iterator[str]:
        """One line for each open door."""
        for server in self._servers:
            kind = "mllp" if isinstance(server, MllpServer) else "http"
            yield f"{kind} {server.port}"
        if self.settings.metrics is not None:
            yield f"metrics {self.metrics_server.port}"

    # --- putting together ----------------------------------------

    def _make_dispatcher(self) -> Dispatcher | JetStreamDispatcher:
        settings = self.settings
        ring = KeyRing(settings.key)
        trusts = {"": trust_for(settings, "signer")} if "signer" in settings.trust else {}
        gate = ExchangeGate(settings, self.ledger, ring.handle, trusts, software_version=VERSION)

        self.gate = PausableGate(gate, self.ledger, self.clock)

        def wire(destination: Destination) -> Wire:
            peer = settings.peer.get(destination.peer)
            if peer is None:
                raise Misconfigured(detail=f"destination {destination.id}: no [peer.{destination.peer}]")
            signer = signer_for(destination, ring)
            seconds, origin, secured = peer.total_seconds, peer.origin, request_signer_for(destination, ring)
            asking = credentials_for(destination, ring)
            return wires.make(
                destination, self.network, signer, self._render, seconds, origin, secured, asking, self.clock
            )

        made: Mapping[str, Wire] = {each.id: wire(each) for each in settings.destination}
        tools = Tools(
            self.ledger,
            self.gate,
            self.clock,
            random.random,
            on_outcome=self._on_outcome,
            on_commit=self.committed,
            observe=self.metrics.observe,
            sole_owner=not settings.database,
        )
        self.hearing = Hearing(settings.destination, made, tools)
        return self._dispatcher(made, tools)

    def _dispatcher(self, made: Mapping[str, Wire], tools: Tools) -> Dispatcher | JetStreamDispatcher:
        """With a broker where one is configured; without one its library need not be there."""
        cluster, places = self.settings.cluster, self.settings.destination
        if cluster is None:
            return Dispatcher(places, made, tools)
        from gateway.broker import JetStream

        if not self.settings.database:
            raise Misconfigured(detail="[cluster] needs a database that processes can share (postgresql://)")
        self.broker = JetStream(cluster, self.settings.peer.get(cluster.peer))
        self._stack.push_async_callback(self.broker.aclose)
        return JetStreamDispatcher(places, made, tools, self.broker, cluster.sweep_seconds)

    async def _listen(self, later: callbacks.Later) -> None:
        settings = self.settings
        names, within, first = settings.programmes, settings.answer_within, self.precedence.arrival
        door = Door(self.ledger, self.settled, self.clock, names, within, self.committed, later, first)
        if settings.collect:
            self.collector = Collector(settings, self.ledger, door, self.network, self.clock)
        clients = self.clients
        asked = partial(guard, trust=clients) if clients is not None else unguarded
        still = clients.still if clients is not None else None
        if settings.http is not None:
            look = self.work.preview
            app = make_app(
                settings,
                self.ledger,
                door,
                self.clock,
                ready=self._ready,
                previewer=look,
                still=still,
                more=self._more,
            )
            if self.pulling is not None:
                self.pulling.mount(app)
            self._servers.append(HttpServer(app, settings.http, asked))
        for each in settings.mllp:
            self._servers.append(MllpServer(each, settings.sender, door, self.clock, asked, still))
        for server in self._servers:
            await self._start(server)

    async def _start(self, server: HttpServer | MllpServer) -> None:
        await server.start()
        self._stack.push_async_callback(server.stop)

    async def _show_metrics(self) -> None:
        """On loopback, also in a process that receives nothing."""
        if self.settings.metrics is not None:
            self.metrics_server = HttpServer(metrics_app(self._page), Http(port=self.settings.metrics.port))
            await self._start(self.metrics_server)

    def _more(self, front: Front) -> APIRouter:
        """What else the HTTP listener offers."""
        made = validating.router(front.taken, self._judge)
        made.include_router(consulting.router(front, self.settings, self.clock))
        made.include_router(watching.router(front, self._page))
        made.include_router(told.router(front, self.hearing.take))
        return made

    def _peers(self, purpose: str) -> PeerTrust | None:
        """The trust room's rules for live TLS peers, where [trust] names anchors for them."""
        known = purpose in self.settings.trust
        return PeerTrust(trust_for(self.settings, purpose), self.clock) if known else None

    async def _judge(self, asked: Question) -> Verdict:
        """`$validate`: in the workers, but never in all of them at once where there are several."""
        async with self._judging:
            return await self.pool.run(workers.answer, asked)

    def _use(self, programmes: Mapping[str, Programme], mapper: Mapper) -> None:
        """Rules were loaded anew."""
        self.mapper = mapper
        self.work.use(programmes)
        workers.settle_anew()

    def _render(self, document: Json, target: str, values: Mapping[str, str]) -> bytes:
        """By the mapping files that are in use now."""
        return self.mapper.render(document, target, values)

    # --- what rooms are told ----------------------------------------

    def committed(self, step: Step) -> None:
        """A step is durable: wake whom it concerns, count it."""
        self.bell.ring_for(step)
        self.metrics.count(step)
        if self.pulling is not None:
            self.pulling.committed(step)
        if hasattr(self, "dispatcher"):
            self.gate.committed(step)
            self.dispatcher.committed(step)

    async def settled(self, submission: str, seconds: float) -> SubmissionStatus | None:
        """The submission's findings, if they are ready in time (`ports.Settled`)."""
        with self.bell.listen(f"submission/{submission}") as ear:
            until = self.clock.monotonic() + seconds
            while True:
                ear.forget()
                status = await self.ledger.submission_status(submission)
                if status is None or status.state in _FINISHED:
                    return status
                left = until - self.clock.monotonic()
                if left <= 0:
                    return None
                rang = await ear.wait(min(left, LOOK_SECONDS) if self.settings.database else left)
                if not rang and not self.settings.database:
                    return None

    async def _on_outcome(self, exchange: Exchange, outcome: Outcome) -> Extra:
        """The later answers that an outcome owes to those who contributed to the document."""
        made = await callbacks.for_outcome(self.ledger, self.settings.sender, self.clock, exchange, outcome)
        moves = tuple(Move(thing=Thing.ANSWER, id=a.id, frm=NEW, to="owed", room=Room.DELIVER) for a in made)
        return Extra(moves=moves, writes=made)

    async def _answer(self, stopping: asyncio.Event) -> None:
        """Give the answers that are owed later."""
        with self.bell.listen("answer:owed") as ear:
            while not stopping.is_set():
                ear.forget()
                try:
                    busy = await self.ledger.leads("answers") and await self.callbacks.deliver_due()
                except StorageFailed:
                    busy = False
                if not busy:
                    await ear.wait(1.0)

    async def _ready(self) -> Mapping[str, str]:
        """What is not well, by a code: the ledger (reading and writing), the workers."""
        try:
            await self.ledger.counts()
            found = {"ledger": await self.ledger.trouble(), "workers": await self.pool.trouble()}
        except GatewayError as fault:
            return {"ledger": fault.code}
        return {name: code for name, code in found.items() if code is not None}

    async def _status(self, told: Handler, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
        """What the ledger knows, and which schedules fail."""
        async for line in told(arguments):
            yield line
        for line in self.scheduling.failing():
            yield line

    async def _page(self) -> bytes:
        """The metrics page; empty while the ledger cannot be asked."""
        try:
            paused = await self.ledger.paused()
            destinations = {each.id: each.id in paused for each in self.settings.destination}
            standing = await self.ledger.subscriptions.backlog()
            found = await self.ledger.measures.finding_counts()
            self.metrics.found({key: count for key, (count, _) in found.items()})
            return self.metrics.page(await self.ledger.counts(), await self.ledger.queues(), destinations, standing)
        except GatewayError:
            return b""


VERSION: Final = version("gateway")
