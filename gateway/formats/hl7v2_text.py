"""Delimiters and escape sequences of HL7 v2 (chapter 2, sections 2.5.4 and 2.7)."""

from __future__ import annotations

import re
from typing import Final

import msgspec

NULL: Final = '""'
"""The field text that says: delete what you have (section 2.5.3)."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SPACES: Final = re.compile(r"\.(sp|in|ti|sk|ce|fi|nf|br)\s*\+?(-?\d{0,3})")
_HEX: Final = re.compile(r"X(?:[0-9A-Fa-f]{2})+")
_SHIFT: Final = re.compile(r"[CM](?:[0-9A-Fa-f]{2}){2,3}")


class Delimiters(msgspec.Struct, frozen=True):
    """The characters that MSH-1 and MSH-2 declare. `truncation` is empty before v2.7 and where it is not given."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding(self) -> str:
        """MSH-2 as it is written."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation

    def named(self) -> dict[str, str]:
        """Escape letter -> the delimiter that it stands for."""
        table = {"F": self.field, "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": self.escape}
        if self.truncation:
            table["P"] = self.truncation
        return table


STANDARD: Final = Delimiters()


def _spaces(body: str) -> str | None:
    found = _SPACES.fullmatch(body)
    if found is None:
        return None
    command, count = found[1], int(found[2] or 1) if found[2] != "-" else 1
    if command in ("br", "ce"):
        return "\n"
    if command == "sp":
        return "\n" * max(1, min(count, 99))
    if command == "sk":
        return " " * max(0, min(count, 99))
    return ""


def _hexadecimal(body: str, charset: str) -> str | None:
    if not _HEX.fullmatch(body):
        return None
    try:
        text = bytes.fromhex(body[1:]).decode(charset)
    except (UnicodeDecodeError, LookupError):
        return None
    return None if _CONTROL.search(text) else text


def _one(body: str, table: dict[str, str], charset: str) -> str | None:
    """The text of one escape sequence, or None where it is not one that we know."""
    if body in table:
        return table[body]
    if body in ("H", "N"):  # highlighting: marks that carry no text
        return ""
    if body.startswith("."):
        return _spaces(body)
    return _hexadecimal(body, charset)


def _shifted(text: str, escape: str) -> str | None:
    """Text with \\C..\\ and \\M..\\: ISO 2022 shifts written as escapes, around seven-bit bytes."""
    pieces = text.split(escape)
    if len(pieces) % 2 == 0 or not all(_SHIFT.fullmatch(body) for body in pieces[1::2]):
        return None
    raw = bytearray()
    for index, piece in enumerate(pieces):
        if not piece.isascii():
            return None
        raw += b"\x1b" + bytes.fromhex(piece[1:]) if index % 2 else piece.encode("ascii")
    for codec in ("iso2022_jp_2", "iso2022_jp_ext", "iso2022_kr"):
        try:
            shifted = bytes(raw).decode(codec)
        except UnicodeDecodeError:
            continue
        return None if _CONTROL.search(shifted) else shifted
    return None


def unescape(text: str, delimiters: Delimiters, charset: str = "utf-8") -> str:
    """The text that the sender meant. A sequence that is unknown, or would give control characters, is kept as sent."""
    escape = delimiters.escape
    if not escape or escape not in text:
        return text
    if escape + "C" in text or escape + "M" in text:
        shifted = _shifted(text, escape)
        if shifted is not None:
            return shifted
    table = delimiters.named()
    out: list[str] = []
    at = 0
    while (start := text.find(escape, at)) >= 0:
        out.append(text[at:start])
        end = text.find(escape, start + 1)
        if end < 0:
            at = start
            break
        body = text[start + 1 : end]
        known = _one(body, table, charset)
        if known is not None:
            out.append(known)
            at = end + 1
        elif body[:1] in ("Z", "X", "C", "M"):  # local or undecodable: kept whole
            out.append(text[start : end + 1])
            at = end + 1
        else:  # not a sequence at all: the next escape character may begin one
            out.append(escape)
            at = start + 1
    out.append(text[at:])
    return "".join(out)


def escape(text: str, delimiters: Delimiters = STANDARD) -> str:
    """Text as it may stand in a leaf; `unescape` gives it back. A line end becomes `\\.br\\`, CR LF counts as one."""
    mark = delimiters.escape
    out = text
    table = delimiters.named()
    if mark and mark in out:
        out = out.replace(mark, f"{mark}E{mark}")
    for letter, character in table.items():
        if letter != "E" and character and character in out:
            out = out.replace(character, f"{mark}{letter}{mark}")
    if "\r" in out or "\n" in out:
        out = out.replace("\r\n", "\n").replace("\r", "\n").replace("\n", f"{mark}.br{mark}")
    return out
