"""Functions that translate: code tables, fact tables, the registry, identifiers with check digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.errors import codes
from gateway.formats import identifiers
from gateway.map.expression import Argument
from gateway.map.functions import BadUse, Step, Text, Workshop, function, said, word
from gateway.map.run import Got, Problem, Run
from gateway.map.tables import CodeTable, Row
from gateway.message import RegistryEntry


def dated(workshop: Workshop, arguments: Sequence[Argument]) -> tuple[Sequence[Argument], Text]:
    """The arguments before `on DAY`, and the day: without one, today by the recorded clock."""
    if len(arguments) > 1 and arguments[-2] == Argument("word", "on"):
        day = workshop.text(arguments[-1])
        return arguments[:-2], lambda run: day(run)[:10] or run.today
    return arguments, lambda run: run.today


def _row(table: CodeTable, run: Run, got: Got, day: str) -> Row:
    source = said(got)
    row = table.find(source, day, run.context.overlays.get(table.name))
    if row is None:
        near = ", ".join(table.nearest(source))
        raise Problem("GW-MAP-003", value=source, table=table.name, near=near)
    return row


def _translation(name: str, shape: Callable[[Row], Any]) -> None:
    def make(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
        table = workshop.code_table(word(arguments[0]))
        more, on = dated(workshop, arguments[1:])
        lenient = bool(more)
        if [word(each) for each in more] not in ([], ["warn"]):
            raise BadUse("behind the table only `warn` and `on DAY` can stand")

        def step(run: Run, got: Got) -> Any:
            if lenient and table.find(said(got), on(run), run.context.overlays.get(table.name)) is None:
                place = got.data[0].place if got.data else None
                run.problem("GW-MAP-025", place, value=said(got), table=table.name)
                return None
            row = _row(table, run, got, on(run))
            got.lossy = got.lossy or not table.tells(row)
            return shape(row)

        return step

    function(name, least=1, most=4, shape="TABLE [warn] [on DAY]")(make)


_translation("code", lambda row: row.code)
_translation("coding", Row.coding)
_translation("concept", lambda row: {"coding": [row.coding()]})
_translation("display", lambda row: row.display or None)
_translation("system", lambda row: row.system or None)


@function("known", least=1, most=3, shape="TABLE [on DAY]")
def _known(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    """The target code where the table has one, silently nothing where it does not: for the source's own lists."""
    table = workshop.code_table(word(arguments[0]))
    _, on = dated(workshop, arguments[1:])

    def step(run: Run, got: Got) -> Any:
        row = table.find(said(got), on(run), run.context.overlays.get(table.name))
        got.lossy = got.lossy or row is None or not table.tells(row)
        return row.code if row else None

    return step


@function("fact", least=2, most=8, shape="TABLE COLUMN [KEY…] [on DAY]")
def _fact(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    table = workshop.fact_table(word(arguments[0]))
    if arguments[1].kind == "word" and arguments[1].text not in table.columns:
        raise BadUse(f"table {table.name} has no column {arguments[1].text!r}")
    arguments, on = dated(workshop, arguments)
    if len(arguments) - 1 > len(table.keys):
        raise BadUse(f"table {table.name} has only the keys {', '.join(table.keys)}")
    column = workshop.text(arguments[1])
    others = [workshop.text(argument) for argument in arguments[2:]]

    def step(run: Run, got: Got) -> Any:
        got.lossy, got.how = True, "looked_up"
        keys = [said(got), *(other(run) for other in others)]
        row = table.find(keys, on(run))
        if row is None:
            raise Problem("GW-MAP-010", value=" ".join(key for key in keys if key), table=table.name)
        return row.get(column(run)) or None

    return step


def entry_on(entries: Sequence[RegistryEntry], day: str) -> RegistryEntry | None:
    """The entry that is valid on the day."""
    for entry in entries:
        if (entry.valid_from or "") <= day and (entry.valid_to is None or day <= entry.valid_to):
            return entry
    return None


@function("lookup", least=2, most=3, shape="KIND FIELD [DAY]")
def _lookup(workshop: Workshop, arguments: Sequence[Argument]) -> Step:
    kind, field = word(arguments[0]), word(arguments[1])
    on = workshop.text(arguments[2]) if len(arguments) > 2 else None

    def step(run: Run, got: Got) -> Any:
        got.lossy, got.how = True, "looked_up"
        key = said(got)
        day = (on(run) if on else "") or run.today
        entry = entry_on(run.context.registry.get(kind, {}).get(key, ()), day[:10])
        if entry is None:
            raise Problem("GW-MAP-008", kind=kind, value=key, day=day[:10])
        value: Any = entry.data
        for part in field.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value if value not in ("", None) else None

    return step


@function("normal", least=1, shape="SCHEME")
def _normal(_: Workshop, arguments: Sequence[Argument]) -> Step:
    scheme = word(arguments[0])
    if scheme not in identifiers.NORMALISE:
        raise BadUse(f"{scheme!r} is not an identifier scheme; known are {', '.join(sorted(identifiers.NORMALISE))}")
    normalise = identifiers.NORMALISE[scheme]
    return lambda _, got: normalise(said(got))


@function("identifier", least=1, shape="SCHEME")
def _identifier(_: Workshop, arguments: Sequence[Argument]) -> Step:
    scheme = word(arguments[0])
    if scheme not in identifiers.CHECKS:
        raise BadUse(f"{scheme!r} is not an identifier scheme; known are {', '.join(sorted(identifiers.CHECKS))}")
    check, normalise = identifiers.CHECKS[scheme], identifiers.NORMALISE[scheme]

    def step(run: Run, got: Got) -> Any:
        text = said(got)
        fault = check(text)
        if fault is not None:
            if codes()[fault.code].severity == "error":
                raise Problem(fault.code, **fault.args)
            run.problem(fault.code, got.data[0].place if got.data else None, **fault.args)
        return normalise(text)

    return step
