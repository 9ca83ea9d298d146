"""Fixtures of room pull: the ledger with an indexer, on SQLite and on a PostgreSQL of our own."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from pull_house import DEFINITIONS, NOW, House

from gateway import store
from gateway.clock import FixedClock


def _neighbour() -> ModuleType:
    """The server of the store's tests; two ways to start PostgreSQL would be one too many."""
    path = Path(__file__).parents[1] / "store" / "store_servers.py"
    spec = importlib.util.spec_from_file_location("store_tests_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    neighbour = _neighbour()
    programs = neighbour._programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="gateway-postgresql-"))
    server = neighbour.Server(programs, folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


_schemas = itertools.count(1)


def _fresh(server: Any) -> str:
    name = f"p{next(_schemas)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{server.url}?options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def url(request: pytest.FixtureRequest) -> str:
    """A fresh database."""
    if request.param == "sqlite":
        return ""
    return _fresh(request.getfixturevalue("postgresql"))


@pytest.fixture
async def house(url: str, tmp_path: Path) -> AsyncIterator[House]:
    """On both databases."""
    clock = FixedClock(NOW)
    async with store.open(url, tmp_path / "data", clock, DEFINITIONS) as ledger:
        yield House(ledger, clock)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """On SQLite alone, for what does not depend on the database."""
    clock = FixedClock(NOW)
    async with store.open("", tmp_path / "data", clock, DEFINITIONS) as ledger:
        yield House(ledger, clock)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def url_of(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A fresh database each time that it is called."""
    if request.param == "sqlite":
        return lambda: ""
    server = request.getfixturevalue("postgresql")
    return lambda: _fresh(server)
