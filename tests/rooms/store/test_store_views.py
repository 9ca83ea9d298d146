"""Tables of views: in step with the resources, on both databases, whoever wrote them and by which rules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from store_servers import NOW, Where

sys.path.insert(0, str(Path(__file__).parents[1] / "measure"))

import measure_house as house

from gateway import store
from gateway.clock import FixedClock
from gateway.measure.definitions import Definitions
from gateway.message import RegistryEntry, Step


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return house.build(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def views(home: Path) -> Definitions:
    return house.views(home)


def opened(where: Where, views: Definitions | None) -> store.Ledger:
    return store.open(where.url, where.data, FixedClock(NOW), None, views)


def rows(ledger: store.Ledger, sql: str) -> list[tuple[Any, ...]]:
    with ledger._reading.connect() as connection, connection.begin():
        return [tuple(row) for row in connection.execute(text(sql))]


ALL = "SELECT resource_id, row_no, person, born_day, number, rank, place FROM v_day_club_phone ORDER BY 1, 2"


async def test_rows_come_with_their_version_and_go_with_it(where: Where, views: Definitions) -> None:
    """Current versions only: a later one replaces, a deletion removes; other programmes' resources stay out."""
    async with opened(where, views) as ledger:
        await ledger.commit(house.step(house.kept(house.person("a", "1", "2")), house.kept(house.person("b"))))
        await ledger.commit(house.step(house.kept(house.person("c", "9"), programme="another")))
        born = 7430
        assert rows(ledger, ALL) == [
            ("a", 0, "a", born, "1", 1, 0),
            ("a", 1, "a", born, "2", 2, 1),
            ("b", 0, "b", born, None, None, 0),
        ]
        await ledger.commit(house.step(house.kept(house.person("a", "3", born="1990-05"))))
        await ledger.commit(house.step(house.kept(house.person("b"), deleted=True)))
        assert rows(ledger, ALL) == [("a", 0, "a", None, "3", 1, 0)]
        first, second = house.kept(house.person("d", "4")), house.kept(house.person("d", "5"))
        await ledger.commit(house.step(first, second))
        assert rows(ledger, ALL)[-1] == ("d", 0, "d", born, "5", 1, 0)


async def test_days_are_those_of_the_programme(where: Where, views: Definitions) -> None:
    """22:30 in London is the next day in Tehran; a decimal and a truth value are numbers on both databases."""
    made = house.visit("v", "a", "north", "2026-11-20T22:30:00Z", 45.5)
    async with opened(where, views) as ledger:
        await ledger.commit(house.step(house.kept(made)))
        found = rows(
            ledger, "SELECT started, started_day, started_at, minutes, kept, published_at FROM v_day_club_visit"
        )
    assert found == [("2026-11-20T22:30:00Z", 20778, 1795213800, 45.5, 1, int(house.AT.timestamp()))]


async def test_a_step_that_fails_leaves_no_rows(where: Where, views: Definitions) -> None:
    """Rows are in the commit of their resource, not beside it."""
    bad = Step(name="publish", at=house.AT, writes=(house.kept(house.person("a", "1")),), moves=(_illegal(),))
    async with opened(where, views) as ledger:
        with pytest.raises(Exception, match=r"GW-|."):
            await ledger.commit(bad)
        assert rows(ledger, ALL) == []
        assert rows(ledger, "SELECT COUNT(*) FROM resources") == [(0,)]


def _illegal() -> Any:
    from gateway.flow import Room, Thing
    from gateway.message import Move

    return Move(thing=Thing.CASE, id="nobody", frm="open", to="complete", room=Room.GATHER)


async def test_what_was_published_before_is_caught_up_with(where: Where, views: Definitions) -> None:
    """A ledger that knew no views, or other ones, has the same tables after a start with them."""
    async with opened(where, None) as ledger:
        for n in range(450):
            await ledger.commit(house.step(house.kept(house.person(f"p{n}", str(n)))))
        await ledger.commit(house.step(house.kept(house.person("p0", "new"))))
        await ledger.commit(house.step(house.kept(house.person("p1"), deleted=True)))
    async with opened(where, views) as ledger:
        assert rows(ledger, "SELECT COUNT(*), MIN(number) FROM v_day_club_phone WHERE resource_id = 'p0'") == [
            (1, "new")
        ]
        assert rows(ledger, "SELECT COUNT(*) FROM v_day_club_phone") == [(449,)]
    async with opened(where, None) as ledger:  # an offline command without views
        await ledger.commit(house.step(house.kept(house.person("late", "7"))))
        await ledger.commit(house.step(house.kept(house.person("p2", "changed"))))
    async with opened(where, views) as ledger:
        assert rows(ledger, "SELECT number FROM v_day_club_phone WHERE resource_id IN ('late', 'p2') ORDER BY 1") == [
            ("7",),
            ("changed",),
        ]
        assert rows(ledger, "SELECT COUNT(*) FROM view_missed") == [(0,)]


async def test_a_changed_view_is_built_anew(where: Where, views: Definitions, tmp_path: Path) -> None:
    """The digest decides; an unchanged view is left alone, a gone one is dropped."""
    async with opened(where, views) as ledger:
        await ledger.commit(house.step(house.kept(house.person("a", "1"))))
        changed = house.build(tmp_path / "changed")
        definition = house.PHONE | {"select": [{"column": [{"name": "born", "path": "birthDate", "type": "date"}]}]}
        folder = changed / "profiles" / house.NAME / "views"
        (folder / "phone.json").write_text(json.dumps(definition))
        (folder / "visit.json").unlink()
        await ledger.use_views(house.views(changed))
        assert rows(ledger, "SELECT resource_id, born FROM v_day_club_phone") == [("a", "1990-05-06")]
        names = [row[0] for row in rows(ledger, "SELECT name FROM view_tables ORDER BY name")]
        assert "v_day_club_visit" not in names
        await ledger.commit(house.step(house.kept(house.person("b"))))
        assert rows(ledger, "SELECT COUNT(*) FROM v_day_club_phone") == [(2,)]


async def test_a_view_that_fails_never_stops_a_publication(where: Where, home: Path, tmp_path: Path) -> None:
    """The resource is kept, the fault is counted by view, and a later version that works removes it."""
    broken = house.build(tmp_path / "broken")
    definition = house.PHONE | {"select": [{"column": [{"name": "number", "path": "telecom.value"}]}]}
    (broken / "profiles" / house.NAME / "views" / "phone.json").write_text(json.dumps(definition))
    async with opened(where, house.views(broken)) as ledger:
        await ledger.commit(house.step(house.kept(house.person("a", "1", "2"))))
        assert await ledger.resource("Patient", "a") is not None
        assert await ledger.measures.view_faults() == {"v_day_club_phone": 1}
        await ledger.commit(house.step(house.kept(house.person("a"))))
        assert await ledger.measures.view_faults() == {}


async def test_reference_data_and_files_are_tables(where: Where, views: Definitions) -> None:
    """Ends that are open compare with any day; the same entry again replaces its row."""
    entry = RegistryEntry(
        kind="club", key="north", programme=house.NAME, valid_from="2026-01-01",
        data={"capacity": "30", "address": {"city": "Testville"}},
    )  # fmt: skip
    other = RegistryEntry(kind="tariff", key="x", programme=house.NAME, valid_to="2026-12-31")
    asked = "SELECT key, capacity, city, valid_from_day, valid_to_day FROM v_day_club_registry_club"
    async with opened(where, None) as ledger:
        await ledger.commit(Step(name="registry", at=house.AT, writes=(entry,)))
    async with opened(where, views) as ledger:
        assert rows(ledger, asked) == [("north", 30, "Testville", 20454, 1_000_000)]
        await ledger.commit(Step(name="registry", at=house.AT, writes=(entry, other)))
        assert len(rows(ledger, asked)) == 1
        assert rows(ledger, "SELECT kind, valid_from_day, valid_to_day FROM v_registry ORDER BY kind") == [
            ("club", 20454, 1_000_000),
            ("tariff", -1_000_000, 20818),
        ]
        assert rows(ledger, "SELECT class, fee, valid_from_day FROM v_day_club_table_fees ORDER BY fee") == [
            ("A", 10.5, -1_000_000),
            ("A", 12.0, 20635),
        ]
    async with opened(where, None) as ledger:
        await ledger.commit(
            Step(name="registry", at=house.AT, writes=(RegistryEntry(kind="club", key="s", programme=house.NAME),))
        )
    async with opened(where, views) as ledger:
        assert [row[0] for row in rows(ledger, asked + " ORDER BY key")] == ["north", "s"]


async def test_the_calendar_knows_both_calendars_and_who_works(where: Where, views: Definitions) -> None:
    """Leap day of 1399, Nowruz of 1405 as a holiday, Friday off but for one that is worked, days of 23 and 25 hours."""
    async with opened(where, views) as ledger:
        found = rows(
            ledger,
            "SELECT iso, jalali_period, jalali_dom, jalali_month_end - jalali_month_start, working"
            " FROM calendar_day_day_club"
            " WHERE iso IN ('2021-03-20', '2026-03-21', '2026-11-13', '2026-11-20') ORDER BY iso",
        )
        hours = rows(
            ledger,
            "SELECT iso, (ends_at - starts_at) / 3600 FROM calendar_day_day_club"
            " WHERE iso IN ('2022-03-22', '2022-09-21', '2026-03-22') ORDER BY iso",
        )
    assert found == [
        ("2021-03-20", "1399-12", 30, 29, 1),
        ("2026-03-21", "1405-01", 1, 30, 0),
        ("2026-11-13", "1405-08", 22, 29, 0),
        ("2026-11-20", "1405-08", 29, 29, 1),
    ]
    assert hours == [("2022-03-22", 23), ("2022-09-21", 25), ("2026-03-22", 24)]


# --- property ----------------------------------------

_ids = st.sampled_from(["a", "b", "c", "d"])
_people = st.builds(
    lambda who, phones: house.person(who, *phones), _ids, st.lists(st.text("0123", max_size=4), max_size=3)
)
_visits = st.builds(
    lambda name, who, club, minutes: house.visit(name, who, club, "2026-11-20T22:30:00+03:30", minutes),
    _ids,
    _ids,
    st.sampled_from([None, "north", "south"]),
    st.one_of(st.none(), st.integers(0, 200)),
)
_acts = st.lists(
    st.tuples(st.one_of(_people, _visits), st.booleans(), st.sampled_from(["known", "known", "unknown"])), max_size=14
)


def expected(views: Definitions, current: dict[tuple[str, str], Any]) -> dict[str, list[tuple[Any, ...]]]:
    out: dict[str, list[tuple[Any, ...]]] = {table.name: [] for table in views.tables}
    for (_, id), resource in sorted(current.items()):
        made = views.made(house.kept(resource))
        assert made is not None
        for name, several in made.rows.items():
            out[name] += [(id, number, *row) for number, row in enumerate(several)]
    return out


def present(ledger: store.Ledger, views: Definitions) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in views.tables:
        names = ", ".join(column.name for column in table.columns)
        asked = f"SELECT resource_id, row_no, {names} FROM {table.name} ORDER BY resource_id, row_no"
        found[table.name] = rows(ledger, asked)
    return found


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=_acts)
async def test_the_table_is_the_view_of_the_current_resources(
    where: Where, views: Definitions, acts: list[tuple[Any, bool, str]]
) -> None:
    """Whatever is created, changed and deleted, with or without the rules at hand: nothing is missing or left over."""
    current: dict[tuple[str, str], Any] = {}
    async with opened(where, views) as ledger:
        earlier = [
            house.kept({"resourceType": kind, "id": id}, deleted=True)
            for kind in ("Patient", "Encounter")
            for id in "abcd"
        ]
        await ledger.commit(house.step(*earlier))
        for resource, deleted, how in acts:
            key = (resource["resourceType"], resource["id"])
            ledger._views = views if how == "known" else None
            await ledger.commit(house.step(house.kept(resource, deleted=deleted)))
            current.pop(key, None)
            if not deleted:
                current[key] = resource
        await ledger.use_views(views)
        assert present(ledger, views) == expected(views, current)


@pytest.mark.needs("postgresql")
async def test_processes_with_different_rules_lose_no_row(cluster: Where, views: Definitions, tmp_path: Path) -> None:
    """One process was reloaded, the other not: what the old one publishes is caught up with by the new one."""
    other = house.build(tmp_path / "other")
    (other / "profiles" / house.NAME / "views" / "visit.json").unlink()
    newer = house.views(other)
    async with opened(cluster, views) as old, opened(cluster, newer) as new:
        await old.commit(house.step(house.kept(house.person("a", "1"))))
        await new.commit(house.step(house.kept(house.person("b", "2"))))
        await old.catch_up_views()
        assert [row[0] for row in rows(new, ALL)] == ["b"]
        await new.catch_up_views()
        assert [row[0] for row in rows(new, ALL)] == ["a", "b"]
        assert rows(new, "SELECT COUNT(*) FROM view_missed") == [(0,)]
