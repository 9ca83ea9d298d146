"""The public face: compile once, evaluate often."""

from __future__ import annotations

from typing import Any

from gateway.fhirpath import ast
from gateway.fhirpath.compiler import Compiler
from gateway.fhirpath.environment import EMPTY, Environment
from gateway.fhirpath.faults import LIMIT, Fault, FhirPathError
from gateway.fhirpath.model import TypeModel
from gateway.fhirpath.nodes import Kinds, Node, kinds_of
from gateway.fhirpath.parser import parse
from gateway.fhirpath.running import Context, Items, condition, to_json
from gateway.fhirpath.shapes import UNKNOWN, Shape, Typing


class Compiled:
    """A compiled expression. Immutable and safe to share between threads.

    The focus is plain JSON as the lossless reader makes it, or a `Node` where the caller knows more than the JSON
    says (the type of an element, the `_` sibling of a primitive). Evaluation raises `FhirPathError`, nothing else.
    """

    __slots__ = ("_kind", "_kinds", "_run", "_truth", "text", "tree", "type_name")

    def __init__(self, text: str, tree: ast.Term, kinds: Kinds, type_name: str | None, *, strict: bool = False) -> None:
        self.text = text
        self.tree = tree
        self.type_name = type_name
        self._kinds = kinds
        self._kind = None if type_name is None else kinds.of(type_name)
        shapes = Typing(text, kinds, strict=strict)
        shapes.shape(tree, UNKNOWN if type_name is None else Shape(frozenset({type_name}), many=False))
        code = Compiler(text, kinds, shapes.certain).code(tree)
        self._run = code.run
        self._truth = condition(code)

    def __repr__(self) -> str:
        return f"Compiled({self.text!r})"

    def __call__(self, focus: Any, env: Environment | None = None) -> list[Any]:
        """The result as plain JSON; computed dates and quantities as values whose `str()` is their FHIRPath text."""
        return [value for item in self.nodes(focus, env) if (value := to_json(item)) is not None]

    def nodes(self, focus: Any, env: Environment | None = None) -> Items:
        """The result as typed nodes (elements) and System values (computed)."""
        root = [self._focus(focus)]
        try:
            return self._run(root, Context(env or EMPTY, self._kinds, root))
        except Fault as fault:
            raise self._error(fault) from None
        except RecursionError:
            raise FhirPathError(LIMIT, self.text, 0, "the evaluation nests too deeply") from None

    def boolean(self, focus: Any, env: Environment | None = None) -> bool | None:
        """The result as a condition: None for empty; several items are an error."""
        root = [self._focus(focus)]
        try:
            return self._truth(root, Context(env or EMPTY, self._kinds, root))
        except Fault as fault:
            raise self._error(fault) from None
        except RecursionError:
            raise FhirPathError(LIMIT, self.text, 0, "the evaluation nests too deeply") from None

    def _focus(self, focus: Any) -> Node:
        if focus.__class__ is Node:
            return focus
        kind = self._kind
        if kind is None or (kind.dynamic and focus.__class__ is dict):
            kind = self._kinds.guess(focus)
        return Node(focus, focus if focus.__class__ is dict else None, kind)

    def _error(self, fault: Fault) -> FhirPathError:
        return FhirPathError(fault.code, self.text, fault.at or 0, fault.detail)


def compile(
    expression: str, model: TypeModel | None = None, type_name: str | None = None, *, strict: bool = False
) -> Compiled:
    """Compile an expression for a focus of that type; without a type the focus's `resourceType` decides.

    Without a model elements are found by their JSON names (`value` finds `valueQuantity`), and every type name is
    accepted. `strict` also refuses elements that the types do not have. Raises `FhirPathError` with the position
    for what cannot be read or has no meaning.
    """
    try:
        return Compiled(expression, parse(expression), kinds_of(model), type_name, strict=strict)
    except RecursionError:
        raise FhirPathError(LIMIT, expression[:2_000], 0, "the expression nests too deeply") from None


def node(
    value: Any, type_name: str | None = None, model: TypeModel | None = None, sibling: dict[str, Any] | None = None
) -> Node:
    """JSON as a typed focus: its type, and for a primitive the object that stands beside it under `_name`."""
    return kinds_of(model).node(value, type_name, sibling)
