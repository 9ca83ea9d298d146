"""Each check finds its fault at its place, and says nothing of input that is right (A-01 to A-19, A-40)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sepas_house import House, errors
from sepas_inputs import ROOT, SAMPLES, stay

from gateway.formats import json, media, yaml
from gateway.message import Finding

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def house() -> House:
    return House(ROOT)


def changed(change: Change) -> bytes:
    made = json.read(stay(1, ("C50.4",)))
    change(made)
    return json.write(made)


def service(**more: Any) -> Change:
    return lambda made: made["services"][0].update(more)


def patient(**more: Any) -> Change:
    return lambda made: made["patient"].update(more)


FAULTS: list[tuple[str, str, Change, str]] = [
    ("SEPAS-105", "error", lambda m: m["services"][0].pop("total"), "$.services[0]"),
    ("SEPAS-107", "warning", lambda m: m["patient"].pop("birthDate"), "$.patient"),
    ("SEPAS-108", "warning", lambda m: m["patient"].pop("recordNumber"), "$.patient"),
    ("SEPAS-116", "warning", patient(recordNumber="0000"), "$.patient"),
    ("SEPAS-117", "warning", lambda m: m["insurance"][0].update(hidReserved=True), "$.insurance[0].hid"),
    ("SEPAS-114", "warning", service(insurance=550000, patient=100000), "$.services[0].total"),
    ("SEPAS-118", "warning", service(date="1404/11/15"), "$.services[0].date"),
    ("SEPAS-124", "warning", service(unitPrice=500000), "$.services[0].total"),
    ("SEPAS-126", "warning", lambda m: m["services"][0].pop("name"), "$.services[0]"),
    ("SEPAS-115", "warning", service(total=700000, insurance=600000), "$.services[0].total"),
    ("SEPAS-119", "warning", lambda m: m["patient"].pop("mobile"), ""),
    ("SEPAS-140", "warning", lambda m: m["admission"].update(date="1399/07/30"), "$.admission.date"),
    ("SEPAS-233", "information", lambda m: m["diagnoses"][0].update(code="Z94.8"), "$.diagnoses[0].code"),
]


def of(findings: tuple[Finding, ...], code: str) -> Finding | None:
    return next((each for each in findings if each.code == code), None)


@pytest.mark.parametrize(("code", "severity", "change", "place"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_found_at_its_place(house: House, code: str, severity: str, change: Change, place: str) -> None:
    """What leads to a deduction or a refusal is said before it is sent, where the sender can mend it (A-14, A-15)."""
    _, right = house.examine(changed(lambda _: None))
    assert of(right, code) is None
    _, findings = house.examine(changed(change))
    found = of(findings, code)
    assert found is not None, [each.code for each in findings]
    assert found.severity == severity
    assert (found.place.path if found.place else "").startswith(place)
    assert (severity == "error") is (code in errors(findings))


def test_the_price_is_that_of_the_day_and_of_the_group(house: House) -> None:
    """A price for a group goes before the general one; before the table begins there is no price to differ from."""
    dear = service(code="700710", name="همودیالیز", total=9000000, insurance=8000000, patient=1000000)
    _, general = house.examine(changed(dear))
    assert of(general, "SEPAS-115") is not None  # 8 500 000 for everybody

    def declared(made: dict[str, Any]) -> None:
        dear(made)
        made["group"] = "dialysis"

    _, own = house.examine(changed(declared))
    assert of(own, "SEPAS-115") is None

    def early(made: dict[str, Any]) -> None:
        service(total=700000, insurance=600000, date="1399/07/30")(made)
        made["admission"]["date"] = made["discharge"]["date"] = "1399/07/30"

    _, before = house.examine(changed(early))
    assert of(before, "SEPAS-115") is None


def test_a_reserved_hid_of_the_centres_batch_is_not_asked_about(house: House) -> None:
    """Batches of reserved HIDs are reference data."""
    _, findings = house.examine(changed(lambda m: m["insurance"][0].update(hidReserved=True, hid="HIDRSV01")))
    assert of(findings, "SEPAS-117") is None


def _registry(house: House, key: str, **data: Any) -> House:
    known = {kind: dict(entries) for kind, entries in house.context.registry.items()}
    (entry,) = known["organisation"][key]
    kept = {name: value for name, value in {**entry.data, **data}.items() if value is not None}
    known["organisation"][key] = (msgspec.structs.replace(entry, data=kept),)
    other = House.__new__(House)
    other.__dict__.update(house.__dict__)
    other.context = msgspec.structs.replace(house.context, registry=known)
    return other


@pytest.mark.parametrize(
    ("code", "key", "data"),
    [
        ("SEPAS-101", "1000001", {"university": None}),
        ("SEPAS-111", "U-01", {"supervisor": None}),
        ("SEPAS-110", "1000001", {"contract": None}),
    ],
)
def test_what_the_reference_data_lacks_is_said(house: House, code: str, key: str, data: dict[str, Any]) -> None:
    """A centre under no university (A-01), a university without a responsible person (A-07), no contract (A-10)."""
    _, right = house.examine(stay(1, ("C50.4",)))
    assert of(right, code) is None
    _, findings = _registry(house, key, **data).examine(stay(1, ("C50.4",)))
    assert of(findings, code) is not None


def test_a_contract_that_has_ended_is_said(house: House) -> None:
    """Reference data holds on the day of the stay (A-10)."""
    known = {kind: dict(entries) for kind, entries in house.context.registry.items()}
    (entry,) = known["organisation"]["1000001"]
    known["organisation"]["1000001"] = (msgspec.structs.replace(entry, valid_to="2025-12-31"),)
    other = House.__new__(House)
    other.__dict__.update(house.__dict__)
    other.context = msgspec.structs.replace(house.context, registry=known)
    _, findings = other.examine(stay(1, ("C50.4",)))
    assert of(findings, "GW-MAP-008") is not None


def test_a_care_setting_that_is_none_of_the_three_is_refused(house: House) -> None:
    """Outpatient, inpatient, temporary inpatient: 1, 2, 4 (A-09)."""
    adt = (SAMPLES / "adt-a03.hl7").read_bytes().replace(b"\n", b"\r")
    _, right = house.examine(adt, media.HL7V2)
    assert errors(right) == []
    _, findings = house.examine(adt.replace(b"|2|V-5001", b"||V-5001").replace(b"PV1|1|I", b"PV1|1|E"), media.HL7V2)
    assert "SEPAS-109" in errors(findings)


def test_every_check_has_its_words_and_a_rule_of_the_letter() -> None:
    """Four languages, what is wrong and how it is mended."""
    for check in yaml.load(ROOT / "mappings" / "sepas" / "checks.yaml"):
        assert str(check["rule"].value).startswith("A-"), check["code"].value
        assert set(check["text"].value) == set(check["mend"].value) == {"en", "fa", "it", "zh"}
