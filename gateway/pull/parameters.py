"""Search parameters, compiled from their definitions by FHIRPath into what the store indexes.

The definitions are those of the core pack and of each programme's folder (`profiles/<programme>/SearchParameter-*`):
a programme adds a parameter by writing a file. Parameters whose kind or expression cannot be indexed (`composite`,
`special`, and those without an expression) are not offered, so the capability statement lists what really works.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.errors import GatewayError, Misconfigured
from gateway.fhirpath import Compiled, Environment, FhirPathError, StructureModel, compile  # noqa: A004
from gateway.formats import json
from gateway.formats.search import IndexRow, Kind, ReferenceRow
from gateway.message import Json, StoredResource
from gateway.pull import extract

VERSION: Final = "1"
"""Of the extraction; another one makes every store index again."""

TYPES: Final = (
    "Account", "ActivityDefinition", "AdverseEvent", "AllergyIntolerance", "Appointment", "AppointmentResponse",
    "Basic", "BodyStructure", "CarePlan", "CareTeam", "ChargeItem", "ChargeItemDefinition", "Claim", "ClaimResponse",
    "ClinicalImpression", "Communication", "CommunicationRequest", "Composition", "Condition", "Consent", "Contract",
    "Coverage", "CoverageEligibilityRequest", "CoverageEligibilityResponse", "DetectedIssue", "Device",
    "DeviceRequest", "DeviceUseStatement", "DiagnosticReport", "DocumentManifest", "DocumentReference", "Encounter",
    "Endpoint", "EnrollmentRequest", "EnrollmentResponse", "EpisodeOfCare", "ExplanationOfBenefit",
    "FamilyMemberHistory", "Flag", "Goal", "Group", "GuidanceResponse", "HealthcareService", "ImagingStudy",
    "Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation", "InsurancePlan", "Invoice", "List",
    "Location", "Measure", "MeasureReport", "Media", "Medication", "MedicationAdministration", "MedicationDispense",
    "MedicationRequest", "MedicationStatement", "NutritionOrder", "Observation", "Organization",
    "OrganizationAffiliation", "Patient", "PaymentNotice", "PaymentReconciliation", "Person", "PlanDefinition",
    "Practitioner", "PractitionerRole", "Procedure", "Provenance", "Questionnaire", "QuestionnaireResponse",
    "RelatedPerson", "RequestGroup", "RiskAssessment", "Schedule", "ServiceRequest", "Slot", "Specimen",
    "SupplyDelivery", "SupplyRequest", "Task", "VisionPrescription",
)  # fmt: skip
"""The resources that are offered. Others are kept and delivered, but nobody can ask for them."""

KINDS: Final[Mapping[str, Kind]] = {
    "token": "token",
    "string": "string",
    "reference": "reference",
    "date": "date",
    "number": "number",
    "quantity": "number",
    "uri": "token",
}
"""Where the rows of each kind of parameter are kept."""

DOCUMENT: Final = "_document"
"""Our own parameter of every type: the signed document that carried the version, as a Binary."""

_RESULT: Final = frozenset({"_id", "_lastUpdated"})  # of every version; the store has them without an index
_RESOURCE: Final = ("_profile", "_tag", "_security", "_source")
_ALWAYS: Final = re.compile(r"\b(and|or|not|exists|empty|count)\b|!=")
_NOT_OFFERED: Final = frozenset({"phonetic"})  # needs a sound, and would only compare letters
_HEAD: Final = re.compile(r"^\(?\s*[A-Za-z]+\.([a-z]\w*)")


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One search parameter of one type. `key` is its name in the index: "Patient.identifier"."""

    type: str
    code: str
    kind: str  # as FHIR calls it
    url: str
    expression: str = ""
    targets: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.type}.{self.code}"


class _Way(msgspec.Struct, frozen=True):
    """One compiled expression, and the element that must be there for it to find anything."""

    parameter: Parameter
    run: Compiled
    needs: str


def _alternatives(expression: str) -> list[str]:
    """The parts of a union, split where no bracket or quote is open."""
    parts, depth, quoted, start = [], 0, False, 0
    for place, mark in enumerate(expression):
        if mark == "'":
            quoted = not quoted
        elif not quoted and mark in "()":
            depth += 1 if mark == "(" else -1
        elif not quoted and depth == 0 and mark == "|":
            parts.append(expression[start:place].strip())
            start = place + 1
    return [*parts, expression[start:].strip()]


def _for_type(expression: str, type: str) -> str:
    """What of a union concerns the type: the definitions that several types share name them all."""
    named = re.compile(rf"^\(*\s*(?:{type}|Resource|DomainResource)\b")
    return " | ".join(each for each in _alternatives(expression) if named.match(each))


def _resolve(reference: str) -> Json | None:
    """`resolve() is Patient` asks for the type alone, and a relative reference says it."""
    found = extract.target(reference)
    return {"resourceType": found[0], "id": found[1]} if found and found[0] else None


_ENVIRONMENT: Final = Environment(resolve=_resolve)


class Definitions:
    """What is registered: the types, their parameters, and the compiled index of each (`ports.Indexer`)."""

    def __init__(
        self,
        model: StructureModel,
        definitions: Iterable[Json],
        types: Sequence[str] = TYPES,
        mandatory: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        self.model = model
        self._mandatory = mandatory or {}
        self.types = tuple(types)
        self._by_type: dict[str, dict[str, Parameter]] = {each: _own(each) for each in self.types}
        summed = hashlib.sha256(VERSION.encode())
        for each in definitions:
            for type in _bases(each, self.types):
                self._add(each, type)
        for found in self._by_type.values():
            for parameter in found.values():
                summed.update(f"{parameter.key}\0{parameter.kind}\0{parameter.expression}\n".encode())
        self.digest = summed.hexdigest()
        self._ways: dict[str, tuple[_Way, ...]] = {}

    def _add(self, definition: Json, type: str) -> None:
        kind, code = definition.get("type", ""), definition.get("code", "")
        expression = _for_type(definition.get("expression", ""), type)
        if kind not in KINDS or not expression or code in _RESULT or code in _NOT_OFFERED:
            return
        if code.startswith("_") and code not in _RESOURCE:
            return
        self._by_type[type][code] = Parameter(
            type=type,
            code=code,
            kind=kind,
            url=str(definition.get("url", "")),
            expression=expression,
            targets=tuple(each for each in definition.get("target", ()) if each in self._by_type),
        )

    def of(self, type: str) -> Mapping[str, Parameter]:
        """The parameters of a registered type by code; empty for another type."""
        return self._by_type.get(type, {})

    def mandatory(self, type: str) -> frozenset[str]:
        """The elements that a resource of the type must have."""
        return self._mandatory.get(type, frozenset())

    def searched(self, type: str) -> frozenset[str]:
        """The elements that parameters look at: what a summary of ours consists of."""
        return frozenset(
            match[1]
            for each in self.of(type).values()
            for part in _alternatives(each.expression)
            if (match := _HEAD.match(part)) and match[1] != "extension"
        )

    def prepare(self) -> None:
        """Compile everything now rather than when the first resource of a type comes."""
        for each in self.types:
            self._compiled(each)

    def _compiled(self, type: str) -> tuple[_Way, ...]:
        found = self._ways.get(type)
        if found is None:
            indexed = [each for each in self.of(type).values() if each.expression]
            found = self._ways[type] = tuple(way for each in indexed for way in self._way(each))
        return found

    def _way(self, parameter: Parameter) -> Iterable[_Way]:
        try:
            run = compile(parameter.expression, self.model, parameter.type)
        except FhirPathError as error:
            raise Misconfigured(detail=f"{parameter.url}: {error}") from None
        if _ALWAYS.search(parameter.expression):  # may have a value where its element is missing
            yield _Way(parameter, run, "")
            return
        heads = {match[1] for part in _alternatives(parameter.expression) if (match := _HEAD.match(part))}
        yield _Way(parameter, run, heads.pop() if len(heads) == 1 else "")

    def __call__(self, resource: StoredResource) -> Sequence[IndexRow]:
        """What of the resource can be searched. One that cannot be read is kept all the same, and not found."""
        ways = self._compiled(resource.type)
        if not ways or resource.deleted:
            return ()
        try:
            value = json.reread(resource.body)
        except GatewayError:
            return ()
        found = list(self.rows(value, ways))
        if resource.document is not None:
            key = f"{resource.type}.{DOCUMENT}"
            found.append(ReferenceRow(parameter=key, type="Binary", id=resource.document))
        return found

    def rows(self, value: Json, ways: Sequence[_Way] | None = None) -> Sequence[IndexRow]:
        """The rows of a resource that was read already."""
        found: list[IndexRow] = []
        names = tuple(value)
        for way in self._compiled(str(value.get("resourceType"))) if ways is None else ways:
            if way.needs and not any(name.startswith(way.needs) for name in names):
                continue
            try:
                items = way.run.nodes(value, _ENVIRONMENT)
            except FhirPathError:  # of this parameter alone: its resource is found by the others
                continue
            for item in items:
                found.extend(extract.rows(way.parameter.kind, way.parameter.key, item))
        return found


def _own(type: str) -> dict[str, Parameter]:
    base = "http://hl7.org/fhir/SearchParameter/Resource-"
    return {
        "_id": Parameter(type=type, code="_id", kind="token", url=base + "id"),
        "_lastUpdated": Parameter(type=type, code="_lastUpdated", kind="date", url=base + "lastUpdated"),
        DOCUMENT: Parameter(type=type, code=DOCUMENT, kind="reference", url="urn:gateway:search:document"),
    }


def _bases(definition: Json, types: Sequence[str]) -> Sequence[str]:
    bases = definition.get("base", ())
    if "Resource" in bases or "DomainResource" in bases:
        return types
    return [each for each in bases if each in types]


# --- reading the definitions ----------------------------------------


def _members(home: Path, name: str) -> Iterable[Any]:
    path = home / "profiles" / "r4" / f"{name}.json.gz"
    try:
        members = json.read_members(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError) as error:
        raise Misconfigured(detail=f"{path}: {type(error).__name__}") from None
    return (json.read(bytes(each)) for each in members.values())


def _of_programme(folder: Path) -> Iterable[Json]:
    for path in sorted(folder.glob("**/SearchParameter-*.json")):
        try:
            yield json.read(path.read_bytes())
        except (OSError, GatewayError) as error:
            raise Misconfigured(detail=f"{path}: {type(error).__name__}") from None


def load(home: Path, programmes: Sequence[str], types: Sequence[str] = TYPES) -> Definitions:
    """Everything registered for these programmes, from the folder that holds `profiles/`. Raises `Misconfigured`."""
    structures = list(_members(home, "structures"))
    model = StructureModel(structures)
    own = [each for name in sorted(programmes) for each in _of_programme(home / "profiles" / name)]
    return Definitions(model, [*_members(home, "searchparameters"), *own], types, _mandatory(structures, types))


def _mandatory(structures: Iterable[Json], types: Sequence[str]) -> Mapping[str, frozenset[str]]:
    return {
        each["type"]: frozenset(
            row["path"].rpartition(".")[2].removesuffix("[x]")
            for row in each["snapshot"]["element"]
            if row.get("min", 0) and row["path"].count(".") == 1
        )
        for each in structures
        if each.get("type") in types and each.get("derivation") != "constraint" and "snapshot" in each
    }
