"""Whether decoded text can be what the sender meant.

A single-byte character set decodes anything, so a wrong declaration gives wrong names without an error. Two checks
catch what can be caught: bytes that are valid UTF-8 are hardly ever something else, and words that mix scripts,
change case in the middle or carry control characters are not words. What both miss cannot be known from the bytes.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

_C1: Final = re.compile(r"[\x80-\x9f]")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_LATIN_RUN: Final = re.compile(r"[À-ɏ]{3,}")
_INSIDE: Final = re.compile(r"[^\W\d_][¡-©«-±´¶-¸»-¿×÷][^\W\d_]")
_FINALS: Final = re.compile(r"[ךםןףץς](?=[^\W\d_])")

_RANGES: Final = (
    (0x0041, 0x024F, "Latin"), (0x0370, 0x03FF, "Greek"), (0x0400, 0x052F, "Cyrillic"), (0x0590, 0x05FF, "Hebrew"),
    (0x0600, 0x077F, "Arabic"), (0x0E00, 0x0E7F, "Thai"), (0x1100, 0x11FF, "Hangul"), (0x1E00, 0x1EFF, "Latin"),
    (0x3040, 0x30FF, "Kana"), (0x3400, 0x9FFF, "Han"), (0xAC00, 0xD7AF, "Hangul"), (0xF900, 0xFAFF, "Han"),
)  # fmt: skip

_MIXABLE: Final = frozenset({"Han", "Kana", "Hangul"})


def script(character: str) -> str:
    """The script of a letter, by block; "Other" where it is none of those that we meet."""
    code = ord(character)
    return next((name for low, high, name in _RANGES if low <= code <= high), "Other")


def contradiction(body: bytes) -> bool:
    """Whether bytes that are declared to be a single-byte character set are UTF-8 beyond reasonable doubt."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return not _C1.search(text)


def suspicion(text: str, codec: str) -> str:
    """Why the text looks wrongly decoded: a key word for the finding, or empty. Never changes anything."""
    if _C1.search(text):
        return "control characters"
    if _INSIDE.search(text):
        return "signs inside words"
    if _FINALS.search(text):
        return "final letters inside words"
    if _LATIN_RUN.search(text):
        return "runs of accented letters"
    for word in set(_WORD.findall(text)):
        if word.isascii():
            continue
        if _mixed(word):
            return "scripts mixed in a word"
        if _odd_case(word):
            return "capitals inside words"
    return _rare(text, codec)


def _mixed(word: str) -> bool:
    scripts = {script(c) for c in word}
    return len(scripts - _MIXABLE) + bool(scripts & _MIXABLE) > 1


def _odd_case(word: str) -> bool:
    if not any(c.islower() for c in word):
        return False
    return any(a.islower() and b.isupper() and not (a.isascii() and b.isascii()) for a, b in pairwise(word))


_COMMON: Final = {"gb18030": "gb2312", "gbk": "gb2312", "big5": "gb2312", "euc_kr": "euc_kr"}


def _rare(text: str, codec: str) -> str:
    """Han text of which most characters are outside the everyday set was probably another encoding."""
    if codec not in ("gb18030", "gbk"):
        return ""
    wide = [c for c in text if ord(c) > 0x2FF]
    if not wide:
        return ""
    common = sum(_encodes(c, "gb2312") or _encodes(c, "big5") for c in wide)
    return "rare characters" if common * 10 < len(wide) * 6 else ""


def _encodes(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
