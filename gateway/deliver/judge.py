"""What an HTTP answer means before anybody looks into its body, shared by the protocols over HTTP.

Only a 2xx answer can lead to `delivered`, and only after its protocol has found in the body what it must find. What
a proxy, a login page or a dying server says never does. By machine code, never by text (RFC 9110 section 15).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple

from gateway.errors import Misconfigured
from gateway.message import Finding, Outcome
from gateway.ports import Reply

State = Literal["delivered", "awaiting", "rejected", "parked", "due", "unknown"]

UNREADABLE: Final = "GW-DELIVER-004"
REJECTED: Final = "GW-DELIVER-006"
BUSY: Final = "GW-DELIVER-007"
CREDENTIALS: Final = "GW-DELIVER-008"
REDIRECT: Final = "GW-DELIVER-009"
SERVER: Final = "GW-DELIVER-019"
REFUSED: Final = "GW-DELIVER-021"
NOT_OURS: Final = "GW-DELIVER-005"
FOUND: Final = "GW-DELIVER-013"
NOT_FOUND: Final = "GW-DELIVER-014"

_STATES: Final = frozenset({"rejected", "parked", "due", "unknown"})


class Meaning(NamedTuple):
    """A state and the code that says why."""

    state: State
    code: str


_BY_STATUS: Final[Mapping[int, Meaning]] = {
    301: Meaning("parked", REDIRECT),
    302: Meaning("unknown", REDIRECT),  # often what an application answers after it has done the work
    303: Meaning("unknown", REDIRECT),
    307: Meaning("parked", REDIRECT),
    308: Meaning("parked", REDIRECT),
    401: Meaning("parked", CREDENTIALS),
    403: Meaning("parked", CREDENTIALS),
    407: Meaning("parked", CREDENTIALS),
    408: Meaning("due", BUSY),
    409: Meaning("due", BUSY),  # an earlier try with the same key is still being worked on
    425: Meaning("due", BUSY),
    429: Meaning("due", BUSY),
    501: Meaning("parked", REFUSED),
    503: Meaning("due", BUSY),
}
_BY_CLASS: Final[Mapping[int, Meaning]] = {
    1: Meaning("unknown", UNREADABLE),
    3: Meaning("unknown", REDIRECT),
    4: Meaning("parked", REFUSED),
    5: Meaning("unknown", SERVER),  # 500, 502, 504: it may have been taken before it broke
}


def meanings(text: str) -> Mapping[int, Meaning]:
    """A destination's own reading of statuses from its options: "500=due 409=rejected"."""
    made: dict[int, Meaning] = {}
    for pair in text.split():
        status, _, state = pair.partition("=")
        if not status.isdigit() or state not in _STATES:
            raise Misconfigured(detail=f"statuses {text!r} is not like '500=due 409=rejected'")
        made[int(status)] = Meaning(state, _BY_STATUS.get(int(status), Meaning("parked", REFUSED)).code)  # type: ignore[arg-type]
    return made


def by_status(status: int, own: Mapping[int, Meaning]) -> Meaning | None:
    """What the status alone says; None for 2xx, where the body decides."""
    if status // 100 == 2 and status not in own:
        return None
    return own.get(status) or _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, Meaning("unknown", UNREADABLE))


def retry_after(headers: Mapping[str, str], at: datetime) -> float | None:
    """Seconds from `at` that the destination asks us to wait (RFC 9110 section 10.2.3); None where unreadable."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - at).total_seconds())
    except (TypeError, ValueError):
        return None


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without parameters, lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def charset(headers: Mapping[str, str]) -> str:
    """The declared charset, lower case; empty where none is declared."""
    for parameter in headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return ""


def outcome(reply: Reply, state: State, code: str | None = None, at: datetime | None = None, **more: object) -> Outcome:
    """An outcome with the reply kept and Retry-After read."""
    wait = retry_after(reply.headers, at) if at is not None and state == "due" else None
    return Outcome(
        state=state,
        codes=(code,) if code else (),
        status=reply.status,
        reply=reply.body,
        retry_after=wait,
        **more,  # type: ignore[arg-type]
    )


def refused(reply: Reply, meaning: Meaning, at: datetime, findings: tuple[Finding, ...] = ()) -> Outcome:
    """An outcome from what the status says."""
    return outcome(reply, meaning.state, meaning.code, at, findings=findings)
