"""An invented programme with views, tables and measures, written into a folder; and resources for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway import programme
from gateway.measure import definitions
from gateway.message import Step, StoredResource
from gateway.programme import Programme

ROOT = Path(__file__).parents[3]
NAME = "day-club"
AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)

PROGRAMME = """
name = "day-club"
language = "fa"
timezone = "Asia/Tehran"

[title]
en = "Test day club"
fa = "باشگاه روزانه آزمایشی"
it = "Centro diurno di prova"
zh = "测试日间俱乐部"

[calendar]
weekend = [5]
week_starts = 6
holidays = "tables/holidays.csv"
calendar = "jalali"

[[intake]]
format = "table"
mapping = "visits.yaml"

[[case]]
kind = "visit"
[case.complete]
parts = [["visit"]]

[[document]]
kind = "visit"

[[document]]
kind = "club-report"
bundle = "document"

[[document]]
kind = "club-findings"

[[route]]
kind = "club-report"
destination = "archive"

[[route]]
kind = "club-findings"
destination = "archive"

[[schedule]]
name = "club-month"
kind = "club-report"
measures = ["long-visits", "visit-minutes"]
period = "month"
unit = "club"
after = "P1D"
valid_from = "2026-08-23"

[[schedule]]
name = "club-day"
kind = "club-findings"
measures = ["visit-gap"]
period = "day"
unit = "club"
valid_from = "2026-11-01"
"""

VISIT: dict[str, Any] = {
    "resourceType": "ViewDefinition",
    "name": "visit",
    "status": "active",
    "resource": "Encounter",
    "extension": [{"url": "urn:gateway:view-index", "valueString": "started_day, club"}],
    "select": [
        {
            "column": [
                {"name": "person", "path": "subject.getReferenceKey(Patient)", "type": "string"},
                {"name": "club", "path": "serviceProvider.identifier.value", "type": "string"},
                {"name": "started", "path": "period.start", "type": "dateTime"},
                {"name": "ended", "path": "period.end", "type": "dateTime"},
                {"name": "minutes", "path": "length.value", "type": "decimal"},
                {"name": "kept", "path": "status = 'finished'", "type": "boolean"},
            ]
        }
    ],
}
PHONE: dict[str, Any] = {
    "resourceType": "ViewDefinition",
    "name": "phone",
    "status": "active",
    "resource": "Patient",
    "constant": [{"name": "way", "valueCode": "phone"}],
    "select": [
        {
            "column": [
                {"name": "person", "path": "getResourceKey()"},
                {"name": "born", "path": "birthDate", "type": "date"},
            ]
        },
        {
            "forEachOrNull": "telecom.where(system = %way)",
            "column": [
                {"name": "number", "path": "value"},
                {"name": "rank", "path": "rank", "type": "positiveInt"},
                {"name": "place", "path": "%rowIndex", "type": "integer"},
            ],
        },
    ],
}
TABLES = """
[registry.club]
capacity = "integer"
city = {path = "address.city"}

[table.fees]
file = "tables/fees.csv"
class = "string"
fee = "decimal"
valid_from = "string"
valid_to = "string"
"""
HOLIDAYS = "day,working,name\n1405/01/01,,Nowruz\n2026-11-20,1,worked Friday\n"
FEES = "class,fee,valid_from,valid_to\nA,10.5,,2026-06-30\nA,12,2026-07-01,\n"


def four(en: str, fa: str = "", it: str = "", zh: str = "") -> str:
    """The four texts of a table of a measure."""
    return f'en = "{en}"\nfa = "{fa or "فارسی " + en}"\nit = "{it or "it " + en}"\nzh = "{zh or "中 " + en}"\n'


LONG_VISITS = f"""
name = "long-visits"
rule = ["T-1"]
kind = "proportion"
period = "month"
grain = ["club"]
target = 0.8
better = "higher"
sql = '''
SELECT club, SUM(CASE WHEN minutes >= :least THEN 1 ELSE 0 END) AS numerator, COUNT(*) AS denominator,
       SUM(CASE WHEN minutes IS NULL THEN 1 ELSE 0 END) AS excluded_untimed
FROM v_day_club_visit WHERE started_day BETWEEN :from_day AND :to_day AND kept = 1
GROUP BY club ORDER BY club
'''
[title]
{four("Long visits", "دیدارهای بلند")}
[unit]
{four("visit", "دیدار")}
[counted]
{four("Every kept visit that began in the month.")}
[excluded.untimed]
{four("without a length")}
[labels.club]
{four("Club", "باشگاه")}
[parameters.least]
default = 60
values = [{{from = "2026-10-23", value = 90}}]
"""

MINUTES = f"""
name = "visit-minutes"
rule = ["T-2"]
kind = "duration"
period = "month"
grain = ["club"]
sql = '''
SELECT club, AVG(minutes) AS value, COUNT(minutes) AS denominator FROM v_day_club_visit
WHERE started_day BETWEEN :from_day AND :to_day GROUP BY club ORDER BY club
'''
[title]
{four("Minutes of a visit")}
[unit]
{four("minute")}
[counted]
{four("Every visit with a length.")}
[labels.club]
{four("Club", "باشگاه")}
"""

GAP = f"""
name = "visit-gap"
rule = ["T-3"]
kind = "findings"
period = "day"
grain = []
lookback = 20
sql = '''
SELECT person AS subject, club AS place, MAX(started_day) + :most AS due_day, 'T-3-gap' AS code,
       MAX(started_day) AS last_day, COUNT(*) AS visits
FROM v_day_club_visit JOIN calendar_day ON day = started_day -- that's every day of the 'calendar_day'
WHERE started_day <= :to_day
GROUP BY person, club HAVING MAX(started_day) + :most BETWEEN :from_day AND :to_day
'''
[title]
{four("Too long without a visit")}
[unit]
{four("person")}
[counted]
{four("Every person with a visit.")}
[parameters.most]
default = 7
[finding.T-3-gap]
severity = "warning"
[finding.T-3-gap.text]
{four("No visit since {last_date}; one was owed until {due_date}.")}
[finding.T-3-gap.mend]
{four("Arrange a visit.")}
"""

MEASURES = {"long-visits": LONG_VISITS, "visit-minutes": MINUTES, "visit-gap": GAP}


def build(home: Path) -> Path:
    """The folder with `mappings/` and `profiles/`; the core pack is that of the project."""
    folder, views = home / "mappings" / NAME, home / "profiles" / NAME / "views"
    measures = home / "profiles" / NAME / "measures"
    for each in (folder / "tables", views, measures):
        each.mkdir(parents=True)
    (home / "profiles" / "r4").symlink_to(ROOT / "profiles" / "r4")
    (folder / "programme.toml").write_text(PROGRAMME, encoding="utf-8")
    (folder / "tables" / "holidays.csv").write_text(HOLIDAYS, encoding="utf-8")
    (folder / "tables" / "fees.csv").write_text(FEES, encoding="utf-8")
    (views / "visit.json").write_text(json.dumps(VISIT), encoding="utf-8")
    (views / "phone.json").write_text(json.dumps(PHONE), encoding="utf-8")
    (views / "tables.toml").write_text(TABLES, encoding="utf-8")
    for name, text in MEASURES.items():
        (measures / f"{name}.toml").write_text(text, encoding="utf-8")
    return home


def load(home: Path) -> dict[str, Programme]:
    return {NAME: programme.load(home, NAME)}


def views(home: Path) -> definitions.Definitions:
    return definitions.load(home, load(home))


# --- resources ----------------------------------------


def visit(id: str, person: str, club: str | None, start: str, minutes: float | None = None, **more: Any) -> Any:
    made: dict[str, Any] = {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "subject": {"reference": f"Patient/{person}"},
        "period": {"start": start},
    }
    if club is not None:
        made["serviceProvider"] = {"identifier": {"value": club}}
    if minutes is not None:
        made["length"] = {"value": minutes}
    return made | more


def person(id: str, *phones: str, born: str = "1990-05-06") -> Any:
    telecom = [{"system": "phone", "value": each, "rank": n + 1} for n, each in enumerate(phones)]
    made: dict[str, Any] = {"resourceType": "Patient", "id": id, "birthDate": born}
    return made | ({"telecom": [*telecom, {"system": "email", "value": "test@example.invalid"}]} if telecom else {})


def kept(resource: Any, deleted: bool = False, programme: str = NAME) -> StoredResource:
    return StoredResource(
        type=resource["resourceType"],
        id=resource["id"],
        programme=programme,
        sender="test-hospital",
        body=json.dumps(resource).encode(),
        deleted=deleted,
    )


def step(*resources: StoredResource, at: datetime = AT) -> Step:
    return Step(name="publish", at=at, writes=resources)
