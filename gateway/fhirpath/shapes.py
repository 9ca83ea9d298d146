"""Static types: what an expression can yield, as far as the model tells.

Used twice: a strict compile refuses elements that no possible type has, and `as()` on a list of one certain type is
compiled to the normative rule (several items are a fault), while on choices and descendants it filters, as R4's own
expressions need.
"""

from __future__ import annotations

from typing import Final, NoReturn

import msgspec

from gateway.fhirpath import ast
from gateway.fhirpath.faults import MEANING, FhirPathError
from gateway.fhirpath.model import Element
from gateway.fhirpath.nodes import Kinds


class Shape(msgspec.Struct, frozen=True):
    """What a term yields. `types` None: not known. `mixed`: the items can have different types."""

    types: frozenset[str] | None = None
    many: bool = True
    mixed: bool = False
    ordered: bool = True


UNKNOWN: Final = Shape()
_TRUTH: Final = Shape(frozenset({"System.Boolean"}), many=False)
_NUMBER: Final = Shape(frozenset({"System.Integer"}), many=False)
_TEXT: Final = Shape(frozenset({"System.String"}), many=False)

_SAME: Final = frozenset({"where", "tail", "skip", "take", "trace", "distinct", "exclude", "intersect", "sort"})
_ONE: Final = frozenset({"first", "last", "single"})
_TRUE_OR_FALSE: Final = frozenset(
    {"exists", "empty", "not", "all", "allTrue", "anyTrue", "allFalse", "anyFalse", "isDistinct", "hasValue", "is",
     "subsetOf", "supersetOf", "startsWith", "endsWith", "contains", "matches", "matchesFull", "memberOf"}
)  # fmt: skip
_STRINGS: Final = frozenset({"toString", "substring", "upper", "lower", "replace", "replaceMatches", "join", "trim"})
_FOR_EACH: Final = _SAME | {"exists", "all", "select", "repeat", "repeatAll", "aggregate", "iif"}
# Functions that depend on the order of the input; the children of an element have none (FHIRPath, "children()").
_ORDERED: Final = frozenset({"first", "last", "tail", "skip", "take"})
_LOGIC: Final = frozenset({"and", "or", "xor", "implies", "=", "!=", "~", "!~", "<", "<=", ">", ">=", "in", "contains"})


class Typing:
    """One pass over a tree. After `shape`, `certain` holds the places of casts of a list of one certain type."""

    def __init__(self, text: str, kinds: Kinds, *, strict: bool) -> None:
        self.text = text
        self.kinds = kinds
        self.strict = strict
        self.certain: set[int] = set()

    def fail(self, term: ast.Term, detail: str) -> NoReturn:
        """Refuse the expression."""
        raise FhirPathError(MEANING, self.text, term.at, detail)

    def shape(self, term: ast.Term, this: Shape) -> Shape:
        """What the term yields when `$this` is of that shape."""
        match term:
            case ast.This():
                return this
            case ast.Member():
                return self._member(term, this)
            case ast.Call():
                return self._call(term, this)
            case ast.Item():
                source = self.shape(term.source, this)
                self.shape(term.position, this)
                self._order(term, source)
                return msgspec.structs.replace(source, many=False)
            case ast.Binary():
                return self._binary(term, this)
            case ast.TypeTest():
                return self._cast(term, self.shape(term.operand, this), term.type, term.operator)
            case ast.Unary():
                return self.shape(term.operand, this)
            case _:
                return UNKNOWN

    def _member(self, term: ast.Member, this: Shape) -> Shape:
        source = self.shape(term.source, this)
        if ast.is_here(term.source) and term.name[:1].isupper():
            return self._head(term, this)
        if source.types is None:
            return UNKNOWN
        found = [(name, element) for name in source.types if (element := self._element(name, term.name)) is not None]
        if not found:
            if self.strict and all(self._closed(name) for name in source.types):
                self.fail(term, f"{' or '.join(sorted(source.types))} has no element {term.name}")
            return UNKNOWN
        types = frozenset(kind for _, element in found for kind in element.types)
        many = source.many or any(element.many for _, element in found)
        if types & {"Resource", "DomainResource"}:
            return Shape(None, many, mixed=True)
        return Shape(types, many, mixed=source.mixed or len(types) > 1, ordered=source.ordered)

    def _head(self, term: ast.Member, this: Shape) -> Shape:
        known = self.kinds.model is not None and self.kinds.knows(term.name)
        if this.types is None:
            return Shape(frozenset({term.name}), many=this.many) if known else UNKNOWN
        fits = {name for name in this.types if term.name in self.kinds.lineage(name)}
        if fits:
            return this
        if self.strict and self.kinds.model is not None:
            self.fail(term, f"the focus is {' or '.join(sorted(this.types))}, not {term.name}")
        return UNKNOWN

    def _element(self, type_name: str, name: str) -> Element | None:
        elements = self.kinds.elements(type_name)
        return elements.get(name) if elements else None

    def _closed(self, type_name: str) -> bool:
        return self.kinds.elements(type_name) is not None

    def _order(self, term: ast.Term, source: Shape) -> None:
        if self.strict and not source.ordered:
            self.fail(term, "the input has no order")

    def _binary(self, term: ast.Binary, this: Shape) -> Shape:
        left, right = self.shape(term.left, this), self.shape(term.right, this)
        if term.operator in _LOGIC:
            return _TRUTH
        if term.operator == "|" and left.types is not None and right.types is not None:
            return Shape(left.types | right.types, mixed=True)
        return UNKNOWN

    def _cast(self, term: ast.Term, source: Shape, named: ast.TypeName, operator: str) -> Shape:
        if operator == "is":
            return _TRUTH
        if source.many and not source.mixed and source.types is not None and len(source.types) == 1:
            self.certain.add(term.at)
        return Shape(frozenset({named.name}), source.many)

    def _call(self, term: ast.Call, this: Shape) -> Shape:
        source = self.shape(term.source, this)
        name = term.name
        if name in ("is", "as", "ofType"):
            named = ast.type_name(term.arguments[0]) if len(term.arguments) == 1 else None
            if named is None:
                return UNKNOWN
            if name == "ofType":
                return Shape(frozenset({named.name}), source.many)
            return self._cast(term, source, named, name)
        if name in _ORDERED:
            self._order(term, source)
        each = msgspec.structs.replace(source, many=False) if name in _FOR_EACH else this
        inner = [self.shape(argument, each) for argument in term.arguments]
        return self._result(name, source, inner)

    def _result(self, name: str, source: Shape, inner: list[Shape]) -> Shape:
        if name in _SAME:
            return source
        if name in _ONE:
            return msgspec.structs.replace(source, many=False)
        if name in _TRUE_OR_FALSE:
            return _TRUTH
        if name in _STRINGS:
            return _TEXT
        if name in ("count", "length", "indexOf"):
            return _NUMBER
        if name == "select" and inner:
            return msgspec.structs.replace(inner[0], many=True)
        if name == "extension" and self.kinds.model is not None:
            return Shape(frozenset({"Extension"}))
        if name in ("children", "descendants"):
            return Shape(None, mixed=True, ordered=False)
        return UNKNOWN
