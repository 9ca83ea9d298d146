"""A limit on the bytes that all connections of a listener hold together (promise 11)."""

from __future__ import annotations

from gateway.errors import Broken


class Busy(Broken):
    """Nothing was accepted because too much is being received at this moment."""

    default = "GW-RECEIVE-020"


class Budget:
    """`take` before holding bytes, `give` when they are gone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def take(self, count: int) -> None:
        """Count bytes as held, or raise `Busy`."""
        if self.used + count > self._limit:
            raise Busy
        self.used += count

    def give(self, count: int) -> None:
        """Count bytes as gone."""
        self.used -= count
