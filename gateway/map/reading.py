"""Expressions and conditions compiled to closures over (run, here).

The notation of the source compiles paths; everything else is the same for every format. A path beginning with `/`
is read from the whole input, whatever repetition we stand in (an XPath is left as it is: it means the same).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from gateway.errors import GatewayError
from gateway.formats.source import Datum, Source
from gateway.map.expression import Alternative, Argument, BadExpression, Call, Clause, Condition, Expression, parse
from gateway.map.functions import BadUse, Function, Step, Text, names, said
from gateway.map.run import Got, Problem, Read, Run, derived
from gateway.map.tables import BadTable, CodeTable, FactTable, Groups
from gateway.message import Place

Test = Callable[[Run, Source], bool]
Parts = Callable[[Run, Source], Sequence[Source]]
_NONE: Final = Got(None)


class Notation(Protocol):
    """What a format gives to the compiler: its name, and paths compiled once."""

    @property
    def name(self) -> str: ...

    def compile(self, path: str) -> Any:
        """The path in the format's own form; raises `Misconfigured` where it is not one."""
        ...


class Local(msgspec.Struct, frozen=True):
    """A variable of one resource: read from the part of the input that the resource is made from."""

    name: str
    read: Read


class Reader:
    """Compiles the expressions of one mapping file."""

    def __init__(
        self,
        notation: Notation,
        zone: ZoneInfo,
        tables: Mapping[str, CodeTable | FactTable],
        variables: Mapping[str, Any],
        groups: Mapping[str, Groups] | None = None,
    ) -> None:
        self._groups = groups or {}
        self.notation = notation
        self.zone = zone
        self._tables = tables
        self._variables = variables
        self._functions = names()
        self.used: set[str] = set()
        self._given: dict[str, Any] = {}

    # --- what functions are given (`functions.Workshop`) ----------------------------------------

    def code_table(self, name: str) -> CodeTable:
        """The code table of that name, or `BadUse`."""
        table = self._tables.get(name)
        if not isinstance(table, CodeTable):
            raise BadUse(f"there is no code table {name!r}")
        return table

    def fact_table(self, name: str) -> FactTable:
        """The fact table of that name, or `BadUse`."""
        table = self._tables.get(name)
        if not isinstance(table, FactTable):
            raise BadUse(f"there is no fact table {name!r}")
        return table

    def groups(self, name: str) -> Groups:
        """The groups of codes of that name, or `BadUse`."""
        found = self._groups.get(name)
        if found is None:
            raise BadUse(f"there are no groups of codes {name!r} in the programme's profiles")
        return found

    def text(self, argument: Argument) -> Text:
        """The argument as text at run time."""
        name = argument.text
        if argument.kind == "option":
            return lambda run: run.values.get(name, "")
        if argument.kind == "variable":
            read = self._variable(name)

            def of_variable(run: Run) -> str:
                got = read(run, run.scope.here)
                return said(got) if got is not None and got.value is not None else ""

            return of_variable
        return lambda _: name

    def value_at(self, path: str, run: Run) -> Sequence[Datum]:
        """What stands under a path that is only known at run time: here, else in the whole input; nothing where the
        text is no path."""
        if path not in self._given:
            try:
                self._given[path] = self.path(path)[0]
            except BadExpression:
                self._given[path] = None
        compiled = self._given[path]
        if compiled is None:
            return ()
        found = [datum for datum in run.scope.here.get(compiled) if not datum.null]
        return found or [datum for datum in run.root.get(compiled) if not datum.null]

    # --- paths ----------------------------------------

    def path(self, text: str) -> tuple[Any, bool]:
        """The compiled path, and whether it is read from the whole input."""
        whole = text.startswith("/") and self.notation.name != "xml"
        try:
            return self.notation.compile(text[1:] if whole else text), whole
        except GatewayError as error:
            raise BadExpression(
                f"{text!r} is not a path of {self.notation.name}: {error.args_.get('detail', '')}"
            ) from None

    def parts(self, text: str) -> Parts:
        """What `each:` and `at:` walk over."""
        path, whole = self.path(text)
        if whole:
            return lambda run, _: run.root.each(path)
        return lambda _, here: here.each(path)

    def _path(self, text: str, many: bool) -> Read:
        path, whole = self.path(text)

        def one(run: Run, here: Source) -> Got | None:
            for datum in here.get(path):
                if not datum.null:
                    return Got(datum.value, (datum,))
            return None

        def every(run: Run, here: Source) -> Got | None:
            data = tuple([d for d in here.get(path) if not d.null])
            return Got([d.value for d in data], data) if data else None

        read = every if many else one
        return (lambda run, _: read(run, run.root)) if whole else read

    # --- alternatives ----------------------------------------

    def _alternative(self, source: Alternative, many: bool) -> Read:
        match source.kind:
            case "path":
                return self._path(source.text, many)
            case "literal":
                return _constant(source.text)
            case "template":
                return self._template(source)
            case "variable":
                return self._variable(source.text)
            case "option":
                return _option(source.text)
            case "reference":
                return _reference(source.text)
            case "position":
                return _position
            case "pick":
                return self._pick(source)

    def _template(self, source: Alternative) -> Read:
        pieces = [part if isinstance(part, str) else self.expression(part) for part in source.parts]

        def read(run: Run, here: Source) -> Got | None:
            text: list[str] = []
            data: tuple[Datum, ...] = ()
            lossy = False
            for piece in pieces:
                if isinstance(piece, str):
                    text.append(piece)
                    continue
                got = piece(run, here)
                if got is None:
                    return None
                text.append(said(got))
                data += got.data
                lossy = lossy or got.lossy
            made = Got("".join(text), data)
            made.lossy = lossy
            return made

        return read

    def _variable(self, name: str) -> Read:
        if name == "now" and name not in self._variables:
            return lambda run, _: Got(run.context.now.isoformat(timespec="seconds"), (), "derived")
        if name not in self._variables:
            raise BadExpression(f"there is no ${name} under `let:`")
        self.used.add(name)
        known = self._variables[name]
        local = known if isinstance(known, Local) else None
        value: Read = local.read if local is not None else known

        def read(run: Run, here: Source) -> Got | None:
            at = run.root if local is None else run.base
            key = name if local is None else (local.name, at.first, at.size)
            if key not in run.memo:
                run.memo[key] = value(run, at)
            got = run.memo[key]
            if got is None:
                return None
            fresh = Got(got.value, got.data, got.how)
            fresh.lossy = got.lossy
            return fresh

        return read

    def _pick(self, source: Alternative) -> Read:
        assert source.condition is not None
        assert source.then is not None
        parts = self.parts(source.text)
        holds, then = self.condition(source.condition), self.expression(source.then)

        def read(run: Run, here: Source) -> Got | None:
            for part in parts(run, here):
                if holds(run, part):
                    got = then(run, part)
                    if got is not None:
                        return got
            return None

        return read

    # --- pipes ----------------------------------------

    def _call(self, call: Call) -> tuple[Function, Step]:
        row = self._functions.get(call.name)
        if row is None:
            raise BadExpression(f"there is no function {call.name!r}; docs/mapping.md lists them")
        if not row.least <= len(call.arguments) <= row.most:
            raise BadExpression(f"{call.name} is written `{call.name} {row.shape}`".rstrip())
        try:
            return row, row.make(self, call.arguments)
        except (BadUse, BadTable) as error:
            raise BadExpression(f"{call.name}: {error}") from None

    def expression(self, expression: Expression | str) -> Read:
        """The expression as a closure; raises `BadExpression`."""
        if isinstance(expression, str):
            expression = parse(expression)
        calls = [self._call(call) for call in expression.calls]
        before = [call.name for call in expression.calls]
        whole = next((i for i, (row, _) in enumerate(calls) if row.whole), -1)
        many = whole >= 0 and "split" not in before[:whole]
        reads = [self._alternative(source, many) for source in expression.alternatives]
        source = reads[0] if len(reads) == 1 else _either(reads, [a.kind for a in expression.alternatives])
        return _piped(source, calls) if calls else source

    # --- conditions ----------------------------------------

    def condition(self, condition: Condition) -> Test:
        """The condition as a closure; a value that it reads does not count as read."""
        options = [[self._clause(clause) for clause in option] for option in condition.any_of]
        if len(options) == 1 and len(options[0]) == 1:
            return options[0][0]
        return lambda run, here: any(all(clause(run, here) for clause in option) for option in options)

    def _clause(self, clause: Clause) -> Test:
        read, judge, negated = self.expression(clause.expression), _judge(clause), clause.negated

        def test(run: Run, here: Source) -> bool:
            got = read(run, here)
            text = "" if got is None or got.value is None else said(got)
            return judge(text) is not negated

        return test


def _judge(clause: Clause) -> Callable[[str], bool]:
    words = frozenset(clause.words)
    match clause.operator:
        case "exists":
            return bool
        case "=" | "in":
            return lambda text: text in words
        case "!=":
            return lambda text: text not in words
        case "matches":
            search = re.compile(clause.words[0]).search
            return lambda text: search(text) is not None


def _constant(text: str) -> Read:
    return lambda _, __: Got(text)


def _option(name: str) -> Read:
    def read(run: Run, _: Source) -> Got | None:
        value = run.values.get(name)
        return Got(value) if value else None

    return read


def _position(run: Run, _: Source) -> Got | None:
    return Got(run.scope.position, (), "derived")


def _reference(name: str) -> Read:
    def read(run: Run, _: Source) -> Got | None:
        scope = run.scope
        while True:
            made = run.made.get((name, scope.here.first, scope.here.size))
            if made is not None:
                return derived({"reference": made[0]}, made[1])
            if scope.outer is None:
                return None
            scope = scope.outer

    return read


def _either(reads: Sequence[Read], kinds: Sequence[str]) -> Read:
    """The first that has a value. Later ones that say the same are listed as repeating it; what differs as unread."""

    def read(run: Run, here: Source) -> Got | None:
        for number, each in enumerate(reads):
            got = each(run, here)
            if got is None or got.value is None:
                continue
            if number and kinds[number] == "literal":
                got.how = "defaulted"
            for other in reads[number + 1 :]:
                same = other(run, here)
                if same is not None and same.data and got.data and same.value == got.value:
                    run.repeats.append((same.data, got.data))
            return got
        return None

    return read


def _piped(source: Read, calls: Sequence[tuple[Function, Step]]) -> Read:
    steps = [(row.whole, row.empty, step) for row, step in calls]

    def read(run: Run, here: Source) -> Got | None:
        got = source(run, here)
        for whole, empty, step in steps:
            if got is None:
                if not empty:
                    continue
                got = Got(None)
            elif got.value is None and not empty:
                continue
            try:
                if type(got.value) is list:
                    got.value = step(run, got) if whole else _mapped(run, got, step)
                else:
                    if whole:
                        got.value = [got.value]
                    got.value = step(run, got)
            except Problem as problem:
                run.problem(problem.code, _place(got, run, here), **problem.args_)
                return None
        return got if got is not None and got.value is not None else None

    return read


def _mapped(run: Run, got: Got, step: Step) -> Any:
    made = []
    for value in got.value:
        one = Got(value, got.data, got.how)
        result = step(run, one)
        got.how, got.lossy = one.how, got.lossy or one.lossy
        if result is not None:
            made.append(result)
    return made or None


def _place(got: Got, run: Run, here: Source) -> Place:
    return got.data[0].place if got.data else here.here
