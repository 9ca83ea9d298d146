"""Rules are left alone by the collector, and not kept for ever by that."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway import workers


class Rules:
    """Something that names itself, as compiled rules do."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was before, for the tests that follow."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_former_rules_are_let_go_after_a_reload() -> None:
    """A gateway that is reloaded every day must not grow by its rules every day."""
    rules = Rules()
    former = weakref.ref(rules)
    workers.settle()
    del rules
    gc.collect()
    assert former() is not None
    workers.settle_anew()
    assert former() is None
    assert gc.get_freeze_count()


def test_a_process_that_never_settled_is_left_as_it_is() -> None:
    """Only `gateway serve` settles; a test or a tool that reloads does not begin to."""
    assert not gc.get_freeze_count()
    workers.settle_anew()
    assert not gc.get_freeze_count()
