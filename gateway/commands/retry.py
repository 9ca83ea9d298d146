"""`gateway retry`: try parked submissions, cases and exchanges again, or waiting exchanges before their time."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("retry", help="try what was parked, or what waits for its time, again now")
    parser.add_argument("id", nargs="+", help="from `gateway parked` or `gateway queue DESTINATION`")
    parser.add_argument("--reason", required=True, help="recorded in the audit trail; no names of people")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _line(line: Json) -> None:
    (id,) = (value for name, value in line.items() if name != "did")
    print(f"{id}  {line['did']}")


def run(arguments: Namespace) -> int:
    """Each in turn; the first that cannot be tried again ends the command with its code."""
    for id in arguments.id:
        ledger.run(arguments.config, "retry", {"id": id, "reason": arguments.reason}, _line)
    return 0
