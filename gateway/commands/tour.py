"""`gateway tour`: one message, file by file, in the order in which a newcomer would read the code."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from gateway import app, deliver, flow, gather, operate, receive, sign, steps, store, validate, work, workers
from gateway import map as mapping
from gateway.commands import show
from gateway.commands.demo_inputs import GOOD, registry
from gateway.commands.site import Plan, Site
from gateway.deliver import lane, sepas_soap
from gateway.formats import hl7v2
from gateway.gather import cases, documents, routes
from gateway.map import engine
from gateway.message import ItemResult, Json
from gateway.receive import door, framing, mllp
from gateway.sign import evidence, gate
from gateway.store import ledger
from gateway.validate import rulebook

_STATIONS: Final[tuple[tuple[str, tuple[ModuleType, ...], tuple[str, ...]], ...]] = (
    ("receive: bytes from the wire, kept before the answer", (receive, framing, mllp, door), ("receive",)),
    ("store: one commit a step", (store, ledger, flow), ()),
    ("map and validate: in a worker, pure", (work, workers, mapping, engine, validate, rulebook), ("map", "validate")),
    ("gather: what belongs together, and to whom it is owed", (steps, gather, cases, documents, routes), ("gather",)),
    ("sign: evidence over the exact bytes; the gate", (sign, evidence, gate), ()),
    ("deliver: claim, render, commit, send, judge", (deliver, lane, sepas_soap), ("deliver",)),
    ("the wiring on one screen, and what an operator may do", (app, operate), ()),
)
"""What the station is, the files to read there, and the rooms whose journal lines belong to it."""


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("tour", help="follow one message file by file, in the order of the flow")
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.set_defaults(run=run)


def _path(module: ModuleType, home: Path) -> str:
    where = Path(inspect.getfile(module)).resolve()
    return str(where.relative_to(home)) if where.is_relative_to(home) else where.name


def _says(module: ModuleType) -> str:
    """The first sentence of the file's docstring."""
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")


def _station(title: str, modules: Iterable[ModuleType], lines: Iterable[str], home: Path) -> Iterable[str]:
    yield ""
    yield show.RULE
    yield title
    yield show.RULE
    for module in modules:
        yield f"  read {_path(module, home)}"
        yield f"       {_says(module)}"
    for line in lines:
        yield f"    {line}"


async def _follow(site: Site, home: Path) -> list[Json]:
    """Push the two messages of one stay, and return the trace of the second: it completes the case."""
    await site.prepare(registry(home))
    admission, bill = GOOD(home)[:2]
    await site.mllp([admission.body, bill.body])
    await site.quiet(30)
    control_id = hl7v2.header(bill.body).control_id
    found = await site.ask("submissions", sender="hospital-1", control_id=control_id)
    return await site.ask("trace", submission=found[0]["submission"]["id"])


def _findings(trace: Iterable[Json]) -> Iterable[str]:
    for line in trace:
        if "item" in line:
            result = msgspec.convert(line["item"]["result"], ItemResult)
            yield from (show.outline(resource) for resource in result.resources)
            yield from (each.strip() for each in show.loss(result) if "ignored" not in each)


async def _tour(home: Path, folder: Path) -> int:
    async with Site(folder, Plan(home=home, workers=1)) as site:
        await site.start()
        trace = await _follow(site, home)
        for title, modules, rooms in _STATIONS:
            lines = [
                show.journal_line(each["journal"]) for each in trace if each.get("journal", {}).get("room") in rooms
            ]
            made = list(_findings(trace)) if "map" in rooms else []
            show.lines(_station(title, modules, [*lines, *made], home))
        delivered = [each for each in trace if "exchange" in each and each["exchange"]["state"] == "delivered"]
        for each in delivered:
            show.trace_line(each)
        ended = await site.stop()
    return 0 if delivered and ended == 0 else 1


def run(arguments: Namespace) -> int:
    """Show the stations; 0 when the message arrived."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-tour-"))
    try:
        return asyncio.run(_tour(arguments.home.resolve(), folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
