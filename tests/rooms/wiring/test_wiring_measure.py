"""A gateway that runs keeps the tables of its views, reports by its measures, and takes new ones without a stop."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.formats import json

sys.path.insert(0, str(Path(__file__).parents[2] / "faults"))

from oracle import stay_messages

ROOT = Path(__file__).parents[3]
VIEW = """{"resourceType": "ViewDefinition", "name": "stay", "status": "active", "resource": "Encounter",
"select": [{"column": [{"name": "state", "path": "status"},
{"name": "began", "path": "period.start", "type": "dateTime"}]}]}"""
FOUR = 'en = "x"\nfa = "x"\nit = "x"\nzh = "x"\n'
MEASURE = f"""
name = "stays-of-test"
rule = []
kind = "count"
period = "none"
sql = "SELECT COUNT(*) AS numerator FROM v_sepas_stay_of_test"
[title]
{FOUR}[unit]
{FOUR}[counted]
{FOUR}"""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A running site whose rules may be changed."""
    for name in ("mappings", "profiles"):
        shutil.copytree(ROOT / name, tmp_path / "home" / name)
    async with Site(tmp_path, Plan(home=tmp_path / "home", workers=1, plain_mllp=True)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


async def command(site: Site, *words: str) -> tuple[int, bytes, str]:
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, "--config", str(site.config),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, said = await made.communicate()
    return made.returncode or 0, out, said.decode()


@pytest.mark.slow
async def test_a_new_view_and_measure_count_what_was_published_before(site: Site, tmp_path: Path) -> None:
    """Stays are published, then a view and a measure are added: the report has them, and later ones."""
    folder = tmp_path / "home" / "profiles" / "sepas"
    await site.mllp(stay_messages(1, 0))
    assert await site.quiet(60)
    (folder / "views").mkdir(exist_ok=True)
    (folder / "measures").mkdir(exist_ok=True)
    (folder / "views" / "stay_of_test.json").write_text(VIEW)
    (folder / "measures" / "stays-of-test.toml").write_text(MEASURE)
    code, _, said = await command(site, "mappings", "reload")
    assert code == 0, said
    asked = ("report", "--programme", "sepas", "--measure", "stays-of-test")
    assert await counted(site, *asked) == 1
    await site.mllp(stay_messages(2, 0))
    assert await site.quiet(60)
    assert await counted(site, *asked) == 2

    (folder / "measures" / "stays-of-test.toml").write_text(MEASURE.replace("SELECT COUNT", "DELETE"))
    code, out, said = await command(site, "mappings", "reload")
    assert code != 0
    assert "stays-of-test.toml" in said + out.decode()
    assert await counted(site, *asked) == 2


async def counted(site: Site, *words: str) -> int:
    code, out, said = await command(site, *words)
    assert code == 0, said
    report = json.read(out)["entry"][0]["resource"]
    return int(report["group"][0]["population"][0]["count"])
