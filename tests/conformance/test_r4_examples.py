"""The official R4 examples: accepted without error, and byte-true after reading and writing except white space."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.formats import fhirxml, json, xml
from gateway.validate import load

DATA = Path(os.environ.get("GATEWAY_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
EXAMPLES = DATA / "r4_examples.ndjson.gz"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_file(), reason="the R4 examples are not here (GATEWAY_TEST_DATA)")

WRONG_AS_PUBLISHED = {
    ("Bundle", "10bb101f-a121-4264-a920-67be9cb82c74"): "an entry's fullUrl names Patient/pat12, its resource is pat2",
    ("Bundle", "lri-example"): "fullUrls name lri-gramstain1 …, the resources are gramstain1 …",
    ("CodeSystem", "v3-ActRelationshipType"): "the generated narrative links to anchors that it does not have",
    ("Organization", "2.16.840.1.113883.19.5"): "an OID without urn:oid: under the system for URIs",
    ("Observation", "example-genetics-brcapat"): "uses a US Core extension that R4 itself does not define",
}
_OUTSIDE_STRINGS = re.compile(rb'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)


def squeezed(text: bytes) -> bytes:
    """Without the white space between tokens."""
    return _OUTSIDE_STRINGS.sub(lambda found: found[1] or b"", text)


def examples() -> list[tuple[str, bytes]]:
    rows = [json.read(line) for line in gzip.decompress(EXAMPLES.read_bytes()).splitlines()]
    return [(row["file"], row["text"].encode()) for row in rows]


def test_every_official_example_is_accepted() -> None:
    """The specification's own examples are the least that a validator must not refuse."""
    book = load()
    refused = {}
    for name, text in examples():
        resource = json.read(text)
        found = [each for each in book.validate(resource) if each.severity == "error"]
        if found:
            refused[resource["resourceType"], resource["id"]] = (name, found[0])
    assert refused.keys() == WRONG_AS_PUBLISHED.keys(), refused


def test_every_official_example_is_byte_true_after_reading_and_writing() -> None:
    """Decimals, order, escapes of text: what a signed record says must not change on its way through."""
    for name, text in examples():
        value = json.read(text)
        again = json.write(value)
        assert json.read(again) == value, name
        if b"\\u" not in text and b"\\/" not in text:
            assert again == squeezed(text), name


def _without_narrative(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: None if name == "div" else _without_narrative(inner) for name, inner in sorted(value.items())}
    return [_without_narrative(inner) for inner in value] if isinstance(value, list) else value


def _narratives(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["div"]] if isinstance(value.get("div"), str) else []
        return own + [found for _, inner in sorted(value.items()) for found in _narratives(inner)]
    return [found for inner in value for found in _narratives(inner)] if isinstance(value, list) else []


def test_every_official_example_survives_xml() -> None:
    """JSON to XML and back: every digit, every companion; narrative the same document, whatever its entities."""
    types = load().rules.types
    for name, text in examples():
        value = json.read(text)
        again = fhirxml.read(fhirxml.write(value, types), types)
        assert json.write(_without_narrative(again)) == json.write(_without_narrative(value)), name
        for before, after in zip(_narratives(value), _narratives(again), strict=True):
            assert canonical(before) == canonical(after), name


def canonical(div: str) -> bytes:
    """Canonical XML of a narrative."""
    return bytes(etree.tostring(xml.read(div.strip().encode()), method="c14n"))
