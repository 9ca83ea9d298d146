"""The closed list of functions that a mapping may use after `|`. `docs/mapping.md` describes each.

A function is made once, when the mapping is compiled, from its arguments (`Maker`), and then applied to values
(`Step`). A value that it cannot take is a `Problem`, which becomes a finding at the place of the value. A function
marked `whole` is given every value under the path as a list; the others are given one value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from html import escape
from typing import Any, Final, Protocol
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from gateway.formats.source import Datum
from gateway.formats.text import digits as ascii_digits
from gateway.map.expression import Argument
from gateway.map.ids import keyed
from gateway.map.run import Got, Problem, Run
from gateway.map.tables import CodeTable, FactTable, Groups

Step = Callable[[Run, Got], Any]
Text = Callable[[Run], str]


class BadUse(Exception):
    """The function cannot be used like this; the message says why."""


class Workshop(Protocol):
    """What functions are given while they are made."""

    zone: ZoneInfo

    def code_table(self, name: str) -> CodeTable: ...
    def fact_table(self, name: str) -> FactTable: ...
    def groups(self, name: str) -> Groups: ...
    def value_at(self, path: str, run: Run) -> Sequence[Datum]: ...
    def text(self, argument: Argument) -> Text:
        """The argument as something that gives text at run time; empty where a variable has no value."""
        ...


Maker = Callable[[Workshop, Sequence[Argument]], Step]


class Function(msgspec.Struct, frozen=True):
    """One row of the table. `shape` is how its arguments are written in the manual."""

    make: Maker
    least: int = 0
    most: int = 0
    whole: bool = False
    empty: bool = False  # it is applied also where there is no value
    shape: str = ""


FUNCTIONS: Final[dict[str, Function]] = {}


def function(
    name: str, *, least: int = 0, most: int = -1, whole: bool = False, empty: bool = False, shape: str = ""
) -> Callable[[Maker], Maker]:
    """Put a maker into the table."""

    def register(make: Maker) -> Maker:
        FUNCTIONS[name] = Function(make, least, least if most < 0 else most, whole, empty, shape)
        return make

    return register


def word(argument: Argument) -> str:
    """An argument that must be a plain word, because it is needed when the mapping is compiled."""
    if argument.kind != "word":
        raise BadUse(f"${argument.text} cannot stand here: a plain word is needed")
    return argument.text


def said(got: Got) -> str:
    """The value as text."""
    value = got.value
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _simple(change: Callable[[str], Any], lossy: bool = False) -> Maker:
    def make(_: Workshop, __: Sequence[Argument]) -> Step:
        def step(_: Run, got: Got) -> Any:
            got.lossy = got.lossy or lossy
            return change(said(got))

        return step

    return make


# --- text ----------------------------------------

function("upper")(_simple(str.upper))
function("lower")(_simple(str.lower))
function("trim")(_simple(str.strip))
function("digits")(_simple(ascii_digits))
function("text")(_simple(str))


function("narrative")(_simple(lambda text: f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(text)}</div>'))


@function("after", least=1, shape="PREFIX")
def _after(_: Workshop, arguments: Sequence[Argument]) -> Step:
    prefix = word(arguments[0])
    return lambda _, got: said(got)[len(prefix) :] if said(got).startswith(prefix) else None


function("uri")(_simple(lambda text: quote(text, safe="-._~")))


@function("pad", least=1, shape="WIDTH")
def _pad(_: Workshop, arguments: Sequence[Argument]) -> Step:
    width = word(arguments[0])
    if not width.isdigit() or not 0 < int(width) < 100:
        raise BadUse("the width is a number below 100")
    return lambda _, got: said(got).strip().zfill(int(width))


@function("match", least=1, shape="PATTERN")
def _match(_: Workshop, arguments: Sequence[Argument]) -> Step:
    try:
        pattern = re.compile(word(arguments[0]))
    except re.error as error:
        raise BadUse(f"not a pattern: {error}") from None

    def step(_: Run, got: Got) -> Any:
        text = said(got)
        found = pattern.search(text)
        if found is None:
            got.lossy = True
            return None
        taken = found.group(1) if pattern.groups else found.group(0)
        got.lossy = got.lossy or taken != text
        return taken

    return step


@function("value-at")
def _value_at(workshop: Workshop, _: Sequence[Argument]) -> Step:
    """The value under the path that the text is: for places that a sender declares among its options."""

    def step(run: Run, got: Got) -> Any:
        data = workshop.value_at(said(got), run)
        got.data = tuple(data[:1])
        return data[0].value if data else None

    return step


@function("split", least=1, shape="SEPARATOR")
def _split(_: Workshop, arguments: Sequence[Argument]) -> Step:
    separator = word(arguments[0])
    return lambda _, got: [part.strip() for part in said(got).split(separator) if part.strip()] or None


@function("default", least=1, empty=True, shape="VALUE")
def _default(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    text = workshop.text(arguments[0])

    def step(run: Run, got: Got) -> Any:
        if got.value is None:
            got.how = "defaulted"
            got.data = ()
            return text(run)
        return got.value

    return step


# --- several values ----------------------------------------


def _whole(name: str, change: Callable[[list[Any]], Any], lossy: bool) -> None:
    def make(_: Workshop, __: Sequence[Argument]) -> Step:
        def step(_: Run, got: Got) -> Any:
            if got.value is None:
                return None
            got.lossy = got.lossy or (lossy and len(got.value) > 1)
            return change(got.value)

        return step

    function(name, whole=True)(make)


_whole("all", lambda values: values, lossy=False)
_whole("last", lambda values: values[-1], lossy=True)
_whole("count", len, lossy=True)
_whole("concat", lambda values: "".join(str(value) for value in values), lossy=False)


@function("first", whole=True)
def _first(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        got.data = got.data[:1]
        return got.value[0]

    return step


@function("join", least=1, whole=True, shape="SEPARATOR")
def _join(_: Workshop, arguments: Sequence[Argument]) -> Step:
    separator = word(arguments[0])
    return lambda _, got: separator.join(str(value) for value in got.value)


@function("sum", whole=True)
def _sum(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        got.how = "derived"
        return sum((_number(str(value)) for value in got.value), Decimal(0))

    return step


@function("minus", least=1, shape="NUMBER")
def _minus(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    other = workshop.text(arguments[0])

    def step(run: Run, got: Got) -> Any:
        got.how = "derived"
        return _number(said(got)) - _number(other(run) or "0")

    return step


# --- numbers ----------------------------------------


def _number(text: str) -> Decimal:
    plain = ascii_digits(text).strip().replace("٬", "").replace("٫", ".")
    try:
        number = Decimal(plain)
    except InvalidOperation:
        raise Problem("GW-MAP-005", value=text) from None
    if not number.is_finite() or len(plain) > 40 or "_" in plain:
        raise Problem("GW-MAP-005", value=text)
    return number


@function("decimal")
def _decimal(_: Workshop, __: Sequence[Argument]) -> Step:
    return lambda _, got: got.value if isinstance(got.value, Decimal) else _number(said(got))


@function("integer")
def _integer(_: Workshop, __: Sequence[Argument]) -> Step:
    def step(_: Run, got: Got) -> Any:
        number = _number(said(got))
        if number != number.to_integral_value() or abs(number) > 10**15:
            raise Problem("GW-MAP-005", value=said(got))
        return int(number)

    return step


_TRUTH: Final = {"true": True, "y": True, "yes": True, "1": True, "si": True, "sì": True, "بله": True, "是": True}
_TRUTH_NOT: Final = {"false": False, "n": False, "no": False, "0": False, "خیر": False, "否": False}


@function("boolean")
def _boolean(_: Workshop, __: Sequence[Argument]) -> Step:
    table = {**_TRUTH, **_TRUTH_NOT}

    def step(_: Run, got: Got) -> Any:
        answer = table.get(said(got).strip().lower())
        if answer is None:
            raise Problem("GW-MAP-006", value=said(got), expected="true, false")
        return answer

    return step


# --- ids and references ----------------------------------------


@function("id", least=1, shape="TYPE")
def _id(_: Workshop, arguments: Sequence[Argument]) -> Step:
    what = word(arguments[0])

    def step(run: Run, got: Got) -> Any:
        got.lossy = True
        got.how = "derived"
        return keyed(run.context.id_key, run.context.sender, what, (said(got),))

    return step


@function("reference", least=1, shape="TYPE")
def _reference(_: Workshop, arguments: Sequence[Argument]) -> Step:
    what = word(arguments[0])

    def step(run: Run, got: Got) -> Any:
        got.lossy = True
        got.how = "derived"
        return {"reference": f"{what}/{keyed(run.context.id_key, run.context.sender, what, (said(got),))}"}

    return step


def names() -> Mapping[str, Function]:
    """The whole table, with the functions of the other files in it."""
    from gateway.map import functions_codes, functions_fhir, functions_sets, functions_time

    assert functions_codes
    assert functions_fhir
    assert functions_sets
    assert functions_time
    return FUNCTIONS
