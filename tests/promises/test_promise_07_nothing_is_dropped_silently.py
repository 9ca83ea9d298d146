"""Promise 7: nothing is dropped in mapping without being listed; each element knows where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import workers
from gateway.clock import SystemClock
from gateway.commands.convert import media_type, submission
from gateway.commands.demo_inputs import registry
from gateway.formats import hl7v2
from gateway.message import ItemResult, Json
from gateway.settings import Settings

ROOT = Path(__file__).parents[2]
SAMPLES = [
    path
    for programme in ("sepas", "toscana")
    for path in sorted((ROOT / "mappings" / programme / "samples").iterdir())
    if path.suffix in {".hl7", ".json", ".csv"} and "expected" not in path.name and path.stem != "registry"
]


@pytest.fixture(scope="module")
def rules() -> workers.Rules:
    return workers.load_rules(Settings(home=str(ROOT), programmes=("sepas", "toscana")))


def results(rules: workers.Rules, path: Path, body: bytes) -> list[ItemResult]:
    programme = path.parent.parent.name
    given = submission(body, media_type(path, None), programme, "sender", SystemClock().now())
    grouped: dict = {}
    for entry in registry(ROOT):
        if entry.programme == programme:
            grouped.setdefault(entry.kind, {}).setdefault(entry.key, []).append(entry)
    frozen = {kind: {key: tuple(rows) for key, rows in keys.items()} for kind, keys in grouped.items()}
    context = workers.context_of(given, SystemClock().now(), "test", frozen, {}, b"key")
    return list(rules.mapper.take_apart(given, context))


def places(result: ItemResult) -> set[str]:
    found = {place.path for line in result.lineage for place in line.places}
    return found | {lost.place.path for lost in result.loss}


@pytest.mark.parametrize("path", [p for p in SAMPLES if p.suffix == ".hl7"], ids=lambda p: p.name)
def test_every_field_of_a_message_is_mapped_ignored_with_a_reason_or_listed(rules: workers.Rules, path: Path) -> None:
    """The reader's own list of what is in the message is the measure, not the mapping's."""
    body = path.read_bytes().replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    (result,) = results(rules, path, body)
    listed = places(result)
    # A place is covered by itself, by its field as a whole, or by one of its parts.
    for datum in hl7v2.read(body).leaves():
        where = datum.place.path
        covered = any(where == p or where.startswith(p + ".") or p.startswith((where + ".", where)) for p in listed)
        assert covered, f"{path.name}: {where} is nowhere"
    assert all(lost.reason for lost in result.loss if lost.fate == "ignored")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.name)
def test_every_element_of_every_resource_has_a_lineage(rules: workers.Rules, path: Path) -> None:
    """A reviewer can ask of any value where it came from; constants of the mapping say so by having no place."""
    body = path.read_bytes()
    if path.suffix == ".hl7":
        body = body.replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    for result in results(rules, path, body):
        known = {line.element for line in result.lineage}
        assert known
        for resource in result.resources:
            own = f"{resource['resourceType']}/{resource['id']}#"
            assert any(element.startswith(own) for element in known), own
            assert set(tops(resource)) & {e[len(own) :].split("[")[0].split(".")[0] for e in known if e.startswith(own)}


def tops(resource: Json) -> list[str]:
    return [name for name in resource if name != "resourceType"]


def test_a_field_that_nobody_reads_is_listed_as_unread(rules: workers.Rules) -> None:
    """A Z-segment that no rule knows is not lost: it is on the list with its place."""
    path = next(p for p in SAMPLES if p.name == "adt-a03.hl7")
    body = path.read_bytes().replace(b"\n", b"\r").rstrip(b"\r") + b"\rZZ9|1|canary-value\r"
    (result,) = results(rules, path, body)
    assert {lost.place.path for lost in result.loss if lost.fate == "unread"} >= {"ZZ9-1", "ZZ9-2"}
