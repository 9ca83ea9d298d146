"""The misbehaviours that a stand-in can be ordered to show, as one table (the lying answers of the test plan).

An order is "name", "name=value", "name:times" or "name=value:times". Orders are used up in the order given. Each
fault says whether the repository keeps the message (`keeps`), so that the log shows what a liar really did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from gateway.errors import Misconfigured
from gateway.formats import json


class Answer(NamedTuple):
    """What goes back."""

    status: int
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def answer(status: int, body: Mapping[str, Any]) -> Answer:
    """A JSON answer."""
    return Answer(status, "application/json", json.write(body))


Act = Literal["send", "abort", "half", "drip"]


class Fault(NamedTuple):
    """How an answer is bent. `bend` gets the true answer, the previous one and the order's value."""

    keeps: bool
    act: Act = "send"
    bend: Callable[[Answer, Answer | None, str], Answer] | None = None
    asks: bool = False  # the stand-in itself words this lie in its protocol


class Order(NamedTuple):
    """One fault to show now."""

    name: str
    value: str
    fault: Fault


PAGE: Final = b"<!DOCTYPE html><html><head><title>Login</title></head><body><form method=post></form></body></html>"


def _html(true: Answer, previous: Answer | None, value: str) -> Answer:
    return Answer(200, "text/html; charset=utf-8", PAGE)


def _status(true: Answer, previous: Answer | None, value: str) -> Answer:
    headers = (("retry-after", value.partition("/")[2]),) if "/" in value else ()
    return Answer(int(value.partition("/")[0] or 503), "text/plain", b"", headers)


def _redirect(true: Answer, previous: Answer | None, value: str) -> Answer:
    return Answer(int(value or 307), "text/plain", b"", (("location", "http://127.0.0.1:1/elsewhere"),))


def _charset(true: Answer, previous: Answer | None, value: str) -> Answer:
    media = true.media_type.partition(";")[0]
    return Answer(true.status, f"{media}; charset={value or 'windows-1256'}", true.body.decode().encode("utf-16"))


def _cut(true: Answer, previous: Answer | None, value: str) -> Answer:
    return true._replace(body=true.body[: len(true.body) * 2 // 3])


def _empty(true: Answer, previous: Answer | None, value: str) -> Answer:
    return true._replace(body=b"")


def _previous(true: Answer, previous: Answer | None, value: str) -> Answer:
    return previous if previous is not None else Answer(200, true.media_type, b"")


def _twice(true: Answer, previous: Answer | None, value: str) -> Answer:
    return true._replace(body=true.body + true.body)


def _forever(true: Answer, previous: Answer | None, value: str) -> Answer:
    return Answer(202, "text/plain", b"")


FAULTS: Final[dict[str, Fault]] = {
    "category": Fault(keeps=False, asks=True),  # an error of the repository's own list
    "delay": Fault(keeps=True),  # right, but late by so many seconds
    "drop-before": Fault(keeps=False, act="abort"),
    "drop-after": Fault(keeps=True, act="abort"),
    "reset-mid-body": Fault(keeps=True, act="half"),
    "drip": Fault(keeps=True, act="drip"),  # one byte each so many seconds
    "html": Fault(keeps=False, bend=_html),
    "status": Fault(keeps=False, bend=_status),
    "status-after": Fault(keeps=True, bend=_status),
    "redirect": Fault(keeps=False, bend=_redirect),
    "charset": Fault(keeps=True, bend=_charset),
    "cut": Fault(keeps=True, bend=_cut),
    "empty": Fault(keeps=True, bend=_empty),
    "previous": Fault(keeps=False, bend=_previous),
    "twice": Fault(keeps=True, bend=_twice),
    "accepted-forever": Fault(keeps=False, bend=_forever),
    "nothing-kept": Fault(keeps=False),  # the right answer, and then nothing was kept
    "wrong-id": Fault(keeps=True, asks=True),
    "unknown-code": Fault(keeps=True, asks=True),
    "error-in-200": Fault(keeps=False, asks=True),
}


class Faults:
    """The orders still to be shown. `count` bounds what a control request may queue."""

    LIMIT: Final = 100_000

    def __init__(self, orders: Iterable[str] = ()) -> None:
        self._queue: deque[list[object]] = deque()
        for order in orders:
            self.order(order)

    def order(self, text: str) -> None:
        """Queue one order; an unknown name is `Misconfigured`."""
        spec, colon, times = text.rpartition(":")
        spec, times = (spec, times) if colon and times.isdigit() else (text, "1")
        name, _, value = spec.partition("=")
        if name not in FAULTS:
            raise Misconfigured(detail=f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
        self._queue.append([Order(name, value, FAULTS[name]), min(int(times), self.LIMIT)])

    def clear(self) -> None:
        """Behave again."""
        self._queue.clear()

    @property
    def waiting(self) -> int:
        """How many misbehaviours are still ordered."""
        return sum(int(str(left)) for _, left in self._queue)

    def next(self) -> Order | None:
        """The fault for this request, if one is ordered."""
        if not self._queue:
            return None
        head = self._queue[0]
        order, left = head[0], int(str(head[1])) - 1
        head[1] = left
        if left <= 0:
            self._queue.popleft()
        assert isinstance(order, Order)
        return order
