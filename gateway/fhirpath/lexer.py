"""Text to tokens (FHIRPath 2.0.0, annex "Grammar")."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from gateway.fhirpath.faults import LIMIT, SYNTAX, FhirPathError

MAX_TEXT: Final = 65_536

Kind = Literal["name", "quoted", "string", "number", "datetime", "time", "special", "external", "symbol", "end"]


class Token(NamedTuple):
    """One word. `text` is already unescaped; `at` is its offset."""

    kind: Kind
    text: str
    at: int


_ZONE = r"(?:Z|[+-]\d{2}:\d{2})?"
_CLOCK = r"\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?"
_TOKENS: Final = re.compile(
    rf"""
      (?P<space>[ \t\r\n\u00a0]+|//[^\n\r]*|/\*.*?\*/)
    | @(?P<time>T{_CLOCK})
    | @(?P<datetime>\d{{4}}(?:-\d{{2}}(?:-\d{{2}})?)?(?:T(?:{_CLOCK}{_ZONE})?)?)
    | (?P<number>\d+(?:\.\d+)?L?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | `(?P<quoted>(?:[^`\\]|\\.)*)`
    | '(?P<string>(?:[^'\\]|\\.)*)'
    | \$(?P<special>this|index|total)\b
    | %(?:(?P<external>[A-Za-z_][A-Za-z0-9_]*)|`(?P<external_quoted>(?:[^`\\]|\\.)*)`
         |'(?P<external_string>(?:[^'\\]|\\.)*)')
    | (?P<symbol><=|>=|!=|!~|/(?!\*)|[-+*&|=~<>.,()\[\]{{}}])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "/": "/", "\\": "\\", "'": "'", '"': '"', "`": "`"}
_QUOTED: Final = frozenset({"quoted", "string", "external_quoted", "external_string"})


def tokens(text: str) -> list[Token]:
    """All tokens and a final `end`. Raises `FhirPathError` at the first character that begins no token."""
    if len(text) > MAX_TEXT:
        raise FhirPathError(LIMIT, text[:200], MAX_TEXT, f"longer than {MAX_TEXT} characters")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None or match.lastgroup is None:
            raise FhirPathError(SYNTAX, text, at, _complaint(text, at))
        kind = match.lastgroup
        if kind != "space":
            word = match.group(kind)
            if kind in _QUOTED:
                word = _unescape(text, word, at)
            found.append(Token(_plain(kind), word, at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def _plain(kind: str) -> Kind:
    return "external" if kind.startswith("external") else kind  # type: ignore[return-value]


def _complaint(text: str, at: int) -> str:
    if text.startswith("/*", at):
        return "the comment is not closed"
    if text[at] in "'`":
        return f"the text that begins with {text[at]} is not closed"
    return f"unexpected character {text[at]!r}"


def _unescape(text: str, word: str, at: int) -> str:
    if "\\" not in word:
        return word

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) == 5:
            return chr(int(code[1:], 16))
        if code == "u":
            raise FhirPathError(SYNTAX, text, at, "\\u needs four hexadecimal digits")
        # The grammar lists the escapes; engines in use keep the character of any other one, and published
        # R4 expressions (patterns with \_ or \-) count on it.
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(one, word)
