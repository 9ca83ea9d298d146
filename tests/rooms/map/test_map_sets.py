"""Sets of codes that a programme publishes as ValueSets, and what a mapping derives from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from maplab import HOME, NOW, PROGRAMME, TYPES, Little, one, submission

from gateway import map as mapping
from gateway import programme
from gateway.formats import json, valueset
from gateway.map.tables import groups
from gateway.message import Context, RegistryEntry

ICD10 = "http://hl7.org/fhir/sid/icd-10"


def value_set(id: str, *include: dict[str, Any], exclude: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    compose: dict[str, Any] = {"include": list(include)}
    if exclude:
        compose["exclude"] = list(exclude)
    return {"resourceType": "ValueSet", "id": id, "url": f"urn:test:{id}", "compose": compose}


def pattern(text: str, system: str = ICD10) -> dict[str, Any]:
    return {"system": system, "filter": [{"property": "code", "op": "regex", "value": text}]}


@pytest.mark.parametrize(
    ("definition", "code", "held"),
    [
        (value_set("a", pattern("E[78].*")), "E75.2", True),
        (value_set("a", pattern("E[78].*"), exclude=(pattern("E84.*"),)), "E84.0", False),
        (value_set("a", pattern("E7")), "E75.2", False),  # the pattern is over the whole code
        (value_set("a", {"system": ICD10, "concept": [{"code": "Z49"}]}), "Z49", True),
        (value_set("a", {"system": "urn:other", "concept": [{"code": "Z49"}]}), "Z49", False),
        (value_set("a", {"system": ICD10, "filter": [{"property": "x", "op": "is-a", "value": "Z"}]}), "Z49", False),
        (value_set("a", pattern("(")), "Z49", False),  # not a pattern: undecided, never a guess
        (value_set("a", {"valueSet": ["urn:test:b"]}), "Z49", True),
        (value_set("a", {"valueSet": ["urn:test:none"]}), "Z49", False),
    ],
)
def test_a_set_is_decided_by_its_own_text(definition: dict[str, Any], code: str, held: bool) -> None:
    """ICD has no content here; lists and patterns of codes decide without it."""
    known = {"urn:test:b": value_set("b", pattern("Z4.*"))}
    assert valueset.holds(definition, ICD10, code, known.get) is held


def test_sets_that_import_one_another_end() -> None:
    """A mistake in a replaced file must not hang the gateway."""
    circle = value_set("a", {"valueSet": ["urn:test:a"]})
    assert valueset.holds(circle, ICD10, "A00", lambda _: circle) is False


def _groups(home: Path) -> None:
    folder = home / "profiles" / "little"
    folder.mkdir(parents=True)
    system = {"resourceType": "CodeSystem", "url": "urn:test:group", "concept": [{"code": "one", "display": "One"}]}
    (folder / "CodeSystem-group.json").write_bytes(json.write(system))
    (folder / "ValueSet-group-one.json").write_bytes(json.write(value_set("group-one", pattern("A.*"))))


MAPPING = """
title: Sets
subject: condition
case: {kind: case, key: [id]}
parts: [all]
resources:
  condition:
    resourceType: Condition
    key: [id]
    category:
      - coding: [{is: code | belongs group}]
    code: {coding: [{system: =urn:x, code: code}], text: code | find price text}
    note: note | all | object
"""


def test_a_group_is_derived_and_says_so(little: Little, tmp_path: Path) -> None:
    """userSelected is false: nobody chose the group, and the lineage calls it derived."""
    _groups(tmp_path)
    result = one(little(MAPPING), b'{"id": 1, "code": "a1", "note": [{"text": "x", "b": {"c": 1}}]}')
    (condition,) = result.resources
    coding = {"system": "urn:test:group", "code": "one", "display": "One", "userSelected": False}
    assert condition["category"] == [{"coding": [coding]}]
    assert condition["note"] == [{"text": "x", "b": {"c": 1}}]
    assert [loss.place.path for loss in result.loss if loss.fate == "unread"] == ["$.id"]
    made = {lineage.element.partition("#")[2]: lineage.how for lineage in result.lineage}
    assert made["category[0].coding[0]"] == "derived"


def test_what_is_in_no_group_and_no_registry_is_nothing(little: Little, tmp_path: Path) -> None:
    """Neither is the sender's duty: no finding, no element."""
    _groups(tmp_path)
    result = one(little(MAPPING), b'{"id": 1, "code": "b1"}')
    (condition,) = result.resources
    assert "category" not in condition
    assert not result.findings


def test_the_registry_is_asked_silently(little: Little, tmp_path: Path) -> None:
    """`find` is `lookup` without the finding."""
    _groups(tmp_path)
    entry = RegistryEntry(kind="price", key="a1", programme="little", data={"text": "T"}, valid_to="2026-12-31")
    result = one(little(MAPPING), b'{"id": 1, "code": "a1"}', registry={"price": {"a1": (entry,)}})
    assert result.resources[0]["code"]["text"] == "T"


def test_the_groups_of_the_programme_are_there() -> None:
    """Every code of the CodeSystem that has a ValueSet is a group."""
    assert len(groups(HOME / "profiles" / "sepas")["disease-group"]) == 21


def test_every_member_of_a_batch_is_an_item(tmp_path: Path) -> None:
    """A laboratory sends many patients at once; a fault of one is a fault of one, at its place."""
    folder = tmp_path / "mappings" / "little"
    folder.mkdir(parents=True)
    (folder / "map.yaml").write_text(MAPPING, encoding="utf-8")
    text = PROGRAMME.format(format="json", zone="UTC").replace(
        'mapping = "map.yaml"', 'mapping = "map.yaml"\nsplit = "$.data"'
    )
    (folder / "programme.toml").write_text(text, encoding="utf-8")
    _groups(tmp_path)
    engine = mapping.load(tmp_path, [programme.load(tmp_path, "little")])
    body = b'{"data": [{"id": 1, "code": "a1"}, {"id": 2, "code": "a2", "odd": 5}]}'
    given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k")
    results = engine.take_apart(submission("little", body, TYPES[".json"]), given)
    assert [each.label for each in results] == ["document 1", "document 2"]
    unread = [loss.place.path for loss in results[1].loss if loss.fate == "unread"]
    assert unread == ["$.data[1].id", "$.data[1].odd"]
