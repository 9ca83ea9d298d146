"""What the tests of the programme share: rows of a CUP mapped and judged, an invented region's reference data."""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from gateway import map as mapping
from gateway import programme, validate
from gateway.formats import media
from gateway.map import registry
from gateway.message import Context, Finding, ItemResult, RegistryEntry, Submission

ROOT = Path(__file__).parents[3]
HERE = ROOT / "mappings" / "toscana"
NOW = datetime(2026, 3, 20, 12, 0, tzinfo=UTC)
BASE = "https://toscana.gateway.invalid/fhir"
HEADING = (HERE / "samples" / "prenotazioni.csv").read_text(encoding="utf-8").splitlines()[0].split(";")
TYPES = {".hl7": media.HL7V2, ".csv": media.CSV, ".xml": media.XML, ".json": media.JSON, ".fhir": media.FHIR_JSON}
ROW = {
    "numero prenotazione": "CUP-1",
    "nre": "0900A4000000001",
    "codice fiscale": "TSTPNT80A01D612O",
    "cognome": "Prova",
    "nome": "Paziente Uno",
    "data di nascita": "01/01/1980",
    "sesso": "M",
    "quesito diagnostico": "Prova",
    "data prescrizione": "18/03/2026",
    "data contatto": "20/03/2026 10:00",
    "azienda": "101",
    "struttura": "ST-01",
    "prescrittore": "TSTMDC70B02D612J",
    "data appuntamento": "23/03/2026 09:00",
    "stato": "prenotata",
    "canale": "CUP",
}


@cache
def engine() -> mapping.Engine:
    return mapping.load(ROOT, [programme.load(ROOT, "toscana")])


@cache
def rules() -> validate.Rulebook:
    quiet = validate.Policy(best_practice=False, undecided=False)
    return validate.load(ROOT, [programme.load(ROOT, "toscana")], policy=quiet)


@cache
def entries() -> tuple[RegistryEntry, ...]:
    found, wrong = registry.read((HERE / "samples" / "registry.csv").read_bytes(), media.CSV, "toscana")
    assert not wrong
    return found


def options() -> dict[str, str]:
    return tomllib.loads((HERE / "samples" / "options.toml").read_text(encoding="utf-8"))


def context(now: datetime = NOW, sender: str = "cup", **given: str) -> Context:
    grouped: dict[str, dict[str, tuple[RegistryEntry, ...]]] = {}
    for each in entries():
        of_kind = grouped.setdefault(each.kind, {})
        of_kind[each.key] = (*of_kind.get(each.key, ()), each)
    overlays: dict[str, dict[str, str]] = {}
    for name, target in given.items():
        if name.startswith("code."):
            _, table, source = name.split(".")
            overlays.setdefault(table, {})[source] = target
    return Context(
        digest="c",
        now=now,
        sender=sender,
        programme="toscana",
        id_key=b"k",
        registry=grouped,
        sender_options=given,
        overlays=overlays,
    )


def submitted(body: bytes, kind: str) -> Submission:
    return Submission(
        id="s",
        sender="cup",
        programme="toscana",
        received_at=NOW,
        channel="http",
        media_type=kind,
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
    )


def table(rows: Sequence[Mapping[str, str]]) -> bytes:
    """Rows as a CSV file with the columns of the sample, and any others that they have."""
    columns = list(dict.fromkeys([*HEADING, *(name for row in rows for name in row)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", delimiter=";", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def taken(body: bytes, kind: str = media.CSV, **given: str) -> list[tuple[ItemResult, list[Finding]]]:
    """Each item with everything that is said about it."""
    frozen = context(**given)
    made = []
    for each in engine().take_apart(submitted(body, kind), frozen):
        said = [*each.findings]
        if not each.refused:
            said += rules().findings(each, frozen)
        made.append((each, said))
    return made


def one(row: Mapping[str, str], **given: str) -> tuple[ItemResult, list[Finding]]:
    (made,) = taken(table([{**ROW, **row}]), **given)
    return made


def codes(said: Sequence[Finding], *severities: str) -> set[str]:
    wanted = severities or ("error", "warning", "information")
    return {each.code for each in said if each.code.startswith("TOS-") and each.severity in wanted}


def the(result: ItemResult, kind: str) -> Any:
    found = [each for each in result.resources if each["resourceType"] == kind]
    return found[0] if found else None


def extension(resource: Any, name: str) -> Any:
    """The value of the extension whose canonical ends so."""
    for each in (resource or {}).get("extension", ()):
        if each["url"].endswith(f"/{name}"):
            return next(value for key, value in each.items() if key != "url")
    return None
