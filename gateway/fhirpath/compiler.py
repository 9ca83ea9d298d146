"""Syntax tree to closures.

Each term becomes a `Code`: a function from ($this, context) to a collection, and where possible a second one that
answers it as a condition without building the collection. Constant parts are computed once, at compile time.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final, NoReturn, cast

from gateway.fhirpath import ast, operators, paths, values
from gateway.fhirpath.environment import EMPTY
from gateway.fhirpath.faults import MEANING, Fault, FhirPathError
from gateway.fhirpath.library import FUNCTIONS
from gateway.fhirpath.nodes import Kinds, Node
from gateway.fhirpath.operators import OPERATORS
from gateway.fhirpath.running import (
    CHARACTERS,
    Code,
    Context,
    Items,
    Run,
    Truth,
    condition,
    constant,
    from_truth,
    one,
    to_items,
)
from gateway.fhirpath.typetests import type_test

_URLS: Final = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
# Calls that ask the environment, or that could be long: never computed at compile time.
_ASKING: Final = frozenset(
    {"now", "today", "timeOfDay", "trace", "lookup", "resolve", "memberOf", "conformsTo", "htmlChecks", "subsumes",
     "subsumedBy", "defineVariable", "repeat", "aggregate"}
)  # fmt: skip


class Compiler:
    """Compiles the terms of one expression."""

    def __init__(self, text: str, kinds: Kinds, certain: Container[int] = ()) -> None:
        self.text = text
        self.kinds = kinds
        self.certain = certain  # places of casts that follow the normative rule, see shapes.py

    def fail(self, term: ast.Term, detail: str) -> NoReturn:
        """Refuse the expression at this term."""
        raise FhirPathError(MEANING, self.text, term.at, detail)

    def code(self, term: ast.Term) -> Code:
        """The closure of a term."""
        return _COMPILERS[type(term)](self, term)

    def run(self, term: ast.Term) -> Run:
        """The closure of a term as a collection; variables that it defines end with it."""
        run = self.code(term).run
        return _scoped(run) if defines(term) else run

    def truth(self, term: ast.Term) -> Truth:
        """The closure of a term as a condition."""
        if defines(term):
            return condition(Code(self.run(term)))
        return condition(self.code(term))

    def fold(self, code: Code, term: ast.Term) -> Code:
        """The code, computed now, if nothing that it depends on can change."""
        try:
            return constant(code.run([], Context(EMPTY, self.kinds, [])))
        except Fault:
            return code  # it fails each time it is evaluated, and says so then


def defines(term: ast.Term) -> bool:
    """Whether a variable is defined anywhere in the term."""
    return any(isinstance(part, ast.Call) and part.name == "defineVariable" for part in ast.walk(term))


def _scoped(run: Run) -> Run:
    def inside(this: Items, ctx: Context) -> Items:
        kept = ctx.variables
        try:
            return run(this, ctx)
        finally:
            ctx.variables = kept

    return inside


def placed(run: Run, at: int) -> Run:
    """The same closure; a fault that leaves it knows its place."""

    def located(this: Items, ctx: Context) -> Items:
        try:
            return run(this, ctx)
        except Fault as fault:
            if fault.at is None:
                fault.at = at
            raise

    return located


# --- terms ----------------------------------------


def _literal(compiler: Compiler, term: ast.Literal) -> Code:
    return constant([term.value])


def _nothing(compiler: Compiler, term: ast.Nothing) -> Code:
    return constant([])


def _this(compiler: Compiler, term: ast.This) -> Code:
    return Code(lambda this, ctx: this)


def _index(compiler: Compiler, term: ast.Index) -> Code:
    return Code(lambda this, ctx: [ctx.index])


def _total(compiler: Compiler, term: ast.Total) -> Code:
    return Code(lambda this, ctx: ctx.total)


def _variable(compiler: Compiler, term: ast.Variable) -> Code:
    name = term.name
    if name in _RESERVED:
        return Code(_RESERVED[name])
    url = _url(name)

    def variable(this: Items, ctx: Context) -> Items:
        if name in ctx.variables:
            return ctx.variables[name]
        if name in ctx.env.variables:
            return to_items(ctx.env.variables[name], ctx.kinds)
        if url is not None:
            return [url]
        raise Fault(f"the variable %{name} is not defined", term.at, MEANING)

    return Code(variable)


def _url(name: str) -> str | None:
    if name.startswith("vs-"):
        return f"http://hl7.org/fhir/ValueSet/{name[3:]}"
    if name.startswith("ext-"):
        return f"http://hl7.org/fhir/StructureDefinition/{name[4:]}"
    return _URLS.get(name)


def _resource(this: Items, ctx: Context) -> Items:
    return ctx.root if ctx.env.resource is None else to_items(ctx.env.resource, ctx.kinds)


def _root_resource(this: Items, ctx: Context) -> Items:
    return _resource(this, ctx) if ctx.env.root_resource is None else to_items(ctx.env.root_resource, ctx.kinds)


def _context(this: Items, ctx: Context) -> Items:
    return ctx.root if ctx.env.context is None else to_items(ctx.env.context, ctx.kinds)


_RESERVED: Final[dict[str, Run]] = {"resource": _resource, "rootResource": _root_resource, "context": _context}


def _member(compiler: Compiler, term: ast.Member) -> Code:
    return paths.member(compiler, term)


def _item(compiler: Compiler, term: ast.Item) -> Code:
    source, position = compiler.code(term.source).run, compiler.run(term.position)

    def item(this: Items, ctx: Context) -> Items:
        place = one(position(this, ctx), "the position")
        if place is None:
            return []
        if place.__class__ is not int:
            raise Fault("the position must be an integer")
        items = source(this, ctx)
        return items[place : place + 1] if place >= 0 else []

    return Code(placed(item, term.at))


def _call(compiler: Compiler, term: ast.Call) -> Code:
    function = FUNCTIONS.get(term.name)
    if function is None:
        compiler.fail(term, f"there is no function {term.name}()")
    if not function.least <= len(term.arguments) <= function.most:
        compiler.fail(term, f"{term.name}() does not take {len(term.arguments)} arguments")
    code = function.build(compiler, term)
    code.run = placed(code.run, term.at)
    if code.truth is None and all(_is_constant(part) for part in ast.below(term)) and term.name not in _ASKING:
        return compiler.fold(code, term)
    return code


def _is_constant(term: ast.Term) -> bool:
    """Only literals, operators and calls on them."""
    for part in ast.walk(term):
        if isinstance(part, ast.This | ast.Index | ast.Total | ast.Variable | ast.Member):
            return False
        if isinstance(part, ast.Call) and part.name in _ASKING:
            return False
    return True


def _unary(compiler: Compiler, term: ast.Unary) -> Code:
    operand = compiler.code(term.operand)
    operation = operators.negative if term.operator == "-" else operators.positive
    code = Code(placed(lambda this, ctx: operation(operand.run(this, ctx)), term.at))
    return compiler.fold(code, term) if operand.constant is not None else code


def _type_test(compiler: Compiler, term: ast.TypeTest) -> Code:
    return type_test(compiler, term)


# --- binary operators ----------------------------------------


def _binary(compiler: Compiler, term: ast.Binary) -> Code:
    if term.operator in _LOGIC:
        return from_truth(_LOGIC[term.operator](compiler.truth(term.left), compiler.truth(term.right), term.at))
    left, right = compiler.code(term.left), compiler.code(term.right)
    first = _scoped(left.run) if defines(term.left) else left.run
    second = _scoped(right.run) if defines(term.right) else right.run
    fixed = right.constant
    if term.operator in ("=", "!=") and fixed is not None and len(fixed) == 1 and fixed[0].__class__ in (str, bool):
        return from_truth(_equals_literal(first, fixed, negated=term.operator == "!=", at=term.at))
    code = _operation(OPERATORS[term.operator], first, second, term.at)
    return compiler.fold(code, term) if fixed is not None and left.constant is not None else code


def _operation(operator: operators.Operator, left: Run, right: Run, at: int) -> Code:
    def operation(this: Items, ctx: Context) -> Items:
        first, second = left(this, ctx), right(this, ctx)
        ctx.budget -= len(first) + len(second)
        if ctx.budget < 0 or (first and first[0].__class__ is Node and first[0].value.__class__ is dict):
            ctx.spend(values.weight(first) + values.weight(second))
        found = operator(first, second)
        if found and found[0].__class__ is str:
            ctx.spend(len(found[0]) // CHARACTERS)
        return found

    return Code(placed(operation, at))


def _equals_literal(left: Run, right: Items, *, negated: bool, at: int) -> Truth:
    """`path = 'text'`: the comparison that invariants are made of, without conversions."""
    wanted = right[0]
    system = "String" if wanted.__class__ is str else "Boolean"
    general = operators.differs if negated else operators.equals

    def truth(this: Items, ctx: Context) -> bool | None:
        items = left(this, ctx)
        if not items:
            return None
        item = items[0]
        if len(items) == 1 and item.__class__ is Node and item.kind.system == system and item.value is not None:
            return (item.value == wanted) is not negated
        found = general(items, right)
        return found[0] if found else None

    return truth


def _and(left: Truth, right: Truth, at: int) -> Truth:
    def truth(this: Items, ctx: Context) -> bool | None:
        first = left(this, ctx)
        if first is False:
            return False
        second = right(this, ctx)
        if second is False:
            return False
        return True if first and second else None

    return truth


def _or(left: Truth, right: Truth, at: int) -> Truth:
    def truth(this: Items, ctx: Context) -> bool | None:
        first = left(this, ctx)
        if first is True:
            return True
        second = right(this, ctx)
        if second is True:
            return True
        return None if first is None or second is None else False

    return truth


def _xor(left: Truth, right: Truth, at: int) -> Truth:
    def truth(this: Items, ctx: Context) -> bool | None:
        first, second = left(this, ctx), right(this, ctx)
        return None if first is None or second is None else first is not second

    return truth


def _implies(left: Truth, right: Truth, at: int) -> Truth:
    def truth(this: Items, ctx: Context) -> bool | None:
        first = left(this, ctx)
        if first is False:
            return True
        second = right(this, ctx)
        if second is True:
            return True
        return None if first is None or second is None else False

    return truth


_LOGIC: Final = {"and": _and, "or": _or, "xor": _xor, "implies": _implies}

_COMPILERS = cast(
    "dict[type[ast.Term], Callable[[Compiler, Any], Code]]",
    {
        ast.Literal: _literal,
        ast.Nothing: _nothing,
        ast.This: _this,
        ast.Index: _index,
        ast.Total: _total,
        ast.Variable: _variable,
        ast.Member: _member,
        ast.Item: _item,
        ast.Call: _call,
        ast.Unary: _unary,
        ast.TypeTest: _type_test,
        ast.Binary: _binary,
    },
)
