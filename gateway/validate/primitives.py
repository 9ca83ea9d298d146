"""The formats of the primitive types (FHIR R4 2.24.0.1), as they stand in JSON.

`FAULT[type]` is a function that gives None for a right value and otherwise the reason as a short key for the
finding. Patterns are anchored and linear. Beyond the patterns of the specification: calendar days must exist, and
`urn:oid:` and `urn:uuid:` values must be what they say, whatever type of URI they stand in.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

Fault = Callable[[Any], str | None]

MAX_STRING: Final = 1024 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SPACE: Final = re.compile(r"\s")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_CODE: Final = re.compile(r"[^\s]+(?:\s[^\s]+)*")
_OID: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+")
_UUID: Final = re.compile(r"urn:uuid:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_BASE64: Final = re.compile(r"[0-9a-zA-Z+/]*={0,2}")
_DATE: Final = re.compile(r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?)?")
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE: Final = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATE_TIME: Final = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])(T" + _CLOCK + _ZONE + ")?)?)?"
)
_TIME: Final = re.compile(_CLOCK)


def _kind(value: Any) -> str | None:
    return None if type(value) is str else "kind"


def string(value: Any) -> str | None:
    """No control characters, something that is not white space, at most 1 MiB."""
    if type(value) is not str:
        return "kind"
    if not value:
        return "empty"
    if not value.isprintable() and _CONTROL.search(value):
        return "control"
    if value.isspace():
        return "blank"
    return "long" if len(value) > MAX_STRING else None


def uri(value: Any) -> str | None:
    """No white space; a URN of a kind that we know must be right."""
    if type(value) is not str:
        return "kind"
    if not value:
        return "empty"
    if _SPACE.search(value):
        return "space"
    if value.startswith("urn:"):
        if value.startswith("urn:oid:") and not _OID.fullmatch(value):
            return "oid"
        if value.startswith("urn:uuid:") and not _UUID.fullmatch(value.partition("#")[0]):
            return "uuid"
    return None


def _pattern(pattern: re.Pattern[str]) -> Fault:
    full = pattern.fullmatch

    def fault(value: Any) -> str | None:
        if type(value) is not str:
            return "kind"
        if not value:
            return "empty"
        return None if full(value) else "format"

    return fault


def _day(match: re.Match[str] | None) -> str | None:
    if match is None:
        return "format"
    year, month, day = match[1], match[2], match[3]
    if year == "0000":
        return "format"
    if day is not None and day > "28" and int(day) > monthrange(int(year), int(month))[1]:
        return "day"
    return None


def date(value: Any) -> str | None:
    """YYYY, YYYY-MM or YYYY-MM-DD; the day must exist."""
    if type(value) is not str:
        return "kind"
    return _day(_DATE.fullmatch(value)) if value else "empty"


def date_time(value: Any) -> str | None:
    """A date, or date and time with seconds and zone."""
    if type(value) is not str:
        return "kind"
    if not value:
        return "empty"
    match = _DATE_TIME.fullmatch(value)
    if match is None and "T" in value and _DATE_TIME.fullmatch(value + "Z"):
        return "zone"
    return _day(match)


def instant(value: Any) -> str | None:
    """Date, time, seconds and zone, all of them."""
    if type(value) is str and len(value) < 11:
        return "format" if value else "empty"
    return date_time(value)


def boolean(value: Any) -> str | None:
    """true or false."""
    return None if value is True or value is False else "kind"


def _integer(low: int, high: int) -> Fault:
    def fault(value: Any) -> str | None:
        if type(value) is not int:
            return "kind"
        return None if low <= value <= high else "range"

    return fault


def decimal(value: Any) -> str | None:
    """A JSON number. FHIR sets no limit on digits; the reader does."""
    return None if type(value) is int or isinstance(value, Decimal | float) else "kind"


def base64(value: Any) -> str | None:
    """RFC 4648 with padding; white space is allowed between the characters."""
    if type(value) is not str:
        return "kind"
    if not value:
        return "empty"
    packed = "".join(value.split()) if _SPACE.search(value) else value
    return None if len(packed) % 4 == 0 and _BASE64.fullmatch(packed) else "format"


_POSITIVE: Final = _integer(1, 2**31 - 1)
_UNSIGNED: Final = _integer(0, 2**31 - 1)
_SIGNED: Final = _integer(-(2**31), 2**31 - 1)

FAULT: Final[Mapping[str, Fault]] = {
    "base64Binary": base64,
    "boolean": boolean,
    "canonical": uri,
    "code": _pattern(_CODE),
    "date": date,
    "dateTime": date_time,
    "decimal": decimal,
    "id": _pattern(_ID),
    "instant": instant,
    "integer": _SIGNED,
    "markdown": string,
    "oid": _pattern(_OID),
    "positiveInt": _POSITIVE,
    "string": string,
    "time": _pattern(_TIME),
    "unsignedInt": _UNSIGNED,
    "uri": uri,
    "url": uri,
    "uuid": _pattern(_UUID),
    "xhtml": _kind,
}
