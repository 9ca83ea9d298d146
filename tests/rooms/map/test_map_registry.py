"""Promise: reference data is read whole or not at all, every entry valid in time."""

from __future__ import annotations

import io

import openpyxl
from maplab import MAPPINGS

from gateway.formats import json, media
from gateway.map import registry

GOOD = """kind,key,valid_from,valid_to,name,address.city
organisation,c1,2020-01-01,2020-12-31,Old,Qom
organisation,c1,2021-01-01,,New,
"""


def test_a_table_becomes_dated_entries() -> None:
    """Columns become fields; a dotted heading becomes a nested one."""
    entries, findings = registry.read(GOOD.encode(), "text/csv; charset=utf-8", "p")
    assert not findings
    assert [(e.kind, e.key, e.valid_from, e.valid_to) for e in entries] == [
        ("organisation", "c1", "2020-01-01", "2020-12-31"),
        ("organisation", "c1", "2021-01-01", None),
    ]
    assert entries[0].data == {"name": "Old", "address": {"city": "Qom"}}
    assert entries[1].data == {"name": "New"}


def test_a_workbook_is_read_like_a_csv() -> None:
    """Days that a workbook keeps as dates arrive as days."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in GOOD.splitlines():
        sheet.append([cell or None for cell in line.split(",")])
    out = io.BytesIO()
    book.save(out)
    assert registry.read(out.getvalue(), media.XLSX, "p") == registry.read(GOOD.encode(), media.CSV, "p")


def test_every_fault_is_found_with_its_row() -> None:
    """A missing key, a day that does not exist, an end before the start."""
    rows = ("kind,key,valid_from,valid_to", "organisation,,,", "organisation,a,2021-02-30,")
    text = "\n".join([*rows, "organisation,b,2021-02-01,2020-01-01", ""])
    entries, findings = registry.read(text.encode(), media.CSV, "p")
    assert not entries
    assert [(f.code, f.place.path if f.place else None) for f in findings] == [
        ("GW-MAP-021", "row 2"),
        ("GW-MAP-021", "row 3"),
        ("GW-MAP-021", "row 4"),
    ]


def test_two_entries_of_one_day_contradict_each_other() -> None:
    """Which one holds would be a guess."""
    text = "kind,key,valid_from,valid_to\norganisation,a,2020-01-01,\norganisation,a,2021-01-01,\n"
    _, findings = registry.read(text.encode(), media.CSV, "p")
    assert [f.code for f in findings] == ["GW-MAP-021"]


def test_columns_that_must_be_there() -> None:
    """A table of something else is refused by its columns."""
    _, findings = registry.read(b"name,code\na,b\n", media.CSV, "p")
    assert [(f.code, f.args["columns"]) for f in findings] == [("GW-MAP-015", "kind, key")]


def test_fhir_organizations_with_their_university() -> None:
    """A Bundle of Organizations; partOf inside the Bundle becomes the university's key."""
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:u", "resource": {"resourceType": "Organization", "identifier": [{"value": "U-1"}]}},
            {
                "resource": {
                    "resourceType": "Organization",
                    "name": "Centre",
                    "identifier": [{"value": "C-1", "period": {"start": "2020-01-01"}}],
                    "type": [{"coding": [{"code": "centre"}]}],
                    "partOf": {"reference": "urn:uuid:u"},
                }
            },
            {"resource": {"resourceType": "Patient"}},
        ],
    }
    entries, findings = registry.read(json.write(bundle), media.FHIR_JSON, "p")
    assert entries[1].data == {"name": "Centre", "type": "centre", "university": "U-1"}
    assert entries[1].valid_from == "2020-01-01"
    assert [f.place.path for f in findings if f.place] == ["Bundle.entry[2].resource"]


def test_bytes_that_are_nothing_are_a_finding() -> None:
    """Nothing is raised for the file's own faults."""
    for body, kind in ((b"{", media.FHIR_JSON), (b"\xff\xfe", media.CSV), (b"x", media.XLSX), (b"x", "image/png")):
        entries, findings = registry.read(body, kind, "p")
        assert not entries
        assert findings


def test_the_samples_are_good() -> None:
    """What the manual points to can be imported."""
    for path in MAPPINGS.glob("*/samples/registry.csv"):
        entries, findings = registry.read(path.read_bytes(), media.CSV, path.parent.parent.name)
        assert entries
        assert not findings
