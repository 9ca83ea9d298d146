"""What a FHIR ValueSet says by its own text alone: lists of codes, patterns of codes, imports, exclusions.

A `regex` filter on the property `code` (or `concept`) is decided from the code as it is written, so a set of a code
system whose content is not here (ICD-10) can still be decided. Everything else is left undecided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

Find = Callable[[str], dict[str, Any] | None]
"""The ValueSet of a canonical, if it is at hand."""

_DEPTH: Final = 10
_PROPERTIES: Final = frozenset({"code", "concept"})


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def passes(code: str, filters: Iterable[dict[str, Any]]) -> bool | None:
    """Whether the code fulfils every filter; None where one of them needs more than the code's own text."""
    for rule in filters:
        pattern = _pattern(str(rule.get("value", "")))
        if rule.get("op") != "regex" or rule.get("property") not in _PROPERTIES or pattern is None:
            return None
        if pattern.fullmatch(code) is None:
            return False
    return True


def holds(definition: dict[str, Any], system: str, code: str, find: Find, depth: int = 0) -> bool:
    """Whether the set has the code, as far as its own text tells: what is undecided counts as not held."""
    compose = definition.get("compose") or {}
    if depth > _DEPTH or any(_has(part, system, code, find, depth) for part in compose.get("exclude", ())):
        return False
    return any(_has(part, system, code, find, depth) for part in compose.get("include", ()))


def _has(part: dict[str, Any], system: str, code: str, find: Find, depth: int) -> bool:
    for url in part.get("valueSet", ()):
        inner = find(url)
        if inner is None or not holds(inner, system, code, find, depth + 1):
            return False
    if "system" not in part:
        return bool(part.get("valueSet"))
    if part["system"] != system:
        return False
    if "concept" in part:
        return any(each.get("code") == code for each in part["concept"])
    return passes(code, part.get("filter", ())) is True
