"""How a function of the language is described: how many arguments it takes, and how it is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.fhirpath import ast
from gateway.fhirpath.running import CHARACTERS, Code, Context, Items, text

if TYPE_CHECKING:
    from gateway.fhirpath.compiler import Compiler

Build = Callable[["Compiler", ast.Call], Code]
MANY: Final = 1_000


class Function(msgspec.Struct, frozen=True):
    """A function: fewest and most arguments, and what makes its closure."""

    least: int
    most: int
    build: Build


def on_input(work: Callable[[Items, Context], Items]) -> Function:
    """A function of the input alone."""

    def build(compiler: Compiler, term: ast.Call) -> Code:
        source = compiler.code(term.source).run
        return Code(lambda this, ctx: work(source(this, ctx), ctx))

    return Function(0, 0, build)


def with_arguments(work: Callable[..., Items], least: int = 1, most: int | None = None) -> Function:
    """A function of the input and of arguments that are collections: `work(input, context, *arguments)`."""

    def build(compiler: Compiler, term: ast.Call) -> Code:
        source = compiler.code(term.source).run
        runs = [compiler.run(argument) for argument in term.arguments]
        if len(runs) == 1:
            only = runs[0]
            return Code(lambda this, ctx: work(source(this, ctx), ctx, only(this, ctx)))

        def run(this: Items, ctx: Context) -> Items:
            items = source(this, ctx)
            return work(items, ctx, *[argument(this, ctx) for argument in runs])

        return Code(run)

    return Function(least, least if most is None else most, build)


def on_text(work: Callable[..., Any], least: int = 0, most: int | None = None) -> Function:
    """A function of one string and of arguments as collections: `work(string, *arguments)` answers a value or None.

    Empty input gives empty; input that is no single string is a fault.
    """

    def call(items: Items, ctx: Context, *arguments: Items) -> Items:
        value = text(items)
        if value is None:
            return []
        ctx.spend(len(value) // CHARACTERS)
        found = work(value, *arguments)
        if found.__class__ is str:
            ctx.spend(len(found) // CHARACTERS)
        return [] if found is None else found if found.__class__ is list else [found]

    return with_arguments(call, least, most)
