"""The oracle: partners outside the gateway log every act; afterwards their logs and the ledger are compared.

Each stay of each invented patient has a token of its own that travels in the visit number. A stay counts as
acknowledged when both of its messages got a positive acknowledgement. A time-out is *unknown*, never "failed".
"""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from gateway import store
from gateway.clock import SystemClock
from gateway.commands.site import Site
from gateway.formats import json

ROOT = Path(__file__).parents[2]
ASKED = {"GW-DELIVER-011", "GW-DELIVER-014"}
"""The record of a repeat: the outcome was unknown and it is sent again, or the destination, asked, did not have it."""
SAMPLES = ROOT / "mappings" / "sepas" / "samples"


def national_code(number: int) -> str:
    """A code with a right check digit (weights 10 to 2, modulo 11) that belongs to nobody."""
    nine = f"{900_000_000 + number:09d}"
    rest = sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
    return nine + str(rest if rest < 2 else 11 - rest)


def token(patient: int, stay: int) -> str:
    return f"V{patient:03d}{stay:04d}"


def _sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8").replace("\n", "\r")


def stay_messages(patient: int, stay: int) -> tuple[bytes, bytes]:
    """The ADT^A03 and the DFT^P03 of one stay."""
    made = []
    for name, kind in (("adt-a03.hl7", "A"), ("dft-p03.hl7", "P")):
        text = _sample(name).replace("0012345679", national_code(patient)).replace("V-5001", token(patient, stay))
        text = re.sub(r"SAMPLE-\d{4}", f"{kind}-{token(patient, stay)}", text)
        text = text.replace("HIDTEST01", f"HID{token(patient, stay)}")
        made.append(text.encode())
    return made[0], made[1]


def stay_document(patient: int, stay: int) -> bytes:
    """A whole stay as JSON, under its token."""
    text = (SAMPLES / "stay.json").read_text(encoding="utf-8")
    text = text.replace("0012345679", national_code(patient)).replace("V-9001", token(patient, stay))
    return text.replace("HIDTEST02", f"HID{token(patient, stay)}").encode()


@dataclass
class Pushed:
    """What senders know: acknowledged stays by patient, in order."""

    acknowledged: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    negative: list[bytes] = field(default_factory=list)
    messages: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


async def push_until_acknowledged(site: Site, body: bytes, pushed: Pushed) -> None:
    """What a sender does that must not lose anything: the same bytes again until there is a positive answer."""
    while True:
        try:
            answer = (await site.mllp([body], seconds=20))[0]
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.05)
            continue
        if b"MSA|AA" in answer or b"MSA|CA" in answer:
            pushed.messages += 1
            return
        if b"MSA|AR" in answer:
            pushed.negative.append(answer)
            return
        await asyncio.sleep(0.05)  # AE: not stored, try again


async def push_stays(site: Site, patients: int, stays: int, pushed: Pushed) -> None:
    """Every patient's stays in order, patients side by side."""

    async def one(patient: int) -> None:
        for stay in range(stays):
            for body in stay_messages(patient, stay):
                await push_until_acknowledged(site, body, pushed)
            pushed.acknowledged[patient].append(stay)

    await asyncio.gather(*(one(patient) for patient in range(patients)))
    pushed.done.set()


async def kill_at_random(site: Site, pushed: Pushed, kills: int, seed: int, spread: float = 1.2) -> int:
    """`kill -9` and restart, at random moments, while messages are pushed and delivered."""
    chance, done = random.Random(seed), 0
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.05, spread))
        await site.kill()
        await site.start()
        done += 1
    return done


def arrivals(log: Path) -> list[dict[str, Any]]:
    """What the stand-in wrote down before it did anything else, each with the verdict that it wrote afterwards."""
    found: dict[int, dict[str, Any]] = {}
    for line in log.read_bytes().splitlines() if log.exists() else []:
        read = json.read(line)
        found.setdefault(read["arrival"], {"verdict": {}}).update(read)
    return [each for each in found.values() if "body" in each]


def token_of(body: bytes) -> str:
    """The stay that a message is about, or empty."""
    match = re.search(rb"V\d{7}", body)
    return match.group().decode() if match else ""


def body_of(arrival: dict[str, Any]) -> bytes:
    return base64.b64decode(arrival["body"])


def tokens_in(log: Path) -> list[str]:
    """The stays in the order in which they arrived; repeats included."""
    return [found for each in arrivals(log) if (found := token_of(body_of(each)))]


def kept_in(log: Path) -> Counter[str]:
    """How often each stay was taken by the repository: what it refused does not count."""
    return Counter(token_of(body_of(each)) for each in arrivals(log) if each["verdict"].get("kept"))


@dataclass(frozen=True)
class Record:
    """What the ledger says about one stay's way to one destination."""

    state: str
    attempts: int
    unknown: int  # attempts that are recorded as maybe arrived


async def violations(site: Site, pushed: Pushed, names: Sequence[str] = ("sepas", "medcare")) -> list[str]:
    """Every broken promise, from the logs of the partners and the ledger. The gateway must be stopped."""
    found: list[str] = []
    records = await _records(site)
    for name in names:
        seen, kept = tokens_in(site.logs[name]), kept_in(site.logs[name])
        for patient, stays in pushed.acknowledged.items():
            wanted = [token(patient, stay) for stay in stays]
            found += _order(name, patient, wanted, seen)
            found += [lost for each in wanted if (lost := _lost(name, each, kept, records))]
        for each, times in Counter(seen).items():
            record = records.get((name, each), Record("absent", 0, 0))
            if times > record.attempts:
                found.append(f"promise 5: {each} arrived {times} times at {name}, on record are {record.attempts}")
            if kept[each] > 1 + record.unknown:
                found.append(
                    f"promise 3: {name} took {each} {kept[each]} times, {record.unknown} were recorded unknown"
                )
    return found


def _lost(name: str, each: str, kept: Counter[str], records: Mapping[tuple[str, str], Record]) -> str:
    """What was acknowledged has been taken, or the ledger says who refused or dropped it."""
    state = records[name, each].state if (name, each) in records else "absent"
    if kept[each] and state == "delivered":
        return ""
    if kept[each]:
        return f"promise 2: {each} was taken by {name} and is {state}"
    if state == "delivered":
        return f"promise 2: {each} is said to be delivered to {name}, which never took it"
    return "" if state in ("rejected", "superseded") else f"promise 1: {each} was acknowledged, {name} never got it"


def _order(name: str, patient: int, wanted: list[str], seen: list[str]) -> list[str]:
    """Once a later stay has left, an earlier one of the same patient has ended and never comes again."""
    turns = [each for each, _ in groupby(each for each in seen if each.startswith(f"V{patient:03d}"))]
    if turns == [each for each in wanted if each in seen]:
        return []
    return [f"promise 4: order of patient {patient} at {name} is {turns}"]


async def _records(site: Site) -> dict[tuple[str, str], Record]:
    settings, found = site.settings(), {}
    async with store.open(settings.database, Path(settings.data), SystemClock()) as ledger:
        for destination in ("sepas", "medcare"):
            for exchange in await ledger.exchanges(destination=destination, limit=100_000):
                document = await ledger.document(exchange.document)
                attempts = await ledger.attempts(exchange.id)
                if document and (named := token_of(document.body)):
                    unknown = sum(1 for a in attempts if a.outcome in (None, "unknown") or ASKED & set(a.codes))
                    found[destination, named] = Record(exchange.state, len(attempts), unknown)
    return found
