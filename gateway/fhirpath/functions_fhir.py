"""FHIR's own functions (FHIR R4, "FHIRPath": additional functions), those of SQL on FHIR, and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gateway.fhirpath import ast, datetimes, typetests
from gateway.fhirpath.datetimes import Temporal
from gateway.fhirpath.faults import Fault
from gateway.fhirpath.nodes import Node, member
from gateway.fhirpath.registry import MANY, Function, on_input, with_arguments
from gateway.fhirpath.running import Code, Context, Items, one, single, text, to_items, to_json
from gateway.fhirpath.values import plain, type_text

if TYPE_CHECKING:
    from gateway.fhirpath.compiler import Compiler


def _extension(items: Items, ctx: Context, url: Items) -> Items:
    wanted = text(url, "the url")
    out: Items = []
    if wanted is None:
        return out
    for item in items:
        if item.__class__ is Node and item.fields is not None and "extension" in item.fields:
            found: Items = []
            member(item, "extension", found)
            out.extend(one for one in found if one.fields is not None and one.fields.get("url") == wanted)
    return out


def _has_extension(items: Items, ctx: Context, url: Items) -> Items:
    return [bool(_extension(items, ctx, url))]


def _has_value(items: Items, ctx: Context) -> Items:
    if len(items) != 1:
        return [False]
    item = items[0]
    return [item.__class__ is not Node or (item.kind.primitive and item.value is not None)]


def _get_value(items: Items, ctx: Context) -> Items:
    if len(items) != 1:
        return []
    item = items[0]
    if item.__class__ is Node and not item.kind.primitive:
        return []
    value = plain(item)
    return [] if value is None else [value]


def _resolve(items: Items, ctx: Context) -> Items:
    out: Items = []
    if ctx.env.resolve is None:
        return out
    for item in items:
        address = _address(item)
        if address is not None:
            out.extend(to_items(ctx.env.resolve(address), ctx.kinds))
    return out


def _address(item: Any) -> str | None:
    if item.__class__ is Node and item.fields is not None and not item.kind.primitive:
        reference = item.fields.get("reference")
        return reference if isinstance(reference, str) else None
    value = plain(item)
    return value if value.__class__ is str else None


def _asking(
    ask: Callable[[Context], Callable[[Any, Any], bool | None] | None], name: str, *, strict: bool
) -> Callable[[Items, Context, Items], Items]:
    """A question to the environment about one item and one argument; empty where nobody can tell."""

    def call(items: Items, ctx: Context, argument: Items) -> Items:
        subject = single(items)
        url = single(argument, "the argument")
        if subject is None or url is None:
            return []
        answers = ask(ctx)
        found = None if answers is None else answers(to_json(subject), to_json(url))
        if found is None and strict:
            raise Fault(f"{name}() does not know what it is asked for")
        return [] if found is None else [found]

    return call


def _subsumed_by(ctx: Context) -> Callable[[Any, Any], bool | None] | None:
    subsumes = ctx.env.subsumes
    return None if subsumes is None else lambda item, other: subsumes(other, item)


def _html_checks(items: Items, ctx: Context) -> Items:
    if not items:
        return []
    value = text(items)
    if value is None or ctx.env.html_checks is None:
        return [True]
    found = ctx.env.html_checks(value)
    return [] if found is None else [found]


def _lookup(items: Items, ctx: Context, *arguments: Items) -> Items:
    """`lookup('tariffs', service, date)`: one value each, asked of the environment; empty keys find nothing."""
    if ctx.env.lookup is None:
        raise Fault("there are no tables to look up")
    keys = [single(argument, "a key") for argument in arguments]
    if any(key is None for key in keys):
        return []
    return to_items(ctx.env.lookup(*[_key(key) for key in keys]), ctx.kinds)


def _key(item: Any) -> Any:
    value = plain(item)
    return str(value) if value.__class__ is Temporal else to_json(value)


def _not_offered(items: Items, ctx: Context, *arguments: Items) -> Items:
    """Functions that look into definitions: the engine sees only instances, so nothing is known."""
    return []


def _check_modifiers(items: Items, ctx: Context, *allowed: Items) -> Items:
    urls = {text(argument, "a modifier") for argument in allowed}
    for item in items:
        if item.__class__ is Node and item.fields is not None:
            for extension in item.fields.get("modifierExtension") or ():
                if isinstance(extension, dict) and extension.get("url") not in urls:
                    raise Fault("there is a modifier extension that is not allowed here")
    return items


# --- SQL on FHIR, "Required additional functions" ----------------------------------------


def _resource_key(items: Items, ctx: Context) -> Items:
    item = single(items)
    if item.__class__ is not Node or item.fields is None:
        return []
    key = item.fields.get("id")
    return [key] if isinstance(key, str) else []


def _reference_key(compiler: Compiler, term: ast.Call) -> Code:
    source = compiler.code(term.source).run
    wanted = typetests.specifier(compiler, term).name if term.arguments else None

    def run(this: Items, ctx: Context) -> Items:
        out: Items = []
        for item in source(this, ctx):
            address = _address(item)
            parts = address.partition("/_history/")[0].split("/") if address else []
            if len(parts) > 1 and parts[-1] and wanted in (None, parts[-2]):
                out.append(parts[-1])
        return out

    return Code(run)


# --- the clock and parts of dates ----------------------------------------


def _instant(ctx: Context) -> Temporal:
    if ctx.env.now is None:
        raise Fault("there is no clock")
    return datetimes.of_instant(ctx.env.now)


def _now(items: Items, ctx: Context) -> Items:
    return [_instant(ctx)]


def _today(items: Items, ctx: Context) -> Items:
    return [Temporal("Date", _instant(ctx).parts[:3])]


def _time_of_day(items: Items, ctx: Context) -> Items:
    instant = _instant(ctx)
    return [Temporal("Time", instant.parts[3:5], instant.second)]


def _temporal(items: Items, kinds: tuple[str, ...]) -> Temporal | None:
    value = one(items)
    if value is None:
        return None
    if value.__class__ is Temporal and value.kind in kinds:
        return value
    raise Fault(f"{type_text(items[0])} has no such part")


def _part(place: int) -> Callable[[Items, Context], Items]:
    """A component: 0 year, 1 month, 2 day, 3 hour, 4 minute."""

    def part(items: Items, ctx: Context) -> Items:
        value = _temporal(items, ("Date", "DateTime") if place < 3 else ("DateTime", "Time"))
        if value is None:
            return []
        at = place - 3 if value.kind == "Time" else place
        return list(value.parts[at : at + 1])

    return part


def _second(items: Items, ctx: Context) -> Items:
    value = _temporal(items, ("DateTime", "Time"))
    return [] if value is None or value.second is None else [int(value.second)]


def _millisecond(items: Items, ctx: Context) -> Items:
    value = _temporal(items, ("DateTime", "Time"))
    if value is None or value.second is None or value.second.as_tuple().exponent == 0:
        return []
    return [int(value.second % 1 * 1000)]


def _zone(items: Items, ctx: Context) -> Items:
    value = _temporal(items, ("DateTime",))
    return [] if value is None or value.zone is None else [datetimes.hours(value.zone)]


def _date_of(items: Items, ctx: Context) -> Items:
    value = _temporal(items, ("Date", "DateTime"))
    return [] if value is None else [Temporal("Date", value.parts[:3])]


def _time_of(items: Items, ctx: Context) -> Items:
    value = _temporal(items, ("DateTime", "Time"))
    if value is None or value.kind == "Time":
        return items
    return [Temporal("Time", value.parts[3:5], value.second)] if len(value.parts) > 3 else []


FUNCTIONS: Final[dict[str, Function]] = {
    "extension": with_arguments(_extension),
    "hasExtension": with_arguments(_has_extension),  # used by a published R4 search parameter
    "hasValue": on_input(_has_value),
    "getValue": on_input(_get_value),
    "resolve": on_input(_resolve),
    "memberOf": with_arguments(_asking(lambda ctx: ctx.env.member_of, "memberOf", strict=False)),
    "conformsTo": with_arguments(_asking(lambda ctx: ctx.env.conforms_to, "conformsTo", strict=True)),
    "subsumes": with_arguments(_asking(lambda ctx: ctx.env.subsumes, "subsumes", strict=False)),
    "subsumedBy": with_arguments(_asking(_subsumed_by, "subsumedBy", strict=False)),
    "htmlChecks": on_input(_html_checks),
    "htmlChecks2": on_input(_html_checks),
    "lookup": with_arguments(_lookup, 1, 10),
    "elementDefinition": on_input(_not_offered),
    "slice": with_arguments(_not_offered, 2),
    "checkModifiers": with_arguments(_check_modifiers, 0, MANY),
    "getResourceKey": on_input(_resource_key),
    "getReferenceKey": Function(0, 1, _reference_key),
    "now": on_input(_now),
    "today": on_input(_today),
    "timeOfDay": on_input(_time_of_day),
    "yearOf": on_input(_part(0)),
    "monthOf": on_input(_part(1)),
    "dayOf": on_input(_part(2)),
    "hourOf": on_input(_part(3)),
    "minuteOf": on_input(_part(4)),
    "secondOf": on_input(_second),
    "millisecondOf": on_input(_millisecond),
    "timezoneOffsetOf": on_input(_zone),
    "dateOf": on_input(_date_of),
    "timeOf": on_input(_time_of),
    "is": Function(1, 1, typetests.call_is),
    "as": Function(1, 1, typetests.call_as),
    "ofType": Function(1, 1, typetests.call_of_type),
    "type": Function(0, 0, typetests.call_type),
}
