"""Reports as files: CSV for programs, workbooks for people. Text that looks like a formula stays text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import openpyxl
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font, PatternFill

from gateway.formats.periods import of_number
from gateway.measure import words
from gateway.measure.measures import said
from gateway.measure.reports import Line, Report, texts
from gateway.message import Language

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SHEET: Final = re.compile(r"[\[\]:*?/\\]")
_HEAD: Final = ("programme", "measure", "rule", "period", "first", "last", "as_of")
_TAIL: Final = ("unit", "counted", "feed", "at")
_FINDING: Final = ("code", "severity", "subject", "place", "due", "text", "mend")
_COUNTS: Final = ("numerator", "denominator", "value", "score")


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        text = _ILLEGAL.sub("", value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value


def rounded(value: Any) -> Any:
    """Six digits behind the point are more than a report needs."""
    return round(value, 6) if isinstance(value, float) else value


def to_csv(reports: Sequence[Report], language: Language) -> bytes:
    """One heading for all measures, one row a line (the last is the total) or finding. UTF-8 with a signature."""
    grain = list(dict.fromkeys(name for report in reports for name in report.measure.grain))
    reasons = list(dict.fromkeys(f"excluded_{reason}" for report in reports for reason in report.excluded))
    further = [
        name for name in dict.fromkeys(name for report in reports for name in report.further) if name not in _HEAD
    ]
    found = _FINDING if any(report.findings for report in reports) else ()
    heading = list(dict.fromkeys([*_HEAD, *grain, *_COUNTS, *reasons, *further, *found, *_TAIL]))
    out = io.StringIO()
    writer = csv.DictWriter(out, heading, restval="", extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for report in reports:
        for row in _rows(report, language):
            writer.writerow({name: _plain(value) for name, value in row.items() if value is not None})
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _rows(report: Report, language: Language) -> Sequence[Mapping[str, Any]]:
    measure, period = report.measure, report.period
    common = {
        "programme": measure.programme,
        "measure": measure.name,
        "rule": " ".join(measure.rule),
        "period": period.label,
        "first": period.first.isoformat(),
        "last": period.last.isoformat(),
        "as_of": report.day.isoformat(),
        "unit": said(measure.unit, language),
        "counted": said(measure.counted, language),
        "feed": report.feed,
        "at": report.at.isoformat(timespec="seconds"),
    }
    lines = [common | _line(report, line) for line in report.lines]
    if report.total is not None and measure.grain:
        named = {measure.grain[0]: words.word("total", language)}
        lines.append(common | _line(report, report.total) | named)
    return lines + [common | _finding(report, each, language) for each in report.findings]


def _line(report: Report, line: Line) -> dict[str, Any]:
    return {
        **{name: value for name, value in line.further.items() if name not in _HEAD},
        **dict(zip(report.measure.grain, line.grain, strict=True)),
        "numerator": line.numerator,
        "denominator": line.denominator,
        "value": line.value,
        "score": rounded(line.score(report.measure.kind)),
        **{f"excluded_{reason}": number for reason, number in line.excluded.items()},
    }


def _finding(report: Report, found: Any, language: Language) -> dict[str, Any]:
    measure = report.measure
    return {
        "code": found.code,
        "severity": measure.finding[found.code].severity,
        "subject": found.subject,
        "place": found.place,
        "due": of_number(found.due_day).isoformat(),
        "text": texts(measure, found)[language],
        "mend": texts(measure, found, "mend")[language],
    }


# --- workbook ----------------------------------------


def to_xlsx(reports: Sequence[Report], language: Language, timezone: str) -> bytes:
    """A sheet for each measure, with what it counts above its lines; written row by row."""
    book = openpyxl.Workbook(write_only=True)
    taken: set[str] = set()
    by_measure: dict[str, list[Report]] = {}
    for report in reports:
        by_measure.setdefault(report.measure.name, []).append(report)
    for several in by_measure.values():
        page = book.create_sheet(_sheet_name(said(several[0].measure.title, language), taken))
        page.sheet_view.rightToLeft = language in words.RIGHT_TO_LEFT
        for place in range(10):
            page.column_dimensions["ABCDEFGHIJ"[place]].width = 30 if place == 0 else 18
        for row in _statement(several[0], language, timezone):
            page.append([_bold(page, row[0]), *(_cell(page, each) for each in row[1:])])
        page.append([])
        page.append([_bold(page, each) for each in heading(several[0], language)])
        for report in several:
            for row in lines_of(report, language):
                page.append([_cell(page, each) for each in row])
    if not by_measure:
        book.create_sheet("–")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _sheet_name(title: str, taken: set[str]) -> str:
    base = _SHEET.sub(" ", title)[:28].strip() or "–"
    name, number = base, 2
    while name.lower() in taken:
        name, number = f"{base[:26]} {number}", number + 1
    taken.add(name.lower())
    return name


def _cell(page: Any, value: Any) -> Any:
    made = WriteOnlyCell(page, _ILLEGAL.sub("", value) if isinstance(value, str) else rounded(value))
    if isinstance(value, str):
        made.data_type = "s"
        if value.startswith(_FORMULA):
            made.quotePrefix = True
    return made


def _bold(page: Any, value: Any) -> Any:
    made = _cell(page, value)
    made.font = Font(bold=True)
    made.fill = PatternFill("solid", fgColor="FFE8EEF4")
    return made


def _statement(report: Report, language: Language, timezone: str) -> list[list[Any]]:
    return [[name, value] for name, value in statement(report, language, timezone)]


def statement(report: Report, language: Language, timezone: str) -> list[tuple[str, str]]:
    """What stands above the figures: what was counted in which unit, by which rule, with which parameters, on what."""
    measure = report.measure
    at = words.moment(report.at, timezone, measure.written_in, language)
    made = [
        (words.word("measure", language), said(measure.title, language)),
        (words.word("unit", language), said(measure.unit, language)),
        (words.word("counted", language), said(measure.counted, language)),
        (words.word("rule", language), "، ".join(measure.rule) if language == "fa" else ", ".join(measure.rule)),
    ]
    if report.parameters:
        told = "; ".join(f"{words.label(measure, n, language)} = {v}" for n, v in report.parameters.items())
        made.append((words.word("parameters", language), words.digits(told, language)))
    rests = words.word("rests", language, feed=words.digits(str(report.feed), language), at=at)
    made.append((words.word("report", language), rests))
    if report.day < report.period.last:
        day = words.day(report.day, measure.written_in, language)
        made.append((words.word("period", language), words.word("unfinished", language, day=day)))
    return made


def heading(report: Report, language: Language) -> list[str]:
    """The headings of the lines of a measure."""
    measure = report.measure
    first = [words.word("period", language)]
    if measure.kind == "findings":
        names = ("due", "code", "severity", "place", "subject", "text", "mend")
        return first + [words.label(measure, name, language) for name in names]
    grain = [words.label(measure, name, language) for name in measure.grain]
    counts = {"count": ["count"], "duration": ["value", "denominator"]}.get(
        measure.kind, ["numerator", "denominator", "score"]
    )
    excluded = [
        f"{words.word('excluded', language)}: {said(measure.excluded[reason], language)}" for reason in report.excluded
    ]
    further = [words.label(measure, name, language) for name in report.further]
    return first + grain + [words.word(name, language) for name in counts] + excluded + further


def lines_of(report: Report, language: Language) -> list[list[Any]]:
    """The lines under these headings, the total last; numbers are numbers."""
    measure = report.measure
    label = words.period_name(report.period.label, report.period.first, measure.written_in, language)
    if measure.kind == "findings":
        return [
            [
                label,
                words.day(of_number(each.due_day), measure.written_in, language),
                each.code,
                words.word(measure.finding[each.code].severity, language),
                each.place,
                each.subject,
                texts(measure, each)[language],
                texts(measure, each, "mend")[language],
            ]
            for each in report.findings
        ]
    made = [[label, *line.grain, *_figures(report, line)] for line in report.lines]
    if report.total is not None and measure.grain:
        blank = [None] * (len(measure.grain) - 1)
        made.append([label, words.word("total", language), *blank, *_figures(report, report.total)])
    return made


def _figures(report: Report, line: Line) -> list[Any]:
    kind = report.measure.kind
    if kind == "count":
        counts = [line.numerator]
    elif kind == "duration":
        counts = [line.value, line.denominator]
    else:
        counts = [line.numerator, line.denominator, line.score(kind)]
    excluded = [line.excluded.get(reason) for reason in report.excluded]
    return counts + excluded + [line.further.get(name) for name in report.further]
