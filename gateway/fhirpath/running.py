"""What compiled closures share: their shape, the context of one evaluation, and the singleton rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.fhirpath.environment import Environment
from gateway.fhirpath.faults import Fault, LimitFault
from gateway.fhirpath.nodes import Kinds, Node
from gateway.fhirpath.quantities import Quantity
from gateway.fhirpath.values import plain, type_text

Items = list[Any]
"""A collection: nodes and System values. Never changed after it was returned."""

MAX_WORK: Final = 5_000_000
MAX_STRING: Final = 4_000_000
# So many characters of a string that is made or searched count as one item.
CHARACTERS: Final = 16


class Context(msgspec.Struct):
    """One evaluation. `budget` counts down with every item that is made, so that every evaluation ends."""

    env: Environment
    kinds: Kinds
    root: Items
    index: int = 0
    total: Items = []
    variables: dict[str, Items] = {}
    budget: int = MAX_WORK

    def spend(self, count: int) -> None:
        """Account for items that were made; `LimitFault` when the evaluation made too many."""
        self.budget -= count
        if self.budget < 0:
            raise LimitFault("the evaluation makes too many items")


Run = Callable[[Items, Context], Items]
"""(the items of $this, context) -> collection."""

Truth = Callable[[Items, Context], bool | None]
"""The same, as a condition: None for empty."""


class Code(msgspec.Struct):
    """A compiled term. `truth` is there where the term can answer a condition without building a collection."""

    run: Run
    truth: Truth | None = None
    constant: Items | None = None


def truth_of(items: Items) -> bool | None:
    """Singleton evaluation to a Boolean: a single item of another type counts as true, several are a fault."""
    if not items:
        return None
    if len(items) > 1:
        raise Fault(f"a condition needs one item, not {len(items)}")
    value = plain(items[0])
    return value if value.__class__ is bool else True


def condition(code: Code) -> Truth:
    """The term as a condition."""
    if code.truth is not None:
        return code.truth
    run = code.run

    def truth(this: Items, ctx: Context) -> bool | None:
        return truth_of(run(this, ctx))

    return truth


def from_truth(truth: Truth) -> Code:
    """A condition as a term."""

    def run(this: Items, ctx: Context) -> Items:
        answer = truth(this, ctx)
        return [] if answer is None else [answer]

    return Code(run, truth)


def constant(items: Items) -> Code:
    """A term that is always the same."""
    return Code(lambda this, ctx: items, None, items)


def single(items: Items, what: str = "the input") -> Any:
    """The one item, None if there is none; a fault if there are several."""
    if not items:
        return None
    if len(items) > 1:
        raise Fault(f"{what} must be one item, not {len(items)}")
    return items[0]


def one(items: Items, what: str = "the input") -> Any:
    """The one item as a System value."""
    item = single(items, what)
    return None if item is None else plain(item)


def text(items: Items, what: str = "the input") -> str | None:
    """The one string, None for empty; a fault for anything else."""
    if not items:
        return None
    value = one(items, what)
    if value.__class__ is str or value is None:
        return value
    raise Fault(f"{what} must be a string, not {type_text(items[0])}")


def integer(items: Items, what: str = "the argument") -> int | None:
    """The one integer, None for empty; a fault for anything else."""
    if not items:
        return None
    value = one(items, what)
    if value is None or value.__class__ is int:
        return value
    raise Fault(f"{what} must be an integer, not {type_text(items[0])}")


def number(items: Items, what: str = "the input") -> int | Decimal | Quantity | None:
    """The one number or quantity, None for empty; a fault for anything else."""
    if not items:
        return None
    value = one(items, what)
    if value is None or value.__class__ in (int, Decimal, Quantity):
        return value
    raise Fault(f"{what} must be a number, not {type_text(items[0])}")


def bounded(value: str) -> str:
    """The string, unless it grew beyond what one evaluation may make."""
    if len(value) > MAX_STRING:
        raise LimitFault(f"a string of more than {MAX_STRING} characters")
    return value


def to_items(value: Any, kinds: Kinds) -> Items:
    """Anything from outside (a node, plain JSON, a list, None) as a collection."""
    if value is None:
        return []
    if value.__class__ is list:
        return [item for entry in value for item in to_items(entry, kinds)]
    if value.__class__ is dict:
        return [kinds.node(value)]
    return [Decimal(str(value))] if value.__class__ is float else [value]


def to_json(item: Any) -> Any:
    """An item as plain JSON where it has such a form, else the System value."""
    return item.value if item.__class__ is Node else item
