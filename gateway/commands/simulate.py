"""`gateway simulate NAME`: a stand-in repository in the foreground, on loopback, with its raw arrival log."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path
from typing import Any

from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.faults import FAULTS, Faults
from gateway.simulate.medcare import Medcare
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import Running, StandIn, Tls

STAND_INS: dict[str, type[Sepas | Medcare | Cart]] = {each.name: each for each in (Sepas, Medcare, Cart)}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; `run` is its default action."""
    parser = subparsers.add_parser(
        "simulate",
        help="run a stand-in repository on this machine",
        description="Faults are shown in the order given: " + ", ".join(FAULTS) + ".",
    )
    parser.add_argument("name", choices=sorted(STAND_INS), help="which repository")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port, printed")
    parser.add_argument("--log", type=Path, help="raw arrival log, JSON lines, synced before anything else")
    parser.add_argument("--ca", type=Path, help="PEM anchors of signers; makes signatures compulsory")
    parser.add_argument("--certificate", type=Path, help="server certificate: speak TLS")
    parser.add_argument("--key", type=Path, help="its key")
    parser.add_argument("--client-ca", type=Path, help="demand client certificates under these anchors")
    parser.add_argument("--fail", action="append", default=[], metavar="FAULT[=VALUE][:TIMES]")
    parser.add_argument("--node", default="node-1.test", help="sepas: this node's name before '::'")
    parser.add_argument("--facility", action="append", default=[], help="sepas: facilities that are known")
    parser.add_argument("--blocked", action="append", default=[], help="sepas: SystemIDs that are blocked")
    parser.add_argument("--focus", default="ServiceRequest", help="cart: resource type that must be there")
    parser.add_argument("--anywhere", action="store_true", help="allow a host that is not loopback")
    parser.set_defaults(run=run)


def make(options: argparse.Namespace) -> StandIn:
    """The stand-in that the options describe."""
    own: dict[str, Any] = {"ca": options.ca}
    if options.name == "sepas":
        own |= {"node": options.node, "facilities": options.facility, "blocked": options.blocked}
    elif options.name == "cart":
        own |= {"focus": options.focus}
    return STAND_INS[options.name](ArrivalLog(options.log), Faults(options.fail), **own)


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted. Raises `Misconfigured` for options that cannot be used."""
    tls = Tls(options.certificate, options.key, options.client_ca) if options.certificate else None
    running = Running(make(options), options.host, options.port, tls, options.anywhere)
    print(f"{options.name} listens on {running.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(running))
    return 0


async def _serve(running: Running) -> None:
    await running.forever()
