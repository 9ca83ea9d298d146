"""Tokens to a syntax tree: precedence climbing over the operator table of FHIRPath 2.0.0, "Operator precedence"."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NoReturn

from gateway.fhirpath import ast, datetimes
from gateway.fhirpath.faults import LIMIT, SYNTAX, FhirPathError
from gateway.fhirpath.lexer import Token, tokens
from gateway.fhirpath.quantities import CALENDAR, Quantity

MAX_DEPTH: Final = 120

_BINARY: Final = {
    "*": 11, "/": 11, "div": 11, "mod": 11,
    "+": 10, "-": 10, "&": 10,
    "is": 9, "as": 9,
    "|": 8,
    "<": 7, "<=": 7, ">": 7, ">=": 7,
    "=": 6, "~": 6, "!=": 6, "!~": 6,
    "in": 5, "contains": 5,
    "and": 4,
    "or": 3, "xor": 3,
    "implies": 2,
}  # fmt: skip
_UNARY: Final = 12
_WORDS: Final = frozenset(word for word in _BINARY if word.isalpha())
# Keywords that the grammar also allows as the name of an element or function.
_NAMES: Final = frozenset({"as", "is", "in", "contains"})
_KEYWORDS: Final = (_WORDS | {"true", "false"}) - _NAMES


def parse(text: str) -> ast.Term:
    """The tree of an expression. Raises `FhirPathError` (syntax, or a limit) with the position."""
    return _Parser(text).whole()


def parse_type(text: str) -> ast.TypeName:
    """A type specifier alone, such as `FHIR.Patient`."""
    parser = _Parser(text)
    found = parser.type_specifier()
    parser.expect("end", "")
    return found


class _Parser:
    """One pass over the tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.place = 0
        self.nested = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def fail(self, detail: str, at: int | None = None, code: str = SYNTAX) -> NoReturn:
        raise FhirPathError(code, self.text[:2_000], self.token.at if at is None else at, detail)

    def unexpected(self) -> NoReturn:
        self.fail("the expression ends too early" if self.token.kind == "end" else f"unexpected {self.token.text!r}")

    def take(self) -> Token:
        token = self.token
        self.place += 1
        return token

    def at_symbol(self, text: str) -> bool:
        return self.token.kind == "symbol" and self.token.text == text

    def expect(self, kind: str, text: str) -> Token:
        if self.token.kind != kind or self.token.text != text:
            self.unexpected()
        return self.take()

    def grown(self, at: int, *parts: ast.Term) -> int:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}", at, LIMIT)
        return depth

    def whole(self) -> ast.Term:
        if len(self.tokens) == 1:
            self.fail("the expression is empty")
        term = self.expression(0)
        self.expect("end", "")
        return term

    def expression(self, binding: int) -> ast.Term:
        self.nested += 1
        if self.nested > MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH}", code=LIMIT)
        left = self.prefix()
        while (power := self.operator_power()) > binding:
            left = self.infix(left, power)
        self.nested -= 1
        return left

    def operator_power(self) -> int:
        if self.token.kind == "symbol" or (self.token.kind == "name" and self.token.text in _WORDS):
            return _BINARY.get(self.token.text, 0)
        return 0

    def infix(self, left: ast.Term, power: int) -> ast.Term:
        operator = self.take()
        if operator.text in ("is", "as"):
            named = self.type_specifier()
            depth = self.grown(operator.at, left)
            return ast.TypeTest(at=operator.at, depth=depth, operator=operator.text, operand=left, type=named)
        right = self.expression(power)
        depth = self.grown(operator.at, left, right)
        return ast.Binary(at=operator.at, depth=depth, operator=operator.text, left=left, right=right)

    def prefix(self) -> ast.Term:
        if self.token.kind == "symbol" and self.token.text in "+-":
            sign = self.take()
            operand = self.expression(_UNARY - 1)
            depth = self.grown(sign.at, operand)
            return ast.Unary(at=sign.at, depth=depth, operator=sign.text, operand=operand)
        return self.postfix(self.primary())

    def postfix(self, term: ast.Term) -> ast.Term:
        while self.token.kind == "symbol" and self.token.text in ".[":
            mark = self.take()
            if mark.text == ".":
                term = self.invocation(term)
            else:
                position = self.expression(0)
                self.expect("symbol", "]")
                depth = self.grown(mark.at, term, position)
                term = ast.Item(at=mark.at, depth=depth, source=term, position=position)
        return term

    def primary(self) -> ast.Term:
        token = self.token
        if token.kind == "symbol":
            return self.bracketed()
        if token.kind in ("name", "quoted"):
            if token.kind == "name" and token.text in ("true", "false"):
                self.take()
                return ast.Literal(at=token.at, value=token.text == "true")
            return self.invocation(ast.HERE)
        if token.kind == "special":
            return self.invocation(ast.HERE)
        if token.kind == "end":
            self.unexpected()
        return self.constant(self.take())

    def bracketed(self) -> ast.Term:
        opened = self.take()
        if opened.text == "(":
            term = self.expression(0)
            self.expect("symbol", ")")
            return term
        if opened.text == "{":
            self.expect("symbol", "}")
            return ast.Nothing(at=opened.at)
        self.place -= 1
        return self.unexpected()

    def constant(self, token: Token) -> ast.Term:
        if token.kind == "external":
            return ast.Variable(at=token.at, name=token.text)
        if token.kind == "string":
            return ast.Literal(at=token.at, value=token.text)
        if token.kind == "number":
            return ast.Literal(at=token.at, value=self.number(token))
        value = datetimes.literal(token.text)
        if value is None:
            self.fail("no such date or time", token.at)
        return ast.Literal(at=token.at, value=value)

    def number(self, token: Token) -> ast.Constant:
        digits = token.text.removesuffix("L")
        if len(digits) > 60:
            self.fail("a number of more than 60 digits", token.at, LIMIT)
        if self.token.kind == "string":
            return Quantity(Decimal(digits), self.take().text)
        if self.token.kind == "name" and self.token.text in CALENDAR:
            word = self.take().text
            return Quantity(Decimal(digits), CALENDAR[word], calendar=True, word=word)
        return Decimal(digits) if "." in digits else int(digits)

    def invocation(self, source: ast.Term) -> ast.Term:
        token = self.take()
        if token.kind == "special":
            return self.special(token, source)
        if token.kind not in ("name", "quoted") or (token.kind == "name" and token.text in _KEYWORDS):
            self.place -= 1
            self.unexpected()
        if not self.at_symbol("("):
            depth = self.grown(token.at, source)
            return ast.Member(at=token.at, depth=depth, source=source, name=token.text)
        arguments = self.arguments(sorting=token.text == "sort")
        depth = self.grown(token.at, source, *arguments)
        return ast.Call(at=token.at, depth=depth, source=source, name=token.text, arguments=arguments)

    def special(self, token: Token, source: ast.Term) -> ast.Term:
        if not ast.is_here(source):
            self.fail(f"${token.text} begins a path", token.at)
        if token.text == "this":
            return ast.This(at=token.at)
        return ast.Index(at=token.at) if token.text == "index" else ast.Total(at=token.at)

    def arguments(self, *, sorting: bool) -> tuple[ast.Term, ...]:
        self.expect("symbol", "(")
        found: list[ast.Term] = []
        if not self.at_symbol(")"):
            found.append(self.argument(sorting=sorting))
            while self.at_symbol(","):
                self.take()
                found.append(self.argument(sorting=sorting))
        self.expect("symbol", ")")
        return tuple(found)

    def argument(self, *, sorting: bool) -> ast.Term:
        term = self.expression(0)
        if sorting and self.token.kind == "name" and self.token.text in ("asc", "desc"):
            word = self.take()
            return ast.Unary(at=word.at, depth=self.grown(word.at, term), operator=word.text, operand=term)
        return term

    def type_specifier(self) -> ast.TypeName:
        first = self.identifier()
        if self.at_symbol("."):
            self.take()
            return ast.TypeName(self.identifier(), first)
        return ast.TypeName(first)

    def identifier(self) -> str:
        if self.token.kind not in ("name", "quoted"):
            self.unexpected()
        return self.take().text
