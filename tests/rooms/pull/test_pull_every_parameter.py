"""Every parameter of every type that is offered, against FHIRPath over the same data.

Resources are generated from the structure definitions themselves, so an element that a parameter looks at is there in
each of its types; what the standard says of each kind is written down here a second time, without index and SQL.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pull_house import DEFINITIONS, NOW, House
from test_pull_brute_force import DATES, FAMILIES, PREFIXES, extent, in_number, in_time, items, moment, plain

from gateway import store
from gateway.clock import FixedClock
from gateway.message import Json
from gateway.pull.parameters import TYPES, Parameter

MODEL = DEFINITIONS.model
CODES = ("a", "b", "final", "composed-of", "derived-from", "depends-on", "predecessor", "successor", "phone", "email")
SYSTEMS = ("urn:s:1", "urn:s:2")
URLS = ("http://x/a", "http://x/a/b", "http://y")
REFERENCES = (
    "Patient/p0",
    "Patient/p1",
    "Practitioner/p1",
    "Location/l1",
    "Device/d1",
    "Group/p1",
    "RelatedPerson/r",
    "http://x/a",
)
NUMBERS = tuple(Decimal(each) for each in ("4.9", "5", "5.04", "5.4", "-3", "100"))
WHOLE = (1, 5, 100)
_PRIMITIVES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "integer": WHOLE,
    "unsignedInt": WHOLE,
    "positiveInt": WHOLE,
    "decimal": NUMBERS,
    "date": tuple(each for each in DATES if "T" not in each),
    "dateTime": DATES,
    "instant": tuple(each for each in DATES if "T" in each),
    **dict.fromkeys(("uri", "url", "canonical", "oid", "uuid"), URLS),
    **dict.fromkeys(("string", "markdown"), FAMILIES),
    **dict.fromkeys(("code", "id"), CODES),
    "time": ("10:00:00",),
    "base64Binary": ("AAAA",),
    "xhtml": ('<div xmlns="http://www.w3.org/1999/xhtml">x</div>',),
}
_FIXED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("Reference", "reference"): REFERENCES,
    **{(name, "system"): SYSTEMS for name in ("Coding", "Identifier", "Quantity", "Age", "Duration")},
    **{(name, "value"): CODES for name in ("Identifier", "ContactPoint")},
    ("Money", "currency"): ("EUR", "IRR"),
}
_NEVER = frozenset({"id", "extension", "modifierExtension"})
_RESOURCES = _NEVER | {"contained", "implicitRules", "language", "text", "meta"}


def value(rng: random.Random, type: str, depth: int) -> Any:
    """A value of a type, mostly with the elements that searches look at."""
    if type in _PRIMITIVES:
        return rng.choice(_PRIMITIVES[type])
    elements = MODEL.elements(type) or {}
    made: Json = {}
    for name, element in elements.items():
        if name in _NEVER or rng.random() > 0.6 or depth > 3:
            continue
        key, kind = rng.choice(element.json() or (("", ""),))
        if not key or kind in ("Resource", "Extension", "Narrative", "Meta", "xhtml"):
            continue
        made[key] = several(rng, type, name, kind, element.many, depth)
    return {name: each for name, each in made.items() if each not in ({}, [])}


def several(rng: random.Random, type: str, name: str, kind: str, many: bool, depth: int) -> Any:
    fixed = _FIXED.get((type, name))
    one: Callable[[], Any] = (lambda: rng.choice(fixed)) if fixed else (lambda: value(rng, kind, depth + 1))
    if not many:
        return one()
    return [each for each in (one() for _ in range(rng.randint(1, 2))) if each not in ({}, [])]


def resource(rng: random.Random, type: str, id: str) -> Json:
    """A resource with most of what can be searched, some of it missing."""
    heads = DEFINITIONS.searched(type)
    made: Json = {"resourceType": type, "id": id}
    for name, element in (MODEL.elements(type) or {}).items():
        if name not in heads or name in _RESOURCES or rng.random() < 0.25:
            continue
        key, kind = rng.choice(element.json())
        found = several(rng, type, name, kind, element.many, 0)
        if found not in ({}, []):
            made[key] = found
    if rng.random() < 0.7:
        coding = {"system": rng.choice(SYSTEMS), "code": rng.choice(CODES)}
        made["meta"] = {"profile": [rng.choice(URLS)], "tag": [coding], "source": rng.choice(URLS)}
    return made


# --- what the standard says ----------------------------------------

Found = list[tuple[Any, str]]
_NAMES = ("text", "family", "given", "prefix", "suffix")
_PLACES = ("text", "line", "city", "district", "state", "postalCode", "country")
_QUANTITIES = ("Quantity", "Age", "Duration", "Count", "Distance", "SimpleQuantity", "Money")


def tokens(found: Found) -> Iterator[tuple[str, str]]:
    for each, kind in found:
        if kind == "CodeableConcept":
            yield from ((c.get("system", ""), c.get("code", "")) for c in each.get("coding", ()))
        elif kind == "Coding":
            yield each.get("system", ""), each.get("code", "")
        elif kind == "Identifier":
            yield each.get("system", ""), each.get("value", "")
        elif kind == "ContactPoint":
            yield "", each.get("value", "")
        elif kind == "boolean" or isinstance(each, bool):
            yield "", str(each).lower()
        elif isinstance(each, str):
            yield "", each


def texts(found: Found) -> Iterator[str]:
    for each, kind in found:
        if kind in ("HumanName", "Address"):
            for name in _NAMES if kind == "HumanName" else _PLACES:
                given = each.get(name, [])
                yield from given if isinstance(given, list) else [given]
        elif isinstance(each, str):
            yield each


def extents(found: Found) -> Iterator[tuple[Any, Any]]:
    for each, kind in found:
        if kind == "Timing":
            yield from (moment(one) for one in each.get("event", ()))
            bounds = each.get("repeat", {}).get("boundsPeriod")
            if bounds:
                yield extent(bounds, "Period")
        elif kind == "Period":
            if "start" in each or "end" in each:
                yield extent(each, kind)
        elif kind in ("date", "dateTime", "instant"):
            yield moment(each)


def amounts(found: Found) -> Iterator[tuple[Decimal | None, Decimal | None]]:
    for each, kind in found:
        if kind == "Range":
            ends = tuple(each.get(name, {}).get("value") for name in ("low", "high"))
            if ends != (None, None):
                yield ends
        elif kind in _QUANTITIES and "value" in each:
            yield each["value"], each["value"]
        elif isinstance(each, int | Decimal):
            yield Decimal(each), Decimal(each)


def in_range(prefix: str, ends: tuple[Decimal | None, Decimal | None], text: str) -> bool:
    low, high = ends
    if low is not None and low == high:
        return in_number(prefix, low, text)
    given = Decimal(text)
    exponent = given.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5) * Decimal(10) ** (exponent - 1)
    begin, end = given - half, given + half
    inside = low is not None and high is not None and begin <= low < end and high < end
    above, below = high is None or high > given, low is None or low < given
    return {
        "eq": inside, "ne": not inside, "gt": above, "lt": below, "ge": high is None or high >= given,
        "le": low is None or low <= given, "sa": low is not None and low > given,
        "eb": high is not None and high < given,
    }[prefix]  # fmt: skip


def targets(found: Found) -> Iterator[str]:
    for each, kind in found:
        if kind == "Reference":
            yield each.get("reference", "")
        elif kind in ("canonical", "uri", "url"):
            yield each


Test = Callable[[Found], bool]
Question = tuple[str, str, Test]


def of_tokens(code: str) -> Iterator[Question]:
    for each in ("a", "final", "true"):
        yield code, each, lambda f, e=each: any(c == e for _, c in tokens(f))  # type: ignore[misc]
        yield f"{code}:not", each, lambda f, e=each: not any(c == e for _, c in tokens(f))  # type: ignore[misc]
    yield code, "urn:s:1|b", lambda f: ("urn:s:1", "b") in set(tokens(f))
    yield code, "|b", lambda f: ("", "b") in set(tokens(f))
    yield code, "urn:s:2|", lambda f: any(s == "urn:s:2" for s, _ in tokens(f))


def of_texts(code: str) -> Iterator[Question]:
    for each in ("mul", "o't", "测", "prova"):
        yield code, each, lambda f, e=each: any(plain(t).startswith(plain(e)) for t in texts(f))  # type: ignore[misc]
        yield f"{code}:contains", each, lambda f, e=each: any(plain(e) in plain(t) for t in texts(f))  # type: ignore[misc]
    yield f"{code}:exact", "Müller", lambda f: "Müller" in set(texts(f))


def of_dates(code: str) -> Iterator[Question]:
    for prefix in PREFIXES:
        for date in DATES:
            yield code, prefix + date, lambda f, p=prefix, d=date: any(in_time(p, *e, *moment(d)) for e in extents(f))  # type: ignore[misc]


def of_amounts(code: str) -> Iterator[Question]:
    for prefix in PREFIXES:
        for number in ("5", "5.0", "100"):
            yield code, prefix + number, lambda f, p=prefix, n=number: any(in_range(p, e, n) for e in amounts(f))  # type: ignore[misc]


def of_references(code: str) -> Iterator[Question]:
    for each in REFERENCES:
        yield code, each, lambda f, e=each: e in set(targets(f))  # type: ignore[misc]
    yield code, "p1", lambda f: any(t.endswith("/p1") and "://" not in t for t in targets(f))
    yield f"{code}:Patient", "p1", lambda f: "Patient/p1" in set(targets(f))


def of_uris(code: str) -> Iterator[Question]:
    yield code, "http://x/a", lambda f: any(v == "http://x/a" for v, _ in f)
    yield f"{code}:below", "http://x/a", lambda f: any(v.startswith("http://x/a") for v, _ in f)
    yield f"{code}:above", "http://x/a/b", lambda f: any("http://x/a/b".startswith(v) for v, _ in f)


MAKERS = {
    "token": of_tokens,
    "string": of_texts,
    "date": of_dates,
    "number": of_amounts,
    "quantity": of_amounts,
    "reference": of_references,
    "uri": of_uris,
}
MATCHED = {
    "token": tokens,
    "string": texts,
    "date": extents,
    "number": amounts,
    "quantity": amounts,
    "reference": lambda f: (t for t in targets(f) if not t.startswith("#")),
    "uri": lambda f: (v for v, _ in f),
}


def questions(rng: random.Random, parameter: Parameter, most: int) -> list[Question]:
    made = list(MAKERS[parameter.kind](parameter.code))
    return rng.sample(made, min(most, len(made)))


def asked(type: str) -> list[Parameter]:
    own = ("_id", "_lastUpdated", "_document")
    return [each for each in DEFINITIONS.of(type).values() if each.code not in own]


async def compared(house: House, rng: random.Random, type: str, most: int) -> int:
    """So many questions about each parameter of a type; how many of them found something but not everything."""
    world = [resource(rng, type, f"x{n}") for n in range(12)]
    await house.put(*world)
    telling = 0
    for parameter in asked(type):
        found = {each["id"]: items(each, parameter.code) for each in world}
        for name, text, test in questions(rng, parameter, most):
            expected = sorted(id for id, each in found.items() if test(each))
            path = f"{type}?{quote(name)}={quote(text, safe='')}&_total=none&_elements=id"
            assert sorted(await house.ids(path)) == expected, (type, name, text)
            telling += 0 < len(expected) < len(world)
    return telling


@pytest.fixture
def databases(url_of: Callable[[], str]) -> Callable[[], str]:
    return url_of


async def run(url: str, folder: Any, seed: int, types: list[str], most: int) -> int:
    rng = random.Random(seed)
    async with store.open(url, folder, FixedClock(NOW), DEFINITIONS) as ledger:
        house = House(ledger, FixedClock(NOW))
        return sum([await compared(house, rng, each, most) for each in types])


SOME = (
    "Appointment", "CarePlan", "Claim", "Condition", "Consent", "Encounter", "Flag", "Goal", "Group",
    "HealthcareService", "List", "Location", "MeasureReport", "Media", "Observation", "Patient", "Practitioner",
    "Schedule", "ServiceRequest", "Slot", "Task",
)  # fmt: skip


async def test_parameters_find_what_fhirpath_finds(databases: Callable[[], str], tmp_path: Any) -> None:
    """A sample of the types that the programmes make; the whole is in the long run."""
    rng = random.Random()
    seed = rng.randrange(2**32)
    chosen = rng.sample(SOME, 6)
    telling = await run(databases(), tmp_path / "data", seed, chosen, 2)
    assert telling > 10, seed


@pytest.mark.long
@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
async def test_every_parameter_of_every_type(databases: Callable[[], str], tmp_path_factory: Any, seed: int) -> None:
    """All types and all parameters, on both databases."""
    telling = await run(databases(), tmp_path_factory.mktemp("every") / "data", seed, list(TYPES), 2)
    assert telling > 300


def test_the_generator_reaches_every_parameter() -> None:
    """A parameter for which nothing is ever generated would be compared with nothing."""
    rng, unreached = random.Random(7), []
    for type in TYPES:
        world = [resource(rng, type, f"x{n}") for n in range(60)]
        for parameter in asked(type):
            found = [item for each in world for item in items(each, parameter.code)]
            if not list(MATCHED[parameter.kind](found)):
                unreached.append(parameter)
    without = ("extension(", "hasExtension(", "extension.", ".security")  # none are generated
    rest = [each for each in unreached if not any(word in each.expression for word in without)]
    assert len(rest) < 10, rest
