"""Disease groups (A-20 to A-39, and A-02): derived from codes, none swallowing another, replaceable by a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sepas_house import AT, House, errors, groups_of, resources
from sepas_inputs import GROUPS, ROOT, Group, plan, stay

from gateway.formats import json
from gateway.gather import routes


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_codes_of_a_group_put_a_case_into_it_and_into_no_other(house: House, group: Group) -> None:
    """The bill, its episode and every derived resource are valid, and say that the group was derived."""
    result, findings = house.examine(stay(1, group.diagnoses, group.procedures))
    assert errors(findings) == []
    bundle = house.document(result)
    assert groups_of(bundle) == {group.name}
    (episode,) = resources(bundle, "EpisodeOfCare")
    assert episode["extension"][0]["valueCode"] == "derived"
    assert episode["type"][0]["coding"][0]["code"] == group.name
    for made in (*resources(bundle, "Claim"), episode):
        assert [f.code for f in house.book.validate(made) if f.severity in ("error", "warning")] == []


@pytest.mark.parametrize(
    ("group", "near"), [(g, n) for g in GROUPS for n in g.near], ids=lambda v: v if isinstance(v, str) else v.name
)
def test_what_is_near_does_not_belong_to_the_group(house: House, group: Group, near: str) -> None:
    """Cystic fibrosis is not metabolic, E86 is no disease of metabolism, N18 alone is no dialysis, Z94.8 no organ."""
    result, findings = house.examine(stay(1, (near,)))
    assert errors(findings) == []
    assert group.name not in groups_of(house.document(result))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_plan_of_a_group_is_taken_with_its_diagnosis_and_refused_with_another(house: House, group: Group) -> None:
    """The finding is that of the group, at the sender's own place, in four languages."""
    _, good = house.examine(plan(1, group.name, group.diagnoses, group.procedures))
    assert errors(good) == []
    _, bad = house.examine(plan(1, group.name, group.near))
    assert errors(bad) == [group.check]
    (found,) = [each for each in bad if each.code == group.check]
    assert found.place is not None
    assert found.place.path == "$.plan.group"
    assert set(found.text or {}) == {"en", "fa", "it", "zh"}


def test_a_service_of_the_package_table_tells_the_group_where_its_code_has_no_public_meaning(house: House) -> None:
    """National service codes are not public: the table that is loaded says which group they are of."""
    body = json.read(stay(1, ("N18.5",)))
    body["services"][0] |= {"code": "700710", "total": 9000000, "insurance": 8000000, "patient": 1000000}
    result, findings = house.examine(json.write(body))
    assert errors(findings) == []
    assert groups_of(house.document(result)) == {"dialysis"}


def test_what_is_declared_stands_beside_what_is_derived(house: House) -> None:
    """A declared group is marked as chosen; the episode says that it was declared."""
    result, findings = house.examine(stay(1, ("D56.1",), group="cancer"))
    assert "SEPAS-125" in [each.code for each in findings]
    bundle = house.document(result)
    assert groups_of(bundle) == {"thalassaemia", "cancer"}
    basis = {e["id"].partition("-")[2]: e["extension"][0]["valueCode"] for e in resources(bundle, "EpisodeOfCare")}
    assert basis == {"thalassaemia": "derived", "cancer": "declared"}


@pytest.mark.parametrize(
    ("code", "reportable"), [("C50.4", True), ("D05.1", True), ("D45", True), ("D47.3", True), ("D24", False)]
)
def test_what_is_reportable_goes_to_the_registry(house: House, code: str, reportable: bool) -> None:
    """A-35: malignant and in situ, and D45 to D47, which ICD-O-3 counts as malignant; benign neoplasms are not."""
    result, _ = house.examine(stay(1, (code,)))
    owed = routes.destinations(house.programme, "stay", house.document(result), AT)
    assert ("cancer-registry" in owed) is reportable
    assert {"sepas", "medcare"} <= set(owed)


def test_a_group_is_replaced_by_a_file(tmp_path: Path) -> None:
    """The proposal is a ValueSet: another file of the same id, and derivation, checks and routes follow it."""
    for name in ("mappings/sepas", "mappings/v2", "profiles/sepas", "profiles/r4"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "profiles" / "sepas" / "ValueSet-disease-group-dialysis.json"
    changed = json.read(path.read_bytes())
    changed["compose"] = {"include": [{"system": "http://hl7.org/fhir/sid/icd-10", "concept": [{"code": "N18.5"}]}]}
    path.write_bytes(json.write(changed))
    other = House(tmp_path)
    result, _ = other.examine(stay(1, ("N18.5",)))
    assert groups_of(other.document(result)) == {"dialysis"}
    _, findings = other.examine(plan(1, "dialysis", ("N18.5",)))
    assert errors(findings) == []


def test_every_group_says_that_it_is_a_proposal() -> None:
    """Nobody may take our choice of codes for the ministry's."""
    found = sorted((ROOT / "profiles" / "sepas").glob("ValueSet-disease-group-*.json"))
    assert len(found) == len(GROUPS)
    for path in found:
        held = json.read(path.read_bytes())
        assert held["experimental"] is True
        assert held["status"] == "draft"
        assert "proposal" in held["copyright"].lower()
        assert "proposal" in held["description"].lower()
