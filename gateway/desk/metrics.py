"""Prometheus metrics: depth, age of the oldest, attempts and outcomes. Labels are states and names from settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway import flow
from gateway.clock import Clock
from gateway.message import Step

Counts = Mapping[str, Mapping[str, tuple[int, datetime | None]]]


class _Depth(Collector):
    """Gauges over the last counts that the ledger gave."""

    def __init__(self, clock: Clock) -> None:
        self.counts: Counts = {}
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("gateway_things", "How many things are in a state", labels=["thing", "state"])
        age = GaugeMetricFamily(
            "gateway_oldest_seconds", "Age of the oldest thing that waits in a state", labels=["thing", "state"]
        )
        now = self._clock.now()
        for thing, states in self.counts.items():
            waiting = flow.waiting(flow.Thing(thing))
            for state, (count, since) in states.items():
                depth.add_metric([thing, state], count)
                if state in waiting and since is not None:
                    age.add_metric([thing, state], max(0.0, (now - since).total_seconds()))
        yield depth
        yield age


class Metrics:
    """One registry a process; `count` is called for every committed step."""

    def __init__(self, clock: Clock) -> None:
        self._registry = CollectorRegistry()
        self._depth = _Depth(clock)
        self._registry.register(self._depth)
        self._moves = Counter(
            "gateway_moves", "State changes since the start", ["thing", "to", "room"], registry=self._registry
        )

    def count(self, step: Step) -> None:
        """Count a step's moves."""
        for move in step.moves:
            self._moves.labels(str(move.thing), move.to, str(move.room)).inc()

    def page(self, counts: Counts) -> bytes:
        """The metrics page, with fresh depths."""
        self._depth.counts = counts
        return generate_latest(self._registry)
