"""`gateway mappings check`: compile every mapping, profile and check; show all that is wrong at once."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import workers
from gateway.settings import Settings


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("mappings", help="compile mappings, profiles and checks; show all that is wrong")
    parser.add_argument("action", choices=("check",))
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.add_argument("--programme", action="append", help="only these; default: all")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Say what was compiled; errors name file, line and column."""
    home: Path = arguments.home
    found = sorted(path.parent.name for path in home.glob("mappings/*/programme.toml"))
    wanted = tuple(arguments.programme or found)
    rules = workers.load_rules(Settings(home=str(home), programmes=wanted))
    for name, programme in rules.programmes.items():
        print(f"{name}: {len(programme.intake)} intakes, {len(programme.case)} cases, {len(programme.route)} routes")
    print(f"mappings {rules.mapper.digest[:16]}…  profiles and checks {rules.validator.digest[:16]}…")
    return 0
