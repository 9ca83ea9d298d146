"""Findings as a FHIR OperationOutcome, in the reader's language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.errors import mend, text
from gateway.formats import json
from gateway.message import Finding, Json, Language

SYSTEM = "https://gateway.invalid/fhir/CodeSystem/finding"
PLACE = "https://gateway.invalid/fhir/StructureDefinition/sender-place"


def issue(finding: Finding, language: Language) -> Json:
    """One issue: severity and code never depend on the language."""
    made: Json = {
        "severity": finding.severity,
        "code": finding.issue,
        "details": {
            "coding": [{"system": SYSTEM, "code": finding.code}],
            "text": text(finding, language),
        },
    }
    advice = mend(finding, language)
    if advice:
        made["diagnostics"] = advice
    if finding.location:
        made["expression"] = [finding.location]
    if finding.place is not None:
        made["extension"] = [{"url": PLACE, "valueString": f"{finding.place.notation} {finding.place.path}"}]
    return made


def outcome(findings: Sequence[Finding], language: Language = "en") -> Json:
    """An OperationOutcome; without findings one that says that all is well."""
    # The typed layer takes a quarter of a second and 30 MiB to import: only who shows an outcome pays for it.
    from fhir.resources.R4B.operationoutcome import OperationOutcome

    issues: list[Any] = [issue(each, language) for each in findings]
    if not issues:
        issues = [{"severity": "information", "code": "informational", "details": {"text": _WELL[language]}}]
    made = OperationOutcome.model_validate({"resourceType": "OperationOutcome", "language": language, "issue": issues})
    written: Json = json.read(made.model_dump_json().encode())
    return written


_WELL: dict[Language, str] = {
    "en": "No findings.",
    "fa": "یافته‌ای نیست.",
    "it": "Nessun rilievo.",
    "zh": "没有发现问题。",
}
