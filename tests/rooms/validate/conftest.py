"""The rule set that the tests of this room share."""

from __future__ import annotations

import pytest

from gateway.validate import Rulebook, load


@pytest.fixture(scope="session")
def book() -> Rulebook:
    """The rule set with no programme."""
    return load()
