"""A gateway of this programme in one process: two stand-ins that demand SM2, throw-away keys, a clock that can jump."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from gateway import settings as configuration
from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.commands.site import free_port
from gateway.idkey import id_key
from gateway.pool import Pool
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.chongqing import Chongqing
from gateway.simulate.server import Running

ROOT = Path(__file__).resolve().parents[3]
ID = "1234567812345678"
TOKEN = "a token of the tests"
SETTINGS = """
home = "{home}"
data = "data"
programmes = ["chongqing"]
workers = 1

[http]
port = {port}

[[sender]]
id = "test-township"
programmes = ["chongqing"]
language = "zh"
token_sha256 = ["{token}"]

[key.evidence]
purpose = "evidence"
certificate = "leaf.pem"
key = "leaf.key"

[key.sm2]
certificate = "leaf.pem"
key = "leaf.key"
{signer_id}

[peer.family]
origin = "{family}"
plaintext = true

[peer.commission]
origin = "{commission}"
plaintext = true
"""
DESTINATION = """
[[destination]]
id = "{id}"
programme = "chongqing"
protocol = "signed-rest"
peer = "{peer}"
url = "{url}/receive"
signing_key = "sm2"
[destination.retry]
first = 0.2
[destination.options]
secure = "sm2-parameters"
app_id = "test-application"
success = "$.status = ACCEPTED"
rejected = "$.status = REFUSED"
reference = "$.reference"
"receipt.number" = "$.receipt"
reconcile_url = "{url}/receipts?nonce={{exchange}}"
known = "$.status = ACCEPTED"
missing = "$.status = UNKNOWN"
"""


def openssl(folder: Path, *words: str) -> None:
    """The openssl command, which knows SM2 certificates."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """An authority and a leaf, both signed under the default signer id; `empty.pem` is the same leaf under none."""
    named = ("-sm3", "-sigopt", f"distid:{ID}")
    for name in ("ca", "leaf"):
        openssl(folder, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", f"{name}.key")
    root = ("req", "-x509", "-new", "-key", "ca.key", *named, "-subj", "/O=Test/CN=Test Root", "-days", "800")
    openssl(folder, *root, "-out", "ca.pem")
    openssl(folder, "req", "-new", "-key", "leaf.key", *named, "-subj", "/O=Test/CN=Test District", "-out", "leaf.csr")
    (folder / "ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
    issue = ("x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "ext", "-days", "800")
    openssl(folder, *issue, *named, "-vfyopt", f"distid:{ID}", "-out", "leaf.pem")
    openssl(folder, *issue, "-sm3", "-vfyopt", f"distid:{ID}", "-out", "empty.pem")


class Jumping(SystemClock):
    """The machine's clock, some days ahead."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@dataclass
class Place:
    """What the tests hold on to."""

    gateway: Gateway
    clock: Jumping
    family: Chongqing
    commission: Chongqing
    port: int

    async def push(self, body: bytes, media: str) -> httpx.Response:
        """POST a submission as the township."""
        async with httpx.AsyncClient(timeout=30) as client:
            headers = {"Content-Type": media, "Authorization": f"Bearer {TOKEN}"}
            return await client.post(
                f"http://127.0.0.1:{self.port}/submissions/chongqing", content=body, headers=headers
            )

    async def arrived(self, stand_in: Chongqing, count: int, seconds: float = 30) -> None:
        """Wait until so many messages were taken."""
        async with asyncio.timeout(seconds):
            while len(stand_in.received) < count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def site(folder: Path, signer_id: str = "", ahead: timedelta = timedelta()) -> AsyncIterator[Place]:
    """Everything started, and everything ended again."""
    certificates(folder)
    clock = Jumping()
    clock.ahead = ahead
    family = Chongqing(ArrivalLog(None), clock=clock, ca=folder / "ca.pem", app_id="test-application")
    commission = Chongqing(ArrivalLog(None), clock=clock, ca=folder / "ca.pem", app_id="test-application")
    async with Running(family) as first, Running(commission) as second:
        port = free_port()
        text = SETTINGS.format(
            home=ROOT, port=port, family=first.url, commission=second.url,
            token=hashlib.sha256(TOKEN.encode()).hexdigest(),
            signer_id=f'signer_id = "{signer_id}"' if signer_id else "",
        )  # fmt: skip
        text += DESTINATION.format(id="family-support", peer="family", url=first.url)
        text += DESTINATION.format(id="health-commission", peer="commission", url=second.url)
        settings = configuration.parse(text, folder)
        with Pool(settings, id_key(settings)) as pool:
            async with Gateway(settings, clock, pool) as gateway:
                stopping = asyncio.Event()
                running = asyncio.create_task(gateway.run_until(stopping))
                try:
                    yield Place(gateway, clock, family, commission, port)
                finally:
                    stopping.set()
                    await running
