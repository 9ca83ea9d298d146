"""Tumours of one person: possible duplicates and possible multiple primaries, told and never decided.

The international rules of IARC and IACR for ICD-O-3: one tumour where site and histology belong to one group each;
systemic ones count once, whatever the site; an unspecified histology of the same family is no other histology. The
groups are two tables of ranges (`formats/ranges.py`): `group` of sites; `group`, `family`, `nos` and `systemic` of
morphologies (family "any": of any).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final, Literal, NamedTuple

from gateway.formats.ranges import RangeTable
from gateway.formats.text import fold

Row = Mapping[str, object]
Kind = Literal["duplicate", "multiple-primary", "unclear"]
UNSPECIFIED_SITE: Final = "C80"


class Plan(NamedTuple):
    """Which fields say who and what. `person`: sets of fields; equal in one of them is the same person."""

    person: Sequence[Sequence[str]]
    id: str
    site: str
    morphology: str
    sites: RangeTable
    morphologies: RangeTable


class Pair(NamedTuple):
    """Two rows of one person by their ids, what they may be, and by which fields the person is the same."""

    kind: Kind
    first: str
    second: str
    by: str


def pairs(rows: Iterable[Row], plan: Plan) -> Iterator[Pair]:
    """Every pair of different rows about one person, in the order of the rows."""
    told: set[tuple[str, str]] = set()
    for fields in plan.person:
        groups: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            key = tuple(fold(str(row.get(name) or "")) for name in fields)
            if all(key):
                groups.setdefault(key, []).append(row)
        for group in groups.values():
            for one, other in combinations(group, 2):
                names = (str(one.get(plan.id)), str(other.get(plan.id)))
                if names not in told and names[0] != names[1]:
                    told.add(names)
                    yield Pair(compare(one, other, plan), *names, " ".join(fields))


def compare(one: Row, other: Row, plan: Plan) -> Kind:
    """What two tumours of one person may be."""
    histology = _histology(_text(one, plan.morphology), _text(other, plan.morphology), plan.morphologies)
    if histology is not None:
        return histology
    sites = [_site(_text(each, plan.site), plan.sites) for each in (one, other)]
    if sites[0] == sites[1]:
        return "duplicate"
    return "unclear" if UNSPECIFIED_SITE in sites or "" in sites else "multiple-primary"


def _histology(one: str, other: str, table: RangeTable) -> Kind | None:
    """Decided by histology alone, or None where the site decides."""
    found = [table.find({"morphology": each[:4]}) for each in (one, other)]
    first, second = found
    if first is None or second is None:
        return "unclear"
    if "any" in (first["family"], second["family"]):
        return None
    same = first["group"] == second["group"]
    similar = first["family"] == second["family"] and "yes" in (first["nos"], second["nos"])
    if not same and not similar:
        return "multiple-primary"
    return "duplicate" if first["systemic"] == "yes" == second["systemic"] else None


def _site(text: str, table: RangeTable) -> str:
    """The group of a site; C50.4, C504 and 504 are one."""
    digits = text.upper().removeprefix("C").replace(".", "")[:2]
    if len(digits) < 2:
        return ""
    row = table.find({"topography": f"C{digits}"})
    return row["group"] if row else f"C{digits}"


def _text(row: Row, name: str) -> str:
    return str(row.get(name) or "")
