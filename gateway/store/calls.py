"""How a part of the ledger with a name of its own asks and writes: through the ledger's reader and its one writer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from gateway.clock import Clock
from gateway.store.group import Group

T = TypeVar("T")


class Ask(Protocol):
    """`Ledger._ask`."""

    def __call__(self, question: Callable[..., T], *args: Any) -> Awaitable[T]: ...


class Submit(Protocol):
    """`Ledger._submit`."""

    def __call__(self, job: Callable[[Group], T]) -> Awaitable[T]: ...


class Calls:
    """The two ways and the clock."""

    def __init__(self, ask: Ask, submit: Submit, clock: Clock) -> None:
        self.ask, self.submit, self.clock = ask, submit, clock
