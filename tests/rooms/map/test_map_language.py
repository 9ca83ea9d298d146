"""The mapping language: every construct and every function does what docs/mapping.md says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from maplab import HOME, MAPPINGS, NOW, Little, one, submission

from gateway.errors import Misconfigured
from gateway.formats import json, media
from gateway.map.functions import names
from gateway.message import Context, RegistryEntry

FRAME = """
title: t
subject: p
{top}
resources:
  p:
    resourceType: Patient
    key: [id]
{body}
"""


def body(little: Little, text: str, given: dict[str, Any], top: str = "", **more: Any) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in text.strip("\n").splitlines())
    engine = little(FRAME.format(top=top, body=lines), **more.pop("files", {}))
    result = one(engine, json.write({"id": "1", **given}), **more)
    (made,) = result.resources
    return {key: value for key, value in made.items() if key not in ("resourceType", "id")}


def expression(little: Little, text: str, given: dict[str, Any], **more: Any) -> Any:
    return body(little, f"x: {text}", given, **more).get("x")


CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("a | upper", {"a": "aé"}, "AÉ"),
    ("a | lower", {"a": "AÉ"}, "aé"),
    ("a | trim", {"a": " b "}, "b"),
    ("a | digits", {"a": "۱٢３x"}, "123x"),
    ("a | text", {"a": True}, "true"),
    ("a | pad 3", {"a": "7"}, "007"),
    ("a | after HL7", {"a": "HL70203"}, "0203"),
    ("a | after HL7", {"a": "L"}, None),
    ("a | uri", {"a": "a b/ü"}, "a%20b%2F%C3%BC"),
    ("a | match ([0-9]+)", {"a": "no 42!"}, "42"),
    ('a | split ","', {"a": "x, y,"}, ["x", "y"]),
    ("a | default z", {}, "z"),
    ("a | default z", {"a": "b"}, "b"),
    ("a[*] | all", {"a": ["x", "y"]}, ["x", "y"]),
    ("a[*] | first", {"a": ["x", "y"]}, "x"),
    ("a[*] | last", {"a": ["x", "y"]}, "y"),
    ("a[*] | count", {"a": ["x", "y"]}, 2),
    ("a[*] | concat", {"a": ["x", "y"]}, "xy"),
    ('a[*] | join ", "', {"a": ["x", "y"]}, "x, y"),
    ("a[*] | upper | join -", {"a": ["x", "y"]}, "X-Y"),
    ("a[*] | sum", {"a": ["1.10", "2"]}, "3.10"),
    ("a | minus $b", {"a": "5", "b": "1.5"}, "3.5"),
    ("a | decimal", {"a": "۱۲٫۵۰"}, "12.50"),
    ("a | integer", {"a": "12"}, 12),
    ("a | boolean", {"a": "Y"}, True),
    ("a | boolean", {"a": "خیر"}, False),
    ("a | datetime", {"a": "20260105081500"}, "2026-01-05T08:15:00+03:30"),
    ("a | datetime", {"a": "202606050815+0100"}, "2026-06-05T08:15:00+01:00"),
    ("a | datetime", {"a": "202601"}, "2026-01"),
    ("a | instant", {"a": "20260105081500.5Z"}, "2026-01-05T08:15:00.5+00:00"),
    ("a | date", {"a": "202601050815"}, "2026-01-05"),
    ("a | time", {"a": "0815"}, "08:15:00"),
    ("a | jalali", {"a": "۱۳۹۹/۸/۱"}, "2020-10-22"),
    ("a | date-as dmy", {"a": "05/01/2026"}, "2026-01-05"),
    ("a | date-as mdy", {"a": "01/05/2026"}, "2026-01-05"),
    ("a | date-as dmy", {"a": "2026-01-05"}, "2026-01-05"),
    ("a | datetime-as dmy", {"a": "05/01/2026 08:15"}, "2026-01-05T08:15:00+03:30"),
    ("a | to-jalali slash", {"a": "2020-10-22"}, "1399/08/01"),
    ("a | to-jalali year", {"a": "2026-01-05T22:00:00Z"}, 1404),
    ("a | to-jalali month", {"a": "2020-10-22"}, 8),
    ("a | to-jalali day", {"a": "2020-10-21T22:00:00+00:00"}, 1),
    ("a | clock hour", {"a": "2026-01-05T05:00:00Z"}, 8),
    ("a | clock iso", {"a": "2026-01-05T05:00:00Z"}, "08:30:00"),
    ("a | clock hour", {"a": "2026-01-05"}, None),
    ("a | plus-minutes 90", {"a": "2026-01-05T05:00:00Z"}, "2026-01-05T10:00:00+03:30"),
    ("a | deadline 10d", {"a": "2026-01-05T08:15:00+03:30"}, "2026-01-15T23:59:59+03:30"),
    ("a | deadline 10d exclusive", {"a": "2026-01-05T08:15:00+03:30"}, "2026-01-14T23:59:59+03:30"),
    ("a | deadline 3w", {"a": "2026-01-08"}, "2026-01-13T23:59:59+03:30"),
    ("a | deadline 3w inclusive free", {"a": "2026-01-08"}, "2026-01-12T23:59:59+03:30"),
    ("a | less-hours 48", {"a": "2026-01-05T08:15:00+03:30"}, "2026-01-03T08:15:00+03:30"),
    ("a | less-hours 48 of-day", {"a": "2026-01-05T08:15:00+03:30"}, "2026-01-03T00:00:00+03:30"),
    ("a | after-time $b", {"a": "2026-01-05", "b": "2026-01-04"}, "2026-01-05"),
    ("a | after-time $b", {"a": "2026-01-04", "b": "2026-01-04"}, None),
    ("a | after-time $b", {"a": "2026-01-04"}, None),
    ("a | value-at", {"a": "$.c[0].d", "c": [{"d": "there"}]}, "there"),
    ("a | value-at", {"a": "no path!"}, None),
    ("a | month-as jalali", {"a": "۱۴۰۳/۷"}, "1403-07"),
    ("a | month-as jalali", {"a": "140313"}, None),
    ("a | month-as jalali", {"a": "1403/07/01"}, None),
    ("a | clock-time", {"a": "۸:۳۰"}, "08:30:00"),
    ("a | clock-time", {"a": "23:59:59"}, "23:59:59"),
    ("a | clock-time", {"a": "24:00"}, None),
    ("a | narrative", {"a": "a<b"}, '<div xmlns="http://www.w3.org/1999/xhtml">a&lt;b</div>'),
    ("a | deadline 72h", {"a": "2026-01-05T08:15:00+03:30"}, "2026-01-08T08:15:00+03:30"),
    ("a | identifier national-code", {"a": "۰۰۱۲۳۴۵۶۷۹"}, "0012345679"),
    ("a | normal national-code", {"a": "12345678"}, "0012345678"),
    ("a | code t", {"a": "M"}, "male"),
    ("a | coding t", {"a": "M"}, {"system": "urn:s", "code": "male", "display": "Male"}),
    ("a | concept t", {"a": "M"}, {"coding": [{"system": "urn:s", "code": "male", "display": "Male"}]}),
    ("a | display t", {"a": "M"}, "Male"),
    ("a | system t", {"a": "M"}, "urn:s"),
    ("a | known t", {"a": "Q"}, None),
    ("a | fact f days B", {"a": "89.7"}, "7d"),
    ("a | fact f days Q", {"a": "89.7"}, "30d"),
    ("a | fact old days on 2019-05-01", {"a": "x"}, "5d"),
    ("a | fact old days", {"a": "x"}, "6d"),
    ("a | code changed on 2019-05-01", {"a": "C"}, "was"),
    ("a | code changed", {"a": "C"}, "is"),
    ("a | lookup organisation name", {"a": "c1"}, "Centre"),
    ("a | lookup organisation name 2019-05-01", {"a": "c1"}, "Old centre"),
    ("a | find organisation name", {"a": "c1"}, "Centre"),
    ("a | find organisation name", {"a": "c9"}, None),
    ("a | object", {"a": {"b": [1]}}, {"b": [1]}),
    ("a else b", {"b": "x"}, "x"),
    ("a else =z", {}, "z"),
    ("={a}-{b | upper}", {"a": "x", "b": "y"}, "x-Y"),
    ("={a}-{b}", {"a": "x"}, None),
    ("=just {{text}}", {}, "just {text}"),
    ("$given.colour", {}, "blue"),
    ("$now", {}, NOW.isoformat(timespec="seconds")),
    ("items where .kind = b take .value", {"items": [{"kind": "a", "value": 1}, {"kind": "b", "value": 2}]}, 2),
    ("a", {"a": None}, None),
    ("a", {"a": ""}, None),
]
TABLES = {
    "tables__t_csv": "source,system,code,display,valid_from,valid_to\nM,urn:s,male,Male,,\nF,urn:s,female,Female,,\n",
    "tables__f_csv": "*code,*class,days\n89.7,B,7d\n89.7,,30d\n",
    "tables__free_csv": "*day,name\nweekday-5,Friday\n01-01,New Year\n",
    "tables__old_csv": "*code,days,valid_from,valid_to\nx,5d,,2019-12-31\nx,6d,2020-01-01,\n",
    "tables__changed_csv": "source,system,code,display,valid_from,valid_to\n"
    "C,u:s,was,,,2019-12-31\nC,u:s,is,,2020-01-01,\n",
}
REGISTRY = {
    "organisation": {
        "c1": (
            RegistryEntry(
                kind="organisation", key="c1", programme="little", valid_to="2019-12-31", data={"name": "Old centre"}
            ),
            RegistryEntry(
                kind="organisation", key="c1", programme="little", valid_from="2020-01-01", data={"name": "Centre"}
            ),
        )
    }
}


@pytest.mark.parametrize(("text", "given", "wanted"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_an_expression(text: str, given: dict[str, Any], wanted: Any, little: Little) -> None:
    """One row of the manual's table."""
    made = expression(
        little, json.write(text).decode(), given, top="let: {b: b}", files=TABLES, registry=REGISTRY,
        sender_options={"colour": "blue"},
    )  # fmt: skip
    assert (str(made) if isinstance(wanted, str) else made) == wanted


ELSEWHERE = {"id", "reference", "belongs", "resource"}
"""Functions that need more than a table row: tried in tests of their own."""


def test_every_function_is_tried_and_described() -> None:
    """The list is closed: what is in it stands in the manual and in the table above."""
    manual = (HOME / "docs" / "mapping.md").read_text(encoding="utf-8")
    tried = {name for text, *_ in CASES for name in re.findall(r"\| ([a-z-]+)", text)} | ELSEWHERE
    assert set(names()) == tried
    assert all(f"`{name}" in manual for name in names())


def test_variables_of_a_resource_are_read_from_its_part(little: Little) -> None:
    """Two lines of one order have two codes: a name says the one of the line, and elsewhere that of the file."""
    text = """
title: t
subject: p
let: {code: top}
resources:
  p:
    resourceType: Patient
    key: [id]
    x: $code
  line:
    resourceType: ServiceRequest
    each: lines[*]
    let: {code: code, twice: "={$code}{$code}"}
    key: [code]
    x: $twice
    inner: [{each: "notes[*]", text: $code}]
    subject: ->p
"""
    given = {"id": "1", "top": "T", "lines": [{"code": "a", "notes": ["n"]}, {"code": "b"}]}
    patient, first, second = one(little(text), json.write(given)).resources
    assert (patient["x"], first["x"], second["x"]) == ("T", "aa", "bb")
    assert first["inner"] == [{"text": "a"}]


def test_constants_alone_do_not_make_an_element(little: Little) -> None:
    """An identifier without its value is no identifier, whatever is known about its system."""
    text = """
    identifier:
      - {system: =urn:x, value: a}
      - {system: "=urn:{b}", value: c}
    active: true
    """
    assert body(little, text.replace("    ", "", 1).replace("\n    ", "\n"), {"b": "y"}) == {"active": True}


def test_each_when_at_first_is(little: Little) -> None:
    """Repetition, conditions, going inside, and choosing."""
    text = """
names:
  - each: people
    when: not .secret
    place: $position
    name: .name
first: {at: people, name: .name}
kind:
  first:
    - {when: level = 1, is: =low}
    - {when: "level in 2, 3", is: =high}
    - is: =none
"""
    people = [{"name": "a"}, {"name": "b", "secret": True}, {"name": "c"}]
    made = body(little, text.replace("first: {at", "head: {at"), {"people": people, "level": 3})
    assert made == {
        "names": [{"place": 1, "name": "a"}, {"place": 3, "name": "c"}],
        "head": {"name": "a"},
        "kind": "high",
    }


def test_an_element_named_like_a_directive_is_written_with_a_dot(little: Little) -> None:
    """`.when` is the element, `when` the condition."""
    assert body(little, "repeat: {.when: a}", {"a": "MORN"}) == {"repeat": {"when": "MORN"}}


def test_fragments_are_reused_and_overridden(little: Little) -> None:
    """An element beside `fragment:` takes the place of the fragment's own; an empty one removes it."""
    top = "fragments:\n  f: {a: =1, b: x, c: y}"
    assert body(little, "n: {fragment: f, b: =2, c: ~}", {"x": "q", "y": "r"}, top) == {"n": {"a": "1", "b": "2"}}


def test_resources_refer_to_one_another_in_either_order(little: Little) -> None:
    """A reference may point forward, and inside `each` it means the resource of the same repetition."""
    engine = little("""
title: t
subject: p
resources:
  e:
    resourceType: Encounter
    key: [id]
    diagnosis:
      - {each: codes, condition: ->c}
  p: {resourceType: Patient, key: [id], link: [{other: ->missing, type: =seealso}]}
  missing: {resourceType: Patient, key: [other]}
  c: {resourceType: Condition, each: codes, key: [.code], subject: ->p}
""")
    result = one(engine, b'{"id": "1", "codes": [{"code": "A"}, {"code": "B"}]}')
    encounter, patient, *conditions = result.resources
    assert [d["condition"]["reference"] for d in encounter["diagnosis"]] == [f"Condition/{c['id']}" for c in conditions]
    assert {c["subject"]["reference"] for c in conditions} == {f"Patient/{patient['id']}"}
    assert "link" not in patient


def test_errors_of_expressions_are_shown_together(little: Little) -> None:
    """File, line and column of each."""
    with pytest.raises(Misconfigured) as caught:
        little("""
title: t
subject: nobody
resources:
  p:
    resourceType: Patient
    key: [id]
    a: x | nonsense
    b: x | code missing
    c: $unknown
    d: x | date-as ymdd
    f:
    g: "a[["
    h: {is: a, other: b}
""")
    detail = caught.value.args_["detail"]
    assert caught.value.code == "GW-MAP-020"
    assert caught.value.args_["count"] == "8"
    for line, what in [(3, "nobody"), (8, "nonsense"), (9, "missing"), (10, "$unknown"), (11, "order"), (13, "a[[")]:
        assert f"little/map.yaml:{line}:" in detail
        assert what in detail


def test_lineage_names_the_places_and_how(little: Little) -> None:
    """Each element tells which input made it."""
    engine = little("""
title: t
subject: p
resources:
  p:
    resourceType: Patient
    key: [id]
    name: [{text: "={a} {b}"}]
    gender: sex | default unknown
    birthDate: born | jalali
""")
    result = one(engine, b'{"id": "1", "a": "x", "b": "y", "born": "1399/08/01"}')
    made = {each.element.partition("#")[2]: each for each in result.lineage}
    assert [p.path for p in made["name[0].text"].places] == ["$.a", "$.b"]
    assert made["gender"].how == "defaulted"
    assert [(x.place.path, x.value) for x in result.loss] == [("$.id", "1")]
    assert [(f.code, f.location) for f in result.findings] == [("GW-MAP-024", "Patient.gender")]


def test_what_is_cut_off_stays_in_the_loss_report(little: Little) -> None:
    """A date cut out of an instant, a many-to-one code, a hash: the place is still listed."""
    engine = little("""
title: t
subject: p
resources:
  p: {resourceType: Patient, key: [id], birthDate: born | date, ref: other | reference Patient}
""")
    result = one(engine, b'{"id": "1", "born": "2026-01-05T10:00", "other": "z"}')
    assert {loss.place.path for loss in result.loss} == {"$.id", "$.born", "$.other"}


def test_the_overlay_of_a_sender_translates_its_codes(little: Little) -> None:
    """A sender's own code stands for a target of the programme's table, for that sender only."""
    text = "title: t\nsubject: p\nresources:\n  p: {resourceType: Patient, key: [id], gender: a | code t}\n"
    engine = little(text, **TABLES)
    given = b'{"id": "1", "a": "herr"}'
    refused = one(engine, given)
    assert [f.code for f in refused.findings] == ["GW-MAP-003"]
    assert refused.findings[0].args["near"]
    taken = one(engine, given, overlays={"t": {"herr": "male"}})
    assert taken.resources[0]["gender"] == "male"


def test_a_code_is_valid_in_time(little: Little) -> None:
    """A row that has ended translates nothing any more."""
    table = "source,system,code,display,valid_from,valid_to\nM,urn:s,old,,,2019-12-31\nM,urn:s,new,,2020-01-01,\n"
    assert expression(little, "a | code t", {"a": "M"}, files={"tables__t_csv": table}) == "new"


def test_the_same_input_and_context_give_the_same_result(little: Little) -> None:
    """Pure: no clock, no random number."""
    engine = little("title: t\nsubject: p\nresources:\n  p: {resourceType: Patient, key: [id], gender: a}\n")
    assert one(engine, b'{"id": "1", "a": "x"}') == one(engine, b'{"id": "1", "a": "x"}')


def test_the_digest_follows_the_files(little: Little) -> None:
    """A replay knows whether the rules are the same."""
    text = "title: t\nsubject: p\nresources:\n  p: {resourceType: Patient, key: [id]}\n"
    assert little(text).digest == little(text).digest != little(text + "\n# changed\n").digest


def test_the_schema_takes_every_mapping_and_refuses_nonsense() -> None:
    """Editors check mapping files with the schema that stands beside them."""
    import jsonschema

    from gateway.formats import yaml

    schema = json.read((MAPPINGS / "mapping.schema.json").read_bytes())
    checker = jsonschema.Draft202012Validator(schema)
    for path in MAPPINGS.glob("*/*.yaml"):
        if path.name != "checks.yaml":
            assert not list(checker.iter_errors(yaml.load(path).value)), path
    assert list(checker.iter_errors({"title": "t", "resource": {}}))
    assert list(checker.iter_errors({"title": "t", "subject": "p", "resources": {"p": {"key": ["a"]}}}))


def test_a_concept_map_is_a_code_table(little: Little) -> None:
    """A FHIR R4 ConceptMap translates like a CSV; what it calls unmatched is not translated."""
    concept_map = {
        "resourceType": "ConceptMap",
        "group": [
            {
                "source": "urn:a",
                "target": "urn:b",
                "element": [
                    {"code": "1", "target": [{"code": "one", "equivalence": "equal"}]},
                    {"code": "2", "target": [{"equivalence": "unmatched"}]},
                ],
            }
        ],
    }
    text = "title: t\nsubject: p\nresources:\n  p: {resourceType: Patient, key: [id], x: a | coding numbers}\n"
    engine = little(text, **{"tables/numbers.json": json.write(concept_map).decode()})
    assert one(engine, b'{"id": "1", "a": "1"}').resources[0]["x"] == {"system": "urn:b", "code": "one"}
    assert one(engine, b'{"id": "1", "a": "2"}').refused


def test_xml_with_namespaces(little: Little) -> None:
    """Paths of XML are XPaths; the mapping declares its prefixes."""
    text = """
title: t
namespaces: {b: "urn:bill"}
subject: p
resources:
  p:
    resourceType: Patient
    key: [/b:Bill/b:Person/@id]
    name:
      - each: /b:Bill/b:Person/b:Name
        text: .
        use: "@kind"
"""
    engine = little(text, format="xml")
    person = b'<x:Person id="7"><x:Name kind="old">Test</x:Name><x:Other>o</x:Other></x:Person>'
    body = b'<x:Bill xmlns:x="urn:bill">' + person + b"</x:Bill>"
    result = one(engine, body, ".xml")
    assert result.resources[0]["name"] == [{"text": "Test", "use": "old"}]
    assert [x.value for x in result.loss] == ["7", "o"]


def test_a_fhir_bundle_as_input(little: Little) -> None:
    """What already is FHIR is mapped like any JSON: profiled anew, references rewired by keyed ids."""
    text = """
title: t
subject: p
resources:
  p: {resourceType: Patient, key: ["entry[0].resource.id"], gender: "entry[0].resource.gender"}
"""
    engine = little(text, format="fhir")
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Patient", "id": "x", "gender": "male"}}],
    }
    given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k")
    (result,) = engine.take_apart(submission("little", json.write(bundle), media.FHIR_JSON), given)
    assert result.resources[0]["gender"] == "male"
    assert result.resources[0]["id"] != "x"
