"""What the tests of the readers share."""

from __future__ import annotations

import pytest
from hl7_samples import ADT, ORM


@pytest.fixture
def adt() -> bytes:
    """An ADT^A01 with repetitions, sub-components and a local segment."""
    return ADT


@pytest.fixture
def orm() -> bytes:
    """An ORM^O01 with two orders: the message that choice groups break elsewhere."""
    return ORM
