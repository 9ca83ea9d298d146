"""Room store: the database. The only room that speaks SQL, and the only truth about what has happened."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import Clock
from gateway.formats.search import Indexer
from gateway.store.ledger import Ledger


def open(url: str, data: Path, clock: Clock, indexer: Indexer | None = None) -> Ledger:
    """The ledger behind `url` (empty: SQLite in `data`); not started yet. Raises `Misconfigured`.

    With an `indexer` resources can be searched; what was written without one is indexed at the next start with it.
    """
    return Ledger(url, data, clock, indexer)


__all__ = ["Ledger", "open"]
