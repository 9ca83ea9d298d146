"""The official R4 examples: accepted without error, and byte-true after reading and writing except white space."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from gateway.formats import json
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
