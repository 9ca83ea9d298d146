"""`gateway registry import | list | check`: reference data, dated, from CSV, XLSX or FHIR."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.commands import ledger, show
from gateway.commands.convert import media_type
from gateway.map import registry
from gateway.message import Finding, Json, RegistryEntry
from gateway.operate import plain


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("registry", help="import, list or check reference data")
    parser.add_argument("action", choices=("import", "list", "check"))
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--programme", required=True)
    parser.add_argument("--type", help="media type, where the file's name does not say it")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def read(path: Path, kind: str | None, programme: str) -> tuple[Sequence[RegistryEntry], Sequence[Finding]]:
    """The entries of a file, and what is wrong with it."""
    return registry.read(path.read_bytes(), media_type(path, kind), programme)


def run(arguments: Namespace) -> int:
    """Import nothing when anything is wrong: reference data is never half right."""
    if arguments.action == "list":
        return ledger.run(arguments.config, "registry_list", {"programme": arguments.programme}, _entry)
    entries, findings = read(arguments.file, arguments.type, arguments.programme)
    for found in findings:
        show.lines(show.finding(found))
    if any(found.severity == "error" for found in findings):
        return 1
    print(f"{len(entries)} entries read")
    if arguments.action == "check":
        return 0
    asked = {"entries": [plain(entry) for entry in entries]}
    return ledger.run(arguments.config, "registry_import", asked, _progress)


def _entry(line: Json) -> None:
    entry = line["entry"]
    validity = f"{entry.get('valid_from') or '…'} – {entry.get('valid_to') or '…'}"
    print(f"{entry['kind']:<14} {entry['key']:<28} {validity}")


def _progress(line: Json) -> None:
    print(f"imported {line['imported']} of {line['of']}")
