"""Functions over whole collections: counting, sets, parts of a collection, the tree below."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from gateway.fhirpath import operators, values
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.nodes import Node, children
from gateway.fhirpath.registry import Function, on_input, with_arguments
from gateway.fhirpath.running import Context, Items, integer, single
from gateway.fhirpath.values import plain


def _booleans(items: Items) -> list[bool]:
    found = [plain(item) for item in items]
    for value in found:
        if value.__class__ is not bool:
            raise Fault("every item must be a boolean")
    return found


def _all_true(items: Items, ctx: Context) -> Items:
    return [all(_booleans(items))]


def _any_true(items: Items, ctx: Context) -> Items:
    return [any(_booleans(items))]


def _all_false(items: Items, ctx: Context) -> Items:
    return [not any(_booleans(items))]


def _any_false(items: Items, ctx: Context) -> Items:
    return [not all(_booleans(items))]


def _keys(items: Items) -> set[Any]:
    return {values.key(item) for item in items}


def _subset_of(items: Items, ctx: Context, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    return [_keys(items) <= _keys(other)]


def _superset_of(items: Items, ctx: Context, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    return [_keys(items) >= _keys(other)]


def _count(items: Items, ctx: Context) -> Items:
    return [len(items)]


def _distinct(items: Items, ctx: Context) -> Items:
    ctx.spend(len(items))
    return values.distinct(items)


def _is_distinct(items: Items, ctx: Context) -> Items:
    ctx.spend(len(items))
    return [len(values.distinct(items)) == len(items)]


def _single(items: Items, ctx: Context) -> Items:
    single(items)
    return items


def _skip(items: Items, ctx: Context, count: Items) -> Items:
    number = integer(count)
    if number is None:
        return []
    return items[max(0, number) :]


def _take(items: Items, ctx: Context, count: Items) -> Items:
    number = integer(count)
    return items[:number] if number is not None and number > 0 else []


def _intersect(items: Items, ctx: Context, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    wanted = _keys(other)
    return [item for item in values.distinct(items) if values.key(item) in wanted]


def _exclude(items: Items, ctx: Context, other: Items) -> Items:
    ctx.spend(len(items) + len(other))
    unwanted = _keys(other)
    return [item for item in items if values.key(item) not in unwanted]


def _combine(items: Items, ctx: Context, other: Items, keep_order: Items | None = None) -> Items:
    ctx.spend(len(items) + len(other))
    return items + other


def _children(items: Items, ctx: Context) -> Items:
    out: Items = []
    for item in items:
        if item.__class__ is Node:
            out.extend(children(item))
    ctx.spend(len(out))
    return out


def _descendants(items: Items, ctx: Context) -> Items:
    out: Items = []
    waiting = items
    while waiting:
        found: Items = []
        for item in waiting:
            if item.__class__ is Node and item.fields is not None:
                found.extend(children(item))
        ctx.spend(len(found))
        out.extend(found)
        waiting = found
    return out


# --- sums (FHIRPath 3, "Aggregates") ----------------------------------------


def _fold(operator: operators.Operator) -> Callable[[Items, Context], Items]:
    def fold(items: Items, ctx: Context) -> Items:
        total = items[:1]
        for item in items[1:]:
            total = operator(total, [item])
        return total

    return fold


def _extreme(sign: int) -> Callable[[Items, Context], Items]:
    def extreme(items: Items, ctx: Context) -> Items:
        best = items[:1]
        for item in items[1:]:
            order = values.compare(item, best[0])
            if order is None:
                return []
            if order * sign > 0:
                best = [item]
        return best

    return extreme


def _average(items: Items, ctx: Context) -> Items:
    total = _fold(operators.plus)(items, ctx)
    return operators.divided(total, [Decimal(len(items))]) if total else []


FUNCTIONS: Final[dict[str, Function]] = {
    "allTrue": on_input(_all_true),
    "anyTrue": on_input(_any_true),
    "allFalse": on_input(_all_false),
    "anyFalse": on_input(_any_false),
    "subsetOf": with_arguments(_subset_of),
    "supersetOf": with_arguments(_superset_of),
    "count": on_input(_count),
    "distinct": on_input(_distinct),
    "isDistinct": on_input(_is_distinct),
    "single": on_input(_single),
    "first": on_input(lambda items, ctx: items[:1]),
    "last": on_input(lambda items, ctx: items[-1:]),
    "tail": on_input(lambda items, ctx: items[1:]),
    "skip": with_arguments(_skip),
    "take": with_arguments(_take),
    "intersect": with_arguments(_intersect),
    "exclude": with_arguments(_exclude),
    "combine": with_arguments(_combine, 1, 2),
    "children": on_input(_children),
    "descendants": on_input(_descendants),
    "sum": on_input(_fold(operators.plus)),
    "min": on_input(_extreme(-1)),
    "max": on_input(_extreme(1)),
    "avg": on_input(_average),
}
