"""`gateway view` and `gateway report` as an operator calls them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import measure_house as house
import pytest

from gateway import measuring, store
from gateway.cli import main
from gateway.clock import FixedClock
from gateway.desk.admin import Admin
from gateway.settings import Settings

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    home = house.build(tmp_path / "home")
    path = tmp_path / "gateway.toml"
    path.write_text(f'home = "{home}"\ndata = "{tmp_path / "data"}"\nprogrammes = ["{house.NAME}"]\n')
    asyncio.run(published(tmp_path / "data"))
    return path


async def published(data: Path) -> None:
    """By a gateway that knew no views."""
    async with store.open("", data, FixedClock(NOW)) as ledger:
        await ledger.commit(house.step(house.kept(house.visit("v1", "a", "north", "2026-10-24T09:00:00+03:30", 95))))


def report(config: Path, out: Path, *more: str) -> str:
    words = ["report", "--config", str(config), "--measure", "long-visits", "--period", "1405-08", "--out", str(out)]
    assert main([*words, "--format", "csv", *more]) == 0
    return out.read_text(encoding="utf-8-sig")


def test_a_report_from_the_file_of_the_ledger(config: Path, tmp_path: Path) -> None:
    """Nobody serves: the command opens the ledger itself and brings the tables up to date first."""
    assert "north,1,1" in report(config, tmp_path / "out.csv")


async def test_a_report_from_the_gateway_that_serves(config: Path, tmp_path: Path) -> None:
    """Through its socket: only one process owns the file."""
    settings = Settings(home=str(tmp_path / "home"), data=str(tmp_path / "data"), programmes=(house.NAME,))
    async with store.open("", tmp_path / "data", FixedClock(NOW)) as ledger:
        reporting = measuring.Reporting(settings, ledger, FixedClock(NOW))
        await measuring.use(settings, house.load(tmp_path / "home"), ledger, (reporting,))
        admin = Admin(tmp_path / "data", {"report": reporting})
        await admin.start()
        try:
            text = await asyncio.to_thread(report, config, tmp_path / "out.csv", "--by", "club=north")
            assert "north,1,1" in text
            text = await asyncio.to_thread(report, config, tmp_path / "out.csv", "--by", "club=south")
            assert len(text.splitlines()) == 1
        finally:
            await admin.stop()


async def test_a_long_report_says_how_far_it_is(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On standard error, so that the file stays what it is."""
    monkeypatch.setattr(measuring, "BEAT", 0.001)
    await asyncio.to_thread(report, config, tmp_path / "out.csv")
    assert "1 of 1: long-visits 1405-08" in capfd.readouterr().err


def test_an_unknown_measure_is_one_clear_line(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With the names there are."""
    assert main(["report", "--config", str(config), "--measure", "nothing"]) == 1
    assert "GW-MEASURE-004" in capfd.readouterr().err


@pytest.mark.parametrize("shape", ["ndjson", "bundle", "list", "one"])
def test_rows_of_a_view_from_files(tmp_path: Path, capfd: pytest.CaptureFixture[str], shape: str) -> None:
    """The four ways in which resources come in files."""
    people = [house.person("a", "1", "2"), house.person("b")]
    bundle = {"resourceType": "Bundle", "entry": [{"resource": each} for each in people]}
    texts = {
        "ndjson": "\n".join(json.dumps(each) for each in people),
        "bundle": json.dumps(bundle, indent=1),
        "list": json.dumps(people),
        "one": json.dumps(people[0], indent=1),
    }
    (tmp_path / "in").write_text(texts[shape])
    (tmp_path / "view.json").write_text(json.dumps(house.PHONE))
    words = ["view", str(tmp_path / "view.json"), "--in", str(tmp_path / "in"), "--home", str(house.ROOT)]
    assert main([*words, "--format", "csv"]) == 0
    lines = capfd.readouterr().out.splitlines()
    expected = ["person,born,number,rank,place", "a,1990-05-06,1,1,0", "a,1990-05-06,2,2,1", "b,1990-05-06,,,0"]
    assert lines == (expected[:3] if shape == "one" else expected)
    assert main([*words, "--format", "json"]) == 0
    assert len(json.loads(capfd.readouterr().out)) == len(lines) - 1
    assert main([*words, "--format", "ndjson", "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out").read_text().splitlines()[0])["number"] == "1"


def test_a_view_that_cannot_be_used_is_one_clear_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Code, file and reason."""
    (tmp_path / "view.json").write_text('{"resource": "Patient"}')
    (tmp_path / "in").write_text("{}")
    assert main(["view", str(tmp_path / "view.json"), "--in", str(tmp_path / "in"), "--home", str(house.ROOT)]) == 1
    assert "GW-MEASURE-001" in capfd.readouterr().err
