"""`gateway recall`: the whole file of a case or patient as one archive; `--verify` checks one, offline."""

from __future__ import annotations

import asyncio
import base64
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import recalling, workers
from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.commands import ledger
from gateway.sign.keys import read_certificates


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("recall", help="the whole file of a case or patient, as one archive")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--case", help="its keyed id")
    who.add_argument("--submission", help="every case that it belongs to")
    who.add_argument("--subject", help="every case of a patient, by its keyed id (Patient/…)")
    who.add_argument("--verify", type=Path, metavar="FILE", help="check an archive; needs no settings and no network")
    parser.add_argument("--programme", help="with --subject: only of this programme")
    parser.add_argument("--reason", default="", help="why the file was recalled; kept in the audit trail")
    parser.add_argument("--out", type=Path, help="the archive to write (recall-ID.zip)")
    parser.add_argument("--ca", type=Path, help="with --verify: the reviewer's own anchors (PEM)")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Write the archive, or check one: 1 where anything in it is not as it should be."""
    return check(arguments.verify, arguments.ca) if arguments.verify else _make(arguments)


def check(file: Path, ca: Path | None) -> int:
    """One line for each thing that is wrong or signed, and a sum."""
    lines = list(recalling.verify(file.read_bytes(), read_certificates(ca) if ca else ()))
    for each in lines:
        if not each.well or each.said:
            print(f"{'well ' if each.well else 'WRONG'}  {each.name}  {each.said}".rstrip())
    wrong = sum(1 for each in lines if not each.well)
    print(f"{len(lines)} checks, {wrong} wrong" + ("" if ca else "; judged by the anchors of the archive itself"))
    return 1 if wrong or not lines else 0


def _make(arguments: Namespace) -> int:
    settings = configuration.load(arguments.config)
    names = ("case", "submission", "subject", "programme")
    about = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    asked = {**about, "reason": arguments.reason or "recall"}

    async def gather() -> dict[str, bytes]:
        lines = ledger.answers(settings, "file_of", asked)
        return {line["name"]: base64.b64decode(line["data"]) async for line in lines}

    files = asyncio.run(gather())
    anchors = settings.trust.get("document") or settings.trust.get("signer") or ""
    pem = Path(anchors).read_bytes() if anchors else b""
    made = recalling.build(files.items(), about, pem, workers.evidence_signer(settings), SystemClock().now())
    out = arguments.out or Path(f"recall-{next(iter(about.values())).rpartition('/')[2][:32]}.zip")
    with os.fdopen(os.open(out, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        file.write(made)
    print(f"{out}  {len(files)} files  sha-256 {recalling._digest(made)}")
    return 0
