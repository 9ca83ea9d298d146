"""Promise 8: bad input gets a permanent code, the place in the sender's own format, and the way to mend it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from maplab import MAPPINGS, Apply, Little, one

from gateway.errors import codes, mend, text
from gateway.formats import json
from gateway.message import LANGUAGES, ItemResult

SAMPLES = MAPPINGS / "sepas" / "samples"
A03 = (SAMPLES / "adt-a03.hl7").read_bytes()
STAY: dict[str, Any] = json.read((SAMPLES / "stay.json").read_bytes())
CUP = (MAPPINGS / "toscana" / "samples" / "prenotazioni.csv").read_text(encoding="utf-8")


def errors(results: tuple[ItemResult, ...]) -> list[tuple[str, str | None]]:
    found = [f for each in results for f in each.findings if f.severity == "error"]
    for each in found:
        assert codes()[each.code]
        for language in LANGUAGES:
            assert text(each, language)
            assert mend(each, language)
    return [(f.code, f.place.path if f.place else None) for f in found]


@pytest.mark.parametrize(
    ("what", "body", "code", "place"),
    [
        ("wrong check digit", A03.replace(b"0012345679", b"0012345678"), "GW-FMT-101", "PID-3.1"),
        ("no identifier at all", A03.replace(b"0012345679^^^^NI~", b""), "GW-MAP-009", "PID-3"),
        ("no visit number", A03.replace(b"V-5001", b""), "GW-MAP-014", "PV1-19.1"),
        ("discharge without its time", A03.replace(b"20260110090000|||||HID", b"|||||HID"), "GW-MAP-011", "PV1-45"),
        ("impossible date", A03.replace(b"20260105081500", b"20260231081500"), "GW-FMT-090", "PV1-44"),
        ("unmapped discharge code", A03.replace("1^بهبودی".encode(), b"77^x"), "GW-MAP-003", "PV1-36.1"),
        ("unknown message type", A03.replace(b"ADT^A03^ADT_A03", b"ADT^A99^ADT_A99"), "GW-MAP-001", "MSH-9"),
        ("truncated in MSH", A03[:6], "GW-FMT-001", "MSH"),
        ("empty", b"", "GW-MAP-016", None),
        ("only white space", b" \r\n\t ", "GW-MAP-016", None),
        ("not HL7", b"hello", "GW-FMT-012", "MSH"),
    ],
    ids=lambda v: v if isinstance(v, str) and " " in v else None,
)
def test_a_broken_message_is_refused_with_its_place(
    what: str, body: bytes, code: str, place: str | None, apply: Apply
) -> None:
    """The sender can go straight to the field."""
    results = apply("sepas", body)
    assert (code, place) in errors(results), what
    assert all(each.refused for each in results)


def test_a_message_cut_in_the_middle_is_refused_or_says_what_is_missing(apply: Apply) -> None:
    """A truncation anywhere never gives a bill of half a stay: the discharge part needs PV1-45."""
    for cut in range(1, len(A03), 37):
        for result in apply("sepas", A03[:cut]):
            assert result.refused or b"PV1" in A03[:cut]


@pytest.mark.parametrize(
    ("date", "code"),
    [("1404/12/30", "GW-FMT-090"), ("1403/13/01", "GW-FMT-090"), ("05/10/1404", "GW-FMT-091"), ("1404", "GW-FMT-091")],
)
def test_an_impossible_jalali_date_is_refused(date: str, code: str, apply: Apply) -> None:
    """1404 is no leap year; nothing is guessed or moved to the next day."""
    stay = {**STAY, "discharge": {**STAY["discharge"], "date": date}}
    assert (code, "$.discharge.date") in errors(apply("sepas", json.write(stay), ".json"))


def test_digits_and_letters_of_every_keyboard_mean_the_same(apply: Apply) -> None:
    """Persian and Arabic digits, and ي/ك for ی/ک, are understood; names stay as they were sent."""
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    arabic = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
    (plain,) = apply("sepas", json.write(STAY), ".json")
    for table in (persian, arabic):
        patient = STAY["patient"]
        digits = {**patient, "nationalCode": patient["nationalCode"].translate(table), "lastName": "يك آزمايشي"}
        (result,) = apply("sepas", json.write({**STAY, "patient": digits}), ".json")
        assert not result.refused
        assert result.subject == plain.subject
        made = next(r for r in result.resources if r["resourceType"] == "Patient")
        assert made["name"][0]["family"] == "يك آزمايشي"
        assert made["identifier"][0]["value"] == patient["nationalCode"]


def test_the_paths_without_national_code_are_not_refused(apply: Apply) -> None:
    """Newborns, foreigners and unidentified patients have identifiers of their own."""
    for name, path in (("newborn", "newborn"), ("unidentified", "unidentified")):
        (result,) = apply("sepas", (SAMPLES / f"adt-a04-{name}.hl7").read_bytes())
        assert not result.refused
        assert result.resources[0]["extension"][0]["valueCode"] == path
    (foreign,) = apply("sepas", (SAMPLES / "adt-a08-foreigner.hl7").read_bytes())
    assert not foreign.refused
    assert foreign.resources[0]["identifier"][0]["system"].endswith("/identifier/foreign-ppn")


def test_two_senders_never_share_a_patient(apply: Apply) -> None:
    """Ids are keyed by sender: linking is explicit, never an accident of equal numbers."""
    (one,), (other,) = apply("sepas", A03, sender="a"), apply("sepas", A03, sender="b")
    assert one.subject != other.subject
    assert not {r["id"] for r in one.resources} & {r["id"] for r in other.resources}
    assert "0012345679" not in str(one.subject)


def test_adt_and_dft_of_one_stay_are_one_case(apply: Apply) -> None:
    """The discharge and the charges of one visit meet in one case, with both parts."""
    (adt,) = apply("sepas", A03)
    (dft,) = apply("sepas", (SAMPLES / "dft-p03.hl7").read_bytes())
    assert adt.case == dft.case
    assert adt.subject == dft.subject
    assert {*adt.parts, *dft.parts} == {"admission", "discharge", "bill"}


def test_one_bad_message_of_a_batch_is_refused_alone(apply: Apply) -> None:
    """A batch is as many items as it has messages; a bad one stops no other."""
    batch = b"BHS|^~\\&|A|B\r" + A03 + A03.replace(b"ADT^A03^ADT_A03", b"XXX^A03") + A03 + b"BTS|3\r"
    results = apply("sepas", batch)
    assert [each.refused for each in results] == [False, True, False]
    assert [each.index for each in results] == [0, 1, 2]
    assert results[1].label == "message 2"


def test_what_is_neither_charge_nor_credit_is_not_billed(apply: Apply) -> None:
    """FT1-6 other than CG and CD would change the total silently: it is refused by its field."""
    body = (SAMPLES / "dft-p03.hl7").read_bytes()
    assert ("GW-MAP-003", "FT1[2]-6") in errors(apply("sepas", b"|AJ|".join(body.rsplit(b"|CG|", 2)[:2]) + b"|CG|x"))


def test_zeros_that_a_spreadsheet_took_do_not_make_another_patient(apply: Apply) -> None:
    """Eight digits of a national code are the same patient as ten."""
    (whole,), (short,) = apply("sepas", A03), apply("sepas", A03.replace(b"0012345679", b"12345679"))
    assert whole.subject == short.subject
    assert not short.refused


def test_a_table_that_no_intake_knows_says_which_columns_are_looked_for(apply: Apply) -> None:
    """A table is known by its columns; the content type alone does not tell which it is."""
    assert errors(apply("sepas", b"a;b\n1;2\n", ".csv")) == [("GW-MAP-015", "row 1")]


def test_the_wrong_content_type_says_what_is_taken(little: Little) -> None:
    """XML for a programme that takes none is refused by name."""
    text = "title: t\nsubject: p\ncase: {kind: case, key: [a]}\nparts: [all]\n"
    engine = little(text + "resources: {p: {resourceType: Patient, key: [a]}}\n")
    assert [each.code for each in one(engine, b"<a/>", ".xml").findings] == ["GW-MAP-018"]


def test_json_of_another_kind_says_what_is_taken(apply: Apply) -> None:
    """JSON that no intake describes is refused, with the conditions that it could have met."""
    assert errors(apply("sepas", b'{"kind": "poem"}', ".json"))[0][0] == "GW-MAP-019"
    assert errors(apply("sepas", b'{"kind": "stay", "kind": "stay"}', ".json"))[0][0] == "GW-CORE-003"


def test_a_table_without_its_columns_names_them(apply: Apply) -> None:
    """Wrong headings are one clear error, not one for every row."""
    assert errors(apply("toscana", CUP.replace("azienda", "ente").encode(), ".csv")) == [("GW-MAP-015", "row 1")]
    assert errors(apply("toscana", CUP.splitlines()[0].encode(), ".csv"))[0][0] == "GW-MAP-023"


def test_a_bad_row_is_refused_by_itself(apply: Apply) -> None:
    """Each row is its own item: the good ones go on."""
    results = apply("toscana", CUP.replace(";D;P;Nodulo", ";X;P;Nodulo").encode(), ".csv")
    assert [each.refused for each in results] == [False, True, False]
    assert ("GW-MAP-003", "row 3 column classe") in errors(results)


def test_a_formula_error_in_a_workbook_is_refused_in_its_cell(apply: Apply, tmp_path: Path) -> None:
    """#DIV/0! is not a value."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in CUP.splitlines():
        sheet.append(line.split(";"))
    column = CUP.splitlines()[0].split(";").index("data contatto") + 1
    sheet.cell(row=3, column=column).value = "#DIV/0!"
    sheet.cell(row=3, column=column).data_type = "e"
    out = io.BytesIO()
    book.save(out)
    results = apply("toscana", out.getvalue(), ".xlsx")
    assert [each.refused for each in results] == [False, True, False]
    assert any("row 3 column data contatto" in (place or "") for _, place in errors(results))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(A03) - 1), st.binary(max_size=6), st.integers(0, 12))
def test_no_bytes_make_the_engine_raise(apply: Apply, at: int, put: bytes, drop: int) -> None:
    """Whatever arrives becomes results: taken, or refused with a code."""
    for result in apply("sepas", A03[:at] + put + A03[at + drop :]):
        assert result.refused or result.subject


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*STAY, "code", "date"]), inner),
        max_leaves=12,
    )
)
def test_no_json_makes_the_engine_raise(apply: Apply, value: Any) -> None:
    """Lists where objects are expected, numbers where text is: refused, never a traceback."""
    body = json.write({**STAY, **value} if isinstance(value, dict) else {"kind": "stay", "patient": value})
    assert apply("sepas", body, ".json")
