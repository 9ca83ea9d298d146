"""Measures read views and do nothing else, on both databases; findings and marks are kept as they are told."""

from __future__ import annotations

import itertools
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import ledger_steps as steps
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from store_servers import NOW, Where

sys.path.insert(0, str(Path(__file__).parents[1] / "measure"))

import measure_house as house

from gateway import store
from gateway.clock import FixedClock
from gateway.errors import GatewayError, Misconfigured
from gateway.formats.views import KeptFinding, Statement
from gateway.measure.definitions import Definitions


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    return house.views(house.build(tmp_path_factory.mktemp("house")))


def opened(where: Where, views: Definitions) -> store.Ledger:
    return store.open(where.url, where.data, FixedClock(NOW), None, views)


def asked(sql: str) -> Statement:
    return Statement(name="test.toml", programme=house.NAME, sql=sql)


GIVEN = {"day": 20778, "word": "north"}

NOT_READING = [
    "DELETE FROM v_day_club_visit",
    "INSERT INTO v_day_club_visit (resource_id) VALUES ('x')",
    "UPDATE v_day_club_visit SET club = 'x'",
    "DROP TABLE v_day_club_visit",
    "CREATE TABLE v_x (a INTEGER)",
    "WITH gone AS (DELETE FROM v_day_club_visit RETURNING 1) SELECT * FROM gone",
    "SELECT 1; DELETE FROM v_day_club_visit",
    "SELECT 1 /* */ ; DROP TABLE resources",
    "PRAGMA query_only = OFF",
    "ATTACH DATABASE '/tmp/x' AS x",
    "VACUUM",
    "SELECT * INTO v_copy FROM v_day_club_visit",
    "EXPLAIN SELECT 1",
    "COPY v_day_club_visit TO '/tmp/x'",
    "SET search_path = x",
    "",
]
NOT_THEIRS = [
    "SELECT * FROM submissions",
    "SELECT body FROM resources",
    "SELECT v.club FROM v_day_club_visit v JOIN documents d ON d.id = v.document",
    "SELECT (SELECT MAX(jws) FROM documents) AS x FROM v_day_club_visit",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pg_catalog.pg_shadow",
    "SELECT * FROM measure_findings",
    "SELECT pg_sleep(10)",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT random()",
    "SELECT * FROM pragma_table_info('resources')",
    "SELECT nothing FROM v_day_club_visit",
    "SELECT club FROM v_another_visit",
    "SELECT :unknown AS x FROM v_day_club_visit",
]


async def test_only_a_select_over_views_passes(where: Where, views: Definitions) -> None:
    """Refused before it reaches the database of the ledger, with the file's name; and nothing has changed."""
    async with opened(where, views) as ledger:
        await ledger.commit(house.step(house.kept(house.visit("v", "a", "north", "2026-11-20T22:30:00Z", 45))))
        for sql in NOT_READING + NOT_THEIRS:
            for ask in (ledger.measures.check, ledger.measures.answer):
                with pytest.raises(Misconfigured) as caught:
                    await ask(asked(sql), GIVEN)
                assert (caught.value.code, caught.value.args_["file"]) == ("GW-MEASURE-003", "test.toml"), sql
        found = await ledger.measures.answer(asked("SELECT COUNT(*) AS numerator FROM v_day_club_visit"), GIVEN)
        assert found.rows == [(1,)]


async def test_the_connection_itself_cannot_write(where: Where, views: Definitions) -> None:
    """Behind the check stands a second wall: read-only mode of the database."""
    several = ("DELETE FROM v_day_club_visit", "CREATE TABLE v_x (a INTEGER)", "UPDATE feed SET number = 0")
    async with opened(where, views) as ledger:
        for sql in several:
            with ledger.measures._engine.connect() as connection, connection.begin(), pytest.raises(DBAPIError):
                connection.execute(text(sql))


ALIKE: list[tuple[str, list[Any]]] = [
    ("SELECT club, COUNT(*) AS n FROM v_day_club_visit GROUP BY club ORDER BY club", [("north", 2), ("south", 1)]),
    ("SELECT SUM(minutes) AS value, AVG(minutes) AS mean FROM v_day_club_visit", [(105.0, 35.0)]),
    ("SELECT person FROM v_day_club_visit WHERE club = :word AND started_day = :day", [("a",)]),
    (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n ORDER BY i",
        [(1,), (2,), (3,)],
    ),
    (
        "SELECT person, RANK() OVER (PARTITION BY club ORDER BY started_at) AS p FROM v_day_club_visit ORDER BY 1",
        [("a", 2), ("b", 1), ("c", 1)],
    ),
    ("SELECT COUNT(*) FILTER (WHERE club = 'north') AS n FROM v_day_club_visit", [(2,)]),
    ("SELECT 7 / 2 AS whole, 7.0 / 2 AS part FROM v_day_club_visit WHERE club = 'south'", [(3, 3.5)]),
    ("SELECT working_no FROM calendar_day_day_club WHERE iso = '1990-01-05'", [(4,)]),
    ("SELECT COUNT(*) AS n FROM v_delivery WHERE programme = 'nobody'", [(0,)]),
    ("SELECT COUNT(*) AS n FROM v_document", [(0,)]),
    ("SELECT COUNT(*) AS n FROM v_item", [(0,)]),
    (
        "SELECT 'a;b' AS x, '10:30 -- no comment' AS y FROM v_day_club_visit WHERE club = 'south'",
        [("a;b", "10:30 -- no comment")],
    ),
    ("SELECT '100 %' AS x FROM v_day_club_visit WHERE person LIKE 'c%'", [("100 %",)]),
]


async def test_both_databases_answer_alike(where: Where, views: Definitions) -> None:
    """The same rows and the same types of numbers."""
    async with opened(where, views) as ledger:
        await ledger.commit(
            house.step(
                house.kept(house.visit("v1", "a", "north", "2026-11-20T22:30:00Z", 45)),
                house.kept(house.visit("v2", "b", "north", "2026-11-19T22:30:00Z", 40)),
                house.kept(house.visit("v3", "c", "south", "2026-11-20T22:30:00Z", 20)),
            )
        )
        for sql, expected in ALIKE:
            found = await ledger.measures.answer(asked(sql), GIVEN)
            assert [tuple(row) for row in found.rows] == expected, sql
            assert found.feed == 1
            kinds = [[type(cell) for cell in row] for row in expected]
            assert [[type(cell) for cell in row] for row in found.rows] == kinds, sql


async def test_deliveries_and_items_can_be_measured(where: Where, views: Definitions) -> None:
    """Received, made, delivered: in seconds, from the ledger's own tables, which a measure cannot read itself."""
    at, later = int(steps.AT.timestamp()), steps.AT + timedelta(minutes=5)
    async with opened(where, views) as ledger:
        await ledger.commit(steps.accepted("s1"))
        await ledger.commit(steps.itemised("s1", steps.item("i1", "s1")))
        await ledger.commit(steps.routed("d1", steps.exchange("e1", "d1"), submissions=["s1"]))
        for frm, to in itertools.pairwise((*steps.WAY, "delivered")):
            await ledger.commit(steps.moved("e1", frm, to, at=later))
        items = await ledger.measures.answer(asked("SELECT item, state, received_at, channel FROM v_item"), {})
        assert items.rows == [("i1", "valid", at, "mllp")]
        sent = "SELECT destination, state, received_at, created_at, delivered_at FROM v_delivery WHERE programme = 'p'"
        found = await ledger.measures.answer(asked(sent), {})
        assert found.rows == [("centre", "delivered", at, at, at + 300)]
        made = await ledger.measures.answer(asked("SELECT document, received_at, made_at FROM v_document"), {})
        assert made.rows == [("d1", at, at)]


async def test_an_answer_that_is_too_long_is_refused(
    where: Where, views: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded whatever a file asks for."""
    monkeypatch.setattr(store.measuring, "MOST", 100)
    async with opened(where, views) as ledger:
        with pytest.raises(GatewayError, match="GW-MEASURE-006"):
            await ledger.measures.answer(asked("SELECT day FROM calendar_day_day_club"), {})


def finding(subject: str, due: int, code: str = "T-3-gap") -> KeptFinding:
    return KeptFinding(
        id=f"{subject}-{due}", programme=house.NAME, measure="visit-gap", code=code, subject=subject, due_day=due,
        found_day=due, data={"visits": 3, "note": "متن"},
    )  # fmt: skip


async def test_findings_are_new_once_cleared_and_back(where: Where, views: Definitions) -> None:
    """Only the window that was asked is compared: what lies before it stays as it is."""
    async with opened(where, views) as ledger:
        keep, name = ledger.measures.keep_findings, (house.NAME, "visit-gap")
        first, second = finding("a", 100), finding("b", 101)
        assert await keep(*name, (95, 101), [first, second], 101) == [first, second]
        assert await keep(*name, (95, 102), [first, second], 102) == []
        assert await keep(*name, (101, 103), [], 103) == []
        assert [each.subject for each in await ledger.measures.findings(house.NAME)] == ["a"]
        assert await keep(*name, (101, 104), [second], 104) == []
        found = await ledger.measures.findings(house.NAME, "visit-gap")
        assert [(each.subject, each.data["note"]) for each in found] == [("a", "متن"), ("b", "متن")]
        assert await ledger.measures.finding_counts() == {name: (2, 100)}


async def test_marks_never_go_back(where: Where, views: Definitions) -> None:
    """A slow process cannot undo what a quicker one has done."""
    async with opened(where, views) as ledger:
        assert await ledger.measures.mark("p", "x") is None
        await ledger.measures.set_mark("p", "x", 10)
        await ledger.measures.set_mark("p", "x", 7)
        assert await ledger.measures.mark("p", "x") == 10
