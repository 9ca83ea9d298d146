"""Rules of the plan at their edges: letters in their fields, what is derived, policies, clocks, rights and duties."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from toscana_lab import BASE, HERE, ROOT, codes, context, extension, one, options, rules, submitted, table, taken, the
from toscana_lab import ROW as WHOLE

from gateway import map as mapping
from gateway import programme
from gateway.formats import json, media
from gateway.message import LANGUAGES

VISIT = {"prestazione": "89.7", "disciplina": "8", "classe": "B", "tipo contatto": "P"}


def errors(said: Any) -> set[str]:
    return {each.code for each in said if each.severity == "error"}


# --- letters, classes, contact ----------------------------------------


def test_the_class_of_the_old_glossary_is_never_guessed() -> None:
    """X1: C is a class only where the sender's own translation says so; then it is D."""
    _, said = one({**VISIT, "classe": "C"})
    assert errors(said) == {"GW-MAP-003"}
    result, said = one({**VISIT, "classe": "C"}, **{"code.classe.C": "D"})
    assert not errors(said)
    assert extension(the(result, "ServiceRequest"), "classe-priorita")["code"] == "D"
    assert extension(the(result, "ServiceRequest"), "termine") == "2026-04-04T23:59:59+02:00"


def test_p_means_what_its_column_says() -> None:
    """X2: P and P, one in each column, are a first contact and the programmed class."""
    result, said = one({**VISIT, "classe": "P", "tipo contatto": "P"})
    request = the(result, "ServiceRequest")
    assert extension(request, "classe-priorita")["code"] == "P"
    assert extension(request, "tipo-contatto")["code"] == "primo"
    assert not codes(said)


def test_without_a_stated_contact_it_is_a_control_and_marked() -> None:
    """R16, X3: derived, with Provenance, and the incoherent class is said."""
    result, said = one({**VISIT, "tipo contatto": ""})
    request = the(result, "ServiceRequest")
    assert extension(request, "tipo-contatto")["code"] == "successivo"
    assert extension(request, "tipo-contatto-derivato") is True
    assert extension(request, "termine") is None
    assert the(result, "Provenance")["target"] == [{"reference": f"ServiceRequest/{request['id']}"}]
    assert codes(said, "warning") == {"TOS-203"}
    assert codes(said, "information") == {"TOS-016"}
    _, said = one({**VISIT, "tipo contatto": "", "classe": ""})
    assert codes(said) == {"TOS-016"}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"classe": "P", "tipo contatto": "C"}, {"TOS-008"}),
        ({"classe": "B", "tipo contatto": "C"}, {"TOS-010"}),
        ({"classe": "", "tipo contatto": "C"}, set()),
        ({"classe": "P", "pdt": "mammella"}, {"TOS-047"}),
        ({"classe": "B", "pdt": "mammella"}, set()),
        ({"quesito diagnostico": ""}, {"TOS-014"}),
        ({"quesito diagnostico": "", "codice icd9": "413.9"}, set()),
        ({"eccezione": "si", "quesito diagnostico": "", "codice icd9": "413.9"}, {"TOS-012"}),
        ({"eccezione": "si"}, set()),
        ({"prestazione": "90.27.1", "disciplina": ""}, {"TOS-120"}),
        ({"prestazione": "90.27.1", "disciplina": "", "classe": "D"}, set()),
        ({"prestazione": "89.7A.3", "disciplina": "", "tipo contatto": "C", "classe": ""}, {"TOS-115"}),
        ({"prestazione": "89.01.3", "disciplina": "08", "classe": "D"}, {"TOS-215"}),
        ({"canale": "altro"}, {"TOS-025"}),
        ({"canale": "urgenza", "classe": "U"}, set()),
        ({"canale": "diretta", "tipo contatto": "C", "classe": ""}, set()),
        ({"canale": "diretta", "regime": "ALPI", "tipo contatto": "C", "classe": ""}, {"TOS-060"}),
        ({"regime": "ART55"}, {"TOS-061"}),
        ({"regime": "ART55", "atto": "Delibera di prova 1"}, set()),
        (
            {"tipo contatto": "C", "classe": "", "presa in carico": "E1", "medico in carico": "TSTPNT85C41D612B"},
            {"TOS-023"},
        ),
        (
            {"tipo contatto": "C", "classe": "", "presa in carico": "E1", "medico in carico": "TSTMDC70B02D612J"},
            set(),
        ),
        ({"screening": "si", "classe": ""}, set()),
    ],
)
def test_a_rule_is_said_where_it_is_broken_and_nowhere_else(row: dict[str, str], wanted: set[str]) -> None:
    """One broken rule is one finding."""
    _, said = one({**VISIT, **row})
    assert codes(said) == wanted


def test_each_finding_speaks_four_languages_and_points_into_the_table() -> None:
    """An invariant of a profile too: its own text is Italian only, the programme's words are not."""
    ((_, said),) = taken(table([{**WHOLE, **VISIT, "eccezione": "si", "quesito diagnostico": "", "codice icd9": "1"}]))
    (found,) = [each for each in said if each.code == "TOS-012"]
    assert found.source == "R12"
    assert found.text is not None
    assert all(found.text[language] for language in LANGUAGES)


def test_a_first_contact_without_class_is_refused_with_its_column() -> None:
    """R17, in the default policy: the class must be on the prescription."""
    _, said = one({**VISIT, "classe": ""})
    assert [(f.code, f.place.path) for f in said if f.severity == "error" and f.place] == [
        ("GW-MAP-011", "row 2 column classe")
    ]


def test_a_visit_without_discipline_is_refused() -> None:
    """89.7 names fourteen visits."""
    _, said = one({**VISIT, "disciplina": ""})
    assert "GW-MAP-011" in errors(said)


def test_the_present_catalogue_leads_to_the_row_of_the_plan() -> None:
    """89.7A.3 is the first cardiology visit; 89.7A.7 is of two disciplines, so one is asked for."""
    result, _ = one({**VISIT, "prestazione": "89.7A.3", "disciplina": ""})
    assert extension(the(result, "ServiceRequest"), "massimo") == "7d"
    _, said = one({**VISIT, "prestazione": "89.7A.7", "disciplina": ""})
    assert "GW-MAP-011" in errors(said)


# --- clocks ----------------------------------------


@pytest.mark.parametrize(
    ("contact", "cls", "code", "discipline", "end"),
    [
        ("27/03/2026 23:30", "U", "89.7", "8", "2026-03-31T00:30:00+02:00"),  # an hour is lost on the 29th
        ("24/10/2026 10:00", "U", "89.7", "8", "2026-10-27T09:00:00+01:00"),  # and won back
        ("22/03/2026 00:00", "B", "89.7", "8", "2026-03-29T23:59:59+02:00"),
        ("18/10/2026 23:59", "B", "89.7", "8", "2026-10-25T23:59:59+01:00"),
        ("31/12/2027 09:00", "D", "88.91.1", "", "2028-02-29T23:59:59+01:00"),
        ("31/01/2026 12:00", "D", "89.7", "14", "2026-03-02T23:59:59+01:00"),
    ],
)
def test_the_last_legal_instant(contact: str, cls: str, code: str, discipline: str, end: str) -> None:
    """R02 to R07 across clock changes and leap years: the last day belongs to the citizen."""
    row = {"prestazione": code, "disciplina": discipline, "classe": cls, "tipo contatto": "P", "data contatto": contact}
    result, _ = one({**row, "data prescrizione": "", "data appuntamento": "30/12/2028 10:00"})
    assert extension(the(result, "ServiceRequest"), "termine") == end


def configured(tmp_path: Path, **tables: str) -> mapping.Engine:
    """The programme with other tables, as an installation edits them."""
    shutil.copytree(ROOT / "mappings", tmp_path / "mappings")
    for name, lines in tables.items():
        path = tmp_path / "mappings" / "toscana" / "tables" / f"{name}.csv"
        path.write_text(path.read_text(encoding="utf-8") + lines + "\n", encoding="utf-8")
    return mapping.load(tmp_path, [programme.load(tmp_path, "toscana")])


@pytest.mark.parametrize(
    ("line", "cls", "end"),
    [
        # X5: P has a maximum where a company writes one; from a day on
        ("101,,P,120d,calendario,contatto,inclusive,2026-01-01,", "P", "2026-07-18T23:59:59+02:00"),
        ("101,,P,120d,calendario,contatto,inclusive,2027-01-01,", "P", None),
        ("999,,P,120d,calendario,contatto,inclusive,,", "P", None),
        # X7: working days (Easter Monday is 6 April), the prescription's clock, an exclusive end
        ("101,visite,B,,lavorativi,contatto,inclusive,,", "B", "2026-03-31T23:59:59+02:00"),
        ("101,visite,D,,lavorativi,contatto,inclusive,,", "D", "2026-04-13T23:59:59+02:00"),
        ("101,visite,B,,calendario,prescrizione,inclusive,,", "B", "2026-03-25T23:59:59+01:00"),
        ("101,visite,B,,calendario,contatto,exclusive,,", "B", "2026-03-26T23:59:59+01:00"),
        ("101,visite,B,10d,calendario,contatto,inclusive,,", "B", "2026-03-30T23:59:59+02:00"),
    ],
)
def test_a_company_says_how_its_days_are_counted(line: str, cls: str, end: str | None, tmp_path: Path) -> None:
    """A line of `termini.csv`, with validity: nothing is hard-coded that the plan leaves open."""
    engine = configured(tmp_path, termini=line)
    body = table([{**WHOLE, **VISIT, "classe": cls}])
    (result,) = engine.take_apart(submitted(body, media.CSV), context())
    assert extension(the(result, "ServiceRequest"), "termine") == end


def test_a_company_says_what_a_missing_class_and_question_mean(tmp_path: Path) -> None:
    """R14, R17: refuse, accept and flag, take a class, or ask a person; never hard-coded."""
    engine = configured(tmp_path, politiche="101,persona,D,48,istante,,\n102,rifiuta,rifiuta,48,istante,,")

    def made(**row: str) -> Any:
        body = table([{**WHOLE, **VISIT, **row}])
        (result,) = engine.take_apart(submitted(body, media.CSV), context())
        return result

    request = the(made(classe=""), "ServiceRequest")
    assert extension(request, "classe-priorita")["code"] == "D"
    assert extension(request, "classe-derivata") is True
    asked = the(made(**{"quesito diagnostico": ""}), "Task")
    assert asked["code"]["coding"][0]["code"] == "quesito-mancante"
    refused = made(**{"quesito diagnostico": "", "azienda": "102"})
    assert [f.place.path for f in refused.findings if f.severity == "error"] == ["row 2 column quesito diagnostico"]


# --- offers, refusals, duties ----------------------------------------


def test_a_refusal_is_kept_beside_its_offer() -> None:
    """R27, R36: the evidence that frees the company."""
    result, said = one({**VISIT, "stato": "rifiutata", "motivo rifiuto": "Preferisce altra sede"})
    assert the(result, "Appointment")["status"] == "proposed"
    answer = the(result, "AppointmentResponse")
    assert answer["participantStatus"] == "declined"
    assert answer["appointment"]["reference"] == f"Appointment/{the(result, 'Appointment')['id']}"
    assert not errors(said)


@pytest.mark.parametrize(
    ("cancelled", "due"),
    [
        ("26/03/2026 12:00", False),  # 48 hours before, to the minute: the clocks go forward between
        ("26/03/2026 12:01", False),
        ("27/03/2026 08:59", False),
        ("27/03/2026 09:01", True),
        ("28/03/2026 20:00", True),
    ],
)
def test_forty_eight_hours_are_hours(cancelled: str, due: bool) -> None:
    """R37: the appointment is on Sunday 29 March at 10:00 summer time, so the limit is Friday at 09:00 winter time."""
    row = {"stato": "disdetta", "data appuntamento": "29/03/2026 10:00", "motivo disdetta": "Impegno"}
    result, said = one({**VISIT, **row, "data disdetta": cancelled, "esenzione": "E01"})
    assert (the(result, "Task") is not None) is due
    assert ("TOS-138" in codes(said)) is due
    assert the(result, "Coverage")["type"]["coding"][0]["code"] == "E01"


def test_a_cancellation_without_its_instant_is_refused() -> None:
    """R37 cannot be judged without it."""
    _, said = one({**VISIT, "stato": "disdetta", "motivo disdetta": "Impegno"})
    assert "GW-MAP-011" in errors(said)
    _, said = one({**VISIT, "stato": "disdetta", "data disdetta": "20/03/2026 12:00"})
    assert "TOS-037" in errors(said)


# --- HL7 v2 ----------------------------------------


def test_a_sender_declares_where_the_class_sits() -> None:
    """Section 8: no public fact, so nothing is assumed; any place, a Z segment too."""
    message = (HERE / "samples" / "omg-o19.hl7").read_bytes()
    ((_, said),) = taken(message, media.HL7V2)
    assert "GW-MAP-011" in errors(said)
    moved = message.replace(b"20260116110000||B", b"20260116110000||").replace(b"ZPR|P|08|CUP", b"ZPR|P|08|CUP|B")
    moved = moved.replace(b"20260202152000||D", b"20260202152000||").replace(b"ZPR|P||CUP", b"ZPR|P||CUP|D")
    ((result, said),) = taken(moved, media.HL7V2, **{**options(), "classe": "ZPR-4"})
    found = [r for r in result.resources if r["resourceType"] == "ServiceRequest"]
    assert [extension(r, "classe-priorita")["code"] for r in found] == ["B", "D"]
    assert not errors(said)


def test_a_planned_admission_without_its_class_is_refused() -> None:
    """R49: the class of the single user is in the record; an urgent one needs none."""
    message = (HERE / "samples" / "adt-a03-dh.hl7").read_bytes()
    without = b"\r".join(line for line in message.split(b"\r") if not line.startswith(b"PV2"))
    ((_, said),) = taken(without, media.HL7V2, **options())
    assert codes(said, "error") == {"TOS-049"}
    ((_, said),) = taken(without.replace(b"ST-01|C|", b"ST-01|E|"), media.HL7V2, **options())
    assert codes(said, "error") == set()


# --- agendas ----------------------------------------


def agenda(**cells: str) -> tuple[Any, Any]:
    lines = (HERE / "samples" / "agende.csv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(lines[0].split(";"), lines[3].split(";"), strict=True)) | cells
    body = f"{lines[0]}\n{';'.join(row[name] for name in lines[0].split(';'))}\n".encode()
    ((result, said),) = taken(body)
    return result, said


def test_suspensions_need_a_technical_reason() -> None:
    """R53, R55: only technical reasons, and a closed agenda without any is brought to light."""
    result, said = agenda()
    assert not codes(said)
    assert the(result, "Schedule")["active"] is False
    assert codes(agenda(motivo="non-tecnico")[1]) == {"TOS-155"}
    assert codes(agenda(motivo="")[1], "error") == {"TOS-055"}
    assert codes(agenda(**{"sospesa dal": "", "sospesa al": "", "motivo": ""})[1]) == {"TOS-053"}
    assert codes(agenda(**{"sospesa al": "01/01/2026"})[1], "error") == {"TOS-501"}


@pytest.mark.parametrize(("code", "shared"), [("88.91.1", True), ("88.78", True), ("87.37.1", False), ("45.23", False)])
def test_agendas_of_rows_16_to_33_are_tagged_for_the_area_vasta(code: str, shared: bool) -> None:
    """R31: mammography (15) is not named; who may read the tag is a rule of pull."""
    result, _ = agenda(prestazione=code)
    assert ([t["code"] for t in the(result, "Schedule")["meta"].get("tag", [])] == ["AV-TEST"]) is shared


# --- pathways ----------------------------------------


def test_each_pathway_has_its_definition() -> None:
    """R40, R44, R45: four in force, one on trial, two that wait for an act; each a canonical of a CarePlan."""
    made = {}
    for path in (ROOT / "profiles" / "toscana").glob("PlanDefinition-*.json"):
        plan = json.read(path.read_bytes())
        made[plan["url"].rpartition("pdt-")[2]] = (plan["status"], plan["experimental"])
        assert [(a["timingDuration"]["value"], a["timingDuration"]["code"]) for a in plan["action"]] == [(30, "d")] * 2
        assert not [f for f in rules().validate(plan) if f.severity == "error"]
    assert {name for name, state in made.items() if state == ("active", False)} == {
        "mammella", "polmone", "colon-retto", "bypass",
    }  # fmt: skip
    assert made["ischemia-arti"] == ("active", True)
    assert {made["scompenso"], made["diabete"]} == {("draft", False)}
    sample = (HERE / "samples" / "percorsi.csv").read_bytes()
    named = [the(result, "CarePlan")["instantiatesCanonical"] for result, _ in taken(sample)]
    assert named == [[f"{BASE}/PlanDefinition/pdt-{name}"] for name in ("mammella", "bypass")]


def test_a_bundle_brings_a_request_and_its_booking() -> None:
    """FHIR in: the booking is based on the request of the same NRE and code, with a deadline from its contact."""
    ((result, said),) = taken((HERE / "samples" / "richieste.fhir").read_bytes(), media.FHIR_JSON, azienda="101")
    booking, request = the(result, "Appointment"), the(result, "ServiceRequest")
    assert booking["basedOn"] == [{"reference": f"ServiceRequest/{request['id']}"}]
    assert extension(booking, "termine") == extension(request, "termine") == "2026-01-19T23:59:59+01:00"
    assert not codes(said)
    assert not errors(said)
