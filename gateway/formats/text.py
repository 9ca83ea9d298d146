"""Character sets, digits, and folding for comparison. Stored text is never changed by anything here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import msgspec


class Charset(msgspec.Struct, frozen=True):
    """`name` is what HL7 table 0211 calls it (or the IANA name), `codec` what Python calls it."""

    name: str
    codec: str
    single_byte: bool = False


_SINGLE: Final = {f"8859/{n}": f"iso8859_{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)}
_WINDOWS: Final = {f"WINDOWS-{n}": f"cp{n}" for n in (874, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258)}
_MULTI: Final = {
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "UNICODE UTF-32": "utf-32",
    "UNICODE": "utf-8",
    "GB 18030-2000": "gb18030",
    "GBK": "gbk",
    "GB2312": "gb2312",
    "BIG-5": "big5",
    "BIG5-HKSCS": "big5hkscs",
    "KS X 1001": "euc_kr",
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_2",
    "EUC-JP": "euc_jp",
    "SHIFT_JIS": "shift_jis",
}

_ALIASES: Final = {
    "ASCII": ("US-ASCII", "ISO IR6", "ISO IR 6", "ISO-IR-6", "ANSI_X3.4-1968", "ISO646-US"),
    "UNICODE UTF-8": ("UTF-8", "UTF8", "UNICODE UTF8"),
    "UNICODE UTF-16": ("UTF-16", "UTF16"),
    "UNICODE UTF-32": ("UTF-32", "UTF32"),
    "GB 18030-2000": ("GB18030", "GB 18030", "GB18030-2000", "GB 18030-2022", "GB18030-2022"),
    "GB2312": ("GB 2312", "GB 2312-1980", "GB2312-80", "EUC-CN"),
    "GBK": ("CP936", "WINDOWS-936", "MS936"),
    "BIG-5": ("BIG5", "BIG 5", "CP950"),
    "KS X 1001": ("EUC-KR", "KSX1001", "KS_C_5601-1987"),
    "ISO IR87": ("ISO-2022-JP", "ISO IR 87"),
    "ISO IR159": ("ISO IR 159",),
    "ISO IR14": ("ISO IR 14", "JIS X 0201"),
    "8859/1": ("LATIN1", "LATIN-1", "ISO IR100", "ISO IR 100"),
    "8859/2": ("ISO IR101", "ISO IR 101"),
    "8859/5": ("ISO IR144", "ISO IR 144"),
    "8859/6": ("ISO IR127", "ISO IR 127"),
    "8859/7": ("ISO IR126", "ISO IR 126"),
    "8859/8": ("ISO IR138", "ISO IR 138"),
    "8859/9": ("ISO IR148", "ISO IR 148"),
    "8859/11": ("ISO IR166", "TIS-620"),
}

_NOISE: Final = re.compile(r"[^A-Z0-9]")


def _squeezed(name: str) -> str:
    return _NOISE.sub("", name.upper())


def _build() -> dict[str, Charset]:
    table: dict[str, Charset] = {}

    def add(charset: Charset, names: Iterable[str]) -> None:
        for name in names:
            table.setdefault(_squeezed(name), charset)

    add(Charset("ASCII", "ascii", True), ("ASCII", *_ALIASES["ASCII"]))
    for name, codec in _SINGLE.items():
        part = name.split("/")[1]
        names = (name, f"ISO-8859-{part}", f"ISO {name}", f"ISO8859-{part}", *_ALIASES.get(name, ()))
        add(Charset(name, codec, True), names)
    for name, codec in _WINDOWS.items():
        add(Charset(name, codec, True), (name, codec, f"WIN{codec[2:]}", f"WIN-{codec[2:]}", f"ANSI-{codec[2:]}"))
    for name, codec in _MULTI.items():
        add(Charset(name, codec), (name, *_ALIASES.get(name, ())))
    return table


_CHARSETS: Final = _build()


def charset(name: str) -> Charset | None:
    """The character set of that name: HL7 table 0211, IANA, or what vendors write. None where it is not known."""
    return _CHARSETS.get(_squeezed(name))


def supported() -> tuple[str, ...]:
    """The canonical names, sorted."""
    return tuple(sorted({found.name for found in _CHARSETS.values()}))


# --- digits and folding ----------------------------------------

_DIGITS: Final = {
    zero + n: ord("0") + n
    for zero in (0x0660, 0x06F0, 0xFF10)  # Arabic-Indic, Persian, full-width
    for n in range(10)
}


def digits(text: str) -> str:
    """Persian, Arabic and full-width digits as ASCII ones; every other character stays."""
    return text if text.isascii() else text.translate(_DIGITS)


_FOLD: Final = {
    **_DIGITS,
    ord("ي"): "ی",
    ord("ى"): "ی",
    ord("ك"): "ک",
    ord("ة"): "ه",
    ord("ۀ"): "ه",
    ord("أ"): "ا",
    ord("إ"): "ا",
    ord("ٱ"): "ا",
    ord("آ"): "ا",
    ord("ؤ"): "و",
    ord("ئ"): "ی",
    0x0640: None,  # tatweel
    0x200B: None,
    0x200C: None,  # zero-width non-joiner
    0x200D: None,
    0x200E: None,
    0x200F: None,
    0x202A: None,
    0x202B: None,
    0x202C: None,
    0x2066: None,
    0x2067: None,
    0x2068: None,
    0x2069: None,
    0xFEFF: None,
    0x00A0: " ",
    0x3000: " ",
}


def fold(text: str) -> str:
    """A key for comparison: case, digits, Arabic and Persian ye and kaf, joiners, marks and spaces made equal.

    Never store or send what this returns.
    """
    if text.isascii():
        return " ".join(text.casefold().split())
    spread = unicodedata.normalize("NFKD", text.translate(_FOLD))
    bare = "".join(c for c in spread if not unicodedata.combining(c)).translate(_FOLD)
    return " ".join(bare.casefold().split())


# --- numbers that are meant as text ----------------------------------------

_EXACT: Final = 10**15  # a spreadsheet keeps fifteen digits


def as_text(value: str | Decimal | bool | int) -> str:
    """A scalar as a person would write it: no exponent, `true` and `false` for booleans."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def damaged(value: str | Decimal | bool | int) -> bool:
    """Whether a number has passed through a binary float and may have lost digits: never use it as an identifier.

    True for numbers of more than fifteen digits, and for text in a spreadsheet's exponent form (1.23E+17).
    """
    if isinstance(value, str):
        return _EXPONENT.fullmatch(value.strip()) is not None
    return not isinstance(value, bool) and (value >= _EXACT or value <= -_EXACT)


_EXPONENT: Final = re.compile(r"[+-]?\d(?:[.,]\d+)?[eE]\+?\d{1,3}")
