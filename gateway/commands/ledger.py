"""How a command reaches the ledger: through its owner's socket, or by opening it when nobody owns it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.desk import admin
from gateway.errors import GatewayError, Misconfigured
from gateway.message import Json
from gateway.settings import Settings


def add_config(parser: Any) -> None:
    """The option that every such command has."""
    parser.add_argument("--config", type=Path, default=Path("gateway.toml"), help="settings file (gateway.toml)")


class _Told(GatewayError):
    """An error that the owner of the ledger reported; its text is complete."""


async def answers(settings: Settings, command: str, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
    """The answer lines of a command, without the closing one. Errors of the other side are raised here."""
    data = Path(settings.data)
    try:
        async for line in admin.ask(data, command, arguments):
            if "error" in line:
                raise Misconfigured(detail=f"{line['error']['code']} {line['error']['text']}")
            if "done" not in line:
                yield line
        return
    except (FileNotFoundError, ConnectionRefusedError):
        pass
    from gateway import store  # the owner does without them when it is there to be asked
    from gateway.operate import handlers

    if command == "report":
        async for line in _report(settings, arguments):
            yield line
        return
    async with store.open(settings.database, data, SystemClock()) as ledger:
        async for line in handlers(ledger, settings, SystemClock())[command](arguments):
            yield line


async def _report(settings: Settings, arguments: Mapping[str, Any]) -> AsyncIterator[Json]:
    """Measures need the tables of views: they are brought up to date first."""
    from gateway import measuring, store
    from gateway.workers import load_programmes

    programmes = load_programmes(settings)
    async with store.open(settings.database, Path(settings.data), SystemClock()) as ledger:
        reporting = measuring.Reporting(settings, ledger, SystemClock())
        await measuring.use(settings, programmes, ledger, (reporting,))
        async for line in reporting(arguments):
            yield line


def run(config: Path, command: str, arguments: Mapping[str, Any], show: Callable[[Json], None]) -> int:
    """Ask, and show each answer line as it comes."""

    async def ask() -> None:
        async for line in answers(configuration.load(config), command, arguments):
            show(line)

    asyncio.run(ask())
    return 0
