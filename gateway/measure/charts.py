"""Charts as SVG, drawn by arithmetic: bars for the lines of one period, a line through several periods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from gateway.measure.words import RIGHT_TO_LEFT
from gateway.message import Language

WIDTH: Final = 720
MOST_BARS: Final = 40
_ROW: Final = 26
_LABEL: Final = 220
_FIGURE: Final = 90
_HEIGHT: Final = 240
_EDGE: Final = 44

Bar = tuple[str, float | None]
Write = Callable[[float | None], str]


def bars(values: Sequence[Bar], write: Write, language: Language, title: str, target: float | None = None) -> str:
    """Horizontal bars with their figures; the target is a dashed line. Read from the right where the language is."""
    shown = values[:MOST_BARS]
    highest = max([value for _, value in shown if value is not None] + [target or 0, 1e-12])
    room = WIDTH - _LABEL - _FIGURE
    mirrored = language in RIGHT_TO_LEFT
    parts = []
    for place, (name, value) in enumerate(shown):
        top = 6 + place * _ROW
        length = max(0.0, (value or 0) / highest * room)
        begin = WIDTH - _LABEL - length if mirrored else _LABEL
        edge = WIDTH - _LABEL + 8 if mirrored else _LABEL - 8
        after = begin - 6 if mirrored else begin + length + 6
        short = value is not None and target is not None and value < target
        parts += [
            _text(edge, top + 15, _clipped(name), "start" if mirrored else "end"),
            f'<rect class="{"short" if short else "bar"}" x="{begin:.1f}" y="{top}" width="{length:.1f}" height="18"/>',
            _text(after, top + 15, write(value), "end" if mirrored else "start"),
        ]
    height = 12 + len(shown) * _ROW
    if target is not None:
        at = target / highest * room
        x = WIDTH - _LABEL - at if mirrored else _LABEL + at
        parts.append(f'<line class="target" x1="{x:.1f}" y1="2" x2="{x:.1f}" y2="{height - 4}"/>')
    return _svg(height, title, parts)


def course(values: Sequence[Bar], write: Write, language: Language, title: str, target: float | None = None) -> str:
    """A line through the periods in their order; in a right-to-left language time runs to the left."""
    highest = max([value for _, value in values if value is not None] + [target or 0, 1e-12])
    room, base = WIDTH - 2 * _EDGE, _HEIGHT - 40
    apart = room / max(1, len(values) - 1)
    mirrored = language in RIGHT_TO_LEFT
    points: list[tuple[float, float]] = []
    parts = [f'<line class="axis" x1="{_EDGE}" y1="{base}" x2="{WIDTH - _EDGE}" y2="{base}"/>']
    every = max(1, len(values) // 12)
    for place, (name, value) in enumerate(values):
        x = WIDTH - _EDGE - place * apart if mirrored else _EDGE + place * apart
        if place % every == 0:
            parts.append(_text(x, base + 18, name, "middle"))
        if value is not None:
            y = base - value / highest * (base - 30)
            points.append((x, y))
            parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
            if place % every == 0:
                parts.append(_text(x, y - 10, write(value), "middle"))
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts.append(f'<polyline class="course" points="{drawn}"/>')
    if target is not None:
        y = base - target / highest * (base - 30)
        parts.append(f'<line class="target" x1="{_EDGE}" y1="{y:.1f}" x2="{WIDTH - _EDGE}" y2="{y:.1f}"/>')
    return _svg(_HEIGHT, title, parts)


def _clipped(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    """Anchors are of a left-to-right run: the words themselves turn as they are written."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" direction="ltr">{escape(words)}</text>'


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
    return head + f"<title>{escape(title)}</title>" + "".join(parts) + "</svg>"
