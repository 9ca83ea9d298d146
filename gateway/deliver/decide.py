"""The decisions of delivery, pure: what an answer leads to, when to try again, whether anything may leave now.

No socket, no clock and no random number: the present, and a chance between 0 and 1, are given. So every decision can
be tested by a table.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.errors import Misconfigured
from gateway.message import Exchange, Outcome
from gateway.settings import Destination, Retry

QUIET: Final = "GW-DELIVER-001"
BUDGET: Final = "GW-DELIVER-002"
MAY_HAVE: Final = "GW-DELIVER-003"
FOR_A_PERSON: Final = "GW-DELIVER-010"
SENT_AGAIN: Final = "GW-DELIVER-011"
TOO_LONG: Final = "GW-DELIVER-015"

LONGEST_RETRY_AFTER: Final = 24 * 3600.0
"""A destination may ask for patience, but not for more than a day: it could otherwise stop its queue by one answer."""

OPERATOR_PREFIX: Final = "GW-DESK-"
"""A hold with a code of the desk was set by a person, and only a person lifts it."""


class Next(NamedTuple):
    """Where an exchange goes: its state, when it may run, and the code of why it waits."""

    state: str
    next_at: datetime | None = None
    reason: str | None = None


def backoff(retry: Retry, tries: int, chance: float) -> float:
    """Seconds to wait after the `tries`-th try: full jitter over an exponentially growing ceiling."""
    exponent = min(max(tries - 1, 0), 64)
    return chance * min(retry.ceiling, retry.first * retry.factor**exponent)


def after(outcome: Outcome, tries: int, retry: Retry, now: datetime, chance: float) -> Next:
    """What a judged answer leads to. Only `due` depends on how often it was tried."""
    reason = outcome.codes[0] if outcome.codes else None
    if outcome.state != "due":
        return Next(outcome.state, None, None if outcome.state == "delivered" else reason)
    if tries >= retry.budget:
        return Next("parked", None, BUDGET)
    asked = min(max(outcome.retry_after or 0.0, 0.0), LONGEST_RETRY_AFTER)
    return Next("due", now + timedelta(seconds=max(asked, backoff(retry, tries, chance))), reason)


def unclear(answer: Outcome | None, destination: Destination) -> Outcome | None:
    """What becomes of an `unknown` exchange, given what the destination said about it.

    `answer` is None where it cannot be asked (or is not to be), `unknown` where it does not know. None means that
    it waits for a person; sending again is always recorded by its code.
    """
    if answer is not None and answer.state not in ("unknown", "awaiting"):
        return answer
    resend = destination.on_unknown == "resend" or (
        destination.on_unknown == "reconcile" and destination.after_reconcile == "resend"
    )
    return Outcome(state="due", codes=(SENT_AGAIN,)) if resend else None


def ours_to_lift(exchange: Exchange) -> bool:
    """Whether a held exchange was held by this room (a gate, quiet hours) and not by a person."""
    return not (exchange.reason or "").startswith(OPERATOR_PREFIX)


# --- circuit breaker ----------------------------------------


class Breaker(NamedTuple):
    """A destination's circuit. Times are monotonic seconds; `open_until` set means open or probing."""

    failures: int = 0
    open_until: float | None = None


def allowance(breaker: Breaker, now: float, free: int, running: int) -> int:
    """How many exchanges may start now: all that fit, none while open, one as a probe after that."""
    if breaker.open_until is None:
        return free
    if now < breaker.open_until or running:
        return 0
    return min(free, 1)


def answered(breaker: Breaker) -> Breaker:
    """The destination gave a usable answer, even if it was a rejection: closed again."""
    return breaker if breaker == Breaker() else Breaker()


def failed(breaker: Breaker, retry: Retry, now: float) -> Breaker:
    """One more failure in a row; enough of them, or a failed probe, open the circuit."""
    failures = breaker.failures + 1
    if failures < retry.breaker_after:
        return Breaker(failures, None)
    return Breaker(failures, now + retry.breaker_seconds)


# --- quiet hours ----------------------------------------


class Quiet(NamedTuple):
    """Daily hours in which nothing is sent, in the destination's own time zone; may pass midnight."""

    start: time
    end: time
    zone: ZoneInfo


def quiet_hours(text: str) -> Quiet | None:
    """Read "22:00-05:00 Asia/Tehran"; empty text means none. Anything else is `Misconfigured`."""
    if not text.strip():
        return None
    try:
        span, zone = text.split()
        start, end = (time.fromisoformat(each) for each in span.split("-"))
        return Quiet(start, end, ZoneInfo(zone))
    except (ValueError, ZoneInfoNotFoundError):
        raise Misconfigured(detail=f"quiet_hours {text!r} is not like '22:00-05:00 Asia/Tehran'") from None


def quiet_now(quiet: Quiet | None, now: datetime) -> bool:
    """Whether `now` lies within the quiet hours (start inclusive, end exclusive)."""
    if quiet is None:
        return False
    local = now.astimezone(quiet.zone).time()
    if quiet.start <= quiet.end:
        return quiet.start <= local < quiet.end
    return local >= quiet.start or local < quiet.end
