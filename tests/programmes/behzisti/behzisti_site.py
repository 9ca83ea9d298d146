"""A gateway of this programme in one process, its stand-in over REST, a folder for files, throw-away keys."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway import settings as configuration
from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.commands.site import free_port
from gateway.idkey import id_key
from gateway.pool import Pool
from gateway.sign import dev_ca
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.behzisti import Behzisti
from gateway.simulate.server import Running

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "a token of the tests"
SETTINGS = """
home = "{home}"
data = "data"
programmes = ["behzisti"]
workers = 2

[http]
port = {port}

[trust]
signer = "{ca}"
revocation = "{revocation}"

[[sender]]
id = "centre-1"
programmes = ["behzisti"]
language = "fa"
token_sha256 = ["{token}"]

[key.evidence]
purpose = "evidence"
certificate = "{evidence}"
key = "{evidence_key}"

[peer.behzisti]
origin = "{url}"
plaintext = true
"""
REST = """
[[destination]]
id = "behzisti"
programme = "behzisti"
protocol = "signed-rest"
peer = "behzisti"
url = "{url}/documents"
concurrency = 8
[destination.retry]
first = 0.2
[destination.options]
evidence_header = "X-JWS-Signature"
success = "$.status = ACCEPTED"
rejected = "$.status = REJECTED"
reference = "$.reference"
"receipt.tracking" = "$.tracking"
reconcile_url = "{url}/documents?key={{exchange}}"
known = "$.status = ACCEPTED"
missing = "$.status = UNKNOWN"
"""
FILES = """
[[destination]]
id = "behzisti"
programme = "behzisti"
protocol = "file-drop"
peer = "behzisti"
url = "{folder}/out"
[destination.options]
signature = "evidence"
receipts = "{folder}/receipts"
reconcile_seconds = "1"
"receipt.tracking" = "$.tracking"
"""


@dataclass
class Place:
    """What the tests hold on to."""

    gateway: Gateway
    behzisti: Behzisti
    folder: Path
    port: int
    ca: Path

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return httpx.AsyncClient(timeout=30, headers=headers, base_url=f"http://127.0.0.1:{self.port}")

    async def push(self, body: bytes, media: str) -> httpx.Response:
        """POST a submission as the centre."""
        async with self.client() as client:
            return await client.post("/submissions/behzisti", content=body, headers={"Content-Type": media})

    async def arrived(self, count: int, seconds: float = 30) -> None:
        """Wait until so many documents were taken."""
        async with asyncio.timeout(seconds):
            while len(self.behzisti.registered) < count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def site(folder: Path, files: bool = False) -> AsyncIterator[Place]:
    """Everything started, and everything ended again."""
    made = dev_ca.make(folder / "ca", senders=("centre-1",), destinations=("behzisti",))
    behzisti = Behzisti(ArrivalLog(folder / "arrivals.jsonl"), ca=made.ca)
    async with Running(behzisti) as running:
        port = free_port()
        text = SETTINGS.format(
            home=ROOT, port=port, url=running.url, ca=made.ca, revocation=made.revocation,
            evidence=made.evidence.certificate, evidence_key=made.evidence.key,
            token=hashlib.sha256(TOKEN.encode()).hexdigest(),
        )  # fmt: skip
        for name in ("out", "receipts"):
            (folder / name).mkdir()
        text += FILES.format(folder=folder) if files else REST.format(url=running.url)
        settings = configuration.parse(text, folder)
        with Pool(settings, id_key(settings)) as pool:
            async with Gateway(settings, SystemClock(), pool) as gateway:
                stopping = asyncio.Event()
                work = asyncio.create_task(gateway.run_until(stopping))
                try:
                    yield Place(gateway, behzisti, folder, port, made.ca)
                finally:
                    stopping.set()
                    await work
