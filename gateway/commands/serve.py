"""`gateway serve`: receive, work, deliver, in one process, until told to stop."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from argparse import Namespace
from typing import Any

from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.commands.ledger import add_config
from gateway.desk import log
from gateway.idkey import id_key
from gateway.pool import Pool


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("serve", help="receive, work and deliver until stopped")
    add_config(parser)
    parser.set_defaults(run=run)


async def serve(arguments: Namespace, receive: bool = True) -> int:
    """Start, say where it listens, and stop within ten seconds of SIGTERM or SIGINT."""
    settings = configuration.load(arguments.config)
    log.configure(settings.log_level)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # memory holds keys and people's data: never in a core file
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with Pool(settings, id_key(settings)) as pool:
        from gateway import workers  # while the workers load their rules, this process loads its rooms
        from gateway.app import Gateway

        async with Gateway(settings, SystemClock(), pool, receive) as gateway:
            workers.settle()
            print(f"pid {os.getpid()}", flush=True)
            for line in gateway.listening():
                print(line, flush=True)
            print("ready", flush=True)
            await gateway.run_until(stopping)
    return 0


def run(arguments: Namespace) -> int:
    """Serve until stopped."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return asyncio.run(serve(arguments))
