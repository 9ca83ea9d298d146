"""The words of reports, and numbers and days as their readers write them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from gateway.formats.calendars import Calendar, jalali_text, to_jalali, zone
from gateway.measure.measures import Measure, said
from gateway.message import Language

_DIGITS: Final = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_JALALI_MONTHS: Final = (
    "فروردین", "اردیبهشت", "خرداد", "تیر", "مرداد", "شهریور", "مهر", "آبان", "آذر", "دی", "بهمن", "اسفند",
)  # fmt: skip
_DECIMAL: Final[Mapping[str, tuple[str, str]]] = {
    "en": (",", "."), "fa": ("٬", "٫"), "it": (".", ","), "zh": (",", "."),
}  # fmt: skip
RIGHT_TO_LEFT: Final = frozenset({"fa"})


@cache
def _table() -> Mapping[str, Mapping[str, str]]:
    return tomllib.loads((Path(__file__).parent / "words.toml").read_text(encoding="utf-8"))


def word(name: str, language: Language, **args: str) -> str:
    """One of the words of `words.toml`."""
    return _table()[name][language].format(**args)


def label(measure: Measure, column: str, language: Language) -> str:
    """The heading of a column: the measure's own label, a word of ours, or its name."""
    if column in measure.labels:
        return said(measure.labels[column], language)
    return _table()[column][language] if column in _table() else column


def digits(text: str, language: Language) -> str:
    """In the digits of the language."""
    return text.translate(_DIGITS) if language == "fa" else text


def figure(value: Any, language: Language) -> str:
    """A number as it is written there; anything else as it is, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return digits(str(value), language)
    groups, point = _DECIMAL[language]
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")
    return digits(text.translate({ord(","): groups, ord("."): point}), language)


def percent(value: float | None, language: Language) -> str:
    """A proportion in per cent."""
    return "–" if value is None else figure(round(value * 100, 2), language) + ("٪" if language == "fa" else " %")


def day(of: date, calendar: Calendar, language: Language) -> str:
    """1403/05/12 or 2026-10-05."""
    return digits(jalali_text(of) if calendar == "jalali" else of.isoformat(), language)


def period_name(text: str, first: date, calendar: Calendar, language: Language) -> str:
    """مرداد ۱۴۰۳ for a Jalali month in Persian; otherwise as it is written."""
    if calendar == "jalali" and language == "fa" and len(text) == 7 and text[4] == "-" and text[5:].isdigit():
        year, month, _ = to_jalali(first)
        return f"{_JALALI_MONTHS[month - 1]} {digits(str(year), language)}"
    return digits(text, language)


def moment(at: datetime, timezone: str, calendar: Calendar, language: Language) -> str:
    """A time on the clocks of the programme."""
    local = at.astimezone(zone(timezone))
    return f"{day(local.date(), calendar, language)} {digits(local.strftime('%H:%M'), language)}"
