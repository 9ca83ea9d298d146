"""Promise 10: no clinical or identifying text in logs, metrics, URLs or error pages: a search for canaries."""

from __future__ import annotations

import re
from pathlib import Path

from oracle import stay_messages

from gateway.commands.site import Site
from gateway.desk import log
from gateway.formats import media

CANARIES = {
    "آزمایشی": "QANARYFAMILY",
    "بیمار یک": "QANARYGIVEN",
    "خیابان آزمون ۱۲": "QANARYSTREET",
    "سرطان ریه": "QANARYDIAGNOSIS",
    "02100000001": "02177771234",
}


def with_canaries(body: bytes) -> bytes:
    text = body.decode()
    for there, canary in CANARIES.items():
        text = text.replace(there, canary)
    return text.encode()


async def test_canaries_in_every_name_field_are_in_no_log_and_no_error_page(site: Site, tmp_path: Path) -> None:
    """Good, refused, unreadable, rejected by the destination, killed in between: the log knows ids and codes only."""
    good = [with_canaries(body) for body in stay_messages(1, 1)]
    bad = with_canaries(stay_messages(2, 1)[0]).replace(b"19800321", b"19801399")
    torn = with_canaries(stay_messages(3, 1)[0])[:300]
    site.sepas.faults.order("category=DB:1")
    await site.mllp([*good, bad])
    pages = []
    for kind, body in ((media.HL7V2, torn), (media.JSON, torn), (media.XML, torn), ("text/plain", torn)):
        answer = await site.post("hospital-1", "sepas", kind, body)
        pages.append(answer.headers.get("location", ""))
        stranger = await site.get("cup-1", answer.headers.get("location", "/submissions/none"))
        assert stranger.status_code == 404  # another sender learns nothing, not even that it exists
        pages.append(stranger.text)
    await site.kill()
    await site.start()
    assert await site.quiet(30)
    await site.stop()
    written = site.log_path.read_text() + "\n".join(pages)
    for canary in CANARIES.values():
        assert canary not in written, canary


def test_a_careless_log_call_loses_information_instead_of_leaking_it() -> None:
    """Keys outside the closed list, text in other scripts and long values are replaced by their kind."""
    careless = {"event": "parked", "name": "QANARY", "id": "آزمایشی", "reason": "x" * 500, "count": 3}
    shown = log.redact(None, "info", careless)
    assert shown == {"event": "parked", "name": "<str>", "id": "<str>", "reason": "<str>", "count": 3}


def test_metrics_carry_states_and_no_identifiers() -> None:
    """Labels are states, things and rooms; a subject or a submission id is never a label."""
    from gateway.clock import SystemClock
    from gateway.desk.metrics import Metrics

    page = Metrics(SystemClock()).page({"exchange": {"due": (3, SystemClock().now())}}).decode()
    labels = set(re.findall(r"[{,](\w+)=", page))
    assert labels <= {"thing", "state", "to", "room"}
