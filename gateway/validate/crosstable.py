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


class Years(msgspec.Struct, frozen=True):
    """Full years between the first values of two expressions."""

    begins: Compiled
    ends: Compiled

    def text(self, resource: Any, env: Environment) -> str:
        """The number; empty where one of the dates is missing or is no whole day."""
        begins, ends = _text(self.begins, resource, env), _text(self.ends, resource, env)
        if len(begins) < 10 or len(ends) < 10 or ends[:10] < begins[:10]:
            return ""
        birthday_to_come = ends[5:10] < begins[5:10]
        return str(int(ends[:4]) - int(begins[:4]) - int(birthday_to_come))


class Among(msgspec.Struct, frozen=True):
    """A compiled test, used like a compiled expression."""

    table: RangeTable
    columns: Mapping[str, Compiled | Years]
    forbidden: bool

    def boolean(self, resource: Any, env: Environment) -> bool:
        """Whether the values go together."""
        values = {name: _value(each, resource, env) for name, each in self.columns.items()}
        if self.forbidden:
            return self.table.find(values) is None
        return "" in values.values() or self.table.find(values) is not None


def _value(each: Compiled | Years, resource: Any, env: Environment) -> str:
    return each.text(resource, env) if isinstance(each, Years) else _text(each, resource, env)


def _text(expression: Compiled, resource: Any, env: Environment) -> str:
    found = expression(resource, env)
    return str(found[0]) if found else ""
