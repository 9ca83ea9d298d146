"""String functions (FHIRPath 2.0.0, "String manipulation"; encode, escape, trim, split, join of the trial-use part)."""

from __future__ import annotations

import base64
import binascii
import html
from collections.abc import Callable
from typing import Final

from gateway.fhirpath import patterns
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.registry import Function, on_text, with_arguments
from gateway.fhirpath.running import CHARACTERS, MAX_STRING, Context, Items, bounded, integer, text
from gateway.fhirpath.values import plain
from gateway.formats import json


def _argument(items: Items) -> str | None:
    return text(items, "the argument")


def _index_of(value: str, part: Items) -> int | None:
    wanted = _argument(part)
    return None if wanted is None else value.find(wanted)


def _last_index_of(value: str, part: Items) -> int | None:
    wanted = _argument(part)
    return None if wanted is None else value.rfind(wanted)


def _substring(value: str, start: Items, length: Items | None = None) -> str | None:
    first = integer(start)
    if first is None or not 0 <= first < len(value):
        return None
    if length is None:
        return value[first:]
    count = integer(length)
    # An empty length is as if none had been given (FHIRPath, "substring").
    return value[first:] if count is None else value[first : first + max(0, count)]


def _starts_with(value: str, part: Items) -> bool | None:
    wanted = _argument(part)
    return None if wanted is None else value.startswith(wanted)


def _ends_with(value: str, part: Items) -> bool | None:
    wanted = _argument(part)
    return None if wanted is None else value.endswith(wanted)


def _contains(value: str, part: Items) -> bool | None:
    wanted = _argument(part)
    return None if wanted is None else wanted in value


def _replace(value: str, pattern: Items, substitution: Items) -> str | None:
    wanted, put = _argument(pattern), _argument(substitution)
    if wanted is None or put is None:
        return None
    hits = value.count(wanted)
    if len(value) + hits * len(put) > MAX_STRING:
        bounded("x" * (MAX_STRING + 1))
    return value.replace(wanted, put)


def _matches(value: str, pattern: Items) -> bool | None:
    wanted = _argument(pattern)
    return None if wanted is None else patterns.search(wanted, value)


def _matches_full(value: str, pattern: Items) -> bool | None:
    wanted = _argument(pattern)
    return None if wanted is None else patterns.full(wanted, value)


def _replace_matches(value: str, pattern: Items, substitution: Items) -> str | None:
    wanted, put = _argument(pattern), _argument(substitution)
    if wanted is None or put is None:
        return None
    return value if not wanted else bounded(patterns.replace(wanted, put, value))


def _split(value: str, separator: Items) -> Items | None:
    wanted = _argument(separator)
    if wanted is None:
        return None
    return list(value.split(wanted)) if wanted else list(value)


def _join(items: Items, ctx: Context, separator: Items = []) -> Items:  # noqa: B006 - never changed
    if not items:
        return [""] if ctx.env.joins_nothing else []
    parts = []
    for item in items:
        part = plain(item)
        if part.__class__ is str:
            parts.append(part)
        elif part is not None:  # a string that has only extensions adds nothing
            raise Fault("join() needs strings")
    between = _argument(separator) or ""
    if sum(map(len, parts)) + len(between) * len(parts) > MAX_STRING:
        bounded("x" * (MAX_STRING + 1))
    made = between.join(parts)
    ctx.spend(len(made) // CHARACTERS)
    return [made]


# --- encodings ----------------------------------------


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii")


_ENCODERS: Final[dict[str, Callable[[bytes], str]]] = {
    "hex": bytes.hex,
    "base64": lambda data: base64.b64encode(data).decode("ascii"),
    "urlbase64": _url64,
}
_DECODERS: Final[dict[str, Callable[[str], bytes]]] = {
    "hex": bytes.fromhex,
    "base64": lambda value: base64.b64decode(value, validate=True),
    "urlbase64": lambda value: base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True),
}


def _encode(value: str, form: Items) -> str | None:
    encoder = _ENCODERS.get(_argument(form) or "")
    return None if encoder is None else encoder(value.encode("utf-8", "surrogatepass"))


def _decode(value: str, form: Items) -> str | None:
    decoder = _DECODERS.get(_argument(form) or "")
    if decoder is None:
        return None
    try:
        return decoder(value).decode("utf-8")
    except (ValueError, binascii.Error):
        raise Fault("the text is not in that encoding") from None


def _escape(value: str, form: Items) -> str | None:
    match _argument(form):
        case "html":
            return html.escape(value).replace("&#x27;", "&#39;")
        case "json":
            return json.write(value).decode("utf-8")[1:-1]
        case _:
            return None


_JSON_MARKS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "b": "\b"}


def _unescape(value: str, form: Items) -> str | None:
    match _argument(form):
        case "html":
            return html.unescape(value)
        case "json":
            return _unescape_json(value)
        case _:
            return None


def _unescape_json(value: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(value):
        if value[at] != "\\" or at + 1 == len(value):
            out.append(value[at])
            at += 1
        elif value[at + 1] == "u":
            digits = value[at + 2 : at + 6]
            if len(digits) != 4 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise Fault("the text is not escaped JSON")
            out.append(chr(int(digits, 16)))
            at += 6
        else:
            out.append(_JSON_MARKS.get(value[at + 1], value[at + 1]))
            at += 2
    return "".join(out)


FUNCTIONS: Final[dict[str, Function]] = {
    "indexOf": on_text(_index_of, 1),
    "lastIndexOf": on_text(_last_index_of, 1),
    "substring": on_text(_substring, 1, 2),
    "startsWith": on_text(_starts_with, 1),
    "endsWith": on_text(_ends_with, 1),
    "contains": on_text(_contains, 1),
    "upper": on_text(str.upper),
    "lower": on_text(str.lower),
    "replace": on_text(_replace, 2),
    "matches": on_text(_matches, 1),
    "matchesFull": on_text(_matches_full, 1),
    "replaceMatches": on_text(_replace_matches, 2),
    "length": on_text(len),
    "toChars": on_text(list),
    "trim": on_text(str.strip),
    "split": on_text(_split, 1),
    "join": with_arguments(_join, 0, 1),
    "encode": on_text(_encode, 1),
    "decode": on_text(_decode, 1),
    "escape": on_text(_escape, 1),
    "unescape": on_text(_unescape, 1),
}
