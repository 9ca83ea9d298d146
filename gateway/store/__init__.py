"""Room store: the database. The only room that speaks SQL, and the only truth about what has happened."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import Clock
from gateway.store.ledger import Ledger


def open(url: str, data: Path, clock: Clock) -> Ledger:
    """The ledger behind `url` (empty: SQLite in `data`); not started yet. Raises `Misconfigured`."""
    return Ledger(url, data, clock)


__all__ = ["Ledger", "open"]
