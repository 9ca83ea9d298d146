"""A real PostgreSQL, where there is one: measures have to say the same on both databases."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "rooms" / "store"))

from store_servers import postgresql

__all__ = ["postgresql"]
