"""How SQLite finds things, without statistics: by what is rare, never by walking through a programme."""

from __future__ import annotations

from typing import Any

import pytest
from pull_house import DEFINITIONS, NOW, House, patient, request
from sqlalchemy import event

from gateway.formats.search import Scope, Search, Shared
from gateway.pull.query import Reader
from gateway.store import search_ask

SCOPE = Scope(programmes=("first",))
WALKS = ("search_versions_type", "search_versions_programme", "SCAN search_versions")
SEARCHES = (
    ("ServiceRequest", "_id=r1,r2"),
    ("ServiceRequest", "subject=Patient/p1"),
    ("ServiceRequest", "subject=Patient/p1&authored=ge2026"),
    ("ServiceRequest", "subject:Patient.identifier=n-p1"),
    ("Patient", "identifier=n-p1"),
    ("Patient", "family=patient-one&identifier=n-p1"),
    ("Patient", "_has:ServiceRequest:subject:_document=Binary/d1"),
    ("Patient", "birthdate=1980-02-03"),
)


class Plans:
    """The plans of everything that is asked meanwhile."""

    def __init__(self, house: House) -> None:
        self.house, self.found = house, []
        event.listen(house.ledger._reading, "before_cursor_execute", self.note)

    def note(self, connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("SELECT") and "search_versions" in statement:
            raw = connection.connection.dbapi_connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            self.found += [row[3] for row in raw.fetchall()]

    def good(self) -> bool:
        return bool(self.found) and not [p for p in self.found if any(walk in p for walk in WALKS)]


@pytest.mark.parametrize(("type", "query"), SEARCHES)
async def test_searches_start_from_what_is_rare(home: House, type: str, query: str) -> None:
    """A page costs what its rarest condition matches, not what there is."""
    await home.put(*[patient(f"p{n}") for n in range(20)], *[request(f"r{n}", f"p{n}") for n in range(20)])
    pairs = [tuple(each.split("=", 1)) for each in query.split("&")]
    where = Reader(DEFINITIONS, "", NOW).read(type, pairs, strict=True).where  # type: ignore[arg-type]
    plans = Plans(home)
    await home.ledger.search(Search(type=type, scope=SCOPE, feed=await home.ledger.feed(), where=where))
    assert plans.good(), plans.found


async def test_single_things_are_found_by_their_names(home: House) -> None:
    """Reading one resource costs the same however many there are."""
    await home.put(*[patient(f"p{n}") for n in range(20)])
    plans = Plans(home)
    await home.ledger.newest("Patient", "p1", SCOPE)
    await home.ledger.version("Patient", "p1", 1, SCOPE)
    await home.ledger.current("Patient", ["p1", "p2"], SCOPE)
    await home.ledger.versions(SCOPE, "Patient", "p1")
    await home.ledger.carried("d1", SCOPE)
    assert plans.good(), plans.found


SHARED = Scope(
    programmes=("first",), shares=(Shared(programme="second", type="Slot", senders=("far",)),)
)  # fmt: skip


@pytest.mark.parametrize("scope", [SCOPE, SHARED, Scope(programmes=("first", "second"))])
async def test_what_is_frequent_is_walked_in_order(home: House, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """One version is looked at by its position, never by reading all that have the same code; nothing is sorted."""
    monkeypatch.setattr(search_ask, "FEW", 3)
    await home.put(*[request(f"r{n}", f"p{n}") for n in range(20)])
    where = Reader(DEFINITIONS, "", NOW).read("ServiceRequest", [("status", "active")], strict=True).where
    plans = Plans(home)
    await home.ledger.search(Search(type="ServiceRequest", scope=scope, feed=await home.ledger.feed(), where=where))
    page = plans.found[-3:]
    assert any("search_tokens" in each and "position=?" in each for each in plans.found), plans.found
    assert not [each for each in page if "TEMP B-TREE" in each], plans.found
    plans.found.clear()
    await home.ledger.versions(scope)
    assert not [each for each in plans.found if "TEMP B-TREE" in each], plans.found
