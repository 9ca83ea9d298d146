"""Prometheus metrics: depth, age of the oldest, attempts, outcomes, latencies. No label identifies anybody.

Labels are states, rooms, and names from the settings (destination, programme). The page has a port of its own that
listens on loopback only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import flow
from gateway.clock import Clock
from gateway.flow import NEW, Thing
from gateway.formats.standing import Backlog
from gateway.kept import Queue
from gateway.message import Exchange, Step

Counts = Mapping[str, Mapping[str, tuple[int, datetime | None]]]

_ATTEMPT: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WHOLE: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43200, 172800)
_QUEUE: Final = ["destination", "programme", "state"]


class _Depth(Collector):
    """Gauges over the last counts that the ledger gave."""

    def __init__(self, clock: Clock) -> None:
        self.counts: Counts = {}
        self.queues: Sequence[Queue] = ()
        self.paused: Mapping[str, bool] = {}
        self.standing: Sequence[Backlog] = ()
        self.certificate_days: Mapping[str, float] = {}
        self.findings: Mapping[tuple[str, str], int] = {}
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Every gauge, with ages as of now."""
        depth = GaugeMetricFamily("gateway_things", "How many things are in a state", labels=["thing", "state"])
        age = GaugeMetricFamily(
            "gateway_oldest_seconds", "Age of the oldest thing that waits in a state", labels=["thing", "state"]
        )
        for thing, states in self.counts.items():
            waiting = flow.waiting(Thing(thing))
            for state, (count, since) in states.items():
                depth.add_metric([thing, state], count)
                if state in waiting and since is not None:
                    age.add_metric([thing, state], self._age(since))
        yield depth
        yield age
        yield from self._per_destination()

    def _per_destination(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("gateway_queue", "Unfinished exchanges", labels=_QUEUE)
        age = GaugeMetricFamily("gateway_queue_oldest_seconds", "How long the oldest is in its state", labels=_QUEUE)
        for each in self.queues:
            labels = [each.destination, each.programme, each.state]
            depth.add_metric(labels, each.count)
            age.add_metric(labels, self._age(each.since))
        paused = GaugeMetricFamily("gateway_paused", "1 while an operator has paused it", labels=["destination"])
        for id, is_paused in self.paused.items():
            paused.add_metric([id], float(is_paused))
        yield from (depth, age, paused)
        ends = GaugeMetricFamily("gateway_certificate_days", "Days until it ends", labels=["certificate"])
        for name, days in self.certificate_days.items():
            ends.add_metric([name], days)
        yield ends
        yield self._found()
        yield from self._standing()

    def _standing(self) -> Iterator[Metric]:
        """Subscriptions of repositories, and what they are owed."""
        number = GaugeMetricFamily("gateway_subscriptions", "By status", labels=["repository", "status"])
        owed = GaugeMetricFamily(
            "gateway_notifications_waiting", "Events not told yet", labels=["repository", "status"]
        )
        age = GaugeMetricFamily("gateway_notifications_oldest_seconds", "Age of the oldest", labels=["repository"])
        oldest: dict[str, float] = {}
        for each in self.standing:
            number.add_metric([each.repository, each.status], each.count)
            owed.add_metric([each.repository, each.status], each.waiting)
            if each.oldest is not None:
                oldest[each.repository] = max(oldest.get(each.repository, 0.0), self._age(each.oldest))
        for repository, seconds in oldest.items():
            age.add_metric([repository], seconds)
        yield from (number, owed, age)

    def _found(self) -> GaugeMetricFamily:
        found = GaugeMetricFamily("gateway_measure_findings", "Findings that stand", labels=["programme", "measure"])
        for (programme, measure), count in self.findings.items():
            found.add_metric([programme, measure], count)
        return found

    def _age(self, since: datetime) -> float:
        return max(0.0, (self._clock.now() - since).total_seconds())


class Metrics:
    """One registry a process; `count` is called for every committed step, `observe` for every attempt that ended."""

    def __init__(self, clock: Clock) -> None:
        self._registry = CollectorRegistry()
        self._depth = _Depth(clock)
        self._registry.register(self._depth)
        here: dict[str, Any] = {"registry": self._registry}
        self._moves = Counter("gateway_moves", "State changes since the start", ["thing", "to", "room"], **here)
        self._exchanges = Counter(
            "gateway_exchange_moves", "States that exchanges entered", ["destination", "programme", "to"], **here
        )
        self._attempts = Histogram(
            "gateway_attempt_seconds",
            "From the first byte of an attempt to its judged answer",
            ["destination", "outcome"],
            buckets=_ATTEMPT,
            **here,
        )
        self._whole = Histogram(
            "gateway_exchange_seconds",
            "From the making of an exchange to its end",
            ["destination", "programme", "outcome"],
            buckets=_WHOLE,
            **here,
        )

    def count(self, step: Step) -> None:
        """Count a step's moves; of exchanges also by destination and programme."""
        written = {each.id: each for each in step.writes if isinstance(each, Exchange)}
        for move in step.moves:
            self._moves.labels(str(move.thing), move.to, str(move.room)).inc()
            exchange = written.get(move.id) if move.thing is Thing.EXCHANGE else None
            if exchange is None:
                continue
            self._exchanges.labels(exchange.destination, exchange.programme, move.to).inc()
            if move.to in flow.FINAL[Thing.EXCHANGE] and move.frm != NEW and exchange.created_at is not None:
                took = max(0.0, (step.at - exchange.created_at).total_seconds())
                self._whole.labels(exchange.destination, exchange.programme, move.to).observe(took)

    def observe(self, destination: str, state: str, seconds: float) -> None:
        """An attempt ended in `state` after so long (`deliver.lane.Tools.observe`)."""
        self._attempts.labels(destination, state).observe(seconds)

    def certificates(self, days: Mapping[str, float]) -> None:
        """Days left of each certificate, by its place in the settings."""
        self._depth.certificate_days = days

    def found(self, findings: Mapping[tuple[str, str], int]) -> None:
        """How many findings of measures stand, by programme and measure."""
        self._depth.findings = findings

    def page(
        self,
        counts: Counts,
        queues: Sequence[Queue] = (),
        paused: Mapping[str, bool] | None = None,
        standing: Sequence[Backlog] = (),
    ) -> bytes:
        """The metrics page, with fresh depths."""
        self._depth.standing = standing
        self._depth.counts, self._depth.queues, self._depth.paused = counts, queues, paused or {}
        return generate_latest(self._registry)


def metrics_app(page: Callable[[], Awaitable[bytes]]) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """An ASGI application with the one path `/metrics`; 503 where the page cannot be made."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        known = scope["path"] == "/metrics" and scope["method"] == "GET"
        body = await page() if known else b""
        status = 404 if not known else 200 if body else 503
        headers = [(b"content-type", CONTENT_TYPE_LATEST.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
