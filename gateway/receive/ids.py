"""Ids that sort by time and cannot be guessed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Final

_LENGTH: Final = 20
"""Hexadecimal digits of randomness in an id: 80 bits."""


def _endless() -> Iterator[str]:
    while True:  # one system call for many ids: each call gives up the interpreter lock
        block = os.urandom(5120).hex()
        yield from (block[at : at + _LENGTH] for at in range(0, len(block), _LENGTH))


_digits: Final = _endless()


def random_hex() -> str:
    """Twenty hexadecimal digits. For the event loop's thread only."""
    return next(_digits)


def new(at: datetime) -> str:
    """An id of something received at that time: milliseconds, then randomness."""
    return f"{int(at.timestamp() * 1000):012x}{random_hex()}"
