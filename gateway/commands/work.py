"""`gateway work`: work and deliver without listening, beside other processes on the same PostgreSQL ledger."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Any

from gateway.commands.ledger import add_config
from gateway.commands.serve import serve


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("work", help="work and deliver without listening (shared ledger)")
    add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Work until stopped."""
    return asyncio.run(serve(arguments, receive=False))
