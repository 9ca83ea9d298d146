"""The one JSON reader and writer: lossless and strict.

RFC 8259 with the choices that a signed health record needs: a repeated key, NaN, an infinity, a lone surrogate or
a byte-order mark is refused, decimals keep their digits (FHIR R4 `decimal`: precision is significant), and depth
is bounded. Everything that is refused says where.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, NoReturn

import msgspec

from gateway.errors import TooLarge, Unreadable
from gateway.message import Place

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 200


def _refuse(detail: str, offset: int = 0) -> NoReturn:
    place = Place(notation="bytes", path=str(offset))
    raise Unreadable("GW-CORE-003", place, format="JSON", detail=detail)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _refuse(f"the key {key[:40]!r} is repeated")
            seen.add(key)
    return made


def _constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=Decimal, parse_constant=_constant)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def read(body: bytes, max_bytes: int = MAX_BYTES) -> Any:
    """The document, with decimals as `Decimal`. Raises `Unreadable` or `TooLarge`, nothing else."""
    if len(body) > max_bytes:
        raise TooLarge("GW-CORE-004", what="bytes", actual=str(len(body)), limit=str(max_bytes))
    try:
        text = body.decode("utf-8")
        return _DECODER.decode(text)
    except UnicodeDecodeError as error:
        _refuse("not UTF-8", error.start)
    except json.JSONDecodeError as error:
        _refuse(error.msg, error.pos)
    except RecursionError:
        raise TooLarge("GW-CORE-004", what="depth", actual="more", limit=str(MAX_DEPTH)) from None


def write(value: Any) -> bytes:
    """Compact UTF-8, members in their order, decimals with their digits. Accepts the values of message.py too."""
    return _ENCODER.encode(value)
