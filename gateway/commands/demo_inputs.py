"""What the demonstration pushes: the samples beside the mappings, and the same with one thing broken in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openpyxl import Workbook

from gateway.commands.registry import read
from gateway.errors import Misconfigured
from gateway.formats import media
from gateway.message import RegistryEntry


@dataclass(frozen=True)
class Input:
    """One submission of the demonstration."""

    name: str
    door: str  # "mllp" or "https"
    sender: str
    programme: str
    media: str
    body: bytes
    good: bool = True


def _sample(home: Path, name: str) -> bytes:
    return (home / "mappings" / name).read_bytes()


def _hl7(home: Path, name: str) -> bytes:
    """HL7 v2 ends segments with CR; the sample files use the line ends of text files."""
    return _sample(home, f"sepas/samples/{name}").replace(b"\r\n", b"\r").replace(b"\n", b"\r")


def workbook(rows: Sequence[Sequence[object]]) -> bytes:
    """An XLSX workbook with one sheet."""
    book = Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def bookings(home: Path) -> list[list[str]]:
    """The CUP sample as rows, the heading first."""
    text = _sample(home, "toscana/samples/prenotazioni.csv").decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text), delimiter=";"))


def registry(home: Path) -> Sequence[RegistryEntry]:
    """The invented reference data of both programmes."""
    entries: list[RegistryEntry] = []
    for programme in ("sepas", "toscana"):
        path = home / "mappings" / programme / "samples" / "registry.csv"
        if path.exists():
            found, findings = read(path, None, programme)
            if any(each.severity == "error" for each in findings):
                raise Misconfigured(detail=f"{path}: {findings[0].code}")
            entries += found
    return entries


def GOOD(home: Path) -> list[Input]:  # noqa: N802 - a constant that needs to know where the samples are
    """What must arrive."""
    rows = bookings(home)[:4]
    return [
        Input("ADT^A03 (discharge)", "mllp", "hospital-1", "sepas", media.HL7V2, _hl7(home, "adt-a03.hl7")),
        Input(
            "DFT^P03 (charges of the same stay)", "mllp", "hospital-1", "sepas", media.HL7V2, _hl7(home, "dft-p03.hl7")
        ),
        Input(
            "a whole stay as JSON", "https", "hospital-1", "sepas", media.JSON, _sample(home, "sepas/samples/stay.json")
        ),
        Input("a care plan", "https", "hospital-1", "sepas", media.JSON, _sample(home, "sepas/samples/careplan.json")),
        Input("a CUP spreadsheet", "https", "cup-1", "toscana", media.XLSX, workbook(rows)),
    ]


def broken(home: Path) -> list[Input]:
    """The same, each with one thing wrong, and in original mode, so that the answer carries the findings."""
    adt, dft = _hl7(home, "adt-a03.hl7"), _hl7(home, "dft-p03.hl7")
    stay, plan = (_sample(home, f"sepas/samples/{name}.json") for name in ("stay", "careplan"))
    rows = [list(row) for row in bookings(home)[:2]]
    rows[1][rows[0].index("classe")] = "X"
    return [
        _bad("ADT^A03 with a wrong check digit", "mllp", media.HL7V2, adt.replace(b"0012345679", b"0012345678")),
        _bad("DFT^P03 cut short", "mllp", media.HL7V2, dft[: dft.index(b"PV1")]),
        _bad("a stay with an impossible Jalali date", "https", media.JSON, _impossible(stay)),
        _bad("a care plan with a repeated key", "https", media.JSON, plan.replace(b"{", b'{"kind": "careplan", ', 1)),
        Input("a CUP spreadsheet with class X", "https", "cup-1", "toscana", media.XLSX, workbook(rows), good=False),
    ]


def _bad(name: str, door: str, kind: str, body: bytes) -> Input:
    # Another control id, or the answer would be that of the good message.
    body = body.replace(b"SAMPLE-", b"BROKEN-").replace(b"|||AL|NE||", b"||||||")
    return Input(name, door, "hospital-1", "sepas", kind, body, good=False)


def _impossible(stay: bytes) -> bytes:
    """The 31st of Bahman does not exist in any year."""
    text = stay.decode()
    at = text.index('"date"')
    start = text.index('"', text.index(":", at)) + 1
    return (text[:start] + "1404/11/31" + text[text.index('"', start) :]).encode()
