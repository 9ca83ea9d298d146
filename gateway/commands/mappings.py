"""`gateway mappings`: rules as a whole.

gateway mappings check     compile every mapping, profile and check; show all that is wrong at once
gateway mappings reload    give them to the gateway that runs; where they are broken, its former ones stay
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import settings as configuration
from gateway import workers
from gateway.commands import ledger
from gateway.desk import admin
from gateway.errors import Misconfigured
from gateway.settings import Settings


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("mappings", help="compile mappings, profiles and checks; show all that is wrong")
    parser.add_argument("action", choices=("check", "reload"))
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.add_argument("--programme", action="append", help="only these; default: all")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Do what was asked."""
    return asyncio.run(_reload(arguments.config)) if arguments.action == "reload" else _check(arguments)


async def _reload(config: Path) -> int:
    data = Path(configuration.load(config).data)
    try:
        async for line in admin.ask(data, "reload", {}):
            if "error" in line:
                raise Misconfigured(detail=f"{line['error']['code']} {line['error']['text']}")
            if "rules" in line:
                print(f"rules {line['rules'][:16]}… in use")
    except (FileNotFoundError, ConnectionRefusedError):
        raise Misconfigured(detail="no gateway runs here; it loads the rules when it starts") from None
    return 0


def _check(arguments: Namespace) -> int:
    """Say what was compiled; errors name file, line and column."""
    home: Path = arguments.home
    found = sorted(path.parent.name for path in home.glob("mappings/*/programme.toml"))
    wanted = tuple(arguments.programme or found)
    rules = workers.load_rules(Settings(home=str(home), programmes=wanted))
    for name, programme in rules.programmes.items():
        print(f"{name}: {len(programme.intake)} intakes, {len(programme.case)} cases, {len(programme.route)} routes")
    print(f"rules {rules.digest[:16]}…: mappings {rules.mapper.digest[:8]}…, profiles {rules.validator.digest[:8]}…")
    return 0
