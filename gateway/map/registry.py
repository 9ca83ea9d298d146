"""Reference data read from files: CSV, XLSX, or a Bundle of FHIR Organizations. Every entry is valid in time.

A table has the columns `kind`, `key`, and may have `valid_from`, `valid_to` (days, ISO 8601, inclusive); every other
column that has a value becomes a field of the entry's data, a dotted heading (`address.city`) a nested one.
Nothing is half read: an error in one row is a finding, and the caller imports nothing while there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import Any, Final

from gateway.errors import GatewayError, Misconfigured, Refused, finding
from gateway.formats import json, media, table, table_csv, table_xlsx
from gateway.formats.text import fold
from gateway.message import Finding, Json, Place, RegistryEntry

_OWN: Final = frozenset({"kind", "key", "valid_from", "valid_to"})


def read(body: bytes, media_type: str, programme: str) -> tuple[tuple[RegistryEntry, ...], tuple[Finding, ...]]:
    """The entries, and what is wrong with the file. Raises nothing for the file's own faults."""
    kind = media_type.split(";")[0].strip().lower()
    format = media.FORMAT.get(kind, "")
    entries: list[RegistryEntry] = []
    findings: list[Finding] = []
    try:
        if format == "table":
            made = _rows(table_xlsx.read(body) if kind == media.XLSX else table_csv.read(body), programme)
        elif format in ("fhir", "json"):
            made = _organizations(json.read(body), programme)
        else:
            raise Refused("GW-MAP-018", type=media_type[:80], known="text/csv, xlsx, application/fhir+json")
        for each in made:
            (findings if isinstance(each, Finding) else entries).append(each)  # type: ignore[arg-type]
    except Refused as error:
        findings.append(error.finding())
    findings += _overlaps(entries)
    return tuple(entries), tuple(findings)


# --- tables ----------------------------------------


def _rows(read_table: table.Table, programme: str) -> Iterator[RegistryEntry | Finding]:
    for sheet in read_table.sheets:
        names = {fold(name): index for index, name in enumerate(sheet.heading.names) if name}
        missing = [name for name in ("kind", "key") if name not in names]
        if missing:
            yield finding("GW-MAP-015", read_table.here, columns=", ".join(missing))
            continue
        for row in sheet:
            if all(cell == "" for cell in row.cells):
                continue
            yield from row.findings
            yield _row(row, programme)


def _row(row: table.Row, programme: str) -> RegistryEntry | Finding:
    cells = {
        name.strip(): str(cell).strip()
        for name, cell in zip(row.heading.names, row.cells, strict=False)
        if name.strip() and str(cell).strip()
    }
    data: Json = {}
    try:
        for name, cell in cells.items():
            if fold(name) not in _OWN:
                _put(data, name, cell)
    except ValueError as error:
        return finding("GW-MAP-021", row.here, why=str(error))
    own = {fold(name): cell for name, cell in cells.items()}
    return _entry(own, data, programme, row.here)


def _put(data: Json, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{name} and {part}")  # noqa: TRY004  a heading that contradicts another is a bad value
        data = inner
    data[last] = value


def _entry(own: dict[str, str], data: Json, programme: str, place: Place) -> RegistryEntry | Finding:
    for name in ("kind", "key"):
        if not own.get(name):
            return finding("GW-MAP-021", place, why=name)
    days = {name: own.get(name) for name in ("valid_from", "valid_to")}
    for name, day in days.items():
        if day and not _is_day(day):
            return finding("GW-MAP-021", place, why=f"{name} {day[:20]}")
    if days["valid_from"] and days["valid_to"] and days["valid_from"] > days["valid_to"]:
        return finding("GW-MAP-021", place, why="valid_from > valid_to")
    return RegistryEntry(kind=own["kind"], key=own["key"], programme=programme, data=data, **days)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _overlaps(entries: Sequence[RegistryEntry]) -> Iterator[Finding]:
    """Two entries of one key on one day would leave open which one holds."""
    by_key: dict[tuple[str, str], list[RegistryEntry]] = {}
    for entry in entries:
        by_key.setdefault((entry.kind, entry.key), []).append(entry)
    for (kind, key), same in by_key.items():
        same.sort(key=lambda entry: entry.valid_from or "")
        for earlier, later in pairwise(same):
            if earlier.valid_to is None or earlier.valid_to >= (later.valid_from or ""):
                place = Place(notation="table", path=f"kind {kind} key {key}")
                yield finding("GW-MAP-021", place, why=f"{later.valid_from or '…'} <= {earlier.valid_to or '…'}")


# --- FHIR ----------------------------------------


def _organizations(document: Any, programme: str) -> Iterator[RegistryEntry | Finding]:
    entries = document.get("entry") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise Refused("GW-MAP-019", Place(notation="fhirpath", path="Bundle"), known="Bundle.entry")
    by_url = {e["fullUrl"]: e.get("resource") for e in entries if isinstance(e, dict) and e.get("fullUrl")}
    for number, each in enumerate(entries):
        resource = each.get("resource") if isinstance(each, dict) else None
        place = Place(notation="fhirpath", path=f"Bundle.entry[{number}].resource")
        if not isinstance(resource, dict) or resource.get("resourceType") != "Organization":
            yield finding("GW-MAP-021", place, why="Organization")
            continue
        try:
            yield _organization(resource, by_url, programme, place)
        except (GatewayError, AttributeError, TypeError, LookupError):
            yield finding("GW-MAP-021", place, why="Organization")


def _organization(resource: Json, by_url: Json, programme: str, place: Place) -> RegistryEntry | Finding:
    identifier = _key(resource)
    data: Json = {"name": resource.get("name", "")}
    types = [coding.get("code") for kind in resource.get("type", []) for coding in kind.get("coding", [])]
    if types:
        data["type"] = types[0]
    parent = resource.get("partOf", {})
    above = by_url.get(parent.get("reference"))
    university = parent.get("identifier", {}).get("value") or (_key(above)["value"] if above else "")
    if university:
        data["university"] = university
    period = identifier.get("period", {})
    own = {"kind": "organisation", "key": identifier["value"]}
    own |= {k: v for k, v in (("valid_from", period.get("start")), ("valid_to", period.get("end"))) if v}
    return _entry(own, {name: value for name, value in data.items() if value}, programme, place)


def _key(resource: Json) -> Json:
    for identifier in resource.get("identifier", []):
        if identifier.get("value"):
            return dict(identifier)
    raise Misconfigured(detail="an Organization without identifier")
