"""`gateway pause`: start no more deliveries to a destination. Survives restarts; `gateway resume` ends it."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("pause", help="stop delivering to a destination until it is resumed")
    parser.add_argument("destination")
    parser.add_argument("--reason", required=True, help="recorded in the audit trail; no names of people")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """What is on its way ends; everything else is held visibly."""
    asked = {"destination": arguments.destination, "reason": arguments.reason}
    return ledger.run(arguments.config, "pause", asked, lambda line: print(f"paused {line['destination']}"))
