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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import store
from gateway.clock import SystemClock
from gateway.commands.site import Site
from gateway.formats import json

ROOT = Path(__file__).parents[2]
RESENT = "GW-DELIVER-011"  # "the outcome is unknown; sent again": the record of a repeat
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
    """What the stand-in wrote down before it did anything else."""
    lines = log.read_bytes().splitlines() if log.exists() else []
    return [line for line in map(json.read, lines) if "body" in line]


def tokens_in(log: Path) -> list[str]:
    """The stays in the order in which they arrived; repeats included."""
    found = []
    for line in arrivals(log):
        match = re.search(rb"V\d{7}", base64.b64decode(line["body"]))
        if match:
            found.append(match.group().decode())
    return found


async def violations(site: Site, pushed: Pushed) -> list[str]:
    """Every broken promise, from the logs of the partners and the ledger. The gateway must be stopped."""
    found: list[str] = []
    tries = await _tries(site)
    for name in ("sepas", "medcare"):
        seen = tokens_in(site.logs[name])
        count = Counter(seen)
        for patient, stays in pushed.acknowledged.items():
            wanted = [token(patient, stay) for stay in stays]
            found += [
                f"promise 1: {each} was acknowledged and never reached {name}" for each in wanted if not count[each]
            ]
            first = list(dict.fromkeys(each for each in seen if each.startswith(f"V{patient:03d}")))
            if first != [each for each in wanted if each in count]:
                found.append(f"promise 4: order of patient {patient} at {name} is {first}")
        for each, times in count.items():
            attempts, unknown = tries.get((name, each), (0, 0))
            if times > attempts:
                found.append(f"promise 5: {each} arrived {times} times at {name}, {attempts} attempts are on record")
            if times > 1 + unknown:
                found.append(f"promise 3: {each} arrived {times} times at {name}, {unknown} outcomes were unknown")
    return found


async def _tries(site: Site) -> dict[tuple[str, str], tuple[int, int]]:
    """(destination, stay) -> (attempts on record, how many of them ended without a known outcome)."""
    settings, found = site.settings(), {}
    async with store.open(settings.database, Path(settings.data), SystemClock()) as ledger:
        for destination in ("sepas", "medcare"):
            for exchange in await ledger.exchanges(destination=destination, limit=100_000):
                document = await ledger.document(exchange.document)
                attempts = await ledger.attempts(exchange.id)
                match = re.search(rb"V\d{7}", document.body) if document else None
                if match:
                    unknown = sum(1 for each in attempts if each.outcome in (None, "unknown") or RESENT in each.codes)
                    found[destination, match.group().decode()] = (len(attempts), unknown)
    return found
