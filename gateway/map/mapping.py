"""One mapping file, compiled: an input in, resources with lineage, loss report and findings out.

    title: what it is                                  ignore:
    let: {name: NODE}                                    - {path: MSH-7, reason: why nobody needs it}
    subject: the resource that the item is about       require:
    case: {kind: stay, key: [EXPRESSION]}                - {path: PV1-19.1, when: CONDITION, severity: error}
    parts: [bill, {part: discharge, when: CONDITION}]  resources: {name: {resourceType: T, key: […], …}}

It runs in two passes. The first finds out which resources there are and gives each its keyed id, so that any may
refer to any; the second makes them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.formats.source import Datum, Source
from gateway.formats.table import TablePath
from gateway.formats.table_group import RowGroup
from gateway.map.functions import said
from gateway.map.ids import keyed
from gateway.map.nodes import Node, Spot, Trouble
from gateway.map.reading import Local, Reader, Test
from gateway.map.run import Read, Run, derived
from gateway.map.template import Make, Templates
from gateway.message import CaseRef, Context, ItemResult, Json, Loss, Place

TOP: Final = frozenset(
    {"title", "namespaces", "group", "let", "subject", "case", "parts", "ignore", "require", "resources", "fragments"}
)
_RESOURCE: Final = frozenset({"resourceType", "key", "when", "each", "elsewhere", "only", "let", "grows", "fills"})


class Resource(msgspec.Struct, frozen=True):
    """One compiled resource template. One that is `elsewhere` is referred to and not made: another item brings it.

    Where several parts of the input make one resource, the lists that it `grows` are joined, and one that `fills` only
    says what the earlier ones did not.
    """

    name: str
    type: str
    key: tuple[Read, ...]
    make: Make
    when: Test | None = None
    parts: Callable[[Run, Source], Sequence[Source]] | None = None
    elsewhere: bool = False
    only: bool = False  # of its repetitions the first is what every other resource refers to
    grows: tuple[str, ...] = ()
    fills: bool = False


class Planned(msgspec.Struct, frozen=True):
    """A resource that will be made: from which part of the input, at which repetition, under which id."""

    template: Resource
    here: Source
    position: int
    id: str


class Required(msgspec.Struct, frozen=True):
    """A place that must have a value."""

    read: Read
    path: str
    when: Test | None
    warning: bool
    parts: Callable[[Run, Source], Sequence[Source]] | None = None  # asked of each of these, instead of the whole


class Ignored(msgspec.Struct, frozen=True):
    """Places that nobody needs, and why."""

    path: Any
    reason: str


class CompiledMapping(msgspec.Struct, frozen=True):
    """A compiled file. Pure: the same input and context give the same result."""

    name: str
    notation: str
    resources: tuple[Resource, ...]
    subject: str
    case_kind: str = ""
    case_key: tuple[Read, ...] = ()
    case_places: tuple[str, ...] = ()  # where each part of the key is looked for first
    subject_place: str = ""
    parts: tuple[tuple[str, Test | None], ...] = ()
    ignored: tuple[Ignored, ...] = ()
    required: tuple[Required, ...] = ()
    group: tuple[TablePath, ...] = ()  # of a table: columns whose values join rows into one item
    group_reads: tuple[Read | None, ...] = ()  # beside each: the expression that its value goes through, if any

    def apply(self, source: Source, context: Context, values: Mapping[str, str], today: str) -> ItemResult:
        """What the mapping makes of one item. `index`, `label` and the digests are set by the engine."""
        run = Run(context, source, values, today)
        planned = self._plan(run)
        self._check(run)
        resources = _build(run, planned)
        subject = next((made[0].partition("/")[2] for name, made in run.made.items() if name[0] == self.subject), None)
        if subject is None:
            run.problem("GW-MAP-009", self._wanted(run, self.subject_place), what=self.subject)
        return ItemResult(
            index=0,
            label="",
            subject=subject,
            case=self._case(run),
            parts=tuple(name for name, test in self.parts if test is None or test(run, source)),
            resources=tuple(resources),
            lineage=run.lineage(),
            loss=self._loss(run),
            findings=tuple(run.findings),
            mapping=self.name,
        )

    def _plan(self, run: Run) -> list[Planned]:
        planned: list[Planned] = []
        for template in self.resources:
            parts = template.parts(run, run.root) if template.parts else (run.root,)
            for position, here in enumerate(parts, 1):
                run.stand(here, position)
                if template.when is None or template.when(run, here):
                    key = _key(run, here, template.key)
                    if key is not None:
                        identifier, data = key
                        id = keyed(run.context.id_key, run.context.sender, template.type, identifier)
                        run.made[template.name, here.first, here.size] = (f"{template.type}/{id}", data)
                        if template.only:
                            whole = (template.name, run.root.first, run.root.size)
                            run.made.setdefault(whole, (f"{template.type}/{id}", data))
                        if not template.elsewhere:
                            planned.append(Planned(template, here, position, id))
                run.leave()
        run.base = run.root
        return planned

    def _case(self, run: Run) -> CaseRef | None:
        if not self.case_kind:
            return None
        key = _key(run, run.root, self.case_key)
        if key is None:
            missing = (
                p for p, read in zip(self.case_places, self.case_key, strict=True) if read(run, run.root) is None
            )
            run.problem("GW-MAP-014", self._wanted(run, next(missing, "")), kind=self.case_kind)
            return None
        return CaseRef(kind=self.case_kind, id=keyed(run.context.id_key, run.context.sender, self.case_kind, key[0]))

    def _wanted(self, run: Run, path: str, here: Source | None = None) -> Place:
        """The place that should have had a value, in the sender's own notation as far as it is known."""
        whole = (here or run.root).here
        if not path:
            return whole
        if self.notation == "table":
            if whole.notation == "json":
                return Place(notation="json", path=f"{whole.path}.{path.rpartition('!')[2]}")
            path = f"{whole.path} column {path.rpartition('!')[2]}"
        elif self.notation == "json" and not path.startswith("$"):
            path = f"$.{path}"
        return Place(notation=self.notation, path=path)  # type: ignore[arg-type]

    def _check(self, run: Run) -> None:
        for each in self.required:
            for here in each.parts(run, run.root) if each.parts else (run.root,):
                if (each.when is None or each.when(run, here)) and each.read(run, here) is None:
                    place = self._wanted(run, each.path, here)
                    run.problem("GW-MAP-012" if each.warning else "GW-MAP-011", place, what=each.path)

    def _loss(self, run: Run) -> tuple[Loss, ...]:
        unread = list(run.root.leaves(run.seen))
        if not unread:
            return ()
        reasons: dict[int, str] = {}
        for data, preferred in run.repeats:
            for datum in data:
                for leaf in range(datum.leaf, datum.leaf + datum.span):
                    reasons.setdefault(leaf, f"says the same as {preferred[0].place.path}")
        if isinstance(run.root, RowGroup):
            for repeated, told in run.root.repeats(run.seen):
                reasons.setdefault(repeated.leaf, f"says the same as {told.place.path}")
        for each in self.ignored:
            for datum in run.root.get(each.path):
                for leaf in range(datum.leaf, datum.leaf + datum.span):
                    reasons[leaf] = each.reason
        return tuple(_lost(datum, reasons.get(datum.leaf)) for datum in unread)


def _lost(datum: Any, reason: str | None) -> Loss:
    if reason is not None:
        return Loss(place=datum.place, fate="ignored", reason=reason)
    return Loss(place=datum.place, fate="unread", value='""' if datum.null else str(datum.value))


def _key(run: Run, here: Source, reads: Sequence[Read]) -> tuple[list[str], tuple[Datum, ...]] | None:
    """The parts of a business identifier and what they were read from; None where a part is empty."""
    key: list[str] = []
    data: tuple[Datum, ...] = ()
    for read in reads:
        got = read(run, here)
        if got is None:
            return None
        key.append(said(got))
        data += got.data
    return key, data


def _build(run: Run, planned: Sequence[Planned]) -> list[Json]:
    made: dict[str, Json] = {}
    for each in planned:
        run.stand(each.here, each.position)
        kind, id, before = each.template.type, each.id, len(run.notes)
        run.note(f"{kind}/{id}#id", derived(id, run.made[each.template.name, each.here.first, each.here.size][1]))
        body = each.template.make(run, each.here, f"{kind}/{id}#") or {}
        run.leave()
        reference = f"{kind}/{id}"
        resource = {"resourceType": kind, "id": id, **body}
        if reference in made:
            resource = _grown(run, before, made[reference], resource, each.template)
            _told_before(run, before, made[reference], resource, each.template.grows)
            resource = _together(run, made[reference], resource, each)
        made[reference] = resource
    run.base = run.root
    return list(made.values())


def _grown(run: Run, before: int, earlier: Json, later: Json, template: Resource) -> Json:
    """Move what a list gains into the earlier resource, where its notes follow it."""
    left = dict(later)
    for name in template.grows:
        known, gained = earlier.get(name), later.get(name)
        if not isinstance(known, list) or not isinstance(gained, list):
            continue
        places: dict[int, int] = {}
        for index, member in enumerate(gained):
            same = _same_member(known, member)
            if same is None:
                known.append(member)
            places[index] = len(known) - 1 if same is None else same
        prefix = f"{template.type}/{earlier['id']}#{name}["
        for at in range(before, len(run.notes)):
            element, got = run.notes[at]
            number, bracket, rest = element.removeprefix(prefix).partition("]")
            if element.startswith(prefix) and bracket and number.isdigit():
                run.notes[at] = (f"{prefix}{places[int(number)]}]{rest}", got)
        left[name] = known
    return left


def _same_member(known: Sequence[Any], member: Any) -> int | None:
    """Where the list has it already: an equal member, or an extension of the same url."""
    url = member.get("url") if isinstance(member, dict) else None
    for index, each in enumerate(known):
        if each == member or (url is not None and isinstance(each, dict) and each.get("url") == url):
            return index
    return None


def _told_before(run: Run, before: int, earlier: Json, later: Json, grows: Sequence[str]) -> None:
    """Of a resource that is described again, only what is new has made anything; the rest repeats or contradicts."""
    known = dict(run.notes[:before])
    again = run.notes[before:]
    run.forget(before)
    for element, got in again:
        name = _TOP_NAME.split(element.partition("#")[2], maxsplit=1)[0]
        if name not in earlier or name == "id" or name in grows:
            run.note(element, got)
        elif earlier[name] == later.get(name) and element in known and got.data and known[element].data:
            run.repeats.append((got.data, known[element].data))


_TOP_NAME: Final = re.compile(r"[.\[]")


def _together(run: Run, earlier: Json, later: Json, planned: Planned) -> Json:
    """One resource that two parts of the input describe: what only one knows is kept, a contradiction is said."""
    for name, value in later.items():
        if name in earlier and earlier[name] != value and not planned.template.fills:
            run.problem("GW-MAP-013", planned.here.here, element=f"{planned.template.type}.{name}")
    return {**later, **earlier}


class FileCompiler:
    """Compiles one expanded file; troubles are collected, never raised one by one."""

    def __init__(
        self, name: str, node: Node, reader: Reader, variables: dict[str, Any], troubles: list[Trouble]
    ) -> None:
        self.name, self.node, self.reader, self.troubles = name, node, reader, troubles
        self.variables = variables
        self.templates = Templates(reader, troubles)
        self._named: dict[str, Node] = {}

    def _trouble(self, spot: Spot, message: str) -> None:
        self.troubles.append(Trouble(spot, message))

    def compile(self) -> CompiledMapping:
        """The mapping; look at `troubles` before it is used."""
        top = self.node.fields
        for key, child in top.items():
            if key not in TOP:
                self._trouble(child.spot, f"{key!r} is not a part of a mapping; known are {', '.join(sorted(TOP))}")
        self.let(top)
        resources = (
            tuple(self._resource(n, c) for n, c in top["resources"].fields.items()) if "resources" in top else ()
        )
        if not resources:
            self._trouble(self.node.spot, "`resources:` is missing")
        case_kind, case_key = self._case(top.get("case"))
        group, group_reads = self._group(top.get("group"))
        return CompiledMapping(
            name=self.name,
            notation=self.reader.notation.name,
            resources=resources,
            subject=self._subject(top, {r.name for r in resources}),
            case_kind=case_kind,
            case_key=case_key,
            case_places=tuple(self.origin(n) for n in top["case"].fields["key"].items) if case_key else (),
            subject_place=self._subject_place(top),
            parts=tuple(self._part(child) for child in (top["parts"].items if "parts" in top else [])),
            ignored=tuple(i for c in (top["ignore"].items if "ignore" in top else []) for i in self._ignored(c)),
            required=tuple(self._required(child) for child in (top["require"].items if "require" in top else [])),
            group=group,
            group_reads=group_reads,
        )

    def _group(self, node: Node | None) -> tuple[tuple[TablePath, ...], tuple[Read | None, ...]]:
        """The key columns, each with the expression that stands around it (`day | jalali | to-jalali month`)."""
        items = node.items if node is not None else []
        paths, reads = [], []
        for each in items:
            text = str(each.value)
            paths.append(self._path(Node(text.split(" | ")[0].strip(), each.spot)))
            reads.append(self.templates.read(each) if " | " in text else None)
        if not all(isinstance(path, TablePath) and not path.rows and not path.sheet for path in paths):
            assert node is not None
            self._trouble(node.spot, "`group:` lists columns, and only tables have rows to group")
            return (), ()
        return tuple(paths), tuple(reads)

    def let(self, top: Mapping[str, Node]) -> None:
        """The variables; one may use those above it."""
        self._named = dict(top["let"].fields) if "let" in top else {}
        for name, child in self._named.items():
            self.variables[name] = self._variable(child)

    def _variable(self, node: Node) -> Read:
        if not isinstance(node.value, dict):
            return self.templates.read(node)
        options = [self._option(each) for each in (node.fields["first"].items if "first" in node.fields else [node])]

        def read(run: Run, here: Source) -> Any:
            for test, value in options:
                if test is None or test(run, here):
                    got = value(run, here)
                    if got is not None:
                        return got
            return None

        return read

    def _option(self, node: Node) -> tuple[Test | None, Read]:
        if not isinstance(node.value, dict):
            return None, self.templates.read(node)
        if "is" not in node.fields or not node.fields.keys() <= {"is", "when"}:
            self._trouble(node.spot, "under `let:` stands an expression, or `first:` with `when:` and `is:`")
            return None, lambda _, __: None
        test = self.templates.test(node.fields["when"]) if "when" in node.fields else None
        return test, self.templates.read(node.fields["is"])

    def _subject(self, top: Mapping[str, Node], names: set[str]) -> str:
        node = top.get("subject")
        if node is None:
            self._trouble(self.node.spot, "`subject:` is missing: it names the resource that the item is about")
            return ""
        if node.value not in names:
            self._trouble(node.spot, f"{node.value!r} is not one of the resources")
        return str(node.value)

    def origin(self, node: Node | None) -> str:
        """The path that an expression looks at first; variables are followed. Empty where there is none."""
        if node is None:
            return ""
        if node.fields:
            options = node.fields["first"].items if "first" in node.fields else [node]
            return next((found for o in options for n in ("when", "is") if (found := self.origin(o.fields.get(n)))), "")
        text = str(node.value)
        for end in (" | ", " else ", " where ", " and ", " or ", " = ", " in ", "}"):
            text = text.partition(end)[0]
        text = text.removeprefix("not ").removeprefix("={").strip()
        if text.startswith("$") and not text.startswith("$."):
            name = text[1:]
            return self.origin(self._named.get(name)) if name != "position" else ""
        return "" if text.startswith(("=", "->")) else text.removeprefix("/")

    def _subject_place(self, top: Mapping[str, Node]) -> str:
        resources = top["resources"].fields if "resources" in top else {}
        resource = resources.get(str(top["subject"].value)) if "subject" in top else None
        keys = resource.fields["key"].items if resource is not None and "key" in resource.fields else []
        return next((place for key in keys if (place := self.origin(key))), "")

    def _case(self, node: Node | None) -> tuple[str, tuple[Read, ...]]:
        if node is None:
            return "", ()
        if not {"kind", "key"} <= node.fields.keys():
            self._trouble(node.spot, "a case has `kind:` and `key:`")
            return "", ()
        return str(node.fields["kind"].value), tuple(self.templates.read(n) for n in node.fields["key"].items)

    def _part(self, node: Node) -> tuple[str, Test | None]:
        if not node.fields:
            return str(node.value), None
        return str(node.fields["part"].value), self.templates.test(node.fields["when"])

    def _ignored(self, node: Node) -> list[Ignored]:
        reason, path = node.fields.get("reason"), node.fields.get("path")
        if reason is None or path is None or not str(reason.value).strip() or node.fields.keys() != {"path", "reason"}:
            self._trouble(node.spot, "what is ignored has a `path:` and a `reason:`")
            return []
        return [
            Ignored(compiled, str(reason.value)) for each in path.items if (compiled := self._path(each)) is not None
        ]

    def _path(self, node: Node) -> Any:
        try:
            return self.reader.path(str(node.value))[0]
        except ValueError as error:
            self._trouble(node.spot, str(error))
            return None

    def _required(self, node: Node) -> Required:
        fields = node.fields or {"path": node}
        if "path" not in fields or not fields.keys() <= {"path", "when", "severity", "each"}:
            self._trouble(node.spot, "what is required has a `path:`, and perhaps `each:`, `when:` and `severity:`")
            return Required(lambda _, __: None, "", None, True)
        path = str(fields["path"].value)
        return Required(
            read=self.templates.read(fields["path"]),
            path=path.split(" | ")[0].split(" else ")[0],
            when=self.templates.test(fields["when"]) if "when" in fields else None,
            warning="severity" in fields and fields["severity"].value == "warning",
            parts=self.templates.parts(fields["each"]) if "each" in fields else None,
        )

    def _resource(self, name: str, node: Node) -> Resource:
        """A resource with its own variables: they are read from its part, and hide those of the file."""
        outside = dict(self.variables)
        try:
            for own, child in (node.fields["let"].fields if "let" in node.fields else {}).items():
                self.variables[own] = Local(f"{name}.{own}", self._variable(child))
            return self._template(name, node)
        finally:
            self.variables.clear()
            self.variables.update(outside)

    def _template(self, name: str, node: Node) -> Resource:
        fields = node.fields
        kind, key = fields.get("resourceType"), fields.get("key")
        if kind is None or key is None:
            self._trouble(node.spot, f"resource {name!r} needs `resourceType:` and `key:`")
            return Resource(name, "", (), lambda _, __, ___: None)
        body = {element: child for element, child in fields.items() if element not in _RESOURCE}
        return Resource(
            name=name,
            type=str(kind.value),
            key=tuple(self.templates.read(each) for each in key.items),
            make=(
                self.templates.node(Node(body, node.spot)) if "is" in body else self.templates.object(body, top=True)
            ).make,
            when=self.templates.test(fields["when"]) if "when" in fields else None,
            parts=self.templates.parts(fields["each"]) if "each" in fields else None,
            elsewhere="elsewhere" in fields and fields["elsewhere"].value is True,
            only="only" in fields and fields["only"].value is True,
            grows=tuple(str(each.value) for each in (fields["grows"].items if "grows" in fields else [])),
            fills="fills" in fields and fields["fills"].value is True,
        )
