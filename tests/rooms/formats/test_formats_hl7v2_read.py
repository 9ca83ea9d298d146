"""The HL7 v2 reader: nothing lost, every value with its place, paths as an analyst writes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Misconfigured, Refused, TooLarge
from gateway.formats import hl7v2


def _get(source: hl7v2.Group | hl7v2.Segment | hl7v2.Part, path: str) -> list[object]:
    return [datum.value for datum in source.get(hl7v2.compile(path))]


def _places(source: hl7v2.Group | hl7v2.Segment | hl7v2.Part, path: str) -> list[str]:
    return [datum.place.path for datum in source.get(hl7v2.compile(path))]


def test_all_handed_out_messages_come_back_byte_for_byte(handed_out: Path) -> None:
    """The reader keeps what real systems send, with its oddities."""
    files = sorted((handed_out / "hl7v2").glob("*.hl7"))
    assert len(files) == 80
    for file in files:
        body = file.read_bytes()
        message = hl7v2.read(body)
        assert hl7v2.write(message) == body, file.name
        leaves = message.leaves()
        assert len({datum.leaf for datum in leaves}) == len(leaves), file.name
        assert hl7v2.header(body).control_id == message.field("MSH", 10)


def test_every_leaf_can_be_asked_for_by_its_own_place(adt: bytes) -> None:
    """A finding's place, typed into a mapping, leads to the same value."""
    message = hl7v2.read(adt)
    for datum in message.leaves():
        again = message.get(hl7v2.compile(datum.place.path))
        assert datum.leaf in [d.leaf for d in again], datum.place.path


@pytest.mark.parametrize(
    ("path", "values", "places"),
    [
        ("PID-3.1", ["0012345679", "998877"], ["PID-3.1", "PID-3[2].1"]),
        ("PID-3[2].4.2", ["1.2.3"], ["PID-3[2].4.2"]),
        ("PID-3[2].4", ["HOSP"], ["PID-3[2].4.1"]),
        ("PID-8.1", ["M"], ["PID-8"]),
        ("PID-8.1.1", ["M"], ["PID-8"]),
        ("PID-8.2", [], []),
        ("OBX-5", ["172", "70.5"], ["OBX-5", "OBX[2]-5"]),
        ("OBX[2]-5", ["70.5"], ["OBX[2]-5"]),
        ("PID-5", ["Test^Patient-One^Q^^Mr^^L"], ["PID-5"]),
        ("MSH-1", ["|"], ["MSH-1"]),
        ("MSH-2", ["^~\\&"], ["MSH-2"]),
        ("MSH-9.2", ["A01"], ["MSH-9.2"]),
        ("ZIR-2.2.2", ["more"], ["ZIR-2.2.2"]),
        ("PID-99", [], []),
        ("PV3-1", [], []),
    ],
)
def test_paths_read_what_the_standard_says(adt: bytes, path: str, values: list[str], places: list[str]) -> None:
    """Chapter 2: a primitive is the first component of a composite and the other way round."""
    message = hl7v2.read(adt)
    assert _get(message, path) == values
    assert _places(message, path) == places


def test_the_text_of_a_field_covers_all_its_leaves(adt: bytes) -> None:
    """Whoever reads a field whole has read every part of it, and the loss report knows."""
    message = hl7v2.read(adt)
    seen = bytearray(message.size)
    for datum in message.get(hl7v2.compile("PID-3")):
        seen[datum.leaf : datum.leaf + datum.span] = b"\x01" * datum.span
    assert not [d for d in message.leaves(seen) if d.place.path.startswith("PID-3")]
    assert len(message.leaves()) - len(message.leaves(seen)) == 8


@pytest.mark.parametrize(
    "path", ["", "PID-0", "pid-3", "PID-3[0]", "PID.3", "PID-3.1.1.1", "PID-3.x", "OBR{OBX", "..", "0"]
)
def test_a_wrong_path_is_the_mapping_author_s_fault(path: str) -> None:
    """It is told when the mapping is compiled, with the path in it."""
    with pytest.raises(Misconfigured) as error:
        hl7v2.compile(path)
    assert error.value.code == "GW-FMT-040"
    assert error.value.args_["path"] == path


def test_repetitions_and_components_are_sources(adt: bytes) -> None:
    """`each: PID-3` walks identifiers, `each: PID-3.4` their assigners; paths inside are relative."""
    message = hl7v2.read(adt)
    parts = message.each(hl7v2.compile("PID-3"))
    assert [part.here.path for part in parts] == ["PID-3", "PID-3[2]"]
    assert [_get(part, ".1") for part in parts] == [["0012345679"], ["998877"]]
    assert [_get(part, ".4.3") for part in parts] == [[], ["ISO"]]
    assert _get(parts[1], "PID-3.5") == ["MR"]
    authority = parts[1].each(hl7v2.compile(".4"))[0]
    assert (_get(authority, ".2"), _places(authority, ".2")) == (["1.2.3"], ["PID-3[2].4.2"])
    assert _get(authority, ".") == ["HOSP&1.2.3&ISO"]
    assert [d.leaf for d in parts[1].leaves()] == [d.leaf for d in message.leaves() if "PID-3[2]" in d.place.path]


def test_groups_start_at_a_segment(orm: bytes) -> None:
    """An order is its ORC with what follows; places stay those of the whole message."""
    message = hl7v2.read(orm)

    def names(path: str) -> list[list[str]]:
        return [[s.name for s in g.segments] for g in message.each(hl7v2.compile(path)) if isinstance(g, hl7v2.Group)]

    assert names("ORC..") == [["ORC", "OBR", "NTE", "OBX"], ["ORC", "OBR", "OBX", "OBX", "ZOR", "FT1"]]
    assert names("OBR{OBX}") == [["OBR"], ["OBR", "OBX", "OBX", "ZOR"]]
    assert names("OBR{OBX,NTE}") == [["OBR", "NTE", "OBX"], ["OBR", "OBX", "OBX", "ZOR"]]
    assert names("ORC?OBR{OBX,NTE}")[1] == ["ORC", "OBR", "OBX", "OBX", "ZOR"]
    second = message.each(hl7v2.compile("ORC.."))[1]
    assert _places(second, "OBX-5") == ["OBX[2]-5", "OBX[3]-5"]
    assert _places(second, "OBX[1]-5") == ["OBX[2]-5"]
    assert (second.here.path, second.first + second.size) == ("ORC[2]", message.size)


def test_an_explicit_null_is_not_an_empty_field() -> None:
    """`""` says delete; an empty field says nothing (section 2.5.3)."""
    message = hl7v2.read(b'MSH|^~\\&|A\rPID|1||""||x^""^|""\r')
    found = message.get(hl7v2.compile("PID-3.1"))
    assert [(d.value, d.null) for d in found] == [("", True)]
    assert [d.null for d in message.leaves() if d.place.path == "PID-5.2"] == [True]


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("one\\.br\\two\\.sp2\\three", "one\ntwo\n\nthree"),
        ("\\H\\bold\\N\\ plain", "bold plain"),
        ("\\XD8B3D984D8A7D985\\", "سلام"),
        ("\\X00\\", "\\X00\\"),
        ("\\Zlocal\\", "\\Zlocal\\"),
        ("C:\\temp\\F\\x", "C:\\temp|x"),
        ("open \\F", "open \\F"),
        ("\\M2442\\4A\\C2842\\", "漢"),
        ("", ""),
    ],
)
def test_escapes_are_undone_and_unknown_ones_kept(raw: str, meant: str) -> None:
    """Section 2.7; what we cannot read is shown as it was sent, never dropped."""
    assert hl7v2.unescape(raw, hl7v2.STANDARD) == meant


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=60))
def test_what_is_escaped_comes_back(text: str) -> None:
    """Writing a value and reading it gives the value."""
    assert hl7v2.unescape(hl7v2.escape(text), hl7v2.STANDARD) == text


@given(st.text(alphabet="|^~\\&#XHNFSTRE.0aé ", max_size=40))
def test_every_delimiter_survives_a_message(text: str) -> None:
    """With five encoding characters too, and inside a whole message."""
    d = hl7v2.Delimiters(truncation="#")
    line = hl7v2.segment("ZZZ", [(text, (text, "x"))], d)
    message = hl7v2.read(f"MSH|{d.encoding}|A\r{line}\r".encode())
    assert _get(message, "ZZZ-1.1") == ([text] if text and text != '""' else [])
    assert _get(message, "ZZZ-1.2.1") == ([text] if text else [])


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n"])
def test_line_ends_are_tolerated_and_kept(adt: bytes, end: str) -> None:
    """Files from editors are read, and what came in goes out."""
    body = adt.replace(b"\r", end.encode())
    message = hl7v2.read(body)
    assert len(message.segments) == 16
    assert hl7v2.write(message) == body


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_header_of_delimiters_alone_is_enough(end: str) -> None:
    """MSH-2 ends with its segment, whatever ends segments."""
    message = hl7v2.read(f"MSH|^~\\&{end}PID|1||7^x{end}".encode())
    assert _get(message, "PID-3.2") == ["x"]


def test_a_line_feed_inside_a_field_is_text() -> None:
    """Where CR ends segments, a LF before something that is no segment belongs to the field."""
    message = hl7v2.read(b"MSH|^~\\&|A\rNTE|1||first\nsecond\rPID|1\r")
    assert _get(message, "NTE-3") == ["first\nsecond"]
    assert [s.name for s in message.segments] == ["MSH", "NTE", "PID"]


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        (b"", "GW-FMT-001", "MSH"),
        (b"PID|1\r", "GW-FMT-001", "MSH"),
        (b"MSH|^^^^|A\r", "GW-FMT-002", "MSH-2"),
        (b"MSH|^~\\&|||||||||||||||KLINGON\r", "GW-FMT-006", "segment 2"),
        (b"MSH|^~\\&||||||||||||||||KLINGON\r", "GW-FMT-003", "MSH-18"),
        (b"MSH|^~\\&|A\rPID|1||a\x00b\r", "GW-FMT-005", "PID-3"),
        (b"MSH|^~\\&|A\rpid|1\r", "GW-FMT-006", "segment 2"),
        (b"MSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\r", "GW-FMT-007", "MSH[2]"),
    ],
)
def test_what_is_not_hl7_is_refused_with_its_place(body: bytes, code: str, place: str) -> None:
    """Promise 8: a permanent code and a place in the sender's own message."""
    if b"KLINGON" in body and code == "GW-FMT-006":
        body = body.replace(b"KLINGON", b"\rKLINGON")
    with pytest.raises(Refused) as refusal:
        hl7v2.read(body)
    assert refusal.value.code == code
    assert refusal.value.place is not None
    assert refusal.value.place.path == place


def test_size_is_bounded(adt: bytes) -> None:
    """Promise 11."""
    with pytest.raises(TooLarge):
        hl7v2.read(adt, max_bytes=100)


def test_the_header_alone_is_enough_at_the_door(adt: bytes) -> None:
    """Routing, identity and acknowledgement mode, without reading clinical data."""
    head = hl7v2.header(adt)
    assert (head.type, head.control_id, head.version) == ("ADT^A01^ADT_A01", "MSG0001", "2.5.1")
    assert (head.application, head.facility, head.charset) == ("HIS", "HOSP", "UNICODE UTF-8")
    assert (head.accept_ack, head.application_ack, head.batch) == ("AL", "NE", False)
    assert hl7v2.header(b"\x0b" + adt) == head
    with pytest.raises(Refused):
        hl7v2.header(b"<html>")


def test_a_batch_is_several_messages(adt: bytes, orm: bytes) -> None:
    """FHS and BHS around; each message keeps its own bytes; wrong counts are told."""
    body = b"FHS|^~\\&|X\rBHS|^~\\&|X\r" + adt + orm + b"BTS|3\rFTS|1\r"
    batch = hl7v2.split_batch(body)
    assert batch.messages == (adt, orm)
    assert [(f.code, f.place.path if f.place else "") for f in batch.findings] == [("GW-FMT-011", "BTS-1")]
    assert hl7v2.header(body).batch
    assert hl7v2.split_batch(adt).messages == (adt,)
    assert hl7v2.split_batch(adt + orm).messages == (adt, orm)
    assert hl7v2.split_batch(b"\xef\xbb\xbf" + adt + orm).messages == (adt, orm)  # a byte-order mark is not content
    with pytest.raises(Refused):
        hl7v2.split_batch(b"FHS|^~\\&|X\rFTS|0\r")


def test_a_missing_character_set_is_read_by_the_declared_default() -> None:
    """The default is the sender's setting, and the sender is told that it was used."""
    body = "MSH|^~\\&|A\rPID|1||1||Éprouvé^Test\r".encode("iso8859_1")
    with pytest.raises(Refused):
        hl7v2.read(body)
    message = hl7v2.read(body, charset="8859/1")
    assert _get(message, "PID-5.1") == ["Éprouvé"]
    assert [f.code for f in message.findings] == ["GW-FMT-008"]
