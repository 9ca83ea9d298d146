"""Measures of an invented programme: figures, texts and files, from a ledger on disk."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measure_house as house
import openpyxl
import pytest

from gateway import measuring, store, validate
from gateway.clock import FixedClock
from gateway.errors import GatewayError, Misconfigured
from gateway.formats import json
from gateway.settings import MeasureSetting, Settings

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.build(tmp_path_factory.mktemp("house"))


@pytest.fixture
async def ledger(home: Path, tmp_path: Path) -> AsyncIterator[store.Ledger]:
    async with store.open("", tmp_path / "data", FixedClock(NOW)) as opened:
        yield opened


async def reporting(ledger: store.Ledger, home: Path, **more: Any) -> measuring.Reporting:
    settings = Settings(home=str(home), programmes=(house.NAME,), **more)
    made = measuring.Reporting(settings, ledger, FixedClock(NOW))
    await measuring.use(settings, house.load(home), ledger, (made,))
    await ledger.commit(
        house.step(
            house.kept(house.visit("v1", "a", "north", "2026-10-24T09:00:00+03:30", 95)),
            house.kept(house.visit("v2", "b", "north", "2026-10-25T09:00:00+03:30", 60)),
            house.kept(house.visit("v3", "b", "north", "2026-10-26T09:00:00+03:30")),
            house.kept(house.visit("v4", "c", "south", "2026-11-21T23:30:00+03:30", 120)),
            house.kept(house.visit("v5", "c", "south", "2026-10-22T23:30:00+03:30", 70)),
            house.kept(house.visit("v6", "c", "south", "2026-10-24T10:00:00+03:30", 200, status="cancelled")),
        )
    )
    return made


async def told(made: measuring.Reporting, **asked: Any) -> bytes:
    parts = [line["part"] async for line in made(asked) if "part" in line]
    return b"".join(base64.b64decode(each) for each in parts)


def lines(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"))))


async def test_a_month_is_that_of_the_calendar_and_parameters_are_those_of_its_end(
    ledger: store.Ledger, home: Path
) -> None:
    """Aban 1405 is 2026-10-23 to 2026-11-21; from its first day on 90 minutes count, before it 60."""
    made = await reporting(ledger, home)
    aban = lines(await told(made, measure=["long-visits"], period="1405-08", format="csv", language="en"))
    found = [(row["club"], row["numerator"], row["denominator"], row["excluded_untimed"], row["score"]) for row in aban]
    assert found == [
        ("north", "1", "3", "1", "0.333333"),
        ("south", "1", "1", "0", "1.0"),
        ("Total", "2", "4", "1", "0.5"),
    ]
    assert {row["first"] for row in aban} == {"2026-10-23"}
    assert {row["last"] for row in aban} == {"2026-11-21"}
    mehr = lines(await told(made, measure=["long-visits"], period="1405-07", format="csv"))
    assert next((row["club"], row["numerator"]) for row in mehr) == ("south", "1")


async def test_the_installation_overrides_a_parameter(ledger: store.Ledger, home: Path) -> None:
    """And a parameter that no measure has is refused: a misspelt limit must not be silently ignored."""
    setting = MeasureSetting(programme=house.NAME, name="*", parameters={"least": 30})
    made = await reporting(ledger, home, measure=(setting,))
    found = lines(await told(made, measure=["long-visits"], period="1405-08", format="csv"))
    assert found[0]["numerator"] == "2"
    wrong = MeasureSetting(programme=house.NAME, name="*", parameters={"lest": 30})
    with pytest.raises(Misconfigured, match="GW-CORE-006"):
        await reporting(ledger, home, measure=(wrong,))


async def test_fhir_says_what_was_counted_and_on_what_it_rests(ledger: store.Ledger, home: Path) -> None:
    """One group with totals, a stratum for each club, exclusions by reason, feed number and unit."""
    made = await reporting(ledger, home)
    bundle = json.read(await told(made, measure=["long-visits", "visit-minutes"], period="1405-08"))
    by_type = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert by_type == ["MeasureReport", "Measure", "MeasureReport", "Measure"]
    report = bundle["entry"][0]["resource"]
    assert report["period"] == {"start": "2026-10-23", "end": "2026-11-21"}
    assert [each.get("count") for each in report["group"][0]["population"]] == [2, 4, 1]
    assert report["group"][0]["measureScore"]["value"] == pytest.approx(0.5)
    strata = report["group"][0]["stratifier"][0]["stratum"]
    assert [each["value"]["text"] for each in strata] == ["north", "south"]
    said = {each["name"]: each for each in report["contained"][0]["parameter"]}
    assert said["unit"]["valueString"] == "دیدار"
    assert said["feed"]["valueString"] == str(await ledger.feed())
    assert said["parameter.least"]["valueString"] == "90"
    minutes = bundle["entry"][2]["resource"]["group"][0]
    assert float(minutes["measureScore"]["value"]) == pytest.approx((95 + 60 + 120 + 200) / 4)


async def test_the_page_is_read_from_the_right_in_persian(ledger: store.Ledger, home: Path) -> None:
    """Jalali month by name, Persian digits, a chart, no script, nothing from elsewhere, nothing unescaped."""
    made = await reporting(ledger, home)
    await ledger.commit(house.step(house.kept(house.visit("x", "a", "<b>&club", "2026-10-24T09:00:00+03:30", 95))))
    page = (await told(made, measure=["long-visits"], period="1405-08", format="html")).decode()
    assert '<html lang="fa" dir="rtl">' in page
    for part in ("آبان ۱۴۰۵", "<svg", "&lt;b&gt;&amp;club", "۳۳٫۳۳٪", "دیدارهای بلند"):
        assert part in page
    assert "<script" not in page
    assert "http" not in page
    for language in ("en", "it", "zh"):
        other = (await told(made, measure=["long-visits"], period="1405-08", format="html", language=language)).decode()
        assert f'<html lang="{language}" dir="ltr">' in other


async def test_a_year_of_a_monthly_measure_is_its_months(ledger: store.Ledger, home: Path) -> None:
    """Twelve periods, and a line through them."""
    made = await reporting(ledger, home)
    page = (await told(made, measure=["long-visits"], period="1405", format="html", language="en")).decode()
    assert "<polyline" in page
    found = lines(await told(made, measure=["long-visits"], period="1405", format="csv"))
    assert {row["period"] for row in found} == {"1405-07", "1405-08"}


async def test_the_workbook_has_a_sheet_for_each_measure(ledger: store.Ledger, home: Path) -> None:
    """Numbers are numbers, text that looks like a formula is text, Persian sheets run from the right."""
    made = await reporting(ledger, home)
    await ledger.commit(house.step(house.kept(house.visit("x", "a", "=1+1", "2026-10-24T09:00:00+03:30", 95))))
    body = await told(made, measure=["long-visits", "visit-minutes"], period="1405-08", format="xlsx")
    book = openpyxl.load_workbook(io.BytesIO(body))
    assert book.sheetnames == ["دیدارهای بلند", "فارسی Minutes of a visit"]
    page = book.worksheets[0]
    assert page.sheet_view.rightToLeft
    cells = [cell for row in page.iter_rows() for cell in row]
    assert next(cell for cell in cells if cell.value == "=1+1").data_type == "s"
    assert {2, 4, 5} & {cell.value for cell in cells if cell.data_type == "n"}


async def test_findings_say_what_fell_due_in_four_languages(ledger: store.Ledger, home: Path) -> None:
    """Seven days after the last visit, on that day and no other, with the dates of the reader."""
    made = await reporting(ledger, home)
    bundle = json.read(await told(made, measure=["visit-gap"], **{"from": "2026-10-31", "to": "2026-11-02"}))
    issues = [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DetectedIssue"]
    assert [(each["identifiedDateTime"], each["code"]["coding"][0]["code"]) for each in issues] == [
        ("2026-10-31", "T-3-gap"),
        ("2026-10-31", "T-3-gap"),
        ("2026-11-02", "T-3-gap"),
    ]
    assert "1405-08-09" in issues[0]["detail"]
    rows = lines(await told(made, measure=["visit-gap"], format="csv", **{"from": "2026-10-30", "to": "2026-10-30"}))
    assert rows == []


async def test_what_does_not_exist_is_named(ledger: store.Ledger, home: Path) -> None:
    """A measure, a period, a format: one clear error each."""
    made = await reporting(ledger, home)
    with pytest.raises(GatewayError, match="GW-MEASURE-004"):
        await told(made, measure=["nothing"])
    with pytest.raises(GatewayError, match="GW-MEASURE-005"):
        await told(made, measure=["long-visits"], period="1405-13")
    with pytest.raises(Misconfigured):
        await told(made, measure=["long-visits"], format="pdf")


async def test_what_is_reported_is_valid_fhir(ledger: store.Ledger, home: Path) -> None:
    """Measures of every kind, empty ones too, by the core definitions: no errors, no extension of ours."""
    made = await reporting(ledger, home)
    rules = validate.load(house.ROOT, (), policy=validate.Policy(best_practice=False, undecided=False))
    for period in ("1405-08", "1399-01"):
        bundle = json.read(await told(made, period=period))
        assert len(bundle["entry"]) >= 6
        for entry in bundle["entry"]:
            found = rules.validate(entry["resource"])
            assert [(each.code, each.location, each.args) for each in found if each.severity == "error"] == []
