"""One validation: what has been found, where we are, and what the rules may ask about the surroundings.

A **path** is a linked tuple, cheap enough to make for every element; it is only spelled out when there is
something to say. Rules never raise: they say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.errors import codes
from gateway.message import Finding, Json, Severity

if TYPE_CHECKING:
    from gateway.validate.references import Index
    from gateway.validate.rulebook import Rules

MAX_FINDINGS: Final = 1000
MAX_ARRAY: Final = 50_000
MAX_DEPTH: Final = 100
SHOWN: Final = 80


Path = tuple[Any, str, int, str]
"""The way up (a Path or None), the FHIRPath name, the index in a list (-1: not one), and the type key."""


def location(path: Path | None) -> str:
    """FHIRPath of the element: `Patient.contact[0].name`."""
    parts: list[str] = []
    while path is not None:
        path, name, index, _ = path
        parts.append(name if index < 0 else f"{name}[{index}]")
    return ".".join(reversed(parts))


def depth(path: Path | None) -> int:
    """How many steps down we are."""
    count = 0
    while path is not None:
        count += 1
        path = path[0]
    return count


def shown(value: Any) -> str:
    """A value as it may stand in a finding: short."""
    text = value if isinstance(value, str) else type(value).__name__ if isinstance(value, dict | list) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint wants where the specification leaves a choice."""

    unknown_extension: Severity | None = "error"  # None: kept in silence; a modifier is always an error
    examples: bool = True  # whether an unknown extension of an example domain (RFC 2606) is only a warning
    unresolved: Severity | None = None  # a relative or absolute reference that nothing here resolves
    unknown_profile: Severity = "error"  # of an asserted profile; in meta.profile it is a warning
    narrative: Severity = "error"
    best_practice: bool = True  # whether warnings such as dom-6 are said
    undecided: bool = True  # whether "cannot decide" is said


class TooMany(Exception):
    """Enough was found: the rest is not looked for."""


class Run:
    """The state of one validation. `resource` is the nearest resource, `container` the one that contains it."""

    __slots__ = (
        "anchors",
        "assumed",
        "busy",
        "container",
        "findings",
        "ids",
        "index",
        "inner",
        "met",
        "policy",
        "reasons",
        "resource",
        "root",
        "rules",
    )

    def __init__(self, rules: Rules, root: Json, policy: Policy) -> None:
        self.rules = rules
        self.policy = policy
        self.root = root
        self.resource = root
        self.container: Json | None = None
        self.index: Index | None = None
        self.findings: list[Finding] = []
        self.anchors: set[str] = set()  # what links in narratives may point to, once it was asked
        self.busy: set[tuple[int, str]] = set()
        self.met: set[tuple[int, str]] = set()  # what was looked at by which profile
        self.assumed = 0  # how often something was taken for true because it was being looked at
        self.inner: dict[int, dict[str, Json]] = {}  # resource -> its contained ones by id, once it was asked
        self.ids: set[tuple[int, str]] = set()  # (resource, element id)
        self.reasons: dict[tuple[str, str], str] = {}  # (location, rule) -> expression of a failed invariant

    def say(
        self,
        code: str,
        path: Path | None,
        *,
        severity: Severity | None = None,
        source: str | None = None,
        args: dict[str, str] | None = None,
    ) -> None:
        """Record a finding; severity is the table's unless a definition or the policy sets it."""
        row = codes()[code]
        found = Finding(
            code=code,
            severity=severity or row.severity,
            location=location(path),
            args=args or {},
            source=source,
            issue=row.issue,
        )
        self.findings.append(found)
        if len(self.findings) >= MAX_FINDINGS:
            raise TooMany

    def probe(self, look: Callable[[], None]) -> list[Finding]:
        """What `look` would say, without saying it."""
        kept, self.findings = self.findings, []
        try:
            look()
        except TooMany:
            pass
        finally:
            said, self.findings = self.findings, kept
        return said

    def keeps(self, value: Json, url: str, look: Callable[[], None]) -> bool:
        """Whether `look` has nothing against the value by that profile.

        A yes is remembered with the index, because many references lead to one Patient: unless something was taken
        for true on the way, and for as long as nothing of what was looked at is being looked at now.
        """
        marks = None if self.index is None else self.index.kept.get((id(value), url))
        if marks is not None and self.busy.isdisjoint(marks):
            self.met |= marks
            return True
        return self._remembered(value, url, lambda: not errors(self.probe(look)))

    def claimed(self, value: Json, url: str, look: Callable[[], None]) -> None:
        """Say what `look` has against the value by the profile that it claims; `keeps` need not look again."""
        before = len(self.findings)

        def clean() -> bool:
            look()
            return not errors(self.findings[before:])

        self._remembered(value, url, clean)

    def _remembered(self, value: Json, url: str, clean: Callable[[], bool]) -> bool:
        outer, self.met = self.met, set()
        before = self.assumed, len(self.reasons)
        kept = clean()
        if kept and self.index is not None and before == (self.assumed, len(self.reasons)):
            self.index.kept[id(value), url] = frozenset(self.met)
        self.met |= outer
        return kept

    @contextmanager
    def inside(self, resource: Json, contained: bool) -> Iterator[None]:
        """While a resource inside the present one is looked at."""
        before = self.resource, self.container
        self.container = self.resource if contained else None
        self.resource = resource
        try:
            yield
        finally:
            self.resource, self.container = before


def errors(findings: list[Finding]) -> bool:
    """Whether any of them is an error."""
    return any(each.severity == "error" for each in findings)
