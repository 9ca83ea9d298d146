"""Reports as one HTML page without scripts and without anything from elsewhere, in the reader's direction."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from gateway.measure import charts, outputs, words
from gateway.measure.measures import said
from gateway.measure.reports import Report
from gateway.message import Language

_STYLE: Final = """
body{font-family:Vazirmatn,"Noto Sans","Noto Sans SC",Tahoma,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;
color:#1c2733;background:#fff;line-height:1.6}h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.5rem;
border-top:2px solid #d5dde5;padding-top:1rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}
dt{font-weight:600}dd{margin:0}table{border-collapse:collapse;width:100%;margin:1rem 0;
font-variant-numeric:tabular-nums}
th,td{border:1px solid #d5dde5;padding:.3rem .6rem;text-align:start}th{background:#eef2f6}td.n{text-align:end}
tr.total td{font-weight:600;background:#f7f9fb}svg{width:100%;height:auto;font-size:12px}.bar{fill:#2b6cb0}
.short{fill:#c05621}.target{stroke:#1c2733;stroke-dasharray:4 4}.axis{stroke:#8899a8}.course{fill:none;
stroke:#2b6cb0;stroke-width:2}.point{fill:#2b6cb0}.met{color:#276749}.missed{color:#c05621}
@media print{h2{break-before:page}h2:first-of-type{break-before:auto}}
"""


def to_html(reports: Sequence[Report], language: Language, title: str, timezone: str) -> bytes:
    """The page: each measure with its statement, chart and lines, or its findings."""
    direction = "rtl" if language in words.RIGHT_TO_LEFT else "ltr"
    by_measure: dict[str, list[Report]] = {}
    for report in reports:
        by_measure.setdefault(report.measure.name, []).append(report)
    parts = [_section(several, language, timezone) for several in by_measure.values()]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    page = (
        f'<!doctype html><html lang="{language}" dir="{direction}"><head>{head}<style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )
    return page.encode()


def _section(reports: Sequence[Report], language: Language, timezone: str) -> str:
    first, measure = reports[0], reports[0].measure
    told = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in outputs.statement(first, language, timezone)[1:]
    )
    rows = [row for report in reports for row in outputs.lines_of(report, language)]
    body = _table(first, reports, language) if rows else f"<p>{escape(words.word('nothing', language))}</p>"
    head = f"<h2>{escape(said(measure.title, language))}</h2><dl>{told}</dl>"
    return head + _verdict(first, language) + _chart(reports, language) + body


def _verdict(report: Report, language: Language) -> str:
    measure, total = report.measure, report.total
    score = total.score(measure.kind) if total is not None else None
    if measure.target is None or score is None:
        return ""
    met = score <= measure.target if measure.better == "lower" else score >= measure.target
    name = "met" if met else "missed"
    written = _score(measure.kind, measure.target, language)
    text = f"{words.word('target', language)}: {written} – {words.word(name, language)}"
    return f'<p class="{name}">{escape(text)}</p>'


def _score(kind: str, value: float | None, language: Language) -> str:
    return words.percent(value, language) if kind == "proportion" else words.figure(value, language)


def _chart(reports: Sequence[Report], language: Language) -> str:
    measure = reports[0].measure
    if measure.kind == "findings":
        return ""
    title = said(measure.title, language)

    def write(value: float | None) -> str:
        return _score(measure.kind, value, language)

    if len(reports) > 1:
        names = [words.period_name(r.period.label, r.period.first, measure.written_in, language) for r in reports]
        totals = [None if r.total is None else r.total.score(measure.kind) for r in reports]
        return charts.course(list(zip(names, totals, strict=True)), write, language, title, measure.target)
    if not measure.grain or not reports[0].lines:
        return ""
    values = [
        (" · ".join(words.figure(each, language) for each in line.grain), line.score(measure.kind))
        for line in reports[0].lines
    ]
    return charts.bars(values, write, language, title, measure.target)


def _table(first: Report, reports: Sequence[Report], language: Language) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in outputs.heading(first, language))
    rows = []
    for report in reports:
        lines = outputs.lines_of(report, language)
        for place, line in enumerate(lines):
            total = bool(report.measure.grain) and report.total is not None and place == len(lines) - 1
            cells = "".join(_cell(report, column, value, language) for column, value in enumerate(line))
            rows.append(f'<tr class="total">{cells}</tr>' if total else f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(report: Report, column: int, value: Any, language: Language) -> str:
    kind = report.measure.kind
    scored = column == 1 + len(report.measure.grain) + 2 and kind == "proportion"
    text = words.percent(value, language) if scored else words.figure(value, language)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td class="n">{escape(text)}</td>' if number else f"<td>{escape(text)}</td>"
