"""The plan row by row: `attese.csv` was written from the text of the plan, not from the gateway's tables.

Contact with the CUP on Friday 20 March 2026 at 10:00, nine days before the clocks go forward. Every code of the 46
outpatient rows, four classes, first and later contact; the day hospital rows have rules of their own.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from toscana_lab import BASE, ROW, codes, extension, one, options, table, taken, the

from gateway.formats import media

EXPECTED = list(csv.DictReader((Path(__file__).parent / "attese.csv").read_text(encoding="utf-8").splitlines()))


def sent(number: int, row: dict[str, str]) -> dict[str, str]:
    return {
        **ROW,
        "numero prenotazione": f"CUP-{number}",
        "nre": f"0900A{number:010}",
        "prestazione": row["codice"],
        "disciplina": row["disciplina"],
        "classe": row["classe"],
        "tipo contatto": row["contatto"],
    }


def test_every_row_class_and_contact_gives_what_the_plan_says() -> None:
    """Class, priority, maximum, deadline, level and findings, all at once."""
    assert len({(r["elenco"], r["n"]) for r in EXPECTED}) == 46
    made = taken(table([sent(n, row) for n, row in enumerate(EXPECTED)]))
    assert len(made) == len(EXPECTED)
    for (result, said), row in zip(made, EXPECTED, strict=True):
        request = the(result, "ServiceRequest")
        found = {
            "classe": extension(request, "classe-priorita")["code"],
            "contatto": {"primo": "P", "successivo": "C"}[extension(request, "tipo-contatto")["code"]],
            "priorita": request["priority"],
            "massimo": extension(request, "massimo") or "",
            "termine": extension(request, "termine") or "",
            "livello": extension(request, "livello"),
            "esiti": " ".join(sorted(codes(said))),
        }
        assert found == {name: row[name] for name in found}, row
        prefix = "VISITA" if row["elenco"] == "visite" else "STRUM"
        voce = [c["code"] for c in request["code"]["coding"] if c["system"] == f"{BASE}/CodeSystem/voce-piano"]
        assert voce == [f"{prefix}-{int(row['n']):02}"]


@pytest.mark.parametrize("code", ["99.25", "88.55", "88.56", "88.57", "50.11"])
@pytest.mark.parametrize("priority", list("UBDP"))
def test_day_hospital_rows_have_no_times_of_their_own(code: str, priority: str) -> None:
    """The plan delegates the times of rows 44 to 46 to older acts (X15): no deadline is made up."""
    result, said = one({"prestazione": code, "classe": priority, "tipo contatto": "P"})
    assert extension(the(result, "ServiceRequest"), "termine") is None
    assert not codes(said, "error", "warning")


ADT = (
    "MSH|^~\\&|ADT|101|GW|GW|20260120120000||ADT^A03^ADT_A03|1|P|2.5||||||UNICODE UTF-8\r"
    "PID|1||TSTPNT80A01D612O^^^MEF^NNITA||Prova^Paziente||19800101|M\r"
    "PV1|1|D||E|||||||||||||||N-1|||||||||||||||||||||||||20260120080000|20260120120000\r"
    "{diagnosis}PR1|1||{procedure}^Procedura^I9C||20260120090000\r"
)


@pytest.mark.parametrize(
    ("procedure", "diagnosis", "wanted"),
    [
        ("99.25", "V58.1", set()),
        ("99.25", "174.9", {"TOS-052"}),
        ("99.25", "", {"TOS-052"}),
        ("88.55", "", set()),
        ("88.57", "414.0", set()),
        ("50.11", "", set()),
    ],
)
def test_only_chemotherapy_asks_for_its_diagnosis(procedure: str, diagnosis: str, wanted: set[str]) -> None:
    """R52, X14: row 44 is the pair 99.25 and V58.1; rows 45 and 46 have no diagnosis."""
    line = f"DG1|1||{diagnosis}^Diagnosi^I9C\r" if diagnosis else ""
    given = {**options(), "conformance": "off"}
    ((_, said),) = taken(ADT.format(procedure=procedure, diagnosis=line).encode(), media.HL7V2, **given)
    assert codes(said, "error") == wanted
