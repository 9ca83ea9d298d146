"""ViewDefinitions (SQL on FHIR v2, "ViewDefinition" and its processing algorithm), compiled to one function each.

A view is compiled once; then it makes rows of one resource at a time, without knowing of any other. Columns come in
the order of the standard: a select's own columns, those of its nested selects, those of its unions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final, NoReturn

import msgspec

from gateway import fhirpath
from gateway.errors import Broken, Misconfigured
from gateway.fhirpath import Compiled, Environment, FhirPathError, Node, TypeModel
from gateway.message import Json

Row = tuple[Any, ...]
Rows = list[Row]
_Run = Callable[[Any, "_Frame"], Rows]

MOST_ELEMENTS: Final = 100_000
"""Elements that one `repeat` may visit in one resource."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_ITERATIONS: Final = ("forEach", "forEachOrNull", "repeat")
_VALUE: Final = re.compile(r"value([A-Z][A-Za-z0-9]*)", re.ASCII)
_ROW_INDEX: Final = "rowIndex"


class Column(msgspec.Struct, frozen=True):
    """One column. `type` is a FHIR or FHIRPath type as the definition says it, or empty."""

    name: str
    type: str = ""
    collection: bool = False


class _Frame(msgspec.Struct):
    """One resource's evaluation. `names` are the constants and `%rowIndex`, which changes as elements go by."""

    env: Environment
    names: dict[str, Any]


class _Part(msgspec.Struct, frozen=True):
    columns: tuple[Column, ...]
    run: _Run


class View:
    """A compiled ViewDefinition. Raises `Misconfigured` (GW-MEASURE-001) for a definition that has no meaning.

    `where` names the file in errors. Calling it with a resource of another type gives no rows.
    """

    def __init__(self, definition: Any, model: TypeModel | None = None, where: str = "ViewDefinition") -> None:
        self._where, self._model = where, model
        if not isinstance(definition, dict):
            self._fail("it is not an object")
        self.definition: Json = definition
        self.name = self._text(definition, "name", "view")
        self.resource = self._text(definition, "resource")
        if not fhirpath_knows(model, self.resource):
            self._fail(f"resource: there is no type {self.resource}")
        self._constants = self._read_constants()
        part = self._all(self._list(definition, "select", "the view"), "select", self.resource)
        self.columns = part.columns
        self._run = part.run
        self._conditions = [
            self._compile(self._text(each, "path", at="where"), "where", self.resource)
            for each in self._list(definition, "where", "the view", needed=False)
        ]
        self._distinct()

    def __call__(self, resource: Json) -> Rows:
        """The rows of one resource, in order. Raises `Broken` GW-MEASURE-002 naming view and reason, never a value."""
        if resource.get("resourceType") != self.resource:
            return []
        names = {**self._constants, _ROW_INDEX: 0}
        frame = _Frame(Environment(resource=resource, variables=names, joins_nothing=True), names)
        focus = fhirpath.node(resource, None, self._model)
        try:
            if not all(self._holds(each, focus, frame) for each in self._conditions):
                return []
            return self._run(focus, frame)
        except FhirPathError as error:
            raise Broken("GW-MEASURE-002", view=self.name, detail=f"{error.expression[:80]}: {error.detail}") from None

    # --- the definition ----------------------------------------

    def _fail(self, detail: str) -> NoReturn:
        raise Misconfigured("GW-MEASURE-001", file=self._where, detail=detail)

    def _text(self, of: Any, name: str, default: str | None = None, at: str = "") -> str:
        value = of.get(name, default) if isinstance(of, dict) else None
        if not isinstance(value, str) or not value.strip():
            self._fail(f"{at}.{name}".strip(".") + ": a text is needed")
        return value

    def _list(self, of: Json, name: str, at: str, *, needed: bool = True) -> list[Any]:
        value = of.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self._fail(f"{at}: {name} is not a list of objects")
        if needed and not value:
            self._fail(f"{at}: {name} is needed")
        return value

    def _compile(self, path: str, at: str, type_name: str | None = None) -> Compiled:
        for used in re.findall(r"%([A-Za-z_][\w-]*)", _without_strings(path)):
            if used not in self._constants and used not in _KNOWN_VARIABLES and not used.startswith(("vs-", "ext-")):
                self._fail(f"{at}: the constant %{used} is not defined")
        try:
            return fhirpath.compile(path, self._model, type_name)
        except FhirPathError as error:
            self._fail(f"{at}: {path[:80]}: {error.detail}")

    def _read_constants(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for each in self._list(self.definition, "constant", "the view", needed=False):
            name = self._text(each, "name", at="constant")
            values = [(found[1], key) for key in each if (found := _VALUE.fullmatch(key))]
            if not _NAME.fullmatch(name) or len(values) != 1:
                self._fail(f"constant {name[:40]}: a name of letters, digits and _, and one value[x] are needed")
            kind, key = values[0]
            own = kind[0].lower() + kind[1:]
            typed = own if self._model is None or self._model.is_primitive(own) else kind
            made[name] = fhirpath.node(each[key], typed, self._model)
        return made

    def _distinct(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            self._fail(f"column {twice[0]} stands twice")

    # --- selects ----------------------------------------

    def _all(self, selects: Sequence[Json], at: str, type_name: str | None = None) -> _Part:
        """Several selects side by side: every combination of their rows."""
        return _joined([self._select(each, f"{at}[{n}]", type_name) for n, each in enumerate(selects)])

    def _select(self, select: Json, at: str, type_name: str | None) -> _Part:
        found = [name for name in _ITERATIONS if name in select]
        if len(found) > 1:
            self._fail(f"{at}: only one of {', '.join(_ITERATIONS)} can be there")
        inside = None if found else type_name
        parts = []
        columns = self._list(select, "column", at, needed=False)
        if columns:
            parts.append(self._columns(columns, at, inside))
        if nested := self._list(select, "select", at, needed=False):
            parts.append(self._all(nested, f"{at}.select", inside))
        if union := self._list(select, "unionAll", at, needed=False):
            parts.append(self._union(union, at, inside))
        if not parts:
            self._fail(f"{at}: column, select or unionAll is needed")
        part = _joined(parts)
        return self._iterated(select, found[0], part, at, type_name) if found else part

    def _columns(self, columns: Sequence[Json], at: str, type_name: str | None) -> _Part:
        made: list[Column] = []
        paths: list[tuple[Compiled, Column]] = []
        for each in columns:
            name = self._text(each, "name", at=f"{at}.column")
            if not _NAME.fullmatch(name):
                self._fail(f"{at}: column {name[:40]}: a name begins with a letter and has letters, digits and _")
            kind, many = each.get("type", ""), each.get("collection", False)
            if not isinstance(kind, str) or not isinstance(many, bool):
                self._fail(f"{at}: column {name}: type is a text, collection is true or false")
            column = Column(name, kind.rpartition("/")[2], many)
            made.append(column)
            path = self._text(each, "path", at=f"{at}: column {name}")
            paths.append((self._compile(path, f"{at}: column {name}", type_name), column))

        def run(focus: Any, frame: _Frame) -> Rows:
            return [tuple([self._value(path, column, focus, frame) for path, column in paths])]

        return _Part(tuple(made), run)

    def _value(self, path: Compiled, column: Column, focus: Any, frame: _Frame) -> Any:
        found = [value for item in path.nodes(focus, frame.env) if (value := _plain(item)) is not None]
        if column.collection:
            return found
        if len(found) > 1:
            detail = f"column {column.name} found {len(found)} values; it is not declared as a collection"
            raise Broken("GW-MEASURE-002", view=self.name, detail=detail)
        return found[0] if found else None

    def _union(self, branches: Sequence[Json], at: str, type_name: str | None) -> _Part:
        parts = [self._select(each, f"{at}.unionAll[{n}]", type_name) for n, each in enumerate(branches)]
        first = parts[0].columns
        for n, part in enumerate(parts):
            if [(c.name, c.collection) for c in part.columns] != [(c.name, c.collection) for c in first]:
                self._fail(f"{at}.unionAll[{n}]: its columns differ from those of the first branch")
            if any(a.type and b.type and a.type != b.type for a, b in zip(part.columns, first, strict=True)):
                self._fail(f"{at}.unionAll[{n}]: its columns have other types than those of the first branch")
        return _Part(first, lambda focus, frame: [row for part in parts for row in part.run(focus, frame)])

    # --- iterations ----------------------------------------

    def _iterated(self, select: Json, how: str, part: _Part, at: str, type_name: str | None) -> _Part:
        if how == "repeat":
            paths = select["repeat"]
            if not isinstance(paths, list) or not paths or not all(isinstance(each, str) for each in paths):
                self._fail(f"{at}: repeat is a list of paths")
            several = [self._compile(each, f"{at}.repeat") for each in paths]
            return _Part(part.columns, _each(lambda focus, frame: self._descend(several, focus, frame), part))
        path = self._compile(self._text(select, how, at=at), f"{at}.{how}", type_name)
        if how == "forEach":
            return _Part(part.columns, _each(lambda focus, frame: path.nodes(focus, frame.env), part))
        nothing = fhirpath.node({}, None, self._model)
        return _Part(part.columns, _each(lambda focus, frame: path.nodes(focus, frame.env) or [nothing], part))

    def _descend(self, paths: Sequence[Compiled], focus: Any, frame: _Frame) -> list[Any]:
        """What the paths reach from the focus, and from what they reached, each before what lies below it."""
        found: list[Any] = []
        waiting = [node for path in reversed(paths) for node in reversed(path.nodes(focus, frame.env))]
        while waiting:
            if len(found) + len(waiting) > MOST_ELEMENTS:
                raise Broken("GW-MEASURE-002", view=self.name, detail="repeat does not come to an end")
            node = waiting.pop()
            found.append(node)
            waiting += [below for path in reversed(paths) for below in reversed(path.nodes(node, frame.env))]
        return found

    def _holds(self, condition: Compiled, focus: Any, frame: _Frame) -> bool:
        found = [_plain(item) for item in condition.nodes(focus, frame.env)]
        if not found:
            return False
        if len(found) > 1 or not isinstance(found[0], bool):
            raise Broken("GW-MEASURE-002", view=self.name, detail="a condition under `where` is not true or false")
        return found[0]


_KNOWN_VARIABLES: Final = frozenset(
    {_ROW_INDEX, "resource", "rootResource", "context", "ucum", "sct", "loinc"}
)  # fmt: skip


def fhirpath_knows(model: TypeModel | None, name: str) -> bool:
    """Whether the model has the type; without a model every name is one."""
    return model is None or model.elements(name) is not None


def _without_strings(path: str) -> str:
    return re.sub(r"'(?:[^'\\]|\\.)*'", "''", path)


def _joined(parts: Sequence[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    columns = tuple(column for part in parts for column in part.columns)
    runs = [part.run for part in parts]

    def run(focus: Any, frame: _Frame) -> Rows:
        made = [each(focus, frame) for each in runs]
        return [tuple([value for row in rows for value in row]) for rows in product(*made)]

    return _Part(columns, run)


def _each(found: Callable[[Any, _Frame], list[Any]], part: _Part) -> _Run:
    """The part's rows for each element that was found; `%rowIndex` is its place among them."""

    def run(focus: Any, frame: _Frame) -> Rows:
        before = frame.names[_ROW_INDEX]
        rows: Rows = []
        for place, each in enumerate(found(focus, frame)):
            frame.names[_ROW_INDEX] = place
            rows += part.run(each, frame)
        frame.names[_ROW_INDEX] = before
        return rows

    return run


def _plain(item: Any) -> Any:
    """An item as JSON: computed dates and quantities as their text, elements as they are written."""
    value = item.value if item.__class__ is Node else item
    return str(value) if isinstance(value, fhirpath.Temporal | fhirpath.Quantity) else value
