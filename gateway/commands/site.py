"""A whole site on loopback: throw-away certificates, stand-in repositories, and a gateway in a process of its own.

Used by the demonstration, the tour and the tests: nothing in it is simulated except the repositories. The gateway's
process is started, killed and ended by its own process id; leaving the context leaves nothing running.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Container, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx

from gateway import settings as configuration
from gateway.commands import ledger
from gateway.errors import Misconfigured
from gateway.message import Json
from gateway.operate import plain
from gateway.settings import Settings
from gateway.sign import dev_ca
from gateway.simulate.arrivals import ArrivalLog
from gateway.simulate.cart import Cart
from gateway.simulate.medcare import Medcare
from gateway.simulate.sepas import Sepas
from gateway.simulate.server import Running, Tls

FACILITY: Final = "1000001"
SYSTEM: Final = "9f0c1e1a-0000-4000-8000-0000000005e5"
CONFORMITY: Final = "DEMO-0001"
_START: Final = 60.0
_ON_ITS_WAY: Final = frozenset({"submission", "item", "document", "exchange"})


@dataclass(frozen=True)
class Plan:
    """What kind of site. `plain_mllp` opens MLLP without TLS on loopback (faster to push through)."""

    home: Path
    workers: int = 2
    plain_mllp: bool = False
    answer_within: float = 2.0
    database: str = ""
    on_unknown: str = "reconcile"
    package: Path | None = None  # another copy of the package to run, for sabotage
    log_level: str = "info"
    extra: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


_SETTINGS: Final = """\
home = "{home}"
data = "data"
database = "{database}"
environment = "demo"
programmes = ["sepas", "toscana"]
answer_within = {answer_within}
workers = {workers}
log_level = "{log_level}"
{extra}
[trust]
signer = "{ca}"
tls-server = "{ca}"
tls-client = "{ca}"
revocation = "{revocation}"

[http]
port = {http}
[http.tls]
certificate = "{server}"
key = "{server_key}"
client_ca = "{ca}"

[[mllp]]
port = {mllp}
programme = "sepas"
{mllp_tls}

[[sender]]
id = "hospital-1"
title = "Test hospital one"
programmes = ["sepas"]
language = "fa"
certificates = ["{hospital}"]
[[sender.mllp]]
application = "HIS"
addresses = ["127.0.0.1/32"]

[[sender]]
id = "cup-1"
title = "CUP di prova uno"
programmes = ["toscana"]
language = "it"
certificates = ["{cup}"]

[[sender]]
id = "evaluator-1"
title = "Test repository that pulls"
role = "repository"
programmes = ["sepas"]
certificates = ["{evaluator}"]

[[pull.repository]]
sender = "evaluator-1"

[key.evidence]
purpose = "evidence"
certificate = "{evidence}"
key = "{evidence_key}"

[key.token]
purpose = "destination"
certificate = "{signer}"
key = "{signer_key}"
{peers}
[[destination]]
id = "sepas"
programme = "sepas"
protocol = "sepas-soap"
peer = "sepas"
url = "{sepas}/BillPatient/BillPatientPort"
body = "sepas/patient-bill"
system_id = "{system}"
needs_conformity = true
signing_key = "token"
signer = "raw-rsa-sha256"
on_unknown = "{on_unknown}"
after_reconcile = "resend"
{retry}
[destination.options]
facility = "{facility}"
facility_id = "{facility}"
location_id = "{facility}"
bind_system = "yes"
reconcile_seconds = "1"

[[destination]]
id = "medcare"
programme = "sepas"
protocol = "signed-rest"
peer = "medcare"
url = "{medcare}/registrations"
on_unknown = "{on_unknown}"
after_reconcile = "resend"
{retry}
[destination.options]
evidence_header = "X-JWS-Signature"
success = "$.status = REGISTERED"
rejected = "$.status = REFUSED"
reference = "$.reference"
reconcile_seconds = "1"
"receipt.registration" = "$.registration"
reconcile_url = "{medcare}/registrations?key={{exchange}}"
known = "$.status = REGISTERED"
missing = "$.status = UNKNOWN"

[[destination]]
id = "cart"
programme = "toscana"
protocol = "fhir-rest"
peer = "cart"
url = "{cart}/$process-message"
on_unknown = "{on_unknown}"
after_reconcile = "resend"
{retry}
[destination.options]
reconcile_url = "{cart}/Bundle?message={{document}}"
reconcile_seconds = "1"
"""
_RETRY: Final = "[destination.retry]\nfirst = 0.2\nceiling = 2.0\nbreaker_seconds = 1.0\n"
_PEER: Final = """
[peer.{name}]
origin = "{origin}"
ca = "{ca}"
"""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def frame(body: bytes) -> bytes:
    """An MLLP block."""
    return b"\x0b" + body + b"\x1c\x0d"


class Site:
    """The site in a folder. `async with` makes everything but the gateway's process: `start` does that."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.log_path = folder / "gateway.log"
        self._stack = AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None
        self._pid = self.metrics_port = 0
        self.http_port, self.mllp_port = free_port(), free_port()

    async def __aenter__(self) -> Self:
        self.ca = dev_ca.make(
            self.folder / "ca",
            senders=("hospital-1", "cup-1", "evaluator-1"),
            destinations=("sepas", "medcare", "cart"),
            facility=FACILITY,
            system_id=SYSTEM,
        )
        self.logs = {name: self.folder / f"{name}.arrivals.jsonl" for name in ("sepas", "medcare", "cart")}
        self.sepas = Sepas(ArrivalLog(self.logs["sepas"]), ca=self.ca.ca)
        self.medcare = Medcare(ArrivalLog(self.logs["medcare"]), ca=self.ca.ca)
        self.cart = Cart(ArrivalLog(self.logs["cart"]), ca=self.ca.ca)
        self.servers: dict[str, Running] = {}
        for stand_in in (self.sepas, self.medcare, self.cart):
            pair = self.ca.destinations[stand_in.name]
            running = Running(stand_in, tls=Tls(pair.certificate, pair.key))
            self.servers[stand_in.name] = await self._stack.enter_async_context(running)
        self.config = self.folder / "gateway.toml"
        self.config.write_text(self._settings(), encoding="utf-8")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        await self._stack.aclose()

    def settings(self) -> Settings:
        """As the gateway reads them."""
        return configuration.load(self.config)

    def _settings(self) -> str:
        ca, plan = self.ca, self.plan
        tls = f'[mllp.tls]\ncertificate = "{ca.server.certificate}"\nkey = "{ca.server.key}"\nclient_ca = "{ca.ca}"'
        peers = "".join(_PEER.format(name=n, origin=s.url, ca=ca.ca) for n, s in self.servers.items())
        return _SETTINGS.format(
            home=plan.home.resolve(),
            database=plan.database,
            answer_within=plan.answer_within,
            workers=plan.workers,
            log_level=plan.log_level,
            extra=plan.extra,
            ca=ca.ca,
            revocation=ca.revocation,
            http=self.http_port,
            mllp=self.mllp_port,
            mllp_tls="" if plan.plain_mllp else tls,
            server=ca.server.certificate,
            server_key=ca.server.key,
            hospital=_fingerprint(ca.clients["hospital-1"].certificate),
            cup=_fingerprint(ca.clients["cup-1"].certificate),
            evaluator=_fingerprint(ca.clients["evaluator-1"].certificate),
            evidence=ca.evidence.certificate,
            evidence_key=ca.evidence.key,
            signer=ca.signer.certificate,
            signer_key=ca.signer.key,
            peers=peers,
            facility=FACILITY,
            system=SYSTEM,
            retry=_RETRY,
            on_unknown=plan.on_unknown,
            **{name: server.url for name, server in self.servers.items()},
        )

    # --- the gateway's process ----------------------------------------

    async def start(self, wrap: Sequence[str] = ()) -> int:
        """Start the gateway, wait until it is ready; its process id. `wrap` is put before the command (strace)."""
        environment = {**os.environ, **self.plan.environment}
        if self.plan.package is not None:
            environment["PYTHONPATH"] = str(self.plan.package)
        self._pid = 0
        command = (*wrap, sys.executable, "-m", "gateway", "serve", "--config", str(self.config))
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, env=environment, cwd=self.folder
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(_START):
            while line := await self._process.stdout.readline():
                if line.startswith(b"pid "):
                    self._pid = int(line[4:])  # the gateway's own, also where something was put before the command
                if line.startswith(b"metrics "):
                    self.metrics_port = int(line[8:])
                if line.strip() == b"ready":
                    return self._pid
        raise Misconfigured(detail=f"the gateway did not start; see {self.log_path}")

    async def start_worker(self) -> asyncio.subprocess.Process:
        """One more process on the same (PostgreSQL) ledger that works and delivers; ended with the site."""
        command = (sys.executable, "-m", "gateway", "work", "--config", str(self.config))
        with (self.folder / "worker.log").open("ab") as log:
            made = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=self.folder
            )
        self._stack.push_async_callback(_ended, made)
        assert made.stdout is not None
        async with asyncio.timeout(_START):
            while line := await made.stdout.readline():
                if line.strip() == b"ready":
                    return made
        raise Misconfigured(detail=f"the worker did not start; see {self.folder / 'worker.log'}")

    @property
    def pid(self) -> int:
        """The gateway's process id."""
        return self._pid

    async def kill(self) -> None:
        """SIGKILL, as a power switch would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        return await self._end(signal.SIGTERM)

    async def ended(self, seconds: float = 30) -> int:
        """Wait until the gateway ends of its own accord (or by the hand of a test); its exit code."""
        assert self._process is not None
        async with asyncio.timeout(seconds):
            return await self._process.wait()

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            os.kill(self._pid or process.pid, number)
            try:
                async with asyncio.timeout(20):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        transport = getattr(process, "_transport", None)
        if transport is not None:
            transport.close()
        return process.returncode or 0

    # --- an operator's hand ----------------------------------------

    async def ask(self, command: str, **arguments: Any) -> list[Json]:
        """A command of the administration socket, or of the ledger when the gateway is down."""
        return [line async for line in ledger.answers(self.settings(), command, arguments)]

    async def prepare(self, registry: Sequence[Any]) -> None:
        """Enter reference data and the conformity record."""
        await self.enter_registry(registry)
        await self.enter_conformity()

    async def enter_registry(self, registry: Sequence[Any]) -> None:
        """Import reference data."""
        await self.ask("registry_import", entries=[plain(entry) for entry in registry])

    async def enter_conformity(self) -> None:
        """Enter the exchange certificate without which nothing leaves for sepas."""
        now = datetime.now(UTC)
        record = {
            "destination": "sepas",
            "number": CONFORMITY,
            "system_id": SYSTEM,
            "software_version": "0.1.0",
            "valid_from": (now - timedelta(days=1)).isoformat(),
            "valid_to": (now + timedelta(days=30)).isoformat(),
            "issuer": "demonstration",
        }
        await self.ask("conformity", record=record)

    async def quiet(self, seconds: float, but: Container[str] = ()) -> bool:
        """Wait until nothing is on its way any more: no submission, item or exchange in a waiting state `but` these."""
        until, still = asyncio.get_running_loop().time() + seconds, 0
        while asyncio.get_running_loop().time() < until:
            states = await self.ask("status")
            here = [s for s in states if s["thing"] in _ON_ITS_WAY and s["state"] not in but]
            # The counts are not of one moment: what passes from one thing to the next may be in neither, once.
            still = 0 if any(s["waiting"] and s["count"] for s in here) else still + 1
            if still == 3:
                return True
            await asyncio.sleep(0.1)
        return False

    # --- a sender's hand ----------------------------------------

    def client_tls(self, sender: str) -> ssl.SSLContext:
        """The sender's certificate, and trust in the throw-away authority."""
        context = ssl.create_default_context(cafile=str(self.ca.ca))
        pair = self.ca.clients[sender]
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    async def post(self, sender: str, programme: str, media: str, body: bytes, **headers: str) -> httpx.Response:
        """POST a submission over HTTPS with the sender's certificate."""
        named = {"Content-Type": media, **{key.replace("_", "-"): value for key, value in headers.items()}}
        async with httpx.AsyncClient(verify=self.client_tls(sender), timeout=30) as client:
            url = f"https://127.0.0.1:{self.http_port}/submissions/{programme}"
            return await client.post(url, content=body, headers=named)

    async def get(self, sender: str, path: str) -> httpx.Response:
        """GET with the sender's certificate."""
        async with httpx.AsyncClient(verify=self.client_tls(sender), timeout=30) as client:
            return await client.get(f"https://127.0.0.1:{self.http_port}{path}")

    async def mllp(self, bodies: Sequence[bytes], sender: str = "hospital-1", seconds: float = 30) -> list[bytes]:
        """Push messages over one MLLP connection, one after the other; their acknowledgements."""
        return [answer async for answer in self._mllp(bodies, sender, seconds)]

    async def _mllp(self, bodies: Sequence[bytes], sender: str, seconds: float) -> AsyncIterator[bytes]:
        tls = None if self.plan.plain_mllp else self.client_tls(sender)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.mllp_port, ssl=tls)
        try:
            for body in bodies:
                writer.write(frame(body))
                async with asyncio.timeout(seconds):
                    answer = await reader.readuntil(b"\x1c\x0d")
                yield answer[1:-2]
        finally:
            writer.close()


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def _fingerprint(path: Path) -> str:
    end = "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(path.read_text().partition(end)[0] + end + "\n")
    return hashlib.sha256(der).hexdigest()
