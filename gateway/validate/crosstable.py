"""Checks of several values against one another by a table of ranges (`ranges/*.csv` of a programme).

    table: age-site.csv                       # instead of `fhirpath`
    match: forbidden                          # a row that holds is a fault; or required: it is one where none does
    among:
      topography: bodySite.coding.code        # column: FHIRPath, its first value as text
      age: {from: subject.resolve().birthDate, to: onset}     # full years between two dates

A value that is not there decides nothing: a forbidden row with a cell for it does not hold, and where a table is
required the check is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.fhirpath import Compiled, Environment
from gateway.formats.ranges import RangeTable


class Values:
    """What expressions say about one resource, each asked once: many tables ask for the same ones."""

    def __init__(self, resource: Any, env: Environment) -> None:
        self.resource, self.env = resource, env
        self._texts: dict[str, str] = {}

    def text(self, expression: Compiled) -> str:
        """The first value as text; empty where there is none."""
        known = self._texts.get(expression.text)
        if known is None:
            found = expression(self.resource, self.env)
            known = self._texts[expression.text] = str(found[0]) if found else ""
        return known


class Years(msgspec.Struct, frozen=True):
    """Full years between the first values of two expressions."""

    begins: Compiled
    ends: Compiled

    def text(self, values: Values) -> str:
        """The number; empty where one of the dates is missing or is no whole day."""
        begins, ends = values.text(self.begins), values.text(self.ends)
        if len(begins) < 10 or len(ends) < 10 or ends[:10] < begins[:10]:
            return ""
        birthday_to_come = ends[5:10] < begins[5:10]
        return str(int(ends[:4]) - int(begins[:4]) - int(birthday_to_come))


class Among(msgspec.Struct, frozen=True):
    """A compiled test."""

    table: RangeTable
    columns: Mapping[str, Compiled | Years]
    forbidden: bool

    def holds(self, values: Values) -> bool:
        """Whether the values go together."""
        found = {
            name: each.text(values) if isinstance(each, Years) else values.text(each)
            for name, each in self.columns.items()
        }
        if self.forbidden:
            return self.table.find(found) is None
        return "" in found.values() or self.table.find(found) is not None
