"""One fault, one finding: what only follows from another finding is not said again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.message import Finding

_STRUCTURE: Final = frozenset(f"GW-VAL-{number:03}" for number in (*range(2, 11), 72, 73))
_WORD: Final = re.compile(r"[A-Za-z_]\w*")


def once(findings: Sequence[Finding], reasons: Mapping[tuple[str, str], str]) -> tuple[Finding, ...]:
    """Each thing once: a profile repeats what its base says, and an invariant over a broken element fails with it."""
    if len(findings) < 2:
        return tuple(findings)
    seen: dict[tuple[Any, ...], Finding] = {}
    for each in findings:
        seen.setdefault((each.code, each.location, each.source, tuple(sorted(each.args.items()))), each)
    kept = _plainest(tuple(seen.values()))
    if not reasons:
        return kept
    broken = _broken(kept)
    return tuple(each for each in kept if not _follows(each, reasons, broken))


def _plainest(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Without what a second rule says of the same absence or the same code.

    A missing slice says which element is missing, an empty list that there is nothing in it, and a value set what
    the code has to be: beside these, "missing" and "not in its system" add nothing.
    """
    places = {(each.code, each.location) for each in findings if each.severity == "error"}
    slices = {(each.location, each.args["slice"].partition(":")[0]) for each in findings if each.code == "GW-VAL-031"}

    def said(each: Finding) -> bool:
        if each.code == "GW-VAL-013":
            return ("GW-VAL-010", each.location) in places
        if each.code != "GW-VAL-003" or each.args["found"] != "0":
            return False
        element = each.args["element"]
        empty = f"{each.location}.{element.rpartition('.')[2]}"
        return (each.location, element) in slices or ("GW-VAL-007", empty) in places

    return tuple(each for each in findings if not said(each))


def _broken(findings: Sequence[Finding]) -> Mapping[str, set[str]]:
    """Location -> names of its members that are missing or malformed."""
    found: dict[str, set[str]] = {}
    for each in findings:
        if each.severity != "error" or each.code not in _STRUCTURE or each.location is None:
            continue
        if each.code == "GW-VAL-003":
            name = each.args["element"].rpartition(".")[2].partition(":")[0].removesuffix("[x]")
            found.setdefault(each.location, set()).add(name)
        else:
            around, _, last = each.location.rpartition(".")
            found.setdefault(around, set()).add(last.partition("[")[0])
    return found


def _follows(finding: Finding, reasons: Mapping[tuple[str, str], str], broken: Mapping[str, set[str]]) -> bool:
    names = broken.get(finding.location or "")
    expression = reasons.get((finding.location or "", finding.source or ""))
    if not names or expression is None or finding.code != "GW-VAL-015":
        return False
    return not names.isdisjoint(_WORD.findall(expression))
