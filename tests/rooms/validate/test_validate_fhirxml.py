"""FHIR XML to the JSON model and back."""
# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from instances_validate import INSTANCES

from gateway.errors import Refused
from gateway.formats import fhirxml, json
from gateway.validate import load

TYPES = load().rules.types
HEAD = '<Patient xmlns="http://hl7.org/fhir">'


@pytest.mark.parametrize("name", INSTANCES)
def test_a_resource_survives_the_way_there_and_back(name: str) -> None:
    """Nothing is lost, nothing is added; narrative stays as it was."""
    assert fhirxml.read(fhirxml.write(INSTANCES[name], TYPES), TYPES) == INSTANCES[name]


@pytest.mark.parametrize(
    "members",
    [
        {"name": [{"given": ["a", None, "c"], "_given": [None, {"id": "x"}, {"extension": [{"url": "http://x", "valueCode": "y"}]}]}]},
        {"birthDate": "2024", "_birthDate": {"extension": [{"url": "http://x", "valueDecimal": Decimal("0.10")}]}},
        {"_birthDate": {"extension": [{"url": "http://x", "valueDateTime": "2024-01-01T00:00:00.000Z"}]}},
        {"name": [{"_given": [{"id": "only"}]}]},
        {"multipleBirthInteger": 2, "active": False, "extension": [{"id": "e", "url": "http://x", "extension": [{"url": "y", "valueString": " s p "}]}]},
        {"name": [{"text": "<&>\"' \n\t نام 姓名 😀"}]},
    ],
)  # fmt: skip
def test_companions_decimals_and_text_survive(members: dict[str, Any]) -> None:
    """Ids and extensions of primitives, digits, order, white space, every script."""
    resource = {"resourceType": "Patient", **members}
    again = fhirxml.read(fhirxml.write(resource, TYPES), TYPES)
    assert again == resource
    assert json.write(fhirxml.read(fhirxml.write(again, TYPES), TYPES)) == json.write(again)


@pytest.mark.parametrize(
    "digits", ["0.10", "1.0", "1e3", "100", "-0.0", "12345678901234567890.1234567890", "0.0000001"]
)
def test_decimals_keep_their_digits(digits: str) -> None:
    """The precision of a measurement is part of it."""
    body = f'<Observation xmlns="http://hl7.org/fhir"><valueQuantity><value value="{digits}"/></valueQuantity></Observation>'
    read = fhirxml.read(body.encode(), TYPES)
    assert json.write(read["valueQuantity"]["value"]).decode() == digits
    assert f'value="{digits}"'.encode() in fhirxml.write(read, TYPES)


def test_elements_are_written_in_the_order_of_the_type() -> None:
    """XML has an order, JSON has none."""
    written = fhirxml.write({"resourceType": "Patient", "gender": "male", "active": True, "id": "x"}, TYPES).decode()
    assert written.index("<id") < written.index("<active") < written.index("<gender")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (HEAD + "<foo/></Patient>", "foo"),
        (HEAD + '<active value="true" x="1"/></Patient>', "active"),
        (HEAD + "text</Patient>", "Patient"),
        (HEAD + '<gender value="male"/><gender value="male"/></Patient>', "gender"),
        (HEAD + '<contained><Patient/><Patient/></contained></Patient>', "contained"),
        (HEAD + '<x:active xmlns:x="http://y" value="true"/></Patient>', "active"),
        ('<Foo xmlns="http://hl7.org/fhir"/>', "Foo"),
        ("<Patient/>", "Patient"),
        ('<HumanName xmlns="http://hl7.org/fhir"/>', "HumanName"),
        ('<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>', ""),
        ("<Patient", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_what_r4_does_not_know_is_refused_with_its_xpath(body: str, where: str) -> None:
    """Nothing is dropped in silence."""
    with pytest.raises(Refused) as caught:
        fhirxml.read(body.encode(), TYPES)
    assert where in (caught.value.place.path if caught.value.place else "")


def test_a_wrong_primitive_stays_what_it_was_for_the_validator_to_name() -> None:
    """Reading is not judging."""
    read = fhirxml.read((HEAD + '<active value="yes"/><multipleBirthInteger value="2.5"/></Patient>').encode(), TYPES)
    assert (read["active"], read["multipleBirthInteger"]) == ("yes", "2.5")
    codes = {each.location for each in load().validate(read) if each.severity == "error"}
    assert codes == {"Patient.active", "Patient.multipleBirth"}


@pytest.mark.parametrize(
    "value",
    [
        {"resourceType": "Patient", "foo": 1},
        {"resourceType": "X"},
        {},
        {"resourceType": "Patient", "name": ["x"]},
        {"resourceType": "Patient", "id": "x", "gender": "\x01"},
    ],
)
def test_what_cannot_be_written_is_refused(value: Any) -> None:
    """XML has no place for it."""
    with pytest.raises(Refused):
        fhirxml.write(value, TYPES)
