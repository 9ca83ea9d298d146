"""Nodes of a mapping compiled to closures that make JSON.

    when: CONDITION     nothing is made where it does not hold
    each: PATH          once for every part under the path (inside a list; elsewhere it makes a list)
    at: PATH            inside the first part under the path
    first: [NODES]      the first of the nodes that makes something
    is: EXPRESSION      the value itself, where `when` or `at` stands beside it

Everything else in a mapping is an element. An element that is named like one of these words is written with a dot
before it (`.when`). Constants alone do not make an element: an object in which every other part is empty is left
out, so `{system: =urn:x, value: PID-3.1}` is nothing where PID-3.1 is nothing. Nor do `system`, `url` and `use`
make one, wherever they come from: they only qualify what stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from gateway.formats.source import Source
from gateway.map.expression import BadExpression, Expression, condition, parse
from gateway.map.nodes import Node, Trouble
from gateway.map.reading import Reader
from gateway.map.run import Got, Read, Run

Make = Callable[[Run, Source, str], Any]
DIRECTIVES: Final = frozenset({"when", "each", "at", "first", "is"})
QUALIFYING: Final = frozenset({"system", "url", "use"})


class Made(NamedTuple):
    """A compiled node. `constant`: no input has a part in it. `spreads`: it gives a list that a list takes in."""

    make: Make
    constant: bool
    spreads: bool = False
    value: Any = None  # of a scalar constant


class Templates:
    """Compiles nodes; every trouble is kept, so that all of a file's errors are shown at once."""

    def __init__(self, reader: Reader, troubles: list[Trouble]) -> None:
        self.reader = reader
        self.troubles = troubles

    def read(self, node: Node) -> Read:
        """A scalar node as an expression."""
        try:
            return self.reader.expression(str(node.value))
        except BadExpression as error:
            self.troubles.append(Trouble(node.spot, str(error)))
            return _nothing_read

    def test(self, node: Node) -> Callable[[Run, Source], bool]:
        """A scalar node as a condition; a list of them must hold together."""
        tests = []
        for each in node.items:
            try:
                tests.append(self.reader.condition(condition(str(each.value))))
            except BadExpression as error:
                self.troubles.append(Trouble(each.spot, str(error)))
        if len(tests) == 1:
            return tests[0]
        return lambda run, here: all(test(run, here) for test in tests)

    def node(self, node: Node) -> Made:
        """Any node."""
        if isinstance(node.value, dict):
            return self._mapping(node)
        if isinstance(node.value, list):
            return self._list(node)
        return self._scalar(node)

    # --- scalars and lists ----------------------------------------

    def _scalar(self, node: Node) -> Made:
        if node.value is None:
            self.troubles.append(Trouble(node.spot, "an element without a value; constants are written =text"))
            return Made(_nothing, True)
        if not isinstance(node.value, str):
            return _constant(node.value)
        try:
            expression = parse(node.value)
            literal = _literal(expression)
            if literal is not None:
                return _constant(literal)
            return Made(_element(self.reader.expression(expression)), False)
        except BadExpression as error:
            self.troubles.append(Trouble(node.spot, str(error)))
            return Made(_nothing, True)

    def _list(self, node: Node) -> Made:
        parts = [self.node(item) for item in node.value]
        return Made(_make_list(parts), all(part.constant for part in parts))

    # --- mappings ----------------------------------------

    def _mapping(self, node: Node) -> Made:
        directives = DIRECTIVES & node.fields.keys()
        inner = {key: child for key, child in node.fields.items() if key not in DIRECTIVES}
        if {"first", "is"} & directives and inner:
            odd = next(iter(inner.values()))
            self.troubles.append(Trouble(odd.spot, "beside `is:` and `first:` no element can stand"))
        made = self._body(node, directives, inner)
        if "at" in directives:
            made = self._at(node.fields["at"], made)
        if "when" in directives:
            made = Made(_when(self.test(node.fields["when"]), made.make), False)
        return self._each(node.fields["each"], made) if "each" in directives else made

    def _body(self, node: Node, directives: frozenset[str], inner: dict[str, Node]) -> Made:
        if "is" in directives:
            return self.node(node.fields["is"])
        if "first" in directives:
            items = node.fields["first"].items
            options = [self.node(item) for item in items]
            conditional = any("when" in item.fields for item in items)
            return Made(_first(options, not conditional), all(o.constant for o in options))
        return self.object(inner)

    def object(self, fields: dict[str, Node], top: bool = False) -> Made:
        """An object from its elements, in the order in which they stand. At the top, of a resource, no dot goes
        before a name, and constants stay even where nothing else is there."""
        parts = [(key.removeprefix(".") if key[1:] in DIRECTIVES else key, self.node(n)) for key, n in fields.items()]
        return Made(_object(parts, top), all(made.constant for _, made in parts))

    def _parts(self, node: Node) -> Callable[[Run, Source], Sequence[Source]]:
        try:
            return self.reader.parts(str(node.value))
        except BadExpression as error:
            self.troubles.append(Trouble(node.spot, str(error)))
            return lambda _, __: ()

    def parts(self, node: Node) -> Callable[[Run, Source], Sequence[Source]]:
        """The parts that a path of `each:` or `at:` gives."""
        return self._parts(node)

    def _at(self, node: Node, made: Made) -> Made:
        parts = self._parts(node)

        def make(run: Run, here: Source, at: str) -> Any:
            found = parts(run, here)
            if not found:
                return None
            run.enter(found[0], 1)
            value = made.make(run, found[0], at)
            run.leave()
            return value

        return Made(make, False)

    def _each(self, node: Node, made: Made) -> Made:
        parts = self._parts(node)

        def make(run: Run, here: Source, at: str) -> Any:
            out: list[Any] = []
            base, _, offset = at.rpartition("[")
            start = int(offset[:-1]) if offset[:-1].isdigit() and at.endswith("]") else -1
            for position, part in enumerate(parts(run, here), 1):
                where = f"{base}[{start + len(out)}]" if start >= 0 else f"{at}[{len(out)}]"
                run.enter(part, position)
                value = made.make(run, part, where)
                run.leave()
                if value is not None:
                    out.append(value)
            return out or None

        return Made(make, False, True)


def _literal(expression: Expression) -> str | None:
    only = expression.alternatives[0]
    if len(expression.alternatives) == 1 and not expression.calls and only.kind == "literal":
        return only.text
    return None


def _nothing(_: Run, __: Source, ___: str) -> Any:
    return None


def _nothing_read(_: Run, __: Source) -> None:
    return None


def _constant(value: Any) -> Made:
    return Made(lambda _, __, ___: value, True, value=value)


def _element(read: Read) -> Make:
    def make(run: Run, here: Source, at: str) -> Any:
        got = read(run, here)
        if got is None:
            return None
        value = got.value
        if value is None or value == "":
            return None
        if got.data or got.how != "mapped":
            run.note(at, got)
        return value

    return make


def _make_list(parts: Sequence[Made]) -> Make:
    if len(parts) == 1:
        return _make_only(parts[0])

    def make(run: Run, here: Source, at: str) -> Any:
        out: list[Any] = []
        for part in parts:
            value = part.make(run, here, f"{at}[{len(out)}]")
            if value is None:
                continue
            if type(value) is list:
                out += value
            else:
                out.append(value)
        return out or None

    return make


def _make_only(part: Made) -> Make:
    """A list of one entry, as most are."""

    def make(run: Run, here: Source, at: str) -> Any:
        value = part.make(run, here, at + "[0]")
        if type(value) is list:
            return value or None
        return None if value is None else [value]

    return make


def _object(parts: Sequence[tuple[str, Made]], top: bool) -> Make:
    dot = "" if top else "."
    children = [(name, dot + name, made.make, made.constant or name in QUALIFYING, made.value) for name, made in parts]
    lifeless = top or all(constant for *_, constant, _ in children)

    def make(run: Run, here: Source, at: str) -> Any:
        out: dict[str, Any] = {}
        live, before = lifeless, len(run.notes)
        for name, dotted, child, constant, fixed in children:
            value = child(run, here, at + dotted) if fixed is None else fixed
            if value is not None:
                out[name] = value
                live = live or not constant
        if live and out:
            return out
        run.forget(before)
        return None

    return make


def _first(options: Sequence[Made], tell: bool) -> Make:
    """The first that makes something. A constant after sources is a default, which is told."""

    def make(run: Run, here: Source, at: str) -> Any:
        for number, option in enumerate(options):
            value = option.make(run, here, at)
            if value is not None:
                if tell and number and option.constant:
                    run.note(at, Got(value, (), "defaulted"))
                return value
        return None

    return make


def _when(test: Callable[[Run, Source], bool], inner: Make) -> Make:
    return lambda run, here, at: inner(run, here, at) if test(run, here) else None
