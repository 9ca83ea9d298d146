"""Tables back to their sender, and conversions of which nothing is kept."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import openpyxl
import pytest
from receive_peers import OTHER_TOKEN, PROGRAMME, House, ScriptedStore, client

from gateway.errors import finding
from gateway.formats import media
from gateway.kept import ItemStatus, SubmissionStatus
from gateway.message import Finding, ItemResult, Place, Submission
from gateway.receive.http import make_app
from gateway.receive.preview import Preview
from gateway.receive.server import HttpServer
from gateway.settings import Http, Settings

AT = datetime(2026, 1, 12, tzinfo=UTC)
TABLE = b"card;born\nA-1;31/02/1980\nA-2;=1+1\n"
BAD = finding("GW-FMT-091", Place(notation="table", path="row 2 column born"), value="31/02/1980")


def sent(store: ScriptedStore, body: bytes = TABLE, kind: str = media.CSV, settled: bool = True) -> str:
    """A submission of the second sender, whose language is Italian, as the ledger has it."""
    submission = Submission(
        id="table-1", sender="two", programme=PROGRAMME, received_at=AT, channel="http",
        media_type=kind, body=body, digest="0" * 64,
    )  # fmt: skip
    items = (
        ItemStatus(id="i0", label="row 2", state="refused", findings=(BAD,)),
        ItemStatus(id="i1", label="row 3", state="refused", findings=(finding("GW-WORK-001", labels="row 2"),)),
    )
    store.submissions[submission.id] = submission
    store.statuses[submission.id] = SubmissionStatus(
        id=submission.id, sender="two", programme=PROGRAMME, state="itemised",
        received_at=AT, settled=settled, items=items,
    )  # fmt: skip
    return submission.id


async def test_a_table_comes_back_with_its_faulty_cells_marked(house: House, store: ScriptedStore) -> None:
    """People mend tables in the table: the cell says what is wrong, in their language."""
    id = sent(store)
    server = await house.http()
    async with client(server, OTHER_TOKEN) as web:
        answer = await web.get(f"/submissions/{id}/workbook")
        english = await web.get(f"/submissions/{id}/workbook", headers={"accept-language": "en"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media.XLSX
    page = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0]
    assert page["B2"].value == "31/02/1980"
    assert "GW-FMT-091" in page["B2"].comment.text
    assert page["B2"].fill.fgColor.rgb != page["A2"].fill.fgColor.rgb
    assert "GW-WORK-001" in page["A3"].comment.text, "what concerns the whole row stands at its first cell"
    assert (page["B3"].value, page["B3"].data_type) == ("=1+1", "s"), "what they wrote is not run"
    other = openpyxl.load_workbook(io.BytesIO(english.content)).worksheets[0]
    assert other["B2"].comment.text != page["B2"].comment.text


async def test_a_workbook_keeps_its_own_formulas_and_look(house: House, store: ScriptedStore) -> None:
    """Nothing but the marks is changed in what was sent as XLSX."""
    book = openpyxl.Workbook()
    for row in (["card", "born"], ["A-1", "31/02/1980"], ["A-2", "=A2"]):
        book.active.append(row)
    body = io.BytesIO()
    book.save(body)
    id = sent(store, body.getvalue(), media.XLSX)
    async with client(await house.http(), OTHER_TOKEN) as web:
        answer = await web.get(f"/submissions/{id}/workbook")
    page = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets[0]
    assert page["B3"].value == "=A2"
    assert page["B3"].data_type == "f"


@pytest.mark.parametrize(
    ("kind", "settled", "body", "code", "status"),
    [
        (media.JSON, True, b"{}", "GW-RECEIVE-032", 409),
        (media.CSV, False, TABLE, "GW-RECEIVE-033", 409),
        (media.CSV, True, b"", "GW-RECEIVE-034", 410),
    ],
)
async def test_where_there_is_no_workbook_it_is_said_why(
    house: House, store: ScriptedStore, kind: str, settled: bool, body: bytes, code: str, status: int
) -> None:
    """Not a table, not yet, not any more: three different answers."""
    id = sent(store, body, kind, settled)
    async with client(await house.http(), OTHER_TOKEN) as web:
        answer = await web.get(f"/submissions/{id}/workbook")
    assert answer.status_code == status
    assert code in answer.text


async def test_a_workbook_is_for_its_own_sender_only(house: House, store: ScriptedStore) -> None:
    """For everybody else it does not exist."""
    id = sent(store)
    async with client(await house.http()) as web:
        assert (await web.get(f"/submissions/{id}/workbook")).status_code == 404
        assert (await web.get("/submissions/never/workbook")).status_code == 404


# --- conversion -----------------------------------------------------------------------------------


class Mapper:
    """Stands for the workers: remembers what it was asked."""

    def __init__(self, found: Sequence[Finding] = ()) -> None:
        self.asked: list[Submission] = []
        self.found = tuple(found)

    async def __call__(self, submission: Submission) -> Preview:
        self.asked.append(submission)
        patient = {"resourceType": "Patient", "id": "p"}
        return Preview([ItemResult(index=0, label="row 2", resources=(patient,), findings=self.found)], False)


@pytest.fixture
async def converting(house: House, store: ScriptedStore) -> AsyncIterator[tuple[HttpServer, Mapper]]:
    mapper = Mapper((BAD,))
    http = Http(port=0)
    settings = Settings(programmes=(PROGRAMME,), sender=house.senders, http=http)
    server = HttpServer(make_app(settings, store, house.door(), house.clock, previewer=mapper), http)
    await server.start()
    yield server, mapper
    await server.stop()


async def test_a_conversion_shows_everything_and_keeps_nothing(
    converting: tuple[HttpServer, Mapper], store: ScriptedStore
) -> None:
    """An integrator tries an input a hundred times without leaving a trace in the data, but one in the audit trail."""
    server, mapper = converting
    async with client(server, OTHER_TOKEN) as web:
        answer = await web.post(f"/convert/{PROGRAMME}", content=TABLE, headers={"content-type": "text/csv"})
    (item,) = answer.json()["items"]
    assert (answer.status_code, item["verdict"]) == (200, "refused")
    assert item["resources"] == [{"resourceType": "Patient", "id": "p"}]
    assert item["findings"][0]["place"]["path"] == "row 2 column born"
    assert mapper.asked[0].sender == "two", "with the sender's own options and ids"
    assert not store.submissions
    (step,) = store.steps
    assert not step.moves
    assert not step.writes
    (event,) = step.audit
    assert (event.agent, event.detail["operation"]) == ("two", "convert")
    assert "1980" not in str(event)


async def test_a_conversion_asks_at_the_same_door(converting: tuple[HttpServer, Mapper], store: ScriptedStore) -> None:
    """No caller, wrong programme, no known type: refused as a submission would be, and not mapped."""
    server, mapper = converting
    kind = {"content-type": "text/csv"}
    async with client(server, OTHER_TOKEN) as web:
        assert (await web.post("/convert/nowhere", content=TABLE, headers=kind)).status_code == 404
        odd = await web.post(f"/convert/{PROGRAMME}", content=b"x", headers={"content-type": "application/pdf"})
        assert odd.status_code == 415
    async with client(server, None) as web:
        assert (await web.post(f"/convert/{PROGRAMME}", content=TABLE, headers=kind)).status_code == 401
    assert not mapper.asked
    assert not store.submissions
