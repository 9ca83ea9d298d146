"""What one outbound HTTPS exchange costs, in CPU of this process alone, beside the bare parser's part of it.

    python -m bench.network [COUNT]

A server in another process answers each request of 10 kB with 1 kB over TLS 1.3 on loopback. "h11 alone" words and
reads the same messages in memory.
"""

from __future__ import annotations

import asyncio
import re
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import h11

from gateway.network import Outbound
from gateway.settings import Peer
from gateway.sign.dev_ca import Authority, pem

BODY = b"x" * 10_000
ANSWER = b"y" * 1_000
HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json", "X-Request-Id": "e-123456789"}
SAID = b"HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


class Answering(asyncio.Protocol):
    """Answers when so many bytes of body have come as the head says."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.came = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self.came += data
        head, end, body = self.came.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE) if end else None
        if length is not None and len(body) >= int(length[1]):
            self.came.clear()
            self.transport.write(SAID)  # type: ignore[attr-defined]


def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem", folder / "server.key")
    return made


async def serve(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=context(folder))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def cpu(count: int, once: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds each, the least of three rounds."""
    found = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(count):
            await once()
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * min(found) / count


async def wording() -> None:
    ours, answered = h11.Connection(h11.CLIENT), False
    headers = [("host", "h"), ("content-length", str(len(BODY))), *HEADERS.items()]
    ours.send(h11.Request(method="POST", target="/fhir/$process-message", headers=headers))
    ours.send(h11.Data(data=BODY))
    ours.send(h11.EndOfMessage())
    ours.receive_data(SAID)
    while not answered:
        answered = isinstance(ours.next_event(), h11.EndOfMessage)


async def main(count: int, folder: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create("Bench root", now)
    made = authority.server("localhost", now)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / "server.pem").write_bytes(pem(made.certificate))
    made.save(folder / "server.key")
    command = [sys.executable, "-m", "bench.network", "serve", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    try:
        assert server.stdout is not None
        url = f"https://localhost:{int(server.stdout.readline())}"
        network = Outbound({"p": Peer(origin=url, ca=str(folder / "ca.pem"))})
        began = time.perf_counter()
        each = await cpu(
            count, lambda: network.request("p", "POST", f"{url}/fhir/$process-message", HEADERS, BODY, 30.0)
        )
        await network.aclose()
        took = (time.perf_counter() - began) / count / 3
        print(f"{count} exchanges, three times: {each:.3f} ms of CPU each (h11 alone: {await cpu(count, wording):.3f})")
        print(f"{1000 * took:.2f} ms from request to answer")
    finally:
        server.terminate()
        server.wait(5)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(Path(sys.argv[2])))
    else:
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
            asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, Path(name)))
