"""A programme's own reference data for its checks: `mappings/<programme>/reference.csv`, valid in time.

Columns `kind`, `key`, `valid_from`, `valid_to` (ISO days, inclusive, empty: open); every other column that has a value
is a field. What an operator has imported under the same kind and key comes first: this file is what holds otherwise.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import Misconfigured

_OWN: Final = frozenset({"kind", "key", "valid_from", "valid_to"})


class Row(msgspec.Struct, frozen=True):
    """One entry of the file."""

    valid_from: str
    valid_to: str
    data: Mapping[str, str]


Reference = Mapping[str, Mapping[str, tuple[Row, ...]]]
"""By kind and key."""


def load(path: Path) -> Reference:
    """The entries of the file, none where it is missing; `Misconfigured` names the line that cannot be read."""
    if not path.is_file():
        return {}
    found: dict[str, dict[str, tuple[Row, ...]]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        if not set(reader.fieldnames or ()) >= _OWN:
            raise Misconfigured(detail=f"{path}: the columns kind, key, valid_from, valid_to are needed")
        for row in reader:
            if None in row or None in row.values() or not row["kind"] or not row["key"]:
                raise Misconfigured(detail=f"{path}:{reader.line_num}: not a whole row")
            data = {name: cell for name, cell in row.items() if name not in _OWN and cell}
            of_kind = found.setdefault(row["kind"], {})
            entry = Row(row["valid_from"], row["valid_to"], data)
            of_kind[row["key"]] = (*of_kind.get(row["key"], ()), entry)
    return found


def on(reference: Reference, kind: str, key: str, day: str) -> Any:
    """The data of the entry that is valid on the day, or nothing."""
    for row in reference.get(kind, {}).get(key, ()):
        if row.valid_from <= day <= (row.valid_to or "9999"):
            return dict(row.data)
    return None
