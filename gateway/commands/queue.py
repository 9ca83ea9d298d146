"""`gateway queue`: what waits for each destination, by state; with one destination, the exchanges in order."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger, show
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("queue", help="what waits for each destination; or one destination's exchanges")
    parser.add_argument("destination", nargs="?", help="list its unfinished exchanges, oldest first")
    parser.add_argument("--limit", type=int, default=100)
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _line(line: Json) -> None:
    mark = "paused" if line["paused"] else ""
    print(f"{line['destination']:<16} {line['waiting']:>8} waiting  {mark}".rstrip())
    for each in line["states"]:
        age = show.age(each["oldest_seconds"])
        print(f"  {each['programme']:<14} {each['state']:<10} {each['count']:>8}  oldest {age}")


def run(arguments: Namespace) -> int:
    """Show the queues, or one queue."""
    if arguments.destination:
        wanted = {"destination": arguments.destination, "limit": arguments.limit}
        return ledger.run(arguments.config, "exchanges", wanted, show.exchange_line)
    return ledger.run(arguments.config, "queue", {}, _line)
