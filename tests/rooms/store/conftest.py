"""The fixtures live in a module with a name of its own, so that tests elsewhere can use them too."""

from store_servers import cluster, ledger, postgresql, sqlite, where

__all__ = ["cluster", "ledger", "postgresql", "sqlite", "where"]
