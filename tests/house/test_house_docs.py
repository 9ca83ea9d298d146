"""The pages say what the code does: what can be checked by a machine is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gateway import settings

ROOT = Path(__file__).parents[2]
PARTS = [part for part in vars(settings).values() if isinstance(part, type) and issubclass(part, settings.Part)]


@pytest.mark.parametrize("part", [p for p in PARTS if p is not settings.Part], ids=lambda p: p.__name__)
def test_every_setting_is_on_the_settings_page(part: type[msgspec.Struct]) -> None:
    """An operator must find every entry with its default without reading Python."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert not [f.name for f in msgspec.structs.fields(part) if f"| `{f.name}` |" not in page]


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A page that sends a reader to a missing file has lost the reader."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_s_commands_exist() -> None:
    """Every make target and gateway command that the README names is there."""
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)\b", readme)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    from gateway.cli import _COMMANDS

    for command in set(re.findall(r"^gateway ([a-z]+)", readme, re.MULTILINE)):
        assert command in _COMMANDS


def test_the_architecture_page_names_files_that_exist() -> None:
    """ "Begin reading at" must be a place where one can begin."""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)/` \|[^|]*\| `(\w+\.py)` \|$", page, re.MULTILINE)
    assert len(named) >= 10
    for room, file in named:
        assert (ROOT / "gateway" / room / file).exists(), f"{room}/{file}"
    for name in re.findall(r"`(\w+\.py)` \(", page):
        assert (ROOT / "gateway" / name).exists(), name
