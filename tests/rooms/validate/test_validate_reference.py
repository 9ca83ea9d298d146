"""A programme's own dated thresholds: `reference.csv` behind what an operator imports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.errors import Misconfigured
from gateway.message import Context, RegistryEntry
from gateway.validate import checks, reference

FILE = "kind,key,valid_from,valid_to,most\nwindow,long,2020-01-01,2021-08-09,56\nwindow,long,2021-08-10,,84\n"


def context(**registry: RegistryEntry) -> Context:
    held = {"window": {key: (entry,) for key, entry in registry.items()}}
    now = datetime(2020, 6, 1, tzinfo=UTC)
    return Context(digest="c", now=now, sender="s", programme="p", id_key=b"k", registry=held)


def test_the_row_of_the_day_is_found(tmp_path: Path) -> None:
    """Days are inclusive; the clock is the recorded one where no day is asked for."""
    path = tmp_path / "reference.csv"
    path.write_text(FILE, encoding="utf-8")
    ask = checks.lookup(context(), reference.load(path))
    assert [ask("window", "long", day)["most"] for day in ("2021-08-09", "2021-08-10")] == ["56", "84"]
    assert ask("window", "long")["most"] == "56"
    assert ask("window", "long", "2019-12-31") is None
    assert ask("window", "short") is None


def test_what_was_imported_comes_first_and_alone(tmp_path: Path) -> None:
    """An operator who imports a threshold means it, also on the days on which it does not hold."""
    path = tmp_path / "reference.csv"
    path.write_text(FILE, encoding="utf-8")
    entry = RegistryEntry(kind="window", key="long", programme="p", valid_to="2020-12-31", data={"most": 30})
    ask = checks.lookup(context(long=entry), reference.load(path))
    assert ask("window", "long")["most"] == 30
    assert ask("window", "long", "2021-06-01") is None


@pytest.mark.parametrize("text", ["kind,key\nw,l\n", "kind,key,valid_from,valid_to\nw,,,\n", FILE + "window\n"])
def test_a_file_that_cannot_be_read_stops_the_start(tmp_path: Path, text: str) -> None:
    """A threshold that was silently ignored would be worse than none."""
    path = tmp_path / "reference.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Misconfigured):
        reference.load(path)


def test_no_file_is_no_data(tmp_path: Path) -> None:
    """Most programmes have none."""
    assert reference.load(tmp_path / "reference.csv") == {}
