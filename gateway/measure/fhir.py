"""Reports as FHIR R4: Measure and MeasureReport (clinicalreasoning-quality-reporting.html), DetectedIssue for findings.

What R4 has no element for (the unit of count, what was counted, the parameters, the feed number that the figures rest
on) stands in a contained Parameters resource that the report names as what it evaluated. There are no extensions of
ours, so that a receiver that knows none takes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from gateway.formats.periods import of_number
from gateway.formats.views import KeptFinding
from gateway.measure.measures import Measure, said
from gateway.measure.reports import Line, Number, Report, texts
from gateway.message import LANGUAGES, Json, Language

POPULATION: Final = "http://terminology.hl7.org/CodeSystem/measure-population"
STATEMENT: Final = "statement"
"""The id of the contained Parameters."""

_TRANSLATION: Final = "http://hl7.org/fhir/StructureDefinition/translation"
_SCORING: Final = {
    "proportion": "proportion", "ratio": "ratio", "count": "cohort", "duration": "continuous-variable",
    "findings": "cohort",
}  # fmt: skip
_AMOUNTS: Final = ("numerator", "denominator")
_SEVERITY: Final = {"error": "high", "warning": "moderate", "information": "low"}


def translated(of: Any, language: Language) -> tuple[str, Json]:
    """The text in a language, and the others beside it as translations."""
    others = [
        {"url": _TRANSLATION, "extension": [
            {"url": "lang", "valueCode": other}, {"url": "content", "valueString": said(of, other)},
        ]}
        for other in LANGUAGES if other != language
    ]  # fmt: skip
    return said(of, language), {"extension": others}


def measure_id(measure: Measure) -> str:
    """The id of its Measure resource: the name, if it is one."""
    return measure.name if len(measure.name) <= 64 else hashlib.sha256(measure.name.encode()).hexdigest()[:32]


def measure_resource(measure: Measure, language: Language) -> Json:
    """The Measure: what is counted, by which rule, how it is scored."""
    title, more_titles = translated(measure.title, language)
    counted, more_counted = translated(measure.counted, language)
    made: Json = {
        "resourceType": "Measure",
        "id": measure_id(measure),
        "url": measure.canonical,
        "version": measure.version,
        "name": "".join(part.capitalize() for part in measure.name.split("-")),
        "title": title,
        "_title": more_titles,
        "status": "active",
        "description": counted,
        "_description": more_counted,
        "definition": [said(measure.unit, language)],
    }
    if measure.rule:
        made["relatedArtifact"] = [{"type": "justification", "label": each} for each in measure.rule]
    code = _SCORING[measure.kind]
    made["scoring"] = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/measure-scoring", "code": code}]}
    if measure.better:
        made["improvementNotation"] = _improvement(measure)
    return made


def _improvement(measure: Measure) -> Json:
    code = "increase" if measure.better == "higher" else "decrease"
    return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/measure-improvement-notation", "code": code}]}


def report_id(report: Report) -> str:
    """The same for the same measure, period and unit."""
    words = "\0".join((report.measure.programme, report.measure.name, report.period.label, report.unit))
    return hashlib.sha256(f"report\0{words}".encode()).hexdigest()[:32]


def measure_report(report: Report, language: Language, reporter: str = "gateway") -> Json:
    """The MeasureReport, type summary: one group with the totals, stratified by the grain."""
    measure = report.measure
    made: Json = {
        "resourceType": "MeasureReport",
        "id": report_id(report),
        "contained": [{"resourceType": "Parameters", "id": STATEMENT, "parameter": _statement(report, language)}],
        "status": "complete" if report.day >= report.period.last else "pending",
        "type": "summary",
        "measure": f"{measure.canonical}|{measure.version}",
        "date": report.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "reporter": {"display": reporter},
        "period": {"start": report.period.first.isoformat(), "end": report.period.last.isoformat()},
    }
    if report.unit:
        made["subject"] = {"display": report.unit}
    if measure.better:
        made["improvementNotation"] = _improvement(measure)
    made["group"] = [_group(report, language)]
    made["evaluatedResource"] = [{"reference": f"#{STATEMENT}"}]
    return made


def _statement(report: Report, language: Language) -> list[Json]:
    """What stands beside the figures, each by its name."""
    measure = report.measure
    texts_ = {
        "title": said(measure.title, language),
        "unit": said(measure.unit, language),
        "counted": said(measure.counted, language),
        "feed": str(report.feed),
        "digest": measure.digest,
        "period": report.period.label,
        **{f"parameter.{name}": str(value) for name, value in report.parameters.items()},
    }
    made: list[Json] = [{"name": name, "valueString": text} for name, text in texts_.items() if text]
    made.append({"name": "as-of", "valueDate": report.day.isoformat()})
    if measure.target is not None:
        made.append({"name": "target", "valueDecimal": measure.target})
    total = report.total or Line(())
    for name in ("numerator", "denominator"):
        amount = getattr(total, name)
        if isinstance(amount, float):
            made.append({"name": f"total.{name}", "valueDecimal": amount})
    return made


def _group(report: Report, language: Language) -> Json:
    measure = report.measure
    if measure.kind == "findings":
        by_code: dict[str, int] = {}
        for each in report.findings:
            by_code[each.code] = by_code.get(each.code, 0) + 1
        made: Json = {"population": [_population("numerator", len(report.findings))]}
        if by_code:
            stratum = [
                {"value": {"text": code}, "population": [_population("numerator", count)]}
                for code, count in sorted(by_code.items())
            ]
            made["stratifier"] = [{"code": [{"text": "code"}], "stratum": stratum}]
        return made
    total = report.total or Line((), 0 if measure.kind != "duration" else None, 0)
    made = _counted(report, total, language)
    if measure.grain and report.lines:
        columns = [{"text": name} for name in measure.grain]
        stratum = [_stratum(report, line, language) for line in report.lines]
        made["stratifier"] = [{"code": columns, "stratum": stratum}]
    return made


def _stratum(report: Report, line: Line, language: Language) -> Json:
    """A line. Further columns, and counts that are not whole, are components beside the grain."""
    named = {**dict(zip(report.measure.grain, line.grain, strict=True)), **line.further}
    named |= {name: getattr(line, name) for name in _AMOUNTS if isinstance(getattr(line, name), float)}
    made: Json = {}
    if len(named) == 1:
        made["value"] = {"text": _text(next(iter(named.values())))}
    else:
        made["component"] = [{"code": {"text": name}, "value": {"text": _text(value)}} for name, value in named.items()]
    return {key: value for key, value in (made | _counted(report, line, language)).items() if value}


def _text(value: Any) -> str:
    return "–" if value is None or value == "" else str(value)


def _counted(report: Report, line: Line, language: Language) -> Json:
    measure = report.measure
    found: list[Json] = []
    if measure.kind in ("proportion", "ratio", "count"):
        found.append(_population("numerator", line.numerator))
    if measure.kind != "count":
        code = "measure-population" if measure.kind == "duration" else "denominator"
        found.append(_population(code, line.denominator))
    for reason, number in line.excluded.items():
        one = _population("denominator-exclusion", number)
        text = said(measure.excluded[reason], language)
        system = f"{measure.canonical}/exclusions"
        one["code"]["coding"].append({"system": system, "code": reason, "display": text})
        one["code"]["text"] = text
        found.append(one)
    made: Json = {"population": found}
    score = line.score(measure.kind)
    if score is not None:
        made["measureScore"] = {"value": round(score, 6)}
        if measure.kind == "duration":
            made["measureScore"]["unit"] = said(measure.unit, language)
    return made


def _population(code: str, number: Number) -> Json:
    made: Json = {"code": {"coding": [{"system": POPULATION, "code": code}]}}
    if isinstance(number, int):
        made["count"] = number
    return made


# --- findings ----------------------------------------


def detected_issue(measure: Measure, found: KeptFinding, language: Language) -> Json:
    """A finding as a DetectedIssue."""
    said_, mend = texts(measure, found), texts(measure, found, "mend")
    made: Json = {
        "resourceType": "DetectedIssue",
        "id": found.id,
        "identifier": [{"system": f"{measure.canonical}/findings", "value": found.id}],
        "status": "final",
        "code": {"coding": [{"system": f"{measure.canonical}/codes", "code": found.code}]},
        "severity": _SEVERITY[measure.finding[found.code].severity],
        "identifiedDateTime": of_number(found.due_day).isoformat(),
        "implicated": [
            {"identifier": {"system": f"{measure.canonical}/{name}", "value": value}}
            for name, value in (("subject", found.subject), ("place", found.place))
            if value
        ],
        "detail": said_[language],
        "mitigation": [{"action": {"text": mend[language]}}],
    }
    return made


def bundle(reports: Sequence[Report], language: Language) -> Json:
    """Reports on demand as one Bundle: each MeasureReport, its Measure, its findings."""
    resources: dict[str, Json] = {}
    for report in reports:
        for each in resources_of(report, language):
            resources[f"{each['resourceType']}/{each['id']}"] = each
    entries = [{"resource": each} for each in resources.values()]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries} if entries else {
        "resourceType": "Bundle", "type": "collection",
    }  # fmt: skip


def resources_of(report: Report, language: Language) -> list[Json]:
    """The resources of one report."""
    issues = [detected_issue(report.measure, each, language) for each in report.findings]
    return [measure_report(report, language), measure_resource(report.measure, language), *issues]


def composition(id: str, kind: str, title: str, reports: Sequence[Report], base: str, language: Language) -> Json:
    """What comes first in a document: a section for each report, which names its resources."""
    sections = []
    for report in reports:
        names = [f"{each['resourceType']}/{each['id']}" for each in resources_of(report, language)]
        sections.append(
            {
                "title": said(report.measure.title, language),
                "entry": [{"reference": f"{base}/{name}"} for name in names],
            }
        )
    return {
        "resourceType": "Composition",
        "id": id,
        "status": "final",
        "type": {"coding": [{"system": f"{base}/CodeSystem/reports", "code": kind}], "text": title},
        "date": reports[0].at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "author": [{"display": "gateway"}],
        "title": title,
        "section": sections,
    }
