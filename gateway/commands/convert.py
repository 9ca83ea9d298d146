"""`gateway convert FILE --programme P`: what would become of an input. Nothing is stored, nothing is sent."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import programme as programme_data
from gateway import settings as configuration
from gateway import workers
from gateway.clock import SystemClock
from gateway.commands import ledger, show
from gateway.errors import Misconfigured
from gateway.formats import json, media
from gateway.gather import routes
from gateway.message import LANGUAGES, ItemResult, Language, RegistryEntry, Submission
from gateway.settings import Settings
from gateway.workers import Examined

_BY_SUFFIX: Final = {
    ".hl7": media.HL7V2,
    ".csv": media.CSV,
    ".tsv": media.TSV,
    ".xlsx": media.XLSX,
    ".json": media.JSON,
    ".xml": media.XML,
}


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("convert", help="show what would become of an input; nothing is stored or sent")
    parser.add_argument("file", type=Path)
    parser.add_argument("--programme", required=True)
    parser.add_argument("--type", help="media type, where the file's name does not say it")
    parser.add_argument("--sender", default="preview", help="sender scope for ids and options")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true", help="everything as one JSON document")
    parser.add_argument(
        "--explain", metavar="PLACE", help="only what this source place, or FHIR element, has to do with"
    )
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.add_argument("--config", type=Path, help="settings file, for registry and routes")
    parser.set_defaults(run=run)


def media_type(path: Path, given: str | None) -> str:
    """As given, or by the file's name."""
    found = given or _BY_SUFFIX.get(path.suffix.lower())
    if found is None:
        raise Misconfigured(detail=f"{path.name}: say --type, the name does not")
    return found


def submission(body: bytes, kind: str, programme: str, sender: str, at: datetime) -> Submission:
    """The input as it would arrive."""
    name, _, rest = kind.partition(";")
    charset = rest.partition("charset=")[2].strip().strip('"') or None
    return Submission(
        id="preview",
        sender=sender,
        programme=programme,
        received_at=at,
        channel="file",
        media_type=name.strip().lower(),
        body=body,
        digest=hashlib.sha256(body).hexdigest(),
        charset=charset,
    )


async def _registry(settings: Settings | None, programme: str) -> list[RegistryEntry]:
    if settings is None:
        return []

    lines = [line async for line in ledger.answers(settings, "registry_list", {"programme": programme})]
    return [msgspec.convert(line["entry"], RegistryEntry) for line in lines]


def examine(
    body: bytes, kind: str, settings: Settings, programme: str, sender: str, entries: Sequence[RegistryEntry]
) -> tuple[Examined, ...]:
    """Map and validate as the workers would, with a preview's id key."""
    at = SystemClock().now()
    rules = workers.load_rules(settings)
    given = submission(body, kind, programme, sender, at)
    grouped: dict[str, dict[str, tuple[RegistryEntry, ...]]] = {}
    for entry in entries:
        kinds = grouped.setdefault(entry.kind, {})
        kinds[entry.key] = (*kinds.get(entry.key, ()), entry)
    options = next((s.options for s in settings.sender if s.id == sender), {})
    context = workers.context_of(given, at, "preview", grouped, options, b"preview")
    return workers.examine(rules, given, context)


def run(arguments: Namespace) -> int:
    """Show the items; 1 when any is refused."""
    settings = configuration.load(arguments.config) if arguments.config else None
    entries = asyncio.run(_registry(settings, arguments.programme))
    rules = settings or Settings(home=str(arguments.home), programmes=(arguments.programme,))
    kind = media_type(arguments.file, arguments.type)
    found = examine(arguments.file.read_bytes(), kind, rules, arguments.programme, arguments.sender, entries)
    if arguments.json:
        sys.stdout.buffer.write(json.write([each.result for each in found]) + b"\n")
    elif arguments.explain:
        for each in found:
            show.lines(explain(each.result, arguments.explain))
    else:
        for each in found:
            show.lines(preview(each, arguments.language))
        show.lines(_owed(rules, arguments.programme, found))
    return 1 if any(each.refused_by for each in found) else 0


def preview(each: Examined, language: Language) -> Iterable[str]:
    """One item: resources, findings, loss report."""
    result = each.result
    verdict = f"refused by {each.refused_by}" if each.refused_by else "accepted"
    yield show.RULE
    yield f"{result.label}: {verdict}   mapping {result.mapping or '-'}"
    if result.case:
        yield f"  case {result.case.kind} {result.case.id[:12]}  brings {', '.join(result.parts) or 'nothing'}"
    for resource in result.resources:
        yield f"  {show.outline(resource)}"
    for found in result.findings:
        yield from show.finding(found, language)
    yield from show.loss(result)


def explain(result: ItemResult, wanted: str) -> Iterable[str]:
    """What a source place made, or what made a FHIR element."""
    for line in result.lineage:
        paths = [place.path for place in line.places]
        if any(path.startswith(wanted) for path in paths) or wanted in line.element.replace("#", "."):
            yield f"{', '.join(paths) or '(no input)'}  → {line.element}  ({line.how})"
    for lost in result.loss:
        if lost.place.path.startswith(wanted):
            yield f"{lost.place.path}  {lost.fate}  {lost.reason or ''}".rstrip()


def _owed(settings: Settings, name: str, found: Sequence[Examined]) -> Iterable[str]:
    """To whom a document of each case would be owed today."""
    programme = programme_data.load(Path(settings.home), name)
    at = SystemClock().now()
    kinds = {each.result.case.kind for each in found if each.result.case and not each.refused_by}
    for kind in sorted(kinds):
        yield f"a complete case of kind {kind} would go to: {', '.join(routes.destinations(programme, kind, {}, at))}"
