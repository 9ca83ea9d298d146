"""A private PostgreSQL and a private NATS server on loopback, for the demonstration of several processes.

Both are programs of this machine (PostgreSQL from the distribution, `nats-server` from the lock); they live in the
demonstration's folder and end with it.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.errors import Misconfigured

START_SECONDS: Final = 30.0


def _program(name: str, where: str) -> Path:
    found = sorted(Path("/").glob(where)) or [Path(each) for each in [shutil.which(name)] if each]
    if not found:
        raise Misconfigured(detail=f"{name} is not on this machine; the demonstration of several processes needs it")
    return found[-1]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def _account() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    return "postgres" if "postgres" in {each.pw_name for each in pwd.getpwall()} else "nobody"


def _home(folder: Path, account: str | None) -> Path:
    """A folder of the account's own, to which it can pass."""
    home = folder / "postgresql"
    home.mkdir(parents=True)
    if account:
        folder.chmod(0o711)
        shutil.chown(home, account)
    return home


async def _answers(port: int, name: str) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise Misconfigured(detail=f"{name} did not start") from None


@asynccontextmanager
async def _running(log: Path, number: signal.Signals, *command: str, user: str | None = None) -> AsyncIterator[None]:
    with log.open("ab") as said:
        made = await asyncio.create_subprocess_exec(*command, stdout=said, stderr=said, user=user, cwd="/")
    try:
        yield
    finally:
        if made.returncode is None:
            made.send_signal(number)
        await made.wait()


@asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[str]:
    """The address of a fresh server."""
    initdb, account, port = _program("initdb", "usr/lib/postgresql/*/bin/initdb"), _account(), _free_port()
    home = _home(folder, account)
    made = await asyncio.create_subprocess_exec(
        str(initdb), "-D", str(home / "data"), "-U", "gateway", "-A", "trust", "-E", "UTF8", "--locale=C",
        stdout=asyncio.subprocess.DEVNULL, user=account, cwd="/",
    )  # fmt: skip
    if await made.wait() != 0:
        raise Misconfigured(detail="initdb failed")
    server = str(initdb.with_name("postgres"))
    command = (server, "-D", str(home / "data"), "-p", str(port), "-k", str(home), "-c", "listen_addresses=127.0.0.1")
    async with _running(folder / "postgresql.log", signal.SIGINT, *command, user=account):
        await _answers(port, "PostgreSQL")
        await asyncio.sleep(1.0)  # it listens a moment before it lets anybody in
        yield f"postgresql://gateway@127.0.0.1:{port}/postgres"


@asynccontextmanager
async def nats(folder: Path) -> AsyncIterator[str]:
    """The address of a fresh server with JetStream."""
    beside = Path(sys.executable).with_name("nats-server")
    program, port = str(beside if beside.exists() else _program("nats-server", "usr/sbin/nats-server")), _free_port()
    command = (program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "nats"))
    async with _running(folder / "nats.log", signal.SIGTERM, *command):
        await _answers(port, "nats-server")
        yield f"nats://127.0.0.1:{port}"
