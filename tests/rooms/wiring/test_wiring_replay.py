"""Which exchanges `gateway replay` chooses: by id, destination, period, finding; and first without doing anything."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import store
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.flow import Room, Thing
from gateway.message import Move, Step

sys.path.insert(0, str(Path(__file__).parents[1] / "deliver"))
from deliver_world import exchange, routed

NOW = datetime.now(UTC)
MADE = {"old": ("d", NOW - timedelta(days=9), "GW-DELIVER-002"), "new": ("d", NOW, "GW-DELIVER-012")}
MADE["other"] = ("elsewhere", NOW, "GW-DELIVER-002")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A data folder with three parked exchanges, and nobody who serves it."""
    path = tmp_path / "gateway.toml"
    path.write_text("", encoding="utf-8")

    async def park() -> None:
        async with store.open("", tmp_path / "var", SystemClock()) as ledger:
            for id, (destination, at, code) in MADE.items():
                await ledger.commit(routed(exchange(id, destination, subject=id, case=id, created_at=at), at=at))
                way = (("due", "claimed", None), ("claimed", "parked", code))
                moves = [Move(thing=Thing.EXCHANGE, id=id, frm=f, to=t, room=Room.DELIVER, reason=r) for f, t, r in way]
                await ledger.commit(Step(name="park", at=at, moves=tuple(moves)))

    asyncio.run(park())
    return path


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        (["--destination", "d"], {"old", "new"}),
        (["--finding", "GW-DELIVER-002"], {"old", "other"}),
        (["--since", (NOW - timedelta(days=1)).isoformat()], {"new", "other"}),
        (["--until", (NOW - timedelta(days=1)).date().isoformat()], {"old"}),
        (["--destination", "d", "--finding", "GW-DELIVER-002"], {"old"}),
        (["other"], {"other"}),
    ],
)
def test_a_dry_run_names_exactly_what_the_run_then_does(
    config: Path, capsys: pytest.CaptureFixture[str], chosen: list[str], ids: set[str]
) -> None:
    """An operator must see what would be sent again before it is."""
    words = ["replay", *chosen, "--reason", "mended", "--config", str(config)]
    assert main([*words, "--dry-run"]) == 0
    would = {line.split()[1] for line in capsys.readouterr().out.splitlines() if "would replay" in line}
    assert main(words) == 0
    did = {line.split()[1] for line in capsys.readouterr().out.splitlines() if "did replay" in line}
    assert would == did == ids
    assert main(["parked", "--config", str(config)]) == 0
    left = {line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert left == set(MADE) - ids


def test_a_replay_without_a_choice_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody sends everything again by leaving out a word."""
    assert main(["replay", "--reason", "x", "--config", str(config)]) == 1
    assert main(["replay", "--since", "yesterday", "--reason", "x", "--config", str(config)]) == 1
    assert capsys.readouterr().err.count("GW-CORE-006") == 2
