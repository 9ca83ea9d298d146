"""NATS JetStream behind `ports.Broker`: the one place that connects to it.

A stream keeps exchange numbers by hash shard, in memory and for a minute; a durable consumer hands each to one process
(docs.nats.io: JetStream, work queue retention, pull consumers). Nothing in it is a truth, so nothing in it is synced
for: what the server says of itself is checked where a client can read it, and logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import nats
import structlog
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from gateway.errors import Misconfigured
from gateway.network import tls_context
from gateway.ports import BrokerAway
from gateway.settings import Cluster, Peer

log: Final = structlog.get_logger("gateway.broker")

OLDEST: Final = (2, 10, 23)
"""Earlier servers lost whole streams after a crash."""

KEPT_SECONDS: Final = 60.0
ACK_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
_AWAY: Final = (NatsError, OSError, TimeoutError, asyncio.TimeoutError)


class JetStream:
    """`ports.Broker`. Connects, and makes stream and consumer, as soon as and whenever that is possible."""

    def __init__(self, cluster: Cluster, peer: Peer | None) -> None:
        self._cluster, self._peer = cluster, peer
        self._client: Any = None
        self._js: Any = None
        self._pull: Any = None

    async def start(self) -> None:
        """Connect, check the server. Raises `Misconfigured` where it is too old or cannot be reached."""
        if self._cluster.peer and self._peer is None:
            raise Misconfigured(detail=f"[cluster]: no [peer.{self._cluster.peer}]")
        tls = tls_context(self._peer) if self._peer is not None else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):  # the library itself would try for ever
                self._client = await nats.connect(
                    self._cluster.nats,
                    tls=tls,
                    connect_timeout=2,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.5,
                    error_cb=_quiet,
                )
        except _AWAY as error:
            raise Misconfigured(detail=f"[cluster] nats: {type(error).__name__}") from None
        version = self._client.connected_server_version
        found = (version.major, version.minor, version.patch)
        if found < OLDEST:
            await self._client.close()
            raise Misconfigured(detail=f"NATS {'.'.join(map(str, found))} is older than {'.'.join(map(str, OLDEST))}")
        # A client cannot read sync_interval. It decides nothing: what is lost here is found again by the sweep.
        log.info("broker_connected", version=".".join(map(str, found)), reason="sync_interval_not_readable")
        self._js = self._client.jetstream(timeout=CONNECT_SECONDS)

    @property
    def connected(self) -> bool:
        """Whether the server is there at this moment."""
        return self._client is not None and bool(self._client.is_connected)

    async def wake(self, shard: int, exchange: str) -> None:
        """Publish an exchange number to its shard."""
        if not self.connected:
            raise BrokerAway
        with _away():
            await self._js.publish(f"{self._cluster.stream}.wake.{shard}", exchange.encode())

    async def next(self, limit: int, seconds: float) -> Sequence[str]:
        """Exchange numbers that were given to this process and to no other; after `seconds` perhaps none."""
        if not self.connected:
            raise BrokerAway
        if self._pull is None:
            with _away():
                self._pull = await self._prepared()
        try:
            found = await self._pull.fetch(limit, timeout=seconds)
        except TimeoutError:
            return ()
        except _AWAY:
            self._pull = None  # the stream may be gone: it is made anew
            raise BrokerAway from None
        with _away():
            for each in found:
                await each.ack()
        return [each.data.decode() for each in found]

    async def _prepared(self) -> Any:
        name = self._cluster.stream
        stream = StreamConfig(
            name=name,
            subjects=[f"{name}.wake.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.MEMORY,
            max_age=KEPT_SECONDS,
        )
        await self._js.add_stream(stream)  # again is harmless
        consumer = ConsumerConfig(durable_name="work", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_SECONDS)
        return await self._js.pull_subscribe(f"{name}.wake.*", durable="work", stream=name, config=consumer)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._client is not None:
            with contextlib.suppress(*_AWAY):
                await self._client.close()


@contextlib.contextmanager
def _away() -> Any:
    try:
        yield
    except _AWAY:
        raise BrokerAway from None


async def _quiet(error: Exception) -> None:
    """Only the kind: a library's text may quote what it carried."""
    log.warning("broker_trouble", error=type(error).__name__)
