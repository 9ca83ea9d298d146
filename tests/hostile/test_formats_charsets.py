"""Character sets: 20 declared x 12 scripts x right, wrong, missing, changed mid-message.

The promise of each case: the bytes are kept, nothing is replaced, and the name arrives as it was meant, or the
sender is told (a refusal or a finding). What must never happen is a wrong name without a word.
"""

from __future__ import annotations

import itertools

import pytest

from gateway.errors import Refused, codes
from gateway.formats import hl7v2, text

DECLARED = (
    "ASCII", "8859/1", "8859/2", "8859/3", "8859/4", "8859/5", "8859/6", "8859/7", "8859/8", "8859/9", "8859/15",
    "WINDOWS-1256", "UNICODE UTF-8", "UNICODE UTF-16", "GB 18030-2000", "BIG-5", "KS X 1001", "ISO IR87",
    "CNS 11643-1992", "ISO IR6",
)  # fmt: skip

# script -> (family name, given name, the character set in which such a sender really writes). Invented people.
SCRIPTS = {
    "ascii": ("TestFamily", "PatientOne", "ASCII"),
    "french": ("Éprouvé-Testé", "Façade Noël", "8859/1"),
    "polish": ("Próbny-Źdźbło", "Łucja Żółć", "8859/2"),
    "turkish": ("Denemeoğlu", "Şule Işıl", "8859/9"),
    "cyrillic": ("Проверкин", "Тест Пациентович", "8859/5"),
    "greek": ("Δοκιμόπουλος", "Ασθενής Ένας", "8859/7"),
    "hebrew": ("בדיקהמן", "מטופל ראשון", "8859/8"),
    "arabic": ("الاختباري", "مريض تجريبي", "8859/6"),
    "persian": ("آزمایشی‌نژاد", "بیمار گچ‌پژ یک", "UNICODE UTF-8"),
    "simplified": ("测试㐂", "患者一𠮷", "GB 18030-2000"),
    "traditional": ("許功蓋", "育測試者", "BIG-5"),
    "korean": ("시험용", "환자하나", "KS X 1001"),
}
VARIANTS = ("right", "wrong", "missing", "changed")
CASES = list(itertools.product(DECLARED, SCRIPTS, VARIANTS))

HEAD = "MSH|^~\\&|HIS|HOSP|GW|GW|20260101103000+0000||ADT^A01^ADT_A01|C1|P|2.5.1||||||{charset}\r"
PATIENT = "PID|1||1^^^HOSP^MR||{family}^{given}||19790412|M\r"
RELATIVE = "NK1|1|{family}^{given}|SPO\r"


def _codec(name: str) -> str:
    found = text.charset(name)
    return found.codec if found else "utf-8"


def _encoded(words: str, charset: str, otherwise: str) -> bytes:
    """What a sending system puts on the wire when it writes in a character set, or cannot."""
    for codec in (_codec(charset), _codec(otherwise)):
        try:
            return words.encode(codec)
        except UnicodeEncodeError:
            continue
    return words.encode("utf-8")


def _message(declared: str, script: str, variant: str) -> bytes:
    family, given, native = SCRIPTS[script]
    head = HEAD.format(charset="" if variant == "missing" else declared)
    patient = PATIENT.format(family=family, given=given)
    relative = RELATIVE.format(family=family, given=given)
    if variant == "right":
        return _encoded(head + patient + relative, declared, "UNICODE UTF-8")
    if variant == "missing":
        return _encoded(head + patient + relative, native, "UNICODE UTF-8")
    other = native if _codec(native) != _codec(declared) else "UNICODE UTF-8"
    if _codec(other) == _codec(declared):
        other = "WINDOWS-1256" if script in ("arabic", "persian") else "GB 18030-2000"
    if variant == "wrong":
        return _encoded(head + patient + relative, other, "GB 18030-2000")
    first = _encoded(head + patient, declared, "UNICODE UTF-8")
    return first + _encoded(relative, other, "GB 18030-2000")


def _names(message: hl7v2.Message) -> set[tuple[str, str]]:
    def one(segment: str, field: int) -> tuple[str, str]:
        paths = (hl7v2.compile(f"{segment}-{field}.{n}") for n in (1, 2))
        family, given = (next((str(d.value) for d in message.get(p)), "") for p in paths)
        return family, given

    return {one("PID", 5), one("NK1", 2)}


def _read_or_refused(body: bytes) -> hl7v2.Message | Refused:
    try:
        return hl7v2.read(body)
    except Refused as refusal:
        return refusal


def test_there_are_960_cases() -> None:
    """The number that the plan asks for."""
    assert len(CASES) == 960


@pytest.mark.parametrize(("declared", "script", "variant"), CASES, ids=lambda v: str(v))
def test_names_arrive_as_meant_or_the_sender_is_told(declared: str, script: str, variant: str) -> None:
    """A wrong name without a word is the one outcome that is not allowed."""
    body = _message(declared, script, variant)
    message = _read_or_refused(body)
    if isinstance(message, Refused):
        assert message.code in codes()
        assert message.place is not None
        return
    assert message.body == body
    assert hl7v2.write(message) == body
    assert "�" not in "".join(segment.raw for segment in message.segments)
    meant = {SCRIPTS[script][:2]}
    told = [f.code for f in message.findings if f.severity != "information"]
    assert _names(message) == meant or told, f"{_names(message)} without a word"


def _holds(charset: str, script: str) -> bool:
    if text.charset(charset) is None:
        return False
    try:
        "".join(SCRIPTS[script][:2]).encode(_codec(charset))
    except UnicodeEncodeError:
        return False
    return True


HONEST = [(declared, script) for declared in DECLARED for script in SCRIPTS if _holds(declared, script)]


@pytest.mark.parametrize(("declared", "script"), HONEST)
def test_a_right_declaration_is_believed(declared: str, script: str) -> None:
    """The checks against wrong declarations must not turn honest senders away, or cry wolf."""
    family, given, _ = SCRIPTS[script]
    words = HEAD.format(charset=declared) + PATIENT.format(family=family, given=given)
    words += RELATIVE.format(family=family, given=given)
    message = hl7v2.read(words.encode(_codec(declared)))
    assert _names(message) == {(family, given)}
    assert message.findings == ()


@pytest.mark.parametrize("words", ["許功蓋", "育", "這裡許"])
def test_a_delimiter_byte_inside_a_character_is_no_delimiter(words: str) -> None:
    """Big5 and GB 18030 have characters whose second byte is a bar, a caret or a backslash."""
    for charset in ("BIG-5", "GB 18030-2000"):
        head = f"MSH|^~\\&|{words}|{words}|GW|GW|20260101||ADT^A01|C1|P|2.5.1||||||{charset}\rPID|1||1||{words}^x\r"
        message = hl7v2.read(head.encode(_codec(charset)))
        assert [d.value for d in message.get(hl7v2.compile("PID-5.1"))] == [words]
        assert [d.value for d in message.get(hl7v2.compile("MSH-3"))] == [words]
        assert hl7v2.header(message.body).application == words


def test_the_place_of_an_undecodable_byte_is_the_field() -> None:
    """The sender looks for a field, not for an offset."""
    body = HEAD.format(charset="UNICODE UTF-8").encode() + b"PID|1||1||Test\xff^One\r"
    with pytest.raises(Refused) as refusal:
        hl7v2.read(body)
    assert refusal.value.code == "GW-FMT-004"
    assert refusal.value.place is not None
    assert refusal.value.place.path == "PID-5"
