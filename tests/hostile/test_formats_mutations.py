"""3,000 damaged HL7 v2 messages: 30 samples x 100 named mutations, every one read whole or refused with a code.

A traceback would stop a receiver, a hang would stop all of them, and a message read in part would lose data.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from gateway.errors import Refused, codes
from gateway.formats import hl7v2
from gateway.formats.hl7v2_conformance import check

SECONDS = 2.0
"""Processor time that one message may take, on a slow and busy machine."""

# --- samples: invented people, all of them ----------------------------------------

_BODIES = {
    "ADT^A01^ADT_A01": "EVN|A01|20260101103000|||1^Clerk^Test\rPID|1||0012345679^^^NOCR^NI~99^^^HOSP&1.2.3&ISO^MR||"
    "Test^Patient-One^Q||19790412|M|||1 Test Street^^Testville^TS^12345^IR^H||^PRN^PH^^98^21^5550101\r"
    "NK1|1|Test^Relative-One|SPO^Spouse^HL70063\rPV1|1|I|WARD1^101^A^HOSP|E|||1234^Doctor^Test^^^Dr\r"
    "AL1|1|DA|PEN^Penicillin^L|SV|Rash\rDG1|1||I21.9^Infarction^I10||20260101|A\rZIR|1|local^text\r",
    "ADT^A03^ADT_A03": "EVN|A03|20260109\rPID|1||7^^^H^MR||Test^Two||1960|F\rPV1|1|I\rDG1|1||E11^x^I10|||F\r",
    "ADT^A08^ADT_A01": 'EVN|A08|20260109\rPID|1||7^^^H^MR||Test^Three^""||""|F\rPV1|1|O\rOBX|1|NM|1^h^LN||70.5|kg\r',
    "ADT^A40^ADT_A39": "EVN|A40|20260109\rPID|1||7^^^H^MR||Test^Four\rMRG|8^^^H^MR\r",
    "ORM^O01^ORM_O01": "PID|1||7^^^H^MR||Test^Five\rPV1|1|O\rORC|NW|1^H\rOBR|1|1^H||33^Visit^L\r"
    "NTE|1||free text with \\T\\ and \\.br\\ lines\r",
    "ORU^R01^ORU_R01": "PID|1||7^^^H^MR||Test^Six\rOBR|1|1|2|24323-8^Panel^LN\rOBX|1|NM|2345-7^Glucose^LN||5.5"
    "|mmol/L|||||F\rOBX|2|ST|1^t^L||a~b^c&d||||||F\rOBX|3|DT|1^t^L||20260230||||||F\r",
    "SIU^S12^SIU_S12": "SCH|1^H|||||R^Routine|B^Booked^L||30|min^minutes|^^30^20260201083000\rPID|1||7^^^H^MR||T^Seven"
    "\rRGS|1\rAIS|1||V^Visit^L|20260201083000\rAIP|1||5^Doc\r",
    "DFT^P03^DFT_P03": "EVN|P03|20260109\rPID|1||7^^^H^MR||Test^Eight\rPV1|1|I\rFT1|1|||20260105||CG|T1^Bed^L|||3|100"
    "\rFT1|2|||20260106||CG|T2^Lab^L|||1|20\r",
    "OML^O21^OML_O21": "PID|1||7^^^H^MR||Test^Nine\rORC|NW|1\rTQ1|1\rOBR|1|1||1^x^L\rSPM|1|||B^Blood\r",
    "REF^I12^REF_I12": "RF1|A|R|M|||1^H\rPRD|RP|Doc^Test\rPID|1||7^^^H^MR||Test^Ten\r",
}
_VERSIONS = ("2.3", "2.5.1", "2.8")


def _sample(kind: str, version: str) -> bytes:
    head = (
        f"MSH|^~\\&|HIS^1.2^ISO|HOSP|GW|GW|20260101103000+0330||{kind}|C{version}|P|{version}|||AL|NE||UNICODE UTF-8\r"
    )
    return (head + _BODIES[kind].replace("Test^", "آزمایشی^", 1)).encode()


SAMPLES = {f"{kind[:7]} {version}": _sample(kind, version) for kind in _BODIES for version in _VERSIONS}

# --- mutations ----------------------------------------

Mutation = Callable[[bytes, random.Random], bytes]


def _swap(old: bytes, new: bytes, count: int = -1) -> Mutation:
    return lambda body, _: body.replace(old, new, count)


def _msh(field: int, value: bytes) -> Mutation:
    def mutate(body: bytes, _: random.Random) -> bytes:
        line, _, rest = body.partition(b"\r")
        fields = line.split(b"|")
        fields[field - 1] = value
        return b"|".join(fields) + b"\r" + rest

    return mutate


def _second(change: Callable[[list[bytes]], list[bytes]]) -> Mutation:
    def mutate(body: bytes, _: random.Random) -> bytes:
        return b"\r".join(change(body.split(b"\r")))

    return mutate


def _at(fraction: float, new: bytes) -> Mutation:
    def mutate(body: bytes, _: random.Random) -> bytes:
        at = int(len(body) * fraction)
        return body[:at] + new + body[at:]

    return mutate


def _cut(fraction: float) -> Mutation:
    return lambda body, _: body[: int(len(body) * fraction)]


def _noise(count: int, body: bytes, source: random.Random) -> bytes:
    out = bytearray(body)
    for _ in range(count):
        out[source.randrange(len(out))] = source.randrange(256)
    return bytes(out)


def _shuffled(body: bytes, source: random.Random) -> bytes:
    head, *rest = body.rstrip(b"\r").split(b"\r")
    source.shuffle(rest)
    return b"\r".join([head, *rest, b""])


MUTATIONS: dict[str, Mutation] = {
    "empty": lambda body, _: b"",
    "only MSH": lambda body, _: body[: body.index(b"\r") + 1],
    "lone MSH and delimiters": lambda body, _: b"MSH|^~\\&",
    "three letters": lambda body, _: b"MSH",
    "no MSH": lambda body, _: body[body.index(b"\r") + 1 :],
    "lower case msh": _swap(b"MSH", b"msh"),
    "MSH twice": lambda body, _: body + body,
    "MSH in the middle": lambda body, _: body + body.split(b"\r")[0] + b"\r",
    "batch around": lambda body, _: b"FHS|^~\\&\rBHS|^~\\&\r" + body + b"BTS|1\rFTS|1\r",
    "trailer only": lambda body, _: body + b"BTS|1\rFTS|1\r",
    "encoding characters empty": _swap(b"|^~\\&|", b"||", 1),
    "encoding characters three": _swap(b"|^~\\&|", b"|^~\\|", 1),
    "encoding characters five": _swap(b"|^~\\&|", b"|^~\\&#|", 1),
    "encoding characters six": _swap(b"|^~\\&|", b"|^~\\&#%|", 1),
    "encoding characters equal": _swap(b"|^~\\&|", b"|^^^^|", 1),
    "encoding characters letters": _swap(b"|^~\\&|", b"|abcd|", 1),
    "encoding characters with bar": _swap(b"^~\\&|", b"^~\\|&", 1),
    "other delimiters declared": _swap(b"|^~\\&|", b"|$%*!|", 1),
    "other delimiters used": lambda b, _: b.replace(b"^", b"$").replace(b"~", b"%").replace(b"&", b"!"),
    "field separator hash": _swap(b"|", b"#"),
    "field separator space": _swap(b"|", b" "),
    "field separator CR": _swap(b"|", b"\r"),
    "field separator NUL": _swap(b"|", b"\x00"),
    "field separator letter": _swap(b"|", b"Q"),
    "field separator missing in MSH": _swap(b"MSH|", b"MSH", 1),
    "component as repetition": _swap(b"^", b"~"),
    "escape never closed": _at(0.6, b"\\F"),
    "escape empty": _at(0.6, b"\\\\"),
    "escape unknown": _at(0.6, b"\\Q99\\"),
    "escape hexadecimal": _at(0.6, b"\\X41C3A9\\"),
    "escape hexadecimal odd": _at(0.6, b"\\X414\\"),
    "escape hexadecimal NUL": _at(0.6, b"\\X00\\"),
    "escape hexadecimal long": _at(0.6, b"\\X" + b"41" * 5000 + b"\\"),
    "escape charset single": _at(0.6, b"\\C2842\\"),
    "escape charset multi": _at(0.6, b"\\M244200\\"),
    "escape charset shift": _at(0.6, b"\\M2442\\F|\\C2842\\"),
    "escape local": _at(0.6, b"\\Z1\\"),
    "escape skip huge": _at(0.6, b"\\.sp999999999\\"),
    "escape nested": _at(0.6, b"\\E\\F\\E\\"),
    "escapes by the thousand": _at(0.6, b"\\F\\" * 5000),
    "escape characters only": _at(0.6, b"\\" * 5001),
    "version empty": _msh(12, b""),
    "version 9.9": _msh(12, b"9.9"),
    "version words": _msh(12, b"two point five"),
    "version with components": _msh(12, b"2.5.1^IRN^x&y"),
    "version long": _msh(12, b"2" * 5000),
    "type empty": _msh(9, b""),
    "type unknown": _msh(9, b"XYZ^Q99"),
    "type one component": _msh(9, b"ADT"),
    "type path": _msh(9, b"../../etc^passwd"),
    "type repeated": _msh(9, b"ADT^A01~ADT^A02"),
    "type sub-components": _msh(9, b"ADT&x^A01&y"),
    "control id empty": _msh(10, b""),
    "control id long": _msh(10, b"9" * 100_000),
    "charset unknown": _msh(18, b"KLINGON"),
    "charset ASCII": _msh(18, b"ASCII"),
    "charset 8859/1": _msh(18, b"8859/1"),
    "charset UTF-16": _msh(18, b"UNICODE UTF-16"),
    "charset repeated": _msh(18, b"UNICODE UTF-8~ISO IR87"),
    "charset python codec": _msh(18, b"idna"),
    "charset rot13": _msh(18, b"rot13"),
    "charset zlib": _msh(18, b"zlib_codec"),
    "really UTF-16": lambda body, _: body.decode().encode("utf-16"),
    "really UTF-16 without mark": lambda body, _: body.decode().encode("utf-16-be"),
    "really UTF-32": lambda body, _: body.decode().encode("utf-32"),
    "byte order mark": lambda body, _: b"\xef\xbb\xbf" + body,
    "lone surrogate": _at(0.5, b"\xed\xa0\x80"),
    "overlong": _at(0.5, b"\xc0\xaf"),
    "byte FF": _at(0.5, b"\xff"),
    "NUL": _at(0.5, b"\x00"),
    "bell": _at(0.5, b"\x07"),
    "escape byte": _at(0.5, b"\x1b$B"),
    "start block": lambda body, _: b"\x0b" + body + b"\x1c\r",
    "start block inside": _at(0.5, b"\x0b"),
    "end block inside": _at(0.5, b"\x1c\r"),
    "line feeds": _swap(b"\r", b"\n"),
    "CR LF": _swap(b"\r", b"\r\n"),
    "LF CR": _swap(b"\r", b"\n\r"),
    "line feed in a field": _at(0.7, b"\n"),
    "blank lines": _swap(b"\r", b"\r\r\r"),
    "no last CR": lambda body, _: body.rstrip(b"\r"),
    "leading blank": lambda body, _: b" \r\n" + body,
    "vertical line separators": _swap(b"\r", "\u2028".encode()),
    "cut at a third": _cut(0.33),
    "cut at two thirds": _cut(0.66),
    "cut one byte": lambda body, _: body[:-2],
    "segment name cut": _second(lambda lines: [*lines[:1], lines[1][:2], *lines[2:]]),
    "segment name long": _second(lambda lines: [*lines[:1], b"X" + lines[1], *lines[2:]]),
    "segment without fields": _second(lambda lines: [*lines[:1], lines[1][:3], *lines[2:]]),
    "segment repeated by the thousand": _second(lambda lines: [*lines[:2], *([lines[2]] * 1000), *lines[2:]]),
    "unknown segment": _second(lambda lines: [*lines[:1], b"QQQ|1|2", *lines[1:]]),
    "Z-segment first": _second(lambda lines: [lines[0], b"ZZZ|1^2&3~4", *lines[1:]]),
    "shuffled": _shuffled,
    "ten thousand fields": _at(0.95, b"|x" * 10_000),
    "ten thousand components": _at(0.95, b"^x" * 10_000),
    "ten thousand repetitions": _at(0.95, b"~x" * 10_000),
    "thousand sub-components deep": _at(0.95, b"&^~" * 1000),
    "a megabyte of text": _at(0.95, b"x" * 1_000_000),
    "ten bytes of noise": partial(_noise, 10),
    "a hundred bytes of noise": partial(_noise, 100),
}


def test_there_are_3000() -> None:
    """The number that the plan asks for."""
    assert len(SAMPLES) * len(MUTATIONS) == 3000


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_are_read_and_answered(sample: str) -> None:
    """Without damage nothing is refused; otherwise the mutations would prove nothing."""
    message = hl7v2.read(SAMPLES[sample])
    assert hl7v2.write(message) == SAMPLES[sample]
    assert message.findings == ()


def _read_all(body: bytes) -> hl7v2.Message | Refused:
    """Everything that a receiver and a mapper do to a message."""
    with suppress(Refused):
        hl7v2.header(body)
    with suppress(Refused):
        hl7v2.split_batch(body)
    try:
        message = hl7v2.read(body)
    except Refused as refusal:
        return refusal
    assert hl7v2.write(message) == body
    leaves = message.leaves()
    assert len({datum.leaf for datum in leaves}) == len(leaves)
    assert all(0 <= datum.leaf < message.size for datum in leaves)
    for datum in leaves[:50]:
        assert [d.leaf for d in message.get(hl7v2.compile(datum.place.path))][:1] == [datum.leaf], datum.place.path
    found = check(message)
    answer = hl7v2.read(hl7v2.acknowledge(message, "AE", "A1", found))
    assert answer.field("MSA", 1) == "AE"
    assert answer.field("MSA", 2) == message.field("MSH", 10)
    return message


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_damaged_message_is_read_whole_or_refused(mutation: str) -> None:
    """Whole means: the same bytes come out, every leaf has a number of its own, and it can be answered."""
    for name, sample in SAMPLES.items():
        body = MUTATIONS[mutation](sample, random.Random(f"{name} {mutation}"))
        started = time.process_time()
        result = _read_all(body)
        assert time.process_time() - started < SECONDS, name
        if isinstance(result, Refused):
            assert result.code in codes(), name
            assert result.finding().severity == "error"


@pytest.mark.parametrize("sample", list(SAMPLES)[:6])
def test_every_prefix_is_read_whole_or_refused(sample: str) -> None:
    """A connection may break at any byte."""
    body = SAMPLES[sample]
    for end in range(len(body)):
        result = _read_all(body[:end]) if end % 16 == 0 else _quick(body[:end])
        if isinstance(result, Refused):
            assert result.code in codes()


def _quick(body: bytes) -> hl7v2.Message | Refused:
    try:
        return hl7v2.read(body)
    except Refused as refusal:
        return refusal
