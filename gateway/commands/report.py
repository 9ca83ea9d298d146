"""`gateway report`: measures of a period as FHIR MeasureReport, CSV, XLSX or an HTML page."""

from __future__ import annotations

import asyncio
import base64
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from gateway import settings as configuration
from gateway.commands import ledger
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("report", help="measures of a period: JSON, CSV, XLSX or HTML with charts")
    parser.add_argument("--programme", help="where more than one has measures")
    parser.add_argument("--measure", action="append", help="by name; every measure of the programme when left out")
    parser.add_argument("--period", help="1403-05, 1403-Q2, 1403, 2026-10, 2026-W41 …; the last that ended if left out")
    parser.add_argument("--from", dest="first", help="a day, instead of a period")
    parser.add_argument("--to", dest="last", help="a day, inclusive")
    parser.add_argument("--by", action="append", metavar="COLUMN=VALUE", help="only lines with this value")
    parser.add_argument("--language", choices=("en", "fa", "it", "zh"), help="the programme's when left out")
    parser.add_argument("--format", choices=("json", "csv", "xlsx", "html"), default="json")
    parser.add_argument("--out", type=Path, help="write to this file")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Ask, tell on standard error how far it is, write the file."""
    asked = {
        "programme": arguments.programme,
        "measure": arguments.measure,
        "period": arguments.period,
        "from": arguments.first,
        "to": arguments.last,
        "by": arguments.by,
        "language": arguments.language,
        "format": arguments.format,
    }
    if arguments.format == "xlsx" and arguments.out is None and sys.stdout.isatty():
        print("a workbook needs --out FILE", file=sys.stderr)
        return 2
    body = asyncio.run(_ask(arguments.config, asked))
    if arguments.out is not None:
        arguments.out.write_bytes(body)
    else:
        sys.stdout.buffer.write(body if arguments.format != "json" else body + b"\n")
    return 0


async def _ask(config: Path, asked: Json) -> bytes:
    parts: list[bytes] = []
    async for line in ledger.answers(configuration.load(config), "report", asked):
        if "part" in line:
            parts.append(base64.b64decode(line["part"]))
        else:
            told = line["progress"]
            place = f"{told['done'] + 1} of {told['of']}"
            print(f"{place}: {told['measure']} {told['period']}  {told['seconds']:.0f} s", file=sys.stderr, flush=True)
    return b"".join(parts)
