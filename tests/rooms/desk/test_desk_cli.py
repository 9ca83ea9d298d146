"""The command line: one clear line with a code for whatever is wrong, and never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def gateway(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    "words",
    [
        ("status", "--config", "missing.toml"),
        ("serve", "--config", "missing.toml"),
        ("convert", "missing.hl7", "--programme", "sepas"),
        ("convert", "mappings/sepas/samples/adt-a03.hl7", "--programme", "nobody"),
        ("convert", "README.md", "--programme", "sepas"),
        ("registry", "check", "missing.csv", "--programme", "sepas"),
        ("replay", "--reason", "T-1", "--config", "missing.toml", "abc"),
        ("validate", "missing.json"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_one_line_with_a_code(words: tuple[str, ...]) -> None:
    """A person at a terminal gets a code, what is wrong and what helps; exit code 1."""
    done = gateway(*words)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    said = (done.stderr + done.stdout).strip()
    assert "GW-" in said
    assert len(said.splitlines()) <= 2


def test_a_wrong_call_says_how_to_call() -> None:
    """Exit code 2, as for every command of the system."""
    done = gateway("nonsense")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_a_preview_stores_and_sends_nothing_and_says_what_is_what() -> None:
    """Resources, findings with mends, loss report, and to whom a document would go."""
    done = gateway("convert", "mappings/sepas/samples/adt-a03.hl7", "--programme", "sepas")
    assert done.returncode == 0, done.stderr
    for word in ("accepted", "Patient/", "Encounter/", "read and mapped", "would go to: sepas, medcare"):
        assert word in done.stdout
    assert not (ROOT / "var").exists()


def test_every_mapping_profile_and_check_compiles() -> None:
    """`gateway mappings check` is what an analyst runs before committing."""
    done = gateway("mappings", "check")
    assert done.returncode == 0, done.stderr
    assert "sepas" in done.stdout
