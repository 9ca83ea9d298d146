"""Search URLs as conditions (FHIR R4 3.1.1): names, modifiers, prefixes, chains; nothing is asked of the store here.

A parameter that is not known is an error where the client prefers strict handling, and otherwise left out and named
in an outcome. A value that cannot be read is always an error: leaving it out would give more than was asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn, cast
from urllib.parse import parse_qsl, urlencode

import msgspec

from gateway.errors import Refused
from gateway.formats.search import (
    AnyOf,
    Chained,
    Has,
    HasId,
    IsDate,
    IsNumber,
    IsText,
    IsToken,
    Order,
    Prefix,
    RefersTo,
    Reversed,
    Term,
)
from gateway.message import Finding
from gateway.pull import extract
from gateway.pull.instants import micros, span
from gateway.pull.parameters import DOCUMENT, KINDS, Definitions, Parameter

MAX_PARAMETERS: Final = 100
MAX_VALUES: Final = 100
MAX_VALUE: Final = 500
MAX_COUNT: Final = 500
DEFAULT_COUNT: Final = 50

_PREFIXED: Final = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.+)", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_SPLIT: Final = {mark: re.compile(rf"((?:[^\\{mark}]|\\.)*)(?:\{mark}|$)", re.DOTALL) for mark in ",|"}
_PLAIN: Final = frozenset({"_format", "_pretty", "_cursor"})
_OF_VERSIONS: Final = ("_id", "_lastUpdated")
COMMON: Final = (*_OF_VERSIONS, "_profile", "_tag", "_security", "_source", DOCUMENT)
"""The parameters that every type has, and a search of the whole system."""

Pair = tuple[str, str]


class Include(msgspec.Struct, frozen=True):
    """`_include` or `_revinclude`: source type, parameter ("*" for all) and, where named, the target's type."""

    type: str
    parameter: str
    target: str = ""
    iterate: bool = False  # also of what was included


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What a search URL asks for. `used` are the pairs that had an effect; they make the self link.

    `types` are those of a search of the whole system; its `type` is empty.
    """

    type: str
    types: tuple[str, ...] = ()
    where: tuple[AnyOf, ...] = ()
    sort: tuple[Order, ...] = ()
    count: int = DEFAULT_COUNT
    summary: str = "false"
    elements: tuple[str, ...] = ()
    total: str = ""
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    cursor: str = ""
    used: tuple[Pair, ...] = ()
    ignored: tuple[Finding, ...] = ()


class Unknown(Refused):
    """What the client may prefer to have left out."""

    default = "GW-PULL-004"


def pairs(raw: bytes) -> list[Pair]:
    """Name and value, decoded strictly. Raises `Refused` for too many, or for what is not UTF-8."""
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise Refused("GW-PULL-005", name="?") from None
    except ValueError:
        raise Refused("GW-PULL-007", limit=str(MAX_PARAMETERS)) from None


def written(given: Sequence[Pair]) -> str:
    """Pairs as a query."""
    return urlencode(given)


def _bad(name: str) -> NoReturn:
    raise Refused("GW-PULL-005", name=name[:60])


def _split(text: str, mark: str) -> list[str]:
    """The parts between unescaped marks; escapes stay for the next split."""
    parts, at = [], 0
    while at <= len(text):
        found = _SPLIT[mark].match(text, at)
        if found is None:  # a lone backslash at the end
            parts.append(text[at:])
            break
        parts.append(found[1])
        if found.end() == len(text) and not text[at:].endswith(mark, len(found[1])):
            break
        at = found.end()
    return parts


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


# --- the whole ----------------------------------------


class Reader:
    """Reads searches against what is registered. `base` is our own URL, `now` what "approximately" is relative to."""

    def __init__(self, definitions: Definitions, base: str, now: datetime) -> None:
        self.definitions, self.base, self.now = definitions, base.rstrip("/") + "/", now

    def read(self, type: str, given: Sequence[Pair], strict: bool, types: Sequence[str] = ()) -> Query:
        """The query; `Refused` with a code for what cannot be done. Without a type, of all of `types`."""
        where: list[AnyOf] = []
        used: list[Pair] = []
        ignored: list[Finding] = []
        result: dict[str, object] = {}
        for name, value in given:
            try:
                if not self._control(type, name, value, result):
                    where.append(self.condition(type, name, value) if type else self._common(types, name, value))
            except Unknown as fault:
                if strict:
                    raise
                ignored.append(msgspec.structs.replace(fault.finding(), severity="warning"))
                continue
            if name not in _PLAIN:
                used.append((name, value))
        asked: dict[str, Any] = {name: each for name, each in result.items() if not name.startswith("_")}
        base = Query(type=type, types=tuple(types), where=tuple(where), used=tuple(used), ignored=tuple(ignored))
        return msgspec.structs.replace(base, **asked)

    def _control(self, type: str, name: str, value: str, result: dict[str, object]) -> bool:
        """Whether the parameter says how results are given, and not which."""
        read = _CONTROLS.get(name)
        if read is None:
            if name.partition(":")[0] in _CONTROLS:
                raise Unknown("GW-PULL-006", name=name[:60])
            return False
        if len(value) > MAX_VALUE * 8:
            _bad(name)
        key, found = read(self, type, name, value)
        if isinstance(found, tuple) and key in result:
            found = (*cast("tuple[object, ...]", result[key]), *found)
        result[key] = found
        return True

    # --- conditions ----------------------------------------

    def _common(self, types: Sequence[str], name: str, value: str) -> AnyOf:
        """A parameter that every type has: what it asks of each of them (FHIR R4 3.1.1.2)."""
        if name.partition(":")[0] not in COMMON:
            raise Unknown("GW-PULL-004", name=name[:60], type="*")
        found = [self.condition(each, name, value) for each in types]
        terms = dict.fromkeys(term for each in found for term in each.terms)
        return AnyOf(terms=tuple(terms), negated=any(each.negated for each in found))

    def condition(self, type: str, name: str, value: str, depth: int = 0) -> AnyOf:
        """One parameter. Raises `Unknown` where it is not known for the type, `Refused` where it is malformed."""
        if name.startswith("_has:"):
            return self._reverse(type, name, value, depth)
        head, dot, rest = name.partition(".")
        code, _, modifier = head.partition(":")
        parameter = self.definitions.of(type).get(code)
        if parameter is None or len(name) > 200:
            raise Unknown("GW-PULL-004", name=name[:60], type=type)
        if dot:
            return self._chain(parameter, modifier, rest, value, depth)
        if modifier == "missing":
            return _missing(parameter, name, value)
        parts = _split(value, ",")
        if len(parts) > MAX_VALUES or any(len(each) > MAX_VALUE for each in parts):
            raise Refused("GW-PULL-007", limit=str(MAX_VALUES))
        if any(not each for each in parts):
            _bad(name)
        terms = tuple(term for each in parts for term in self._terms(parameter, modifier, name, each))
        return AnyOf(terms=terms, negated=modifier == "not")

    def _terms(self, parameter: Parameter, modifier: str, name: str, value: str) -> Iterable[Term]:
        allowed = _MODIFIERS[parameter.kind]
        typed = parameter.kind == "reference" and modifier in self.definitions.types
        if modifier not in allowed and not typed:
            raise Unknown("GW-PULL-006", name=name[:60])
        if parameter.code == "_id":
            return (HasId(id=_plain(value)),) if modifier in ("", "not") else _bad(name)
        return _VALUES[parameter.kind](self, parameter, modifier, value)

    def _chain(self, parameter: Parameter, modifier: str, rest: str, value: str, depth: int) -> AnyOf:
        if depth or "." in rest:
            raise Unknown("GW-PULL-006", name=f"{parameter.code}.{rest}"[:60])
        if parameter.kind != "reference":
            raise Unknown("GW-PULL-006", name=parameter.code)
        targets = (modifier,) if modifier else parameter.targets
        code = rest.partition(":")[0]
        able = [each for each in targets if code in self.definitions.of(each)]
        if not able:
            raise Unknown("GW-PULL-004", name=f"{parameter.code}.{rest}"[:60], type=parameter.type)
        terms = []
        for type in able:
            inner = self.condition(type, rest, value, depth + 1)
            terms.append(Chained(parameter=parameter.key, type=type, where=(inner,)))
        return AnyOf(terms=tuple(terms))

    def _reverse(self, type: str, name: str, value: str, depth: int) -> AnyOf:
        parts = name.split(":", 3)
        if depth or len(parts) < 4 or parts[3].startswith("_has:"):
            raise Unknown("GW-PULL-006", name=name[:60])
        _, source, code, rest = parts
        parameter = self.definitions.of(source).get(code)
        if parameter is None or parameter.kind != "reference":
            raise Unknown("GW-PULL-004", name=name[:60], type=type)
        inner = self.condition(source, rest, value, 1)
        return AnyOf(terms=(Reversed(parameter=parameter.key, type=source, where=(inner,)),))

    # --- values by kind ----------------------------------------

    def _token(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        parts = [_plain(each) for each in _split(value, "|")]
        if modifier == "of-type":
            if len(parts) != 3 or not all(parts):
                _bad(parameter.code)
            system, code, identifier = parts
            key = parameter.key + extract.OF_TYPE
            return (IsToken(parameter=key, system=system, code=f"{code}|{identifier}"),)
        return (_is_token(parameter.key, parameter.code, parts),)

    def _string(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        text = _plain(value)
        if modifier == "exact":
            return (IsText(parameter=parameter.key, text=text, how="exact"),)
        folded = extract.fold(text)
        if not folded:
            _bad(parameter.code)
        return (IsText(parameter=parameter.key, text=folded, how="contains" if modifier else "starts"),)

    def _reference(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        text = _plain(value)
        if modifier == "identifier":
            key = parameter.key + extract.IDENTIFIER
            return (_is_token(key, parameter.code, [_plain(each) for each in _split(value, "|")]),)
        if text.startswith(self.base):
            text = text.removeprefix(self.base)
        if extract.ID.fullmatch(text):
            return (RefersTo(parameter=parameter.key, type=modifier or None, id=text),)
        found = extract.target(text)
        if found is None or (modifier and found[0] != modifier):
            _bad(parameter.code)
        return (RefersTo(parameter=parameter.key, type=found[0], id=found[1]),)

    def _date(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        prefix, text = _prefix(_plain(value), parameter.code)
        found = span(text)
        if found is None:
            _bad(parameter.code)
        low, high = found
        if prefix == "ap":
            around = abs(micros(self.now) - low) // 10
            low, high = low - around, high + around
        key = "_lastUpdated" if parameter.code == "_lastUpdated" else parameter.key
        return (IsDate(parameter=key, prefix=prefix, low=low, high=high),)

    def _number(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        number, *unit = [_plain(each) for each in _split(value, "|")]
        if len(unit) not in (0, 2) or (unit and parameter.kind != "quantity"):
            _bad(parameter.code)
        prefix, text = _prefix(number, parameter.code)
        if not _NUMBER.fullmatch(text):
            _bad(parameter.code)
        low, high, exact = _precision(text, prefix, parameter.code)
        system, code = (unit[0] or None, unit[1] or None) if unit else (None, None)
        return (
            IsNumber(parameter=parameter.key, prefix=prefix, low=low, high=high, value=exact, system=system, code=code),
        )

    def _uri(self, parameter: Parameter, modifier: str, value: str) -> Iterable[Term]:
        text = _plain(value)
        if modifier == "above":
            steps = [place for place, mark in enumerate(text) if mark in "/#" and place > text.find("://") + 2]
            above = [text, *(text[:place] for place in steps), *(text[: place + 1] for place in steps)]
            return tuple(IsToken(parameter=parameter.key, code=each) for each in above[:60])
        return (IsToken(parameter=parameter.key, code=text, under=modifier == "below"),)


def _is_token(key: str, name: str, parts: Sequence[str]) -> IsToken:
    """`code`, `system|code`, `|code` (no system), `system|` (any code)."""
    if len(parts) == 1:
        return IsToken(parameter=key, code=parts[0])
    if len(parts) != 2 or not any(parts):
        _bad(name)
    return IsToken(parameter=key, system=parts[0], code=parts[1] or None)


def _prefix(text: str, name: str) -> tuple[Prefix, str]:
    found = _PREFIXED.fullmatch(text)
    if found is None:
        _bad(name)
    return cast("Prefix", found[1] or "eq"), found[2]


def _precision(text: str, prefix: str, name: str) -> tuple[float, float, float]:
    """What the written digits leave open: half a unit of the last one (FHIR R4 3.1.1.5.4)."""
    try:
        number = Decimal(text)
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int)
        half = Decimal(5).scaleb(exponent - 1)
        if prefix == "ap":
            half = max(half, abs(number) / 10)
        low, high, exact = float(number - half), float(number + half), float(number)
    except (InvalidOperation, OverflowError):
        _bad(name)
    if not math.isfinite(low) or not math.isfinite(high):
        _bad(name)
    return low, high, exact


def _missing(parameter: Parameter, name: str, value: str) -> AnyOf:
    if parameter.code in ("_id", "_lastUpdated") or value not in ("true", "false"):
        _bad(name)
    there = Has(parameter=parameter.key, kind=KINDS[parameter.kind])
    return AnyOf(terms=(there,), negated=value == "true")


_MODIFIERS: Final[Mapping[str, frozenset[str]]] = {
    "token": frozenset({"", "not", "of-type"}),
    "string": frozenset({"", "exact", "contains"}),
    "reference": frozenset({"", "identifier"}),
    "date": frozenset({""}),
    "number": frozenset({""}),
    "quantity": frozenset({""}),
    "uri": frozenset({"", "below", "above"}),
}
MODIFIERS: Final = _MODIFIERS
"""What a parameter of each kind takes beside `:missing`; a reference also takes the name of a type."""

_VALUES: Final[Mapping[str, Callable[[Reader, Parameter, str, str], Iterable[Term]]]] = {
    "token": Reader._token,
    "string": Reader._string,
    "reference": Reader._reference,
    "date": Reader._date,
    "number": Reader._number,
    "quantity": Reader._number,
    "uri": Reader._uri,
}


# --- how results are given ----------------------------------------

Control = tuple[str, object]


def _count(reader: Reader, type: str, name: str, value: str) -> Control:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        _bad(name)
    return "count", min(int(value), MAX_COUNT)


def _one_of(key: str, *words: str) -> Callable[[Reader, str, str, str], Control]:
    def read(reader: Reader, type: str, name: str, value: str) -> Control:
        if value not in words:
            _bad(name)
        return key, value

    return read


def _sort(reader: Reader, type: str, name: str, value: str) -> Control:
    made = []
    for each in value.split(","):
        code = each.removeprefix("-")
        if not code:
            _bad(name)
        if not type and code in _OF_VERSIONS:
            made.append(Order(parameter=code, descending=each.startswith("-")))
            continue
        parameter = reader.definitions.of(type).get(code)
        if parameter is None:
            raise Unknown("GW-PULL-004", name=code[:60], type=type)
        key = code if code in ("_id", "_lastUpdated") else parameter.key
        made.append(Order(parameter=key, kind=KINDS[parameter.kind], descending=each.startswith("-")))
    if len(made) > 5:
        _bad(name)
    return "sort", tuple(made)


def _elements(reader: Reader, type: str, name: str, value: str) -> Control:
    names = tuple(each.removeprefix(f"{type}.").partition(".")[0] for each in value.split(","))
    if len(names) > MAX_VALUES or not all(each.isalnum() and each.isascii() for each in names):
        _bad(name)
    return "elements", names


def _include(reader: Reader, type: str, name: str, value: str) -> Control:
    name, _, iterate = name.partition(":")
    parts = value.split(":")
    source, code, target = (*parts, "", "")[:3]
    parameter = reader.definitions.of(source).get(code)
    known = code == "*" or (parameter is not None and parameter.kind == "reference")
    if not 2 <= len(parts) <= 3 or not known or (target and target not in reader.definitions.types):
        raise Unknown("GW-PULL-004", name=f"{name}={value}"[:60], type=type)
    if name == "_include" and type and source != type and not iterate:
        raise Unknown("GW-PULL-004", name=f"{name}={value}"[:60], type=type)
    return name.removeprefix("_"), (Include(source, code, target, bool(iterate)),)


def _cursor(reader: Reader, type: str, name: str, value: str) -> Control:
    return "cursor", value


def _ignore(reader: Reader, type: str, name: str, value: str) -> Control:
    return name, value


_CONTROLS: Final[Mapping[str, Callable[[Reader, str, str, str], Control]]] = {
    "_count": _count,
    "_sort": _sort,
    "_summary": _one_of("summary", "true", "text", "data", "count", "false"),
    "_elements": _elements,
    "_total": _one_of("total", "none", "estimate", "accurate"),
    "_include": _include,
    "_revinclude": _include,
    "_include:iterate": _include,
    "_revinclude:iterate": _include,
    "_cursor": _cursor,
    "_type": _ignore,  # of a search of the whole system, which has read it already
    "_format": _ignore,
    "_pretty": _ignore,
}
