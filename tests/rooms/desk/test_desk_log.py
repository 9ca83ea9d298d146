"""Logs, metrics and the administration socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FixedClock
from gateway.desk import admin, log
from gateway.desk.metrics import Metrics
from gateway.errors import Misconfigured

AT = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.dictionaries(st.text(max_size=20), st.one_of(st.text(max_size=300), st.integers(), st.none()), max_size=8))
def test_whatever_is_logged_only_listed_keys_and_plain_short_values_pass(event: dict[str, Any]) -> None:
    """A property of the processor, not of our discipline at each call."""
    for key, value in log.redact(None, "info", event).items():
        if isinstance(value, str) and not value.startswith("<"):
            assert key in log.KEYS
            assert value.isascii()
            assert len(value) <= 200


def test_the_oldest_waiting_thing_has_an_age_and_final_states_have_none() -> None:
    """An operator's alarm is on age, and what is finished must not raise it."""
    clock = FixedClock(AT)
    page = (
        Metrics(clock)
        .page({"exchange": {"parked": (2, datetime(2025, 12, 31, 23, 59, tzinfo=UTC)), "delivered": (9, AT)}})
        .decode()
    )
    assert 'gateway_oldest_seconds{state="parked",thing="exchange"} 60.0' in page
    assert 'gateway_oldest_seconds{state="delivered"' not in page
    assert 'gateway_things{state="delivered",thing="exchange"} 9.0' in page


async def _echo(arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield {"said": arguments["word"]}


async def _refuse(arguments: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    raise Misconfigured(detail="no")
    yield {}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Path]:
    made = admin.Admin(tmp_path, {"echo": _echo, "refuse": _refuse})
    await made.start()
    yield tmp_path
    await made.stop()


async def test_a_command_is_answered_and_closed_by_done(served: Path) -> None:
    """The socket is the operator's own: nobody else may open it."""
    assert [line async for line in admin.ask(served, "echo", {"word": "x"})] == [{"said": "x"}, {"done": True}]
    assert os.stat(admin.socket_path(served)).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "sent", [b"\n", b"{}\n", b"[1]\n", b'{"command": "nothing"}\n', b"\xff\xfe\n", b'{"command":"echo"}\n']
)
async def test_nonsense_on_the_socket_is_answered_with_a_code(served: Path, sent: bytes) -> None:
    """A half-updated command line tool must not bring the gateway down."""
    reader, writer = await asyncio.open_unix_connection(str(admin.socket_path(served)))
    writer.write(sent)
    answer = json.loads(await reader.readline())
    writer.close()
    assert answer["error"]["code"].startswith("GW-")


async def test_an_error_of_a_command_comes_with_its_code(served: Path) -> None:
    """What the owner of the ledger refused is told, not hidden."""
    (answer,) = [line async for line in admin.ask(served, "refuse", {})]
    assert answer["error"]["code"] == "GW-CORE-006"


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    """After kill -9 the file is still there; the next owner takes its place."""
    admin.socket_path(tmp_path).write_text("left over")
    made = admin.Admin(tmp_path, {"echo": _echo})
    await made.start()
    first, _done = [line async for line in admin.ask(tmp_path, "echo", {"word": "y"})]
    assert first == {"said": "y"}
    await made.stop()
    assert not admin.socket_path(tmp_path).exists()


async def test_a_data_folder_may_lie_as_deep_as_it_likes(tmp_path: Path) -> None:
    """A socket address holds about a hundred bytes; a path of an operator's choice may be longer."""
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    made = admin.Admin(deep, {"echo": _echo})
    await made.start()
    answers = [line async for line in admin.ask(deep, "echo", {"word": "z"})]
    await made.stop()
    assert answers[0] == {"said": "z"}
    assert not admin.socket_path(deep).exists()
