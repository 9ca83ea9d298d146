"""Room store: the database. The only room that speaks SQL, and the only truth about what has happened."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import Clock
from gateway.formats.search import Indexer
from gateway.formats.views import Views
from gateway.store.ledger import Ledger
from gateway.store.measuring import Checking


def open(url: str, data: Path, clock: Clock, indexer: Indexer | None = None, views: Views | None = None) -> Ledger:
    """The ledger behind `url` (empty: SQLite in `data`); not started yet. Raises `Misconfigured`.

    With an `indexer` resources can be searched; what was written without one is indexed at the next start with it.
    With `views` their tables are kept; what was published without them, or by others, is caught up with at the start.
    """
    return Ledger(url, data, clock, indexer, views)


__all__ = ["Checking", "Ledger", "open"]
