"""Reading HL7 v2 (2.1 to 2.8 and later): bytes -> messages, nothing lost, nothing replaced.

Decode first, split afterwards: in GB 18030 and Big5 a delimiter byte may be half of a character. The character
set is MSH-18; where that is empty, a default that the sender declared elsewhere (settings) or UTF-8, which contains
the ASCII that the standard presumes. Bytes that do not decode are refused with their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import msgspec

from gateway.errors import TooLarge, Unreadable, finding
from gateway.formats import text as texts
from gateway.formats.hl7v2_message import HEADERS, Message, Segment
from gateway.formats.hl7v2_text import Delimiters
from gateway.formats.plausible import better_reading, contradiction, suspicion
from gateway.message import Finding, Place

DEFAULT_CHARSET: Final = "UNICODE UTF-8"
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_SEGMENTS: Final = 100_000
_SAMPLE: Final = 65536  # what is judged for plausibility

_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be"),
                (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))  # fmt: skip
_WIDE: Final = ((b"M\x00S\x00", "utf-16-le"), (b"\x00M\x00S", "utf-16-be"))
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_CONTROL_BYTES: Final = bytes(n for n in range(32) if n not in (9, 10, 13, 27))
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_START: Final = re.compile(rb"(?:(?<=[\r\n\x0b])|\A)(?:MSH|FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9\r\n])")
_ENDS: Final = re.compile(r"\r\n?|\n")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the door needs of MSH. Every field is as sent; absent ones are empty."""

    delimiters: Delimiters
    application: str  # MSH-3.1
    facility: str  # MSH-4.1
    type: str  # MSH-9 with "^": "ADT^A03^ADT_A03"
    control_id: str  # MSH-10
    processing: str  # MSH-11.1
    version: str  # MSH-12.1
    accept_ack: str  # MSH-15
    application_ack: str  # MSH-16
    charset: str  # MSH-18, first repetition
    batch: bool = False  # the input began with FHS or BHS
    fields: tuple[str, ...] = ()  # raw; fields[n] is MSH-n


def _refuse(code: str, path: str, **args: str) -> Unreadable:
    return Unreadable(code, Place(notation="hl7v2", path=path), **args)


def _delimiters(line: str) -> Delimiters:
    if len(line) < 8 or line[:3] not in HEADERS:
        raise _refuse("GW-FMT-001", "MSH")
    separator = line[3]
    encoding = line[4:].split(separator, 1)[0]
    every = separator + encoding
    if len(encoding) not in (4, 5) or len(set(every)) != len(every) or not all(map(_may_delimit, every)):
        raise _refuse("GW-FMT-002", "MSH-2", found=encoding[:8])
    component, repetition, escape, sub = list(encoding[:4])
    return Delimiters(separator, component, repetition, escape, sub, encoding[4:])


def _may_delimit(character: str) -> bool:
    return "!" <= character <= "~" and not character.isalnum() and character != '"'


def _declared(line: str) -> str:
    """MSH-18 of a decoded first line: the repetition with ISO 2022 shifts, else the first that is not empty."""
    if len(line) < 8 or line[:3] != "MSH":
        return ""
    fields = line.split(line[3], 19)
    if len(fields) < 18 or len(fields[1]) < 2:
        return ""
    names = [part.strip() for part in fields[17].split(fields[1][1]) if part.strip()]
    shifting = (name for name in names[1:] if _codec_or(name, "").startswith("iso2022"))
    return next(shifting, names[0] if names else "")


_TRICKY: Final = ("big5", "gb18030", "gbk", "big5hkscs", "shift_jis")
"""Codecs in which a delimiter byte may be half of a character."""


def _declared_in(line: bytes) -> str:
    """MSH-18 of a first line whose own character set is not known yet."""
    naive = _declared(line.decode("latin-1"))
    if line.isascii():
        return naive
    for codec in _TRICKY:
        try:
            again = _declared(line.decode(codec))
        except UnicodeDecodeError:
            continue
        if again and _codec_or(again, "") == codec:
            return again
    return naive


def _codec_or(name: str, otherwise: str) -> str:
    found = texts.charset(name) if name else None
    return found.codec if found else otherwise


def _first_line(body: bytes) -> bytes:
    end = len(body)
    for mark in (b"\r", b"\n"):
        at = body.find(mark, 0, end)
        end = end if at < 0 else at
    return body[:end]


def _unwrapped(body: bytes) -> tuple[int, str | None]:
    """Where the content begins (after a BOM, an MLLP start block, blank lines), and the codec that the BOM tells."""
    for mark, codec in _BOMS:
        if body.startswith(mark):
            return len(mark), codec
    for mark, codec in _WIDE:
        if body.startswith(mark):
            return 0, codec
    stripped = body.lstrip(b"\x0b\r\n")
    return len(body) - len(stripped), None


def header(body: bytes) -> Header:
    """MSH alone, without reading the rest. Raises `Unreadable`, nothing else."""
    start, wide = _unwrapped(body[:4096])
    if wide and wide != "utf-8":
        line = _ENDS.split(body[start : start + 65536].decode(wide, "ignore"), maxsplit=1)[0]
        return _header(line, batch=False)
    batch = body[start : start + 3] in (b"FHS", b"BHS")
    if batch:
        found = re.search(rb"[\r\n]MSH", body)
        if found is None:
            raise _refuse("GW-FMT-012", "MSH")
        start = found.start() + 1
    raw = _first_line(body[start : start + 65536])
    codec = wide or _codec_or(_declared_in(raw), "utf-8")
    try:
        return _header(raw.decode(codec), batch)
    except UnicodeDecodeError as error:
        raise _undecodable(raw, error, codec) from None


def _header(line: str, batch: bool) -> Header:
    if line[:3] != "MSH":
        raise _refuse("GW-FMT-001", "MSH")
    d = _delimiters(line)
    fields = ["", d.field, *line.split(d.field)[1:]]
    fields += [""] * (20 - len(fields))

    def first(n: int) -> str:
        return fields[n].split(d.repetition)[0].split(d.component)[0].split(d.subcomponent)[0]

    return Header(
        delimiters=d,
        application=first(3),
        facility=first(4),
        type=fields[9].split(d.repetition)[0].replace(d.component, "^"),
        control_id=fields[10],
        processing=first(11),
        version=first(12),
        accept_ack=fields[15],
        application_ack=fields[16],
        charset=_declared(line),
        batch=batch,
        fields=tuple(fields),
    )


def _undecodable(body: bytes, error: UnicodeDecodeError, charset: str) -> Unreadable:
    """The refusal, with the field in which the first bad byte stands."""
    before = body[: error.start].replace(b"\n", b"\r")
    segment = before.rsplit(b"\r", 1)[-1]
    name = segment[:3].decode("ascii", "ignore")
    field = segment.count(body[3:4] if body[:3] == b"MSH" else b"|") + (name == "MSH")
    path = f"{name}-{field}" if _NAME.fullmatch(name) and field else (name or "MSH")
    return _refuse("GW-FMT-004", path, charset=charset, offset=str(error.start))


def read(body: bytes, charset: str = DEFAULT_CHARSET, max_bytes: int = MAX_BYTES) -> Message:
    """One message. `charset` is used where MSH-18 is empty.

    Raises `Unreadable` or `TooLarge`, nothing else. What is odd but readable stands in `message.findings`.
    """
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    start, wide = _unwrapped(body)
    content = body[start:] if start else body
    declared = "" if wide and wide != "utf-8" else _declared_in(_first_line(content))
    known = texts.charset(declared or charset)
    if known is None:
        raise _refuse("GW-FMT-003", "MSH-18", charset=(declared or charset)[:40])
    codec = wide or known.codec
    text = _decoded(content, codec, known)
    first_line = _ENDS.split(text[:65536], maxsplit=1)[0]
    message = Message(body, _delimiters(first_line), declared, codec)
    message.bom = body[:start]
    _split(message, text)
    message.findings = () if wide else tuple(_remarks(content, text, declared, known, charset))
    return message


def _decoded(content: bytes, codec: str, known: texts.Charset) -> str:
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        raise _undecodable(content, error, known.name) from None
    if len(content.translate(None, _CONTROL_BYTES)) != len(content) or "\x1b" in text:
        found = _CONTROL.search(text.rstrip("\x1c\r\n"))
        if found:
            before = content[: len(text[: found.start()].encode(codec, "replace"))]
            place = _place_before(before)
            raise _refuse("GW-FMT-005", place, found=f"{ord(found[0]):02X}")
    if known.single_byte and not content.isascii() and contradiction(content, text):
        raise _refuse("GW-FMT-009", "MSH-18", charset=known.name)
    return text


def _place_before(before: bytes) -> str:
    segment = before.replace(b"\n", b"\r").rsplit(b"\r", 1)[-1]
    name = segment[:3].decode("ascii", "ignore")
    count = segment.count(b"|") + (name == "MSH")
    return f"{name}-{count}" if _NAME.fullmatch(name) and count else (name or "MSH")


def _remarks(content: bytes, text: str, declared: str, known: texts.Charset, default: str) -> Iterator[Finding]:
    if text.isascii():
        return
    place = Place(notation="hl7v2", path="MSH-18")
    if not declared:
        yield finding("GW-FMT-008", place, charset=default)
    if known.codec not in ("utf-8", "ascii"):
        text, content = text[:_SAMPLE], content[:_SAMPLE] if known.single_byte else content
        utf8 = not known.single_byte and contradiction(content, text)
        why = "also UTF-8" if utf8 else suspicion(text, known.codec)
        other = better_reading(content, text, known.codec) if known.single_byte and not why else ""
        if why or other:
            why = why or f"likelier {other}"
            yield finding("GW-FMT-010", place, charset=known.name, why=why)


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(segment, its end). Where CR ends segments, a LF inside one is text unless a segment starts after it."""
    if "\n" not in text:
        *whole, last = text.split("\r")
        for part in whole:
            yield part, "\r"
        yield last, ""
        return
    pattern = r"\r\n?|\n(?=[A-Z][A-Z0-9]{2}(?:[^A-Za-z0-9\s]|[\r\n]|$))|\n(?=\s*$)" if "\r" in text else r"\n"
    pieces = re.split(f"({pattern})", text)
    pieces.append("")
    for i in range(0, len(pieces), 2):
        yield pieces[i], pieces[i + 1]


def _split(message: Message, text: str) -> None:
    frame, first = message.frame, 0
    separator = frame.delimiters.field
    segments: list[Segment] = []
    index: dict[str, list[Segment]] = {}
    for raw, end in _lines(text):
        fields = raw.split(separator)
        name = fields[0]
        if len(name) != 3 or not _NAME.fullmatch(name):
            if not raw.strip("\x1c \t"):
                _keep_blank(segments, raw, end)
                continue
            raise _refuse("GW-FMT-006", f"segment {len(segments) + 1}", name=name[:8])
        if name in HEADERS:
            if segments:
                raise _refuse("GW-FMT-007", f"{name}[2]")
            fields.insert(1, separator)
        same = index.setdefault(name, [])
        segment = Segment(frame, raw, end, first, len(same) + 1, fields)
        first += segment.size
        same.append(segment)
        segments.append(segment)
    if len(segments) > MAX_SEGMENTS:
        raise TooLarge("GW-CORE-004", what="segments", actual=str(len(segments)), limit=str(MAX_SEGMENTS))
    message.segments, message._index = segments, index


def _keep_blank(segments: list[Segment], raw: str, end: str) -> None:
    if segments:
        segments[-1].end += raw + end


# --- batches ----------------------------------------


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes of each message of a file, in order, and what is wrong with the envelope."""

    messages: tuple[bytes, ...]
    findings: tuple[Finding, ...] = ()


def split_batch(body: bytes) -> Batch:
    """Take a file apart: FHS, BHS, messages, BTS, FTS (chapter 2, section 2.10.3), or messages one after another.

    Each message can be read by itself; concatenating is not undone, the bytes of the whole are the caller's.
    Raises `Unreadable` when there is no message.
    """
    start, wide = _unwrapped(body)
    if wide and wide != "utf-8":
        return Batch(messages=(body,))
    body = body[start:]
    marks = [(m.start(), m[0][:3]) for m in _START.finditer(body)]
    marks.append((len(body), b""))
    messages: list[bytes] = []
    findings: list[Finding] = []
    in_batch = 0
    for (at, name), (until, _) in pairwise(marks):
        if name == b"MSH":
            messages.append(body[at:until].rstrip(b"\x1c\x0b"))
            in_batch += 1
        elif name == b"BHS":
            in_batch = 0
        elif name == b"BTS":
            findings.extend(_count(body[at:until], "BTS-1", in_batch))
    if not messages:
        raise _refuse("GW-FMT-012", "MSH")
    batches = sum(name == b"BHS" for _, name in marks)
    for (at, name), (until, _) in pairwise(marks):
        if name == b"FTS" and batches:
            findings.extend(_count(body[at:until], "FTS-1", batches))
    return Batch(messages=tuple(messages), findings=tuple(findings))


def _count(segment: bytes, path: str, actual: int) -> Iterator[Finding]:
    fields = _first_line(segment).split(segment[3:4])
    told = fields[1].decode("ascii", "ignore").strip() if len(fields) > 1 else ""
    if told and told != str(actual):
        yield finding("GW-FMT-011", Place(notation="hl7v2", path=path), told=told[:12], actual=str(actual))
