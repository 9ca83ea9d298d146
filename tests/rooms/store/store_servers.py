"""A data folder on SQLite and a schema on a real PostgreSQL: every promise of the ledger is tested on both."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from gateway import store
from gateway.clock import FixedClock

NOW = datetime(2026, 11, 21, 8, 30, 0, 123456, tzinfo=UTC)


class Where(NamedTuple):
    """What `gateway.store.open` needs."""

    url: str
    data: Path

    def ledger(self, clock: FixedClock | None = None) -> store.Ledger:
        return store.open(self.url, self.data, clock or FixedClock(NOW))


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).parent if on_path else None


def _account() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as the account that Debian made for it."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A private PostgreSQL on loopback."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port, self.account = programs, folder, _free_port(), _account()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://gateway@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        if self.account:
            shutil.chown(self.folder, self.account)
        self.folder.chmod(0o700)
        command = [self.programs / "initdb", "-D", self.folder / "data", "-U", "gateway", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*command, "--locale=C"], check=True, capture_output=True, user=self.account, cwd="/")

    def start(self) -> None:
        command = [self.programs / "postgres", "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder]
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", "-c", "shared_buffers=32MB"]
        log = (self.folder.parent / f"{self.folder.name}.log").open("ab")
        with log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log, user=self.account, cwd="/")
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def setting(self, name: str, value: str) -> None:
        """Change it while the server runs."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
            connection.execute("SELECT pg_reload_conf()")
            for _ in range(100):
                with psycopg.connect(self.url) as fresh:
                    if fresh.execute(f"SHOW {name}").fetchone() == (value,):
                        return
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends sessions and shuts down in order, SIGQUIT is a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)
            self.process = None


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
    server = Server(programs, folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


_schemas = itertools.count(1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    """A fresh, empty place."""
    if request.param == "sqlite":
        return Where("", tmp_path / "data")
    return _schema(request.getfixturevalue("postgresql"), tmp_path)


def _schema(server: Server, tmp_path: Path) -> Where:
    name = f"t{next(_schemas)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return Where(f"{server.url}?options=-csearch_path%3D{name}", tmp_path / "data")


@pytest.fixture
def cluster(postgresql: Server, tmp_path: Path) -> Where:
    """A place that several ledgers may open at once. Tests that use it need postgresql."""
    return _schema(postgresql, tmp_path)


@pytest.fixture
def sqlite(tmp_path: Path) -> Where:
    return Where("", tmp_path / "data")


@pytest.fixture
async def ledger(where: Where) -> AsyncIterator[store.Ledger]:
    async with where.ledger() as opened:
        yield opened
