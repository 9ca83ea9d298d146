"""Media types that are accepted at the door, and the format that reads each."""

from __future__ import annotations

from typing import Final

HL7V2: Final = "application/hl7-v2"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ZIP: Final = "application/zip"  # CSV files, one a sheet
JSON: Final = "application/json"
FHIR_JSON: Final = "application/fhir+json"
XML: Final = "application/xml"
FHIR_XML: Final = "application/fhir+xml"

FORMAT: Final[dict[str, str]] = {
    HL7V2: "hl7v2",
    "x-application/hl7-v2+er7": "hl7v2",
    "application/edi-hl7": "hl7v2",
    CSV: "table",
    TSV: "table",
    XLSX: "table",
    ZIP: "table",
    JSON: "json",
    FHIR_JSON: "fhir",
    XML: "xml",
    "text/xml": "xml",
    FHIR_XML: "fhir",
}
"""Accepted media type (without parameters, lower case) -> name of the format."""
