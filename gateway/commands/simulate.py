"""`gateway simulate NAME`: a stand-in repository in the foreground, on loopback, with its raw arrival log."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path

from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.faults import FAULTS, Faults
from gateway.simulate.server import Running, StandIn, Tls
from gateway.simulate.standins import STAND_INS


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command, with one command of its own for each stand-in; `run` is their action."""
    parser = subparsers.add_parser("simulate", help="run a stand-in repository on this machine")
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, stand_in in sorted(STAND_INS.items()):
        told = f"Faults, shown in the order given: {', '.join(FAULTS)}."
        _options(names.add_parser(name, description=told), stand_in)


def _options(parser: argparse.ArgumentParser, stand_in: type[StandIn]) -> None:
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port, printed")
    parser.add_argument("--log", type=Path, help="raw arrival log, JSON lines, synced before anything else")
    parser.add_argument("--certificate", type=Path, help="server certificate: speak TLS")
    parser.add_argument("--key", type=Path, help="its key")
    parser.add_argument("--client-ca", type=Path, help="demand client certificates under these anchors")
    parser.add_argument("--fail", action="append", default=[], metavar="FAULT[=VALUE][:TIMES]")
    parser.add_argument("--anywhere", action="store_true", help="allow a host that is not loopback")
    stand_in.options(parser)
    parser.set_defaults(run=run)


def make(options: argparse.Namespace) -> StandIn:
    """The stand-in that the options describe."""
    return STAND_INS[options.name].of(options, ArrivalLog(options.log), Faults(options.fail))


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted. Raises `Misconfigured` for options that cannot be used."""
    tls = Tls(options.certificate, options.key, options.client_ca) if options.certificate else None
    running = Running(make(options), options.host, options.port, tls, options.anywhere)
    print(f"{options.name} listens on {running.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(running.forever())
    return 0
