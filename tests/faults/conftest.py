"""The oracle is a module beside the tests; a private PostgreSQL comes from the tests of the store."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "store"))
from store_servers import cluster, postgresql  # noqa: F401 - fixtures
