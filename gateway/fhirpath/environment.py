"""What an evaluation may ask of its surroundings. The engine itself has no clock, no network and no tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything from outside, as values or functions that the caller answers for.

    `resource` is the resource that holds the focus (its own, when contained), `root_resource` the outermost one;
    both default to the focus. `now` is the recorded instant: without it `now()` and `today()` fail. The functions
    take plain JSON. `resolve` answers a resource, a node, or None; the three-valued ones answer None for "cannot
    tell". `lookup` answers a plain value, a list, or None. `trace` is given name and values; never log them.
    `joins_nothing` makes `join()` of an empty collection an empty string, as the tests of SQL on FHIR have it.
    """

    resource: Any = None
    root_resource: Any = None
    context: Any = None
    variables: Mapping[str, Any] = {}
    now: datetime | None = None
    resolve: Callable[[str], Any] | None = None
    member_of: Callable[[Any, str], bool | None] | None = None
    conforms_to: Callable[[Any, str], bool | None] | None = None
    subsumes: Callable[[Any, Any], bool | None] | None = None
    html_checks: Callable[[str], bool | None] | None = None
    lookup: Callable[..., Any] | None = None
    trace: Callable[[str, list[Any]], None] | None = None
    joins_nothing: bool = False


EMPTY = Environment()
