"""`gateway resume`: deliver to a paused destination again."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("resume", help="deliver to a paused destination again")
    parser.add_argument("destination")
    parser.add_argument("--reason", required=True, help="recorded in the audit trail; no names of people")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _line(line: Json) -> None:
    print(f"resumed {line['destination']}, released {line['released']}")


def run(arguments: Namespace) -> int:
    """What the pause held is let go at once."""
    asked = {"destination": arguments.destination, "reason": arguments.reason}
    return ledger.run(arguments.config, "resume", asked, _line)
