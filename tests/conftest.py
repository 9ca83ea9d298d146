"""What every test may use: where the handed-out data lies, and which programs are there."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("GATEWAY_TEST_DATA", ROOT.parent / "shared" / "data"))
FOUND_ELSEWHERE = {"postgresql": "/usr/lib/postgresql/*/bin/initdb"}
HOMES = {"sushi": "SUSHI_HOME"}
_absent: dict[str, str] = {}


def program(name: str) -> bool:
    """Whether the program can be run here."""
    if name in FOUND_ELSEWHERE:
        pattern = FOUND_ELSEWHERE[name]
        return any(Path("/").glob(pattern.lstrip("/")))
    if name in HOMES and os.environ.get(HOMES[name]):
        return any(Path(os.environ[HOMES[name]]).glob(f"node_modules/.bin/{name}"))
    return shutil.which(name) is not None


def pytest_configure(config: pytest.Config) -> None:
    """No process of the tests writes a core dump: their memory holds private keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-programs", action="store_true", help="leave out what needs other programs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("needs"):
            name = str(mark.args[0])
            if config.getoption("--without-programs"):
                item.add_marker(pytest.mark.skip(reason=f"needs {name}: run by make test-all"))
            elif not program(name):
                _absent[item.nodeid] = name
                item.add_marker(pytest.mark.skip(reason=f"{name} is not on this machine"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for test, name in sorted(_absent.items()):
        terminalreporter.write_line(f"not run: {test} (needs {name})")


@pytest.fixture(scope="session")
def handed_out() -> Path:
    """The folder of real test data, or a skip that says so."""
    if not DATA.is_dir():
        pytest.skip(f"no test data at {DATA}; set GATEWAY_TEST_DATA")
    return DATA
