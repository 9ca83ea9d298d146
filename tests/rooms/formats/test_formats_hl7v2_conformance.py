"""Conformance to the declared version: every fault at once, each at its place, and no false alarms on good messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.formats import hl7v2
from gateway.formats.hl7v2_conformance import check
from gateway.formats.hl7v2_structure import Structure


def _faults(body: bytes) -> list[tuple[str, str]]:
    return [(f.code, f.place.path if f.place else "") for f in check(hl7v2.read(body))]


def test_a_good_admission_has_no_finding(adt: bytes) -> None:
    """The reader's own sample is what the standard wants."""
    assert _faults(adt) == []


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"])
def test_a_good_order_passes_in_every_version(orm: bytes, version: str) -> None:
    """Choice groups are choices: elsewhere ORM^O01 is refused for the lack of an RQD."""
    errors = [f for f in check(hl7v2.read(orm.replace(b"|2.5.1\r", f"|{version}\r".encode()))) if f.severity == "error"]
    assert [(f.code, f.place.path if f.place else "") for f in errors] == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"\rPID|", b"\rZID|", ("GW-FMT-022", "PID")),
        (b"19790412", b"1979-04-12", ("GW-FMT-029", "PID-7")),
        (b"19790412", b"19790231", ("GW-FMT-029", "PID-7")),
        (b"\rPV2|", b"\rZZ9|x\rPV2|", None),
        (b"\rPV2|", b"\rQQQ|x\rPV2|", ("GW-FMT-025", "QQQ")),
        (b"\rPV2|", b"\rOBR|1||3|4\rPV2|", ("GW-FMT-024", "OBR")),
        (b"|M|||1 T", b"|Q|||1 T", ("GW-FMT-031", "PID-8")),
        (b"MSG0001", b"M" * 60, ("GW-FMT-030", "MSH-10")),
        (b"|7||||INP", b"|7^x^y||||INP", ("GW-FMT-032", "PV1-14")),
        (b"|2.5.1|", b"|2.9|", ("GW-FMT-020", "MSH-12")),
        (b"ADT^A01^ADT_A01", b"XYZ^Q99^XYZ_Q99", ("GW-FMT-021", "MSH-9")),
        (b"ADT^A01^ADT_A01", b"", ("GW-FMT-026", "MSH-9")),
        (b"AL1|1|DA|PEN^Penicillin^L", b"AL1|1|DA|", ("GW-FMT-026", "AL1-3")),
        (b"|19790412|", b"|19790412~19800101|", ("GW-FMT-027", "PID-7")),
        (b"|A\rDG1|2", b"|A" + b"|x" * 30 + b"\rDG1|2", ("GW-FMT-028", "DG1-22")),
        (b"OBX|1|NM|", b"OBX|1||", ("GW-FMT-034", "OBX-2")),
        (b"||172|", b"||tall|", ("GW-FMT-029", "OBX-5")),
    ],
)
def test_each_defect_is_found_at_its_place(adt: bytes, old: bytes, new: bytes, fault: tuple[str, str] | None) -> None:
    """The defects that other libraries miss or take for something else, one at a time."""
    assert old in adt
    found = _faults(adt.replace(old, new, 1))
    assert (fault in found) if fault else (found == [])


def test_segments_out_of_order_are_found(adt: bytes) -> None:
    """NK1 before PID: accepted elsewhere."""
    lines = adt.split(b"\r")
    lines[2], lines[4] = lines[4], lines[2]
    assert ("GW-FMT-023", "PID") in _faults(b"\r".join(lines))


def test_all_faults_are_told_at_once(adt: bytes) -> None:
    """A sender mends once, not once a fault."""
    body = adt.replace(b"19790412", b"yesterday").replace(b"||172|", b"||tall|").replace(b"MSG0001", b"")
    assert {("GW-FMT-029", "PID-7"), ("GW-FMT-029", "OBX-5"), ("GW-FMT-026", "MSH-10")} <= set(_faults(body))


def test_local_segments_are_never_a_fault(adt: bytes) -> None:
    """Z-segments may stand anywhere and hold anything."""
    lines = adt.split(b"\r")
    spread = b"\r".join(line + b"\rZ01|" + b"x^" * 40 for line in lines[:-1]) + b"\r"
    assert _faults(spread) == []


def test_an_explicit_null_is_of_every_type(adt: bytes) -> None:
    """`""` is not a wrong date."""
    assert _faults(adt.replace(b"|19790412|", b'|""|')) == []


def test_the_handed_out_messages_are_judged_without_failing(handed_out: Path) -> None:
    """Real messages have real faults; each has a place that the reader understands."""
    for file in sorted((handed_out / "hl7v2").glob("*.hl7")):
        message = hl7v2.read(file.read_bytes())
        for found in check(message):
            assert found.place is not None, file.name
            assert found.place.notation == "hl7v2"
            assert hl7v2.location(found.place) != (), (file.name, found)


def test_missing_segments_are_named_where_they_should_be() -> None:
    """The cheapest explanation is given: what is missing, not that everything after it is wrong."""
    leaf = ("sequence", ())
    group = ("sequence", (("B", leaf, (1, 1), "SEG"), ("C", leaf, (0, -1), "SEG")))
    top = ("sequence", (("A", leaf, (1, 1), "SEG"), ("G", group, (1, -1), "GRP"), ("D", leaf, (1, 1), "SEG")))
    structure = Structure("TEST", top)
    assert structure.check(["A", "B", "C", "B", "D"]) == []
    assert [(t.kind, t.name, t.index) for t in structure.check(["A", "C", "D"])] == [("missing", "B", 1)]
    assert [(t.kind, t.name) for t in structure.check(["A", "B"])] == [("missing", "D")]
    assert [(t.kind, t.name) for t in structure.check(["A", "B", "D", "A"])] == [("misplaced", "A")]
    assert [(t.kind, t.name) for t in structure.check([])] == [("missing", "A"), ("missing", "B"), ("missing", "D")]


def test_a_long_message_is_checked_in_linear_time() -> None:
    """Ambiguous groups make backtracking matchers explode; an automaton does not notice."""
    leaf = ("sequence", ())
    inner = ("sequence", (("A", leaf, (0, -1), "SEG"), ("A", leaf, (0, -1), "SEG")))
    structure = Structure("TEST", ("sequence", (("G", inner, (0, -1), "GRP"), ("Z9", leaf, (0, 1), "SEG"))))
    assert structure.check(["A"] * 20_000) == []
    assert [t.kind for t in structure.check(["A"] * 20_000 + ["B"])] == ["foreign"]


def test_a_message_that_the_version_withdrew_is_never_refused_for_its_order(orm: bytes) -> None:
    """v2.7 has no ORM^O01, senders go on sending it: the last known structure gives warnings, not errors."""
    body = orm.replace(b"|2.5.1\r", b"|2.8\r").replace(b"\rOBR|1|", b"\rZBR|1|")
    found = [f for f in check(hl7v2.read(body)) if f.code in ("GW-FMT-022", "GW-FMT-023")]
    assert found
    assert {f.severity for f in found} == {"warning"}
