"""`gateway demo`: a whole site on this machine; real inputs pushed in, and a broken one of each; the trace; the end.

Exit code 0 only when everything was as it should be: one bill from two messages, every delivery signed and verified by
its receiver, every broken input refused with a code, a place and a mend, and nothing left running.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.commands import demo_servers, show
from gateway.commands.demo_inputs import GOOD, Input, broken, registry
from gateway.commands.site import Plan, Site
from gateway.formats import hl7v2, json
from gateway.message import ItemResult, Json
from gateway.simulate import arrivals

_QUIET: Final = 40.0


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("demo", help="one case all the way, on this machine; ends by itself")
    parser.add_argument("--home", type=Path, default=Path(), help="where mappings/ and profiles/ are")
    parser.add_argument("--keep", type=Path, help="keep everything in this folder")
    parser.add_argument("--cluster", action="store_true", help="three processes on PostgreSQL and NATS")
    parser.set_defaults(run=run)


@dataclass
class Told:
    """What a push was answered."""

    submission: str
    accepted: bool
    lines: list[str] = field(default_factory=list)


class Demo:
    """The demonstration; `wrong` collects what was not as it should be."""

    def __init__(self, site: Site, home: Path) -> None:
        self.site, self.home = site, home
        self.wrong: list[str] = []

    def expect(self, what: str, holds: bool) -> None:
        """Say it, and remember if it does not hold."""
        print(f"  {'✓' if holds else '✗'} {what}")
        if not holds:
            self.wrong.append(what)

    async def run(self) -> None:
        """Push, wait, show, judge."""
        await self.site.prepare(registry(self.home))
        _title("Good inputs")
        good = [(each, await self.push(each)) for each in GOOD(self.home)]
        _title("Broken inputs")
        for each in broken(self.home):
            told = await self.push(each)
            self.expect(f"{each.name}: refused", not told.accepted)
        _title("Waiting until everything has arrived")
        self.expect("nothing is on its way any more", await self.site.quiet(_QUIET))
        for each, told in good:
            await self.trace(each, told)
        await self.pull()
        await self.judge()

    # --- pushing ----------------------------------------

    async def push(self, given: Input) -> Told:
        """By the input's own door; prints what the sender is told."""
        print(f"\n→ {given.name}  ({given.media}, {len(given.body)} bytes, {given.door})")
        told = await (self._mllp(given) if given.door == "mllp" else self._http(given))
        show.lines(told.lines)
        if given.good:
            self.expect(f"{given.name}: accepted", told.accepted)
        return told

    async def _mllp(self, given: Input) -> Told:
        answer = (await self.site.mllp([given.body], given.sender))[0]
        message = hl7v2.read(answer)
        code = message.field("MSA", 1)
        lines = ["  ← " + line for line in answer.decode().strip("\r").split("\r")]
        control_id = hl7v2.header(given.body).control_id
        found = await self.site.ask("submissions", sender=given.sender, control_id=control_id)
        return Told(found[0]["submission"]["id"] if found else "", code in {"AA", "CA"}, lines)

    async def _http(self, given: Input) -> Told:
        answer = await self.site.post(given.sender, given.programme, given.media, given.body, Accept="application/json")
        body = json.read(answer.content)
        lines = [f"  ← {answer.status_code}  Location: {answer.headers.get('location', '-')}"]
        for found in body.get("findings", []) or body.get("issues", []):
            lines += _finding(found)
        id = answer.headers.get("location", "/").rsplit("/", 1)[-1]
        return Told(id, answer.status_code in {201, 202}, lines)

    # --- showing ----------------------------------------

    async def trace(self, given: Input, told: Told) -> None:
        """Every state change with its room, the resources, the loss report, the receipts."""
        _title(f"Trace of {given.name}")
        for line in await self.site.ask("trace", submission=told.submission):
            if "item" in line:
                result = msgspec.convert(line["item"]["result"], ItemResult)
                print(f"\n  {result.label}: {line['item']['state']}, {len(result.resources)} resources")
                show.lines(f"    {show.outline(resource)}" for resource in result.resources)
                show.lines("  " + each for each in _brief_loss(result))
            else:
                show.trace_line(line)

    # --- pulling ----------------------------------------

    async def pull(self) -> None:
        """A repository that asks for itself: it sees its programme, with the signed bytes, and nothing else."""
        _title("A repository pulls")
        found = {}
        for path in ("/fhir/metadata", "/fhir/Encounter?_include=Encounter:patient", "/fhir/Appointment"):
            answer = await self.site.get("evaluator-1", path)
            found[path] = json.read(answer.content)
            print(
                f"  GET {path}  ← {answer.status_code}",
                f"{found[path]['resourceType']} total={found[path].get('total', '-')}",
            )
        stays = found["/fhir/Encounter?_include=Encounter:patient"]
        kinds = [entry["resource"]["resourceType"] for entry in stays.get("entry", [])]
        self.expect("the repository finds both stays and their patient", kinds.count("Encounter") == 2)
        self.expect("it sees nothing of another programme", not found["/fhir/Appointment"].get("entry"))

    # --- judging ----------------------------------------

    async def judge(self) -> None:
        """Compare what the receivers wrote down with what is owed."""
        _title("What the receivers wrote down")
        logs = {name: list(arrivals.read(path)) for name, path in self.site.logs.items()}
        for name, lines in logs.items():
            for line in lines:
                if "verdict" in line:
                    print(f"  {name:<8} arrival {line['arrival']}: {_flat(line['verdict'])}")
        verdicts = {name: [line["verdict"] for line in lines if "verdict" in line] for name, lines in logs.items()}
        self.expect("one bill from ADT^A03 and DFT^P03, one from the JSON stay", len(verdicts["sepas"]) == 2)
        self.expect("medcare has both stays and the care plan", len(verdicts["medcare"]) == 3)
        self.expect("CART has one message for each row of the spreadsheet", len(verdicts["cart"]) == 3)
        every = [each for found in verdicts.values() for each in found]
        self.expect(
            "every signature was verified by its receiver", all(v.get("signature") == "verified" for v in every)
        )
        self.expect("every arrival was kept", all(v["kept"] for v in every))
        states = {(s["thing"], s["state"]): s["count"] for s in await self.site.ask("status")}
        self.expect("every exchange is delivered", states.get(("exchange", "delivered")) == len(every))
        self.expect("nothing is parked", not any(count for (_, state), count in states.items() if state == "parked"))


def _title(text: str) -> None:
    print(f"\n{show.RULE}\n{text}\n{show.RULE}")


def _finding(found: Json) -> Iterable[str]:
    place = found.get("place") or {}
    at = place.get("path", "-") if isinstance(place, dict) else place
    yield f"    {found.get('severity', ''):<11} {found.get('code')}  at {at}"
    yield f"      {found.get('text')}"
    if found.get("mend"):
        yield f"      → {found['mend']}"


def _brief_loss(result: ItemResult) -> Iterable[str]:
    read = len({place.path for line in result.lineage for place in line.places})
    unread = [each.place.path for each in result.loss if each.fate == "unread"]
    ignored = sum(1 for each in result.loss if each.fate == "ignored")
    yield f"loss report: {read} places mapped, {ignored} ignored on purpose, {len(unread)} unread"
    if unread:
        yield f"             unread: {' '.join(unread[:12])}"


def _flat(verdict: Json) -> str:
    return "  ".join(f"{key}={value}" for key, value in verdict.items() if value not in (None, "", []))


async def demonstrate_cluster(home: Path, folder: Path) -> int:
    """The same with PostgreSQL, NATS and two more processes that work."""
    async with demo_servers.postgresql(folder) as database, demo_servers.nats(folder) as nats:
        plan = Plan(home=home, workers=1, database=database, extra=f'[cluster]\nnats = "{nats}"\n')
        return await demonstrate(plan, folder / "site", processes=3)


async def demonstrate(plan: Plan, folder: Path, processes: int = 1) -> int:
    """The demonstration in a folder; its exit code."""
    started, home = time.monotonic(), plan.home
    async with Site(folder, plan) as site:
        print(f"throw-away authority, stand-ins for {', '.join(site.servers)}, gateway: starting in {folder}")
        await site.start()
        for number in range(1, processes):
            worker = await site.start_worker()
            print(f"process {number + 1} of {processes} works on the same ledger: pid {worker.pid}")
        demo = Demo(site, home)
        await demo.run()
        demo.expect("the gateway stops in order", await site.stop() == 0)
    print(f"\n{time.monotonic() - started:.1f} s")
    for each in demo.wrong:
        print(f"NOT AS IT SHOULD BE: {each}")
    print("all as it should be" if not demo.wrong else f"{len(demo.wrong)} things were not as they should be")
    return 1 if demo.wrong else 0


def run(arguments: Namespace) -> int:
    """Run it in a folder of its own, and leave nothing behind."""
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        home = arguments.home.resolve()
        if arguments.cluster:
            return asyncio.run(demonstrate_cluster(home, folder))
        return asyncio.run(demonstrate(Plan(home=home), folder))
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
