"""The programme in one process: mapping, checks, and the documents of cases, without a ledger or a network."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sepas_inputs import SAMPLES

from gateway import map as mapping
from gateway import programme, validate
from gateway.formats import json, media
from gateway.gather import documents
from gateway.map import registry
from gateway.message import Case, Context, Finding, ItemRecord, ItemResult, Json, Submission

AT = datetime(2026, 1, 20, tzinfo=UTC)


class House:
    """Mapping, checks and documents of the programme in one process."""

    def __init__(self, home: Path) -> None:
        self.programme = programme.load(home, "sepas")
        self.engine = mapping.load(home, [self.programme])
        policy = validate.Policy(best_practice=False, undecided=False)
        self.book = validate.load(home, [self.programme], policy=policy)
        entries, _ = registry.read((SAMPLES / "registry.csv").read_bytes(), media.CSV, "sepas")
        known: dict[str, dict[str, Any]] = {}
        for entry in entries:
            known.setdefault(entry.kind, {})[entry.key] = (entry,)
        self.context = Context(digest="c", now=AT, sender="s", programme="sepas", id_key=b"k", registry=known)

    def examine(self, body: bytes, kind: str = media.JSON) -> tuple[ItemResult, tuple[Finding, ...]]:
        """One item, mapped and checked."""
        (one,) = self.examine_all(body, kind)
        return one

    def examine_all(self, body: bytes, kind: str) -> list[tuple[ItemResult, tuple[Finding, ...]]]:
        """Every item of a submission."""
        sent = Submission(
            id="m",
            sender="s",
            programme="sepas",
            received_at=AT,
            channel="http",
            media_type=kind,
            body=body,
            digest="0" * 64,
        )
        found = self.engine.take_apart(sent, self.context)
        return [(each, (*each.findings, *self.book.findings(each, self.context))) for each in found]

    def document(self, *results: ItemResult) -> Json:
        """The document of a case that these items make, with what is derived."""
        assert results[0].case is not None
        kind = results[0].case.kind
        case = Case(id="c", programme="sepas", sender="s", subject="p", kind=kind, state="complete", opened_at=AT)
        items = [
            ItemRecord(id=str(n), submission="m", sender="s", programme="sepas", state="gathered", result=each)
            for n, each in enumerate(results)
        ]
        body = documents.assemble(self.programme, case, items, AT)
        derived = self.programme.document_plan(kind).derived
        if derived:
            made = self.engine.render(json.read(body), f"sepas/{derived}", {})
            body = documents.with_derived(self.programme, body, made)
        bundle: Json = json.read(body)
        return bundle


def resources(bundle: Json, kind: str) -> list[Json]:
    return [each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == kind]


def groups_of(bundle: Json) -> set[str]:
    (claim,) = resources(bundle, "Claim")
    return {
        coding["code"]
        for each in claim.get("extension", ())
        if each["url"].endswith("/disease-group")
        for coding in each["valueCodeableConcept"]["coding"]
    }


def errors(findings: tuple[Finding, ...]) -> list[str]:
    return [each.code for each in findings if each.severity == "error"]
