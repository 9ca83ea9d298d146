"""`is`, `as`, `ofType` and `type()` over FHIR and System types (FHIRPath 2.0.0, "Types", "Reflection")."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.fhirpath import ast
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.nodes import Node
from gateway.fhirpath.paths import TypeInfo
from gateway.fhirpath.running import Code, Context, Items, Run, from_truth, single
from gateway.fhirpath.values import system_name

if TYPE_CHECKING:
    from gateway.fhirpath.compiler import Compiler

SYSTEM: Final = frozenset(
    {"Any", "Boolean", "String", "Integer", "Long", "Decimal", "Date", "DateTime", "Time", "Quantity"}
)

Test = Callable[[Any], bool]


def specifier(compiler: Compiler, term: ast.Call) -> ast.TypeName:
    """The type that the only argument of a call names."""
    named = ast.type_name(term.arguments[0])
    if named is None:
        compiler.fail(term, f"{term.name}() needs the name of a type")
    return known(compiler, term, named)


def known(compiler: Compiler, term: ast.Term, named: ast.TypeName) -> ast.TypeName:
    """The same name, if there is such a type."""
    ok = {
        # `is(System.Patient)` is a question with an answer: no
        "System": named.name in SYSTEM or term_asks(term),
        "FHIR": compiler.kinds.knows(named.name),
        None: named.name in SYSTEM or compiler.kinds.knows(named.name),
    }
    if not ok.get(named.namespace, False):
        compiler.fail(term, f"there is no type {named}")
    return named


def term_asks(term: ast.Term) -> bool:
    """Whether the term only asks for the type."""
    return (isinstance(term, ast.Call) and term.name == "is") or (
        isinstance(term, ast.TypeTest) and term.operator == "is"
    )


def is_of(named: ast.TypeName, *, exact_primitives: bool = False, lenient: bool = False) -> Test:
    """Whether an item has the type.

    `exact_primitives`: a code is no string (as the official suite has it for `ofType`). `lenient`: an unqualified
    System name also means the FHIR primitive, for R4's own invariant que-7 (`answer is Boolean`).
    """
    name = named.name
    system = named.namespace != "FHIR" and name in SYSTEM
    fhir = named.namespace != "System"
    alias = name[0].lower() + name[1:] if lenient and system and named.namespace is None else name

    def has_type(item: Any) -> bool:
        if item.__class__ is Node:
            kind = item.kind
            if not fhir:
                return False
            if kind.name == name or kind.name == alias:
                return True
            return name in kind.lineage and not (exact_primitives and kind.primitive)
        if item.__class__ is TypeInfo:
            return False
        return system and (name == "Any" or system_name(item) == name)

    return has_type


def type_test(compiler: Compiler, term: ast.TypeTest) -> Code:
    """The operators `is` and `as`."""
    named = known(compiler, term, term.type)
    operand = compiler.code(term.operand).run
    if term.operator == "is":
        return _is(operand, is_of(named, lenient=True), term.at)
    return _cast(compiler, term, operand, is_of(named))


def _cast(compiler: Compiler, term: ast.Term, operand: Run, has_type: Test) -> Code:
    return (cast_one if term.at in compiler.certain else cast_all)(operand, has_type)


def _is(operand: Run, has_type: Test, at: int) -> Code:
    def truth(this: Items, ctx: Context) -> bool | None:
        items = operand(this, ctx)
        if len(items) > 1:
            raise Fault(f"is needs one item, not {len(items)}", at)
        return has_type(items[0]) if items else None

    return from_truth(truth)


def cast_all(operand: Run, has_type: Test) -> Code:
    """R4's lenient reading of `as`: it filters, also where there are several items."""

    def run(this: Items, ctx: Context) -> Items:
        return [item for item in operand(this, ctx) if has_type(item)]

    return Code(run)


def cast_one(operand: Run, has_type: Test) -> Code:
    """The normative reading of `as`: several items are a fault."""

    def run(this: Items, ctx: Context) -> Items:
        item = single(operand(this, ctx))
        return [item] if item is not None and has_type(item) else []

    return Code(run)


# --- functions ----------------------------------------


def call_is(compiler: Compiler, term: ast.Call) -> Code:
    """`is(Type)`."""
    return _is(compiler.code(term.source).run, is_of(specifier(compiler, term)), term.at)


def call_as(compiler: Compiler, term: ast.Call) -> Code:
    """`as(Type)`."""
    return _cast(compiler, term, compiler.code(term.source).run, is_of(specifier(compiler, term)))


def call_of_type(compiler: Compiler, term: ast.Call) -> Code:
    """`ofType(Type)`."""
    return cast_all(compiler.code(term.source).run, is_of(specifier(compiler, term), exact_primitives=True))


def call_type(compiler: Compiler, term: ast.Call) -> Code:
    """`type()`."""
    source = compiler.code(term.source).run
    return Code(lambda this, ctx: [type_of(item) for item in source(this, ctx)])


def type_of(item: Any) -> TypeInfo:
    """The type of an item as reflection shows it."""
    if item.__class__ is Node:
        return TypeInfo("FHIR", item.kind.name, f"FHIR.{base_of(item) or 'Element'}")
    return TypeInfo("System", system_name(item), "System.Any")


def base_of(node: Node) -> str | None:
    """The type that the element's type specialises."""
    order = list(node.kind.lineage_order())
    return order[1] if len(order) > 1 else None
