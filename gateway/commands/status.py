"""`gateway status`: what waits, since when and why; with an id, the whole trace of one submission."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import settings as configuration
from gateway.commands import ledger, show
from gateway.desk import admin
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("status", help="what waits, since when and why; or one submission's trace")
    parser.add_argument("submission", nargs="?", help="an id: its whole trace")
    parser.add_argument("--waiting", action="store_true", help="list the exchanges that are not finished")
    parser.add_argument("--state", help="with --waiting: only this state")
    parser.add_argument("--destination", help="with --waiting: only this destination")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--live", action="store_true", help="only say whether the serving process answers")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _count(line: Json) -> None:
    age = line.get("oldest_seconds")
    since = f"  oldest {show.age(age)}" if age is not None and line["count"] else ""
    mark = "…" if line["waiting"] and line["count"] else " "
    names = "  " + ", ".join(line["names"]) if line.get("names") else ""
    print(f"{mark} {line['thing']:<11} {line['state']:<11} {line['count']:>8}{since}{names}")


def live(arguments: Namespace) -> int:
    """0 when the owner of the data folder answers on its socket within two seconds."""
    data = Path(configuration.load(arguments.config).data)

    async def answers() -> bool:
        async with asyncio.timeout(2):
            return [line async for line in admin.ask(data, "status", {})] != []

    try:
        return 0 if asyncio.run(answers()) else 1
    except (OSError, TimeoutError):
        print("nobody answers", file=sys.stderr)
        return 1


def run(arguments: Namespace) -> int:
    """Show what was asked for."""
    if arguments.live:
        return live(arguments)
    if arguments.submission:
        return ledger.run(arguments.config, "trace", {"submission": arguments.submission}, show.trace_line)
    if arguments.waiting or arguments.state or arguments.destination:
        wanted = {"state": arguments.state, "destination": arguments.destination, "limit": arguments.limit}
        return ledger.run(arguments.config, "exchanges", wanted, show.exchange_line)
    return ledger.run(arguments.config, "status", {}, _count)
