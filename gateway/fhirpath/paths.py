"""Paths: from elements to their children, and the questions about them that need no collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.fhirpath import ast
from gateway.fhirpath.nodes import Node, take
from gateway.fhirpath.nodes import member as children_of
from gateway.fhirpath.quantities import Quantity
from gateway.fhirpath.running import Code, Context, Items, Run, Truth

if TYPE_CHECKING:
    from gateway.fhirpath.compiler import Compiler


class TypeInfo:
    """What `type()` answers (FHIRPath 2.0.0, "Reflection")."""

    __slots__ = ("baseType", "name", "namespace")

    def __init__(self, namespace: str, name: str, base: str) -> None:
        self.namespace = namespace
        self.name = name
        self.baseType = base

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypeInfo) and (self.namespace, self.name) == (other.namespace, other.name)

    def __hash__(self) -> int:
        return hash((self.namespace, self.name))


def member(compiler: Compiler, term: ast.Member) -> Code:
    """`source.name`, or `name` at the start of a path, where it may also be the name of the focus's type."""
    if ast.is_here(term.source):
        return Code(_first(term.name) if not term.name[:1].isupper() else _typed(term.name))
    return Code(_next(compiler.code(term.source).run, term.name))


def _other(item: Any, name: str, out: Items) -> None:
    """Children of values that are no elements."""
    if item.__class__ is TypeInfo and name in TypeInfo.__slots__:
        out.append(getattr(item, name))
    elif item.__class__ is Quantity and name in ("value", "unit", "code"):
        out.append(item.value if name == "value" else item.unit)


def _first(name: str) -> Run:
    def first(this: Items, ctx: Context) -> Items:
        out: Items = []
        for item in this:
            if item.__class__ is Node:
                steps = item.kind.steps[name]
                if len(steps) == 1 and item.fields is not None:
                    take(steps[0], item.fields, out)
                else:
                    children_of(item, name, out)
            else:
                _other(item, name, out)
        return out

    return first


def _next(source: Run, name: str) -> Run:
    def following(this: Items, ctx: Context) -> Items:
        out: Items = []
        for item in source(this, ctx):
            if item.__class__ is Node:
                steps = item.kind.steps[name]
                if len(steps) == 1 and item.fields is not None:
                    take(steps[0], item.fields, out)
                else:
                    children_of(item, name, out)
            else:
                _other(item, name, out)
        ctx.budget -= len(out)
        if ctx.budget < 0:
            ctx.spend(0)
        return out

    return following


def _typed(name: str) -> Run:
    inner = _first(name)

    def typed(this: Items, ctx: Context) -> Items:
        if len(this) == 1 and this[0].__class__ is Node and name in this[0].kind.lineage:
            return this
        return inner(this, ctx)

    return typed


def has(node: Node, name: str) -> bool:
    """Whether the element has a child of that name."""
    fields = node.fields
    if fields is None:
        return False
    if not node.kind.steps[name]:
        out: Items = []
        children_of(node, name, out)
        return bool(out)
    for step in node.kind.reached(name, fields):
        value = fields.get(step.key)
        if value is not None and (value.__class__ is not list or _any(value)):
            return True
        if step.shadow is not None and step.shadow in fields:
            out = []
            take(step, fields, out)
            if out:
                return True
    return False


def _any(values: list[Any]) -> bool:
    return any(value is not None for value in values)


def exists(compiler: Compiler, source: ast.Term, *, wanted: bool) -> Truth:
    """`source.exists()` (wanted) or `source.empty()`."""
    if isinstance(source, ast.Member) and not (ast.is_here(source.source) and source.name[:1].isupper()):
        return _member_exists(compiler.code(source.source).run, source.name, wanted=wanted)
    run = compiler.code(source).run

    def truth(this: Items, ctx: Context) -> bool:
        return bool(run(this, ctx)) is wanted

    return truth


def _member_exists(source: Run, name: str, *, wanted: bool) -> Truth:
    def truth(this: Items, ctx: Context) -> bool:
        for item in source(this, ctx):
            if item.__class__ is Node:
                if has(item, name):
                    return wanted
            else:
                out: Items = []
                _other(item, name, out)
                if out:
                    return wanted
        return not wanted

    return truth
