"""The one JSON reader and writer: lossless and strict.

RFC 8259 with the choices that a signed health record needs: a repeated key, NaN, an infinity, a lone surrogate or
a byte-order mark is refused, decimals keep their digits and their exponent form (FHIR R4 `decimal`: precision is
significant), and depth is bounded. Everything that is refused says where.

How repeated keys are seen without paying for it: the fast decoder keeps the last of two equal keys, so a document
that had one encodes to fewer colons than it came with. Equal counts prove that nothing was dropped; only where
they differ (a repeated key, or a colon written as an escape) does the slow scanner look for the place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn, Self, TypeVar

import msgspec

from gateway.errors import TooLarge, Unreadable
from gateway.message import Place

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 200
MAX_DIGITS: Final = 4000


class Written(Decimal):
    """A decimal whose digits Python would write differently (1e3, 0.0000001): it remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[Written], tuple[str]]:
        return Written, (self.text,)

    def __str__(self) -> str:
        return self.text

    def __copy__(self) -> Written:
        return self

    def __deepcopy__(self, memo: Any) -> Written:
        return self


def _decimal(text: str) -> Decimal:
    made = Decimal(text)
    return made if str(made) == text else Written(text)


def _foreign(value: Any) -> msgspec.Raw:
    if isinstance(value, Written):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} is not part of the JSON model")


T = TypeVar("T")

_DECODER: Final = msgspec.json.Decoder(float_hook=_decimal)
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_foreign)
_TOKEN: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t\r\n]*(:?)|[{}\[\]]', re.DOTALL)
_OFFSET: Final = re.compile(r"^(?:JSON is malformed: )?(.*?)(?: \(byte (\d+)\))?$", re.DOTALL)
_OTHER: Final = bytes(each for each in range(256) if each not in b"{}[]")
_SMALL: Final = 256 * 1024
_ESCAPED_COLON: Final = (b"\\u003a", b"\\u003A")


def _refuse(detail: str, offset: int = 0) -> NoReturn:
    place = Place(notation="bytes", path=str(offset))
    raise Unreadable("GW-CORE-003", place, format="JSON", detail=detail)


def _too_deep() -> NoReturn:
    raise TooLarge("GW-CORE-004", what="depth", actual="more", limit=str(MAX_DEPTH))


def _decode(body: bytes) -> Any:
    try:
        return _DECODER.decode(body)
    except UnicodeDecodeError as error:
        _refuse("not UTF-8", error.start)
    except msgspec.ValidationError:
        raise TooLarge("GW-CORE-004", what="digits", actual="more", limit=str(MAX_DIGITS)) from None
    except msgspec.DecodeError as error:
        found = _OFFSET.match(str(error))
        assert found is not None
        _refuse(found[1] or "not JSON", int(found[2] or _text_error(body)))
    except InvalidOperation:
        raise TooLarge("GW-CORE-004", what="exponent", actual="more", limit="18 digits") from None
    except RecursionError:
        _too_deep()


def _text_error(body: bytes) -> int:
    """Where the standard library sees the fault, for the few errors that come without an offset."""
    try:
        json.loads(body)
    except json.JSONDecodeError as error:
        return error.pos
    except (ValueError, RecursionError):
        return 0
    return 0


def _shallow(body: bytes) -> bool:
    """Whether the brackets cancel out in few passes: at most two levels go with each. False: look properly."""
    if len(body) > _SMALL:
        return False
    brackets = body.translate(None, _OTHER)
    for _ in range(MAX_DEPTH // 2):
        if not brackets:
            return True
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(brackets):
            return False
        brackets = fewer
    return False


def _check_depth(value: Any) -> None:
    level = [value] if type(value) is dict or type(value) is list else []
    for _ in range(MAX_DEPTH):
        if not level:
            return
        level = [
            inner
            for each in level
            for inner in (each.values() if type(each) is dict else each)
            if type(inner) is dict or type(inner) is list
        ]
    if level:
        _too_deep()


def _check_keys(body: bytes, value: Any) -> None:
    same = _ENCODER.encode(value).count(b":") == body.count(b":")
    if same and not any(escape in body for escape in _ESCAPED_COLON):
        return
    found = repeated_key(body)
    if found is not None:
        _refuse(f"the key {found[0][:40]!r} is repeated", found[1])


def repeated_key(body: bytes) -> tuple[str, int] | None:
    """The first repeated key of a well-formed document and the byte offset of its second occurrence."""
    text = body.decode("utf-8")
    stack: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "{[":
            stack.append(set())
        elif mark in "}]":
            stack.pop()
        elif token[2]:
            key = json.loads(f'"{token[1]}"') if "\\" in token[1] else token[1]
            if key in stack[-1]:
                return key, len(text[: token.start()].encode())
            stack[-1].add(key)
    return None


def read(body: bytes, max_bytes: int = MAX_BYTES) -> Any:
    """The document, with decimals as `Decimal`. Raises `Unreadable` or `TooLarge`, nothing else."""
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    if body.startswith(b"\xef\xbb\xbf"):
        _refuse("a byte-order mark is not JSON")
    value = _decode(body)
    if not _shallow(body):
        _check_depth(value)
    _check_keys(body, value)
    return value


def reread(body: bytes) -> Any:
    """What `write` wrote, without the looks at depth and repeated keys that foreign bytes need: half the time."""
    return _decode(body)


def read_members(body: bytes) -> Mapping[str, msgspec.Raw]:
    """The members of an object of our own making, undecoded; `read(bytes(member))` decodes one when it is needed."""
    return _MEMBERS.decode(body)


def reader_of(kind: type[T]) -> Callable[[bytes], T]:
    """What reads a value of that kind as `write` wrote it, decimals with their digits; never for foreign bytes."""
    return msgspec.json.Decoder(kind, float_hook=_decimal).decode


def write(value: Any) -> bytes:
    """Compact UTF-8, members in their order, decimals with their digits. Accepts the values of message.py too."""
    return _ENCODER.encode(value)
