"""Whatever a client sends: an OperationOutcome, soon, and never a defect (which would raise in these tests)."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "pull"))
from pull_house import DEFINITIONS, NOW, House, patient

from gateway import store
from gateway.clock import FixedClock
from gateway.errors import GatewayError
from gateway.pull.query import Reader, pairs
from gateway.pull.seal import Seal


@pytest.fixture
async def pulled(tmp_path: Path) -> AsyncIterator[House]:
    clock = FixedClock(NOW)
    async with store.open("", tmp_path / "data", clock, DEFINITIONS) as ledger:
        house = House(ledger, clock)
        await house.put_all([patient(f"p{n}") for n in range(200)])
        yield house


MALFORMED = (
    "Patient?birthdate=yesterday",
    "Patient?birthdate=2026-13-45",
    "Patient?birthdate=99999-01-01",
    "Patient?birthdate=0000",
    "Patient?_count=-1",
    "Patient?_count=1e9",
    "Patient?_sort=",
    "Patient?_summary=maybe",
    "Patient?_elements=name%27",
    "Patient?identifier=%7C",
    "Patient?identifier=a%7Cb%7Cc",
    "Patient?identifier:of-type=a",
    "Patient?family=",
    "Patient?family=,",
    "Patient?family=%CC%81",
    "Patient?general-practitioner=%23inside",
    "Patient?active:missing=perhaps",
    "Patient?_id:missing=true",
    "Observation?value-quantity=5.4%7Cmg",
    "Observation?value-quantity=nan",
    "Observation?value-quantity=1e999",
    "Patient?_cursor=",
    "Patient?_cursor=AAAA",
    "Patient?_cursor=a&_cursor=b",
    "_history?_since=tomorrow",
    "_history?_count=ten",
    "_history?_cursor=xyz",
    "Patient?%ff=1",
    "Patient?name=%ff%fe",
)


@pytest.mark.parametrize("path", MALFORMED)
async def test_malformed_values_are_errors_with_a_code(pulled: House, path: str) -> None:
    """Leaving a malformed value out would give more than was asked for."""
    answer = await pulled.ask(path)
    assert answer.status_code == 400, answer.text[:300]
    issue = answer.json()["issue"][0]
    assert issue["details"]["coding"][0]["code"].startswith("GW-PULL-")


async def test_ten_thousand_parameters(pulled: House) -> None:
    """Counted before they are looked at."""
    many = "&".join(f"family=a{n}" for n in range(10_000))
    begun = time.perf_counter()
    answer = await pulled.ask("Patient/_search", method="POST", content=many.encode(), headers={
        "content-type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert answer.status_code in (400, 413)
    assert answer.json()["issue"][0]["details"]["coding"][0]["code"] in ("GW-PULL-007", "GW-PULL-012")
    values = ",".join(f"a{n}" for n in range(1_000))
    assert (await pulled.ask(f"Patient?family={values}")).status_code == 400
    assert time.perf_counter() - begun < 2


async def test_a_huge_count_is_cut(pulled: House) -> None:
    """A page has an end."""
    await pulled.put_all([patient(f"q{n}") for n in range(400)])
    assert len((await pulled.get("Patient?_count=999999999"))["entry"]) == 500


async def test_patterns_are_letters(pulled: House) -> None:
    """Nothing in a value means anything to a database or a pattern language."""
    for value in ("%25", "_", "%25%25%25", ".*", "(a%2B)%2B%24", "'; DROP TABLE resources; --", "%5C%5C", "*", "?"):
        for modifier in ("", ":contains", ":exact"):
            answer = await pulled.ask(f"Patient?family{modifier}={value}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["total"] == 0, (value, modifier)
    assert len(await pulled.ids("Patient?family:contains=tient-o")) == 200


async def test_a_tampered_cursor_is_refused(pulled: House) -> None:
    """Every single byte of it."""
    page = await pulled.get("Patient?_count=3")
    url = page["link"][1]["url"]
    head, _, cursor = url.partition("_cursor=")
    for place in range(0, len(cursor), 5):
        other = "A" if cursor[place] != "A" else "B"
        changed = f"{head}_cursor={cursor[:place]}{other}{cursor[place + 1 :]}"
        answer = await pulled.ask(changed)
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["details"]["coding"][0]["code"] == "GW-PULL-008"
    assert (await pulled.ask(url.replace("Patient?", "Observation?"))).status_code == 400


async def test_a_cursor_does_not_say_what_was_asked(pulled: House) -> None:
    """It stands in an address, so it must not identify anybody."""
    import base64

    url = (await pulled.get("Patient?family=patient&_count=3"))["link"][1]["url"]
    cursor = url.partition("_cursor=")[2]
    assert b"patient" not in base64.urlsafe_b64decode(cursor + "==")
    assert "patient" not in url.partition("?")[2]


def test_a_seal_has_a_purpose_and_an_end() -> None:
    """A cursor is not a token, and nothing lasts."""
    from datetime import timedelta

    key = b"k" * 32
    sealed = Seal(key, "cursor").close({"a": 1}, NOW + timedelta(seconds=10))
    assert Seal(key, "cursor").open(sealed, NOW) == {"a": 1}
    assert Seal(key, "token").open(sealed, NOW) is None
    assert Seal(b"o" * 32, "cursor").open(sealed, NOW) is None
    assert Seal(key, "cursor").open(sealed, NOW + timedelta(seconds=11)) is None


NAMES = st.sampled_from(sorted({code for each in ("Patient", "Observation") for code in DEFINITIONS.of(each)}))
PARTS = st.sampled_from(
    (":", ".", "_has:", "Patient", "|", "\\", ",", "$", ":missing", ":not", ":contains", "gt", "2026")
)
TEXT = st.one_of(st.text(max_size=20), st.lists(st.one_of(NAMES, PARTS), max_size=5).map("".join))


@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.one_of(NAMES, TEXT), TEXT), max_size=5),
    st.booleans(),
    st.sampled_from(("Patient", "Observation")),
)
def test_the_reader_reads_or_refuses(given_: list[tuple[str, str]], strict: bool, type: str) -> None:
    """No text makes it fail in any other way."""
    try:
        Reader(DEFINITIONS, "http://x/", NOW).read(type, given_, strict)
        code = "GW-PULL-"
    except GatewayError as error:
        code = error.code
    assert code.startswith("GW-PULL-")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_query_string_is_pairs_or_refused(raw: bytes) -> None:
    """Bytes from the wire."""
    try:
        code = "GW-PULL-" if all(len(each) == 2 for each in pairs(raw)) else "?"
    except GatewayError as error:
        code = error.code
    assert code.startswith("GW-PULL-")
