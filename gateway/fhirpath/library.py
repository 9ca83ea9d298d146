"""All functions of the language, by name."""

from __future__ import annotations

from typing import Final

from gateway.fhirpath import (
    functions_collections,
    functions_convert,
    functions_fhir,
    functions_filters,
    functions_math,
    functions_strings,
)
from gateway.fhirpath.registry import Function

FUNCTIONS: Final[dict[str, Function]] = {
    **functions_collections.FUNCTIONS,
    **functions_filters.FUNCTIONS,
    **functions_strings.FUNCTIONS,
    **functions_math.FUNCTIONS,
    **functions_convert.FUNCTIONS,
    **functions_fhir.FUNCTIONS,
}
