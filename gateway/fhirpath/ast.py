"""The syntax tree of an expression (FHIRPath 2.0.0 normative, annex "Grammar").

Every node knows `at`, the offset of its first own character, and `depth`, the height of the tree below it. The
tree is public: what else reads expressions (views, search, messages) walks these classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

import msgspec

from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.quantities import Quantity

Constant = bool | int | Decimal | str | Temporal | Quantity


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all nodes."""

    at: int = 0
    depth: int = 1


class Literal(Term, frozen=True, kw_only=True):
    """A System value written in the expression."""

    value: Constant


class Nothing(Term, frozen=True, kw_only=True):
    """The empty collection `{}`."""


class This(Term, frozen=True, kw_only=True):
    """`$this`; also the unwritten start of a path."""

    written: bool = True


class Index(Term, frozen=True, kw_only=True):
    """`$index`."""


class Total(Term, frozen=True, kw_only=True):
    """`$total`."""


class Variable(Term, frozen=True, kw_only=True):
    """`%name`."""

    name: str


class Member(Term, frozen=True, kw_only=True):
    """`source.name`: an element, or at the start of a path possibly the name of the type."""

    source: Term
    name: str


class Call(Term, frozen=True, kw_only=True):
    """`source.name(arguments)`."""

    source: Term
    name: str
    arguments: tuple[Term, ...]


class Item(Term, frozen=True, kw_only=True):
    """`source[position]`."""

    source: Term
    position: Term


class Unary(Term, frozen=True, kw_only=True):
    """`+x` or `-x`; as an argument of sort() also `x asc` and `x desc`."""

    operator: str
    operand: Term


class Binary(Term, frozen=True, kw_only=True):
    """`left operator right`, all operators except `is` and `as`."""

    operator: str
    left: Term
    right: Term


class TypeName(msgspec.Struct, frozen=True):
    """A type specifier: `Patient`, `FHIR.Patient`, `System.String`."""

    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}" if self.namespace else self.name


class TypeTest(Term, frozen=True, kw_only=True):
    """`operand is Type` or `operand as Type`."""

    operator: str
    operand: Term
    type: TypeName


HERE: Final = This(written=False)


def below(term: Term) -> tuple[Term, ...]:
    """The direct parts of a node, in the order of the text."""
    match term:
        case Member():
            return (term.source,)
        case Call():
            return (term.source, *term.arguments)
        case Item():
            return (term.source, term.position)
        case Unary() | TypeTest():
            return (term.operand,)
        case Binary():
            return (term.left, term.right)
        case _:
            return ()


def walk(term: Term) -> Iterator[Term]:
    """The node and everything below it."""
    waiting = [term]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(below(current)))


def is_here(term: Term) -> bool:
    """Whether the node is the unwritten start of a path."""
    return isinstance(term, This) and not term.written


def type_name(term: Term) -> TypeName | None:
    """The type that an argument names (`Quantity`, `FHIR.Quantity`), or None where it names none."""
    if not isinstance(term, Member):
        return None
    if is_here(term.source):
        return TypeName(term.name)
    if isinstance(term.source, Member) and is_here(term.source.source):
        return TypeName(term.name, term.source.name)
    return None
