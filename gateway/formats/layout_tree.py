"""Rows of a layout as XML or JSON: one element or object a row, under one root (`layout.py` says which and when).

A field's path is where it stands in its row: `codProdPrest`, `dettaglio/dataIniErog`, and `@versione` for an attribute
(XML). What has no value is not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from lxml import etree

from gateway.errors import GatewayError
from gateway.formats import json, xml

MOST_ROWS: Final = 1_000_000


class Column(NamedTuple):
    """Where a field stands in its row, and whether JSON writes it as a number."""

    path: tuple[str, ...]
    number: bool = False


class Shape(NamedTuple):
    """The tree around the rows."""

    kind: str  # "xml" or "json"
    root: str
    record: str
    namespace: str
    charset: str
    columns: tuple[Column, ...]


class NotOfThisShape(ValueError):
    """A file that has something else in it; the number is the row's, from 1, or 0 for the whole."""

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


def write(shape: Shape, rows: Sequence[Sequence[str]]) -> bytes:
    """The file. `ValueError` where a text has a character that XML does not have."""
    return _json(shape, rows) if shape.kind == "json" else _xml(shape, rows)


def read(shape: Shape, body: bytes) -> list[list[str]]:
    """The rows as texts, in the order of the columns. Raises `NotOfThisShape`."""
    try:
        return list(_json_rows(shape, body) if shape.kind == "json" else _xml_rows(shape, body))
    except GatewayError:
        raise NotOfThisShape(0) from None


# --- XML ----------------------------------------


def _tag(shape: Shape, name: str) -> str:
    return f"{{{shape.namespace}}}{name}" if shape.namespace else name


def _xml(shape: Shape, rows: Sequence[Sequence[str]]) -> bytes:
    space = cast("dict[str, str]", {None: shape.namespace}) if shape.namespace else None
    root = etree.Element(_tag(shape, shape.root), nsmap=space)
    for row in rows:
        record = etree.SubElement(root, _tag(shape, shape.record))
        for column, text in zip(shape.columns, row, strict=True):
            if text:
                _place(shape, record, column.path, text)
    if shape.charset.lower() in ("utf-8", "utf8"):
        return xml.write(root)
    return cast("bytes", etree.tostring(root, encoding=shape.charset, xml_declaration=True))


def _place(shape: Shape, parent: etree._Element, path: tuple[str, ...], text: str) -> None:
    """Consecutive fields of one path share their elements."""
    for name in path[:-1]:
        last = parent[-1] if len(parent) else None
        same = last is not None and last.tag == _tag(shape, name)
        parent = last if same and last is not None else etree.SubElement(parent, _tag(shape, name))
    if path[-1].startswith("@"):
        parent.set(path[-1][1:], text)
    else:
        etree.SubElement(parent, _tag(shape, path[-1])).text = text


def _xml_rows(shape: Shape, body: bytes) -> Iterator[list[str]]:
    root = xml.read(body)
    if root.tag != _tag(shape, shape.root):
        raise NotOfThisShape(0)
    for number, record in enumerate(root.iterchildren(tag=etree.Element), 1):
        if record.tag != _tag(shape, shape.record) or number > MOST_ROWS:
            raise NotOfThisShape(number)
        found = dict(_leaves(record, ()))
        paths = [tuple(_tag(shape, name) if name[:1] != "@" else name for name in each.path) for each in shape.columns]
        if found.keys() - set(paths) or None in found.values():
            raise NotOfThisShape(number)
        yield [found.get(path) or "" for path in paths]


def _leaves(element: etree._Element, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """(path, text) of every leaf and attribute; what stands twice comes with None, last."""
    seen: set[str] = set()
    for name, value in element.attrib.items():
        yield (*at, "@" + str(name)), str(value)
    for child in element.iterchildren(tag=etree.Element):
        path = (*at, child.tag)
        if child.tag in seen:
            yield path, None
        elif len(child):
            yield from _leaves(child, path)
        else:
            yield path, child.text or ""
            yield from (((*path, "@" + str(name)), str(value)) for name, value in child.attrib.items())
        seen.add(child.tag)


# --- JSON ----------------------------------------


def _json(shape: Shape, rows: Sequence[Sequence[str]]) -> bytes:
    made = []
    for row in rows:
        record: dict[str, Any] = {}
        for column, text in zip(shape.columns, row, strict=True):
            if text:
                within = record
                for name in column.path[:-1]:
                    within = within.setdefault(name, {})
                within[column.path[-1]] = _number(text) if column.number else text
        made.append(record)
    return json.write({shape.root: made} if shape.root else made)


def _number(text: str) -> int | Decimal:
    return Decimal(text) if "." in text else int(text)


def _json_rows(shape: Shape, body: bytes) -> Iterator[list[str]]:
    value = json.read(body)
    if shape.root:
        value = value.get(shape.root) if isinstance(value, dict) and value.keys() == {shape.root} else None
    if not isinstance(value, list) or len(value) > MOST_ROWS:
        raise NotOfThisShape(0)
    for number, record in enumerate(value, 1):
        if not isinstance(record, dict):
            raise NotOfThisShape(number)
        found = dict(_members(record, ()))
        if found.keys() - {each.path for each in shape.columns} or None in found.values():
            raise NotOfThisShape(number)
        yield [found.get(each.path) or "" for each in shape.columns]


def _members(value: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str | None]]:
    for name, child in value.items():
        if isinstance(child, dict):
            yield from _members(child, (*at, name))
        elif isinstance(child, str | int | Decimal) and not isinstance(child, bool):
            yield (*at, name), f"{child:f}" if isinstance(child, Decimal) else str(child)
        else:
            yield (*at, name), None
