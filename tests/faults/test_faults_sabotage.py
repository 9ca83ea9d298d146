"""The oracle is tested too: each build that breaks a promise must be caught by the test that keeps it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from oracle import ROOT
from sabotage import SABOTAGES, Edit, Sabotage


def build(folder: Path, edits: Iterable[Edit]) -> Path:
    """A copy of the package with the edits applied."""
    made = folder / "gateway"
    shutil.copytree(ROOT / "gateway", made, ignore=shutil.ignore_patterns("__pycache__"))
    for edit in edits:
        path = made / edit.file
        text = path.read_text(encoding="utf-8")
        assert text.count(edit.old) == 1, f"{edit.file} has {text.count(edit.old)} times: {edit.old!r}"
        changed = text.replace(edit.old, edit.new)
        ast.parse(changed)  # a build that cannot be imported proves nothing
        path.write_text(changed, encoding="utf-8")
    return folder


def judged(folder: Path, tests: Iterable[str]) -> tuple[int, str]:
    """Run the tests with the copy in place of the package, in processes of their own; exit code and report."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"))
    command = [sys.executable, "-m", "pytest", *options, f"--basetemp={folder / 'run'}"]
    command += [str(ROOT / test) for test in tests]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=170, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def _case(sabotage: Sabotage) -> object:
    marks = [pytest.mark.long, *([pytest.mark.needs(sabotage.needs)] if sabotage.needs else [])]
    return pytest.param(sabotage, marks=marks, id=f"{sabotage.promise}: {sabotage.name}")


@pytest.mark.parametrize("sabotage", [_case(each) for each in SABOTAGES])
def test_a_build_that_breaks_a_promise_is_caught(tmp_path: Path, sabotage: Sabotage) -> None:
    """Caught means: the test that keeps the promise ran, failed, and said why."""
    code, report = judged(build(tmp_path, sabotage.edits), [sabotage.test])
    assert code == 1, f"{sabotage.name} was not caught (exit code {code}):\n{report[-3000:]}"
    assert sabotage.says in report, f"caught for another reason:\n{report[-3000:]}"
    assert "ImportError" not in report
    assert "SyntaxError" not in report


@pytest.mark.long
def test_an_honest_copy_passes_the_same_tests(tmp_path: Path) -> None:
    """It is the sabotage that is caught, not the copying: the tests of some promises, with nothing changed."""
    chosen = {each.promise: each.test for each in SABOTAGES if each.promise in (3, 7, 9, 10)}
    code, report = judged(build(tmp_path, ()), chosen.values())
    assert code == 0, report[-3000:]


def test_there_is_a_sabotage_for_every_promise() -> None:
    """Twelve promises; a promise without sabotage has a test that nobody has tested."""
    assert {each.promise for each in SABOTAGES} == set(range(1, 13))
