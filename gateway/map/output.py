"""Documents into national messages: the same language, with XML elements in the order in which they are written.

format: xml                     # or json, or layout
root: PatientBillMessageVO
namespaces: {root: "", children: "http://…"}
let: {name: NODE}
body: NODE                      # "@name" is an attribute, "#text" the text beside attributes
layout: NAME                    # format layout: `body` is one row, or makes a list of rows, by field
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast

import msgspec
from lxml import etree

from gateway.errors import Refused
from gateway.formats import json, xml
from gateway.formats import layout as layouts
from gateway.map.document import Part
from gateway.map.mapping import FileCompiler
from gateway.map.nodes import Node, Trouble
from gateway.map.reading import Reader
from gateway.map.run import Run
from gateway.map.template import Make
from gateway.message import Context

_TOP: Final = frozenset({"title", "format", "root", "namespaces", "let", "body", "fragments", "layout"})
_FORMATS: Final = frozenset({"xml", "json", "layout"})


class Output(msgspec.Struct, frozen=True):
    """One compiled output file."""

    name: str
    format: str
    root: str
    root_namespace: str
    namespace: str
    make: Make
    layout: str = ""
    versions: tuple[layouts.Layout, ...] = ()

    def _body(self, source: Part, values: Mapping[str, str]) -> Any:
        run = Run(_context(source), source, values, _today(source))
        body = self.make(run, source, "") or {}
        for found in run.findings:
            if found.severity == "error":
                raise Refused(found.code, found.place, **found.args)
        return body

    def rows(self, source: Part, values: Mapping[str, str]) -> Sequence[layouts.Row]:
        """What the document puts into a flat file: no row, one or several. Raises `Refused` like `render`."""
        body = self._body(source, values)
        return [each for each in (body if isinstance(body, list) else [body]) if each]

    def table(self, rows: Iterable[layouts.Row], day: str) -> bytes:
        """The flat file of these rows, by the version of the layout that holds on the day (ISO)."""
        return layouts.write(layouts.pick(self.versions, self.layout, day), rows)

    def render(self, source: Part, values: Mapping[str, str]) -> bytes:
        """The message. Raises `Refused` where the document holds what the message cannot say."""
        if self.format == "layout":
            return self.table(self.rows(source, values), values.get("day") or _today(source))
        body = self._body(source, values)
        if self.format == "json":
            return json.write(body)
        root = etree.Element(_name(self.root_namespace, self.root))
        _fill(root, body, self.namespace)
        return xml.write(root)


def _today(source: Part) -> str:
    return str(source.node.get("timestamp", ""))[:10] or "0001-01-01"


def _context(source: Part) -> Context:
    """Nothing from outside: the document's own time stands for now."""
    try:
        now = datetime.fromisoformat(str(source.node.get("timestamp", "")))
    except ValueError:
        now = datetime(1970, 1, 1, tzinfo=UTC)
    return Context(digest="", now=now, sender="", programme="", id_key=b"")


def _name(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}" if namespace else name


def _default(namespace: str) -> dict[str, str] | None:
    """The namespace without a prefix; None is lxml's name for "no prefix", which its stubs do not know."""
    return cast("dict[str, str]", {None: namespace}) if namespace else None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) and not hasattr(value, "text") else str(value)


def _fill(parent: etree._Element, value: Any, namespace: str) -> None:
    if not isinstance(value, dict):
        parent.text = _text(value)
        return
    for name, child in value.items():
        if name.startswith("@"):
            parent.set(name[1:], _text(child))
        elif name == "#text":
            parent.text = _text(child)
        else:
            for each in child if isinstance(child, list) else [child]:
                made = etree.SubElement(parent, _name(namespace, name), nsmap=_default(namespace))
                _fill(made, each, namespace)


class OutputCompiler:
    """Compiles one output file."""

    def __init__(
        self,
        name: str,
        node: Node,
        reader: Reader,
        variables: dict[str, Any],
        troubles: list[Trouble],
        known: tuple[layouts.Layout, ...] = (),
    ) -> None:
        self.name, self.node, self.troubles, self.layouts = name, node, troubles, known
        self.files = FileCompiler(name, node, reader, variables, troubles)

    def compile(self) -> Output:
        """The output; look at `troubles` before it is used."""
        top = self.node.fields
        for key, child in top.items():
            if key not in _TOP:
                self.troubles.append(Trouble(child.spot, f"{key!r} is not a part of an output mapping"))
        self.files.let(top)
        body = top.get("body")
        format = str(top["format"].value) if "format" in top else "json"
        if body is None or format not in _FORMATS or (format == "xml" and "root" not in top):
            self.troubles.append(
                Trouble(self.node.spot, "an output has `format: xml` with `root:`, json, or layout; and `body:`")
            )
        layout = str(top["layout"].value) if "layout" in top else ""
        if format == "layout" and layout not in {each.name for each in self.layouts}:
            self.troubles.append(Trouble(self.node.spot, f"there is no layout {layout!r} under layouts/"))
        namespaces = top["namespaces"].fields if "namespaces" in top else {}
        return Output(
            name=self.name,
            format=format,
            root=str(top["root"].value) if "root" in top else "",
            root_namespace=str(namespaces["root"].value or "") if "root" in namespaces else "",
            namespace=str(namespaces["children"].value or "") if "children" in namespaces else "",
            make=self.files.templates.node(body).make if body else (lambda _, __, ___: None),
            layout=layout,
            versions=self.layouts,
        )
