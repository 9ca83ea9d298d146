"""FHIRPath (normative 2.0.0, with R4's additions): expressions compiled to Python closures.

    >>> from gateway.fhirpath import compile
    >>> phone = compile("telecom.where(system = 'phone').value")
    >>> phone({"resourceType": "Patient", "telecom": [{"system": "phone", "value": "1"}]})
    ['1']

Pure: no clock, no network, no tables but those of the `Environment`. Every evaluation is bounded.
"""

from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.engine import Compiled, compile, node  # noqa: A004
from gateway.fhirpath.environment import Environment
from gateway.fhirpath.faults import FhirPathError
from gateway.fhirpath.model import Element, StructureModel, TypeModel
from gateway.fhirpath.nodes import Node
from gateway.fhirpath.parser import parse
from gateway.fhirpath.quantities import Quantity

__all__ = [
    "Compiled",
    "Element",
    "Environment",
    "FhirPathError",
    "Node",
    "Quantity",
    "StructureModel",
    "Temporal",
    "TypeModel",
    "compile",
    "node",
    "parse",
]
