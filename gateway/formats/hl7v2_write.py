"""Writing HL7 v2: a read message as it came, new segments, and acknowledgements (chapter 2, sections 2.9 and 2.15)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from gateway import errors
from gateway.formats import text as texts
from gateway.formats.hl7v2_message import Message
from gateway.formats.hl7v2_read import Header
from gateway.formats.hl7v2_text import STANDARD, Delimiters, escape
from gateway.message import Finding, Language, Place

Value = str | Sequence["str | Sequence[str]"]
"""A field: text, or components, each text or sub-components. Everything is escaped."""

_PLACE: Final = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:-(\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?)?")
_SEVERITY: Final = {"error": "E", "warning": "W", "information": "I"}
_MAX_ERRORS: Final = 100


def write(message: Message) -> bytes:
    """The bytes of the message, made from its parts. Equal to what was read.

    A few encodings can say one text in two ways (ISO 2022 shifts, for example); there the kept bytes are given.
    """
    joined = message.bom
    try:
        joined += "".join(segment.raw + segment.end for segment in message.segments).encode(message.codec)
    except UnicodeEncodeError:
        return message.body
    return joined if joined == message.body else message.body


def field(value: Value, delimiters: Delimiters = STANDARD) -> str:
    """One field as text, escaped; empty components at its end are left out."""
    if isinstance(value, str):
        return escape(value, delimiters)
    parts = [part if isinstance(part, str) else list(part) for part in value]
    made = [
        escape(part, delimiters)
        if isinstance(part, str)
        else delimiters.subcomponent.join(escape(sub, delimiters) for sub in part).rstrip(delimiters.subcomponent)
        for part in parts
    ]
    return delimiters.component.join(made).rstrip(delimiters.component)


def segment(name: str, values: Sequence[Value], delimiters: Delimiters = STANDARD) -> str:
    """One segment without its end; `values[0]` is field 1. For a header segment, `values[0]` is its field 3."""
    lead = name + delimiters.field + delimiters.encoding if name in ("MSH", "FHS", "BHS") else name
    made = [lead, *(field(value, delimiters) for value in values)]
    return delimiters.field.join(made).rstrip(delimiters.field) if name != "MSH" else delimiters.field.join(made)


def location(place: Place | None) -> tuple[str, ...]:
    """The components of an ERL: segment, occurrence, field, repetition, component, sub-component.

    Only those that the place names; () where the place is not in an HL7 v2 message.
    """
    found = _PLACE.fullmatch(place.path) if place is not None and place.notation == "hl7v2" else None
    if found is None:
        return ()
    name, occurrence, number, repetition, component, sub = found.groups()
    parts = [name, occurrence or "1"]
    if number:
        parts += [number, repetition or "1"]
    if component:
        parts.append(component)
    if sub:
        parts.append(sub)
    return tuple(parts)


def acknowledge(
    to: Message | Header | None,
    code: str,
    control_id: str,
    found: Sequence[Finding] = (),
    *,
    at: datetime | None = None,
    language: Language = "en",
    text: str = "",
) -> bytes:
    """An ACK in the sender's own delimiters, version and character set.

    `to` is the message, or its header where the rest could not be read, or None where not even that. `code` is of
    table 0008 (AA, AE, AR, CA, CE, CR). Findings become ERR segments from v2.5 on, ERR-1 repetitions before. Text
    that the character set cannot hold is said in English instead.
    """
    asked = _Asked(to)
    for words in dict.fromkeys((language, "en")):
        made = _ack(asked, code, control_id, found[:_MAX_ERRORS], at, words, text)
        try:
            return made.encode(asked.codec)
        except UnicodeEncodeError:
            continue
    return made.encode(asked.codec, "backslashreplace")


class _Asked:
    """What an acknowledgement repeats of the message that it answers."""

    def __init__(self, to: Message | Header | None) -> None:
        self.delimiters = to.delimiters if to is not None else STANDARD
        charset = to.charset if to is not None else ""
        known = texts.charset(charset) if charset else None
        self.charset = charset if known else ""
        self.codec = known.codec if known else "utf-8"
        self.raw = ["", "", "", "", "", "", ""]
        self.event = ""
        if isinstance(to, Message):
            self.raw = [to.field("MSH", n) for n in (3, 4, 5, 6, 10, 11, 12)]
            self.event = to.field("MSH", 9)
            self.codec = to.codec if not charset else self.codec
        elif to is not None and len(to.fields) > 12:
            self.raw = [to.fields[n] for n in (3, 4, 5, 6, 10, 11, 12)]
            self.event = to.fields[9]
        if self.codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            self.codec, self.charset = "utf-8", "UNICODE UTF-8"

    @property
    def version(self) -> tuple[int, ...]:
        number = self.raw[6].split(self.delimiters.component)[0]
        parts = number[:12].split(".")
        return tuple(int(n) for n in parts if n.isascii() and n.isdigit()) or (2, 5)


def _ack(
    asked: _Asked,
    code: str,
    control_id: str,
    found: Sequence[Finding],
    at: datetime | None,
    language: Language,
    text: str,
) -> str:
    d = asked.delimiters
    body = [_msa(asked, code, text or _summary(found, language))]
    body += _errors_25(found, language, d) if asked.version >= (2, 5) else _errors_before(found, language, d)
    charset = asked.charset or ("" if "".join(body).isascii() else "UNICODE UTF-8")
    return "\r".join([_msh(asked, control_id, at, charset), *body]) + "\r"


def _msh(asked: _Asked, control_id: str, at: datetime | None, charset: str) -> str:
    d = asked.delimiters
    application, facility, to_application, to_facility, _, processing, version = asked.raw
    event = [*asked.event.split(d.component), "", ""][1]
    kind = ["ACK", *([event] if event else [])]
    if asked.version >= (2, 4):
        kind = ["ACK", event, "ACK"]
    stamp = at.strftime("%Y%m%d%H%M%S%z") if at else ""
    fields = ["MSH", d.encoding, to_application, to_facility, application, facility, stamp, "",
              d.component.join(kind), escape(control_id, d), processing or "P", version or "2.5"]  # fmt: skip
    if charset:
        fields += ["", "", "", "", "", charset]
    return d.field.join(fields)


def _msa(asked: _Asked, code: str, text: str) -> str:
    d = asked.delimiters
    parts = ["MSA", code, asked.raw[4]]
    if text and asked.version < (2, 5):
        parts.append(escape(text[:80], d))
    return d.field.join(parts)


def _summary(found: Sequence[Finding], language: Language) -> str:
    return errors.text(found[0], language) if found else ""


def _hl7_code(finding: Finding) -> str:
    row = errors.codes().get(finding.code)
    return row.hl7 if row else "207"


_TABLE_0357: Final = {
    "0": "Message accepted", "100": "Segment sequence error", "101": "Required field missing",
    "102": "Data type error", "103": "Table value not found", "104": "Value too long",
    "200": "Unsupported message type", "201": "Unsupported event code", "202": "Unsupported processing id",
    "203": "Unsupported version id", "204": "Unknown key identifier", "205": "Duplicate key identifier",
    "206": "Application record locked", "207": "Application error",
}  # fmt: skip


def _errors_25(found: Sequence[Finding], language: Language, d: Delimiters) -> list[str]:
    out = []
    for each in found:
        number = _hl7_code(each)
        code = (number, _TABLE_0357.get(number, ""), "HL70357")
        detail = " ".join(part for part in (each.place.path if each.place else "", each.source or "") if part)
        said = " ".join(part for part in (errors.text(each, language), errors.mend(each, language)) if part)
        values: list[Value] = ["", location(each.place), code, _SEVERITY[each.severity], (each.code,), "", detail]
        out.append(segment("ERR", [*values, said[:1000]], d))
    return out


def _errors_before(found: Sequence[Finding], language: Language, d: Delimiters) -> list[str]:
    if not found:
        return []
    repetitions = []
    for each in found:
        where = [*location(each.place)[:3], "", "", ""][:3]
        code = (_hl7_code(each), errors.text(each, language)[:200], "HL70357")
        repetitions.append(field([*where, code], d))
    return ["ERR" + d.field + d.repetition.join(repetitions)]
