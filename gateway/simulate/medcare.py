"""The medcare stand-in: JSON over REST, a registration number as receipt (`registry.py`).

No interface of the real system is published; a body that names itself a registration follows the template strictly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from gateway.simulate.registry import Problem, Registry, Words


class Medcare(Registry):
    """A body of the template is checked against it; any other JSON object is registered as it is."""

    name = "medcare"
    words = Words("REGISTERED", "REFUSED", "registration", "MC-{:06d}", "M")

    def wrong(self, document: Any) -> Iterator[Problem]:
        """The first deviation from the template."""
        if not isinstance(document, dict):
            yield "M03", "the body is not an object"
        elif "registration" in document and (deviation := next(_shape(document), "")):
            yield "M06", deviation


PARTS: Final[dict[str, tuple[str, ...]]] = {
    "registration": ("reference", "centre", "university"),
    "patient": ("nationalCode", "withoutId", "recordNumber", "firstName", "lastName", "birthDate", "gender"),
    "stay": ("class", "admissionType", "admitted", "discharged"),
}
"""The members of the template's objects, in their order."""

_LISTS: Final[dict[str, tuple[str, ...]]] = {
    "diagnoses": ("code", "text"),
    "services": ("code", "name", "count", "date", "total", "insurance"),
}
_TOP: Final = ("registration", "patient", "group", "stay", "diagnoses", "services")
_NUMBERS: Final = frozenset({"count", "total", "insurance"})
_DATES: Final = frozenset({"birthDate", "admitted", "discharged", "date"})


def _shape(body: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a body of the template: names, order, types, codes; never a value."""
    if not _ordered(body, _TOP):
        yield "the members are not those of the template, in their order"
        return
    for name, members in PARTS.items():
        yield from _members(name, body.get(name, {}), members)
    for name, members in _LISTS.items():
        for each in body.get(name, []) if isinstance(body.get(name, []), list) else [None]:
            yield from _members(name, each, members)
    if not body["registration"].get("centre"):
        yield "registration.centre is missing"
    patient = body.get("patient", {})
    if not patient.get("nationalCode") and patient.get("withoutId") is not True:
        yield "patient.nationalCode is missing"
    if body.get("stay", {}).get("admissionType", "1") not in ("1", "2", "4"):
        yield "stay.admissionType is not one of the codes"


def _ordered(value: Any, members: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and list(value) == [name for name in members if name in value]


def _members(name: str, value: Any, members: tuple[str, ...]) -> Iterator[str]:
    if not _ordered(value, members):
        yield f"the members of {name} are not those of the template, in their order"
        return
    for member, each in value.items():
        number = isinstance(each, int | Decimal) and not isinstance(each, bool)
        text = isinstance(each, bool) if member == "withoutId" else isinstance(each, str)
        if not (number if member in _NUMBERS else text):
            yield f"{name}.{member} has another type"
        elif member in _DATES and not re.fullmatch(r"1[34]\d\d/\d\d/\d\d", str(each), re.ASCII):
            yield f"{name}.{member} is not a Jalali date"
