"""Promise 7: nothing is dropped in mapping without being listed.

Every leaf of every sample is removed and changed in turn; each time the resources, the loss report or the findings
must differ, unless the mapping declares the place ignored with a reason. Lineage alone does not count, nor do the
findings of the HL7 v2 conformance check, which is switched off. Ids are numbered before they are compared: the hash
of an input is not the input.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from map_expected import samples
from maplab import HOME, Apply

from gateway.formats import json
from gateway.message import ItemResult

_ID = re.compile(r"[0-9a-f]{32}")


def outcome(results: tuple[ItemResult, ...]) -> list[Any]:
    """What a reader sees of the results, ids numbered in the order of their appearance."""
    numbers: dict[str, str] = {}

    def plain(value: Any) -> str:
        text = json.write(value).decode()
        return _ID.sub(lambda m: numbers.setdefault(m[0], f"id{len(numbers)}"), text)

    return [
        [
            plain(list(each.resources)),
            [(loss.place.path, loss.fate, loss.value) for loss in each.loss],
            [(f.code, f.place.path if f.place else None, dict(f.args)) for f in each.findings],
        ]
        for each in results
    ]


def changed(value: str) -> str:
    return value[:-1] + ("1" if value[-1] != "1" else "2") if value[-1].isdigit() else value + "z"


def hl7_mutants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Every sub-component of the message, emptied and changed; the delimiters of MSH stay."""
    segments = body.decode().split("\r")
    for s, segment in enumerate(segments):
        fields = segment.split("|")
        for f in range(2 if fields[0] == "MSH" else 1, len(fields)):
            tokens = re.split(r"([\^~&])", fields[f])
            for t in range(0, len(tokens), 2):
                if not tokens[t]:
                    continue
                number = f + 1 if fields[0] == "MSH" else f
                for way, new in (("removed", ""), ("changed", changed(tokens[t]))):
                    field = "".join([*tokens[:t], new, *tokens[t + 1 :]])
                    line = "|".join([*fields[:f], field, *fields[f + 1 :]])
                    text = "\r".join([*segments[:s], line, *segments[s + 1 :]])
                    yield f"{fields[0]}-{number} token {t} {way}", text.encode()


def json_mutants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Every scalar of the document, removed and changed."""
    document = json.read(body)

    def walk(value: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        if inner is None:
            yield way
            return
        for key, child in inner:
            yield from walk(child, (*way, key))

    for way in walk(document, ()):
        for what in ("removed", "changed"):
            mutant = copy.deepcopy(document)
            at = mutant
            for key in way[:-1]:
                at = at[key]
            if what == "removed":
                del at[way[-1]]
            else:
                value = at[way[-1]]
                at[way[-1]] = changed(value) if isinstance(value, str) else value + 1
            yield f"{way} {what}", json.write(mutant)


def csv_mutants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Every cell of every row, emptied and changed."""
    lines = body.decode().splitlines()
    for number, line in enumerate(lines[1:], 1):
        cells = line.split(";")
        for c, cell in enumerate(cells):
            for way, new in (("removed", ""), ("changed", changed(cell) if cell else "")):
                if cell and new != cell:
                    row = ";".join([*cells[:c], new, *cells[c + 1 :]])
                    text = "\n".join([*lines[:number], row, *lines[number + 1 :]]) + "\n"
                    yield f"row {number + 1} column {lines[0].split(';')[c]} {way}", text.encode()


def xml_mutants(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Every attribute but namespaces, and every text of an element without children, emptied and changed."""
    text = body.decode()
    for found in re.finditer(r' (\w+)="([^"]+)"|<(\w+)[^<>]*>([^<>]*[^<>\s][^<>]*)<', text):
        attribute, element = found[1], found[3]
        if attribute == "xmlns":
            continue
        group = 2 if attribute else 4
        for way, new in (("removed", ""), ("changed", changed(found[group]))):
            mutant = text[: found.start(group)] + new + text[found.end(group) :]
            yield f"xml {'@' + attribute if attribute else element} {way}", mutant.encode()


MUTANTS = {
    ".hl7": hl7_mutants,
    ".json": json_mutants,
    ".fhir": json_mutants,
    ".csv": csv_mutants,
    ".xml": xml_mutants,
}


@pytest.mark.parametrize("path", samples(), ids=lambda p: str(p.relative_to(HOME / "mappings")))
def test_no_place_can_change_unseen(path: Path, apply: Apply) -> None:
    """Whatever a sender changes shows: in what we made, in the loss report, or as a finding."""
    name = path.parent.parent.name
    body = path.read_bytes()
    apply = partial(apply, sender_options={"conformance": "off"})
    baseline = apply(name, body, path.suffix)
    seen = outcome(baseline)
    ignored = {loss.place.path for result in baseline for loss in result.loss if loss.fate == "ignored"}
    unseen = []
    count = 0
    for label, mutant in MUTANTS[path.suffix](body):
        count += 1
        if outcome(apply(name, mutant, path.suffix)) == seen and not declared(label, ignored):
            unseen.append(label)
    assert count > 20
    assert not unseen, unseen


def declared(label: str, ignored: set[str]) -> bool:
    """Whether the place of the mutant is one that the mapping declares ignored, or that only repeats another."""
    place = re.sub(" (removed|changed)$", "", label.split(" token ")[0])
    if place.startswith("xml "):
        return any(re.sub(r"\[\d+\]$", "", path).rpartition("/")[2] == place[4:] for path in ignored)
    if label.startswith("("):
        place = "$." + ".".join(re.findall(r"'(\w+)'", label))
    plain = {re.sub(r"\[\d+\]", "", path) for path in ignored}
    return any(path == place or path.startswith((place + ".", place + "[")) for path in plain)


def test_every_reason_is_a_sentence(apply: Apply) -> None:
    """What is ignored says why, so that an analyst can disagree."""
    for path in samples():
        for result in apply(path.parent.parent.name, path.read_bytes(), path.suffix):
            for loss in result.loss:
                assert loss.fate == "unread" or len(loss.reason or "") > 15
