"""What a programme is, as data: `mappings/<programme>/programme.toml`, read once, typed, frozen.

A programme is added by writing files; no Python knows its name. This file only gives the data its shape.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from gateway.errors import Misconfigured
from gateway.message import Language
from gateway.settings import Part


class Intake(Part, frozen=True, kw_only=True):
    """Which mapping reads which input. The first entry that matches is taken."""

    format: str  # "hl7v2", "table", "json", "xml", "fhir"
    mapping: str  # file in the programme's folder
    message: tuple[str, ...] = ()  # HL7: "ADT^A03", "DFT^P03"; "*" for any
    when: str = ""  # JSON: "$.kind = stay"; table: a column that must be there; XML: root element
    split: str = ""  # JSON and XML: a path ("$.data") whose every member is an item by itself
    sheets: tuple[str, ...] = ()  # table: the sheets that it reads, where several intakes share a workbook
    tells: Mapping[str, str] = msgspec.field(default_factory=dict)  # a CSV with this column is the sheet of this name


class Completion(Part, frozen=True, kw_only=True):
    """What completes a case: every named part present (each alternative is a set; one must be there)."""

    parts: tuple[tuple[str, ...], ...]


class CasePlan(Part, frozen=True, kw_only=True):
    """One kind of case. `expires_after` is an ISO 8601 duration (P30D); empty: it waits, counted and aged."""

    kind: str
    complete: Completion
    expires_after: str = ""
    at_limit: Literal["expire", "complete"] = "expire"  # a time limit may also be what completes it


class DocumentPlan(Part, frozen=True, kw_only=True):
    """How a complete case becomes one document Bundle."""

    kind: str  # the case kind
    bundle: str = "collection"  # or "message"; for scheduled reports also "document"
    event: str = ""  # MessageHeader.eventCoding "system|code" for messages
    profile: str = ""
    source_name: str = "gateway"
    endpoint: str = "urn:gateway"
    derived: str = ""  # an output mapping that makes further resources from the whole case: {"resources": […]}


_Plan = TypeVar("_Plan", CasePlan, DocumentPlan)


class Route(Part, frozen=True, kw_only=True):
    """Where documents of a case kind go. Days are ISO dates, inclusive, judged on the document's day."""

    kind: str
    destination: str
    valid_from: str | None = None
    valid_to: str | None = None
    when: str = ""  # FHIRPath on the document Bundle; empty: always
    optional: bool = False  # an installation without a [[destination]] of that id owes it nothing


class Title(Part, frozen=True, kw_only=True):
    """The name in the four languages."""

    en: str
    fa: str
    it: str
    zh: str


class CalendarPlan(Part, frozen=True, kw_only=True):
    """Working days and how days are written. Weekdays are ISO: 1 Monday to 7 Sunday."""

    weekend: tuple[int, ...] = (6, 7)
    week_starts: int = 1
    holidays: str = ""  # CSV in the programme's folder: day, and working = 1 for a weekend day that is worked
    calendar: Literal["gregorian", "jalali"] = "gregorian"
    evaluate_after: str = "PT1H"  # after local midnight: when what fell due on the day before is looked for


class SchedulePlan(Part, frozen=True, kw_only=True):
    """A report that is due when a period has ended. `unit` is a grain column: one document for each of its values."""

    name: str
    kind: str  # of case and document: has a [[document]] and [[route]]s
    measures: tuple[str, ...]
    period: Literal["day", "week", "month", "quarter", "half-year", "year", "dates"] = "month"
    calendar: Literal["gregorian", "jalali"] | None = None  # None: the programme's
    unit: str = ""
    after: str = "P0D"
    valid_from: str = ""  # ISO day: periods that begin earlier are not reported; empty: from the first start on
    valid_to: str = ""
    on: tuple[str, ...] = ()  # "dates": the period ends the day before each of these


class Programme(Part, frozen=True, kw_only=True):
    """The whole file, with the folder it came from."""

    name: str
    title: Title
    language: Language
    timezone: str
    intake: tuple[Intake, ...]
    case: tuple[CasePlan, ...]
    document: tuple[DocumentPlan, ...]
    route: tuple[Route, ...]
    canonical: str = "https://gateway.invalid/fhir"  # base of our draft profiles; configurable by design
    calendar: CalendarPlan = CalendarPlan()
    schedule: tuple[SchedulePlan, ...] = ()
    profiles: tuple[str, ...] = ()  # further folders under profiles/ to load
    folder: str = ""

    def case_plan(self, kind: str) -> CasePlan:
        """The plan of that kind of case, or `Misconfigured`."""
        return _of_kind(self.case, kind, f"programme {self.name} has no case of kind {kind!r}")

    def document_plan(self, kind: str) -> DocumentPlan:
        """How that kind of case becomes a document, or `Misconfigured`."""
        return _of_kind(self.document, kind, f"programme {self.name} has no document for cases of kind {kind!r}")


def _of_kind(plans: Iterable[_Plan], kind: str, missing: str) -> _Plan:
    for plan in plans:
        if plan.kind == kind:
            return plan
    raise Misconfigured(detail=missing)


def load(home: Path, name: str) -> Programme:
    """The programme of that name under `home/mappings`, or `Misconfigured` naming what is wrong."""
    folder = home / "mappings" / name
    try:
        raw = tomllib.loads((folder / "programme.toml").read_text(encoding="utf-8"))
        raw["folder"] = str(folder)
        found = msgspec.convert(raw, Programme)
    except OSError as error:
        raise Misconfigured(detail=f"programme {name}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(detail=f"{folder / 'programme.toml'}: {error}") from None
    if found.name != name:
        raise Misconfigured(detail=f"{folder / 'programme.toml'}: name is {found.name!r}, the folder is {name!r}")
    return found
