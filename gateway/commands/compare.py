"""`gateway convert --compare OLD NEW FOLDER`: what changed mappings do to past messages, element by element.

Both homes read each file with the same clock, the same registry and the same id key, so that whatever differs comes
from the mappings, tables, profiles and checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.formats import media
from gateway.message import ItemResult, Json

BY_SUFFIX: Final = {
    ".hl7": media.HL7V2,
    ".csv": media.CSV,
    ".tsv": media.TSV,
    ".xlsx": media.XLSX,
    ".zip": media.ZIP,
    ".json": media.JSON,
    ".xml": media.XML,
}
_NOTHING: Final = "(nothing)"


class Change(NamedTuple):
    """One thing that is different: of which item, where, and how it was and is."""

    item: str
    where: str
    old: str
    new: str


def inputs(folder: Path) -> list[Path]:
    """The files that can be read, by name; expected outputs that lie beside samples are not inputs."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in BY_SUFFIX and path.is_file())
    return sorted(path for path in found if not path.name.endswith(".expected.json"))


def differences(old: Sequence[ItemResult], new: Sequence[ItemResult]) -> Iterator[Change]:
    """Everything that a sender or a repository could notice. Lineage alone is not a difference."""
    for before, after in zip_longest(old, new):
        label = (after or before).label
        if before is None or after is None:
            yield Change(label, "item", _verdict(before), _verdict(after))
            continue
        for where, one, other in zip(_SAID, _said(before), _said(after), strict=True):
            if one != other:
                yield Change(label, where, one, other)
        yield from _only(label, "finding", _findings(before), _findings(after))
        yield from _only(label, "unread", _unread(before), _unread(after))
        yield from _resources(label, before.resources, after.resources)


def _verdict(result: ItemResult | None) -> str:
    return _NOTHING if result is None else "refused" if result.refused else "accepted"


_SAID: Final = ("verdict", "subject", "case", "brings")


def _said(result: ItemResult) -> tuple[str, ...]:
    case = f"{result.case.kind} {result.case.id}" if result.case else _NOTHING
    return _verdict(result), result.subject or _NOTHING, case, ", ".join(result.parts) or _NOTHING


def _findings(result: ItemResult) -> set[str]:
    return {f"{f.severity} {f.code} {f.place.path if f.place else f.location or ''}".strip() for f in result.findings}


def _unread(result: ItemResult) -> set[str]:
    return {each.place.path for each in result.loss if each.fate == "unread"}


def _only(label: str, where: str, old: set[str], new: set[str]) -> Iterator[Change]:
    for each in sorted(old - new):
        yield Change(label, where, each, _NOTHING)
    for each in sorted(new - old):
        yield Change(label, where, _NOTHING, each)


# --- resources ----------------------------------------


def _resources(label: str, old: Sequence[Json], new: Sequence[Json]) -> Iterator[Change]:
    for before, after in _pairs(old, new):
        kind = (after or before or {})["resourceType"]
        one, other = dict(_leaves(before, "")), dict(_leaves(after, ""))
        for path in dict.fromkeys([*one, *other]):
            if one.get(path) != other.get(path):
                yield Change(label, f"{kind}{path}", one.get(path, _NOTHING), other.get(path, _NOTHING))


def _pairs(old: Sequence[Json], new: Sequence[Json]) -> Iterator[tuple[Json | None, Json | None]]:
    """The same resource on both sides: by its id, and where a key has changed, by its type and order."""
    mine, theirs = _by_id(old), _by_id(new)
    for reference in mine.keys() & theirs.keys():
        yield mine.pop(reference), theirs.pop(reference)
    kinds = dict.fromkeys(each["resourceType"] for each in (*mine.values(), *theirs.values()))
    for kind in kinds:
        left = [each for each in mine.values() if each["resourceType"] == kind]
        right = [each for each in theirs.values() if each["resourceType"] == kind]
        yield from zip_longest(left, right)


def _by_id(resources: Sequence[Json]) -> dict[str, Json]:
    return {f"{each['resourceType']}/{each['id']}": each for each in resources}


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, f"{path}.{name}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from _leaves(child, f"{path}[{index}]")
    elif node is not None:
        yield path, str(node)


# --- as text ----------------------------------------


def report(files: Mapping[str, Sequence[Change]], items: int) -> Iterable[str]:
    """Per file and item what was and what is; at the end how much of it changed."""
    for name, changes in files.items():
        if not changes:
            continue
        yield name
        item = None
        for change in changes:
            if change.item != item:
                item = change.item
                yield f"  {item}"
            yield f"    {change.where}"
            yield f"      - {change.old}"
            yield f"      + {change.new}"
    changed = sum(1 for changes in files.values() if changes)
    touched = sum(len({change.item for change in changes}) for changes in files.values())
    yield f"{len(files)} files, {items} items: {changed} files and {touched} items differ"
