"""`gateway certs …`: keys, certificates and what is wrong with them, one clear line a thing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.sign import dev_ca


def add(subparsers: Any) -> None:
    """Add the command to the parser; each handler takes the parsed arguments and returns the exit code."""
    certs = subparsers.add_parser("certs", help="keys, certificates and trust")
    actions = certs.add_subparsers(dest="action", required=True)
    made = actions.add_parser("dev-ca", help="make a throw-away certificate authority with keys")
    made.add_argument("folder", type=Path)
    made.add_argument("--sender", action="append", default=[], help="a client certificate for this sender")
    made.add_argument("--destination", action="append", default=[], help="a server certificate for this stand-in")
    made.add_argument("--facility", default="FACILITY-1")
    made.add_argument("--system", default="SYSTEM-1")
    made.set_defaults(handler=_dev_ca)


def _dev_ca(arguments: argparse.Namespace) -> int:
    made = dev_ca.make(
        arguments.folder,
        arguments.sender or ("sender",),
        arguments.destination or ("destination",),
        facility=arguments.facility,
        system_id=arguments.system,
    )
    print(f"anchors      {made.ca}")
    print(f"revocation   {made.crl}")
    pairs = {"server": made.server, "evidence": made.evidence, "signer": made.signer}
    pairs |= {f"client {k}": v for k, v in made.clients.items()}
    pairs |= {f"destination {k}": v for k, v in made.destinations.items()}
    for name, pair in pairs.items():
        print(f"{name:12} {pair.certificate} {pair.key}")
    return 0
