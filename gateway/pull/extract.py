"""Elements as index rows: the tables of FHIR R4 3.1.1.5 (which types each kind of parameter is matched on)."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from gateway.fhirpath import Node
from gateway.formats.search import DateRow, IndexRow, NumberRow, ReferenceRow, StringRow, TokenRow
from gateway.pull.instants import EARLIEST, LATEST, span

Rows = Iterator[IndexRow]
Make = Callable[[str, Any], Rows]

IDENTIFIER: Final = ":identifier"
OF_TYPE: Final = ":of-type"
"""Rows for these modifiers stand under the parameter's name with the modifier."""

ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_REFERENCE: Final = re.compile(
    r"(?:(?P<base>https?://.*)/)?(?P<type>[A-Z][A-Za-z]{1,60})/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?",
    re.ASCII,
)


def fold(text: str) -> str:
    """Without case, accents and width, spaces made one: how `string` is compared by default."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return " ".join(plain.casefold().split())


def target(reference: str) -> tuple[str, str] | None:
    """Type and id of a relative reference (a version is left out); a URL has no type; None for a fragment."""
    found = _REFERENCE.fullmatch(reference)
    if found is not None and found["base"] is None:
        return found["type"], found["id"]
    return None if reference.startswith("#") or not reference else ("", reference)


# --- token ----------------------------------------


def _plain(key: str, value: Any) -> Rows:
    text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
    if isinstance(text, str | int | Decimal):
        yield TokenRow(parameter=key, code=str(text))


def _coding(key: str, value: Mapping[str, Any]) -> Rows:
    yield TokenRow(parameter=key, system=_text(value, "system"), code=_text(value, "code"))


def _concept(key: str, value: Mapping[str, Any]) -> Rows:
    codings = [each for each in value.get("coding") or () if isinstance(each, dict)]
    for each in codings:
        yield from _coding(key, each)
    if not codings:
        yield TokenRow(parameter=key, code="")  # there is something, though no code


def _identifier(key: str, value: Mapping[str, Any]) -> Rows:
    yield TokenRow(parameter=key, system=_text(value, "system"), code=_text(value, "value"))
    kind = value.get("type")
    for each in (kind.get("coding") or ()) if isinstance(kind, dict) else ():
        code = f"{_text(each, 'code')}|{_text(value, 'value')}"
        yield TokenRow(parameter=key + OF_TYPE, system=_text(each, "system"), code=code)


def _contact(key: str, value: Mapping[str, Any]) -> Rows:
    yield TokenRow(parameter=key, code=_text(value, "value"))


def _text(value: Mapping[str, Any], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""


# --- string ----------------------------------------


def _string(key: str, value: Any) -> Rows:
    if isinstance(value, str) and value:
        yield StringRow(parameter=key, text=fold(value), exact=value)


def _parts(*names: str) -> Make:
    def rows(key: str, value: Mapping[str, Any]) -> Rows:
        for name in names:
            found = value.get(name)
            for each in found if isinstance(found, list) else [found]:
                yield from _string(key, each)

    return rows


# --- reference ----------------------------------------


def _reference(key: str, value: Mapping[str, Any]) -> Rows:
    found = target(_text(value, "reference"))
    kind, id = found or ("", "")
    yield ReferenceRow(parameter=key, type=kind, id=id)
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        system, code = _text(identifier, "system"), _text(identifier, "value")
        yield TokenRow(parameter=key + IDENTIFIER, system=system, code=code)


def _url(key: str, value: Any) -> Rows:
    if isinstance(value, str) and value and not value.startswith("#"):
        kind, id = target(value) or ("", value)
        yield ReferenceRow(parameter=key, type=kind, id=id)


# --- date ----------------------------------------


def _date(key: str, value: Any) -> Rows:
    found = span(value) if isinstance(value, str) else None
    if found is not None:
        yield DateRow(parameter=key, low=found[0], high=found[1])


def _period(key: str, value: Mapping[str, Any]) -> Rows:
    start, end = span(_text(value, "start")), span(_text(value, "end"))
    if start is not None or end is not None:
        yield DateRow(parameter=key, low=start[0] if start else EARLIEST, high=end[1] if end else LATEST)


def _timing(key: str, value: Mapping[str, Any]) -> Rows:
    for each in value.get("event") or ():
        yield from _date(key, each)
    repeat = value.get("repeat")
    bounds = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
    if isinstance(bounds, dict):
        yield from _period(key, bounds)


# --- number and quantity ----------------------------------------


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) else None


def _number(key: str, value: Any) -> Rows:
    found = _float(value)
    if found is not None:
        yield NumberRow(parameter=key, low=found, high=found)


def _quantity(key: str, value: Mapping[str, Any]) -> Rows:
    found = _float(value.get("value"))
    if found is None:
        return
    system, code, unit = (_text(value, name) for name in ("system", "code", "unit"))
    if not code and "currency" in value:  # Money
        system, code = "urn:iso:std:iso:4217", _text(value, "currency")
    yield NumberRow(parameter=key, low=found, high=found, system=system, code=code)
    if unit and unit != code:
        yield NumberRow(parameter=key, low=found, high=found, code=unit)


def _range(key: str, value: Mapping[str, Any]) -> Rows:
    low, high = value.get("low"), value.get("high")
    ends = [each for each in (low, high) if isinstance(each, dict)]
    numbers = [_float(each.get("value")) for each in (low or {}, high or {})]
    if any(each is not None for each in numbers):
        first, last = numbers
        yield NumberRow(
            parameter=key,
            low=first if first is not None else -1.7e308,
            high=last if last is not None else 1.7e308,
            system=_text(ends[0], "system"),
            code=_text(ends[0], "code"),
        )


# --- uri ----------------------------------------


def _uri(key: str, value: Any) -> Rows:
    if isinstance(value, str) and value:
        yield TokenRow(parameter=key, code=value)


_NAME: Final = _parts("text", "family", "given", "prefix", "suffix")
_ADDRESS: Final = _parts("text", "line", "city", "district", "state", "postalCode", "country")
_WORDS: Final = frozenset({"string", "markdown", "code", "id", "uri"})
_MAKERS: Final[Mapping[str, Mapping[str, Make]]] = {
    "token": {
        "Coding": _coding,
        "CodeableConcept": _concept,
        "Identifier": _identifier,
        "ContactPoint": _contact,
    },
    "string": {"HumanName": _NAME, "Address": _ADDRESS, **dict.fromkeys(_WORDS, _string)},
    "reference": {"Reference": _reference, **dict.fromkeys(("canonical", "uri", "url"), _url)},
    "date": {**dict.fromkeys(("date", "dateTime", "instant"), _date), "Period": _period, "Timing": _timing},
    "number": {**dict.fromkeys(("integer", "positiveInt", "unsignedInt", "decimal"), _number), "Range": _range},
    "quantity": {
        **dict.fromkeys(("Quantity", "Age", "Duration", "Count", "Distance", "SimpleQuantity", "Money"), _quantity),
        "Range": _range,
    },
    "uri": dict.fromkeys(("uri", "url", "canonical", "oid", "uuid"), _uri),
}


def rows(kind: str, key: str, item: Any) -> Rows:
    """The rows of one result of a parameter's expression; none for what the kind is not matched on."""
    if not isinstance(item, Node):
        if kind == "token":
            yield from _plain(key, item)
        return
    make = _MAKERS[kind].get(item.kind.name)
    if make is None and kind == "token" and item.kind.primitive:
        make = _plain
    if make is None or item.value is None:
        return
    if item.kind.primitive or isinstance(item.value, dict):
        yield from make(key, item.value)
