"""`gateway pull-check`: what a repository that pulls would see, as text."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import pull, store
from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.commands import ledger
from gateway.errors import Misconfigured
from gateway.formats.search import Scope, Search
from gateway.pull.access import granted
from gateway.pull.instants import text
from gateway.settings import Repository, Sender, Settings


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("pull-check", help="what a repository that pulls would see")
    parser.add_argument("repository", nargs="?", help="only this one")
    parser.add_argument(
        "--counts", action="store_true", help="count what there is (opens the ledger: not while serving)"
    )
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def _entries(settings: Settings, only: str | None) -> list[tuple[Repository, Sender]]:
    if settings.pull is None:
        raise Misconfigured(detail="there is no [pull] in the settings")
    senders = {each.id: each for each in settings.sender}
    found = []
    for entry in settings.pull.repository:
        if only is None or entry.sender == only:
            if entry.sender not in senders or senders[entry.sender].role != "repository":
                raise Misconfigured(detail=f"[[pull.repository]] {entry.sender}: no sender with the role repository")
            found.append((entry, senders[entry.sender]))
    if not found:
        raise Misconfigured(detail="no such repository under [[pull.repository]]")
    return found


def _say(entry: Repository, sender: Sender) -> None:
    scopes = ", ".join(f"{type}: {letters}" for type, letters in sorted(granted(entry.scopes).items())) or "nothing"
    print(f"{sender.id}  {sender.title}".rstrip())
    print(f"  programmes  {', '.join(sender.programmes)}")
    print(f"  senders     {', '.join(entry.senders) or 'all of these programmes'}")
    print(f"  scopes      {scopes}")
    print(f"  days        {entry.valid_from or '…'} to {entry.valid_to or '…'}")
    accepted = len(sender.certificates) + len(sender.subjects)
    print(f"  credentials {accepted} certificates accepted; SMART {'yes' if entry.jwks else 'no'}")


async def _count(settings: Settings, found: list[tuple[Repository, Sender]]) -> None:
    definitions = pull.load(Path(settings.home), settings.programmes)
    async with store.open(settings.database, Path(settings.data), SystemClock(), definitions) as opened:
        feed = await opened.feed()
        for entry, sender in found:
            scope = Scope(programmes=sender.programmes, senders=entry.senders or None)
            print(f"{sender.id}, as things stand at feed number {feed}")
            for type in definitions.types:
                asked = Search(type=type, scope=scope, feed=feed, seconds=60.0)
                number = await opened.count_matches(asked, 10**9)
                if number:
                    print(f"  {type:<24} {number:>10}")
            latest = await opened.last_updated(scope, feed)
            print(f"  last change              {text(latest) if latest else 'never'}")


def run(arguments: Namespace) -> int:
    """Show what was asked for."""
    settings = configuration.load(arguments.config)
    found = _entries(settings, arguments.repository)
    for entry, sender in found:
        _say(entry, sender)
    if arguments.counts:
        asyncio.run(_count(settings, found))
    return 0
