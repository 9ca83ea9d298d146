"""`gateway convert FILE --programme P`: what would become of an input. Nothing is stored, nothing is sent."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from gateway import programme as programme_data
from gateway import settings as configuration
from gateway import workers
from gateway.clock import SystemClock
from gateway.commands import compare, ledger, show
from gateway.errors import Misconfigured
from gateway.formats import json, media, table_write
from gateway.gather import routes
from gateway.message import LANGUAGES, Context, ItemResult, Language, RegistryEntry, Submission
from gateway.receive import preview as tables_back
from gateway.settings import Settings
from gateway.workers import Examined


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("convert", help="show what would become of an input; nothing is stored or sent")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--programme", required=True)
    parser.add_argument("--type", help="media type, where the file's name does not say it")
    parser.add_argument("--sender", default="preview", help="sender scope for ids and options")
    parser.add_argument("--language", choices=LANGUAGES, default="en")
    parser.add_argument("--json", action="store_true", help="everything as one JSON document")
    parser.add_argument(
        "--explain", metavar="PLACE", help="only what this source place, or FHIR element, has to do with"
    )
    parser.add_argument(
        "--workbook", type=Path, metavar="OUT.xlsx", help="write the table with its faulty cells marked"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=3,
        metavar=("OLD_HOME", "NEW_HOME", "FOLDER"),
        help="what the new home's mappings make of a folder of past messages, beside the old one's; 1 if they differ",
    )
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.add_argument("--config", type=Path, help="settings file, for registry and routes")
    parser.set_defaults(run=run)


def media_type(path: Path, given: str | None) -> str:
    """As given, or by the file's name."""
    found = given or compare.BY_SUFFIX.get(path.suffix.lower())
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


def context(given: Submission, settings: Settings, entries: Sequence[RegistryEntry], at: datetime) -> Context:
    """What the workers would know, with a preview's id key."""
    grouped: dict[str, dict[str, tuple[RegistryEntry, ...]]] = {}
    for entry in entries:
        kinds = grouped.setdefault(entry.kind, {})
        kinds[entry.key] = (*kinds.get(entry.key, ()), entry)
    options = next((s.options for s in settings.sender if s.id == given.sender), {})
    return workers.context_of(given, at, "preview", grouped, options, b"preview")


def examine(
    body: bytes, kind: str, settings: Settings, programme: str, sender: str, entries: Sequence[RegistryEntry]
) -> tuple[Examined, ...]:
    """Map and validate as the workers would."""
    at = SystemClock().now()
    given = submission(body, kind, programme, sender, at)
    return workers.examine(workers.load_rules(settings), given, context(given, settings, entries, at))


def run(arguments: Namespace) -> int:
    """Show the items; 1 when any is refused."""
    settings = configuration.load(arguments.config) if arguments.config else None
    entries = asyncio.run(_registry(settings, arguments.programme))
    rules = settings or Settings(home=str(arguments.home), programmes=(arguments.programme,))
    if arguments.compare:
        return _compare(arguments, rules, entries)
    if arguments.file is None:
        raise Misconfigured(detail="convert: name a file, or --compare OLD_HOME NEW_HOME FOLDER")
    kind = media_type(arguments.file, arguments.type)
    body = arguments.file.read_bytes()
    found = examine(body, kind, rules, arguments.programme, arguments.sender, entries)
    if arguments.workbook:
        arguments.workbook.write_bytes(marked(body, kind, found, arguments.language))
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


def marked(body: bytes, kind: str, found: Sequence[Examined], language: Language) -> bytes:
    """The table as a workbook with its findings, as its sender would be given it."""
    name, _, rest = kind.partition(";")
    if media.FORMAT.get(name.strip().lower()) != "table":
        raise Misconfigured(detail="--workbook: the input is not a table")
    findings = [one for each in found for one in tables_back.at_rows(each.result.label, each.result.findings)]
    charset = rest.partition("charset=")[2].strip().strip('"')
    return table_write.returned(body, name.strip().lower(), charset, findings, language)


def _compare(arguments: Namespace, settings: Settings, entries: Sequence[RegistryEntry]) -> int:
    old, new, folder = arguments.compare
    at = SystemClock().now()
    both = [workers.load_rules(msgspec.structs.replace(settings, home=str(home))) for home in (old, new)]
    files: dict[str, list[compare.Change]] = {}
    items = 0
    for path in compare.inputs(folder):
        kind = media_type(path, arguments.type)
        given = submission(path.read_bytes(), kind, arguments.programme, arguments.sender, at)
        known = context(given, settings, entries, at)
        before, after = ([each.result for each in workers.examine(rules, given, known)] for rules in both)
        files[str(path.relative_to(folder))] = list(compare.differences(before, after))
        items += len(after)
    show.lines(compare.report(files, items))
    return 1 if any(files.values()) else 0


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
    """What a source place made ("PID-3.1", "classe"), or what made a FHIR element ("Patient.identifier")."""
    found = False
    for line in result.lineage:
        paths = [place.path for place in line.places]
        if any(_of_place(path, wanted) for path in paths) or _of_element(line.element, wanted):
            found = True
            yield f"{', '.join(paths) or '(no input)'}  → {line.element}  ({line.how})"
    for lost in result.loss:
        if _of_place(lost.place.path, wanted):
            found = True
            yield f"{lost.place.path}  {lost.fate}  {lost.reason or ''}".rstrip()
    if not found:
        yield f"{result.label}: nothing was made of {wanted}, and nothing by that name was sent"


def _within(path: str, wanted: str) -> bool:
    """The place itself, or one inside it: PID-3 has PID-3.1 and PID-3[2] in it, and not PID-30."""
    return path.startswith(wanted) and (len(path) == len(wanted) or path[len(wanted)] in ".-[ /")


def _of_place(path: str, wanted: str) -> bool:
    column = path.rpartition(" column ")[2]
    return _within(path, wanted) or column == wanted or _within(path.removeprefix("$."), wanted)


def _of_element(element: str, wanted: str) -> bool:
    """Where no position is asked for, all of them are meant; with or without the id of the resource."""
    reference, _, path = element.partition("#")
    kind = reference.partition("/")[0]
    names = [f"{reference}.{path}", f"{kind}.{path}", element]
    if "[" not in wanted:
        names = [re.sub(r"\[\d+\]", "", name) for name in names]
    return any(_within(name, wanted) for name in names)


def _owed(settings: Settings, name: str, found: Sequence[Examined]) -> Iterable[str]:
    """To whom a document of each case would be owed today."""
    programme = programme_data.load(Path(settings.home), name)
    at = SystemClock().now()
    kinds = {each.result.case.kind for each in found if each.result.case and not each.refused_by}
    for kind in sorted(kinds):
        yield f"a complete case of kind {kind} would go to: {', '.join(routes.destinations(programme, kind, {}, at))}"
