"""Every search against a brute-force evaluation by FHIRPath: same data, no index, no SQL, none of our parsing."""

# ruff: noqa: E501, PERF401 (tables of generators and expectations)

from __future__ import annotations

import asyncio
import tempfile
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pull_house import DEFINITIONS, NOW, House

from gateway import store
from gateway.clock import FixedClock
from gateway.fhirpath import Compiled, Environment, compile  # noqa: A004
from gateway.message import Json
from gateway.pull.parameters import TYPES

MODEL = DEFINITIONS.model
CODES = ("a", "b", "c,1", "d|2")
SYSTEMS = ("urn:s:1", "urn:s:2")
FAMILIES = ("Müller", "MULLER", "mullen", "O'Test", "Prova-Uno", "测试一", "آزمایشی")
DATES = ("2025", "2025-12", "2026-01", "2026-01-31", "2026-02-01", "2026-01-31T23:30:00-02:00", "2026-02-01T01:30:15Z")

coding = st.fixed_dictionaries({"code": st.sampled_from(CODES)}, optional={"system": st.sampled_from(SYSTEMS)})
concept = st.fixed_dictionaries(
    {}, optional={"coding": st.lists(coding, min_size=1, max_size=2), "text": st.just("words")}
).filter(bool)
identifier = st.fixed_dictionaries(
    {"value": st.sampled_from(CODES)},
    optional={
        "system": st.sampled_from(SYSTEMS),
        "type": st.fixed_dictionaries({"coding": st.lists(coding, min_size=1, max_size=1)}),
    },
)
period = st.fixed_dictionaries({}, optional={"start": st.sampled_from(DATES), "end": st.sampled_from(DATES)}).filter(
    bool
)
person = st.sampled_from(("p0", "p1", "p2", "p9"))
reference = st.one_of(
    person.map(lambda each: {"reference": f"Patient/{each}"}),
    st.just({"reference": "Group/p1"}),
    identifier.map(lambda each: {"identifier": each}),
)
numbers = st.sampled_from(("4.9", "4.95", "5", "5.04", "5.05", "5.4", "-3", "100", "105")).map(Decimal)
quantity = st.fixed_dictionaries(
    {"value": numbers},
    optional={"system": st.just("urn:u"), "code": st.sampled_from(("mg", "kg")), "unit": st.just("mg")},
)

patients = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "identifier": st.lists(identifier, min_size=1, max_size=2),
        "name": st.lists(
            st.fixed_dictionaries({"family": st.sampled_from(FAMILIES)}, optional={"given": st.lists(st.sampled_from(FAMILIES), min_size=1, max_size=2)}),
            min_size=1, max_size=2,
        ),
        "birthDate": st.sampled_from([each for each in DATES if "T" not in each]),
        "gender": st.sampled_from(("male", "female")),
        "active": st.booleans(),
        "deceasedBoolean": st.booleans(),
        "telecom": st.lists(st.fixed_dictionaries({"system": st.sampled_from(("phone", "email")), "value": st.sampled_from(CODES)}), min_size=1, max_size=2),
        "address": st.lists(st.fixed_dictionaries({"city": st.sampled_from(FAMILIES)}), min_size=1, max_size=1),
        "meta": st.fixed_dictionaries({"profile": st.lists(st.sampled_from(("http://x/a", "http://x/a/b")), min_size=1, max_size=1), "tag": st.lists(coding, min_size=1, max_size=1)}),
    },
)  # fmt: skip
observations = st.fixed_dictionaries(
    {"resourceType": st.just("Observation"), "status": st.sampled_from(("final", "amended")), "code": concept},
    optional={
        "subject": reference,
        "valueQuantity": quantity,
        "effectivePeriod": period,
        "category": st.lists(concept, min_size=1, max_size=2),
    },
)
encounters = st.fixed_dictionaries(
    {"resourceType": st.just("Encounter"), "status": st.sampled_from(("planned", "finished")), "class": coding},
    optional={"subject": reference, "period": period, "type": st.lists(concept, min_size=1, max_size=1), "identifier": st.lists(identifier, min_size=1, max_size=1)},
)  # fmt: skip
worlds = st.tuples(
    st.lists(patients, min_size=1, max_size=4), st.lists(observations, max_size=6), st.lists(encounters, max_size=5)
)

Item = tuple[Any, str]
Test = Callable[[Any, str], bool]


@cache
def compiled(expression: str, type: str) -> Compiled:
    return compile(expression, MODEL, type)


def items(resource: Json, code: str) -> list[Item]:
    """What the definition's own FHIRPath finds, with its type."""
    type = resource["resourceType"]
    expression = DEFINITIONS.of(type)[code].expression

    def resolve(url: str) -> Json:
        return {"resourceType": url.partition("/")[0]}

    found = compiled(expression, type).nodes(resource, Environment(resolve=resolve))
    return [(getattr(n, "value", n), n.kind.name if hasattr(n, "kind") else "boolean") for n in found]


# --- what the standard says, once more and differently ---------------------


def escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("|", "\\|")


def tokens(value: Any, kind: str) -> list[tuple[str | None, str | None]]:
    match kind:
        case "CodeableConcept":
            return [(each.get("system"), each.get("code")) for each in value.get("coding", [])]
        case "Coding":
            return [(value.get("system"), value.get("code"))]
        case "Identifier":
            return [(value.get("system"), value.get("value"))]
        case "ContactPoint":
            return [(None, value["value"])]
        case "boolean":
            return [(None, str(value).lower())]
        case _:
            return [(None, value)]


def plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)).casefold()


def texts(value: Any, kind: str) -> list[str]:
    if kind == "HumanName":
        return [value["family"], *value.get("given", [])]
    return [value["city"]] if kind == "Address" else [value]


def moment(text: str) -> tuple[datetime, datetime]:
    if len(text) == 4:
        return datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text) + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        return datetime(year, month, 1, tzinfo=UTC), datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    start = datetime.fromisoformat(text)
    if "T" not in text:
        start = start.replace(tzinfo=UTC)
        return start, start + timedelta(days=1)
    return start, start + timedelta(seconds=1)


def extent(value: Any, kind: str) -> tuple[datetime, datetime]:
    if kind != "Period":
        return moment(value)
    start = moment(value["start"])[0] if "start" in value else datetime.min.replace(tzinfo=UTC)
    return start, moment(value["end"])[1] if "end" in value else datetime.max.replace(tzinfo=UTC)


def in_time(prefix: str, low: datetime, high: datetime, begin: datetime, end: datetime) -> bool:
    inside = begin <= low and high <= end and low < end
    return {
        "eq": inside, "ne": not (begin <= low and high <= end), "gt": high > end, "lt": low < begin,
        "ge": high > end or inside, "le": low < begin or inside, "sa": low >= end, "eb": high <= begin,
    }[prefix]  # fmt: skip


def in_number(prefix: str, value: Decimal, text: str) -> bool:
    given = Decimal(text)
    exponent = given.as_tuple().exponent
    assert isinstance(exponent, int)
    half = Decimal(5) * Decimal(10) ** (exponent - 1)
    inside = given - half <= value < given + half
    return {
        "eq": inside, "ne": not inside, "gt": value > given, "lt": value < given, "ge": value >= given,
        "le": value <= given, "sa": value > given, "eb": value < given,
    }[prefix]  # fmt: skip


PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
Question = tuple[str, str, Callable[[Json], bool]]


def any_of(code: str, test: Test) -> Callable[[Json], bool]:
    return lambda resource: any(test(value, kind) for value, kind in items(resource, code))


def token_questions(code: str) -> list[Question]:
    made: list[Question] = []
    for wanted in (*CODES, "male", "true", "false", "final", "finished"):
        has = any_of(code, lambda v, k, w=wanted: any(c == w for _, c in tokens(v, k)))  # type: ignore[misc]
        made.append((code, escape(wanted), has))
        made.append((f"{code}:not", escape(wanted), lambda r, h=has: not h(r)))  # type: ignore[misc]
        made.append((code, f"urn:s:1|{escape(wanted)}", any_of(code, lambda v, k, w=wanted: ("urn:s:1", w) in tokens(v, k))))  # type: ignore[misc]  # fmt: skip
        made.append((code, f"|{escape(wanted)}", any_of(code, lambda v, k, w=wanted: (None, w) in tokens(v, k))))  # type: ignore[misc]
    made.append((code, "urn:s:2|", any_of(code, lambda v, k: any(s == "urn:s:2" for s, _ in tokens(v, k)))))
    made.append((code, "a,b", any_of(code, lambda v, k: any(c in ("a", "b") for _, c in tokens(v, k)))))
    return made


def string_questions(code: str) -> list[Question]:
    made: list[Question] = []
    for text in ("mul", "MÜLLER", "o't", "试", "测", "آزما", "prova", "x"):
        low = plain(text)
        made.append((code, text, any_of(code, lambda v, k, t=low: any(plain(x).startswith(t) for x in texts(v, k)))))  # type: ignore[misc]
        made.append((f"{code}:contains", text, any_of(code, lambda v, k, t=low: any(t in plain(x) for x in texts(v, k)))))  # type: ignore[misc]  # fmt: skip
    for text in FAMILIES:
        made.append((f"{code}:exact", escape(text), any_of(code, lambda v, k, t=text: t in texts(v, k))))  # type: ignore[misc]
    return made


def date_questions(code: str) -> list[Question]:
    return [
        (code, f"{p}{d}", any_of(code, lambda v, k, p=p, d=d: in_time(p, *extent(v, k), *moment(d))))  # type: ignore[misc]
        for p in PREFIXES
        for d in DATES
    ]


def quantity_questions(code: str) -> list[Question]:
    made: list[Question] = []
    for p in PREFIXES:
        for text in ("5", "5.0", "5.4", "100", "1e2", "-3"):
            made.append((code, f"{p}{text}", any_of(code, lambda v, k, p=p, t=text: in_number(p, v["value"], t))))  # type: ignore[misc]
    made.append((code, "5.4|urn:u|mg", any_of(code, lambda v, k: in_number("eq", v["value"], "5.4") and (v.get("system"), v.get("code")) == ("urn:u", "mg"))))  # fmt: skip
    made.append((code, "5||mg", any_of(code, lambda v, k: in_number("eq", v["value"], "5") and "mg" in (v.get("code"), v.get("unit")))))  # fmt: skip
    return made


def reference_questions(code: str) -> list[Question]:
    made: list[Question] = []
    for id in ("p0", "p1", "p9"):
        made.append((code, f"Patient/{id}", any_of(code, lambda v, k, i=id: v.get("reference") == f"Patient/{i}")))  # type: ignore[misc]
        made.append((f"{code}:Patient", id, any_of(code, lambda v, k, i=id: v.get("reference") == f"Patient/{i}")))  # type: ignore[misc]
        made.append((code, id, any_of(code, lambda v, k, i=id: v.get("reference", "").endswith(f"/{i}"))))  # type: ignore[misc]
    made.append((f"{code}:identifier", "a", any_of(code, lambda v, k: v.get("identifier", {}).get("value") == "a")))
    return made


def uri_questions(code: str) -> list[Question]:
    return [
        (code, "http://x/a", any_of(code, lambda v, k: v == "http://x/a")),
        (f"{code}:below", "http://x/a", any_of(code, lambda v, k: v.startswith("http://x/a"))),
        (f"{code}:above", "http://x/a/b", any_of(code, lambda v, k: "http://x/a/b".startswith(v))),
    ]


MAKERS = {
    "token": token_questions,
    "string": string_questions,
    "date": date_questions,
    "quantity": quantity_questions,
    "reference": reference_questions,
    "uri": uri_questions,
}
SPECIAL = {"_id", "_lastUpdated", "_document"}
COVERED = {
    "Patient": ("identifier", "name", "family", "given", "birthdate", "gender", "active", "deceased", "telecom", "phone", "email", "address", "address-city", "_profile", "_tag"),
    "Observation": ("status", "code", "subject", "patient", "value-quantity", "date", "category"),
    "Encounter": ("status", "class", "subject", "patient", "date", "type", "identifier"),
}  # fmt: skip
"""The parameters whose elements are generated."""


def questions(type: str) -> list[Question]:
    made: list[Question] = []
    for code in COVERED[type]:
        made += MAKERS[DEFINITIONS.of(type)[code].kind](code)
        for missing in ("true", "false"):
            made.append((f"{code}:missing", missing, lambda r, c=code, m=missing: (not items(r, c)) == (m == "true")))  # type: ignore[misc]
    return made


QUESTIONS = {type: questions(type) for type in COVERED}


def linked(world: dict[str, list[Json]]) -> dict[str, list[Question]]:
    """Chains and reverse chains of one step."""

    def named(resource: Json) -> bool:
        return any(plain(x).startswith("mul") for v, k in items(resource, "family") for x in texts(v, k))

    def subject(resource: Json, good: Callable[[Json], bool]) -> bool:
        wanted = {f"Patient/{p['id']}" for p in world["Patient"] if good(p)}
        return any(v.get("reference") in wanted for v, _ in items(resource, "subject"))

    def observed(patient: Json, status: str) -> bool:
        return any(
            ("Patient/" + patient["id"]) == v.get("reference")
            for o in world["Observation"]
            if o["status"] == status
            for v, _ in items(o, "subject")
        )

    return {
        "Observation": [
            ("subject:Patient.family", "mul", lambda r: subject(r, named)),
            ("patient.family", "mul", lambda r: subject(r, named)),
        ],
        "Patient": [
            ("_has:Observation:subject:status", "final", lambda r: observed(r, "final")),
            ("_has:Observation:patient:status", "amended", lambda r: observed(r, "amended")),
        ],
    }


async def compared(house: House, world: dict[str, list[Json]], chosen: list[tuple[str, Question]]) -> None:
    for type, (name, value, test) in chosen:
        expected = sorted(each["id"] for each in world[type] if test(each))
        path = f"{type}?{quote(name)}={quote(value, safe='')}&_count=3"
        assert sorted(await house.ids(path)) == expected, (name, value)


def numbered(world: tuple[list[Json], ...]) -> dict[str, list[Json]]:
    made: dict[str, list[Json]] = {}
    for group, (type, letter) in zip(world, (("Patient", "p"), ("Observation", "o"), ("Encounter", "e")), strict=True):
        made[type] = [{**each, "id": f"{letter}{n}"} for n, each in enumerate(group)]
    return made


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds, st.data())
def test_every_search_finds_what_fhirpath_finds(
    url_of: Callable[[], str], world: tuple[list[Json], ...], data: st.DataObject
) -> None:
    """The index, its SQL and the parsing of parameters may not change what a definition means."""
    things = numbered(world)
    offered = [(t, q) for t, found in (*QUESTIONS.items(), *linked(things).items()) for q in found]
    chosen = data.draw(
        st.lists(st.sampled_from(offered), min_size=40, max_size=40, unique_by=lambda x: (x[0], x[1][0], x[1][1]))
    )

    async def checked() -> None:
        with tempfile.TemporaryDirectory() as folder:
            clock = FixedClock(NOW)
            async with store.open(url_of(), Path(folder), clock, DEFINITIONS) as ledger:
                house = House(ledger, clock)
                await house.put_all([each for group in things.values() for each in group])
                await compared(house, things, chosen)

    asyncio.run(checked())


WORLD: tuple[list[Json], ...] = (
    [
        {"resourceType": "Patient", "identifier": [{"system": "urn:s:1", "value": "a", "type": {"coding": [{"system": "urn:s:2", "code": "b"}]}}], "name": [{"family": "Müller", "given": ["Prova-Uno"]}], "birthDate": "2026-01-31", "gender": "male", "deceasedBoolean": True},
        {"resourceType": "Patient", "name": [{"family": "测试一"}], "birthDate": "2025", "active": True, "telecom": [{"system": "phone", "value": "c,1"}], "meta": {"profile": ["http://x/a/b"], "tag": [{"code": "d|2"}]}},
        {"resourceType": "Patient", "identifier": [{"value": "a"}], "address": [{"city": "آزمایشی"}], "meta": {"profile": ["http://x/a"]}},
    ],
    [
        {"resourceType": "Observation", "status": "final", "code": {"coding": [{"system": "urn:s:1", "code": "a"}]}, "subject": {"reference": "Patient/p0"}, "valueQuantity": {"value": Decimal("5.4"), "system": "urn:u", "code": "mg"}, "effectivePeriod": {"start": "2026-01"}},
        {"resourceType": "Observation", "status": "amended", "code": {"text": "words"}, "subject": {"identifier": {"value": "a"}}, "valueQuantity": {"value": Decimal("5.04"), "unit": "mg"}, "effectivePeriod": {"start": "2026-01-31T23:30:00-02:00", "end": "2026-02-01"}},
        {"resourceType": "Observation", "status": "amended", "code": {"coding": [{"code": "b"}]}, "subject": {"reference": "Group/p1"}},
    ],
    [
        {"resourceType": "Encounter", "status": "finished", "class": {"system": "urn:s:1", "code": "a"}, "period": {"end": "2026-02-01T01:30:15Z"}, "subject": {"reference": "Patient/p1"}},
        {"resourceType": "Encounter", "status": "planned", "class": {"code": "d|2"}, "period": {"start": "2025-12", "end": "2025-12"}},
    ],
)  # fmt: skip


async def test_every_parameter_once(house: House) -> None:
    """All questions of all covered parameters on one small world, on both databases."""
    things = numbered(WORLD)
    await house.put_all([each for group in things.values() for each in group])
    asked = [(t, q) for t, found in (*QUESTIONS.items(), *linked(things).items()) for q in found]
    assert len(asked) > 700
    await compared(house, things, asked)


async def test_of_type_and_last_updated(house: House) -> None:
    """The two that FHIRPath alone cannot tell."""
    things = numbered(WORLD)
    await house.put(*things["Patient"])
    assert await house.ids("Patient?identifier:of-type=urn:s:2|b|a") == ["p0"]
    assert await house.ids("Patient?identifier:of-type=urn:s:2|b|b") == []
    assert await house.ids("Patient?_lastUpdated=ge2026-11-21") == ["p0", "p1", "p2"]
    assert await house.ids("Patient?_lastUpdated=lt2026-11-21T08:30:00Z") == []
    assert await house.ids("Patient?_id=p1,p2,p7") == ["p1", "p2"]


@pytest.mark.parametrize("sort", ["family", "-family", "birthdate", "-birthdate", "_id", "-_id", "-_lastUpdated"])
async def test_sorting_pages_without_loss(house: House, sort: str) -> None:
    """Whatever the order, pages together are the whole, once; what has no value comes last."""
    people = [
        {"resourceType": "Patient", "id": f"s{n}"}
        | ({"name": [{"family": FAMILIES[n % 5]}]} if n % 4 else {})
        | ({"birthDate": f"19{60 + n % 7}"} if n % 3 else {})
        for n in range(23)
    ]
    for person_ in people:
        await house.put(person_)
    found = await house.ids(f"Patient?_sort={sort}&_count=4")
    assert sorted(found) == sorted(each["id"] for each in people)
    values = {
        "family": lambda r: plain(r["name"][0]["family"]) if "name" in r else None,
        "birthdate": lambda r: r.get("birthDate"),
        "_id": lambda r: r["id"],
        "_lastUpdated": lambda r: people.index(r),
    }[sort.removeprefix("-")]
    by_id = {each["id"]: each for each in people}
    keys = [values(by_id[each]) for each in found]
    present_ = [each for each in keys if each is not None]
    assert keys == [*present_, *([None] * (len(keys) - len(present_)))]
    assert present_ == sorted(present_, reverse=sort.startswith("-"))


def test_all_definitions_compile() -> None:
    """A parameter that is offered can be evaluated."""
    DEFINITIONS.prepare()
    assert sum(len(DEFINITIONS.of(each)) for each in TYPES) > 500
