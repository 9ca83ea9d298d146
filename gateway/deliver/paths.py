"""The small JSON paths of destination options: "$.data.items[0].id", and conditions "$.status = OK".

Only member names and indexes; anything else in a setting is `Misconfigured`. A path that leads nowhere gives None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from gateway.errors import Misconfigured

Path = tuple[str | int, ...]

_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d{1,6})\]")
MAX_VALUE: Final = 1000


def compile_path(text: str) -> Path:
    """The steps of a path."""
    steps: list[str | int] = []
    at = 1
    while text.startswith("$") and at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            break
        steps.append(found[1] if found[1] is not None else int(found[2]))
        at = found.end()
    if not text.startswith("$") or at != len(text):
        raise Misconfigured(detail=f"{text!r} is not a path like $.data[0].id")
    return tuple(steps)


def compile_all(named: Mapping[str, str]) -> Mapping[str, Path]:
    """Name -> path."""
    return {name: compile_path(text) for name, text in named.items()}


def follow(path: Path, document: Any) -> str | None:
    """The value at the path as text; None where there is none, or where it is no plain value."""
    for step in path:
        inside = isinstance(step, str) and isinstance(document, dict) and step in document
        listed = isinstance(step, int) and isinstance(document, list) and step < len(document)
        if not inside and not listed:
            return None
        document = document[step]
    if isinstance(document, bool):
        return "true" if document else "false"
    if isinstance(document, (str, int, Decimal)):
        return str(document)[:MAX_VALUE]
    return None


def take(named: Mapping[str, Path], document: Any) -> dict[str, str]:
    """Every named value that is there and not empty."""
    found = {name: follow(path, document) for name, path in named.items()}
    return {name: value for name, value in found.items() if value}


class Condition:
    """ "$.path = value": whether the value stands there. Compared as text, exactly."""

    def __init__(self, text: str) -> None:
        left, equals, right = text.partition(" = ")
        if not equals:
            raise Misconfigured(detail=f"{text!r} is not a condition like $.status = OK")
        self._path, self._values = compile_path(left.strip()), frozenset(right.strip().split("|"))

    def holds(self, document: Any) -> bool:
        """Whether one of the values stands at the path."""
        return follow(self._path, document) in self._values
