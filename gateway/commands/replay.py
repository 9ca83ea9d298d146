"""`gateway replay`: release, drop or supersede exchanges that were parked or whose outcome is unknown."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Any, Final

from gateway import settings as configuration
from gateway.commands import ledger
from gateway.errors import Misconfigured
from gateway.settings import Settings

_CHOICES: Final = ("destination", "programme", "since", "until", "finding")


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("replay", help="send parked or unknown exchanges again, or drop them")
    parser.add_argument("exchange", nargs="*", help="ids; or choose by the options")
    parser.add_argument("--destination")
    parser.add_argument("--programme")
    parser.add_argument("--since", help="created at or after this ISO date or time (UTC unless it names a zone)")
    parser.add_argument("--until", help="created before this ISO date or time")
    parser.add_argument("--finding", help="that wait for, or whose last try ended with, this code")
    parser.add_argument("--limit", type=int, default=100_000)
    parser.add_argument("--state", choices=("parked", "unknown"), default="parked")
    parser.add_argument("--act", choices=("replay", "drop", "supersede"), default="replay")
    parser.add_argument("--reason", required=True, help="recorded in the audit trail; no names of people")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


async def _chosen(settings: Settings, arguments: Namespace) -> list[str]:
    if arguments.exchange:
        return list(arguments.exchange)
    wanted = {name: getattr(arguments, name) for name in _CHOICES if getattr(arguments, name)}
    if not wanted:
        raise Misconfigured(detail="name exchanges, or choose: " + ", ".join(f"--{name}" for name in _CHOICES))
    wanted |= {"state": arguments.state, "limit": arguments.limit}
    return [line["exchange"]["id"] async for line in ledger.answers(settings, "exchanges", wanted)]


def run(arguments: Namespace) -> int:
    """Act on each chosen exchange; says what was done, one line each."""

    async def act() -> int:
        settings = configuration.load(arguments.config)
        chosen = await _chosen(settings, arguments)
        for number, id in enumerate(chosen, 1):
            asked = {
                "exchange": id,
                "act": arguments.act,
                "reason": arguments.reason,
                "dry_run": arguments.dry_run,
            }
            async for line in ledger.answers(settings, "act", asked):
                done = "would " + line["would"] if "would" in line else "did " + line["did"]
                print(f"{number}/{len(chosen)}  {id}  {done}")
        if not chosen:
            print("nothing to do")
        return 0

    return asyncio.run(act())
