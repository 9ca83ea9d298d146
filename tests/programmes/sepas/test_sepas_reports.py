"""Performance and evaluation (A-03, A-08, A-11, A-14 to A-19): what SEPAS has accepted counts, nothing else."""

from __future__ import annotations

import asyncio
import csv
import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sepas_inputs import ROOT, stay

from gateway import programme
from gateway.commands.demo_inputs import registry
from gateway.commands.site import Plan, Site
from gateway.formats import media


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path, Plan(home=ROOT, workers=1, plain_mllp=True, answer_within=20.0)) as made:
        await made.start()
        await made.prepare(registry(ROOT))
        yield made


async def report(site: Site, measure: str, period: str = "1404-10") -> list[dict[str, str]]:
    """The lines of a measure over a month; the samples are in Dey 1404."""
    words = ["report", "--config", str(site.config), "--programme", "sepas", "--measure", measure, "--format", "csv"]
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *words, "--period", period, "--language", "en",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await ran.communicate()
    assert ran.returncode == 0, said.decode()
    return list(csv.DictReader(io.StringIO(out.decode("utf-8-sig"))))


async def hold(site: Site) -> None:
    """Let the exchange certificate have ended: what comes now is held for SEPAS."""
    dates = {"valid_from": "2020-01-01T00:00:00Z", "valid_to": "2020-02-01T00:00:00Z"}
    record = {"destination": "sepas", "number": "", "system_id": "x", "software_version": "0", **dates}
    await site.ask("conformity", record=record)


ANSWER = """centre;visit;service_id;insurer;answered;charged;accepted;deduction;deduction_type;rule;description
1000001;T-00001;S-1;2;1404/10/28;600000;500000;100000;4;R-12;کسورات آزمایشی
"""


async def test_only_what_sepas_has_accepted_is_performance(site: Site) -> None:
    """Bills that are accepted count by centre and group; one that is held, and one from before the programme, do not.

    The insurer's answer is matched to the charge that it took something off, and so to centre and university.
    """
    for number, diagnosis in enumerate(("D56.1", "C50.4"), 1):
        await site.post("hospital-1", "sepas", media.JSON, stay(number, (diagnosis,)))
    early = stay(3, ("D56.1",)).replace(b"1404/10/15", b"1399/07/30")
    early = early.replace("۱۴۰۴/۱۰/۱۵".encode(), b"1399/07/30")
    told = await site.post("hospital-1", "sepas", media.JSON, early, Accept="application/json")
    assert "SEPAS-140" in told.text  # earlier services are told, and delivered all the same
    await site.post("hospital-1", "sepas", media.CSV, ANSWER.encode())
    assert await site.quiet(30)
    await hold(site)
    await site.post("hospital-1", "sepas", media.JSON, stay(4, ("D56.1",)))
    await site.quiet(3)

    lines = {line["disease_group"]: line for line in await report(site, "performance") if line["disease_group"]}
    assert {group: line["numerator"] for group, line in lines.items()} == {"cancer": "1", "thalassaemia": "1"}
    assert lines["thalassaemia"]["excluded_not_accepted"] == "1"
    assert lines["cancer"]["centre"] == "1000001"
    assert lines["cancer"]["university"] == "U-01"
    assert [line for line in await report(site, "performance", "1399-07") if line["disease_group"]] == []
    (both, _) = await report(site, "parallel-registration")
    assert (both["numerator"], both["denominator"], both["waiting"]) == ("2", "3", "1")
    (taken, _) = await report(site, "deductions")
    assert (taken["centre"], taken["reason"], taken["numerator"], float(taken["amount"])) == (
        "1000001",
        "4",
        "1",
        100000,
    )
    silent = [line["subject"] for line in await report(site, "silent-centres")]
    assert silent == ["1000002"]


def test_what_the_programme_reports_every_period_is_there() -> None:
    """A schedule that names a measure which is not there would be found on the day of the report."""
    held = programme.load(ROOT, "sepas")
    known = {path.stem for path in (ROOT / "profiles" / "sepas" / "measures").glob("*.toml")}
    assert {schedule.period for schedule in held.schedule} == {"month", "quarter"}
    for schedule in held.schedule:
        assert set(schedule.measures) <= known
        assert schedule.calendar == "jalali"
