"""`gateway pull-exports`: the bulk exports of repositories, and how much of each was fetched."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("pull-exports", help="bulk exports of repositories, and how far they are")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _line(line: Json) -> None:
    each = line["export"]
    found = f"{each['resources']} resources in {each['files']} files ({each['types']} types)"
    sent = f"{each['sent_resources']} in {each['sent_files']} files, {each['sent_bytes'] >> 10} KiB"
    print(f"{each['id']}  {each['repository']:<16} {each['state']:<10} {each['at']} until {each['expires']}")
    print(f"  found {found}; sent {sent}; unreadable {each['unreadable']}")


def run(arguments: Namespace) -> int:
    """Two lines each."""
    return ledger.run(arguments.config, "pull_exports", {}, _line)
