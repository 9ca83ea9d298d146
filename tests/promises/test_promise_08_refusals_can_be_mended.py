"""Promise 8: every refusal has a permanent code, a place in the sender's format, and a mend in four languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import errors
from gateway.commands.demo_inputs import bookings, workbook
from gateway.commands.site import Site
from gateway.formats import json, media
from gateway.message import LANGUAGES

ROOT = Path(__file__).parents[2]
ADT = (ROOT / "mappings/sepas/samples/adt-a03.hl7").read_bytes().replace(b"\n", b"\r").replace(b"|||AL|NE||", b"||||||")
STAY = (ROOT / "mappings/sepas/samples/stay.json").read_bytes()


def formula_error() -> bytes:
    """A workbook whose class cell shows #N/A."""
    import io

    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(workbook(bookings(ROOT)[:2])))
    sheet = book.active
    heads = [cell.value for cell in sheet[1]]
    sheet.cell(2, heads.index("classe") + 1).value = "#N/A"
    sheet.cell(2, heads.index("classe") + 1).data_type = "e"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


BAD = {
    "an empty body": ("sepas", media.HL7V2, b""),
    "a wrong content type": ("sepas", "image/png", ADT),
    "HL7 cut in the header": ("sepas", media.HL7V2, ADT[:20]),
    "an unknown message type": ("sepas", media.HL7V2, ADT.replace(b"ADT^A03^ADT_A03", b"QQQ^Z99^QQQ_Z99")),
    "a wrong check digit": ("sepas", media.HL7V2, ADT.replace(b"0012345679", b"0012345678")),
    "an impossible Jalali date": ("sepas", media.JSON, STAY.replace("۱۴۰۴/۱۰/۱۵".encode(), b"1404/11/31")),
    "Windows-1256 declared as UTF-8": (
        "sepas",
        media.HL7V2,
        ADT.decode().replace("ی", "ي").replace("‌", "").encode("cp1256", "ignore"),
    ),
    "JSON with a repeated key": ("sepas", media.JSON, STAY.replace(b"{", b'{"kind":"stay",', 1)),
    "a DTD in XML": ("sepas", media.XML, b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'),
    "a workbook with a formula error": ("toscana", media.XLSX, formula_error()),
    "a 20 MB body": ("sepas", media.JSON, b" " * 20_000_000),
    "another programme": ("toscana", media.JSON, STAY),
}


@pytest.fixture
def senders() -> dict[str, str]:
    return {"sepas": "hospital-1", "toscana": "cup-1"}


async def test_each_bad_input_gets_a_code_a_place_a_mend_and_is_kept_as_refused(
    site: Site, senders: dict[str, str]
) -> None:
    """The table of bad inputs, by HTTPS: no traceback, no silence, nothing of it gathered."""
    for name, (programme, kind, body) in BAD.items():
        sender = "hospital-1" if name == "another programme" else senders[programme]
        answer = await site.post(sender, programme, kind, body, Accept="application/fhir+json")
        assert 400 <= answer.status_code < 500, f"{name}: {answer.status_code} {answer.text[:300]}"
        outcome = json.read(answer.content)
        assert outcome["resourceType"] == "OperationOutcome", name
        worst = [issue for issue in outcome["issue"] if issue["severity"] in {"error", "fatal"}]
        assert worst, f"{name}: {outcome}"
        codes = [coding["code"] for issue in worst for coding in issue["details"]["coding"]]
        assert all(re.fullmatch(r"[A-Z]+(-[A-Z]+)?-\d+", code) for code in codes), f"{name}: {codes}"
        assert "Traceback" not in answer.text, name
    states = {(s["thing"], s["state"]): s["count"] for s in await site.ask("status")}
    assert not [key for key in states if key[0] in {"case", "exchange"} and states[key]]
    assert not states.get(("submission", "parked"))


async def test_the_same_refusal_reads_in_four_languages_with_one_severity(site: Site) -> None:
    """Severity and code never depend on the language; the words do."""
    seen = {}
    for language in LANGUAGES:
        programme, kind, body = BAD["a wrong check digit"]
        body = body.replace(b"SAMPLE-0001", f"SAMPLE-{language}".encode())  # or it gets the earlier answer again
        answer = await site.post(
            "hospital-1", programme, kind, body, Accept_Language=language, Accept="application/json"
        )
        first = next(f for f in json.read(answer.content)["findings"] if f["severity"] == "error")
        seen[language] = (first["code"], first["severity"], first["text"], first["mend"])
        assert first["place"], language
    assert len({(code, severity) for code, severity, _, _ in seen.values()}) == 1
    assert len({text for _, _, text, _ in seen.values()}) == 4
    assert len({mend for _, _, _, mend in seen.values()}) == 4


@pytest.mark.parametrize("code", sorted(errors.codes()))
def test_every_code_says_what_whose_fault_and_what_to_do(code: str) -> None:
    """Four languages, none of them the English text again, and placeholders that agree."""
    row = errors.codes()[code]
    for texts in (row.text, row.mend):
        holes = {language: set(re.findall(r"\{(\w+)\}", texts[language])) for language in LANGUAGES}
        assert len({frozenset(each) for each in holes.values()}) == 1, f"{code}: {holes}"
        words = {language: re.sub(r"\{\w+\}|[\W\d_]", "", texts[language]) for language in LANGUAGES}
        if len(words["en"]) > 12:
            assert len(set(words.values())) == 4, f"{code}: {words}"
