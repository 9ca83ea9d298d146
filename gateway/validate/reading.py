"""A resource from bytes: FHIR JSON, FHIR XML, or one line of NDJSON; what cannot be read is a finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

from gateway.errors import Refused
from gateway.formats import fhirxml, json, media
from gateway.message import Finding
from gateway.validate.rulebook import Rulebook

Form = Literal["json", "xml", "ndjson"]
FORM: Final[dict[str, Form]] = {
    media.FHIR_JSON: "json",
    media.JSON: "json",
    media.FHIR_XML: "xml",
    media.XML: "xml",
    "text/xml": "xml",
    "application/fhir+ndjson": "ndjson",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
}
_BY_SUFFIX: Final[dict[str, Form]] = {".xml": "xml", ".ndjson": "ndjson", ".json": "json"}


def form_of(name: str, body: bytes) -> Form:
    """The form of a file, by its name, else by its first character."""
    found = next((form for suffix, form in _BY_SUFFIX.items() if name.lower().endswith(suffix)), None)
    return found or ("xml" if body.lstrip()[:1] == b"<" else "json")


def read(book: Rulebook, body: bytes, form: Form) -> tuple[Any, Finding | None]:
    """The value, or None and what is wrong with the bytes."""
    try:
        return (fhirxml.read(body, book.rules.types) if form == "xml" else json.read(body)), None
    except Refused as refused:
        return None, refused.finding()


def pieces(body: bytes, form: Form) -> Iterator[tuple[str, bytes]]:
    """(label, bytes) of each resource of a file: one, or one a line."""
    if form != "ndjson":
        yield "", body
        return
    for number, line in enumerate(body.splitlines(), 1):
        if line.strip():
            yield f":{number}", line
