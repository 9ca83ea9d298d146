"""What goes wrong in an expression, and where."""

from __future__ import annotations

from typing import Final

from gateway.errors import Misconfigured

SYNTAX: Final = "GW-FHIRPATH-001"
MEANING: Final = "GW-FHIRPATH-002"
EVALUATION: Final = "GW-FHIRPATH-003"
LIMIT: Final = "GW-FHIRPATH-004"


class FhirPathError(Misconfigured):
    """An expression that cannot be compiled, or cannot be evaluated on this input.

    Names the expression, the position in it (characters, counted from 0) and what is wrong. The detail never holds
    text from the input.
    """

    default = EVALUATION

    def __init__(self, code: str, expression: str, position: int, detail: str) -> None:
        super().__init__(code, expression=expression, position=str(position), detail=detail)
        self.expression = expression
        self.position = position
        self.detail = detail

    def __reduce__(self) -> tuple[type[FhirPathError], tuple[str, str, int, str]]:
        return type(self), (self.code, self.expression, self.position, self.detail)

    def __str__(self) -> str:
        return f"{self.code} at {self.position} of {self.expression!r}: {self.detail}"


class Fault(Exception):
    """Raised inside an evaluation; leaves the package as `FhirPathError` with expression and position."""

    def __init__(self, detail: str, at: int | None = None, code: str = EVALUATION) -> None:
        super().__init__(detail)
        self.detail = detail
        self.at = at
        self.code = code


class LimitFault(Fault):
    """An evaluation grew past what one evaluation may use."""

    def __init__(self, detail: str, at: int | None = None) -> None:
        super().__init__(detail, at, LIMIT)
