"""Accepted per second at the door: real sockets, the real ledger with full synchronisation, nothing behind it.

    python bench/receive.py [--seconds 5] [--connections 16] [--workdir DIR] [--uvloop]

The load comes from a process of its own, one message outstanding per connection. "one commit" is `answer_within = 0`
(and HL7 enhanced mode): the first answer is kept in the commit of the submission. "two commits" is what a sender sees
whose findings are ready at once: one commit for the submission, one for the answer that carries them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from gateway import store as stores
from gateway.clock import SystemClock
from gateway.kept import SubmissionStatus
from gateway.receive.door import Door
from gateway.receive.framing import wrap
from gateway.receive.http import make_app
from gateway.receive.mllp import MllpServer
from gateway.receive.server import HttpServer
from gateway.settings import Http, Mllp, MllpSource, Sender, Settings

TOKEN = "bench-token"
PROGRAMME = "bench"


def message(control_id: str) -> bytes:
    """An ORU^R01 of about 1 kB."""
    head = f"MSH|^~\\&|BENCH|BENCH|GW|GW|20260101120000||ORU^R01^ORU_R01|{control_id}|P|2.5.1||||||UNICODE UTF-8\r"
    body = "PID|1||TEST-0001^^^BENCH||Patient-One^Test||19700101|F\rPV1|1|I|WARD^1^1\rOBR|1|||CODE^Text\r"
    return (
        head + body + "".join(f"OBX|{n}|NM|CODE{n}^Test value||{n}.5|mg/dL|1-10|N|||F\r" for n in range(12))
    ).encode()


def posted(control_id: str) -> bytes:
    body = message(control_id)
    head = (
        f"POST /submissions/{PROGRAMME} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: application/hl7-v2\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# --- the load -------------------------------------------------------------------------------------


async def ask_mllp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, id: str) -> bool:
    writer.write(wrap(message(id)))
    return b"MSA|AA" in await reader.readuntil(b"\x1c\r")


async def ask_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, id: str) -> bool:
    writer.write(posted(id))
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    await reader.readexactly(length)
    return head[9:10] == b"2"


async def load(kind: str, port: int, connections: int, seconds: float) -> dict[str, float]:
    """Ask on every connection until the time is up; latencies in milliseconds."""
    ask: Callable[..., Awaitable[bool]] = ask_mllp if kind == "mllp" else ask_http
    until, times, refused = time.perf_counter() + seconds, [], 0

    async def one(number: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.perf_counter() < until:
            began = time.perf_counter()
            ok = await ask(reader, writer, f"{time.time_ns() % 10**10}-{number}-{count}")
            times.append((time.perf_counter() - began) * 1000)
            refused += not ok
            count += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(connections)))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(times, n=100)
    return {"rate": len(times) / took, "p50": cuts[49], "p99": cuts[98], "count": len(times), "refused": refused}


# --- the gateway's door ---------------------------------------------------------------------------


async def nothing_wrong(id: str, seconds: float) -> SubmissionStatus | None:
    """Findings that are ready at once, and empty."""
    return SubmissionStatus(id=id, sender="bench", programme=PROGRAMME, state="itemised",
                            received_at=SystemClock().now(), settled=True)  # fmt: skip


async def measure(kind: str, within: float, connections: int, seconds: float, workdir: Path) -> dict[str, float]:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    source = MllpSource(application="BENCH", facility="BENCH")
    sender = Sender(id="bench", programmes=(PROGRAMME,), token_sha256=(digest,), mllp=(source,))
    clock = SystemClock()
    with tempfile.TemporaryDirectory(dir=workdir) as data:
        async with stores.open("", Path(data), clock) as ledger:
            door = Door(ledger, nothing_wrong, clock, (PROGRAMME,), within)
            server: HttpServer | MllpServer
            if kind == "mllp":
                server = MllpServer(Mllp(port=0, programme=PROGRAMME), (sender,), door, clock)
            else:
                http = Http(port=0)
                app = make_app(Settings(http=http, sender=(sender,)), ledger, door, clock)
                server = HttpServer(app, http)
            await server.start()
            command = [sys.executable, __file__, "--load", kind, str(server.port), str(connections), str(seconds)]
            cpu = time.process_time()
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            out, _ = await process.communicate()
            cpu = time.process_time() - cpu
            await server.stop()
            found: dict[str, float] = json.loads(out)
            kept = len(await ledger.received(10**6))
            assert kept == found["count"], f"{kept} kept, {found['count']} acknowledged"
            return found | {"cpu": cpu * 1000 / found["count"]}


async def table(connections: int, seconds: float, workdir: Path) -> None:
    print(f"{connections} connections, {seconds:g} s each, {len(message('1'))} bytes a message")
    print("| door | commits | accepted/s | p50 ms | p99 ms | CPU ms/message | refused |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in ("mllp", "http"):
        for within, name in ((0.0, "one"), (2.0, "two")):
            got = await measure(kind, within, connections, seconds, workdir)
            figures = (
                f"{got['rate']:.0f} | {got['p50']:.1f} | {got['p99']:.1f} | {got['cpu']:.2f} | {got['refused']:.0f}"
            )
            print(f"| {kind} | {name} | {figures} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workdir", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--uvloop", action="store_true", help="run the door on uvloop")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.load:
        kind, port, connections, seconds = asked.load
        print(json.dumps(asyncio.run(load(kind, int(port), int(connections), float(seconds)))))
    else:
        factory = uvloop.new_event_loop if asked.uvloop else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(table(asked.connections, asked.seconds, asked.workdir))


if __name__ == "__main__":
    main()
