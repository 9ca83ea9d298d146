"""What the tests of room map share: submissions, contexts, and results as plain data."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import map as mapping
from gateway.formats import json, media
from gateway.map import registry
from gateway.message import Context, ItemResult, RegistryEntry, Submission

HOME = Path(__file__).resolve().parents[3]
MAPPINGS = HOME / "mappings"
NOW = datetime(2026, 1, 11, 8, 0, tzinfo=UTC)
TYPES = {
    ".fhir": media.FHIR_JSON,
    ".hl7": media.HL7V2,
    ".json": media.JSON,
    ".csv": media.CSV,
    ".xlsx": media.XLSX,
    ".xml": media.XML,
}
PROGRAMMES = tuple(sorted(path.parent.name for path in MAPPINGS.glob("*/programme.toml")))
OURS = tuple(name for name in PROGRAMMES if name in ("sepas", "toscana"))


def submission(programme: str, body: bytes, media_type: str, sender: str = "test-sender") -> Submission:
    return Submission(
        id="s-1",
        sender=sender,
        programme=programme,
        received_at=NOW,
        channel="http",
        media_type=media_type,
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
    )


def registry_of(programme: str) -> Mapping[str, Mapping[str, tuple[RegistryEntry, ...]]]:
    path = MAPPINGS / programme / "samples" / "registry.csv"
    entries, findings = registry.read(path.read_bytes(), media.CSV, programme) if path.exists() else ((), ())
    assert not findings
    made: dict[str, dict[str, tuple[RegistryEntry, ...]]] = {}
    for entry in entries:
        of_kind = made.setdefault(entry.kind, {})
        of_kind[entry.key] = (*of_kind.get(entry.key, ()), entry)
    return made


def options_of(programme: str) -> dict[str, str]:
    """What the sender of the samples declares in its settings."""
    path = MAPPINGS / programme / "samples" / "options.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def context(programme: str, sender: str = "test-sender", **more: Any) -> Context:
    given = {
        "registry": registry_of(programme),
        "sender_options": options_of(programme),
        "id_key": b"a key for tests",
        **more,
    }
    return Context(digest="context", now=NOW, sender=sender, programme=programme, **given)


Apply = Callable[..., tuple[ItemResult, ...]]


def shown(results: tuple[ItemResult, ...]) -> list[dict[str, Any]]:
    """Results as plain data, as they stand in the expected files."""
    return [
        {
            "label": each.label,
            "subject": each.subject,
            "case": {"kind": each.case.kind, "id": each.case.id} if each.case else None,
            "parts": list(each.parts),
            "findings": [f"{f.severity} {f.code} {f.place.path if f.place else ''}".strip() for f in each.findings],
            "unread": {loss.place.path: loss.value for loss in each.loss if loss.fate == "unread"},
            "lineage": len(each.lineage),
            "resources": json.read(json.write(list(each.resources))),
        }
        for each in results
    ]


Little = Callable[..., mapping.Engine]

PROGRAMME = """
name = "little"
language = "en"
timezone = "{zone}"
canonical = "https://little.invalid"
[title]
en = "Little"
fa = "Little"
it = "Little"
zh = "Little"
[[intake]]
format = "{format}"
mapping = "map.yaml"
message = ["*"]
[[case]]
kind = "case"
[case.complete]
parts = [["all"]]
[[document]]
kind = "case"
[[route]]
kind = "case"
destination = "nowhere"
"""


def one(engine: mapping.Engine, body: bytes, suffix: str = ".json", **more: Any) -> ItemResult:
    """The single result of a little programme."""
    given = Context(digest="c", now=NOW, sender="s", programme="little", id_key=b"k", **more)
    (result,) = engine.take_apart(submission("little", body, TYPES[suffix]), given)
    return result
