"""Functions whose argument is an expression for each item: where, select, all, repeat, aggregate, iif, sort …"""

from __future__ import annotations

from collections.abc import Callable
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, Final

from gateway.fhirpath import ast, paths, values
from gateway.fhirpath.faults import MEANING, Fault
from gateway.fhirpath.registry import Function
from gateway.fhirpath.running import Code, Context, Items, Run, Truth, from_truth, single, text, to_json
from gateway.fhirpath.values import distinct, plain

if TYPE_CHECKING:
    from gateway.fhirpath.compiler import Compiler


# What one round of a loop without a natural end counts: about what it costs, in items.
ROUND: Final = 20


def _indexed(*terms: ast.Term) -> bool:
    return any(isinstance(part, ast.Index) for term in terms for part in ast.walk(term))


def _where(compiler: Compiler, term: ast.Call) -> Code:
    source, criterion = compiler.code(term.source).run, compiler.truth(term.arguments[0])
    if _indexed(term.arguments[0]):
        return Code(_indexed_where(source, criterion))

    def run(this: Items, ctx: Context) -> Items:
        items = source(this, ctx)
        ctx.budget -= len(items)
        if ctx.budget < 0:
            ctx.spend(0)
        return [item for item in items if criterion([item], ctx) is True]

    return Code(run)


def _indexed_where(source: Run, criterion: Truth) -> Run:
    def run(this: Items, ctx: Context) -> Items:
        kept, out = ctx.index, []
        for place, item in enumerate(source(this, ctx)):
            ctx.index = place
            if criterion([item], ctx) is True:
                out.append(item)
        ctx.index = kept
        ctx.spend(len(out))
        return out

    return run


def _exists(compiler: Compiler, term: ast.Call) -> Code:
    if not term.arguments:
        return from_truth(_exists_all(compiler, term.source))
    return from_truth(_any(compiler, term.source, term.arguments[0]))


def _exists_all(compiler: Compiler, source: ast.Term) -> Truth:
    """`x.where(y).exists()` stops at the first match."""
    if isinstance(source, ast.Call) and source.name == "where" and len(source.arguments) == 1:
        return _any(compiler, source.source, source.arguments[0])
    return paths.exists(compiler, source, wanted=True)


def _any(compiler: Compiler, source: ast.Term, criterion: ast.Term) -> Truth:
    items_of, matches = compiler.code(source).run, compiler.truth(criterion)
    if _indexed(criterion):
        filtered = _indexed_where(items_of, matches)
        return lambda this, ctx: bool(filtered(this, ctx))

    def truth(this: Items, ctx: Context) -> bool:
        items = items_of(this, ctx)
        ctx.budget -= len(items)
        if ctx.budget < 0:
            ctx.spend(0)
        for item in items:  # noqa: SIM110 - a generator would cost more than the criterion
            if matches([item], ctx) is True:
                return True
        return False

    return truth


def _empty(compiler: Compiler, term: ast.Call) -> Code:
    source = term.source
    if isinstance(source, ast.Call) and source.name == "where" and len(source.arguments) == 1:
        found = _any(compiler, source.source, source.arguments[0])
        return from_truth(lambda this, ctx: not found(this, ctx))
    return from_truth(paths.exists(compiler, source, wanted=False))


def _not(compiler: Compiler, term: ast.Call) -> Code:
    inner = compiler.truth(term.source)

    def truth(this: Items, ctx: Context) -> bool | None:
        answer = inner(this, ctx)
        return None if answer is None else not answer

    return from_truth(truth)


def _all(compiler: Compiler, term: ast.Call) -> Code:
    source, criterion = compiler.code(term.source).run, compiler.truth(term.arguments[0])

    def truth(this: Items, ctx: Context) -> bool:
        kept = ctx.index
        items = source(this, ctx)
        ctx.spend(len(items))
        for place, item in enumerate(items):
            ctx.index = place
            if criterion([item], ctx) is not True:
                ctx.index = kept
                return False
        ctx.index = kept
        return True

    return from_truth(truth)


def _select(compiler: Compiler, term: ast.Call) -> Code:
    source, projection = compiler.code(term.source).run, compiler.run(term.arguments[0])

    def run(this: Items, ctx: Context) -> Items:
        kept, out = ctx.index, []
        for place, item in enumerate(source(this, ctx)):
            ctx.index = place
            found = projection([item], ctx)
            ctx.spend(len(found) + 1)
            out.extend(found)
        ctx.index = kept
        return out

    return Code(run)


def _repeat(compiler: Compiler, term: ast.Call) -> Code:
    source, projection = compiler.code(term.source).run, compiler.run(term.arguments[0])

    def run(this: Items, ctx: Context) -> Items:
        seen: dict[object, object] = {}
        waiting = source(this, ctx)
        while waiting:
            found: Items = []
            for item in waiting:
                ctx.spend(ROUND)
                for made in projection([item], ctx):
                    ctx.spend(1)
                    mark = values.key(made)
                    if mark not in seen:
                        seen[mark] = made
                        found.append(made)
            waiting = found
        return list(seen.values())

    return Code(run)


def _repeat_all(compiler: Compiler, term: ast.Call) -> Code:
    source, projection = compiler.code(term.source).run, compiler.run(term.arguments[0])

    def run(this: Items, ctx: Context) -> Items:
        out: Items = []
        waiting = source(this, ctx)
        while waiting:
            found = []
            for item in waiting:
                found.extend(projection([item], ctx))
                ctx.spend(len(found) + ROUND)
            out.extend(found)
            waiting = found
        return out

    return Code(run)


def _aggregate(compiler: Compiler, term: ast.Call) -> Code:
    source, step = compiler.code(term.source).run, compiler.run(term.arguments[0])
    start = compiler.run(term.arguments[1]) if len(term.arguments) > 1 else None

    def run(this: Items, ctx: Context) -> Items:
        kept, index = ctx.total, ctx.index
        items = source(this, ctx)
        total = start(this, ctx) if start is not None else []
        for place, item in enumerate(items):
            ctx.index, ctx.total = place, total
            total = step([item], ctx)
            ctx.spend(len(total) + ROUND)
        ctx.total, ctx.index = kept, index
        return total

    return Code(run)


def _iif(compiler: Compiler, term: ast.Call) -> Code:
    source, criterion = compiler.code(term.source).run, compiler.run(term.arguments[0])
    then = compiler.run(term.arguments[1])
    otherwise = compiler.run(term.arguments[2]) if len(term.arguments) > 2 else None
    unwritten = ast.is_here(term.source)

    def run(this: Items, ctx: Context) -> Items:
        focus = this if unwritten else source(this, ctx)
        if len(focus) > 1:
            raise Fault(f"iif() needs at most one item, not {len(focus)}")
        chosen = single(criterion(focus, ctx), "the criterion of iif()")
        answer = None if chosen is None else plain(chosen)
        if answer is not None and answer.__class__ is not bool:
            raise Fault("the criterion of iif() must be a boolean", code=MEANING)
        if answer is True:
            return then(focus, ctx)
        return otherwise(focus, ctx) if otherwise is not None else []

    return Code(run)


def _trace(compiler: Compiler, term: ast.Call) -> Code:
    source, name = compiler.code(term.source).run, compiler.run(term.arguments[0])
    projection = compiler.run(term.arguments[1]) if len(term.arguments) > 1 else None

    def run(this: Items, ctx: Context) -> Items:
        items = source(this, ctx)
        if ctx.env.trace is not None:
            shown = items
            if projection is not None:
                shown = [made for item in items for made in projection([item], ctx)]
            ctx.env.trace(text(name(this, ctx), "the name") or "", [to_json(item) for item in shown])
        return items

    return Code(run)


def _define(compiler: Compiler, term: ast.Call) -> Code:
    source, name = compiler.code(term.source).run, compiler.run(term.arguments[0])
    value = compiler.run(term.arguments[1]) if len(term.arguments) > 1 else None

    def run(this: Items, ctx: Context) -> Items:
        items = source(this, ctx)
        called = text(name(this, ctx), "the name of a variable")
        if not called or called in _TAKEN or called in ctx.variables:
            raise Fault("a variable needs a name that is not taken")
        made = value(items, ctx) if value is not None else items
        ctx.variables = {**ctx.variables, called: made}
        return items

    return Code(run)


_TAKEN: Final = frozenset({"context", "resource", "rootResource", "ucum", "sct", "loinc"})


def _sort(compiler: Compiler, term: ast.Call) -> Code:
    source = compiler.code(term.source).run
    keys: list[tuple[Run, int]] = [_sort_key(compiler, argument) for argument in term.arguments]
    keys = keys or [(lambda this, ctx: this, 1)]

    def run(this: Items, ctx: Context) -> Items:
        items = source(this, ctx)
        ctx.spend(len(items) * len(keys))
        rows = [([single(key([item], ctx), "a sort key") for key, _ in keys], item) for item in items]
        signs = [sign for _, sign in keys]
        by_keys: Callable[[Items], Any] = cmp_to_key(lambda a, b: _order(a, b, signs))
        rows.sort(key=lambda row: by_keys(row[0]))
        return [item for _, item in rows]

    return Code(run)


def _sort_key(compiler: Compiler, term: ast.Term) -> tuple[Run, int]:
    """A key; `desc` after it or a minus before it means descending, also for strings."""
    if isinstance(term, ast.Unary) and term.operator in ("-", "asc", "desc"):
        return compiler.run(term.operand), 1 if term.operator == "asc" else -1
    return compiler.run(term), 1


def _order(left: Items, right: Items, signs: list[int]) -> int:
    for a, b, sign in zip(left, right, signs, strict=True):
        order = (a is not None) - (b is not None)  # empty stands before everything, in either direction
        if a is not None and b is not None:
            order = (values.compare(a, b) or 0) * sign
        if order:
            return order
    return 0


def _coalesce(compiler: Compiler, term: ast.Call) -> Code:
    runs = [compiler.run(argument) for argument in term.arguments]

    def run(this: Items, ctx: Context) -> Items:
        for candidate in runs:
            found = candidate(this, ctx)
            if found:
                return found
        return []

    return Code(run)


def _union(compiler: Compiler, term: ast.Call) -> Code:
    source, other = compiler.code(term.source).run, compiler.run(term.arguments[0])

    def run(this: Items, ctx: Context) -> Items:
        left, right = source(this, ctx), other(this, ctx)
        ctx.spend(len(left) + len(right))
        return distinct(left + right)

    return Code(run)


FUNCTIONS: Final[dict[str, Function]] = {
    "where": Function(1, 1, _where),
    "exists": Function(0, 1, _exists),
    "empty": Function(0, 0, _empty),
    "not": Function(0, 0, _not),
    "all": Function(1, 1, _all),
    "select": Function(1, 1, _select),
    "repeat": Function(1, 1, _repeat),
    "repeatAll": Function(1, 1, _repeat_all),
    "aggregate": Function(1, 2, _aggregate),
    "iif": Function(2, 3, _iif),
    "trace": Function(1, 2, _trace),
    "defineVariable": Function(1, 2, _define),
    "sort": Function(0, 20, _sort),
    "coalesce": Function(1, 100, _coalesce),
    "union": Function(1, 1, _union),
}
