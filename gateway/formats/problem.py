"""What a check of one value answers: nothing, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway import errors
from gateway.message import Finding, Place, Severity


class Problem(msgspec.Struct, frozen=True):
    """A code of the table with its arguments; becomes a finding where the place is known. Bad input never raises."""

    code: str
    args: Mapping[str, str] = {}

    @property
    def severity(self) -> Severity:
        return errors.codes()[self.code].severity

    def finding(self, place: Place | None = None, location: str | None = None) -> Finding:
        """The same, at its place."""
        return errors.finding(self.code, place, location, **self.args)
