"""The grammar of one line of a mapping: where a value comes from and what is done to it.

    expression   = alternative *( " else " alternative ) *( " | " function *( " " argument ) )
    alternative  = "=" literal            a constant; {holes} in it are expressions, and an empty hole empties it
                 | "$" name               a value named under `let:`
                 | "$given." name         an option of the sender, or a value that the caller gives
                 | "$position"            the position in the repetition, from 1
                 | "->" name              a reference to the resource of that name
                 | path " where " condition " take " expression   the first repetition that fulfils the condition
                 | path                   in the source's own notation
    argument     = word | "quoted words" | "$" name | "$given." name

    condition    = clause *( " and " clause ) *( " or " … )     `and` binds closer
    clause       = [ "not " ] expression [ " = " word | " != " word | " in " word, word … | " matches " pattern ]

This file only takes text apart; `compiling.py` gives it meaning.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec


class BadExpression(ValueError):
    """The text is not an expression; the message says why."""


class Argument(msgspec.Struct, frozen=True):
    """One argument of a function: a word, or the name of a variable or option."""

    kind: Literal["word", "variable", "option"]
    text: str


class Call(msgspec.Struct, frozen=True):
    """One function in the pipe."""

    name: str
    arguments: tuple[Argument, ...]


class Alternative(msgspec.Struct, frozen=True):
    """One place where the value may come from. `parts` of a template alternate text and expression."""

    kind: Literal["literal", "template", "variable", "option", "reference", "position", "pick", "path"]
    text: str
    parts: tuple[str | Expression, ...] = ()
    condition: Condition | None = None
    then: Expression | None = None


class Expression(msgspec.Struct, frozen=True):
    """Alternatives in order of preference, and the functions that the chosen value goes through."""

    alternatives: tuple[Alternative, ...]
    calls: tuple[Call, ...] = ()


class Clause(msgspec.Struct, frozen=True):
    """One test. Without an operator: whether there is a value."""

    expression: Expression
    operator: Literal["exists", "=", "!=", "in", "matches"] = "exists"
    words: tuple[str, ...] = ()
    negated: bool = False


class Condition(msgspec.Struct, frozen=True):
    """Any of the lists must hold; all clauses of a list must hold."""

    any_of: tuple[tuple[Clause, ...], ...]


_WORD = re.compile(r'"([^"]*)"|(\S+)')
_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")
_HOLE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_OPERATOR = re.compile(r"^(?P<left>.+?)\s(?P<op>=|!=|in|matches)\s(?P<right>.+)$", re.DOTALL)


def _argument(quoted: str | None, plain: str) -> Argument:
    if quoted is not None:
        return Argument("word", quoted)
    if plain.startswith("$given."):
        return Argument("option", plain[7:])
    if plain.startswith("$"):
        return Argument("variable", plain[1:])
    return Argument("word", plain)


def _call(text: str) -> Call:
    words = [_argument(m.group(1), m.group(2) or "") for m in _WORD.finditer(text)]
    if not words or words[0].kind != "word" or not _NAME.match(words[0].text):
        raise BadExpression(f"{text.strip()!r} is not a function")
    return Call(words[0].text, tuple(words[1:]))


def _literal(text: str) -> Alternative:
    parts: list[str | Expression] = []
    plain, at = "", 0
    for hole in _HOLE.finditer(text):
        plain += text[at : hole.start()]
        at = hole.end()
        if hole.group(1) is None:
            plain += hole.group(0)[0]
            continue
        parts += [plain, parse(hole.group(1))]
        plain = ""
    plain += text[at:]
    if not parts:
        return Alternative("literal", plain)
    return Alternative("template", text, parts=(*parts, plain))


_PREFIXES: dict[str, Literal["variable", "option", "reference"]] = {
    "$given.": "option",
    "$": "variable",
    "->": "reference",
}


def _alternative(text: str) -> Alternative:
    text = text.strip()
    if not text:
        raise BadExpression("a source is missing")
    if text.startswith("="):
        return _literal(text[1:])
    if text == "$position":
        return Alternative("position", text)
    for prefix, kind in _PREFIXES.items():
        name = text.removeprefix(prefix)
        if name != text and _NAME.match(name):
            return Alternative(kind, name)
    before, where, rest = text.partition(" where ")
    if where:
        tested, take, then = rest.partition(" take ")
        if not take:
            raise BadExpression("after `where` stands a condition, then ` take ` and what is taken")
        return Alternative("pick", before.strip(), condition=condition(tested), then=parse(then))
    return Alternative("path", text)


def _split(text: str, separator: str) -> list[str]:
    """Split where the separator stands outside of holes."""
    parts = text.split(separator)
    joined = [parts[0]]
    for part in parts[1:]:
        if joined[-1].count("{") > joined[-1].count("}"):
            joined[-1] += separator + part
        else:
            joined.append(part)
    return joined


def parse(text: str) -> Expression:
    """The expression, or `BadExpression`."""
    source, *calls = _split(text, " | ")
    return Expression(
        tuple(_alternative(part) for part in _split(source, " else ")),
        tuple(_call(part) for part in calls),
    )


def _clause(text: str) -> Clause:
    text = text.strip()
    negated = text.startswith("not ")
    text = text[4:].strip() if negated else text
    found = _OPERATOR.match(text)
    if found is None:
        return Clause(parse(text), negated=negated)
    right = found["right"].strip()
    op = found["op"]
    if op == "matches":
        _pattern(right)
        return Clause(parse(found["left"]), "matches", (right,), negated)
    words = tuple(w.strip().strip('"') for w in right.split(",")) if op == "in" else (right.strip('"'),)
    return Clause(parse(found["left"]), "=" if op == "=" else "!=" if op == "!=" else "in", words, negated)


def _pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error as error:
        raise BadExpression(f"{text!r} is not a pattern: {error}") from None


def condition(text: str) -> Condition:
    """The condition, or `BadExpression`."""
    return Condition(tuple(tuple(_clause(clause) for clause in option.split(" and ")) for option in text.split(" or ")))
