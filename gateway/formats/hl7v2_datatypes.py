"""What the primitive datatypes of HL7 v2 accept (chapter 2A). Text types accept everything."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from typing import Final

_DATE: Final = re.compile(r"([0-9]{4})(?:(0[1-9]|1[0-2])(?:(0[1-9]|[12][0-9]|3[01]))?)?")
_CLOCK: Final = r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:[0-5][0-9](?:\.[0-9]{1,6})?)?)?"
_ZONE: Final = r"(?:[+-](?:0[0-9]|1[0-4])[0-5][0-9])?"
_STAMP: Final = re.compile(rf"([0-9]{{4}})(?:(0[1-9]|1[0-2])(?:(0[1-9]|[12][0-9]|3[01])(?:{_CLOCK})?)?)?{_ZONE}")
_TIME: Final = re.compile(_CLOCK + _ZONE)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


def _day_exists(found: re.Match[str] | None) -> bool:
    if found is None:
        return False
    year, month, day = found[1], found[2], found[3]
    return not day or (int(year) > 0 and int(day) <= monthrange(int(year), int(month))[1])


def is_date(text: str) -> bool:
    """DT: YYYY, YYYYMM or YYYYMMDD, and the day exists."""
    return _day_exists(_DATE.fullmatch(text))


def is_stamp(text: str) -> bool:
    """DTM, TS.1: a date, then HH, HHMM, HHMMSS and fractions, then an offset."""
    return _day_exists(_STAMP.fullmatch(text))


def is_time(text: str) -> bool:
    """TM: HH, HHMM, HHMMSS and fractions, then an offset."""
    return _TIME.fullmatch(text) is not None


def is_number(text: str) -> bool:
    """NM: digits with an optional sign and one optional point; no exponent."""
    return _NUMBER.fullmatch(text.strip(" ")) is not None


def is_sequence(text: str) -> bool:
    """SI: a non-negative integer."""
    return text.isascii() and text.isdigit()


TESTS: Final[dict[str, Callable[[str], bool]]] = {
    "DT": is_date,
    "DTM": is_stamp,
    "TS": is_stamp,
    "TM": is_time,
    "NM": is_number,
    "SI": is_sequence,
}

LIMITS: Final = {"SI": 4, "NM": 16, "ID": 250, "IS": 250, "TX": 65536, "FT": 65536}
"""Longest text by datatype where the standard gives one; identifiers of tables are held to 20 before v2.7."""

FIELD_LIMITS: Final = {
    ("MSH", 10): (20, 199),
    ("MSH", 8): (40, 40),
    ("PID", 1): (4, 4),
    ("PV1", 1): (4, 4),
    ("OBX", 1): (4, 10),
    ("DG1", 1): (4, 4),
    ("MSA", 2): (20, 199),
}
"""(segment, field) -> longest text before v2.7, and from v2.7 on."""
