"""Whatever a gateway, a node or a file says: judged, never raised, and nothing is taken for a delivery by mistake."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "rooms" / "deliver"))
from deliver_world import AT, SYSTEM, bill, destination

from gateway import recalling
from gateway.deliver import http_message, wires
from gateway.deliver.sepas_reply import ErrorTable, rest_answer
from gateway.errors import Misconfigured
from gateway.formats import json, layout, ranges
from gateway.message import Attempt

NAMES = st.sampled_from(
    ["data", "isSuccess", "message", "statusCode", "CompositionUID", "compositionuid", "patientUID", "ErrorMessage",
     "MessageUID", "Error", "Error_Description", "violations", "x"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "n::1", "DB: x", "Mapping", "ok"])
    | st.text(max_size=5)
)
ANSWERS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Any:
    for_secrets = tmp_path_factory.mktemp("secrets")
    (for_secrets / "s").write_text("x")
    secret = str(for_secrets / "s")
    place = destination(
        "d",
        protocol="sepas-ditas",
        url="https://127.0.0.1",
        system_id=SYSTEM,
        body="b.yaml",
        options={
            "operation": "SavePatientBill", "pid": "0" * 24, "token_url": "https://127.0.0.1/t", "client_id": "c",
            "client_secret": secret, "username": "u", "user_password": secret,
        },
    )  # fmt: skip

    class Nowhere:
        """Nothing leaves in these tests."""

    return wires.make(place, Nowhere(), None, bill, request_signer=SimpleNamespace())  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(ANSWERS, st.sampled_from([200, 200, 200, 201, 400, 401, 422, 500, 503]))
def test_any_json_is_judged_and_only_both_uids_are_a_delivery(wire: Any, found: Any, status: int) -> None:
    """A gateway that answers nonsense must not look like the national record."""
    body = json.write(found)
    request = http_message.compose("POST", "https://127.0.0.1/x", {"X-Gateway-Uids": " "}, b"{}")
    attempt = Attempt(id="a", exchange="e", number=1, started_at=AT, request=request, request_digest="")
    reply = SimpleNamespace(status=status, headers={"content-type": "application/json"}, body=body)
    outcome = wire.verdict(reply, attempt)
    if outcome.state == "delivered":
        assert status // 100 == 2
        assert outcome.receipts["CompositionUID"] == outcome.receipts["PatientUID"] == "n::1"


@given(ANSWERS)
def test_reading_an_answer_never_raises(found: Any) -> None:
    """Depth, types and repeated meanings are the peer's choice."""
    for each in rest_answer(found):
        assert each.fault is None


@given(st.text(max_size=200))
def test_any_error_text_has_a_category(text: str) -> None:
    """What is not known is `unknown`, which an operator sees."""
    table = ErrorTable.load()
    assert table.category(text) in {"unknown", *table._rows}


LAYOUT = layout.parse(
    'name = "x"\nversion = "1"\nkind = "delimited"\nseparator = ";"\n[[field]]\nname = "a"\n[[field]]\nname = "b"\n',
    "x",
)
FIXED = layout.parse('name = "x"\nversion = "1"\nkind = "fixed"\n[[field]]\nname = "a"\nlength = 3\n', "x")


@given(st.binary(max_size=300))
def test_a_flat_file_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    """Never a traceback, never half a row."""
    for each in (LAYOUT, FIXED):
        try:
            rows = layout.read(each, body)
        except layout.Wrong:
            continue
        assert all(row.keys() == {f.name for f in each.field} for row in rows)


@given(st.binary(max_size=300))
def test_a_table_of_ranges_of_any_bytes_is_read_or_refused(body: bytes) -> None:
    """A table that a site puts there is checked at the start."""
    try:
        table = ranges.read(body, "x")
    except Misconfigured:
        return
    table.find(dict.fromkeys(table.columns, "C50.4"))


@given(st.binary(max_size=300))
def test_an_archive_of_any_bytes_is_wrong_and_says_so(body: bytes) -> None:
    """A reviewer may be sent anything."""
    assert not all(each.well for each in recalling.verify(body))
