"""Acknowledgements: in the sender's own delimiters, version and character set, with every fault at its place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.errors import codes, finding
from gateway.formats import hl7v2
from gateway.message import Finding, Place

AT = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def _fault(path: str = "PID-3[2].4.2") -> Finding:
    place = Place(notation="hl7v2", path=path)
    return finding("GW-FMT-029", place, value="a|b^c", datatype="NM")


def test_the_answer_goes_back_where_the_message_came_from(adt: bytes) -> None:
    """MSH-3 to MSH-6 change sides, whole; the control id comes back."""
    answer = hl7v2.read(hl7v2.acknowledge(hl7v2.read(adt), "AA", "OUR-1", at=AT))
    fields = [answer.field("MSH", n) for n in (3, 4, 5, 6, 9, 10, 11, 12, 18)]
    assert fields == ["GW", "GATE", "HIS^1.2.3^ISO", "HOSP", "ACK^A01^ACK", "OUR-1", "P", "2.5.1", "UNICODE UTF-8"]
    assert (answer.field("MSA", 1), answer.field("MSA", 2)) == ("AA", "MSG0001")
    assert answer.field("MSH", 7) == "20260101120000+0000"
    assert "ERR" not in answer.index


def test_from_v25_on_each_fault_is_an_err_segment(adt: bytes) -> None:
    """ERR-2 is an ERL, ERR-3 of table 0357, ERR-4 the severity, ERR-5 our permanent code, ERR-8 the words."""
    answer = hl7v2.read(hl7v2.acknowledge(hl7v2.read(adt), "AE", "OUR-1", [_fault(), _fault("OBX[2]-5")]))
    first, second = answer.index["ERR"]
    assert first.fields[2] == "PID^1^3^2^4^2"
    assert first.fields[3] == "102^Data type error^HL70357"
    assert (first.fields[4], first.fields[5]) == ("E", "GW-FMT-029")
    assert "a|b^c is not a value of type NM." in str(answer.get(hl7v2.compile("ERR-8"))[0].value)
    assert second.fields[2] == "OBX^2^5^1"


def test_before_v25_faults_are_repetitions_of_err_1(adt: bytes) -> None:
    """ELD: segment, sequence, field, code; and MSA-3 says the first in words."""
    body = adt.replace(b"|2.5.1|", b"|2.3|")
    answer = hl7v2.read(hl7v2.acknowledge(hl7v2.read(body), "AE", "OUR-1", [_fault(), _fault("OBX[2]-5")]))
    (err,) = answer.index["ERR"]
    assert [part.split("^102&")[0] for part in err.fields[1].split("~")] == ["PID^1^3", "OBX^2^5"]
    assert answer.field("MSA", 3).startswith("a\\F\\b\\S\\c is not")
    assert answer.field("MSH", 9) == "ACK^A01"


def test_the_answer_speaks_the_sender_s_delimiters() -> None:
    """A sender with odd delimiters cannot read others."""
    message = hl7v2.read(b"MSH#*%$!#A#B#C#D###ADT*A01#7#P#2.5\rPID#1\r")
    answer = hl7v2.acknowledge(message, "AE", "1", [_fault()])
    assert answer.startswith(b"MSH#*%$!#C#D#A#B###ACK*A01*ACK#1#P#2.5")
    assert hl7v2.read(answer).field("ERR", 2) == "PID*1*3*2*4*2"


@pytest.mark.parametrize("charset", ["8859/6", "ASCII", "WINDOWS-1256", "GB 18030-2000", "UNICODE UTF-8", "ISO IR87"])
@pytest.mark.parametrize("language", ["en", "fa", "it", "zh"])
def test_the_answer_is_always_readable_in_the_sender_s_character_set(charset: str, language: str) -> None:
    """Words that the character set cannot hold are said in English, never as question marks."""
    head = f"MSH|^~\\&|A|B|C|D|||ADT^A01|7|P|2.5||||||{charset}\rPID|1\r"
    answer = hl7v2.read(hl7v2.acknowledge(hl7v2.read(head.encode()), "AE", "1", [_fault()], language=language))  # type: ignore[arg-type]
    assert answer.field("MSH", 18) == charset
    assert "?" not in answer.field("ERR", 8)


def test_even_what_cannot_be_read_is_answered(adt: bytes) -> None:
    """A header is enough for a whole answer; without one the standard's own delimiters serve."""
    head = hl7v2.read(hl7v2.acknowledge(hl7v2.header(adt), "AR", "OUR-1"))
    assert (head.field("MSH", 5), head.field("MSA", 2)) == ("HIS^1.2.3^ISO", "MSG0001")
    none = hl7v2.read(hl7v2.acknowledge(None, "AR", "OUR-1", [finding("GW-FMT-001")]))
    assert (none.field("MSA", 1), none.field("ERR", 2)) == ("AR", "")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("PID", ("PID", "1")),
        ("OBX[3]", ("OBX", "3")),
        ("OBX[3]-5", ("OBX", "3", "5", "1")),
        ("PID-3[2].1", ("PID", "1", "3", "2", "1")),
        ("PID-3.4.2", ("PID", "1", "3", "1", "4", "2")),
        ("segment 2", ()),
    ],
)
def test_places_become_error_locations(path: str, expected: tuple[str, ...]) -> None:
    """ERL, chapter 2A: counts start at one and are written even when they are one."""
    assert hl7v2.location(Place(notation="hl7v2", path=path)) == expected


def test_places_of_other_formats_are_no_error_locations() -> None:
    """A row of a table is not a segment."""
    assert hl7v2.location(Place(notation="table", path="row 7")) == ()
    assert hl7v2.location(None) == ()


def test_every_code_says_the_same_in_four_languages() -> None:
    """The placeholders of a text are the same in every language, so that nothing is missing in one of them."""
    import string

    def names(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    for code, row in codes().items():
        if code.startswith("GW-FMT-"):
            for texts in (row.text, row.mend):
                assert len({frozenset(map(str, names(t))) for t in texts.values()}) == 1, code
