"""The decisions of delivery, by table and by property: no socket, no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.deliver import decide
from gateway.deliver.decide import Breaker
from gateway.errors import Misconfigured
from gateway.flow import STEPS, Room, Thing
from gateway.message import Exchange, Outcome
from gateway.settings import Destination, Retry

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
STATES = ("delivered", "awaiting", "rejected", "parked", "due", "unknown")
numbers = st.floats(0.001, 1000, allow_nan=False)
retries = st.builds(Retry, first=numbers, factor=st.floats(1, 10), ceiling=numbers, budget=st.integers(1, 500))
chances = st.floats(0, 1, exclude_max=True)


@given(retries, st.integers(0, 10**6), chances)
def test_waiting_is_bounded_by_the_ceiling_whatever_the_settings(retry: Retry, tries: int, chance: float) -> None:
    """An overflowing exponent would stop a queue for ever."""
    assert 0 <= decide.backoff(retry, tries, chance) <= retry.ceiling


@given(retries, st.integers(1, 60))
def test_waiting_grows_until_the_ceiling(retry: Retry, tries: int) -> None:
    """A destination in trouble is given more and more time."""
    assert decide.backoff(retry, tries, 0.5) <= decide.backoff(retry, tries + 1, 0.5)


@given(st.sampled_from(STATES), retries, st.integers(1, 1000), chances, st.floats(-1e12, 1e12))
def test_every_answer_leads_along_an_allowed_step(
    state: str, retry: Retry, tries: int, chance: float, asked: float
) -> None:
    """The decision and the state table cannot drift apart."""
    outcome = Outcome(state=state, retry_after=asked)  # type: ignore[arg-type]
    to = decide.after(outcome, tries, retry, NOW, chance)
    assert Room.DELIVER in STEPS[Thing.EXCHANGE]["in_flight", to.state]
    assert (to.next_at is not None) == (to.state == "due")
    if to.next_at is not None:
        assert NOW <= to.next_at <= NOW + timedelta(seconds=max(decide.LONGEST_RETRY_AFTER, retry.ceiling))


def test_the_budget_parks_and_nothing_else_does() -> None:
    """Tries must end, visibly, and only tries that surely did not arrive are counted against it."""
    retry = Retry(budget=3)
    assert decide.after(Outcome(state="due"), 2, retry, NOW, 0.5).state == "due"
    assert decide.after(Outcome(state="due"), 3, retry, NOW, 0.5) == decide.Next("parked", None, decide.BUDGET)
    assert decide.after(Outcome(state="unknown"), 99, retry, NOW, 0.5).state == "unknown"


def test_retry_after_is_a_lower_bound_and_not_an_upper_one() -> None:
    """The destination knows better than our dice when it will be back."""
    to = decide.after(Outcome(state="due", retry_after=120.0), 1, Retry(), NOW, 0.0)
    assert to.next_at == NOW + timedelta(seconds=120)
    to = decide.after(Outcome(state="due", retry_after=0.1), 9, Retry(first=10), NOW, 0.9)
    assert to.next_at is not None
    assert to.next_at > NOW + timedelta(seconds=100)


def place(**more: str) -> Destination:
    return Destination(id="d", protocol="p", peer="x", programme="p", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "answer", "state"),
    [
        ({}, Outcome(state="delivered"), "delivered"),
        ({}, Outcome(state="due"), "due"),
        ({}, Outcome(state="rejected"), "rejected"),
        ({}, None, None),
        ({}, Outcome(state="unknown"), None),
        ({"after_reconcile": "resend"}, None, "due"),
        ({"after_reconcile": "resend"}, Outcome(state="unknown"), "due"),
        ({"after_reconcile": "resend"}, Outcome(state="delivered"), "delivered"),
        ({"on_unknown": "resend"}, None, "due"),
        ({"on_unknown": "hold"}, None, None),
        ({"on_unknown": "hold", "after_reconcile": "resend"}, None, None),
    ],
)
def test_what_may_have_arrived_is_moved_by_knowledge_or_by_setting(
    settings: dict[str, str], answer: Outcome | None, state: str | None
) -> None:
    """Blind repetition is the destination's choice to allow, never our default, and it is recorded as such."""
    verdict = decide.unclear(answer, place(**settings))
    assert (verdict.state if verdict else None) == state
    blind = state == "due" and (answer is None or answer.state == "unknown")
    assert (verdict is not None and verdict.codes == (decide.SENT_AGAIN,)) == blind


# --- circuit breaker ----------------------------------------


def test_failures_in_a_row_open_the_circuit_and_a_probe_closes_it() -> None:
    """A dead destination is asked by one probe at a time, not by everything that waits."""
    retry = Retry(breaker_after=3, breaker_seconds=30)
    breaker = Breaker()
    for _ in range(2):
        breaker = decide.failed(breaker, retry, 100.0)
    assert decide.allowance(breaker, 100.0, 4, 0) == 4, "not enough failures yet"
    breaker = decide.failed(breaker, retry, 100.0)
    assert decide.allowance(breaker, 129.9, 4, 0) == 0
    assert decide.allowance(breaker, 130.0, 4, 0) == 1, "one probe"
    assert decide.allowance(breaker, 130.0, 4, 1) == 0, "and only one"
    assert decide.allowance(decide.failed(breaker, retry, 130.0), 131.0, 4, 0) == 0, "the probe failed"
    assert decide.allowance(decide.answered(breaker), 130.0, 4, 2) == 4


def test_a_success_between_failures_keeps_the_circuit_closed() -> None:
    """Only failures in a row mean that the destination is down."""
    retry, breaker = Retry(breaker_after=2), Breaker()
    for _ in range(20):
        breaker = decide.answered(decide.failed(breaker, retry, 0.0))
    assert breaker == Breaker()


# --- quiet hours ----------------------------------------


@pytest.mark.parametrize(
    ("text", "local", "quiet"),
    [
        ("22:00-05:00 Asia/Tehran", "21:59", False),
        ("22:00-05:00 Asia/Tehran", "22:00", True),
        ("22:00-05:00 Asia/Tehran", "04:59", True),
        ("22:00-05:00 Asia/Tehran", "05:00", False),
        ("12:00-13:30 Asia/Tehran", "13:00", True),
        ("12:00-13:30 Asia/Tehran", "13:30", False),
        ("", "13:00", False),
    ],
)
def test_quiet_hours_are_the_destinations_own_and_may_pass_midnight(text: str, local: str, quiet: bool) -> None:
    """Tehran is UTC+3:30, so a fixed offset in the code would be wrong by half an hour."""
    hour, minute = (int(each) for each in local.split(":"))
    at = datetime(2026, 11, 21, hour, minute, tzinfo=UTC) - timedelta(hours=3, minutes=30)
    assert decide.quiet_now(decide.quiet_hours(text), at) is quiet


@pytest.mark.parametrize("text", ["22-5", "22:00-05:00", "22:00-05:00 Nowhere/City", "22:00-25:00 UTC", "a-b UTC"])
def test_quiet_hours_that_cannot_be_read_stop_the_start(text: str) -> None:
    """A misspelt hour that was ignored would send in the night."""
    with pytest.raises(Misconfigured):
        decide.quiet_hours(text)


def test_a_persons_hold_is_not_lifted_by_the_room() -> None:
    """What an operator has stopped stays stopped when the gate opens."""
    held = Exchange(
        id="e", document="d", destination="d", programme="p", sender="s", subject="s", case="c", state="held"
    )
    assert decide.ours_to_lift(held)
    assert not decide.ours_to_lift(msgspec.structs.replace(held, reason="GW-DESK-004"))
    assert decide.ours_to_lift(msgspec.structs.replace(held, reason="GW-SIGN-060"))
