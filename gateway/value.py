"""The base of the values that travel, and what makes them safe to read in many threads at once."""

from __future__ import annotations

from contextlib import suppress

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Immutable, by keyword, and without its defaults when it is written."""


def prepare(*kinds: type[msgspec.Struct]) -> None:
    """Let msgspec build what it knows of these types now, while there is one thread.

    It does so at the first conversion, without a lock: when two reading threads are the first at the same moment the
    process ends by a segmentation fault (msgspec 0.22), as it did after a restart with much to read.
    """
    for kind in kinds:
        with suppress(msgspec.ValidationError):
            msgspec.convert({}, kind)
