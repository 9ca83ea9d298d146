"""`gateway parked`: everything that was parked, with its age and its reason; each line names what `retry` takes."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger, show
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("parked", help="everything that was parked, with its reason")
    parser.add_argument("--destination", help="of exchanges: only this destination's")
    parser.add_argument("--limit", type=int, default=100)
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _line(line: Json) -> None:
    each = line["parked"]
    where = each.get("destination") or each["programme"]
    age = show.age(each["age_seconds"]) if "age_seconds" in each else f"tries {each.get('tries', 0)}"
    print(f"{each['thing']:<11} {each['id']}  {where:<14} {age:<12} {each.get('reason') or '-'}")


def run(arguments: Namespace) -> int:
    """One line each."""
    wanted = {"destination": arguments.destination, "limit": arguments.limit}
    return ledger.run(arguments.config, "parked", wanted, _line)
