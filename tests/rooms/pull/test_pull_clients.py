"""Clients that nobody here wrote: fhirclient and fhirpy (Python), fhir-kit-client (Node), over a real socket.

They are not among the things that the gateway or its tests need. Each runs as a program of its own where it is there:

    python -m venv clients && clients/bin/pip install fhirclient fhirpy
    GATEWAY_TEST_CLIENTS=clients  pytest tests/rooms/pull/test_pull_clients.py

    npm install --prefix clients fhir-kit-client
    GATEWAY_TEST_NODE_MODULES=clients/node_modules  pytest tests/rooms/pull/test_pull_clients.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pull_house import KEY, ONE, House, patient
from starlette.applications import Starlette

from gateway import pull
from gateway.formats import json
from gateway.pull.seal import Seal

CLIENTS = Path(__file__).parent / "clients"
EVERYONE = [f"p{n}" for n in range(10)]


@pytest.fixture
async def served(home: House) -> AsyncIterator[tuple[str, str]]:
    """The API on a loopback socket with ten people and some observations; its base and an access token."""
    made = House(home.ledger, home.clock, base="")
    await made.put(*[patient(each, "Patient-One" if each in ("p1", "p2") else "Other") for each in EVERYONE])
    await made.put(*[observation(n, EVERYONE[n % 5]) for n in range(10)])
    await made.put(patient("p1"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = Starlette(routes=pull.routes("/fhir", made.app))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        token = Seal(KEY, "token").close({"id": ONE, "granted": {"*": "rs"}}, made.clock.now() + timedelta(hours=1))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/fhir", token
        server.should_exit = True
        await task


def observation(n: int, subject: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": f"o{n}", "status": "final", "code": {"text": "a test"},
        "subject": {"reference": f"Patient/{subject}"},
    }  # fmt: skip


def python_with(package: str) -> str:
    """An interpreter that has the client, or a skip that says how to give one."""
    folder = os.environ.get("GATEWAY_TEST_CLIENTS")
    if folder is not None:
        return str(Path(folder) / "bin" / "python")
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; GATEWAY_TEST_CLIENTS names an environment that has it")
    return sys.executable


async def said(command: list[str], **environment: str) -> dict[str, Any]:
    """What the client printed."""

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, capture_output=True, timeout=60, env=os.environ | environment, check=False)

    ended = await asyncio.to_thread(run)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    found: dict[str, Any] = json.read(ended.stdout)
    return found


async def test_fhirclient_reads_searches_and_pages(served: tuple[str, str]) -> None:
    """SMART's own client for Python: its models accept what it is given, and its paging ends with everybody."""
    python = python_with("fhirclient")
    found = await said([python, str(CLIENTS / "reads_fhirclient.py"), *served])
    assert found["version"] == "4.0.1"
    assert found["one"] == ["p1", "Patient-One", "1980-02-03"]
    assert found["total"] == 2
    assert sorted(found["everyone"]) == EVERYONE
    assert found["included"] == ["Observation/o1", "Observation/o6", "Patient/p1"]
    assert found["resolved"] == "p2"


async def test_fhirpy_reads_searches_pages_and_exports(served: tuple[str, str]) -> None:
    """And what it exports is what it reads."""
    python = python_with("fhirpy")
    found = await said([python, str(CLIENTS / "reads_fhirpy.py"), *served])
    assert found["one"] == ["p1", "Patient-One", "1980-02-03"]
    assert found["total"] == 10
    assert sorted(found["everyone"]) == EVERYONE
    assert found["first"] == "p2"
    assert found["exported"] == EVERYONE
    observed = {f"Observation/o{n}" for n in (1, 2, 6, 7)}
    assert set(found["included"]) == observed | {"Patient/p1", "Patient/p2"}


@pytest.mark.needs("node")
async def test_fhir_kit_client_reads_searches_and_pages(served: tuple[str, str]) -> None:
    """A client of another language: versions, histories, search by form, an operation, the whole system."""
    node, modules = shutil.which("node"), os.environ.get("GATEWAY_TEST_NODE_MODULES")
    if node is None or modules is None:
        pytest.skip("node is not installed, or GATEWAY_TEST_NODE_MODULES does not name a folder with fhir-kit-client")
    found = await said([node, str(CLIENTS / "reads_kit.cjs"), *served], NODE_PATH=modules)
    assert found["version"] == "4.0.1"
    assert found["one"] == ["p1", "Patient-One", "1980-02-03"]
    assert found["versions"] == ["1", 2]
    assert sorted(found["everyone"]) == EVERYONE
    assert found["included"] == ["Observation/o1", "Observation/o6", "Patient/p1"]
    assert found["everything"] == 3
    assert found["system"] == 20
    assert found["missing"] == 404
