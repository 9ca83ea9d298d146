"""What is looked after at intervals does what the settings say, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.clock import FixedClock
from gateway.errors import StorageFailed
from gateway.settings import Retention, Settings
from gateway.upkeep import Upkeep

NOW = datetime(2026, 11, 21, tzinfo=UTC)


class Asked:
    """Notes what it is asked to forget; `batches` is how many rounds there is something left."""

    def __init__(self, batches: int = 1) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.left = batches
        self.tidied = 0

    async def forget(self, programme: str, before: datetime, limit: int = 200, state: str | None = None) -> int:
        self.calls.append((programme, (NOW - before).days, state))
        return self._some()

    async def forget_metadata(self, programme: str, before: datetime, limit: int = 200) -> int:
        self.calls.append((programme, (NOW - before).days, "metadata"))
        return self._some()

    def _some(self) -> int:
        self.left -= 1
        return 200 if self.left >= 0 else 0

    async def tidy(self, pages: int = 1000) -> int:
        self.tidied += 1
        return 0


def upkeep(store: Any, *rules: Retention) -> Upkeep:
    return Upkeep(Settings(retention=rules), store, FixedClock(NOW), lambda step: None, lambda: None, shared=False)


async def test_each_state_is_kept_as_long_as_its_rule_says() -> None:
    """Refused ones by their own number of days, or as the others where none is given; 0 keeps for ever."""
    asked = Asked(0)
    rules = (
        Retention(programme="a", payload_days=30, refused_days=7, metadata_days=365),
        Retention(programme="b", payload_days=90),
        Retention(programme="c"),
    )
    await upkeep(asked, *rules).retain()
    assert asked.calls == [
        ("a", 30, "itemised"),
        ("a", 7, "refused"),
        ("a", 365, "metadata"),
        ("b", 90, "itemised"),
        ("b", 90, "refused"),
    ]
    assert asked.tidied == 0


async def test_it_goes_on_until_nothing_is_left_and_then_tidies() -> None:
    """In small steps: a year of submissions must not be one transaction."""
    asked = Asked(3)
    await upkeep(asked, Retention(programme="a", payload_days=1)).retain()
    assert len(asked.calls) == 5
    assert asked.tidied == 1


async def test_a_stopped_one_forgets_nothing_more() -> None:
    """A graceful stop does not wait for a large clean-up."""
    asked = Asked(1000)
    stopped = upkeep(asked, Retention(programme="a", payload_days=1))
    stopped.stop()
    await stopped.retain()
    assert asked.calls == []


async def test_a_storage_failure_ends_a_round_and_not_the_loop() -> None:
    """A full disk at the wrong moment must not end retention for ever."""
    made = upkeep(Asked())
    rounds = 0

    async def once() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            made.stop()
        raise StorageFailed

    await made._every(0.01, once)
    assert rounds == 3
