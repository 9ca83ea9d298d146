"""Code tables and fact tables: CSV files or ConceptMaps beside the mappings, read once at start.

A **code table** has the columns `source, system, code, display, valid_from, valid_to`; one source code may stand
several times with different days. A **fact table** has key columns, marked by `*` before the name, and value
columns; an empty key cell stands for any value; with the columns `valid_from, valid_to` it is dated too. Days are
ISO 8601, inclusive; an empty one is open.
Text is compared after folding (Persian and Arabic letter forms, digits, white space), never changed by it.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import GatewayError
from gateway.formats import json, valueset
from gateway.formats.text import fold

_CODE_COLUMNS = {"source", "system", "code", "display", "valid_from", "valid_to"}


class Row(msgspec.Struct, frozen=True):
    """One translation of a code table."""

    source: str
    system: str
    code: str
    display: str = ""
    valid_from: str = ""
    valid_to: str = ""

    def on(self, day: str) -> bool:
        """Whether the row holds on that day."""
        return (not self.valid_from or self.valid_from <= day) and (not self.valid_to or day <= self.valid_to)

    def coding(self) -> dict[str, Any]:
        """The target as a FHIR Coding."""
        made = {"system": self.system, "code": self.code, "display": self.display}
        return {name: value for name, value in made.items() if value}


class CodeTable:
    """Source code -> target, by day."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        self.name = name
        self._rows: dict[str, list[Row]] = {}
        self._exact: dict[str, list[Row]] = {}
        self._targets: dict[str, Row] = {}
        for row in rows:
            self._rows.setdefault(fold(row.source), []).append(row)
            self._exact.setdefault(row.source, []).append(row)
            self._targets.setdefault(row.code, row)
        # of several sources with one target the first is the usual one: the target tells it, and no other
        self._usual: dict[tuple[str, str], str] = {}
        for row in rows:
            self._usual.setdefault((row.system, row.code), row.source)

    def find(self, source: str, day: str, overlay: Mapping[str, str] | None = None) -> Row | None:
        """The row that holds on that day. The sender's overlay names a target code of this table."""
        if overlay is not None and source in overlay:
            return self._targets.get(overlay[source])
        rows = self._exact.get(source) or self._rows.get(fold(source)) or ()
        for row in rows:
            if row.on(day):
                return row
        return None

    def tells(self, row: Row) -> bool:
        """Whether the target still tells the source code: it does for the first source that leads to it."""
        return self._usual[row.system, row.code] == row.source

    def usual(self) -> tuple[str, ...]:
        """One source for each meaning, in the order of the file: what a list offers to people."""
        return tuple(self._usual.values())

    def nearest(self, source: str) -> list[str]:
        """At most five source codes of the table that look like it, else the first ones of the table."""
        known = [rows[0].source for rows in self._rows.values()]
        near = difflib.get_close_matches(source, known, n=5, cutoff=0.5)
        return near or known[:5]


class FactTable:
    """Key columns -> values. The most specific row wins: one without empty key cells before one with them."""

    def __init__(self, name: str, keys: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
        self.name = name
        self.keys = tuple(keys)
        self.columns = frozenset(rows[0]) - set(keys) if rows else frozenset[str]()
        self._rows: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
        for row in reversed(rows):  # of two rows that hold on one day, the later of the file
            self._rows.setdefault(tuple(fold(row[key]) for key in keys), []).append(row)

    def find(self, keys: Sequence[str], day: str = "") -> Mapping[str, str] | None:
        """The row of these key values that holds on the day, missing keys being empty. Without a day: any."""
        wanted = [fold(key) for key in keys] + [""] * (len(self.keys) - len(keys))
        for mask in _masks(len(wanted)):
            rows = self._rows.get(tuple(value if keep else "" for value, keep in zip(wanted, mask, strict=True)))
            for row in rows or ():
                if not day or (
                    (row.get("valid_from") or "") <= day and (not row.get("valid_to") or day <= row["valid_to"])
                ):
                    return row
        return None


@cache
def _masks(length: int) -> list[tuple[bool, ...]]:
    """Which key cells are looked at, the most specific first."""
    numbers = sorted(range(2**length), key=lambda n: (-n.bit_count(), -n))
    return [tuple(bool(n >> (length - 1 - i) & 1) for i in range(length)) for n in numbers]


def _grouping(system: str, concept: Mapping[str, Any]) -> dict[str, Any]:
    made = {"system": system, "code": concept["code"], "display": concept.get("display", "")}
    return {**{name: value for name, value in made.items() if value}, "userSelected": False}


_CODES: Final = 10_000
"""The groups of so many codes are remembered."""


class Groups:
    """Sets of codes that have a common name: the codes of one CodeSystem, each with its ValueSet `NAME-CODE`."""

    def __init__(self, name: str, system: Mapping[str, Any], sets: Mapping[str, Mapping[str, Any]]) -> None:
        self.name = name
        self._by_url = {str(each.get("url")): each for each in sets.values()}
        concepts = [each for each in system.get("concept", ()) if f"{name}-{each['code']}" in sets]
        self._rows = [(_grouping(system["url"], each), sets[f"{name}-{each['code']}"]) for each in concepts]
        self._places = lru_cache(_CODES)(self._search)

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, system: str, code: str) -> list[dict[str, Any]]:
        """Every group that the code belongs to, as Codings that nobody has chosen (userSelected is false)."""
        return [dict(self._rows[at][0]) for at in self._places(system, code)]

    def _search(self, system: str, code: str) -> tuple[int, ...]:
        rows = enumerate(self._rows)
        return tuple(at for at, (_, held) in rows if valueset.holds(dict(held), system, code, self._find))

    def _find(self, url: str) -> dict[str, Any] | None:
        found = self._by_url.get(url.partition("|")[0])
        return None if found is None else dict(found)


def groups(folder: Path) -> dict[str, Groups]:
    """The groups of a folder of definitions, by the id of their CodeSystem."""
    try:
        sets = {path.stem.removeprefix("ValueSet-"): json.read(path.read_bytes()) for path in folder.glob("ValueSet-*")}
        made = [
            Groups(path.stem.removeprefix("CodeSystem-"), json.read(path.read_bytes()), sets)
            for path in sorted(folder.glob("CodeSystem-*.json"))
        ]
    except (OSError, GatewayError, KeyError, TypeError) as error:
        raise BadTable(f"{folder.name}: {error}") from None
    return {each.name: each for each in made if len(each)}


class BadTable(Exception):
    """The file is not a table; the message says why."""


def read(path: Path) -> CodeTable | FactTable:
    """The table of a file (CSV, or a FHIR R4 ConceptMap as JSON), or `BadTable`."""
    return _concept_map(path) if path.suffix == ".json" else _csv(path)


_NO_TARGET: Final = frozenset({"unmatched", "disjoint"})


def _concept_map(path: Path) -> CodeTable:
    """Codes of one source system (or of none); targets that are no translation are left out."""
    try:
        found = json.read(path.read_bytes())
        rows = [
            Row(element["code"], group.get("target", ""), target["code"], target.get("display", ""))
            for group in found["group"]
            for element in group["element"]
            for target in element.get("target", ())
            if target.get("equivalence") not in _NO_TARGET and "code" in target
        ]
    except (OSError, GatewayError) as error:
        raise BadTable(f"{path.name}: {error}") from None
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError):
        raise BadTable(f"{path.name}: not a ConceptMap with groups, elements and targets") from None
    return CodeTable(path.stem, rows)


def _csv(path: Path) -> CodeTable | FactTable:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadTable(f"{path.name}: {error}") from None
    reader = csv.DictReader(io.StringIO(text), strict=True)
    columns = reader.fieldnames or []
    try:
        rows = list(reader)
    except csv.Error as error:
        raise BadTable(f"{path.name}: {error}") from None
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise BadTable(f"{path.name}, line {number}: not {len(columns)} cells")
    keys = [column[1:] for column in columns if column.startswith("*")]
    if keys:
        return FactTable(path.stem, keys, [{name.lstrip("*"): cell for name, cell in row.items()} for row in rows])
    if set(columns) != _CODE_COLUMNS:
        raise BadTable(f"{path.name}: the columns must be {', '.join(sorted(_CODE_COLUMNS))}, or keys marked by *")
    return CodeTable(path.stem, [Row(**row) for row in rows])
